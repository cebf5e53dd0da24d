/* Packets taken out of what is around them: what decapsulate.c offers. No system call. */
#ifndef FILTER_FFI_DECAPSULATE_H
#define FILTER_FFI_DECAPSULATE_H

#include <stddef.h>
#include <stdint.h>

#include "within.h"

/* Why a packet stays in a tunnel. */
enum undone { UNDONE_FRAGMENT, UNDONE_NOTHING, UNDONE_DEPTH, UNDONE_KINDS };

struct peeler {
    /* By whoever asks. */
    uint32_t depth; /* tunnels, at most DEPTH_MAX */
    uint32_t kinds; /* of PASSED_... */

    /* In packets, since the beginning. */
    uint64_t changed;
    uint64_t taken_off[PASSED_KINDS];
    uint64_t undone[UNDONE_KINDS];
};

/* Consecutive packets of one link type. */
struct peeled {
    uint32_t linktype, count;
    uint64_t length; /* of their records */
};

int64_t peel_records(struct peeler *peeler, uint32_t linktype, const uint8_t *records,
                     size_t length, uint32_t count, uint8_t *out,
                     struct peeled *parts);

#endif
