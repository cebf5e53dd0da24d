/* Finds its way into one packet: to the IP header behind the link's, past extension
 * headers and tunnels to TCP or UDP; and adds up what checksums cover. No system call.
 *
 * Any octets may come. Specification: RFC 791, RFC 8200, RFC 2675, RFC 1071; the link
 * types at tcpdump.org. */
#include "mend.h"
#include "tlv.h"

#define LINKTYPE_LINUX_SLL 113
#define LINKTYPE_IPV4 228
#define LINKTYPE_IPV6 229
#define LINKTYPE_LINUX_SLL2 276

#define IS_VLAN(type) ((type) == 0x8100 || (type) == 0x88a8 || (type) == 0x9100)

/* Values of the IPv4 protocol and the IPv6 next header. */
#define HOP_BY_HOP 0
#define IN_IPV4 4
#define IN_IPV6 41
#define ROUTING 43
#define FRAGMENT 44
#define DESTINATION 60

#define IPV4_HEADER 20
#define JUMBO_HEADER 8
#define JUMBO_OPTION 0xc2
#define JUMBO_MIN 65536 /* RFC 2675: what has less has no need of it */

/* Of IP in IP: what is nested deeper is nobody's. */
#define DEPTH_MAX 4

static uint32_t behind_type(const uint8_t *octets, uint32_t caplen, uint32_t type_at,
                            uint32_t header)
{
    while (caplen >= header && IS_VLAN(get_field(octets + type_at))) {
        type_at = header + 2;
        header += 4;
    }
    if (caplen <= header)
        return PACKET_NONE;
    switch (get_field(octets + type_at)) {
    case ETHERTYPE_IPV4:
        return octets[header] >> 4 == 4 ? header : PACKET_NONE;
    case ETHERTYPE_IPV6:
        return octets[header] >> 4 == 6 ? header : PACKET_NONE;
    default:
        return PACKET_NONE;
    }
}

static uint32_t in_attributes(const uint8_t *octets, uint32_t caplen, uint32_t *end,
                              uint32_t *tag)
{
    size_t at = NFLOG_HEADER, taken;
    struct tlv tlv;

    while (at < caplen && (taken = tlv_read(octets + at, caplen - at, 0, &tlv)) > 0) {
        if (tlv.type == TLV_PAYLOAD) {
            *tag = (uint32_t)at;
            *end = *tag + TLV_HEADER + tlv.length;
            return *tag + TLV_HEADER;
        }
        at += taken;
    }
    return PACKET_NONE;
}

/* Where the IP header is; *end is that of what was captured of its packet, *tag where
 * its attribute is, 0 without one. */
static uint32_t find_ip(const uint8_t *octets, uint32_t caplen, uint32_t linktype,
                        uint32_t *end, uint32_t *tag)
{
    *end = caplen;
    *tag = 0;
    switch (linktype) {
    case LINKTYPE_RAW:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
        return 0;
    case LINKTYPE_ETHERNET:
        return behind_type(octets, caplen, 12, 14);
    case LINKTYPE_LINUX_SLL:
        return behind_type(octets, caplen, 14, 16);
    case LINKTYPE_LINUX_SLL2:
        return behind_type(octets, caplen, 0, 20);
    case LINKTYPE_NFLOG:
        return in_attributes(octets, caplen, end, tag);
    default:
        return PACKET_NONE;
    }
}

/* wire: the packet's octets if its header has no room for them; 0: it must have. */
static int parse_ipv4(struct packet *packet, uint32_t wire)
{
    const uint8_t *ip = packet->octets + packet->network;
    uint32_t room = packet->end - packet->network, header;

    if (room < IPV4_HEADER)
        return 0;
    header = (ip[0] & 0xfu) * 4;
    if (header < IPV4_HEADER || header > room)
        return 0;
    packet->transport = packet->network + header;
    packet->destination = packet->network + 16;
    packet->protocol = ip[9];
    packet->length = get_field(ip + 2);
    packet->has_length = LENGTH_SAID;
    /* More fragments, or an offset. */
    if (get_field(ip + 6) & 0x3fff)
        return 0;
    if (packet->length == 0 && packet->protocol == PACKET_TCP) {
        packet->length = wire;
        packet->has_length = LENGTH_ABSENT;
    }
    return packet->length >= header;
}

/* Past one extension header, when it is one that may stand before the transport. */
static int pass_extension(struct packet *packet, uint32_t *jumbo)
{
    const uint8_t *header = packet->octets + packet->transport;
    uint32_t room = packet->end - packet->transport, size;

    if (room < 8)
        return 0;
    size = packet->protocol == FRAGMENT ? 8 : 8 + 8 * (uint32_t)header[1];
    if (size > room)
        return 0;
    if (packet->protocol == FRAGMENT && (get_field(header + 2) & 0xfff9))
        return 0;
    if (packet->protocol == HOP_BY_HOP && header[2] == JUMBO_OPTION && header[3] == 4) {
        /* As the kernel makes it: first, and nothing else in it. */
        if (size != JUMBO_HEADER ||
            packet->transport != packet->network + IPV6_HEADER)
            return 0;
        *jumbo = get_long_field(header + 4);
    }
    if (packet->protocol == ROUTING && header[3] > 0) {
        /* Mobile IPv6 and segment routing: the last address comes first. */
        if ((header[2] != 2 && header[2] != 4) || size < 24)
            return 0;
        packet->destination = packet->transport + 8;
    }
    packet->protocol = header[0];
    packet->transport += size;
    return 1;
}

