/* Finds the packet behind the header of a link.
 *
 * Specification: the link types of https://www.tcpdump.org/linktypes.html; IEEE 802.1Q,
 * RFC 3032 (MPLS), RFC 4385 and 4448 (pseudowires), RFC 2516 (PPPoE), RFC 1661 (PPP). */
#include "within.h"

#define LINKTYPE_NULL 0
#define LINKTYPE_LOOP 108
#define LINKTYPE_LINUX_SLL 113
#define LINKTYPE_NFLOG 239
#define LINKTYPE_LINUX_SLL2 276

#define VLAN_TAG 4
#define MPLS_LABEL 4
#define CONTROL_WORD 4
#define PPPOE_HEADER 6

#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88A8
#define ETHERTYPE_OLD_QINQ 0x9100
#define ETHERTYPE_MPLS_UPSTREAM 0x8848
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_PPPOE_DISCOVERY 0x8863
#define ETHERTYPE_PPPOE 0x8864
#define ETHERTYPE_LLDP 0x88CC

#define PPP_IP4 0x0021
#define PPP_IP6 0x0057

#define NFLOG_HEADER 4
#define NFLOG_PAYLOAD 9 /* NFULA_PAYLOAD */
#define NFLOG_TYPE 0x3FFF /* NLA_TYPE_MASK */
#define NFLOG_TLVS_MAX 64

static const struct octets nothing = {(const uint8_t *)"", 0};

static int is_tag(uint32_t ethertype)
{
    return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ ||
           ethertype == ETHERTYPE_OLD_QINQ;
}

/* How many tags were passed; -1: there were too many, or they are cut off. */
int past_tags(uint32_t *ethertype, struct octets *in)
{
    int tags = 0;

    for (; is_tag(*ethertype); tags++) {
        if (tags == HEADERS_MAX || in->length < VLAN_TAG)
            return -1;
        *ethertype = big16(in->at + 2);
        *in = after(*in, VLAN_TAG);
    }
    return tags;
}

/* Whether this may begin a frame of Ethernet: by a type that is common, and by IP's
 * version where it is said to be IP. */
int is_like_ethernet(struct octets in)
{
    uint32_t ethertype;
    unsigned version;

    if (in.length <= ETHERNET_HEADER)
        return 0;
    ethertype = big16(in.at + 12);
    version = in.at[ETHERNET_HEADER] >> 4;
    switch (ethertype) {
    case ETHERTYPE_IP4:
        return version == 4;
    case ETHERTYPE_IP6:
        return version == 6;
    case ETHERTYPE_ARP:
    case ETHERTYPE_LLDP:
    case ETHERTYPE_MPLS:
    case ETHERTYPE_PPPOE:
    case ETHERTYPE_PPPOE_DISCOVERY:
        return 1;
    default:
        return is_tag(ethertype);
    }
}

/* Whether the sum over the header of IPv4 is what it has to be. */
static int is_summed(struct octets in)
{
    uint32_t header = (in.at[0] & 0xFU) * 4, sum = 0;

    if (header < 20 || header > in.length)
        return 0;
    for (uint32_t at = 0; at < header; at += 2)
        sum += big16(in.at + at);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (sum & 0xFFFF) + (sum >> 16) == 0xFFFF;
}

/* What follows the labels only the routers at both ends know; IP shows, and so does a
 * frame, behind a control word of four octets that begins with a zero or not. */
static struct within behind_labels(struct octets in)
{
    int is_frame = is_like_ethernet(in);

    if (in.length == 0)
        return within(WITHIN_NOTHING, in, PASSED_MPLS);
    switch (in.at[0] >> 4) {
    case 4:
        if (is_frame && !is_summed(in))
            break;
        return within(WITHIN_IP, in, PASSED_MPLS);
    case 6:
        if (is_frame)
            break;
        return within(WITHIN_IP, in, PASSED_MPLS);
    case 0:
        if (is_like_ethernet(after(in, CONTROL_WORD)))
            return within(WITHIN_ETHERNET, after(in, CONTROL_WORD), PASSED_MPLS);
        break;
    }
    return within(is_frame ? WITHIN_ETHERNET : WITHIN_NOTHING, in, PASSED_MPLS);
}

