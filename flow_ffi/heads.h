/* What is kept of each flow when there is too much: how much of it has passed. */
#ifndef FLOW_FFI_HEADS_H
#define FLOW_FFI_HEADS_H

#include "flow.h"

/* Octets that a flow takes in the table; and of the smallest table. */
#define HEADS_ENTRY 16
#define HEADS_OCTETS_MIN (64 << 10)

/* A flow of which nothing came for so long begins anew, as it does for an IDS. */
#define HEADS_IDLE_MS 60000

/* Octets by where in their flow they came: first packets; then eighths of powers of 2. */
#define HEADS_PLACES (1 + 8 * 48)

/* Octets by their flow's number: equal parts of all numbers. */
#define FLOWS_PARTS 1024

/* No limit; and the highest number: every flow. */
#define HEADS_ALL UINT64_MAX

struct heads;

/* What became of a batch, in packets; and its octets as they came, records' headers
 * included. */
struct shed {
    size_t kept_length; /* octets written to out; all that came where nothing was shed */
    uint32_t kept;
    uint32_t tails; /* beyond the limit of their flow */
    uint32_t flows; /* of flows that were not admitted */
};

struct heads *heads_new(size_t octets, uint64_t seed);
void heads_free(struct heads *heads);
void heads_shed(struct heads *heads, uint32_t linktype, const uint8_t *records,
                size_t length, uint32_t now_ms, uint64_t limit, uint64_t admitted,
                uint8_t *out, uint64_t *places, struct shed *shed);
uint32_t heads_place(uint64_t octets);

void flows_shed(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, uint64_t admitted, uint8_t *out, uint64_t *parts,
                struct shed *shed);

#endif
