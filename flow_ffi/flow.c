/* Tells the flow of a packet: its two ends in either order, and its protocol.
 *
 * Specification: RFC 792 and 4443 (ICMP). Packets that are cut short go by what is left
 * of them, down to their addresses. What is no IP goes by its hosts' hardware addresses
 * or, where there are none either, all together. */
#include "flow.h"
#include "ip.h"

#include <stdlib.h>
#include <string.h>

#define TCP_FLAGS 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10

struct walk {
    const struct flow_seed *seed;
    struct fragments *fragments; /* NULL: all of a datagram go by its addresses */
    int inner;
    int is_quoted; /* in an ICMP error: of a packet that went elsewhere */
    int *begins;
    unsigned depth; /* only grows: where nothing was within, nobody goes in again */
};

/* These give 1 and the number of a flow, or 0 where there is no packet of IP. */
static int flow_ip(struct walk *walk, struct octets in, uint64_t *flow);
static int flow_within(struct walk *walk, struct within here, uint64_t *flow);

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

/* Requests and answers of a kind have an identifier; an error quotes the packet that was
 * its cause, and belongs to the flow of that. */
static uint64_t flow_of_icmp(struct walk *walk, const struct ip *ip)
{
    int has_identifier;
    struct octets packet = quoted_in(ip, &has_identifier);
    uint64_t flow, identifier;

    if (packet.length > 0) {
        struct walk quoted = *walk;

        quoted.is_quoted = 1;
        if (flow_ip(&quoted, packet, &flow))
            return flow;
    }
    identifier = has_identifier ? big16(ip->payload.at + 4) : 0;
    return number_of(walk->seed, ip, ip->protocol, identifier, identifier);
}

/* SYN and no ACK. */
static void note_beginning(const struct walk *walk, const struct ip *ip)
{
    if (!walk->is_quoted && ip->payload.length > TCP_FLAGS)
        *walk->begins = (ip->payload.at[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static uint64_t flow_of_payload(struct walk *walk, const struct ip *ip)
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
            flow_within(walk,
                        within_udp(source, target, after(ip->payload, UDP_HEADER)),
                        &flow))
            return flow;
        break;
    default:
        if (inner && flow_within(walk, within_protocol(ip->protocol, ip->payload), &flow))
            return flow;
    }
    return number_of(walk->seed, ip, ip->protocol, source, target);
}

/* All fragments of a datagram go one way: see fragments.c. */
static uint64_t flow_of_fragment(struct walk *walk, const struct ip *ip)
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

static int flow_ip(struct walk *walk, struct octets in, uint64_t *flow)
{
    struct ip ip;

    if (++walk->depth > DEPTH_MAX || !read_ip(in, &ip))
        return 0;
    *flow = ip.part == WHOLE ? flow_of_payload(walk, &ip) : flow_of_fragment(walk, &ip);
    return 1;
}

static int flow_within(struct walk *walk, struct within here, uint64_t *flow)
{
    while (here.kind == WITHIN_ETHERNET) {
        if (++walk->depth > DEPTH_MAX)
            return 0;
        here = within_ethernet(here.in);
    }
    return here.kind == WITHIN_IP && flow_ip(walk, here.in, flow);
}

static uint64_t flow_in(struct walk *walk, uint32_t linktype, struct octets in)
{
    uint64_t flow, words[3];

    if (flow_within(walk, within_link(linktype, in), &flow))
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
