/* Takes packets out of tunnels, and tags, labels and PPPoE out of frames.
 *
 * Where inner packets begin, flow_ffi's link.c and tunnel.c know. Here is what becomes
 * of the packet: an inner frame is of link type Ethernet, an inner packet of IP is raw,
 * and a frame that something is cut out of keeps its header, with another type. What
 * lies behind the end that a packet's IP header tells is padding, and stays behind. */
#include "decapsulate.h"

#include <string.h>

#include "ip.h"
#include "pcap_ffi.h"

#define VLAN_TAG 4

/* One packet on its way. Places are counted from its first octet. */
struct way {
    struct peeler *peeler;
    const uint8_t *packet;
    uint32_t wire; /* where it ended on the wire; never before what was captured */

    /* What is to be left: so many octets of a header from `head` on, of which the
     * type, if it has one, is to be `type`; and the captured octets from `rest` on. */
    uint32_t linktype;
    uint32_t head, head_length;
    uint32_t type_at, type; /* type_at: from head; type_at == head_length: none */
    struct octets rest;

    uint32_t passed; /* what was taken off */
    uint32_t tunnels;
    int undone; /* -1, or why it went no deeper */
};

static uint32_t place_of(const struct way *way, struct octets in)
{
    return (uint32_t)(in.at - way->packet);
}

/* What is left begins here, without a header of ours. */
static void leave_bare(struct way *way, uint32_t linktype, struct octets in,
                       uint32_t passed)
{
    way->linktype = linktype;
    way->head_length = way->type_at = 0;
    way->rest = in;
    way->passed |= passed;
}

/* What is left is a frame's header, and behind it this. */
static void leave_framed(struct way *way, uint32_t head, const struct frame *frame,
                         uint32_t type, struct octets in, uint32_t passed)
{
    way->head = head;
    way->head_length = frame->header;
    way->type_at = frame->type_at;
    way->type = type;
    way->rest = in;
    way->passed |= passed;
}

static uint32_t ethertype_of_ip(struct octets in)
{
    return in.at[0] >> 4 == 6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4;
}

static int begins_ip(struct octets in)
{
    struct ip ip;

    return read_ip(in, &ip);
}

/* Past the header of a frame that begins at `head`, whose link type way->linktype is.
 * Returns what is within it, and whether the way goes on there. */
static struct within pass_frame(struct way *way, uint32_t head, struct frame frame,
                                uint32_t type, struct octets in)
{
    uint32_t kinds = way->peeler->kinds, labels;
    int tags = past_tags(&type, &in);
    struct within found;

    if (tags < 0)
        return within(WITHIN_NOTHING, in, 0);
    if (tags > 0 && kinds & PASSED_VLAN) {
        leave_framed(way, head, &frame, type, in, PASSED_VLAN);
    } else if (tags > 0) {
        /* They are a part of the header, whose type comes last now. */
        frame.header += (uint32_t)tags * VLAN_TAG;
        frame.type_at = frame.header - 2;
    }
    found = within_ethertype(type, in);
    labels = found.passed;
    if (labels == 0)
        /* IP, or nothing that is looked into. A frame in a frame is in a tunnel only. */
        return found.kind == WITHIN_IP ? found : within(WITHIN_NOTHING, in, 0);
    if (found.kind == WITHIN_IP && begins_ip(found.in)) {
        if ((labels & kinds) == labels)
            leave_framed(way, head, &frame, ethertype_of_ip(found.in), found.in, labels);
        return found;
    }
    if (found.kind == WITHIN_ETHERNET && (labels & kinds) == labels)
        return found;
    return within(WITHIN_NOTHING, in, 0);
}

/* What is within a packet of IP, whose octets behind its end, and behind that of UDP, are
 * cut away. A fragment's is not looked for. */
static struct within within_ip(struct ip *ip)
{
    uint32_t said;

