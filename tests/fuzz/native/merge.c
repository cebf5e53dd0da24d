/* Invariant: whatever runs of packet records are merged, however little may be taken at
 * once, every packet comes out once, whole, in the order of the keys as far as one call
 * goes; each call says truly whose they are; and nothing beyond any buffer is touched.
 *
 * Input, again and again: 1 octet, what to do. Even: 2 octets, a length; so many octets
 * are records, sorted and added; the other bits choose epoch and ceiling. Odd: 2 octets,
 * the room for what is taken; the other bits choose the key up to which. */
#include "harness.h"

#include "merge.h"
#include "pcap_ffi.h"

#define RUNS 256
#define NS_PER_S INT64_C(1000000000)

static const int64_t moments[] = {
    0, 1, MERGE_KEY_MAX, -MERGE_KEY_MAX, 7 * NS_PER_S, INT64_C(1700000000) * NS_PER_S,
};

static int64_t moment(unsigned bits)
{
    return moments[bits % (sizeof(moments) / sizeof(*moments))];
}

struct run {
    uint8_t *records;
    int64_t epoch_ns, ceiling_ns;
    uint32_t left;
};

/* By slot. */
static struct run runs[RUNS];
static uint32_t held;

static int64_t time_of(const uint8_t *record)
{
    return little32(record) * NS_PER_S + little32(record + 4);
}

static void add(struct merge *merge, const uint8_t *octets, size_t length, unsigned bits)
{
    struct survey survey;
    struct run run;
    size_t at;
    int64_t count = records_count(octets, length, &at), slot;

    if (count < 1 || held + 1 >= RUNS)
        return;
    records_survey(octets, length, (uint32_t)count, 1, &survey);
    CHECK(survey.length == length && survey.packets == count);
    run.records = exactly(length);
    CHECK(records_sort(octets, length, (uint32_t)count, 1, run.records) == 0);
    records_survey(run.records, length, (uint32_t)count, 1, &survey);
    CHECK(survey.disordered == 0);
    run.epoch_ns = moment(bits);
    run.ceiling_ns = moment(bits >> 3);
    run.left = (uint32_t)count;
    slot = merge_add(merge, run.records, length, run.left, run.epoch_ns, run.ceiling_ns,
                     survey.newest_ns, 101 + (bits & 1));
    CHECK(slot >= 0 && slot < RUNS && runs[slot].left == 0);
    runs[slot] = run;
    held++;
}

/* Whether the packets are in the order of their keys, and as many as is said. */
static void check_order(const struct taken *taken, const uint8_t *out)
{
    int64_t last_ns = INT64_MIN;
    uint32_t packets = 0;
    size_t at = 0;

    for (uint32_t turn = 0; turn < taken->turns; turn++) {
        uint32_t part = taken->order[2 * turn], count = taken->order[2 * turn + 1];

        CHECK(part < taken->parts && count > 0);
        packets += count;
        while (!taken->is_whole && count-- > 0) {
            const struct run *run = &runs[taken->slots[part]];
            int64_t key = time_of(out + at) - run->epoch_ns;

            if (key > run->ceiling_ns)
                key = run->ceiling_ns;
            CHECK(key >= last_ns);
            last_ns = key;
            at += RECORD_HEADER + little32(out + at + 8);
        }
    }
    CHECK(packets == taken->packets);
    CHECK(at == taken->used);
}

static uint32_t take(struct merge *merge, int64_t until_ns, size_t room, size_t whole)
{
    const struct taken *taken = &merge->taken;
    uint8_t *out = exactly(room);
    uint32_t late = 0;

    merge_take(merge, until_ns, out, room, whole);
    CHECK(taken->used <= room);
    CHECK(taken->wanted == 0 || (taken->packets == 0 && taken->wanted > room));
    check_order(taken, out);
    for (uint32_t part = 0; part < taken->parts; part++) {
        struct run *run = &runs[taken->slots[part]];

        CHECK(run->left > 0 && run->left == taken->totals[part] + taken->lefts[part]);
        CHECK(taken->lates[part] <= taken->totals[part]);
        late += taken->lates[part];
        run->left = taken->lefts[part];
        if (run->left == 0) {
            free(run->records);
            held--;
        }
    }
    CHECK(late == taken->late);
    free(out);
    return taken->packets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct merge *merge = merge_new(1);

    CHECK(merge != NULL);
    while (size > 0) {
        unsigned bits = *data++;
        uint16_t number;

        size--;
        number = front16(&data, &size);
        if (bits & 1) {
            take(merge, moment(bits >> 1), number, bits & 0x80 ? 64 : SIZE_MAX);
        } else {
            size_t length = number < size ? number : size;
            uint8_t *octets = copy_of(data, length);

            add(merge, octets, length, bits >> 1);
            free(octets);
            data += length;
            size -= length;
        }
    }
    while (held > 0)
        CHECK(take(merge, INT64_MAX, 1 << 19, SIZE_MAX) > 0);
    CHECK(merge_first(merge) == INT64_MAX);
    merge_free(merge);
    return 0;
}
