/* Flows by the million: is this packet of one of them?
 *
 * Two open tables, of IPv4 and of IPv6, by a keyed number of the flow; neither end of a
 * flow comes first. */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_PLACES 64

struct flow4 {
    uint32_t low, high;
    uint16_t low_port, high_port;
    uint8_t protocol, is_used;
};

struct flow6 {
    uint64_t low[2], high[2];
    uint16_t low_port, high_port;
    uint8_t protocol, is_used;
};

struct flow_set {
    struct flow_seed seed;
    struct flow4 *flows4;
    struct flow6 *flows6;
    size_t places4, places6; /* powers of two, or 0 */
    size_t count4, count6;
};

struct flow_set *flow_set_new(uint64_t seed)
{
    struct flow_set *set = calloc(1, sizeof(*set));

    if (set != NULL)
        set->seed = flow_seed_of(seed);
    return set;
}

void flow_set_free(struct flow_set *set)
{
    if (set == NULL)
        return;
    free(set->flows4);
    free(set->flows6);
    free(set);
}

size_t flow_set_count(const struct flow_set *set)
{
    return set->count4 + set->count6;
}

static struct flow4 flow4_of(unsigned protocol, const struct end *one,
                             const struct end *other)
{
    struct flow4 flow = {0};
    uint64_t first = (uint64_t)big32(one->address) << 16 | one->port;
    uint64_t second = (uint64_t)big32(other->address) << 16 | other->port;
    uint64_t low = first < second ? first : second;
    uint64_t high = first < second ? second : first;

    flow.low = (uint32_t)(low >> 16);
    flow.high = (uint32_t)(high >> 16);
    flow.low_port = (uint16_t)low;
    flow.high_port = (uint16_t)high;
    flow.protocol = (uint8_t)protocol;
    flow.is_used = 1;
    return flow;
}

static struct flow6 flow6_of(unsigned protocol, const struct end *one,
                             const struct end *other)
{
    struct flow6 flow;
    int order = memcmp(one->address, other->address, 16);
    int is_turned = order > 0 || (order == 0 && one->port > other->port);
    const struct end *low = is_turned ? other : one, *high = is_turned ? one : other;

    memset(&flow, 0, sizeof(flow));
    flow.low[0] = big64(low->address);
    flow.low[1] = big64(low->address + 8);
    flow.high[0] = big64(high->address);
    flow.high[1] = big64(high->address + 8);
    flow.low_port = low->port;
    flow.high_port = high->port;
    flow.protocol = (uint8_t)protocol;
    flow.is_used = 1;
    return flow;
}

static uint64_t number4(const struct flow_set *set, const struct flow4 *flow)
{
    uint64_t words[2] = {
        (uint64_t)flow->low << 32 | flow->high,
        (uint64_t)flow->low_port << 32 | (uint64_t)flow->high_port << 16 | flow->protocol,
    };

    return flow_siphash(&set->seed, words, 2);
}

static uint64_t number6(const struct flow_set *set, const struct flow6 *flow)
{
    uint64_t words[5] = {
        flow->low[0],
        flow->low[1],
        flow->high[0],
        flow->high[1],
        (uint64_t)flow->low_port << 32 | (uint64_t)flow->high_port << 16 | flow->protocol,
    };

    return flow_siphash(&set->seed, words, 5);
}

static int is_same4(const struct flow4 *a, const struct flow4 *b)
{
    return a->low == b->low && a->high == b->high && a->low_port == b->low_port &&
           a->high_port == b->high_port && a->protocol == b->protocol;
}

static int is_same6(const struct flow6 *a, const struct flow6 *b)
{
    return memcmp(a->low, b->low, sizeof(a->low)) == 0 &&
           memcmp(a->high, b->high, sizeof(a->high)) == 0 &&
           a->low_port == b->low_port && a->high_port == b->high_port &&
           a->protocol == b->protocol;
}

