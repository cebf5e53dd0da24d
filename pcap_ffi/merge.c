/* Puts packets of several runs in the order of their times. No system call, no clock.
 *
 * A run is some records whose times do not go back; where one does, that packet goes
 * right after the one before it. The next packet of each is in a heap, so a packet costs
 * a comparison, and a few more only where it is another run's turn; what follows each
 * other in one run is copied at once.
 *
 * What is longer than memory comes a part at a time. A part that is used up stays where
 * it is in the heap, and nothing goes past it, until the next part has come instead. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

#define NS_PER_S 1000000000LL
#define ROOM_MIN 64
#define NONE UINT32_MAX

static int64_t time_of(const uint8_t *record, uint32_t unit_ns)
{
    return get32(record) * NS_PER_S + (int64_t)get32(record + 4) * unit_ns;
}

static size_t length_of(const uint8_t *record)
{
    return RECORD_HEADER + (size_t)get32(record + 8);
}

/* Looks at the first so many packets. Only for octets that records_count() has passed,
 * and that hold as many. */
void records_survey(const uint8_t *records, size_t length, uint32_t packets,
                    uint32_t unit_ns, struct survey *survey)
{
    int64_t newest_ns = 0;

    *survey = (struct survey){0};
    while (survey->packets < packets && survey->length < length) {
        const uint8_t *record = records + survey->length;
        int64_t time_ns = time_of(record, unit_ns);

        if (time_ns < newest_ns)
            survey->disordered++;
        else
            newest_ns = time_ns;
        survey->length += length_of(record);
        survey->packets++;
    }
    survey->newest_ns = newest_ns;
}

struct place {
    int64_t time_ns;
    size_t at;
};

static int compare_places(const void *one, const void *other)
{
    const struct place *a = one, *b = other;

    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    /* Where they lie tells who came first: qsort(3) is not stable by itself. */
    return a->at < b->at ? -1 : a->at > b->at;
}

/* Writes the records to out, which has room for length octets, by their times; those of
 * one time stay as they were. Returns 0, or -1 without memory. */
int records_sort(const uint8_t *records, size_t length, uint32_t packets,
                 uint32_t unit_ns, uint8_t *out)
{
    struct place *places = malloc((packets + 1) * sizeof(*places));
    size_t at = 0, used = 0;
    uint32_t count = 0;

    if (places == NULL)
        return -1;
    while (count < packets && at < length) {
        places[count++] = (struct place){time_of(records + at, unit_ns), at};
        at += length_of(records + at);
    }
    qsort(places, count, sizeof(*places), compare_places);
    for (uint32_t index = 0; index < count; index++) {
        const uint8_t *record = records + places[index].at;

        memcpy(out + used, record, length_of(record));
        used += length_of(record);
    }
    free(places);
    return 0;
}

struct merge *merge_new(uint32_t unit_ns)
{
    struct merge *merge = calloc(1, sizeof(*merge));

    if (merge != NULL) {
        merge->unit_ns = unit_ns;
        merge->first_free = NONE;
        merge->passed_ns = INT64_MIN;
        merge->taken.asks = -1;
    }
    return merge;
}

void merge_free(struct merge *merge)
{
    free(merge->runs);
    free(merge->heap);
    free(merge);
}

/* Of the packet at `at`, before which the highest key was floor_ns. */
static int64_t key_of(const struct merge *merge, const struct merge_run *run, size_t at,
                      int64_t floor_ns)
{
    int64_t key = time_of(run->records + at, merge->unit_ns) - run->epoch_ns;

    if (key > run->ceiling_ns)
        key = run->ceiling_ns;
    return key > floor_ns ? key : floor_ns;
}

static int goes_before(const struct merge_run *one, const struct merge_run *other)
{
    if (one->key != other->key)
        return one->key < other->key;
    if (one->rank != other->rank)
        return one->rank < other->rank;
    return one->number < other->number;
}

static const struct merge_run *run_at(const struct merge *merge, uint32_t place)
{
    return &merge->runs[merge->heap[place]];
}

static void sift_up(struct merge *merge, uint32_t place)
{
    uint32_t slot = merge->heap[place];

    while (place > 0) {
        uint32_t above = (place - 1) / 2;

        if (!goes_before(&merge->runs[slot], run_at(merge, above)))
            break;
        merge->heap[place] = merge->heap[above];
        place = above;
    }
    merge->heap[place] = slot;
}

static void sift_down(struct merge *merge)
{
    uint32_t slot = merge->heap[0], place = 0;

    for (;;) {
        uint32_t below = 2 * place + 1;

        if (below >= merge->count)
            break;
        if (below + 1 < merge->count &&
            goes_before(run_at(merge, below + 1), run_at(merge, below)))
            below++;
        if (!goes_before(run_at(merge, below), &merge->runs[slot]))
            break;
        merge->heap[place] = merge->heap[below];
        place = below;
    }
    merge->heap[place] = slot;
}

