/* Invariant: whatever packet records files consist of, and in whatever parts they are
 * read, records_period() keeps those of the period as they were, but moved in time, and
 * counts the others; merge_take() gives the packets of each file whole and in their
 * order, those of all by the latest time so far of their file and then by rank, asks for
 * the next part where one is used up, and touches nothing beyond any buffer.
 *
 * Input: 1 octet, what the period is like; 2 octets, the room for what is taken; then
 * again and again 1 octet, the rank of a file, 2 octets, a length, and so many octets of
 * records, which are its next part. */
#include "harness.h"

#include "merge.h"
#include "pcap_ffi.h"
#include "period.h"

#define FILES 5
#define PARTS 64
#define NS_PER_S INT64_C(1000000000)
#define FORWARD 1
#define BOUND 2
#define MOVED 4
#define WHOLE 8

#define FROM_NS (2 * NS_PER_S)
#define UNTIL_NS (7 * NS_PER_S)

struct part {
    uint8_t *records;
    size_t length;
};

struct file {
    struct period period;
    struct part parts[PARTS];
    unsigned count, next;
    /* What the parts consist of that were added and are not used up: one at most. */
    size_t at;
    uint32_t left;
    int64_t key, floor_ns;
};

static struct file files[FILES];
static unsigned flags;

static int64_t time_of(const uint8_t *record)
{
    return little32(record) * NS_PER_S + little32(record + 4);
}

static size_t length_of(const uint8_t *record)
{
    return RECORD_HEADER + little32(record + 8);
}

/* What the period makes of a part: the same by other means. */
static void check_period(const uint8_t *was, size_t length, const uint8_t *is,
                         size_t left, const struct period *before,
                         const struct period *after)
{
    uint32_t early = 0, late = 0, backwards = 0, skipped = 0, packets = 0;
    int64_t newest_ns = before->newest_ns;
    size_t used = 0;

    for (size_t at = 0; at < length; at += length_of(was + at)) {
        int64_t time_ns = time_of(was + at);

        if (time_ns < after->from_ns) {
            early++;
        } else if (time_ns >= after->until_ns) {
            late++;
        } else {
            backwards += time_ns < newest_ns;
            if (time_ns < newest_ns && after->only_forward) {
                skipped++;
                continue;
            }
            if (time_ns > newest_ns)
                newest_ns = time_ns;
            packets++;
            CHECK(left - used >= length_of(was + at));
            CHECK(time_of(is + used) == time_ns + after->moved_ns);
            CHECK(memcmp(is + used + 8, was + at + 8, length_of(was + at) - 8) == 0);
            used += length_of(was + at);
        }
    }
    CHECK(used == left && packets == after->packets);
    CHECK(early == after->before && late == after->beyond);
    CHECK(backwards == after->backwards && skipped == after->skipped);
    CHECK(newest_ns == after->newest_ns && after->kept == before->kept + packets);
}

static void read_part(struct file *file, const uint8_t *octets, size_t length)
{
    struct period before = file->period;
    struct part *part = &file->parts[file->count];
    uint8_t *records = copy_of(octets, length);
    size_t left = records_period(records, length, &file->period);

    check_period(octets, length, records, left, &before, &file->period);
    if (left > 0) {
        part->records = copy_of(records, left);
        part->length = left;
        file->count++;
    }
    free(records);
}

/* The next part of a file; without one the file has ended. */
static void add(struct merge *merge, unsigned rank)
{
    struct file *file = &files[rank];
    struct part *part = &file->parts[file->next];
    struct survey survey;
    size_t fault;
    int64_t count, newest_ns;

    if (file->next > 0)
        free(part[-1].records);
    if (file->next == file->count)
        return;
    count = records_count(part->records, part->length, &fault);
    CHECK(count > 0);
    records_survey(part->records, part->length, (uint32_t)count, 1, &survey);
    newest_ns = survey.newest_ns > file->floor_ns ? survey.newest_ns : file->floor_ns;
    CHECK(merge_add_part(merge, part->records, part->length, (uint32_t)count,
                         file->floor_ns, newest_ns, 101, rank, 1) >= 0);
    file->floor_ns = newest_ns;
    file->at = 0;
    file->left = (uint32_t)count;
    file->next++;
}

