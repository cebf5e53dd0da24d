/* Where the next packet begins within a packet: behind the header of a link, tags and
 * labels, and in tunnels. What link.c and tunnel.c tell flow.c, and filter_ffi. No
 * system call, and nothing is remembered.
 *
 * Each function is given octets that may be anything, and never reads beyond them. */
#ifndef FLOW_FFI_WITHIN_H
#define FLOW_FFI_WITHIN_H

#include <stdint.h>

/* So many headers of a kind are passed one after the other, and so many packets within
 * packets: enough for any network, and a bound on what one packet may cost. */
#define HEADERS_MAX 16
#define DEPTH_MAX 16

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW 101
#define LINKTYPE_IPV4 228
#define LINKTYPE_IPV6 229

#define ETHERNET_HEADER 14
#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_IP6 0x86DD
#define ETHERTYPE_ETHERNET 0x6558 /* "transparent", within GRE and Geneve */
#define ETHERTYPE_MPLS 0x8847

struct octets {
    const uint8_t *at;
    uint32_t length;
};

enum within_kind {
    WITHIN_NOTHING, /* that is known */
    WITHIN_IP,      /* or what is said to be IP: its header was not looked at */
    WITHIN_ETHERNET,
};

/* What was passed on the way; any of them, ored. */
#define PASSED_VLAN (1U << 0)
#define PASSED_MPLS (1U << 1)
#define PASSED_PPPOE (1U << 2)
#define PASSED_IP_IN_IP (1U << 3)
#define PASSED_GRE (1U << 4)
#define PASSED_ERSPAN (1U << 5)
#define PASSED_VXLAN (1U << 6)
#define PASSED_GENEVE (1U << 7)
#define PASSED_GTPU (1U << 8)
#define PASSED_TEREDO (1U << 9)
#define PASSED_KINDS 10 /* of them, the first three in frames */
#define PASSED_TUNNELS ((1U << PASSED_KINDS) - PASSED_IP_IN_IP)

/* Where nothing is within, and something was passed: it is unknown, or cut off. */
struct within {
    struct octets in;
    enum within_kind kind;
    uint32_t passed;
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

static inline struct within within(enum within_kind kind, struct octets in,
                                   uint32_t passed)
{
    return (struct within){in, kind, passed};
}

/* link.c */

/* The header of a link that says by an Ethernet type what follows. */
struct frame {
    uint32_t header;  /* its octets */
    uint32_t type_at; /* where the type is; its own are two */
};

int frame_of(uint32_t linktype, struct frame *frame);
int past_tags(uint32_t *ethertype, struct octets *in);
int is_like_ethernet(struct octets in);
struct within within_other_link(uint32_t linktype, struct octets in);
struct within within_ethernet(struct octets in);
struct within within_ethertype(uint32_t ethertype, struct octets in);
struct within within_ppp(struct octets in);

/* What a record of a link type holds. */
static inline struct within within_link(uint32_t linktype, struct octets in)
{
    switch (linktype) {
    case LINKTYPE_ETHERNET:
        return within(WITHIN_ETHERNET, in, 0);
    case LINKTYPE_RAW:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
        return within(WITHIN_IP, in, 0);
    default:
        return within_other_link(linktype, in);
    }
}

/* tunnel.c */
#define PORT_VXLAN 4789
#define PORT_VXLAN_LINUX 8472 /* before it had a number, and Linux's default still */
#define PORT_VXLAN_GPE 4790
#define PORT_GENEVE 6081
#define PORT_GTPU 2152
#define PORT_TEREDO 3544

struct within within_protocol(unsigned protocol, struct octets in);
struct within within_ports(uint32_t source, uint32_t target, struct octets in);

/* in: what follows the header of UDP. Of nearly all packets the ports say enough. */
static inline struct within within_udp(uint32_t source, uint32_t target,
                                       struct octets in)
{
    if (target == PORT_VXLAN || target == PORT_VXLAN_LINUX || target == PORT_VXLAN_GPE ||
        target == PORT_GENEVE || target == PORT_GTPU || target == PORT_TEREDO ||
        source == PORT_TEREDO)
        return within_ports(source, target, in);
    return within(WITHIN_NOTHING, in, 0);
}

#endif