static int grow(struct merge *merge)
{
    uint32_t room = merge->room > 0 ? 2 * merge->room : ROOM_MIN;
    struct merge_run *runs = realloc(merge->runs, room * sizeof(*runs));
    uint32_t *heap;

    if (runs == NULL)
        return 0;
    merge->runs = runs;
    heap = realloc(merge->heap, room * sizeof(*heap));
    if (heap == NULL)
        return 0;
    merge->heap = heap;
    while (merge->room < room) {
        runs[merge->room].next_free = merge->first_free;
        merge->first_free = merge->room++;
    }
    return 1;
}

/* floor_ns: no key of the run is below it. Returns the slot, or -1 without memory. */
static int64_t add(struct merge *merge, struct merge_run new, int64_t newest_ns,
                   int64_t floor_ns)
{
    struct merge_run *run;
    uint32_t slot;
    int64_t last_ns = newest_ns - new.epoch_ns;

    if (merge->first_free == NONE && !grow(merge))
        return -1;
    slot = merge->first_free;
    run = &merge->runs[slot];
    merge->first_free = run->next_free;
    *run = new;
    run->number = merge->numbers++;
    run->left = run->packets;
    if (last_ns > run->ceiling_ns)
        last_ns = run->ceiling_ns;
    run->last_ns = last_ns > floor_ns ? last_ns : floor_ns;
    run->key = run->left > 0 ? key_of(merge, run, 0, floor_ns) : floor_ns;
    merge->heap[merge->count] = slot;
    sift_up(merge, merge->count++);
    return slot;
}

/* A run, of at least one packet, the last of them stamped newest_ns. The records stay
 * the caller's, who keeps them until all are given. Returns its slot, which is free
 * again then, or -1 without memory. */
int64_t merge_add(struct merge *merge, const uint8_t *records, size_t length,
                  uint32_t packets, int64_t epoch_ns, int64_t ceiling_ns,
                  int64_t newest_ns, uint32_t linktype)
{
    struct merge_run run = {
        .records = records,
        .length = length,
        .epoch_ns = epoch_ns,
        .ceiling_ns = ceiling_ns,
        .packets = packets,
        .linktype = linktype,
    };

    return add(merge, run, newest_ns, INT64_MIN);
}

/* The same of a part of what is longer: its packets go by their times, and those that
 * are before floor_ns by that. newest_ns: the latest time among them. rank: among equal
 * keys the lower goes first. has_more: when it is used up its slot stays, and nothing
 * goes on until merge_drop(). Without packets it is only that: floor_ns is when more
 * comes. */
int64_t merge_add_part(struct merge *merge, const uint8_t *records, size_t length,
                       uint32_t packets, int64_t floor_ns, int64_t newest_ns,
                       uint32_t linktype, uint32_t rank, int has_more)
{
    struct merge_run run = {
        .records = records,
        .length = length,
        .ceiling_ns = MERGE_KEY_MAX,
        .rank = rank,
        .packets = packets,
        .linktype = linktype,
        .has_more = has_more,
    };

    return add(merge, run, newest_ns, floor_ns);
}

/* The key of the packet that is next; INT64_MAX where there is none. */
int64_t merge_first(const struct merge *merge)
{
    return merge->count > 0 ? run_at(merge, 0)->key : INT64_MAX;
}

/* The run whose turn comes after the first one's, or NULL. */
static const struct merge_run *second(const struct merge *merge)
{
    if (merge->count < 2)
        return NULL;
    if (merge->count > 2 && goes_before(run_at(merge, 2), run_at(merge, 1)))
        return run_at(merge, 2);
    return run_at(merge, 1);
}

/* Its place among the parts of this call, or NONE where there is no room for it. */
static uint32_t part_of(struct merge *merge, struct merge_run *run)
{
    struct taken *taken = &merge->taken;

    if (run->call == merge->calls)
        return run->part;
    if (taken->parts == MERGE_PARTS)
        return NONE;
    run->call = merge->calls;
    run->part = taken->parts++;
    taken->slots[run->part] = (uint32_t)(run - merge->runs);
    taken->totals[run->part] = taken->lates[run->part] = 0;
    taken->lefts[run->part] = run->left;
    return run->part;
}

static void count(struct taken *taken, uint32_t part, uint32_t packets, uint32_t late,
                  uint32_t left)
{
    uint32_t *last = &taken->order[2 * taken->turns];

    if (taken->turns > 0 && last[-2] == part) {
        last[-1] += packets;
    } else {
        last[0] = part;
        last[1] = packets;
        taken->turns++;
    }
    taken->packets += packets;
    taken->totals[part] += packets;
    taken->late += late;
    taken->lates[part] += late;
    taken->lefts[part] = left;
}

