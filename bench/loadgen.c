/* Sends IPv4 packets as fast as the kernel takes them or at a given rate.
 *
 * usage: loadgen [-n packets] [-t seconds] [-r packets/s] [-c cpu] [-m mark] [-s]
 *                ADDRESS LENGTH|imix|SAVEFILE
 *
 * LENGTH: UDP packets of so many octets, IP header and all, from one connected socket.
 * imix: the same, 7 of 64 octets to 4 of 576 to 1 of 1500. SAVEFILE, with a slash in its
 * name: the packets of a little-endian savefile of LINKTYPE_RAW with IPv4 alone, through a
 * raw socket, over and over; they are routed as if to ADDRESS and keep the addresses they
 * have. Ends after -n packets or -t seconds, whichever is first. -m marks every packet for
 * rules to know them by (SO_MARK). -s, with a LENGTH, writes the time of sending
 * (CLOCK_REALTIME, nanoseconds, this machine's octet order) into the first eight octets of
 * the payload. Prints one JSON object: packets, octets (of IP packets), seconds,
 * cpu_seconds, refused (system calls that the kernel answered with an error and that were
 * made again).
 *
 * Specification: sendmmsg(2), raw(7), pcap-savefile(5).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IP_AND_UDP_HEADERS 28
#define STAMP sizeof(int64_t)
/* Below loopback's MTU of 65536, and NFLOG's attributes end at 65535. */
#define LENGTH_MAX 65000
#define PORT_DISCARD 9 /* RFC 863 */
/* Large enough that the system call itself costs nothing that shows. */
#define BURST 64
#define NS_PER_S 1000000000LL

#define FILE_HEADER 24
#define RECORD_HEADER 16
#define LINKTYPE_RAW 101

/* Mixed, not sorted: so a burst of any length holds about the same. */
static const int IMIX[] = {64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64};
#define IMIX_COUNT (sizeof(IMIX) / sizeof(*IMIX))
#define IMIX_TIMES 5

/* What is sent in turn, for ever; iov_len plus `headers` is an IP packet's length. */
struct cycle {
    struct mmsghdr *messages;
    struct iovec *iovs;
    size_t count;
    size_t headers;
};

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void wait_until(int64_t mono_ns)
{
    struct timespec at = {mono_ns / NS_PER_S, mono_ns % NS_PER_S};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static double number(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || value < 0)
        errx(2, "not a number: %s", text);
    return value;
}

static struct cycle new_cycle(size_t count, size_t headers)
{
    struct cycle cycle = {.count = count, .headers = headers};

    cycle.messages = calloc(count, sizeof(*cycle.messages));
    cycle.iovs = calloc(count, sizeof(*cycle.iovs));
    if (cycle.messages == NULL || cycle.iovs == NULL)
        err(1, "%zu packets", count);
    for (size_t at = 0; at < count; at++) {
        cycle.messages[at].msg_hdr.msg_iov = &cycle.iovs[at];
        cycle.messages[at].msg_hdr.msg_iovlen = 1;
    }
    return cycle;
}

/* All of them share one payload, which is not all zeros, so that nothing on the way takes
 * a short cut. */
static struct cycle made_up(const char *what, unsigned char *payload)
{
    struct cycle cycle;

    for (size_t at = 0; at < LENGTH_MAX; at++)
        payload[at] = (unsigned char)(at * 31 + 7);
    if (strcmp(what, "imix") == 0) {
        cycle = new_cycle(IMIX_COUNT * IMIX_TIMES, IP_AND_UDP_HEADERS);
        for (size_t at = 0; at < cycle.count; at++)
            cycle.iovs[at].iov_len = (size_t)IMIX[at % IMIX_COUNT] - IP_AND_UDP_HEADERS;
    } else {
        double length = number(what);

        if (length < IP_AND_UDP_HEADERS + STAMP || length > LENGTH_MAX)
            errx(2, "LENGTH is %g, outside %zu to %d", length, IP_AND_UDP_HEADERS + STAMP,
                 LENGTH_MAX);
        cycle = new_cycle(BURST, IP_AND_UDP_HEADERS);
        for (size_t at = 0; at < cycle.count; at++)
            cycle.iovs[at].iov_len = (size_t)length - IP_AND_UDP_HEADERS;
    }
    for (size_t at = 0; at < cycle.count; at++)
        cycle.iovs[at].iov_base = payload;
    return cycle;
}

