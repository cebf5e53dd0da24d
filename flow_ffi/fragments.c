/* Remembers where the last datagrams went whose fragments have been seen, so that all of
 * a datagram go one way: that of its flow where the fragment with the ports comes first,
 * as it nearly always does, and else that of its addresses, the one with the ports too.
 *
 * Datagrams that are sprayed push out those of their set, a sixteenth of a percent of all;
 * which set is nobody's choice, since the numbers are keyed. Who is pushed out goes by
 * his addresses from then on. */
#include "flow.h"

#include <string.h>

static uint32_t set_of(uint64_t datagram)
{
    return (uint32_t)(datagram >> 32) % FRAGMENT_SETS;
}

/* Makes the entry the newest of its set; returns it. */
static struct fragment *renew(struct fragments *fragments, uint32_t set, unsigned way,
                              unsigned begun)
{
    struct fragment *entries = fragments->entries[set];
    struct fragment entry = entries[way];
    unsigned bits = fragments->begun[set];
    unsigned above = bits & ~((2U << way) - 1), below = bits & ((1U << way) - 1);

    memmove(entries + 1, entries, way * sizeof(*entries));
    entries[0] = entry;
    fragments->begun[set] = (uint8_t)(above | below << 1 | begun);
    return entries;
}

static unsigned way_of(const struct fragments *fragments, uint32_t set,
                       uint64_t datagram)
{
    unsigned way = 0;

    while (way < FRAGMENT_WAYS && fragments->entries[set][way].datagram != datagram)
        way++;
    return way;
}

static uint64_t remember(struct fragments *fragments, uint32_t set, uint64_t datagram,
                         uint64_t flow, unsigned begun)
{
    struct fragment *entry = renew(fragments, set, FRAGMENT_WAYS - 1, begun);

    *entry = (struct fragment){datagram, flow};
    return flow;
}

/* The way of a fragment that has the ports, and would go the way of `flow`. */
uint64_t fragments_first(struct fragments *fragments, uint64_t datagram, uint64_t flow)
{
    uint32_t set = set_of(datagram);
    unsigned way = way_of(fragments, set, datagram);

    if (way == FRAGMENT_WAYS)
        return remember(fragments, set, datagram, flow, 1);
    if (fragments->begun[set] >> way & 1)
        /* A beginning was seen already: another datagram has the same number now. */
        fragments->entries[set][way].flow = flow;
    return renew(fragments, set, way, 1)->flow;
}

/* The way of a fragment without ports: that of its datagram, where one is known. */
uint64_t fragments_later(struct fragments *fragments, uint64_t datagram,
                         uint64_t otherwise)
{
    uint32_t set = set_of(datagram);
    unsigned way = way_of(fragments, set, datagram);

    if (way == FRAGMENT_WAYS)
        return remember(fragments, set, datagram, otherwise, 0);
    return renew(fragments, set, way, fragments->begun[set] >> way & 1)->flow;
}

/* Whether a datagram's way is known; changes nothing. */
int fragments_find(const struct fragments *fragments, uint64_t datagram,
                   uint64_t *flow)
{
    uint32_t set = set_of(datagram);
    unsigned way = way_of(fragments, set, datagram);

    if (way == FRAGMENT_WAYS)
        return 0;
    *flow = fragments->entries[set][way].flow;
    return 1;
}