/* The packets of a call are the next ones of their files, and come in order. */
static void check_taken(const struct merge *merge, const uint8_t *out, int64_t *last_ns,
                        unsigned *last_rank)
{
    const struct taken *taken = &merge->taken;
    size_t at = 0;

    for (uint32_t turn = 0; turn < taken->turns; turn++) {
        uint32_t index = taken->order[2 * turn], count = taken->order[2 * turn + 1];
        unsigned rank = merge->runs[taken->slots[index]].rank;
        struct file *file = &files[rank];
        const struct part *part = &file->parts[file->next - 1];

        CHECK(index < taken->parts && rank < FILES && count <= file->left);
        file->left -= count;
        for (; count > 0; count--) {
            const uint8_t *record = part->records + file->at;
            int64_t time_ns = time_of(record);

            CHECK(file->at < part->length);
            if (time_ns > file->key)
                file->key = time_ns;
            CHECK(file->key > *last_ns || (file->key == *last_ns && rank >= *last_rank));
            *last_ns = file->key;
            *last_rank = rank;
            if (!taken->is_whole) {
                CHECK(taken->used - at >= length_of(record));
                CHECK(memcmp(out + at, record, length_of(record)) == 0);
                at += length_of(record);
            }
            file->at += length_of(record);
        }
    }
    CHECK(at == taken->used && taken->late == 0);
}

static void drain(struct merge *merge, size_t room)
{
    int64_t last_ns = INT64_MIN;
    unsigned last_rank = 0;
    size_t wanted = room;

    for (;;) {
        const struct taken *taken = &merge->taken;
        uint8_t *out = exactly(wanted);

        merge_take(merge, INT64_MAX, out, wanted, flags & WHOLE ? 64 : SIZE_MAX);
        CHECK(taken->used <= wanted);
        check_taken(merge, out, &last_ns, &last_rank);
        free(out);
        wanted = taken->wanted > 0 ? taken->wanted : room;
        if (taken->asks >= 0) {
            unsigned rank = merge->runs[taken->asks].rank;

            CHECK(files[rank].left == 0);
            merge_drop(merge);
            add(merge, rank);
        } else if (taken->packets == 0 && taken->wanted == 0) {
            break;
        }
    }
    CHECK(merge_first(merge) == INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct merge *merge = merge_new(1);
    size_t room;

    CHECK(merge != NULL);
    flags = size > 0 ? *data++ : 0;
    size -= size > 0;
    room = front16(&data, &size);
    for (unsigned rank = 0; rank < FILES; rank++)
        files[rank] = (struct file){
            .period = {.from_ns = flags & BOUND ? FROM_NS : INT64_MIN,
                       .until_ns = flags & BOUND ? UNTIL_NS : INT64_MAX,
                       .moved_ns = flags & MOVED && flags & BOUND ? 5 * NS_PER_S + 1 : 0,
                       .only_forward = flags & FORWARD,
                       .first_ns = INT64_MAX,
                       .newest_ns = INT64_MIN},
            .key = INT64_MIN,
            .floor_ns = INT64_MIN,
        };
    while (size > 0) {
        struct file *file = &files[*data++ % FILES];
        size_t length, fault;

        size--;
        length = front16(&data, &size);
        length = length < size ? length : size;
        if (records_count(data, length, &fault) < 0)
            length = fault;
        if (file->count < PARTS)
            read_part(file, data, length);
        data += length;
        size -= length;
    }
    for (unsigned rank = 0; rank < FILES; rank++)
        if (files[rank].count > 0)
            /* Not read yet: only when it begins. */
            CHECK(merge_add_part(merge, NULL, 0, 0, 0, 0, 0, rank, 1) >= 0);
    drain(merge, room);
    for (unsigned rank = 0; rank < FILES; rank++)
        CHECK(files[rank].next == files[rank].count);
    merge_free(merge);
    return 0;
}
