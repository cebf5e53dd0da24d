/* Finds the packet within a tunnel's.
 *
 * Specification: RFC 2003 (IP in IP), RFC 4213 (6in4), RFC 2784 and 2890 (GRE), RFC 2637
 * (PPTP), RFC 7637 (NVGRE), draft-foschiano-erspan-03, RFC 7348 (VXLAN),
 * draft-ietf-nvo3-vxlan-gpe, RFC 8926 (Geneve), 3GPP TS 29.281 (GTP-U), RFC 4380
 * (Teredo). */
#include "within.h"

#define PROTOCOL_IP4 4
#define PROTOCOL_IP6 41
#define PROTOCOL_GRE 47
#define PROTOCOL_MPLS 137

#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_ACKNOWLEDGEMENT 0x0080
#define GRE_VERSION 0x0007
#define GRE_PPP 0x880B
#define GRE_ERSPAN 0x88BE
#define GRE_ERSPAN_3 0x22EB

#define ERSPAN_3_IP 2 /* of types of frames */

#define GTPU_G_PDU 0xFF

static struct within erspan_3(struct octets in)
{
    unsigned type;

    if (in.length < 12)
        return within(WITHIN_NOTHING, in, PASSED_ERSPAN);
    type = in.at[10] >> 2 & 0x1F;
    /* The last bit: whether a platform's own header follows. */
    in = after(in, in.at[11] & 1 ? 20 : 12);
    return within(type == ERSPAN_3_IP ? WITHIN_IP : WITHIN_ETHERNET, in, PASSED_ERSPAN);
}

static struct within gre(struct octets in)
{
    uint32_t flags, protocol, header = 4;
    struct within found = within(WITHIN_NOTHING, in, PASSED_GRE);

    if (in.length < 4)
        return found;
    flags = big16(in.at);
    protocol = big16(in.at + 2);
    if (flags & GRE_ROUTING)
        return found;
    header += flags & GRE_CHECKSUM ? 4 : 0;
    header += flags & GRE_KEY ? 4 : 0;
    header += flags & GRE_SEQUENCE ? 4 : 0;
    if ((flags & GRE_VERSION) == 1) {
        header += flags & GRE_ACKNOWLEDGEMENT ? 4 : 0;
        if (protocol == GRE_PPP)
            found = within_ppp(after(in, header));
        found.passed = PASSED_GRE;
        return found;
    }
    if ((flags & GRE_VERSION) != 0)
        return found;
    in = after(in, header);
    switch (protocol) {
    case GRE_ERSPAN:
        /* Only its second version has a header, and numbers its packets. */
        return within(WITHIN_ETHERNET, after(in, flags & GRE_SEQUENCE ? 8 : 0),
                      PASSED_ERSPAN);
    case GRE_ERSPAN_3:
        return erspan_3(in);
    default:
        found = within_ethertype(protocol, in);
        found.passed |= PASSED_GRE;
        return found;
    }
}

/* Who is no tunnel may have this port, too: where bits are set that have no meaning, and
 * are to be ignored, what follows has to look like a frame. */
static struct within vxlan(struct octets in)
{
    if (in.length < 8 || !(in.at[0] & 0x08))
        return within(WITHIN_NOTHING, in, 0);
    if ((in.at[0] & 0x77 || in.at[7]) && !is_like_ethernet(after(in, 8)))
        return within(WITHIN_NOTHING, in, 0);
    return within(WITHIN_ETHERNET, after(in, 8), PASSED_VXLAN);
}

static struct within vxlan_gpe(struct octets in)
{
    if (in.length < 8 || !(in.at[0] & 0x08))
        return within(WITHIN_NOTHING, in, 0);
    if (!(in.at[0] & 0x04))
        return vxlan(in);
    switch (in.at[3]) {
    case 1:
    case 2:
        return within(WITHIN_IP, after(in, 8), PASSED_VXLAN);
    case 3:
        return within(WITHIN_ETHERNET, after(in, 8), PASSED_VXLAN);
    default:
        return within(WITHIN_NOTHING, in, PASSED_VXLAN);
    }
}

static struct within geneve(struct octets in)
{
    struct within found;

    /* Version 0, and no control message. */
    if (in.length < 8 || in.at[0] >> 6 != 0 || in.at[1] & 0x80)
        return within(WITHIN_NOTHING, in, 0);
    found = within_ethertype(big16(in.at + 2), after(in, 8 + (in.at[0] & 0x3FU) * 4));
    found.passed |= PASSED_GENEVE;
    return found;
}

static struct within gtpu(struct octets in)
{
    unsigned flags, next = 0;

    if (in.length < 8)
        return within(WITHIN_NOTHING, in, 0);
    flags = in.at[0];
    /* Version 1, and not GTP'. */
    if (flags >> 4 != 3 || in.at[1] != GTPU_G_PDU)
        return within(WITHIN_NOTHING, in, 0);
    if (flags & 0x07) {
        if (in.length < 12)
            return within(WITHIN_NOTHING, in, PASSED_GTPU);
        next = flags & 0x04 ? in.at[11] : 0;
    }
    in = after(in, flags & 0x07 ? 12 : 8);
    for (unsigned headers = 0; next != 0; headers++) {
        uint32_t length = in.length > 0 ? in.at[0] * 4U : 0;

        if (headers == HEADERS_MAX || length == 0 || length > in.length)
            return within(WITHIN_NOTHING, in, PASSED_GTPU);
        next = in.at[length - 1];
        in = after(in, length);
    }
    return within(WITHIN_IP, in, PASSED_GTPU);
}

static struct within teredo(struct octets in)
{
    /* Authentication, with a client's id and a value of these lengths; then origin. */
    if (in.length >= 4 && in.at[0] == 0 && in.at[1] == 1)
        in = after(in, 13U + in.at[2] + in.at[3]);
    if (in.length >= 2 && in.at[0] == 0 && in.at[1] == 0)
        in = after(in, 8);
    /* Only IPv6 is carried. */
    if (in.length == 0 || in.at[0] >> 4 != 6)
        return within(WITHIN_NOTHING, in, 0);
    return within(WITHIN_IP, in, PASSED_TEREDO);
}

/* in: what follows the header of IP. */
struct within within_protocol(unsigned protocol, struct octets in)
{
    struct within found;

    switch (protocol) {
    case PROTOCOL_IP4:
    case PROTOCOL_IP6:
        return within(WITHIN_IP, in, PASSED_IP_IN_IP);
    case PROTOCOL_GRE:
        return gre(in);
    case PROTOCOL_MPLS:
        found = within_ethertype(ETHERTYPE_MPLS, in);
        found.passed |= PASSED_IP_IN_IP;
        return found;
    default:
        return within(WITHIN_NOTHING, in, 0);
    }
}

/* in: what follows the header of UDP. */
struct within within_ports(uint32_t source, uint32_t target, struct octets in)
{
    switch (target) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
        return vxlan(in);
    case PORT_VXLAN_GPE:
        return vxlan_gpe(in);
    case PORT_GENEVE:
        return geneve(in);
    case PORT_GTPU:
        return gtpu(in);
    default:
        if (source == PORT_TEREDO || target == PORT_TEREDO)
            return teredo(in);
        return within(WITHIN_NOTHING, in, 0);
    }
}