static uint32_t get32(const unsigned char *in)
{
    return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static struct cycle captured(const char *path)
{
    struct stat about;
    unsigned char *octets;
    size_t size, at, count = 0;
    ssize_t got;
    struct cycle cycle;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &about) < 0)
        err(1, "%s", path);
    size = (size_t)about.st_size;
    /* Kept until the end: the packets are sent from where they lie. */
    octets = malloc(size + 1);
    if (octets == NULL)
        err(1, "%s", path);
    for (at = 0; at < size; at += (size_t)got) {
        got = read(fd, octets + at, size - at);
        if (got <= 0)
            err(1, "%s", path);
    }
    close(fd);
    if (size < FILE_HEADER || get32(octets + FILE_HEADER - 4) != LINKTYPE_RAW)
        errx(1, "%s: no savefile of LINKTYPE_RAW", path);
    for (at = FILE_HEADER; at < size; count++) {
        uint32_t caplen;

        if (size - at < RECORD_HEADER)
            errx(1, "%s: torn after %zu packets", path, count);
        caplen = get32(octets + at + 8);
        at += RECORD_HEADER;
        if (caplen == 0 || caplen > size - at)
            errx(1, "%s: packet %zu is torn", path, count + 1);
        at += caplen;
    }
    if (count == 0)
        errx(1, "%s: no packets", path);
    cycle = new_cycle(count, 0);
    at = FILE_HEADER;
    for (size_t packet = 0; packet < count; packet++) {
        cycle.iovs[packet].iov_len = get32(octets + at + 8);
        cycle.iovs[packet].iov_base = octets + at + RECORD_HEADER;
        at += RECORD_HEADER + cycle.iovs[packet].iov_len;
    }
    return cycle;
}

int main(int argc, char **argv)
{
    static unsigned char payload[LENGTH_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT_DISCARD)};
    int64_t packets_max = INT64_MAX, sent = 0, octets = 0, refused = 0;
    int64_t started_ns, end_ns, now_ns;
    double seconds = 0, rate = 0;
    size_t at = 0;
    int cpu = -1, stamps = 0, mark = 0, option, fd;
    struct cycle cycle;
    struct rusage usage;
    const char *what;

    while ((option = getopt(argc, argv, "n:t:r:c:m:s")) != -1) {
        switch (option) {
        case 'n':
            packets_max = (int64_t)number(optarg);
            break;
        case 't':
            seconds = number(optarg);
            break;
        case 'r':
            rate = number(optarg);
            break;
        case 'c':
            cpu = (int)number(optarg);
            break;
        case 'm':
            mark = (int)number(optarg);
            break;
        case 's':
            stamps = 1;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 2 || (packets_max == INT64_MAX && seconds <= 0))
        errx(2, "usage: loadgen [-n packets] [-t seconds] [-r packets/s] [-c cpu] "
                "[-m mark] [-s] ADDRESS LENGTH|imix|SAVEFILE; -n or -t is needed");
    if (inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1)
        errx(2, "not an IPv4 address: %s", argv[optind]);
    what = argv[optind + 1];
    if (stamps && (what[0] < '0' || what[0] > '9'))
        errx(2, "-s needs a LENGTH");
    if (cpu >= 0) {
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
            err(1, "cpu %d", cpu);
    }
    if (strchr(what, '/') != NULL) {
        cycle = captured(what);
        fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    } else {
        cycle = made_up(what, payload);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        err(1, "%s", argv[optind]);
    if (mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
        err(1, "mark %d", mark);

    started_ns = now_ns = clock_ns(CLOCK_MONOTONIC);
    end_ns = seconds > 0 ? started_ns + (int64_t)(seconds * NS_PER_S) : INT64_MAX;
    while (sent < packets_max && now_ns < end_ns) {
        int64_t wanted = packets_max - sent;
        int done;

        if (rate > 0) {
            /* Packets are due one by one; whatever is overdue goes together. */
            int64_t due = (int64_t)((double)(now_ns - started_ns) * rate / NS_PER_S) + 1;

            if (due <= sent) {
                wait_until(started_ns + (int64_t)((double)sent / rate * NS_PER_S) + 1);
                now_ns = clock_ns(CLOCK_MONOTONIC);
                continue;
            }
            wanted = wanted < due - sent ? wanted : due - sent;
        }
        if (wanted > BURST)
            wanted = BURST;
        if (wanted > (int64_t)(cycle.count - at))
            wanted = (int64_t)(cycle.count - at);
        if (stamps) {
            int64_t stamp_ns = clock_ns(CLOCK_REALTIME);

            memcpy(payload, &stamp_ns, sizeof(stamp_ns));
        }
        done = sendmmsg(fd, cycle.messages + at, (unsigned)wanted, 0);
        if (done > 0) {
            sent += done;
            for (int message = 0; message < done; message++)
                octets += (int64_t)(cycle.iovs[at++].iov_len + cycle.headers);
            at = at < cycle.count ? at : 0;
        } else if (errno == ENOBUFS || errno == ECONNREFUSED || errno == EINTR) {
            refused++;
        } else {
            err(1, "after %lld packets", (long long)sent);
        }
        now_ns = clock_ns(CLOCK_MONOTONIC);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"packets\": %lld, \"octets\": %lld, \"seconds\": %.6f, "
           "\"cpu_seconds\": %.6f, \"refused\": %lld}\n",
           (long long)sent, (long long)octets, (double)(now_ns - started_ns) / NS_PER_S,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           (long long)refused);
    return 0;
}
