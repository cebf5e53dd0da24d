/* What is done to packets that were logged before they were ready for the wire: the
 * shapes of mend.c, and of packet.c, which finds its way into them. */
#ifndef PCAP_FFI_MEND_H
#define PCAP_FFI_MEND_H

#include <stddef.h>
#include <stdint.h>

/* What to do; any of them, ored. */
#define MEND_FIX 1     /* finish checksums and lengths */
#define MEND_SEGMENT 2 /* split what is longer than mtu */

struct mend {
    /* By whoever asks. */
    uint32_t linktype;
    uint32_t what;
    uint32_t mtu; /* octets of an IP packet */

    /* By mend_plan(). */
    size_t room;     /* octets that mend_apply() may need; 0: there is nothing to do */
    uint32_t splits; /* packets that it will split */

    /* In packets, by mend_apply(), and by mend_plan() where there is nothing to do. */
    uint32_t fixed;
    uint32_t unfixed;     /* unfinished, and it cannot be finished here */
    uint32_t segments;    /* made of the packets that were split */
    uint32_t unsegmented; /* longer than mtu, and it cannot be split here */
};

/* One packet that was split: the number, from 0, of the first of its records among
 * those written, and how many they are. */
struct mend_split {
    uint32_t first;
    uint32_t records;
};

void mend_plan(struct mend *mend, const uint8_t *records, size_t length);
size_t mend_apply(struct mend *mend, const uint8_t *records, size_t length,
                  uint8_t *out, struct mend_split *splits);

/* packet.c: where things are in one packet, counted from its first octet. */
#define PACKET_TCP 6
#define PACKET_UDP 17
#define PACKET_NONE UINT32_MAX

enum packet_length {
    LENGTH_SAID,   /* in the IP header */
    LENGTH_ABSENT, /* 0 there, since it has no room: BIG TCP */
    LENGTH_JUMBO,  /* 0 there, and in a jumbo payload option (RFC 2675) before TCP */
};

struct packet {
    const uint8_t *octets;
    uint32_t outermost;   /* the first IP header; PACKET_NONE without one */
    uint32_t end;         /* of what was captured of that IP packet, or of its frame */
    uint32_t tag;         /* LINKTYPE_NFLOG: the payload's attribute; otherwise 0 */
    uint32_t network;     /* the IP header before the transport */
    uint32_t length;      /* of the IP packet that begins there, as it really is */
    uint32_t destination; /* the address that the checksum covers */
    uint32_t transport;
    uint32_t payload; /* 0: the transport's header is not all there */
    uint8_t version;  /* 4 or 6 */
    uint8_t protocol; /* PACKET_TCP or PACKET_UDP */
    uint8_t has_length;
};

int packet_parse(struct packet *packet, const uint8_t *octets, uint32_t caplen,
                 uint32_t origlen, uint32_t linktype);

/* Sums of the ones' complement, of 16-bit words as they lie in memory: RFC 1071. */
uint64_t sum_octets(uint64_t sum, const uint8_t *octets, size_t count);
uint16_t sum_fold(uint64_t sum);
uint64_t packet_pseudo_sum(const struct packet *packet, uint32_t length);

/* Of packets: big-endian. */
static inline uint32_t get_field(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t get_long_field(const uint8_t *at)
{
    return get_field(at) << 16 | get_field(at + 2);
}

static inline void put_field(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put_long_field(uint8_t *at, uint32_t value)
{
    put_field(at, value >> 16);
    put_field(at + 2, value);
}

#endif
