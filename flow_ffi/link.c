/* Finds the packet behind the header of a link.
 *
 * Specification: the link types of https://www.tcpdump.org/linktypes.html; IEEE 802.1Q,
 * RFC 3032 (MPLS), RFC 2516 (PPPoE), RFC 1661 (PPP). */
#include "dissect.h"

#define LINKTYPE_NULL 0
#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW 101
#define LINKTYPE_LOOP 108
#define LINKTYPE_LINUX_SLL 113
#define LINKTYPE_IPV4 228
#define LINKTYPE_IPV6 229
#define LINKTYPE_NFLOG 239
#define LINKTYPE_LINUX_SLL2 276

#define ETHERNET_HEADER 14
#define VLAN_TAG 4
#define MPLS_LABEL 4
#define PPPOE_HEADER 6

#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88A8
#define ETHERTYPE_OLD_QINQ 0x9100
#define ETHERTYPE_MPLS_UPSTREAM 0x8848
#define ETHERTYPE_PPPOE 0x8864

#define PPP_IP4 0x0021
#define PPP_IP6 0x0057

#define NFLOG_HEADER 4
#define NFLOG_PAYLOAD 9 /* NFULA_PAYLOAD */
#define NFLOG_TYPE 0x3FFF /* NLA_TYPE_MASK */
#define NFLOG_TLVS_MAX 64

static int is_tag(uint32_t ethertype)
{
    return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ ||
           ethertype == ETHERTYPE_OLD_QINQ;
}

static int mpls(const struct walk *walk, struct octets in, uint64_t *flow)
{
    for (unsigned labels = 0; labels < HEADERS_MAX && in.length > MPLS_LABEL; labels++) {
        int is_last = in.at[2] & 1;

        in = after(in, MPLS_LABEL);
        if (is_last)
            /* What follows, only the routers at both ends know; IP shows. */
            return flow_ip(walk, in, flow);
    }
    return 0;
}

/* A PPP frame, its address and protocol fields compressed or not. */
int flow_ppp(const struct walk *walk, struct octets in, uint64_t *flow)
{
    uint32_t protocol;

    if (in.length >= 2 && in.at[0] == 0xFF && in.at[1] == 0x03)
        in = after(in, 2);
    if (in.length < 2)
        return 0;
    /* Of protocols the first octet is even, and the last one odd. */
    protocol = in.at[0] & 1 ? in.at[0] : big16(in.at);
    in = after(in, in.at[0] & 1 ? 1 : 2);
    if (protocol != PPP_IP4 && protocol != PPP_IP6)
        return 0;
    return flow_ip(walk, in, flow);
}

/* What an Ethernet type announces, behind VLAN tags and labels. */
int flow_ethertype(const struct walk *walk, uint32_t ethertype, struct octets in,
                   uint64_t *flow)
{
    for (unsigned tags = 0; is_tag(ethertype); tags++) {
        if (tags == HEADERS_MAX || in.length < VLAN_TAG)
            return 0;
        ethertype = big16(in.at + 2);
        in = after(in, VLAN_TAG);
    }
    switch (ethertype) {
    case ETHERTYPE_IP4:
    case ETHERTYPE_IP6:
        return flow_ip(walk, in, flow);
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        return mpls(walk, in, flow);
    case ETHERTYPE_PPPOE:
        return flow_ppp(walk, after(in, PPPOE_HEADER), flow);
    case ETHERTYPE_ETHERNET:
        return flow_ethernet(walk, in, flow);
    default:
        return 0;
    }
}

int flow_ethernet(const struct walk *walk, struct octets in, uint64_t *flow)
{
    struct walk deeper = *walk;

    if (in.length < ETHERNET_HEADER || ++deeper.depth > DEPTH_MAX)
        return 0;
    return flow_ethertype(&deeper, big16(in.at + 12), after(in, ETHERNET_HEADER), flow);
}

/* A family and two octets of no use here; then attributes: lengths and types in the
 * order of the machine that captured, which is little-endian, or was converted. */
static int nflog(const struct walk *walk, struct octets in, uint64_t *flow)
{
    in = after(in, NFLOG_HEADER);
    for (unsigned tlvs = 0; tlvs < NFLOG_TLVS_MAX && in.length >= 4; tlvs++) {
        uint32_t length = (uint32_t)in.at[0] | (uint32_t)in.at[1] << 8;
        uint32_t type = (uint32_t)in.at[2] | (uint32_t)in.at[3] << 8;

        if (length < 4)
            return 0;
        if ((type & NFLOG_TYPE) == NFLOG_PAYLOAD) {
            /* Its end may have been cut off. */
            struct octets packet = {in.at + 4, length - 4};

            if (packet.length > in.length - 4)
                packet.length = in.length - 4;
            return flow_ip(walk, packet, flow);
        }
        in = after(in, (length + 3) & ~3U);
    }
    return 0;
}

/* What a record of a link type holds. */
int flow_link(const struct walk *walk, uint32_t linktype, struct octets in,
              uint64_t *flow)
{
    switch (linktype) {
    case LINKTYPE_RAW:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
        return flow_ip(walk, in, flow);
    case LINKTYPE_ETHERNET:
        return flow_ethernet(walk, in, flow);
    case LINKTYPE_NFLOG:
        return nflog(walk, in, flow);
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
        /* The family's number differs from system to system; the packet shows it. */
        return flow_ip(walk, after(in, 4), flow);
    case LINKTYPE_LINUX_SLL:
        if (in.length < 16)
            return 0;
        return flow_ethertype(walk, big16(in.at + 14), after(in, 16), flow);
    case LINKTYPE_LINUX_SLL2:
        if (in.length < 20)
            return 0;
        return flow_ethertype(walk, big16(in.at), after(in, 20), flow);
    default:
        return 0;
    }
}
