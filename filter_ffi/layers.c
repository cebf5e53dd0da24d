/* Finds in a packet what tests ask for: addresses and ports of each packet of IP in it,
 * outermost first, what it quotes, and the headers of Ethernet on the way.
 *
 * A later fragment has no ports. It gets those of its datagram's first one, which nearly
 * always comes before it, and what was found in that within tunnels. Datagrams that are
 * sprayed push out those of their set, and which that is is nobody's choice. */
#include "filter.h"

#include <string.h>

#include "ip.h"

#define LINKTYPE_LINUX_SLL 113
#define LINKTYPE_LINUX_SLL2 276

static struct datagram *set_of(struct datagrams *datagrams, uint64_t number)
{
    return datagrams->entries[(uint32_t)(number >> 32) % DATAGRAM_SETS];
}

/* The entry of this number, made the newest of its set; NULL where there is none. */
static struct datagram *find(struct datagrams *datagrams, uint64_t number)
{
    struct datagram *set = set_of(datagrams, number);

    for (unsigned way = 0; way < DATAGRAM_WAYS; way++) {
        struct datagram found = set[way];

        if (found.number != number)
            continue;
        if (way > 0) {
            memmove(set + 1, set, way * sizeof(*set));
            set[0] = found;
        }
        return set;
    }
    return NULL;
}

static struct said said_of(const struct level *level)
{
    return (struct said){
        .version = (uint8_t)level->version,
        .protocol = (uint8_t)level->protocol,
        .has_ports = (uint8_t)level->has_ports,
        .source_port = level->source_port,
        .target_port = level->target_port,
    };
}

static void say(struct level *level, const struct said *said)
{
    level->version = said->version;
    level->protocol = said->protocol;
    level->has_ports = said->has_ports;
    level->source_port = said->source_port;
    level->target_port = said->target_port;
}

static void remember(struct datagrams *datagrams, const struct level *outer,
                     const struct level *inner)
{
    struct datagram *entry = find(datagrams, outer->datagram);

    if (entry == NULL) {
        entry = set_of(datagrams, outer->datagram);
        memmove(entry + 1, entry, (DATAGRAM_WAYS - 1) * sizeof(*entry));
    }
    memset(entry, 0, sizeof(*entry));
    entry->number = outer->datagram;
    entry->outer = said_of(outer);
    if (inner != NULL) {
        uint32_t octets = inner->version == 4 ? 4 : 16;

        entry->inner = said_of(inner);
        memcpy(entry->ends, inner->source, octets);
        memcpy(entry->ends + 16, inner->target, octets);
    }
}

static struct level level_of(const struct ip *ip)
{
    struct level level = {
        .source = ip->source,
        .target = ip->target,
        .version = ip->version,
        .protocol = ip->part == LATER ? ip->fragment_protocol : ip->protocol,
    };

    if (ip->part != LATER && has_ports(ip->protocol) && ip->payload.length >= 4) {
        level.has_ports = 1;
        level.source_port = (uint16_t)big16(ip->payload.at);
        level.target_port = (uint16_t)big16(ip->payload.at + 2);
    }
    return level;
}

/* What the first fragment of its datagram said. */
static void recall(struct layers *layers, struct datagrams *datagrams,
                   struct level *level, const struct ip *ip)
{
    struct datagram *entry =
        find(datagrams, datagram_of(&datagrams->seed, ip) | 1);

    if (entry == NULL) {
        layers->is_orphan = has_ports(level->protocol);
        return;
    }
    say(level, &entry->outer);
    if (entry->inner.version != 0 && layers->levels_count < LEVELS_MAX) {
        struct level *inner = &layers->levels[layers->levels_count++];

        memcpy(layers->recalled, entry->ends, sizeof(layers->recalled));
        *inner = (struct level){
            .source = layers->recalled,
            .target = layers->recalled + 16,
        };
        say(inner, &entry->inner);
    }
}

static void read_quoted(struct layers *layers, const struct ip *ip)
{
    struct ip quoted;
    int has_identifier;
    struct octets in = quoted_in(ip, &has_identifier);

    layers->has_quoted = in.length > 0 && read_ip(in, &quoted);
    if (layers->has_quoted)
        layers->quoted = level_of(&quoted);
}

/* What lies within a packet of IP that is whole, or begins one. */
static struct within within_ip(const struct ip *ip)
{
    if (ip->protocol != UDP)
        return within_protocol(ip->protocol, ip->payload);
    if (ip->payload.length < UDP_HEADER)
        return within(WITHIN_NOTHING, ip->payload, 0);
    return within_udp(big16(ip->payload.at), big16(ip->payload.at + 2),
                      after(ip->payload, UDP_HEADER));
}

/* Adds a level. Returns what lies within it. */
static struct within add_level(struct layers *layers, struct datagrams *datagrams,
                               const struct ip *ip)
{
    struct level *level = &layers->levels[layers->levels_count++];

    *level = level_of(ip);
    if (ip->part == LATER) {
        recall(layers, datagrams, level, ip);
        return within(WITHIN_NOTHING, ip->payload, 0);
    }
    if (ip->part == FIRST)
        level->datagram = datagram_of(&datagrams->seed, ip) | 1;
    if (ip->protocol == ICMP || ip->protocol == ICMP6) {
        read_quoted(layers, ip);
        return within(WITHIN_NOTHING, ip->payload, 0);
    }
    return within_ip(ip);
}

/* is_deep: what is within tunnels, too. What is found lies in the packet, and is good as
 * long as that is there. */
void layers_find(struct layers *layers, struct datagrams *datagrams, uint32_t linktype,
                 struct octets packet, int is_deep)
{
    struct within here = within_link(linktype, packet);

    layers->levels_count = 0;
    layers->frames_count = 0;
    layers->has_quoted = 0;
    layers->is_orphan = 0;
    layers->sender = NULL;
    if (linktype == LINKTYPE_LINUX_SLL && packet.length >= 16 && packet.at[5] == 6)
        layers->sender = packet.at + 6;
    if (linktype == LINKTYPE_LINUX_SLL2 && packet.length >= 20 && packet.at[11] == 6)
        layers->sender = packet.at + 12;
    for (unsigned steps = 0; steps <= DEPTH_MAX; steps++) {
        struct ip ip;

        if (here.kind == WITHIN_ETHERNET) {
            if (here.in.length >= ETHERNET_HEADER)
                layers->frames[layers->frames_count++] = here.in.at;
            here = within_ethernet(here.in);
            continue;
        }
        if (here.kind != WITHIN_IP || !read_ip(here.in, &ip))
            break;
        here = add_level(layers, datagrams, &ip);
        if (!is_deep)
            break;
    }
    for (uint32_t at = 0; at < layers->levels_count; at++) {
        const struct level *innermost = &layers->levels[layers->levels_count - 1];

        if (layers->levels[at].datagram != 0)
            remember(datagrams, &layers->levels[at],
                     at + 1 < layers->levels_count ? innermost : NULL);
    }
}
