/* Is many senders at once: speaks the wire on as many TCP connections, at one rate.
 *
 * usage: swarm [-n senders] [-r packets/s] [-b packets] [-g batches] [-l octets]
 *              [-t seconds] [-w seconds] [-m mark] ADDRESS PORT
 *
 * Each sender makes -r packets a second, -l octets long, in batches of -b; those of all
 * are evenly spread in time and are sent at the next full millisecond. -g: a sender makes
 * so many batches at a time and sends them in one call, for who wants this to cost less.
 * Uncompressed. Each sender goes by its window, keeps its counters true, goes back only
 * where a welcome tells it to, and connects again where a connection breaks. After -t
 * seconds of load they wait until everything is acknowledged, at most -w seconds, say
 * goodbye, and wait for the farewells.
 *
 * Prints "up" when all have been welcomed and have settled, "done" when all is
 * acknowledged or -w is over, and at last one JSON object: senders, packets and messages
 * (sent at least once), acknowledged (packets), unacknowledged, acknowledged_min, _median
 * and _max (of one sender, at the end of the load, before all is waited for), stalled
 * (times that a window stopped a sender), late (batches sent 50 ms after they were due,
 * or later), resent (batches), hellos, broken (connections), farewells, seconds (from
 * "up" to "done"), cpu_seconds (in that time). Exits with 1 where a sender was not welcomed or
 * got no farewell.
 *
 * A packet is IPv4 and UDP; its payload begins with when it was sent (CLOCK_REALTIME,
 * nanoseconds, this machine's octet order), as loadgen's does; then the sender and the
 * packet's number. With -m it is as testbed/numbered.py has it: the mark, which is -m for
 * the first sender and one more for each other, the number and the time
 * (CLOCK_MONOTONIC), big-endian.
 *
 * Replies are read five times a second, and before a window might stop a sender:
 * what it costs to send is paid here, but nothing that a sender could save.
 *
 * swarm_link.c has what it says, swarm_zmtp.c how it gets there.
 */
#define _GNU_SOURCE
#include "swarm.h"
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS NS_PER_MS
#define LOOK_NS (200 * NS_PER_MS) /* how often each sender is looked after */
#define SETUP_NS (30 * NS_PER_S)
#define SETTLE_NS NS_PER_MS /* for each sender */
#define FAREWELL_NS (10 * NS_PER_S)

#define SENDERS_MAX 8192
#define SECONDS_MAX 600
#define RATE_MAX 1e7 /* of all, packets a second */
#define BATCH_MAX 4096
#define RECORDS_MAX (1 << 20)
#define RECORD_HEADER 16
#define DESCRIPTORS_SPARE 16
#define EVENTS_MAX 256

struct sender *senders;
struct load load = {.senders = 1000,
                    .batch = 2,
                    .group = 1,
                    .length = 200,
                    .rate = 100,
                    .seconds = 10,
                    .wait_s = 10,
                    .first_mark = -1};
struct tally tally;
int64_t now_ns, now_wall_ns, started_wall_ns;

