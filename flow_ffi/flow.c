/* Tells the flow of a packet: its two ends in either order, and its protocol.
 *
 * Specification: RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 4302
 * (AH), RFC 792 and 4443 (ICMP). What a packet says of its lengths is believed only
 * within what is there: those that are cut short go by what is left of them, down to
 * their addresses. What is no IP goes by its hosts' hardware addresses or, where there
 * are none either, all together. */
#include "dissect.h"

#include <stdlib.h>
#include <string.h>

#define LINKTYPE_ETHERNET 1

#define IP4_HEADER 20
#define IP4_MORE 0x2000
#define IP4_OFFSET 0x1FFF
#define IP6_HEADER 40

#define HOP_BY_HOP 0
#define ICMP 1
#define TCP 6
#define TCP_FLAGS 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define UDP 17
#define UDP_HEADER 8
#define DCCP 33
#define ROUTING 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define ICMP6 58
#define DESTINATION 60
#define SCTP 132
#define MOBILITY 135
#define UDP_LITE 136
#define HIP 139
#define SHIM6 140

enum part { WHOLE, FIRST, LATER };

struct ip {
    unsigned version;
    const uint8_t *source, *target;
    unsigned protocol;
    struct octets payload;
    enum part part;
    /* Of a fragment: */
    uint32_t identification;
    unsigned fragment_protocol;
};

/* The number of the flow between these ends, whichever of them sent. */
static uint64_t number_of(const struct flow_seed *seed, const struct ip *ip,
                          unsigned protocol, uint64_t source_port, uint64_t target_port)
{
    uint64_t words[5], what = (uint64_t)protocol << 8 | ip->version;

    if (ip->version == 4) {
        uint64_t source = (uint64_t)big32(ip->source) << 16 | source_port;
        uint64_t target = (uint64_t)big32(ip->target) << 16 | target_port;
        uint64_t low = source < target ? source : target;
        uint64_t high = source < target ? target : source;

        words[0] = low >> 16 << 32 | high >> 16;
        words[1] = (low & 0xFFFF) << 48 | (high & 0xFFFF) << 32 | what;
        return flow_siphash(seed, words, 2);
    } else {
        int order = memcmp(ip->source, ip->target, 16);
        int is_turned = order > 0 || (order == 0 && source_port > target_port);
        const uint8_t *low = is_turned ? ip->target : ip->source;
        const uint8_t *high = is_turned ? ip->source : ip->target;
        uint64_t low_port = is_turned ? target_port : source_port;
        uint64_t high_port = is_turned ? source_port : target_port;

        words[0] = big64(low);
        words[1] = big64(low + 8);
        words[2] = big64(high);
        words[3] = big64(high + 8);
        words[4] = low_port << 48 | high_port << 32 | what;
        return flow_siphash(seed, words, 5);
    }
}

/* The number of a fragment's datagram, which only its sender's side has. */
static uint64_t datagram_of(const struct flow_seed *seed, const struct ip *ip)
{
    uint64_t words[6] = {(uint64_t)ip->identification << 32 |
                         (uint64_t)ip->fragment_protocol << 8 | ip->version};

    if (ip->version == 4) {
        words[1] = (uint64_t)big32(ip->source) << 32 | big32(ip->target);
        return flow_siphash(seed, words, 2);
    }
    words[1] = big64(ip->source);
    words[2] = big64(ip->source + 8);
    words[3] = big64(ip->target);
    words[4] = big64(ip->target + 8);
    return flow_siphash(seed, words, 5);
}

/* Requests and answers of a kind have an identifier; an error quotes the packet that was
 * its cause, and belongs to the flow of that. */
static uint64_t flow_of_icmp(const struct walk *walk, const struct ip *ip)
{
    struct octets in = ip->payload;
    int has_identifier = 0, is_error = 0;
    uint64_t flow, identifier;

    if (in.length >= 8 && ip->protocol == ICMP) {
        unsigned type = in.at[0];

        has_identifier = type == 0 || type == 8 || (type >= 13 && type <= 18);
        is_error = (type >= 3 && type <= 5) || type == 11 || type == 12;
    } else if (in.length >= 8) {
        has_identifier = in.at[0] == 128 || in.at[0] == 129;
        is_error = in.at[0] >= 1 && in.at[0] <= 4;
    }
    if (is_error) {
        struct walk quoted = *walk;

        quoted.is_quoted = 1;
        if (flow_ip(&quoted, after(in, 8), &flow))
            return flow;
    }
    identifier = has_identifier ? big16(in.at + 4) : 0;
    return number_of(walk->seed, ip, ip->protocol, identifier, identifier);
}