/* The place where a flow is, or would be. There is always one that is free. */
static size_t place4(const struct flow_set *set, const struct flow4 *flow)
{
    size_t place = number4(set, flow) & (set->places4 - 1);

    while (set->flows4[place].is_used && !is_same4(&set->flows4[place], flow))
        place = (place + 1) & (set->places4 - 1);
    return place;
}

static size_t place6(const struct flow_set *set, const struct flow6 *flow)
{
    size_t place = number6(set, flow) & (set->places6 - 1);

    while (set->flows6[place].is_used && !is_same6(&set->flows6[place], flow))
        place = (place + 1) & (set->places6 - 1);
    return place;
}

/* A quarter of the places stays free, at least. */
static int grow4(struct flow_set *set)
{
    struct flow4 *old = set->flows4;
    size_t places = set->places4;

    if (set->count4 < places - places / 4)
        return 0;
    set->places4 = places ? 2 * places : FIRST_PLACES;
    set->flows4 = calloc(set->places4, sizeof(*set->flows4));
    if (set->flows4 == NULL) {
        set->flows4 = old;
        set->places4 = places;
        return -1;
    }
    for (size_t place = 0; place < places; place++)
        if (old[place].is_used)
            set->flows4[place4(set, &old[place])] = old[place];
    free(old);
    return 0;
}

static int grow6(struct flow_set *set)
{
    struct flow6 *old = set->flows6;
    size_t places = set->places6;

    if (set->count6 < places - places / 4)
        return 0;
    set->places6 = places ? 2 * places : FIRST_PLACES;
    set->flows6 = calloc(set->places6, sizeof(*set->flows6));
    if (set->flows6 == NULL) {
        set->flows6 = old;
        set->places6 = places;
        return -1;
    }
    for (size_t place = 0; place < places; place++)
        if (old[place].is_used)
            set->flows6[place6(set, &old[place])] = old[place];
    free(old);
    return 0;
}

/* Returns 0; -1 where there is no memory, and nothing has changed. */
int flow_set_add(struct flow_set *set, unsigned version, unsigned protocol,
                 const struct end *one, const struct end *other)
{
    size_t place;

    if (version == 4) {
        struct flow4 flow = flow4_of(protocol, one, other);

        if (grow4(set))
            return -1;
        place = place4(set, &flow);
        set->count4 += !set->flows4[place].is_used;
        set->flows4[place] = flow;
    } else {
        struct flow6 flow = flow6_of(protocol, one, other);

        if (grow6(set))
            return -1;
        place = place6(set, &flow);
        set->count6 += !set->flows6[place].is_used;
        set->flows6[place] = flow;
    }
    return 0;
}

int flow_set_has(const struct flow_set *set, unsigned version, unsigned protocol,
                 const struct end *one, const struct end *other)
{
    if (version == 4) {
        struct flow4 flow = flow4_of(protocol, one, other);

        return set->count4 > 0 && set->flows4[place4(set, &flow)].is_used;
    } else {
        struct flow6 flow = flow6_of(protocol, one, other);

        return set->count6 > 0 && set->flows6[place6(set, &flow)].is_used;
    }
}

static struct end end_of(const uint8_t *port, const uint8_t *address, size_t octets)
{
    struct end end = {.port = (uint16_t)big16(port)};

    memcpy(end.address, address, octets);
    return end;
}

/* Adds so many flows of FLOW_PACKED octets. Returns how many were added before one that
 * is none, all where each is one; -1 where there is no memory. */
int64_t flow_set_add_packed(struct flow_set *set, const uint8_t *packed, size_t flows)
{
    for (size_t at = 0; at < flows; at++, packed += FLOW_PACKED) {
        size_t octets = packed[0] == 4 ? 4 : 16;
        struct end one, other;

        if (packed[0] != 4 && packed[0] != 6)
            return (int64_t)at;
        one = end_of(packed + 2, packed + 6, octets);
        other = end_of(packed + 4, packed + 22, octets);
        if (flow_set_add(set, packed[0], packed[1], &one, &other))
            return -1;
    }
    return (int64_t)flows;
}
