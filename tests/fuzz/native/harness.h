/* What the targets share: a check that ends the process, memory of exact length, and
 * the octets at the front of an input that say how the rest is to be read.
 *
 * Every buffer is exactly as long as it may be used, so that ASan sees the first octet
 * beyond. */
#ifndef TESTS_FUZZ_HARNESS_H
#define TESTS_FUZZ_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANARY 0xA5

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                   \
        }                                                                              \
    } while (0)

/* libFuzzer's entry, and that of replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline uint8_t *exactly(size_t length)
{
    uint8_t *octets = malloc(length > 0 ? length : 1);

    CHECK(octets != NULL);
    return octets;
}

static inline uint8_t *copy_of(const uint8_t *octets, size_t length)
{
    uint8_t *copy = exactly(length);

    if (length > 0)
        memcpy(copy, octets, length);
    return copy;
}

/* A number below 65536 from the front of the input; 0 when nothing is left. */
static inline uint16_t front16(const uint8_t **data, size_t *size)
{
    uint16_t number;

    if (*size < 2) {
        *size = 0;
        return 0;
    }
    number = (uint16_t)((*data)[0] | (*data)[1] << 8);
    *data += 2;
    *size -= 2;
    return number;
}

static inline uint32_t little32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

#endif