static int parse_ipv6(struct packet *packet, uint32_t wire)
{
    const uint8_t *ip = packet->octets + packet->network;
    uint32_t said, jumbo = 0;

    if (packet->end - packet->network < IPV6_HEADER)
        return 0;
    said = get_field(ip + 4);
    packet->protocol = ip[6];
    packet->transport = packet->network + IPV6_HEADER;
    packet->destination = packet->network + 24;
    while (packet->protocol == HOP_BY_HOP || packet->protocol == ROUTING ||
           packet->protocol == FRAGMENT || packet->protocol == DESTINATION) {
        if (!pass_extension(packet, &jumbo))
            return 0;
    }
    packet->length = IPV6_HEADER + said;
    packet->has_length = LENGTH_SAID;
    if (jumbo > 0) {
        if (said != 0 || wire == 0 || jumbo < JUMBO_MIN || jumbo > UINT32_MAX / 2 ||
            packet->protocol != PACKET_TCP)
            return 0;
        packet->length = IPV6_HEADER + jumbo;
        packet->has_length = LENGTH_JUMBO;
    } else if (said == 0 && packet->protocol == PACKET_TCP) {
        packet->length = wire;
        packet->has_length = LENGTH_ABSENT;
    }
    return packet->length >= packet->transport - packet->network;
}

/* Where the payload is, if the transport's header was captured whole. */
static uint32_t find_payload(const struct packet *packet)
{
    const uint8_t *transport = packet->octets + packet->transport;
    uint32_t header = packet->protocol == PACKET_UDP ? 8 : (transport[12] >> 4) * 4u;
    uint32_t least = packet->protocol == PACKET_UDP ? 8 : 20;

    if (header < least || header > packet->end - packet->transport ||
        header > packet->network + packet->length - packet->transport)
        return 0;
    return packet->transport + header;
}

/* 1 for TCP and UDP that is no fragment and whose header was captured up to its
 * checksum. Otherwise 0; outermost then still tells where the IP header is. */
int packet_parse(struct packet *packet, const uint8_t *octets, uint32_t caplen,
                 uint32_t origlen, uint32_t linktype)
{
    uint32_t wire, least;

    packet->octets = octets;
    packet->outermost =
        find_ip(octets, caplen, linktype, &packet->end, &packet->tag);
    if (packet->outermost == PACKET_NONE || packet->outermost >= packet->end) {
        packet->outermost = PACKET_NONE;
        return 0;
    }
    packet->network = packet->outermost;
    wire = packet->end - packet->network + (origlen - caplen);
    if (wire > UINT32_MAX / 2)
        wire = 0;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        packet->version = octets[packet->network] >> 4;
        if (packet->version == 4 ? !parse_ipv4(packet, wire)
                                 : packet->version != 6 || !parse_ipv6(packet, wire))
            return 0;
        if (packet->protocol != IN_IPV4 && packet->protocol != IN_IPV6)
            break;
        if (packet->transport >= packet->end)
            return 0;
        packet->network = packet->transport;
        wire = 0;
    }
    if (packet->protocol != PACKET_TCP && packet->protocol != PACKET_UDP)
        return 0;
    least = packet->protocol == PACKET_TCP ? 20 : 8;
    if (packet->end - packet->transport < least ||
        packet->length - (packet->transport - packet->network) < least)
        return 0;
    packet->payload = find_payload(packet);
    return 1;
}

static inline uint64_t add(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/* Adds octets to a sum of the ones' complement. What was added before was even. */
uint64_t sum_octets(uint64_t sum, const uint8_t *octets, size_t count)
{
    uint64_t words[4];

    for (; count >= sizeof(words); octets += sizeof(words), count -= sizeof(words)) {
        memcpy(words, octets, sizeof(words));
        sum = add(add(add(add(sum, words[0]), words[1]), words[2]), words[3]);
    }
    memset(words, 0, sizeof(words));
    memcpy(words, octets, count);
    return add(add(add(add(sum, words[0]), words[1]), words[2]), words[3]);
}

/* The same for a few words of 32 bits, to a sum that has room for them. */
static inline uint64_t sum_words(uint64_t sum, const uint8_t *octets, uint32_t count)
{
    uint32_t word;

    for (; count > 0; octets += sizeof(word), count--) {
        memcpy(&word, octets, sizeof(word));
        sum += word;
    }
    return sum;
}

/* To 16 bits, in memory's order; 0 only for nothing but zeros. */
uint16_t sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* Of the pseudo-header, for so many octets of transport: what the kernel leaves in the
 * checksum's place for the network card to go on from (CHECKSUM_PARTIAL). */
uint64_t packet_pseudo_sum(const struct packet *packet, uint32_t length)
{
    uint32_t words = packet->version == 4 ? 1 : 4;
    uint32_t source = packet->network + (packet->version == 4 ? 12 : 8);
    uint8_t rest[8] = {0};
    uint64_t sum;

    put_long_field(rest, length);
    rest[7] = packet->protocol;
    sum = sum_words(0, packet->octets + source, words);
    sum = sum_words(sum, packet->octets + packet->destination, words);
    return sum_words(sum, rest, 2);
}