    if (ip->part != WHOLE)
        return within(WITHIN_NOTHING, ip->payload, 0);
    if (ip->protocol != UDP)
        return within_protocol(ip->protocol, ip->payload);
    if (ip->payload.length < UDP_HEADER)
        return within(WITHIN_NOTHING, ip->payload, 0);
    said = big16(ip->payload.at + 4);
    if (said >= UDP_HEADER && said < ip->payload.length)
        ip->payload.length = said;
    return within_udp(big16(ip->payload.at), big16(ip->payload.at + 2),
                      after(ip->payload, UDP_HEADER));
}

/* Whether a fragment is one of a tunnel that is to be taken off; of those of UDP only the
 * first one shows it. */
static int is_wanted(const struct way *way, struct ip ip)
{
    int is_first = ip.part == FIRST;
    uint32_t passed;

    ip.part = WHOLE;
    if (is_first) {
        passed = within_ip(&ip).passed;
    } else {
        struct octets nothing = after(ip.payload, UINT32_MAX);

        passed = within_protocol(ip.fragment_protocol, nothing).passed;
        /* Which of the two the first fragment says. */
        passed |= passed & PASSED_GRE ? PASSED_ERSPAN : 0;
    }
    return (passed & PASSED_TUNNELS & way->peeler->kinds) != 0;
}

/* Where on the wire the payload ends that a packet of IP at this place has. */
static void end_wire(struct way *way, uint32_t ip_at, const struct ip *ip)
{
    uint32_t end = way->wire;

    if (ip->length != 0 && ip->length < end - ip_at)
        end = ip_at + ip->length;
    if (ip->protocol == UDP) {
        uint32_t udp_at = place_of(way, ip->payload), said = big16(ip->payload.at + 4);

        if (said >= UDP_HEADER && said < end - udp_at)
            end = udp_at + said;
    }
    way->wire = end;
}

/* Into the tunnel that a packet of IP may be. Returns what is within it, if that is
 * taken out. */
static struct within pass_ip(struct way *way, struct octets in)
{
    struct within stop = within(WITHIN_NOTHING, in, 0), found;
    uint32_t kind;
    struct ip ip;

    if (!read_ip(in, &ip))
        return stop;
    if (ip.part != WHOLE) {
        if (is_wanted(way, ip))
            way->undone = UNDONE_FRAGMENT;
        return stop;
    }
    found = within_ip(&ip);
    kind = found.passed & PASSED_TUNNELS;
    if (kind == 0 || (kind & way->peeler->kinds) != kind)
        return stop;
    if (way->tunnels == way->peeler->depth) {
        way->undone = UNDONE_DEPTH;
        return stop;
    }
    if (found.kind == WITHIN_NOTHING ||
        (found.kind == WITHIN_ETHERNET && found.in.length < ETHERNET_HEADER) ||
        (found.kind == WITHIN_IP && !begins_ip(found.in))) {
        way->undone = UNDONE_NOTHING;
        return stop;
    }
    way->tunnels++;
    end_wire(way, place_of(way, in), &ip);
    leave_bare(way, found.kind == WITHIN_IP ? LINKTYPE_RAW : LINKTYPE_ETHERNET, found.in,
               found.passed);
    return found;
}

/* The outermost header, which is a link's. */
static struct within enter(struct way *way, struct octets in)
{
    struct frame frame;
    struct within found;

    if (frame_of(way->linktype, &frame)) {
        if (in.length < frame.header)
            return within(WITHIN_NOTHING, in, 0);
        return pass_frame(way, 0, frame, big16(in.at + frame.type_at),
                          after(in, frame.header));
    }
    found = within_link(way->linktype, in);
    if (found.kind == WITHIN_IP)
        /* A packet in attributes (NFLOG) may end before its record does. */
        way->wire -= in.length - (place_of(way, found.in) + found.in.length);
    return found;
}

