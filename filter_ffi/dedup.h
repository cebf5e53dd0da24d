/* What was seen a moment ago: what digest.c and dedup.c offer. No system call. */
#ifndef FILTER_FFI_DEDUP_H
#define FILTER_FFI_DEDUP_H

#include <stddef.h>
#include <stdint.h>

#include "flow.h"

/* digest.c */
uint64_t digest_packet(const struct flow_seed *seed, uint32_t linktype,
                       const uint8_t *packet, uint32_t caplen);

/* dedup.c */
#define SEEN_ENTRY 16
#define SEEN_WAYS 8

struct dedup {
    uint64_t seen, dropped, forgotten; /* packets, since the beginning */

    int64_t window_ns;
    struct flow_seed seed;
    struct seen *entries; /* sets of SEEN_WAYS */
    size_t sets, sets_max; /* powers of two */
};

struct dedup *dedup_new(int64_t window_ns, size_t octets, uint64_t seed);
void dedup_free(struct dedup *dedup);
int dedup_choose(struct dedup *dedup, uint32_t linktype, const uint8_t *records,
                 size_t length, uint32_t count, uint64_t *kept, uint64_t *kept_length,
                 uint32_t *kept_count);

#endif