static struct within mpls(struct octets in)
{
    for (unsigned labels = 0; labels < HEADERS_MAX && in.length > MPLS_LABEL; labels++) {
        int is_last = in.at[2] & 1;

        in = after(in, MPLS_LABEL);
        if (is_last)
            return behind_labels(in);
    }
    return within(WITHIN_NOTHING, in, PASSED_MPLS);
}

/* A PPP frame, its address and protocol fields compressed or not. */
struct within within_ppp(struct octets in)
{
    uint32_t protocol;

    if (in.length >= 2 && in.at[0] == 0xFF && in.at[1] == 0x03)
        in = after(in, 2);
    if (in.length < 2)
        return within(WITHIN_NOTHING, in, 0);
    /* Of protocols the first octet is even, and the last one odd. */
    protocol = in.at[0] & 1 ? in.at[0] : big16(in.at);
    in = after(in, in.at[0] & 1 ? 1 : 2);
    if (protocol != PPP_IP4 && protocol != PPP_IP6)
        return within(WITHIN_NOTHING, in, 0);
    return within(WITHIN_IP, in, 0);
}

/* What an Ethernet type announces, behind VLAN tags and labels. */
struct within within_ethertype(uint32_t ethertype, struct octets in)
{
    int tags = past_tags(&ethertype, &in);
    struct within found;

    if (tags < 0)
        return within(WITHIN_NOTHING, in, PASSED_VLAN);
    switch (ethertype) {
    case ETHERTYPE_IP4:
    case ETHERTYPE_IP6:
        found = within(WITHIN_IP, in, 0);
        break;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
        found = mpls(in);
        break;
    case ETHERTYPE_PPPOE:
        found = within_ppp(after(in, PPPOE_HEADER));
        found.passed = PASSED_PPPOE;
        break;
    case ETHERTYPE_ETHERNET:
        found = within(WITHIN_ETHERNET, in, 0);
        break;
    default:
        found = within(WITHIN_NOTHING, in, 0);
    }
    found.passed |= tags > 0 ? PASSED_VLAN : 0;
    return found;
}

struct within within_ethernet(struct octets in)
{
    if (in.length < ETHERNET_HEADER)
        return within(WITHIN_NOTHING, nothing, 0);
    return within_ethertype(big16(in.at + 12), after(in, ETHERNET_HEADER));
}

/* A family and two octets of no use here; then attributes: lengths and types in the
 * order of the machine that captured, which is little-endian, or was converted. */
static struct within nflog(struct octets in)
{
    in = after(in, NFLOG_HEADER);
    for (unsigned tlvs = 0; tlvs < NFLOG_TLVS_MAX && in.length >= 4; tlvs++) {
        uint32_t length = (uint32_t)in.at[0] | (uint32_t)in.at[1] << 8;
        uint32_t type = (uint32_t)in.at[2] | (uint32_t)in.at[3] << 8;

        if (length < 4)
            break;
        if ((type & NFLOG_TYPE) == NFLOG_PAYLOAD) {
            /* Its end may have been cut off. */
            struct octets packet = {in.at + 4, length - 4};

            if (packet.length > in.length - 4)
                packet.length = in.length - 4;
            return within(WITHIN_IP, packet, 0);
        }
        in = after(in, (length + 3) & ~3U);
    }
    return within(WITHIN_NOTHING, nothing, 0);
}

/* Whether packets of this link type have a header that says an Ethernet type. */
int frame_of(uint32_t linktype, struct frame *frame)
{
    switch (linktype) {
    case LINKTYPE_ETHERNET:
        *frame = (struct frame){ETHERNET_HEADER, 12};
        return 1;
    case LINKTYPE_LINUX_SLL:
        *frame = (struct frame){16, 14};
        return 1;
    case LINKTYPE_LINUX_SLL2:
        *frame = (struct frame){20, 0};
        return 1;
    default:
        return 0;
    }
}

/* What a record holds of a link type that is neither Ethernet nor bare IP. */
struct within within_other_link(uint32_t linktype, struct octets in)
{
    struct frame frame;

    switch (linktype) {
    case LINKTYPE_NFLOG:
        return nflog(in);
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
        /* The family's number differs from system to system; the packet shows it. */
        return within(WITHIN_IP, after(in, 4), 0);
    default:
        if (!frame_of(linktype, &frame) || in.length < frame.header)
            return within(WITHIN_NOTHING, nothing, 0);
        return within_ethertype(big16(in.at + frame.type_at), after(in, frame.header));
    }
}