static void follow(struct way *way, struct octets in)
{
    struct within here = enter(way, in);
    struct frame frame = {.header = ETHERNET_HEADER, .type_at = 12};

    for (unsigned steps = 0; here.kind != WITHIN_NOTHING && steps < 2 * DEPTH_MAX;
         steps++) {
        if (here.kind == WITHIN_IP) {
            here = pass_ip(way, here.in);
            continue;
        }
        if (here.in.length < ETHERNET_HEADER)
            break;
        /* Of a pseudowire this is the frame that is left; of a tunnel it is already. */
        leave_bare(way, LINKTYPE_ETHERNET, here.in, here.passed);
        here = pass_frame(way, place_of(way, here.in), frame, big16(here.in.at + 12),
                          after(here.in, ETHERNET_HEADER));
    }
}

static void count(const struct way *way)
{
    struct peeler *peeler = way->peeler;

    peeler->changed += way->passed != 0;
    for (uint32_t kind = 0; way->passed >> kind != 0; kind++)
        peeler->taken_off[kind] += way->passed >> kind & 1;
    if (way->undone >= 0)
        peeler->undone[way->undone]++;
}

/* Writes what is left as a record. Returns its octets, never more than it had. */
static size_t write_left(const struct way *way, const uint8_t *record, uint8_t *out)
{
    uint32_t caplen = way->head_length + way->rest.length;
    uint32_t wire = way->wire - place_of(way, way->rest) + way->head_length;
    uint8_t *packet = out + RECORD_HEADER;

    memcpy(out, record, 8);
    put32(out + 8, caplen);
    put32(out + 12, wire < caplen ? caplen : wire);
    memcpy(packet, way->packet + way->head, way->head_length);
    if (way->type_at < way->head_length) {
        packet[way->type_at] = (uint8_t)(way->type >> 8);
        packet[way->type_at + 1] = (uint8_t)way->type;
    }
    memcpy(packet + way->head_length, way->rest.at, way->rest.length);
    return RECORD_HEADER + (size_t)caplen;
}

/* Adds a record to the last part, or to a new one. */
static uint32_t add_to(struct peeled *parts, uint32_t count, uint32_t linktype,
                       size_t octets)
{
    if (count == 0 || parts[count - 1].linktype != linktype)
        parts[count++] = (struct peeled){.linktype = linktype};
    parts[count - 1].count++;
    parts[count - 1].length += octets;
    return count;
}

/* Writes the packets to out, which has room for length octets, and the parts that they
 * make, count at most, to parts. Returns how many parts they are; 0 where nothing was
 * taken off, and out holds nothing; -1 where the records are not `count` whole ones. */
int64_t peel_records(struct peeler *peeler, uint32_t linktype, const uint8_t *records,
                     size_t length, uint32_t packets, uint8_t *out,
                     struct peeled *parts)
{
    uint64_t changed = peeler->changed;
    uint32_t parts_count = 0;
    size_t from = 0, at = 0; /* what lies between is to be copied as it is */

    for (uint32_t packet = 0; packet < packets; packet++) {
        const uint8_t *record = records + at;
        uint32_t caplen, origlen;
        size_t octets;

        if (length - at < RECORD_HEADER)
            return -1;
        caplen = get32(record + 8);
        origlen = get32(record + 12);
        if (caplen > length - at - RECORD_HEADER)
            return -1;
        octets = RECORD_HEADER + (size_t)caplen;
        struct way way = {
            .peeler = peeler,
            .packet = record + RECORD_HEADER,
            .wire = origlen > caplen ? origlen : caplen,
            .linktype = linktype,
            .undone = -1,
        };
        follow(&way, (struct octets){way.packet, caplen});
        count(&way);
        if (way.passed == 0) {
            parts_count = add_to(parts, parts_count, linktype, octets);
        } else {
            size_t left;

            memcpy(out, records + from, at - from);
            out += at - from;
            left = write_left(&way, record, out);
            out += left;
            from = at + octets;
            parts_count = add_to(parts, parts_count, way.linktype, left);
        }
        at += octets;
    }
    if (at != length)
        return -1;
    if (peeler->changed == changed)
        return 0;
    memcpy(out, records + from, at - from);
    return parts_count;
}