/* The first run is at its end, or another one's turn has come. */
static void pass_on(struct merge *merge)
{
    uint32_t slot = merge->heap[0];
    struct merge_run *run = &merge->runs[slot];

    if (run->left == 0) {
        /* Its key is that of its last packet: it is still the first. */
        if (run->has_more)
            return;
        run->next_free = merge->first_free;
        merge->first_free = slot;
        merge->heap[0] = merge->heap[--merge->count];
        if (merge->count == 0)
            return;
    }
    sift_down(merge);
}

/* The first run, which is used up, goes: its next part can be added. */
void merge_drop(struct merge *merge)
{
    if (merge->count == 0 || run_at(merge, 0)->left > 0)
        return;
    merge->runs[merge->heap[0]].has_more = 0;
    pass_on(merge);
}

/* Whether all of the first run comes before anything else. */
static int is_next_as_it_is(const struct merge *merge, int64_t until_ns)
{
    const struct merge_run *run = run_at(merge, 0), *other = second(merge);

    if (run->at > 0 || run->last_ns > until_ns)
        return 0;
    if (other == NULL || run->last_ns != other->key)
        return other == NULL || run->last_ns < other->key;
    return run->rank != other->rank ? run->rank < other->rank
                                    : run->number < other->number;
}

static void take_whole(struct merge *merge)
{
    struct merge_run *run = &merge->runs[merge->heap[0]];
    struct taken *taken = &merge->taken;
    uint32_t late = 0;
    size_t at = 0;

    for (int64_t key = run->key; key < merge->passed_ns;
         key = key_of(merge, run, at, key)) {
        late++;
        at += length_of(run->records + at);
        if (at >= run->length)
            break;
    }
    if (run->last_ns > merge->passed_ns)
        merge->passed_ns = run->last_ns;
    run->key = run->last_ns;
    run->left = 0;
    taken->is_whole = 1;
    count(taken, part_of(merge, run), run->packets, late, 0);
    pass_on(merge);
}

/* Copies of the first run what comes before anything else, as far as there is room.
 * Returns whether there was. */
static int take_turn(struct merge *merge, int64_t until_ns, uint8_t *out,
                     size_t capacity)
{
    struct merge_run *run = &merge->runs[merge->heap[0]];
    const struct merge_run *other = second(merge);
    struct taken *taken = &merge->taken;
    uint32_t part, packets = 0, late = 0;
    size_t start = run->at, room = capacity - taken->used;
    int has_room = 1;

    /* Before it is a part: who looks at parts shall find packets of each. */
    if (length_of(run->records + run->at) > room)
        return 0;
    part = part_of(merge, run);
    if (part == NONE)
        return 0;
    do {
        size_t length = length_of(run->records + run->at);

        if (run->at + length - start > room) {
            has_room = 0;
            break;
        }
        if (run->key < merge->passed_ns)
            late++;
        else
            merge->passed_ns = run->key;
        run->at += length;
        run->left--;
        packets++;
        if (run->left == 0)
            break;
        run->key = key_of(merge, run, run->at, run->key);
    } while (run->key <= until_ns && (other == NULL || goes_before(run, other)));
    memcpy(out + taken->used, run->records + start, run->at - start);
    taken->used += run->at - start;
    count(taken, part, packets, late, run->left);
    pass_on(merge);
    return has_room;
}

/* Writes the packets whose keys are at most until_ns, in the order of their keys, to
 * out, as many as there is room for; what it did is in merge->taken. A run of at least
 * `whole` octets that comes first as it is is not copied, but named. All are of one
 * link type. Where a part is used up that has more, nothing goes on: taken->asks. */
void merge_take(struct merge *merge, int64_t until_ns, uint8_t *out, size_t capacity,
                size_t whole)
{
    struct taken *taken = &merge->taken;

    merge->calls++;
    taken->used = taken->wanted = 0;
    taken->packets = taken->parts = taken->turns = taken->late = 0;
    taken->is_whole = 0;
    taken->asks = -1;
    taken->linktype = merge->count > 0 ? run_at(merge, 0)->linktype : 0;
    while (merge->count > 0 && taken->turns < MERGE_TURNS) {
        const struct merge_run *run = run_at(merge, 0);

        if (run->key > until_ns)
            return;
        if (run->left == 0) {
            taken->asks = merge->heap[0];
            return;
        }
        if (run->linktype != taken->linktype)
            return;
        if (run->length >= whole && is_next_as_it_is(merge, until_ns)) {
            /* What was copied before goes first. */
            if (taken->turns == 0)
                take_whole(merge);
            return;
        }
        if (!take_turn(merge, until_ns, out, capacity)) {
            if (taken->packets == 0)
                taken->wanted = length_of(run->records + run->at);
            return;
        }
    }
}
