/* Spreads the records of a batch over several who take them, flow by flow.
 *
 * Rendezvous hashing: a flow goes to the target for which flow and target together have
 * the highest number. So who comes takes only what is his, and when one goes only his
 * flows move. */
#include "flow.h"

#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

/* Where the record ends that begins at `at`; 0 where none does. */
static size_t end_of(const uint8_t *records, size_t length, size_t at)
{
    uint32_t caplen;

    if (length - at < RECORD_HEADER)
        return 0;
    caplen = get32(records + at + 8);
    return caplen > length - at - RECORD_HEADER ? 0 : at + RECORD_HEADER + caplen;
}

static uint32_t target_for(uint64_t flow, const uint64_t *keys, uint32_t count)
{
    uint32_t best = 0;
    uint64_t highest = 0;

    for (uint32_t target = 0; target < count; target++) {
        uint64_t number = flow_mix(flow ^ keys[target]);

        if (number > highest) {
            highest = number;
            best = target;
        }
    }
    return best;
}

/* Who of the targets (by their names, up to FLOW_TARGETS_MAX) gets which record.
 *
 * segments: packets of each of some stretches that the records are made of. chosen: a
 * target's index for each record, as many as the segments say. lengths: octets that each
 * target gets; counts: packets, for each target one number a segment. Returns 0; -1
 * where the records are not those of the segments. All memory is the caller's. */
int flow_choose(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, const uint64_t *targets, uint32_t targets_count,
                const uint32_t *segments, uint32_t segments_count, uint16_t *chosen,
                uint64_t *lengths, uint32_t *counts)
{
    uint64_t keys[FLOW_TARGETS_MAX];
    size_t at = 0;

    if (targets_count == 0 || targets_count > FLOW_TARGETS_MAX)
        return -1;
    for (uint32_t target = 0; target < targets_count; target++)
        /* Names may be small numbers, and shall differ in every bit. */
        keys[target] = flow_mix(targets[target] + 0x9E3779B97F4A7C15);
    memset(lengths, 0, targets_count * sizeof(*lengths));
    memset(counts, 0, (size_t)targets_count * segments_count * sizeof(*counts));
    for (uint32_t segment = 0; segment < segments_count; segment++) {
        for (uint32_t packet = 0; packet < segments[segment]; packet++) {
            size_t end = end_of(records, length, at);
            uint32_t target;
            uint64_t flow;

            if (end == 0)
                return -1;
            flow = flow_of(hasher, linktype, records + at + RECORD_HEADER,
                           (uint32_t)(end - at - RECORD_HEADER));
            target = target_for(flow, keys, targets_count);
            *chosen++ = (uint16_t)target;
            lengths[target] += end - at;
            counts[(size_t)target * segments_count + segment]++;
            at = end;
        }
    }
    return at == length ? 0 : -1;
}

/* Copies each record to the end of what its target has so far. Takes what flow_choose
 * has passed, and room for as many octets as it said; a target without room (NULL) gets
 * nothing. outs: moves on. */
void flow_part(const uint8_t *records, size_t length, const uint16_t *chosen,
               uint8_t **outs)
{
    for (size_t at = 0; at < length;) {
        size_t octets = RECORD_HEADER + (size_t)get32(records + at + 8);
        uint8_t **out = &outs[*chosen++];

        if (*out != NULL) {
            memcpy(*out, records + at, octets);
            *out += octets;
        }
        at += octets;
    }
}

/* Memory that is not cleared; NULL: there is none. */
void *flow_alloc(size_t size)
{
    return malloc(size);
}

void flow_free(void *memory)
{
    free(memory);
}