/* SYN and no ACK. */
static void note_beginning(const struct walk *walk, const struct ip *ip)
{
    if (!walk->is_quoted && ip->payload.length > TCP_FLAGS)
        *walk->begins = (ip->payload.at[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static uint64_t flow_of_payload(const struct walk *walk, const struct ip *ip)
{
    uint32_t source = 0, target = 0;
    /* A quotation ends behind the first few octets. */
    int inner = walk->inner && !walk->is_quoted;
    uint64_t flow;

    switch (ip->protocol) {
    case ICMP:
    case ICMP6:
        return flow_of_icmp(walk, ip);
    case TCP:
    case UDP:
    case DCCP:
    case SCTP:
    case UDP_LITE:
        if (ip->payload.length < 4)
            break;
        source = big16(ip->payload.at);
        target = big16(ip->payload.at + 2);
        if (ip->protocol == TCP)
            note_beginning(walk, ip);
        if (inner && ip->protocol == UDP &&
            tunnel_by_port(walk, source, target, after(ip->payload, UDP_HEADER), &flow))
            return flow;
        break;
    default:
        if (inner && tunnel_by_protocol(walk, ip->protocol, ip->payload, &flow))
            return flow;
    }
    return number_of(walk->seed, ip, ip->protocol, source, target);
}

/* All fragments of a datagram go one way: see fragments.c. */
static uint64_t flow_of_fragment(const struct walk *walk, const struct ip *ip)
{
    uint64_t by_addresses = number_of(walk->seed, ip, ip->fragment_protocol, 0, 0);
    uint64_t datagram, flow;

    if (walk->fragments == NULL)
        return by_addresses;
    datagram = datagram_of(walk->seed, ip);
    if (ip->part == FIRST) {
        flow = flow_of_payload(walk, ip);
        /* Who quotes a packet may lie, and shall not lead others astray. */
        return walk->is_quoted ? flow
                               : fragments_first(walk->fragments, datagram, flow);
    }
    if (!walk->is_quoted)
        return fragments_later(walk->fragments, datagram, by_addresses);
    return fragments_find(walk->fragments, datagram, &flow) ? flow : by_addresses;
}

static int read_ip4(struct octets in, struct ip *ip)
{
    uint32_t header, total, offset;

    if (in.length < IP4_HEADER)
        return 0;
    header = (in.at[0] & 0xFU) * 4;
    if (header < IP4_HEADER)
        return 0;
    total = big16(in.at + 2);
    /* What follows in a frame is padding. Where nothing is said of a length, the packet
     * was too long to say it, or was to be cut in pieces by the hardware. */
    if (total >= header && total < in.length)
        in.length = total;
    offset = big16(in.at + 6);
    *ip = (struct ip){
        .version = 4,
        .source = in.at + 12,
        .target = in.at + 16,
        .protocol = in.at[9],
        .payload = after(in, header),
        .part = offset & IP4_OFFSET ? LATER : offset & IP4_MORE ? FIRST : WHOLE,
        .identification = big16(in.at + 4),
        .fragment_protocol = in.at[9],
    };
    return 1;
}

/* The length of an extension header; 0 where it is none, or a fragment's. */
static uint32_t extension(unsigned protocol, struct octets in)
{
    if (in.length < 8)
        return 0;
    switch (protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case DESTINATION:
    case MOBILITY:
    case HIP:
    case SHIM6:
        return (in.at[1] + 1U) * 8;
    case AUTHENTICATION:
        return (in.at[1] + 2U) * 4;
    case FRAGMENT:
        return 8;
    default:
        return 0;
    }
}

static int read_ip6(struct octets in, struct ip *ip)
{
    uint32_t payload, length;

    if (in.length < IP6_HEADER)
        return 0;
    payload = big16(in.at + 4);
    if (payload != 0 && payload < in.length - IP6_HEADER)
        in.length = IP6_HEADER + payload;
    *ip = (struct ip){
        .version = 6,
        .source = in.at + 8,
        .target = in.at + 24,
        .protocol = in.at[6],
        .payload = after(in, IP6_HEADER),
    };
    for (unsigned headers = 0; headers < HEADERS_MAX; headers++) {
        struct octets at = ip->payload;
        unsigned next;

        length = extension(ip->protocol, at);
        if (length == 0 || length > at.length)
            break;
        next = at.at[0];
        if (ip->protocol == FRAGMENT) {
            uint32_t offset = big16(at.at + 2);

            ip->identification = big32(at.at + 4);
            ip->fragment_protocol = next;
            /* Neither offset nor more to come: it is whole, RFC 6946. */
            if (offset & 0xFFF8)
                ip->part = LATER;
            else if (offset & 1)
                ip->part = FIRST;
        }
        ip->protocol = next;
        ip->payload = after(at, length);
        if (ip->part == LATER)
            break;
    }
    return 1;
}

int flow_ip(const struct walk *walk, struct octets in, uint64_t *flow)
{
    struct walk deeper = *walk;
    struct ip ip;

    if (in.length == 0 || ++deeper.depth > DEPTH_MAX)
        return 0;
    switch (in.at[0] >> 4) {
    case 4:
        if (!read_ip4(in, &ip))
            return 0;
        if (ip.protocol == AUTHENTICATION) {
            uint32_t length = extension(AUTHENTICATION, ip.payload);

            if (length != 0 && length <= ip.payload.length && ip.part != LATER) {
                ip.protocol = ip.payload.at[0];
                ip.payload = after(ip.payload, length);
            }
        }
        break;
    case 6:
        if (!read_ip6(in, &ip))
            return 0;
        break;
    default:
        return 0;
    }
    *flow = ip.part == WHOLE ? flow_of_payload(&deeper, &ip)
                             : flow_of_fragment(&deeper, &ip);
    return 1;
}

static uint64_t flow_in(const struct walk *walk, uint32_t linktype, struct octets in)
{
    uint64_t flow, words[3];

    if (flow_link(walk, linktype, in, &flow))
        return flow;
    words[0] = linktype << 8;
    if (linktype == LINKTYPE_ETHERNET && in.length >= 14) {
        uint64_t to = big64(in.at) >> 16, from = big64(in.at + 6) >> 16;

        words[0] |= (uint64_t)big16(in.at + 12) << 40;
        words[1] = from < to ? from : to;
        words[2] = from < to ? to : from;
        return flow_siphash(walk->seed, words, 3);
    }
    return flow_siphash(walk->seed, words, 1);
}

/* The number of a packet's flow, fragments following their first one. */
uint64_t flow_of(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *packet,
                 uint32_t caplen)
{
    struct walk walk = {
        .seed = &hasher->seed,
        .fragments = &hasher->fragments,
        .inner = hasher->inner,
        .begins = &hasher->begins,
    };

    hasher->begins = 0;
    return flow_in(&walk, linktype, (struct octets){packet, caplen});
}

/* The number of a packet's flow by nothing but the packet: all fragments of a datagram
 * go by its addresses, the first one too. */
uint64_t flow_hash(const uint8_t *packet, uint32_t caplen, uint32_t linktype, int inner,
                   uint64_t seed)
{
    struct flow_seed key = flow_seed_of(seed);
    int begins;
    struct walk walk = {.seed = &key, .inner = inner, .begins = &begins};

    return flow_in(&walk, linktype, (struct octets){packet, caplen});
}

/* Its memory is the caller's, until flow_hasher_free; NULL: there is none. */
struct flow_hasher *flow_hasher_new(uint64_t seed, int inner)
{
    struct flow_hasher *hasher = calloc(1, sizeof(*hasher));

    if (hasher != NULL) {
        hasher->seed = flow_seed_of(seed);
        hasher->inner = inner;
    }
    return hasher;
}

void flow_hasher_free(struct flow_hasher *hasher)
{
    free(hasher);
}