static int epoll_fd;
static int64_t *acknowledged_each; /* packets, sorted */

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void look_at_clock(void)
{
    now_ns = clock_ns(CLOCK_MONOTONIC);
    now_wall_ns = clock_ns(CLOCK_REALTIME);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void make_due(void)
{
    static int64_t made; /* groups of all senders */
    int64_t due = (int64_t)((double)(now_ns - load.began_ns) / load.spacing_ns) + 1;
    int64_t most = load.batches_each / load.group * load.senders, last;

    due = due < most ? due : most;
    last = due < made + load.senders ? due : made + load.senders;
    for (int64_t at = made; at < last; at++) {
        struct sender *sender = &senders[at % load.senders];

        /* All that one sender has to send goes together. */
        sender->made += (1 + (due - 1 - at) / load.senders) * load.group;
        link_send_made(sender);
    }
    made = due;
}

/* As many in turn as keep each one's LOOK_NS apart. */
static void look_after_some(void)
{
    static int64_t looked_ns;
    static int next;
    int64_t some;

    if (looked_ns == 0)
        looked_ns = now_ns;
    some = (now_ns - looked_ns) * load.senders / LOOK_NS;
    if (some == 0)
        return;
    looked_ns = now_ns;
    for (some = some < load.senders ? some : load.senders; some > 0; some--) {
        link_look_after(&senders[next]);
        next = (next + 1) % load.senders;
    }
}

static void turn(void)
{
    static int64_t next_tick_ns;
    struct epoll_event events[EVENTS_MAX];
    struct timespec timeout = {0, 0};
    int ready;

    if (next_tick_ns > now_ns)
        timeout.tv_nsec = next_tick_ns - now_ns;
    ready = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &timeout, NULL);
    if (ready < 0 && errno != EINTR)
        err(1, "epoll_pwait2");
    look_at_clock();
    for (int at = 0; at < ready; at++) {
        zmtp_serve(events[at].data.ptr, events[at].events);
        link_send_made(events[at].data.ptr);
    }
    if (now_ns < next_tick_ns)
        return;
    next_tick_ns = now_ns + TICK_NS - now_ns % TICK_NS;
    if (load.began_ns)
        make_due();
    look_after_some();
}

static int is_all_acknowledged(void)
{
    for (int at = 0; at < load.senders; at++)
        if (senders[at].written < load.batches_each)
            return 0;
    return 1;
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= least && value <= most))
        errx(2, "%s is no number from %g to %g", text, least, most);
    return value;
}

static void read_options(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "n:r:b:g:l:t:w:m:")) != -1) {
        switch (option) {
        case 'n':
            load.senders = (int)number(optarg, 1, SENDERS_MAX);
            break;
        case 'r':
            load.rate = number(optarg, 0.001, RATE_MAX);
            break;
        case 'b':
            load.batch = (int)number(optarg, 1, BATCH_MAX);
            break;
        case 'g':
            load.group = (int)number(optarg, 1, BATCH_MAX);
            break;
        case 'l':
            load.length = (int)number(optarg, LENGTH_MIN, LENGTH_MAX);
            break;
        case 't':
            load.seconds = number(optarg, 0, SECONDS_MAX);
            break;
        case 'w':
            load.wait_s = number(optarg, 0, SECONDS_MAX);
            break;
        case 'm':
            load.first_mark = (int64_t)number(optarg, 0, 1e15);
            break;
        default:
            exit(2);
        }
    }
    if (argc - optind != 2)
        errx(2, "usage: swarm [-n senders] [-r packets/s] [-b packets] [-g batches] "
                "[-l octets] [-t seconds] [-w seconds] [-m mark] ADDRESS PORT");
    if (load.rate * load.senders > RATE_MAX)
        errx(2, "%d senders at %g packets/s are beyond %g together", load.senders,
             load.rate, RATE_MAX);
    if (load.batch * (RECORD_HEADER + load.length) > RECORDS_MAX)
        errx(2, "a batch of %d packets of %d octets is beyond %d octets", load.batch,
             load.length, RECORDS_MAX);
    load.spacing_ns =
        (double)load.batch * load.group * NS_PER_S / (load.rate * load.senders);
    load.batches_each =
        (int64_t)(load.seconds * load.rate / (load.batch * load.group) + 1e-6) *
        load.group;
}

static const struct addrinfo *find(const char *address, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;

    if (getaddrinfo(address, port, &hints, &found) != 0)
        errx(2, "not an address and a port: %s %s", address, port);
    return found;
}

