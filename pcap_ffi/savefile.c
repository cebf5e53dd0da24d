/* Reads a savefile (pcap or pcapng, by libpcap) from a descriptor into packet records.
 *
 * libpcap reads through a stdio stream and knows no "not now". So the stream is ours:
 * its octets come from a buffer here, and before the next record is asked for, an
 * empty buffer tells whether that would wait. A trickling pipe thus gives up its
 * batch in time, and only a record that has begun is waited for. */
#define _GNU_SOURCE /* fopencookie */
#include "pcap_ffi.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pcap/pcap.h>

#define BUFFER SAVEFILE_BEGINNING_MAX

struct savefile {
    int fd;
    pcap_t *pcap;
    int waiting; /* a record was read that did not fit: header and packet hold it */
    int failed;  /* for good: asked again, libpcap would report a plain end */
    char reason[64]; /* where it is not libpcap's */
    struct pcap_pkthdr *header;
    const u_char *packet; /* libpcap's, until its next read */
    size_t at, length;
    char buffer[BUFFER];
};

/* Whoever shares a pipe with us may have set O_NONBLOCK on it. */
static int wait_for_more(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return errno == EAGAIN && poll(&pollfd, 1, -1) > 0;
}

static ssize_t take(struct savefile *file, char *out, size_t wanted)
{
    size_t left = file->length - file->at;

    if (left == 0) {
        ssize_t got;

        do
            got = read(file->fd, file->buffer, sizeof(file->buffer));
        while (got < 0 && (errno == EINTR || wait_for_more(file->fd)));
        if (got <= 0)
            return got;
        file->at = 0;
        file->length = left = (size_t)got;
    }
    if (wanted > left)
        wanted = left;
    memcpy(out, file->buffer + file->at, wanted);
    file->at += wanted;
    return (ssize_t)wanted;
}

#ifdef __linux__
static ssize_t stream_read(void *cookie, char *out, size_t wanted)
{
    return take(cookie, out, wanted);
}

static FILE *open_stream(struct savefile *file)
{
    return fopencookie(file, "r", (cookie_io_functions_t){.read = stream_read});
}
#else
static int stream_read(void *cookie, char *out, int wanted)
{
    return (int)take(cookie, out, (size_t)wanted);
}

static FILE *open_stream(struct savefile *file)
{
    return funopen(file, stream_read, NULL, NULL, NULL);
}
#endif

/* fd: the caller's, open until after savefile_close().
 * beginning: octets that were read from it already, at most SAVEFILE_BEGINNING_MAX.
 * errbuf: PCAP_ERRBUF_SIZE octets, says what is wrong when NULL is returned. */
struct savefile *savefile_open(int fd, const char *beginning, size_t length,
                               char *errbuf)
{
    struct savefile *file = calloc(1, sizeof(*file));
    FILE *stream = NULL;

    if (file != NULL) {
        file->fd = fd;
        file->length = length < BUFFER ? length : BUFFER;
        memcpy(file->buffer, beginning, file->length);
        stream = open_stream(file);
    }
    if (stream == NULL) {
        snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
        free(file);
        return NULL;
    }
    /* The buffer is ours; a second one in stdio would hide what is left in it. */
    setvbuf(stream, NULL, _IONBF, 0);
    file->pcap = pcap_fopen_offline_with_tstamp_precision(
        stream, PCAP_TSTAMP_PRECISION_NANO, errbuf);
    if (file->pcap == NULL) {
        fclose(stream);
        free(file);
        return NULL;
    }
    return file;
}

void savefile_close(struct savefile *file)
{
    if (file == NULL)
        return;
    pcap_close(file->pcap); /* closes the stream too */
    free(file);
}

/* The LINKTYPE number. libpcap tells the DLT number, which differs from it for a few
 * types and by platform: pcap/dlt.h, pcap-common.c. */
int savefile_linktype(const struct savefile *file)
{
    int dlt = pcap_datalink(file->pcap);

    switch (dlt) {
    case DLT_RAW:
        return 101;
    case DLT_ATM_RFC1483:
        return 100;
    case DLT_SLIP_BSDOS:
        return 102;
    case DLT_PPP_BSDOS:
        return 103;
    case DLT_ATM_CLIP:
        return 106;
    default:
        return dlt;
    }
}

const char *savefile_error(struct savefile *file)
{
    return file->reason[0] != '\0' ? file->reason : pcap_geterr(file->pcap);
}

static int64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether the next octet is there before the deadline. */
static int is_readable(const struct savefile *file, int64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = file->fd, .events = POLLIN};
    int64_t left_ms = (deadline_ns - monotonic_ns()) / 1000000;

    if (file->at < file->length)
        return 1;
    return poll(&pollfd, 1, left_ms > 0 ? (int)left_ms : 0) != 0;
}

static void put_record(uint8_t *out, const struct pcap_pkthdr *header,
                       const u_char *packet)
{
    /* Nanoseconds, as asked for; a savefile may say more of them than a second has. */
    uint64_t nanoseconds = (uint64_t)header->ts.tv_usec;

    put32(out, (uint32_t)((uint64_t)header->ts.tv_sec + nanoseconds / 1000000000));
    put32(out + 4, (uint32_t)(nanoseconds % 1000000000));
    put32(out + 8, header->caplen);
    /* Some tools write an origlen below caplen; no reader of ours shall see that. */
    put32(out + 12, header->len > header->caplen ? header->len : header->caplen);
    memcpy(out + RECORD_HEADER, packet, header->caplen);
}

/* Appends records to out[*used, capacity) and adds to *count.
 *
 * Waits for the first record as long as it takes; with one in the buffer, at most
 * age_ns for more. Returns SAVEFILE_FULL, SAVEFILE_WAITS, SAVEFILE_END or
 * SAVEFILE_FAILED; what was read before an end or a failure is in the buffer. */
int savefile_read(struct savefile *file, uint8_t *out, size_t capacity, size_t *used,
                  uint32_t *count, int64_t age_ns)
{
    int64_t deadline_ns = 0;

    if (file->failed)
        return SAVEFILE_FAILED;
    for (;;) {
        if (!file->waiting) {
            int status;

            if (deadline_ns > 0 && !is_readable(file, deadline_ns))
                return SAVEFILE_WAITS;
            status = pcap_next_ex(file->pcap, &file->header, &file->packet);
            if (status == PCAP_ERROR_BREAK)
                return SAVEFILE_END;
            if (status != 1) {
                file->failed = 1;
                return SAVEFILE_FAILED;
            }
            if (file->header->caplen > CAPLEN_MAX) {
                file->failed = 1;
                snprintf(file->reason, sizeof(file->reason),
                         "a packet of %u octets, more than %d", file->header->caplen,
                         CAPLEN_MAX);
                return SAVEFILE_FAILED;
            }
            file->waiting = 1;
        }
        if (capacity - *used < RECORD_HEADER + (size_t)file->header->caplen)
            return SAVEFILE_FULL;
        put_record(out + *used, file->header, file->packet);
        *used += RECORD_HEADER + (size_t)file->header->caplen;
        ++*count;
        file->waiting = 0;
        if (deadline_ns == 0)
            deadline_ns = monotonic_ns() + age_ns;
    }
}
