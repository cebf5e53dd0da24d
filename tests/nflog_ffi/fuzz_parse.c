/* Invariant: whatever octets a datagram consists of, nflog_parse() reads nothing beyond
 * them and writes nothing beyond `used`; what it writes are records that
 * records_count() accepts, as many as the parser counted; its counts only grow; and
 * with room for the longest packet every call gets on. Whatever octets records consist
 * of, records_count() judges them, and what it accepts the other loops can take.
 *
 * Usage: fuzz_parse MUTATIONS FILE... - each file is one datagram. Deterministic: the
 * same files and number give the same octets. Made to be compiled with sanitizers, so
 * every buffer is exactly as long as it may be used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nflog.h"
#include "pcap_ffi.h"

#define GROUPS 2
#define CANARY 0xA5
#define DATAGRAM_MAX (1 << 17)

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                   \
        }                                                                              \
    } while (0)

static uint64_t state = 0x9E3779B97F4A7C15;

/* xorshift64: the same numbers on every machine. */
static uint64_t chance(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static uint8_t *exactly(size_t length)
{
    uint8_t *octets = malloc(length > 0 ? length : 1);

    CHECK(octets != NULL);
    return octets;
}

static void check_growth(const struct nflog_counts *before,
                         const struct nflog_counts *after)
{
    CHECK(after->received >= before->received);
    CHECK(after->missed >= before->missed);
    CHECK(after->not_ip >= before->not_ip);
    CHECK(after->stamped_by_kernel >= before->stamped_by_kernel);
    CHECK(after->stamped_here >= before->stamped_here);
    CHECK(after->gaps >= before->gaps);
    CHECK(after->malformed >= before->malformed);
}

static void walk(const uint8_t *records, size_t length)
{
    uint8_t *copy = exactly(length);
    size_t at, kept, whole;
    int64_t count;

    memcpy(copy, records, length);
    count = records_count(copy, length, &at);
    CHECK(at <= length);
    if (count >= 0) {
        CHECK(at == length);
        whole = records_whole(copy, length, chance(length + 32));
        CHECK(whole <= length);
        CHECK(records_count(copy, whole, &at) >= 0);
        records_to_microseconds(copy, length);
        kept = records_truncate(copy, length, (uint32_t)chance(100));
        CHECK(kept <= length);
        CHECK(records_count(copy, kept, &at) == count);
    }
    free(copy);
}

/* The datagram to its end, in as many calls as its buffers take. */
static void parse(const uint8_t *octets, size_t length)
{
    struct nflog_group groups[GROUPS] = {{.id = 1}, {.id = 2}};
    struct nflog_parser parser = {.groups = groups, .groups_count = GROUPS};
    uint64_t records = 0;
    size_t at = 0;

    do {
        struct nflog_counts before = parser.counts;
        /* Often too small for some packet, so that each of its edges is met. */
        size_t capacity = chance(3) ? chance(300) : NFLOG_CAPACITY_MIN + chance(64);
        size_t used = 0, taken, fault;
        int64_t count;
        /* At the start of a block of its own: netlink's alignment. */
        uint8_t *rest = exactly(length - at), *out = exactly(capacity);

        memcpy(rest, octets + at, length - at);
        memset(out, CANARY, capacity);
        taken = nflog_parse(&parser, rest, length - at, 1800000000000000000, out,
                            capacity, &used);
        CHECK(used <= capacity);
        CHECK(taken <= length - at);
        CHECK(taken > 0 || length == at || capacity < NFLOG_CAPACITY_MIN);
        for (size_t beyond = used; beyond < capacity; beyond++)
            CHECK(out[beyond] == CANARY);
        check_growth(&before, &parser.counts);
        count = records_count(out, used, &fault);
        CHECK(count >= 0);
        records += (uint64_t)count;
        walk(out, used);
        if (used > 0) {
            out[chance(used)] ^= (uint8_t)(1 + chance(255));
            walk(out, chance(used + 1));
        }
        at += taken;
        free(rest);
        free(out);
    } while (at < length);
    CHECK(records == parser.counts.stamped_by_kernel + parser.counts.stamped_here);
    CHECK(parser.counts.received == records + parser.counts.not_ip);
}

static void mutate(uint8_t *octets, size_t length)
{
    static const uint16_t telling[] = {0, 1, 2, 3, 4, 5, 15, 16, 17, 255, 1024, 65535};
    size_t at = chance(length), run;

    switch (chance(4)) {
    case 0:
        octets[at] ^= (uint8_t)(1u << chance(8));
        break;
    case 1:
        octets[at] = (uint8_t)chance(256);
        break;
    case 2: /* lengths and types are 16 bits, at even places */
        at &= ~(size_t)1;
        if (at + 2 <= length)
            memcpy(octets + at, &telling[chance(sizeof(telling) / 2)], 2);
        break;
    default:
        run = chance(length - at);
        memmove(octets + at, octets + chance(length - run), run);
    }
}

static void torment(const uint8_t *datagram, size_t length, unsigned long mutations)
{
    uint8_t *octets = exactly(length);

    parse(datagram, length);
    if (length == 0) {
        free(octets);
        return;
    }
    for (unsigned long n = 0; n < mutations; n++) {
        size_t left = length;

        memcpy(octets, datagram, length);
        for (uint64_t times = 1 + chance(6); times > 0; times--)
            mutate(octets, length);
        if (chance(4) == 0)
            left = chance(length + 1);
        parse(octets, left);
    }
    /* Every truncation of the short ones; some of the long ones. */
    for (size_t left = 0; left < length; left += 1 + length / 2000)
        parse(datagram, left);
    free(octets);
}

int main(int argc, char **argv)
{
    uint8_t *datagram = exactly(DATAGRAM_MAX);
    unsigned long mutations;

    CHECK(argc > 2);
    mutations = strtoul(argv[1], NULL, 10);
    for (int n = 2; n < argc; n++) {
        FILE *file = fopen(argv[n], "rb");
        size_t length;

        CHECK(file != NULL);
        length = fread(datagram, 1, DATAGRAM_MAX, file);
        fclose(file);
        torment(datagram, length, mutations);
    }
    free(datagram);
    printf("%d datagrams\n", argc - 2);
    return 0;
}