static void prepare_senders(void)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)load.senders + DESCRIPTORS_SPARE;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "getrlimit");
    if (limit.rlim_cur < wanted) {
        if (limit.rlim_max < wanted)
            errx(3, "%d senders need %llu descriptors; %llu are allowed", load.senders,
                 (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
        limit.rlim_cur = wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            err(1, "setrlimit");
    }
    senders = calloc((size_t)load.senders, sizeof(*senders));
    acknowledged_each = calloc((size_t)load.senders, sizeof(*acknowledged_each));
    if (senders == NULL || acknowledged_each == NULL)
        err(1, "calloc");
    for (int at = 0; at < load.senders; at++)
        if (getrandom(senders[at].id, sizeof(senders[at].id), 0) !=
            sizeof(senders[at].id))
            err(1, "getrandom");
}

static int compare(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;

    return a < b ? -1 : a > b;
}

/* How even it is so far, by what has come back until now. */
static void note_shares(void)
{
    for (int at = 0; at < load.senders; at++) {
        if (senders[at].state == UP)
            zmtp_read(&senders[at]);
        acknowledged_each[at] = senders[at].written * load.batch;
    }
    qsort(acknowledged_each, (size_t)load.senders, sizeof(*acknowledged_each), compare);
}

static void report(int64_t done_ns, double cpu)
{
    int64_t made = 0, sent = 0, acknowledged = 0;

    for (int at = 0; at < load.senders; at++) {
        made += senders[at].made * load.batch;
        sent += senders[at].highest;
        acknowledged += senders[at].written * load.batch;
    }
    printf("{\"senders\": %d, \"packets\": %lld, \"messages\": %lld, "
           "\"acknowledged\": %lld, \"unacknowledged\": %lld, "
           "\"acknowledged_min\": %lld, \"acknowledged_median\": %lld, "
           "\"acknowledged_max\": %lld, \"stalled\": %lld, \"late\": %lld, "
           "\"resent\": %lld, \"hellos\": %lld, \"broken\": %lld, \"farewells\": %d, "
           "\"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
           load.senders, (long long)(sent * load.batch), (long long)sent,
           (long long)acknowledged, (long long)(made - acknowledged),
           (long long)acknowledged_each[0],
           (long long)acknowledged_each[load.senders / 2],
           (long long)acknowledged_each[load.senders - 1], (long long)tally.stalled,
           (long long)tally.late, (long long)tally.resent, (long long)tally.hellos,
           (long long)tally.broken, tally.farewells,
           (double)(done_ns - load.began_ns) / NS_PER_S, cpu);
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int64_t end_ns, done_ns;
    double cpu;

    read_options(argc, argv);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        err(1, "epoll_create1");
    zmtp_prepare(find(argv[optind], argv[optind + 1]), epoll_fd);
    prepare_senders();
    link_prepare();
    look_at_clock();
    started_wall_ns = now_wall_ns;

    end_ns = now_ns + SETUP_NS;
    while (tally.welcomed < load.senders && now_ns < end_ns)
        turn();
    if (tally.welcomed < load.senders)
        errx(1, "%d of %d senders were not welcomed", load.senders - tally.welcomed,
             load.senders);
    /* Each that came has changed the others' windows, which they have to say. */
    end_ns = now_ns + load.senders * SETTLE_NS;
    while (now_ns < end_ns)
        turn();
    say("up");

    cpu = cpu_seconds();
    load.began_ns = now_ns;
    end_ns = now_ns + (int64_t)(load.seconds * NS_PER_S);
    while (now_ns < end_ns)
        turn();
    load.is_over = 1;
    note_shares();
    end_ns = now_ns + (int64_t)(load.wait_s * NS_PER_S);
    while (!is_all_acknowledged() && now_ns < end_ns)
        turn();
    done_ns = now_ns;
    cpu = cpu_seconds() - cpu;
    say("done");

    load.is_ending = 1;
    end_ns = now_ns + FAREWELL_NS;
    while (tally.farewells < load.senders && now_ns < end_ns)
        turn();
    report(done_ns, cpu);
    return tally.farewells < load.senders;
}
