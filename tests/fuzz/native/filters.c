/* Invariant: whatever octets packets consist of, filters are asked about them without
 * reading beyond them; what each filter takes are records that came, unchanged and in
 * order, as many and as long as the counts say; a filter takes the same alone as among
 * others, whose verdicts are kept; what are no records, or not as many, is refused; and
 * of flows that are packed, all up to one that is none are in the set.
 *
 * Input: 1 octet, the link type; 1 octet, the level and how steps are made; then packets:
 * 1 octet, how many octets it has, with the highest bit set times 16; and these. */
#include "harness.h"

#include <pcap/pcap.h>

#include "filter.h"
#include "pcap_ffi.h"

#define PACKETS_MAX 64
#define FILTERS 70
#define TESTS 7
#define SEED 0x0123456789ABCDEF

static const uint32_t linktypes[] = {101, 1, 239, 0, 108, 113, 228, 229, 276, 147};

static const uint32_t subnets4[] = {0x0A000000, 0x0AFFFFFF, 0xC0000200, 0xC00002FF};
static const uint64_t subnets6[] = {0x20010DB800000000, 0, 0x20010DB8FFFFFFFF,
                                    UINT64_MAX};
static const uint32_t ports[] = {6 << 16 | 443, 6 << 16 | 443, 17 << 16,
                                 17 << 16 | 65535};
static const uint64_t macs[] = {1, 0x020000000001};
static const struct bpf_insn program[] = {
    {BPF_LD | BPF_B | BPF_IND, 0, 0, 9},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 6},
    {BPF_RET | BPF_K, 0, 0, 262144},
    {BPF_RET | BPF_K, 0, 0, 0},
};

static uint32_t firsts4[65537];

struct records {
    uint8_t *octets;
    size_t length;
    size_t at[PACKETS_MAX + 1];
    uint32_t count;
};

static void read_records(struct records *records, const uint8_t *data, size_t size)
{
    static uint8_t made[PACKETS_MAX * (RECORD_HEADER + 16 * 127)];

    records->count = 0;
    records->length = 0;
    while (size > 0 && records->count < PACKETS_MAX) {
        size_t length = data[0] & 0x7F;
        uint8_t *record = made + records->length;

        length *= data[0] & 0x80 ? 16 : 1;
        data++;
        size--;
        if (length > size)
            length = size;
        put32(record, 1700000000);
        put32(record + 4, records->count);
        put32(record + 8, (uint32_t)length);
        put32(record + 12, (uint32_t)length);
        memcpy(record + RECORD_HEADER, data, length);
        records->at[records->count++] = records->length;
        records->length += RECORD_HEADER + length;
        data += length;
        size -= length;
    }
    records->at[records->count] = records->length;
    records->octets = copy_of(made, records->length);
}

/* Steps forward, by what the input says. */
static uint32_t make_steps(struct filter_step *steps, uint8_t manner)
{
    for (uint32_t step = 0; step < FILTERS; step++) {
        uint32_t next = step + 1 + manner % 3;

        steps[step].test = (step + manner) % TESTS;
        steps[step].yes = step % 3 && next < FILTERS ? next : STEP_TAKE;
        steps[step].no = step % 5 && next < FILTERS ? next : STEP_LEAVE;
    }
    return FILTERS;
}

/* Whether a way from here asks about nothing but addresses, ports and flows. */
static int is_steady(const struct filter_test *tests, const struct filter_step *steps,
                     uint32_t step)
{
    uint32_t kind;

    if (step >= STEP_LEAVE)
        return 1;
    kind = tests[steps[step].test].kind;
    return (kind == FILTER_SUBNETS || kind == FILTER_PORTS || kind == FILTER_FLOWS) &&
           is_steady(tests, steps, steps[step].yes) &&
           is_steady(tests, steps, steps[step].no);
}

/* keeps: verdicts, of all filters of which they may be kept. */
static struct filters *make_filters(const struct filter_test *tests,
                                    const struct filter_step *steps,
                                    const uint32_t *firsts, uint32_t count,
                                    uint32_t level, int keeps)
{
    static uint32_t kept[FILTERS], others[FILTERS];
    struct filters *filters = filters_new(TESTS, SEED);

    CHECK(filters != NULL);
    filters->tests = tests;
    filters->steps = steps;
    filters->firsts = firsts;
    filters->steps_count = FILTERS;
    filters->filters_count = count;
    filters->level = level;
    filters->kept = kept;
    filters->others = others;
    for (uint32_t filter = 0; filter < count; filter++)
        if (keeps && is_steady(tests, steps, firsts[filter]))
            kept[filters->kept_count++] = filter;
        else
            others[filters->others_count++] = filter;
    CHECK(filters_are_sound(filters));
    if (keeps)
        CHECK(filters_keep_verdicts(filters) == 0);
    return filters;
}

/* What one filter is said to take is what it gets. */
static void check_gathered(const struct records *records, const uint8_t *out,
                           const uint64_t *masks, uint32_t words, uint32_t filter,
                           uint64_t length, uint32_t count)
{
    size_t at = 0;
    uint32_t found = 0;

    for (uint32_t n = 0; n < records->count; n++) {
        size_t octets = records->at[n + 1] - records->at[n];

        if (!(masks[n * words + filter / 64] >> filter % 64 & 1))
            continue;
        CHECK(at + octets <= length);
        CHECK(memcmp(out + at, records->octets + records->at[n], octets) == 0);
        at += octets;
        found++;
    }
    CHECK(at == length);
    CHECK(found == count);
}

