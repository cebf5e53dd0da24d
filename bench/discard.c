/* Reads a pcap stream to its end and throws it away, counting its packet records.
 *
 * usage: discard [-s octets] [-l] PATH
 *
 * -s: stop reading for good after so many octets, and say so: the slow reader, until it
 * is killed. -l: take the time that loadgen -s wrote into each packet, and print how
 * long it took from there to this reader. PATH may be a FIFO; its pipe is made 1 MiB.
 * Prints one JSON object at the end of the stream: packets, octets, packet_octets
 * (without what a savefile puts around a packet), torn (octets after the last whole
 * record), cpu_seconds, and with -l the delays, in nanoseconds.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define FILE_HEADER 24
#define RECORD_HEADER 16
#define CAPLEN_MAX (256 << 10)
#define IP_AND_UDP_HEADERS 28
#define DELAYS_MAX (4 << 20)

/* LINKTYPE_NFLOG, which tcpdump writes: a header, then attributes, each with its length
 * and type in the octet order of the host, of which one is the packet. */
#define LINKTYPE_NFLOG 239
#define NFLOG_HEADER 4
#define ATTRIBUTE_HEADER 4
#define ATTRIBUTE_PAYLOAD 9

static const uint32_t MAGIC_US = 0xa1b2c3d4, MAGIC_NS = 0xa1b23c4d;

static unsigned char buffer[BUFFER];
static int64_t delays[DELAYS_MAX];
static int delays_count;

static uint32_t get32(const unsigned char *in)
{
    uint32_t value;

    memcpy(&value, in, sizeof(value));
    return value;
}

/* Goes from what a packet record holds to the IP packet in it. */
static void unwrap(const unsigned char **packet, uint32_t *caplen)
{
    uint32_t at = NFLOG_HEADER;

    while (at + ATTRIBUTE_HEADER <= *caplen) {
        uint16_t length, type;

        memcpy(&length, *packet + at, sizeof(length));
        memcpy(&type, *packet + at + 2, sizeof(type));
        if (length < ATTRIBUTE_HEADER || length > *caplen - at)
            break;
        if (type == ATTRIBUTE_PAYLOAD) {
            *packet += at + ATTRIBUTE_HEADER;
            *caplen = length - ATTRIBUTE_HEADER;
            return;
        }
        at += (length + 3U) & ~3U;
    }
    *caplen = 0;
}

static void note_delay(const unsigned char *packet, uint32_t caplen, int64_t now_ns)
{
    int64_t sent_ns;

    if (delays_count == DELAYS_MAX || caplen < IP_AND_UDP_HEADERS + sizeof(sent_ns))
        return;
    memcpy(&sent_ns, packet + IP_AND_UDP_HEADERS, sizeof(sent_ns));
    delays[delays_count++] = now_ns - sent_ns;
}

int main(int argc, char **argv)
{
    int64_t packets = 0, octets = 0, packet_octets = 0, stall_at = INT64_MAX;
    size_t filled = 0;
    uint32_t linktype = 0;
    int delays_wanted = 0, has_header = 0, option, fd;
    struct rusage usage;

    while ((option = getopt(argc, argv, "s:l")) != -1) {
        switch (option) {
        case 's':
            stall_at = atoll(optarg);
            break;
        case 'l':
            delays_wanted = 1;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 1)
        errx(2, "usage: discard [-s octets] [-l] PATH");
    fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", argv[optind]);
    /* Whoever writes may not have thought of it: the same pipe for all. No pipe, no
     * matter. */
    fcntl(fd, F_SETPIPE_SZ, BUFFER);

    for (;;) {
        size_t at = 0, want = sizeof(buffer) - filled;
        ssize_t got;

        if (octets >= stall_at) {
            fputs("stalled\n", stdout);
            fflush(stdout);
            for (;;)
                pause();
        }
        if ((int64_t)want > stall_at - octets)
            want = (size_t)(stall_at - octets);
        do
            got = read(fd, buffer + filled, want);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            err(1, "%s", argv[optind]);
        if (got == 0)
            break;
        octets += got;
        filled += (size_t)got;
        if (!has_header && filled >= FILE_HEADER) {
            uint32_t magic = get32(buffer);

            if (magic != MAGIC_US && magic != MAGIC_NS)
                errx(1, "%s: no savefile, it starts with %08x", argv[optind], magic);
            linktype = get32(buffer + FILE_HEADER - 4);
            has_header = 1;
            at = FILE_HEADER;
        }
        if (has_header) {
            struct timespec now;
            int64_t now_ns = 0;

            if (delays_wanted) {
                clock_gettime(CLOCK_REALTIME, &now);
                now_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
            }
            while (filled - at >= RECORD_HEADER) {
                uint32_t caplen = get32(buffer + at + 8);

                if (caplen > CAPLEN_MAX)
                    errx(1, "packet %lld has %u octets: the stream is broken",
                         (long long)packets + 1, caplen);
                if (filled - at - RECORD_HEADER < caplen)
                    break;
                const unsigned char *packet = buffer + at + RECORD_HEADER;
                uint32_t length = caplen;

                if (linktype == LINKTYPE_NFLOG)
                    unwrap(&packet, &length);
                packet_octets += length;
                if (delays_wanted)
                    note_delay(packet, length, now_ns);
                at += RECORD_HEADER + caplen;
                packets++;
            }
        }
        filled -= at;
        memmove(buffer, buffer + at, filled);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"packets\": %lld, \"octets\": %lld, \"packet_octets\": %lld, "
           "\"torn\": %zu, \"cpu_seconds\": %.6f, \"delays_ns\": [",
           (long long)packets, (long long)octets, (long long)packet_octets, filled,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    for (int at = 0; at < delays_count; at++)
        printf("%s%lld", at > 0 ? ", " : "", (long long)delays[at]);
    puts("]}");
    return 0;
}
