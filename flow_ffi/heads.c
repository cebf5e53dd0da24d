/* Keeps the heads of flows and drops what lies beyond; or keeps whole flows by their
 * numbers.
 *
 * Theory of operation. How much of each flow has passed is in a table of one size, made
 * once: sets of eight, found by the flow's keyed number, so that a packet costs the same
 * whatever comes and nobody can choose whose set he falls into. Where a set is full the
 * one goes that was not heard of for longest; but a flow that has shown to be long is
 * what the table is there to remember, and one of a packet or two is not. So long ones
 * go only when less than two of a set are short: whoever sprays addresses pushes out
 * what is like his own. Forgetting a flow does no harm but that its next octets pass as
 * a head. */
#include "heads.h"

#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

#define WAYS 8
#define SHORT_MIN 2
/* Of a long flow: more than a question and its answer. */
#define LONG_OCTETS 4096

struct entry {
    uint32_t tag; /* of the flow's number; the lowest bit: it was not admitted */
    uint32_t seen_ms;
    uint64_t octets; /* 0: nobody's */
};

_Static_assert(sizeof(struct entry) == HEADS_ENTRY, "as the option's help says");

struct heads {
    struct flow_hasher *hasher;
    void *memory;
    struct entry (*sets)[WAYS]; /* each on two lines of the cache */
    uint64_t mask;
};

/* A table of at most so many octets; NULL: there is no memory. */
struct heads *heads_new(size_t octets, uint64_t seed)
{
    struct heads *heads = calloc(1, sizeof(*heads));
    size_t sets = 1;

    if (heads == NULL)
        return NULL;
    if (octets < HEADS_OCTETS_MIN)
        octets = HEADS_OCTETS_MIN;
    while (2 * sets * sizeof(*heads->sets) <= octets)
        sets *= 2;
    heads->mask = sets - 1;
    heads->hasher = flow_hasher_new(seed, 1);
    /* Pages that no flow has touched take no memory. */
    heads->memory = calloc(sets + 1, sizeof(*heads->sets));
    if (heads->hasher == NULL || heads->memory == NULL) {
        heads_free(heads);
        return NULL;
    }
    heads->sets = (void *)(((uintptr_t)heads->memory + sizeof(*heads->sets) - 1) &
                           ~(uintptr_t)(sizeof(*heads->sets) - 1));
    return heads;
}

void heads_free(struct heads *heads)
{
    if (heads == NULL)
        return;
    flow_hasher_free(heads->hasher);
    free(heads->memory);
    free(heads);
}

/* Which part of the profile such a place in a flow belongs to. */
uint32_t heads_place(uint64_t octets)
{
    unsigned power, eighth;

    if (octets == 0)
        return 0;
    power = 63 - (unsigned)__builtin_clzll(octets);
    eighth = (power >= 3 ? octets >> (power - 3) : octets << (3 - power)) & 7;
    if (power >= 48)
        return HEADS_PLACES - 1;
    return 1 + 8 * power + eighth;
}

/* The flow's entry, or the one that it takes over, which has no octets then. */
static struct entry *entry_of(struct heads *heads, uint64_t flow, uint32_t now_ms)
{
    struct entry *set = heads->sets[flow & heads->mask];
    struct entry *oldest_short = NULL, *oldest_long = NULL, *victim;
    uint32_t tag = (uint32_t)(flow >> 32) & ~1U;
    unsigned shorts = 0;

    for (unsigned way = 0; way < WAYS; way++)
        if ((set[way].tag & ~1U) == tag && set[way].octets != 0)
            return &set[way];
    for (unsigned way = 0; way < WAYS; way++) {
        struct entry *entry = &set[way];
        struct entry **oldest = &oldest_short;

        if (entry->octets == 0) {
            victim = entry;
            goto taken;
        }
        if (entry->octets >= LONG_OCTETS && now_ms - entry->seen_ms < HEADS_IDLE_MS)
            oldest = &oldest_long;
        else
            shorts++;
        if (*oldest == NULL || now_ms - entry->seen_ms > now_ms - (*oldest)->seen_ms)
            *oldest = entry;
    }
    victim = shorts >= SHORT_MIN || oldest_long == NULL ? oldest_short : oldest_long;
taken:
    *victim = (struct entry){.tag = tag, .seen_ms = now_ms};
    return victim;
}

