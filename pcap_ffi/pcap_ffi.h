/* The shapes that records.c, latency.c, savefile.c and buffers.c offer. */
#ifndef PCAP_FFI_PCAP_FFI_H
#define PCAP_FFI_PCAP_FFI_H

#include <stddef.h>
#include <stdint.h>

/* A packet record is a 16-octet header and the packet: pcap-savefile(5); here always
 * little-endian with nanoseconds. */
#define RECORD_HEADER 16

/* What libpcap refuses to read more than, for most link types: a record above it
 * would end the reader (MAXIMUM_SNAPLEN in libpcap's pcap-int.h). */
#define CAPLEN_MAX 262144

/* Octets that are read from a savefile at once. */
#define SAVEFILE_BEGINNING_MAX 262144

/* How savefile_read ended. */
#define SAVEFILE_FULL 1 /* the buffer is; the next record waits */
#define SAVEFILE_WAITS 0 /* the stream has no more now */
#define SAVEFILE_END (-1)
#define SAVEFILE_FAILED (-2) /* savefile_error() says why */

/* Records are little-endian, whatever the machine is. */
static inline void put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static inline uint32_t get32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

/* records.c */
int64_t records_count(const uint8_t *records, size_t length, size_t *at);
void records_to_microseconds(uint8_t *records, size_t length);
size_t records_truncate(uint8_t *records, size_t length, uint32_t snaplen);
size_t records_whole(const uint8_t *records, size_t length, size_t limit);

/* latency.c */
struct latency {
    uint64_t *counts; /* bounds of them, and one more for all above */
    uint64_t ahead;
    double sum_s;
};
void latency_observe(struct latency *latency, const int64_t *bounds_ns, size_t bounds,
                     const uint8_t *records, size_t length, int64_t now_ns,
                     uint32_t unit_ns);

/* savefile.c */
struct savefile;
struct savefile *savefile_open(int fd, const char *beginning, size_t length,
                               char *errbuf);
void savefile_close(struct savefile *file);
int savefile_linktype(const struct savefile *file);
const char *savefile_error(struct savefile *file);
int savefile_read(struct savefile *file, uint8_t *out, size_t capacity, size_t *used,
                  uint32_t *count, int64_t age_ns);

/* buffers.c */
void *buffer_alloc(size_t size);
void buffer_free(void *memory);
void buffer_keep_freed(void);

#endif