static void check_filters(const struct records *records, uint32_t linktype,
                          const struct filter_test *tests, uint8_t manner)
{
    struct filter_step steps[FILTERS];
    uint32_t firsts[FILTERS], counts[FILTERS], words = (FILTERS + 63) / 64;
    uint32_t steps_count = make_steps(steps, manner);
    uint64_t lengths[FILTERS];
    uint64_t *masks = (uint64_t *)exactly(records->count * words * sizeof(*masks));
    uint64_t *alone = (uint64_t *)exactly(records->count * sizeof(*alone));
    uint8_t *outs[FILTERS], *begins[FILTERS];
    struct filters *filters;

    for (uint32_t filter = 0; filter < FILTERS; filter++)
        firsts[filter] = filter % steps_count;
    filters = make_filters(tests, steps, firsts, FILTERS, manner % 3, 1);
    CHECK(filters_choose(filters, linktype, records->octets, records->length,
                         records->count, masks, lengths, counts) == 0);
    for (uint32_t filter = 0; filter < FILTERS; filter++)
        outs[filter] = begins[filter] = exactly(lengths[filter]);
    filters_gather(records->octets, records->length, masks, FILTERS, outs);
    for (uint32_t filter = 0; filter < FILTERS; filter++) {
        CHECK(outs[filter] == begins[filter] + lengths[filter]);
        check_gathered(records, begins[filter], masks, words, filter, lengths[filter],
                       counts[filter]);
        free(begins[filter]);
    }
    filters_free(filters);
    for (uint32_t filter = 0; filter < FILTERS; filter += 37) {
        uint8_t *out, *begin;
        uint64_t length;
        uint32_t count;

        filters = make_filters(tests, steps, firsts + filter, 1, manner % 3, 0);
        CHECK(filters_choose(filters, linktype, records->octets, records->length,
                             records->count, alone, &length, &count) == 0);
        CHECK(length == lengths[filter] && count == counts[filter]);
        out = begin = exactly(length);
        filters_gather(records->octets, records->length, alone, 1, &out);
        check_gathered(records, begin, alone, 1, 0, length, count);
        free(begin);
        filters_free(filters);
    }
    free(masks);
    free(alone);
}

static void check_refused(const struct records *records, uint32_t linktype,
                          const struct filter_test *tests)
{
    struct filter_step steps[FILTERS];
    uint32_t first = 0, count;
    uint64_t length, masks[PACKETS_MAX + 1];
    struct filters *filters;
    uint8_t *shorter;

    make_steps(steps, 0);
    filters = make_filters(tests, steps, &first, 1, LEVEL_ANY, 0);
    CHECK(filters_choose(filters, linktype, records->octets, records->length,
                         records->count + 1, masks, &length, &count) == -1);
    if (records->count > 0) {
        shorter = copy_of(records->octets, records->length - 1);
        CHECK(filters_choose(filters, linktype, shorter, records->length - 1,
                             records->count, masks, &length, &count) == -1);
        free(shorter);
        CHECK(filters_choose(filters, linktype, records->octets, records->length,
                             records->count - 1, masks, &length, &count) == -1);
    }
    filters_free(filters);
}

static void check_flows(const uint8_t *data, size_t size)
{
    struct flow_set *set = flow_set_new(SEED);
    size_t flows = size / FLOW_PACKED;
    uint8_t *packed = copy_of(data, flows * FLOW_PACKED);
    int64_t added;

    CHECK(set != NULL);
    added = flow_set_add_packed(set, packed, flows);
    CHECK(added >= 0 && (size_t)added <= flows);
    CHECK(flow_set_count(set) <= (size_t)added);
    if ((size_t)added < flows)
        CHECK(packed[added * FLOW_PACKED] != 4 && packed[added * FLOW_PACKED] != 6);
    /* All again are none that is new. */
    flows = flow_set_count(set);
    CHECK(flow_set_add_packed(set, packed, (size_t)added) == added);
    CHECK(flow_set_count(set) == flows);
    free(packed);
    flow_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flow_set *set = flow_set_new(SEED);
    struct filter_test tests[TESTS] = {
        {.kind = FILTER_SUBNETS, .side = 3, .ranges = subnets4, .ranges_count = 2,
         .ranges6 = subnets6, .ranges6_count = 1},
        {.kind = FILTER_PORTS, .side = 2, .ranges = ports, .ranges_count = 2},
        {.kind = FILTER_MACS, .side = 3, .macs = macs, .macs_count = 2},
        {.kind = FILTER_FLOWS, .side = 3, .flows = set},
        {.kind = FILTER_BPF, .program = program},
        {.kind = FILTER_TIME, .from_ns = 0, .until_ns = 1700000000000000003},
        {.kind = FILTER_SUBNETS, .side = 1, .ranges = subnets4, .ranges_count = 2,
         .firsts = firsts4},
    };
    const struct end one = {.address = {10, 0, 0, 1}, .port = 40000};
    const struct end other = {.address = {192, 0, 2, 9}, .port = 443};
    struct records records;

    CHECK(set != NULL && filter_is_valid(program, 4));
    CHECK(flow_set_add(set, 4, 6, &one, &other) == 0);
    CHECK(flow_set_has(set, 4, 6, &other, &one));
    for (uint32_t half = 0; firsts4[65536] == 0 && half <= 65536; half++)
        firsts4[half] = half <= 0x0AFF ? 0 : half <= 0xC000 ? 1 : 2;
    if (size >= 2) {
        read_records(&records, data + 2, size - 2);
        check_filters(&records, linktypes[data[0] % 10], tests, data[1]);
        check_refused(&records, linktypes[data[0] % 10], tests);
        free(records.octets);
    }
    check_flows(data, size);
    flow_set_free(set);
    return 0;
}
