/* What capture.c offers: octets of a capture file in, packet records out. No system
 * call, and nothing of libpcap's. */
#ifndef PCAP_FFI_CAPTURE_H
#define PCAP_FFI_CAPTURE_H

#include "pcap_ffi.h"

/* No more than this has to be at hand for a packet of the longest kind. */
#define CAPTURE_NEEDS_MAX (1 << 20)

/* What pcapng may have of them in one section. */
#define CAPTURE_INTERFACES_MAX 65536

/* How capture_read ended. */
#define CAPTURE_WANTS 0 /* more octets, or the end */
#define CAPTURE_FULL 1 /* the next packet does not fit into what is left of out */
#define CAPTURE_TURNS 2 /* the next packet has another link type */
#define CAPTURE_BROKEN (-1) /* what comes next is no capture: `reason` says why */
#define CAPTURE_NO_MEMORY (-2)

enum capture_kind { CAPTURE_UNKNOWN, CAPTURE_PCAP, CAPTURE_PCAPNG };

/* What passed so far. */
struct capture_sums {
    uint64_t packets;
    uint64_t octets; /* captured */
    uint64_t octets_on_wire;
    uint64_t truncated; /* packets of which less was captured */
    uint64_t backwards; /* packets before the one before them */
    uint64_t without_time; /* they have that of the packet before them */
    int64_t first_ns, last_ns; /* the earliest and the latest, since the epoch */
    uint32_t interfaces;
    uint32_t snaplen; /* the largest; 0: none is given */
};

/* How much passed when: so many equal spans from the first packet on, a second each, or
 * twice as long, and twice again, so that all have room. */
#define CAPTURE_SPANS 512

struct capture_rates {
    int64_t start_ns;
    int64_t span_ns;
    int64_t now_ns; /* where the span of the last packet begins */
    uint32_t now;   /* its number */
    uint32_t used;  /* spans up to the last that has packets */
    uint64_t packets[CAPTURE_SPANS];
    uint64_t octets[CAPTURE_SPANS];
};

struct capture_interface {
    uint32_t linktype;
    uint32_t snaplen;
    uint64_t units; /* in a second; 0: 2 to the power of */
    unsigned power;
    int64_t offset_s;
};

struct capture {
    enum capture_kind kind;
    int is_big; /* endian */
    int is_nano; /* pcap: else microseconds, or as the interface says */
    uint32_t record_header; /* pcap: octets before a packet */
    uint64_t at; /* where in the file what comes next begins */
    uint64_t to_skip; /* octets of a block that nobody wants */
    uint32_t linktype; /* of the records that were given last */
    int64_t before_ns; /* the time of the last packet */
    struct capture_interface *interfaces;
    uint32_t interfaces_count, interfaces_room;
    struct capture_sums sums;
    struct capture_rates *rates; /* the caller's; NULL: nobody wants them */
    const struct bpf_insn *filter; /* valid, and the caller's; NULL: all are given */
    uint32_t filter_linktype; /* packets of others are given */
    uint64_t passed_over; /* packets that it did not take; in the sums like others */
    uint32_t largest; /* packet: octets captured */
    char reason[96];
};

struct capture *capture_new(void);
void capture_free(struct capture *capture);
int capture_read(struct capture *capture, const uint8_t *in, size_t length,
                 size_t *taken, uint8_t *out, size_t capacity, size_t *used,
                 uint32_t *count, int goes_on);

#endif
