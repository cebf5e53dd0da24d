/* Finds the packet within a tunnel's.
 *
 * Specification: RFC 2003 (IP in IP), RFC 4213 (6in4), RFC 2784 and 2890 (GRE), RFC 2637
 * (PPTP), RFC 7637 (NVGRE), draft-foschiano-erspan-03, RFC 7348 (VXLAN),
 * draft-ietf-nvo3-vxlan-gpe, RFC 8926 (Geneve), 3GPP TS 29.281 (GTP-U), RFC 4380
 * (Teredo). */
#include "dissect.h"

#define PROTOCOL_IP4 4
#define PROTOCOL_IP6 41
#define PROTOCOL_GRE 47
#define PROTOCOL_MPLS 137

#define PORT_VXLAN 4789
#define PORT_VXLAN_LINUX 8472 /* before it had a number, and Linux's default still */
#define PORT_VXLAN_GPE 4790
#define PORT_GENEVE 6081
#define PORT_GTPU 2152
#define PORT_TEREDO 3544

#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_ACKNOWLEDGEMENT 0x0080
#define GRE_VERSION 0x0007
#define GRE_PPP 0x880B
#define GRE_ERSPAN 0x88BE
#define GRE_ERSPAN_3 0x22EB

#define GTPU_G_PDU 0xFF

static int erspan_3(const struct walk *walk, struct octets in, uint64_t *flow)
{
    if (in.length < 12)
        return 0;
    /* The last bit: whether a platform's own header follows. */
    return flow_ethernet(walk, after(in, in.at[11] & 1 ? 20 : 12), flow);
}

static int gre(const struct walk *walk, struct octets in, uint64_t *flow)
{
    uint32_t flags, protocol, header = 4;

    if (in.length < 4)
        return 0;
    flags = big16(in.at);
    protocol = big16(in.at + 2);
    if (flags & GRE_ROUTING)
        return 0;
    header += flags & GRE_CHECKSUM ? 4 : 0;
    header += flags & GRE_KEY ? 4 : 0;
    header += flags & GRE_SEQUENCE ? 4 : 0;
    if ((flags & GRE_VERSION) == 1) {
        header += flags & GRE_ACKNOWLEDGEMENT ? 4 : 0;
        return protocol == GRE_PPP && flow_ppp(walk, after(in, header), flow);
    }
    if ((flags & GRE_VERSION) != 0)
        return 0;
    in = after(in, header);
    switch (protocol) {
    case GRE_ERSPAN:
        /* Only its second version has a header, and numbers its packets. */
        return flow_ethernet(walk, after(in, flags & GRE_SEQUENCE ? 8 : 0), flow);
    case GRE_ERSPAN_3:
        return erspan_3(walk, in, flow);
    default:
        return flow_ethertype(walk, protocol, in, flow);
    }
}

static int vxlan(const struct walk *walk, struct octets in, uint64_t *flow)
{
    if (in.length < 8 || !(in.at[0] & 0x08))
        return 0;
    return flow_ethernet(walk, after(in, 8), flow);
}

static int vxlan_gpe(const struct walk *walk, struct octets in, uint64_t *flow)
{
    if (in.length < 8 || !(in.at[0] & 0x08))
        return 0;
    if (!(in.at[0] & 0x04))
        return flow_ethernet(walk, after(in, 8), flow);
    switch (in.at[3]) {
    case 1:
    case 2:
        return flow_ip(walk, after(in, 8), flow);
    case 3:
        return flow_ethernet(walk, after(in, 8), flow);
    default:
        return 0;
    }
}

static int geneve(const struct walk *walk, struct octets in, uint64_t *flow)
{
    /* Version 0, and no control message. */
    if (in.length < 8 || in.at[0] >> 6 != 0 || in.at[1] & 0x80)
        return 0;
    return flow_ethertype(walk, big16(in.at + 2),
                          after(in, 8 + (in.at[0] & 0x3FU) * 4), flow);
}

static int gtpu(const struct walk *walk, struct octets in, uint64_t *flow)
{
    unsigned flags, next = 0;

    if (in.length < 8)
        return 0;
    flags = in.at[0];
    /* Version 1, and not GTP'. */
    if (flags >> 4 != 3 || in.at[1] != GTPU_G_PDU)
        return 0;
    if (flags & 0x07) {
        if (in.length < 12)
            return 0;
        next = flags & 0x04 ? in.at[11] : 0;
    }
    in = after(in, flags & 0x07 ? 12 : 8);
    for (unsigned headers = 0; next != 0; headers++) {
        uint32_t length = in.length > 0 ? in.at[0] * 4U : 0;

        if (headers == HEADERS_MAX || length == 0 || length > in.length)
            return 0;
        next = in.at[length - 1];
        in = after(in, length);
    }
    return flow_ip(walk, in, flow);
}

static int teredo(const struct walk *walk, struct octets in, uint64_t *flow)
{
    /* Authentication, with a client's id and a value of these lengths; then origin. */
    if (in.length >= 4 && in.at[0] == 0 && in.at[1] == 1)
        in = after(in, 13U + in.at[2] + in.at[3]);
    if (in.length >= 2 && in.at[0] == 0 && in.at[1] == 0)
        in = after(in, 8);
    /* Only IPv6 is carried. */
    return in.length > 0 && in.at[0] >> 4 == 6 && flow_ip(walk, in, flow);
}

/* in: what follows the header of IP. */
int tunnel_by_protocol(const struct walk *walk, unsigned protocol, struct octets in,
                       uint64_t *flow)
{
    switch (protocol) {
    case PROTOCOL_IP4:
    case PROTOCOL_IP6:
        return flow_ip(walk, in, flow);
    case PROTOCOL_GRE:
        return gre(walk, in, flow);
    case PROTOCOL_MPLS:
        return flow_ethertype(walk, ETHERTYPE_MPLS, in, flow);
    default:
        return 0;
    }
}

/* in: what follows the header of UDP. */
int tunnel_by_port(const struct walk *walk, uint32_t source, uint32_t target,
                   struct octets in, uint64_t *flow)
{
    switch (target) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
        return vxlan(walk, in, flow);
    case PORT_VXLAN_GPE:
        return vxlan_gpe(walk, in, flow);
    case PORT_GENEVE:
        return geneve(walk, in, flow);
    case PORT_GTPU:
        return gtpu(walk, in, flow);
    default:
        if (source == PORT_TEREDO || target == PORT_TEREDO)
            return teredo(walk, in, flow);
        return 0;
    }
}
