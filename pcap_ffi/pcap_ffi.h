/* The shapes that records.c, latency.c, select.c and buffers.c offer, among others. */
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
size_t records_end(const uint8_t *records, size_t length, uint64_t count);

/* latency.c */
struct latency {
    uint64_t *counts; /* bounds of them, and one more for all above */
    uint64_t ahead;
    double sum_s;
};
void latency_observe(struct latency *latency, const int64_t *bounds_ns, size_t bounds,
                     const uint8_t *records, size_t length, int64_t now_ns,
                     uint32_t unit_ns);

/* select.c */
#define FILTER_MAX 512 /* instructions */

struct bpf_insn;
int filter_is_valid(const struct bpf_insn *filter, uint32_t count);
int filter_takes(const struct bpf_insn *filter, uint32_t linktype, const uint8_t *packet,
                 uint32_t caplen, uint32_t origlen);
size_t records_select(const uint8_t *records, size_t length, int64_t from_ns,
                      int64_t until_ns, uint32_t unit_ns, uint32_t linktype,
                      const struct bpf_insn *filter, uint8_t *out, uint32_t *count);

/* mtu.c */
uint32_t records_longer(const uint8_t *records, size_t length, uint32_t linktype,
                        uint32_t mtu);
size_t records_fit(const uint8_t *records, size_t length, uint32_t linktype,
                   uint32_t mtu, int cut, uint8_t *out);

/* relink.c */
#define RELINK_MADE 0 /* what becomes of a packet */
#define RELINK_MALFORMED 1
#define RELINK_NOT_IP 2
#define RELINK_FATES 3
#define RELINK_MORE 18 /* octets that a record may grow by */
struct relinked {
    size_t length; /* of the records that were made */
    uint32_t fates[RELINK_FATES];
};
int records_relinkable(uint32_t from, uint32_t to);
void records_relink(const uint8_t *records, size_t length, uint32_t from, uint32_t to,
                    uint8_t *out, uint8_t *fates, struct relinked *relinked);

/* pcapng.c */
struct pcapng_part {
    uint32_t interface; /* its number in the section */
    uint64_t lost;      /* packets, before its first one */
};
size_t pcapng_room(const uint8_t *records, size_t length, uint32_t count,
                   uint32_t parts, uint32_t linktype, uint32_t wanted);
size_t pcapng_encode(const uint8_t *records, size_t length, uint32_t per_second,
                     uint32_t linktype, uint32_t wanted, const uint32_t *order,
                     size_t order_length, struct pcapng_part *parts,
                     uint32_t parts_count, uint8_t *out);
size_t pcapng_whole(const uint8_t *blocks, size_t length, size_t limit);
uint64_t pcapng_packets(const uint8_t *blocks, size_t length);
size_t pcapng_undeclared(const uint8_t *blocks, size_t length, size_t at);

/* buffers.c */
void *buffer_alloc(size_t size);
void buffer_free(void *memory);
void buffer_keep_freed(void);

#endif
