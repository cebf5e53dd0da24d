/* Sends UDP packets of one size from one connected socket, flat out or paced.
 *
 * usage: loadgen [-n packets] [-t seconds] [-r packets/s] [-c cpu] [-s] ADDRESS LENGTH
 *
 * LENGTH is the IP packet's, so the payload is 28 octets shorter. Ends after -n packets
 * or -t seconds, whichever is first. -s writes the time of sending (CLOCK_REALTIME,
 * nanoseconds, this machine's octet order) into the first eight octets of the payload.
 * Prints one JSON object: packets, seconds, cpu_seconds, refused (system calls that the
 * kernel answered with an error and that were made again).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IP_AND_UDP_HEADERS 28
#define LENGTH_MAX 1500
#define PORT_DISCARD 9 /* RFC 863 */
/* Large enough that the system call itself costs nothing that shows. */
#define BURST 64
#define NS_PER_S 1000000000LL

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

int main(int argc, char **argv)
{
    static char payload[LENGTH_MAX];
    static struct mmsghdr burst[BURST];
    struct iovec iov = {.iov_base = payload};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT_DISCARD)};
    int64_t packets_max = INT64_MAX, sent = 0, refused = 0;
    int64_t started_ns, end_ns, now_ns;
    double seconds = 0, rate = 0, length;
    int cpu = -1, stamps = 0, option, fd;
    struct rusage usage;

    while ((option = getopt(argc, argv, "n:t:r:c:s")) != -1) {
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
        case 's':
            stamps = 1;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 2 || (packets_max == INT64_MAX && seconds <= 0))
        errx(2, "usage: loadgen [-n packets] [-t seconds] [-r packets/s] [-c cpu] [-s] "
                "ADDRESS LENGTH; one of -n and -t is needed");
    if (inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1)
        errx(2, "not an IPv4 address: %s", argv[optind]);
    length = number(argv[optind + 1]);
    if (length < IP_AND_UDP_HEADERS + sizeof(int64_t) || length > LENGTH_MAX)
        errx(2, "LENGTH is %g, outside %zu to %d", length,
             IP_AND_UDP_HEADERS + sizeof(int64_t), LENGTH_MAX);
    if (cpu >= 0) {
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
            err(1, "cpu %d", cpu);
    }
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        err(1, "%s", argv[optind]);
    iov.iov_len = (size_t)length - IP_AND_UDP_HEADERS;
    /* Not all zeros, so that nothing on the way takes a short cut. */
    for (size_t at = 0; at < sizeof(payload); at++)
        payload[at] = (char)(at * 31 + 7);
    for (size_t at = 0; at < BURST; at++)
        burst[at].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};

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
        if (stamps) {
            int64_t stamp_ns = clock_ns(CLOCK_REALTIME);

            memcpy(payload, &stamp_ns, sizeof(stamp_ns));
        }
        done = sendmmsg(fd, burst, wanted < BURST ? (unsigned)wanted : BURST, 0);
        if (done > 0)
            sent += done;
        else if (errno == ENOBUFS || errno == ECONNREFUSED || errno == EINTR)
            refused++;
        else
            err(1, "after %lld packets", (long long)sent);
        now_ns = clock_ns(CLOCK_MONOTONIC);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"packets\": %lld, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
           "\"refused\": %lld}\n",
           (long long)sent, (double)(now_ns - started_ns) / NS_PER_S,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           (long long)refused);
    return 0;
}