/* What is kept of a batch: records that go on lie together in it, and are copied together
 * as soon as one between them does not. */
struct keeping {
    const uint8_t *records;
    uint8_t *out;
    size_t from; /* the first record that is kept and not copied */
};

static void keep_until(struct keeping *keeping, size_t at, size_t next,
                       struct shed *shed)
{
    size_t octets = at - keeping->from;

    memcpy(keeping->out + shed->kept_length, keeping->records + keeping->from, octets);
    shed->kept_length += octets;
    keeping->from = next;
}

static void finish(struct keeping *keeping, size_t length, struct shed *shed)
{
    if (shed->tails + shed->flows == 0)
        shed->kept_length = length;
    else
        keep_until(keeping, length, length, shed);
}

/* Where the record ends that begins at `at`. Beyond the last one nothing is read, whoever
 * calls. */
static size_t end_of(const uint8_t *records, size_t length, size_t at)
{
    uint32_t caplen;

    if (length - at < RECORD_HEADER)
        return length;
    caplen = get32(records + at + 8);
    return caplen > length - at - RECORD_HEADER ? length : at + RECORD_HEADER + caplen;
}

static uint64_t flow_at(struct flow_hasher *hasher, uint32_t linktype,
                        const uint8_t *records, size_t at, size_t end)
{
    if (end - at < RECORD_HEADER)
        return 0;
    return flow_of(hasher, linktype, records + at + RECORD_HEADER,
                   (uint32_t)(end - at - RECORD_HEADER));
}

/* Keeps of each flow what lies before `limit` octets of it. A flow that begins goes on
 * only if its number is at most `admitted`, and so does one that was not admitted when
 * it began.
 *
 * out: room for the records, where what is kept of them is written if any are shed; NULL
 * where no limits are given. places: HEADS_PLACES numbers, to which octets of flows that
 * are admitted, or begin, are added. Takes whole records. */
void heads_shed(struct heads *heads, uint32_t linktype, const uint8_t *records,
                size_t length, uint32_t now_ms, uint64_t limit, uint64_t admitted,
                uint8_t *out, uint64_t *places, struct shed *shed)
{
    struct keeping keeping = {records, out, 0};

    memset(shed, 0, sizeof(*shed));
    for (size_t at = 0, end; at < length; at = end) {
        struct entry *entry;
        uint64_t flow;

        end = end_of(records, length, at);
        flow = flow_at(heads->hasher, linktype, records, at, end);
        entry = entry_of(heads, flow, now_ms);
        if (heads->hasher->begins || now_ms - entry->seen_ms >= HEADS_IDLE_MS)
            entry->octets = 0;
        if (flow <= admitted)
            entry->tag &= ~1U;
        else if (entry->octets == 0)
            entry->tag |= 1;
        if (entry->octets == 0 || !(entry->tag & 1))
            places[heads_place(entry->octets)] += end - at;
        if (entry->tag & 1) {
            shed->flows++;
            keep_until(&keeping, at, end, shed);
        } else if (entry->octets >= limit) {
            shed->tails++;
            keep_until(&keeping, at, end, shed);
        } else {
            shed->kept++;
        }
        entry->octets += end - at;
        entry->seen_ms = now_ms;
    }
    finish(&keeping, length, shed);
}

/* Keeps the flows whose numbers are at most `admitted`. out: as above. parts: FLOWS_PARTS
 * numbers, to which the octets of all flows are added. */
void flows_shed(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, uint64_t admitted, uint8_t *out, uint64_t *parts,
                struct shed *shed)
{
    struct keeping keeping = {records, out, 0};

    memset(shed, 0, sizeof(*shed));
    for (size_t at = 0, end; at < length; at = end) {
        uint64_t flow;

        end = end_of(records, length, at);
        flow = flow_at(hasher, linktype, records, at, end);
        parts[flow / (UINT64_MAX / FLOWS_PARTS + 1)] += end - at;
        if (flow <= admitted) {
            shed->kept++;
        } else {
            shed->flows++;
            keep_until(&keeping, at, end, shed);
        }
    }
    finish(&keeping, length, shed);
}
