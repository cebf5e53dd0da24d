/* Which flow a packet belongs to, as a number, and who gets it: what hash.c,
 * fragments.c, flow.c and spread.c offer. No system call in any of them.
 *
 * A flow is two ends, whichever of them speaks, and a protocol: an end is an address and,
 * where the protocol has some, a port. Its number is SipHash-1-3 of these by a secret
 * seed, so nobody who does not know the seed can make flows that collide, or choose
 * where his go. */
#ifndef FLOW_FFI_FLOW_H
#define FLOW_FFI_FLOW_H

#include <stddef.h>
#include <stdint.h>

/* Whom packets may be spread over, at most. */
#define FLOW_TARGETS_MAX 1024

/* hash.c */
struct flow_seed {
    uint64_t key[2];
};
struct flow_seed flow_seed_of(uint64_t seed);
uint64_t flow_mix(uint64_t number);
uint64_t flow_siphash(const struct flow_seed *seed, const uint64_t *words,
                      unsigned count);

/* fragments.c: which flow a fragment belongs to, for the last few datagrams. The table
 * is of one size, and a datagram that was pushed out of it goes by its addresses. */
#define FRAGMENT_WAYS 4
#define FRAGMENT_SETS 1024

struct fragment {
    uint64_t datagram; /* number of its addresses, protocol and identification */
    uint64_t flow;
};

struct fragments {
    struct fragment entries[FRAGMENT_SETS][FRAGMENT_WAYS]; /* the newest first */
    uint8_t begun[FRAGMENT_SETS]; /* bits: that entry has seen its datagram's beginning */
};

uint64_t fragments_first(struct fragments *fragments, uint64_t datagram, uint64_t flow);
uint64_t fragments_later(struct fragments *fragments, uint64_t datagram,
                         uint64_t otherwise);
int fragments_find(const struct fragments *fragments, uint64_t datagram,
                   uint64_t *flow);

/* flow.c */
struct flow_hasher {
    struct flow_seed seed;
    int inner; /* by what is within tunnels */
    int begins; /* the last packet asked for opens a connection of TCP */
    struct fragments fragments;
};

struct flow_hasher *flow_hasher_new(uint64_t seed, int inner);
void flow_hasher_free(struct flow_hasher *hasher);
uint64_t flow_of(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *packet,
                 uint32_t caplen);
uint64_t flow_hash(const uint8_t *packet, uint32_t caplen, uint32_t linktype, int inner,
                   uint64_t seed);

/* spread.c */
int flow_choose(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, const uint64_t *targets, uint32_t targets_count,
                const uint32_t *segments, uint32_t segments_count, uint16_t *chosen,
                uint64_t *lengths, uint32_t *counts);
void flow_part(const uint8_t *records, size_t length, const uint16_t *chosen,
               uint8_t **outs);
void *flow_alloc(size_t size);
void flow_free(void *memory);

#endif
