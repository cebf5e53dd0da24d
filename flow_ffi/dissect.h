/* What flow.c, link.c and tunnel.c know together: octets of a packet that is looked into.
 *
 * Each function here is given octets that may be anything, and gives 1 and the number of
 * a flow, or 0 where there is no packet of IP in them. */
#ifndef FLOW_FFI_DISSECT_H
#define FLOW_FFI_DISSECT_H

#include "flow.h"

/* So many headers of a kind are passed one after the other, and so many packets within
 * packets: enough for any network, and a bound on what one packet may cost. */
#define HEADERS_MAX 16
#define DEPTH_MAX 16

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86DD
#define ETHERTYPE_ETHERNET 0x6558 /* "transparent", within GRE and Geneve */
#define ETHERTYPE_MPLS 0x8847

struct octets {
    const uint8_t *at;
    uint32_t length;
};

struct walk {
    const struct flow_seed *seed;
    struct fragments *fragments; /* NULL: all of a datagram go by its addresses */
    int inner;
    int is_quoted; /* in an ICMP error: of a packet that went elsewhere */
    int *begins;
    unsigned depth;
};

static inline uint32_t big16(const uint8_t *in)
{
    return (uint32_t)in[0] << 8 | in[1];
}

static inline uint32_t big32(const uint8_t *in)
{
    return big16(in) << 16 | big16(in + 2);
}

static inline uint64_t big64(const uint8_t *in)
{
    return (uint64_t)big32(in) << 32 | big32(in + 4);
}

/* What follows the first octets; nothing where there are not so many. */
static inline struct octets after(struct octets in, uint32_t octets)
{
    if (octets > in.length)
        octets = in.length;
    return (struct octets){in.at + octets, in.length - octets};
}

/* flow.c */
int flow_ip(const struct walk *walk, struct octets in, uint64_t *flow);

/* link.c */
int flow_link(const struct walk *walk, uint32_t linktype, struct octets in,
              uint64_t *flow);
int flow_ethernet(const struct walk *walk, struct octets in, uint64_t *flow);
int flow_ethertype(const struct walk *walk, uint32_t ethertype, struct octets in,
                   uint64_t *flow);
int flow_ppp(const struct walk *walk, struct octets in, uint64_t *flow);

/* tunnel.c */
int tunnel_by_protocol(const struct walk *walk, unsigned protocol, struct octets in,
                       uint64_t *flow);
int tunnel_by_port(const struct walk *walk, uint32_t source, uint32_t target,
                   struct octets in, uint64_t *flow);

#endif
