/* Keeps the streams of a receiver; no socket, no clock.
 *
 * A lane is named by its slot and generation wherever somebody may outlive it. */
#include "lanes.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 64
#define TOTALS_ACKNOWLEDGED 40 /* docs/wire.md: the sixth counter */
#define TOTALS_LOST 0x3BC2     /* and those of packets missed or dropped, a bit each */

static uint64_t get64be(const uint8_t *in)
{
    uint64_t value = 0;

    for (int at = 0; at < 8; at++)
        value = value << 8 | in[at];
    return value;
}

/* All streams. */

struct lanes *lanes_new(uint64_t held_max, int64_t delay_ns)
{
    struct lanes *lanes = calloc(1, sizeof(*lanes));

    if (lanes != NULL) {
        lanes->held_max = held_max;
        lanes->delay_ns = delay_ns;
    }
    return lanes;
}

void lanes_free(struct lanes *lanes)
{
    for (uint32_t slot = 0; slot < lanes->room; slot++) {
        if (lanes->lanes[slot] != NULL)
            free(lanes->lanes[slot]->batches);
        free(lanes->lanes[slot]);
    }
    free(lanes->lanes);
    free(lanes);
}

/* The slots that are free are looked for in turn, so that a generation lasts long. */
static uint32_t find_slot(struct lanes *lanes)
{
    struct lane **grown;
    uint32_t room;

    for (uint32_t tried = 1; tried < lanes->room; tried++) {
        uint32_t slot = 1 + (lanes->free_slot + tried) % (lanes->room - 1);

        if (lanes->lanes[slot] == NULL || lanes->lanes[slot]->slot == 0) {
            lanes->free_slot = slot;
            return slot;
        }
    }
    room = lanes->room > 0 ? 2 * lanes->room : ROOM_MIN;
    grown = realloc(lanes->lanes, room * sizeof(struct lane *));
    if (grown == NULL)
        return 0;
    memset(grown + lanes->room, 0, (room - lanes->room) * sizeof(struct lane *));
    lanes->lanes = grown;
    lanes->free_slot = lanes->room > 0 ? lanes->room : 1;
    lanes->room = room;
    return lanes->free_slot;
}

/* A fresh one, or NULL without memory. Belongs to lanes. */
struct lane *lanes_add(struct lanes *lanes)
{
    uint32_t slot = find_slot(lanes), generation;
    struct lane *lane;

    if (slot == 0)
        return NULL;
    lane = lanes->lanes[slot];
    if (lane == NULL)
        lane = lanes->lanes[slot] = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return NULL;
    generation = lane->generation + 1;
    memset(lane, 0, sizeof(*lane));
    lane->slot = slot;
    lane->generation = generation;
    return lane;
}

/* It is forgotten, and with it what is still to be said of it. */
void lanes_remove(struct lanes *lanes, struct lane *lane)
{
    lane_close(lanes, lane);
    lane_spoke(lanes, lane);
    lanes->held_bytes -= lane->held_bytes;
    free(lane->batches);
    lane->batches = NULL;
    lane->slot = 0;
}

static struct lane *find(const struct lanes *lanes, const struct share *share)
{
    struct lane *lane = share->slot < lanes->room ? lanes->lanes[share->slot] : NULL;

    if (lane == NULL || lane->slot == 0 || lane->generation != share->generation)
        return NULL;
    return lane;
}

/* Batches. */

static struct lane_batch *batch_at(const struct lane *lane, uint32_t index)
{
    return &lane->batches[(lane->batches_first + index) & (lane->batches_room - 1)];
}

static void drop_first(struct lane *lane)
{
    lane->batches_first = (lane->batches_first + 1) & (lane->batches_room - 1);
    lane->batches_count--;
    lane->batches_settled--;
}

static int make_room(struct lane *lane)
{
    uint64_t window = lane->window > lane->reserved ? lane->window : lane->reserved;
    uint64_t most = LANE_BATCHES_MIN + 4 * (window / LANE_MESSAGE_COST);
    struct lane_batch *grown;
    uint32_t room;

    /* A sender that never finds anything acknowledged is no true one. */
    while (lane->batches_count > most && lane->batches_settled > 0)
        drop_first(lane);
    if (lane->batches_count < lane->batches_room)
        return 1;
    room = lane->batches_room > 0 ? 2 * lane->batches_room : 4;
    grown = malloc(room * sizeof(*grown));
    if (grown == NULL)
        return 0;
    for (uint32_t index = 0; index < lane->batches_count; index++)
        grown[index] = *batch_at(lane, index);
    free(lane->batches);
    lane->batches = grown;
    lane->batches_room = room;
    lane->batches_first = 0;
    return 1;
}

/* Whether this batch is taken; it is counted as received and held then. */
enum lane_verdict lane_take(struct lanes *lanes, struct lane *lane, uint64_t number,
                            uint64_t payload_length, uint32_t packets)
{
    uint64_t bound = lane->window > lane->reserved ? lane->window : lane->reserved;
    uint64_t cost = payload_length + LANE_MESSAGE_COST;

    if (number < lane->next)
        return LANE_REPEATED;
    if (number > lane->next)
        return LANE_AHEAD;
    if (lanes->held_bytes >= lanes->held_max)
        return LANE_FULL;
    if (lane->held_bytes > 0 && lane->held_bytes >= bound)
        return LANE_BEYOND;
    if (!make_room(lane))
        return LANE_FULL;
    lane->next++;
    lane->is_eager = 0;
    lane->held_bytes += cost;
    lanes->held_bytes += cost;
    lane->packets_received += packets;
    *batch_at(lane, lane->batches_count++) =
        (struct lane_batch){number, lane->packets_received, cost, 0};
    return LANE_TAKEN;
}

/* A message came with these counters: what of ours has its sender found acknowledged?
 * Up to the end of which batch, of those that are written; what it says beyond is
 * unaccounted for. */
void lane_hear(struct lane *lane, const uint8_t *totals, int64_t now_ns)
{
    __int128 said;

    lane->heard_ns = now_ns;
    memcpy(lane->totals, totals, LANE_TOTALS);
    said = (__int128)get64be(totals + TOTALS_ACKNOWLEDGED) - lane->said_before +
           lane->acknowledged_before;
    while (lane->batches_settled > 0) {
        const struct lane_batch *batch = batch_at(lane, 0);

        if (batch->number > lane->written || batch->packets_end > said)
            return;
        if (batch->packets_end > lane->acknowledged)
            lane->acknowledged = batch->packets_end;
        drop_first(lane);
    }
}

/* Packets that its sender had missed or dropped, all in all, by its last message. */
uint64_t lane_lost(const struct lane *lane)
{
    uint64_t lost = 0;

    /* For each batch: so it has to be a few instructions, and unrolled it is. */
#pragma GCC unroll 16
    for (uint32_t slot = 0; slot < LANE_TOTALS / 8; slot++) {
        uint64_t value;

        memcpy(&value, lane->totals + 8 * slot, sizeof(value));
        if (TOTALS_LOST >> slot & 1)
            lost += be64toh(value);
    }
    return lost;
}

/* Its sender cannot know what became of the batches before this one, and takes `said`
 * packets for acknowledged: what of that it did not hear from us is not ours. */
void lane_start_over(struct lane *lane, uint64_t number, uint64_t said)
{
    for (uint32_t index = 0; index < lane->batches_count; index++) {
        const struct lane_batch *batch = batch_at(lane, index);

        if (batch->number >= number)
            break;
        if (batch->packets_end > lane->acknowledged)
            lane->acknowledged = batch->packets_end;
    }
    lane->said_before = said;
    lane->acknowledged_before = lane->acknowledged;
    if (number > lane->next) {
        lane->next = number;
        lane->written = number - 1;
    }
}

/* Acknowledgements that are owed. */

static struct lane *lane_at(const struct lanes *lanes, uint32_t slot)
{
    return slot == 0 ? NULL : lanes->lanes[slot];
}

static void unlink_owed(struct lanes *lanes, struct lane *lane)
{
    struct lane *before = lane_at(lanes, lane->owed_before);
    struct lane *after = lane_at(lanes, lane->owed_after);

    *(before ? &before->owed_after : &lanes->first_owed) = lane->owed_after;
    *(after ? &after->owed_before : &lanes->last_owed) = lane->owed_before;
    lane->owed_before = lane->owed_after = 0;
    lane->is_owed = 0;
}

/* Something was said to its sender, which is as good as an acknowledgement. */
void lane_spoke(struct lanes *lanes, struct lane *lane)
{
    if (lane->is_owed)
        unlink_owed(lanes, lane);
    lane->owed_cost = 0;
}

/* Before all others. */
static void owe_now(struct lanes *lanes, struct lane *lane)
{
    struct lane *first;

    if (lane->is_owed)
        unlink_owed(lanes, lane);
    first = lane_at(lanes, lanes->first_owed);
    lane->is_owed = 1;
    lane->owed_since_ns = INT64_MIN;
    lane->owed_after = lanes->first_owed;
    *(first ? &first->owed_before : &lanes->last_owed) = lane->slot;
    lanes->first_owed = lane->slot;
}

static void owe(struct lanes *lanes, struct lane *lane, uint64_t cost, int64_t now_ns)
{
    lane->owed_cost += cost;
    if (lane->is_eager || lane->owed_cost >= LANE_OWED_MAX ||
        lane->owed_cost >= lane->window / 4) {
        /* Its sender waits for it, or soon will. */
        owe_now(lanes, lane);
    } else if (!lane->is_owed) {
        struct lane *last = lane_at(lanes, lanes->last_owed);

        lane->is_owed = 1;
        lane->owed_since_ns = now_ns;
        lane->owed_before = lanes->last_owed;
        *(last ? &last->owed_after : &lanes->first_owed) = lane->slot;
        lanes->last_owed = lane->slot;
    }
}

/* Slots of those whose acknowledgement is due now; each is owed no more then. */
uint32_t lanes_owed(struct lanes *lanes, int64_t now_ns, uint32_t *slots, uint32_t max)
{
    uint32_t count = 0;

    while (count < max && lanes->first_owed != 0 && lanes_due(lanes) <= now_ns) {
        struct lane *lane = lanes->lanes[lanes->first_owed];

        slots[count++] = lane->slot;
        lane_spoke(lanes, lane);
    }
    return count;
}

/* When the first acknowledgement is due (CLOCK_MONOTONIC), INT64_MAX for none. */
int64_t lanes_due(const struct lanes *lanes)
{
    const struct lane *first = lane_at(lanes, lanes->first_owed);

    if (first == NULL)
        return INT64_MAX;
    return first->owed_since_ns == INT64_MIN ? INT64_MIN
                                             : first->owed_since_ns + lanes->delay_ns;
}

/* Windows. */

static uint64_t bound_of(const struct lane *lane)
{
    uint64_t window = lane->window > lane->reserved ? lane->window : lane->reserved;

    return window > lane->held_bytes ? window : lane->held_bytes;
}

/* Sets the window of each that is here to its share of a queue of so many octets, as far
 * as that allows now, and owes it to those whose window has changed.
 *
 * A share is a power of two of the queue, so that most comings and goings change
 * nobody's; and less than an equal part, so that a newcomer finds some left. */
void lanes_share_out(struct lanes *lanes, uint64_t queue_bytes)
{
    uint64_t share = queue_bytes;
    int64_t left = (int64_t)queue_bytes - (int64_t)lanes->held_bytes;

    for (uint32_t slot = 1, here = 0, parts = 1; slot < lanes->room; slot++) {
        const struct lane *lane = lanes->lanes[slot];

        if (lane == NULL || lane->slot == 0 || !lane->is_here)
            continue;
        left -= (int64_t)(bound_of(lane) - lane->held_bytes);
        if (++here == parts) {
            parts *= 2;
            share /= 2;
        }
    }
    for (uint32_t slot = 1; slot < lanes->room; slot++) {
        struct lane *lane = lanes->lanes[slot];
        int64_t bound, window;

        if (lane == NULL || lane->slot == 0 || !lane->is_here)
            continue;
        bound = (int64_t)bound_of(lane);
        window = bound + left < (int64_t)share ? bound + left : (int64_t)share;
        /* One batch at a time is always allowed: any window above 0 is. */
        if (window < 1)
            window = 1;
        if ((uint64_t)window == lane->window)
            continue;
        if (window > bound)
            left -= window - bound;
        lane->window = (uint64_t)window;
        if (lane->reserved < lane->window)
            lane->reserved = lane->window;
        owe_now(lanes, lane);
    }
}

/* The express way. */

static uint32_t *chain_of(struct lanes *lanes, uint64_t peer)
{
    /* ZeroMQ numbers connections one after the other: the low bits tell most. */
    uint64_t mixed = peer * 0x9e3779b97f4a7c15u;

    return &lanes->peers[mixed >> 52];
}

/* From now on it may be taken from this connection without Python's asking. key: of
 * whoever is at its other end; empty without keys. */
void lane_open(struct lanes *lanes, struct lane *lane, uint64_t peer, int fd,
               const char *key)
{
    uint32_t *chain;

    lane_close(lanes, lane);
    chain = chain_of(lanes, peer);
    lane->peer = peer;
    lane->fd = fd;
    strncpy(lane->key, key, LANE_KEY);
    lane->key[LANE_KEY] = '\0';
    lane->next_of_peer = *chain;
    *chain = lane->slot;
    lane->is_open = 1;
}

/* Every message of it is Python's to judge. */
void lane_close(struct lanes *lanes, struct lane *lane)
{
    uint32_t *link;

    if (!lane->is_open)
        return;
    for (link = chain_of(lanes, lane->peer); *link != lane->slot;)
        link = &lanes->lanes[*link]->next_of_peer;
    *link = lane->next_of_peer;
    lane->is_open = 0;
}

/* Who may speak has changed. */
void lanes_close_all(struct lanes *lanes)
{
    for (uint32_t slot = 1; slot < lanes->room; slot++) {
        if (lanes->lanes[slot] != NULL && lanes->lanes[slot]->slot != 0)
            lane_close(lanes, lanes->lanes[slot]);
    }
}

/* The lane that is open on a connection, or NULL. */
struct lane *lane_of_peer(const struct lanes *lanes, uint64_t peer)
{
    uint32_t slot = *chain_of((struct lanes *)lanes, peer);

    while (slot != 0 && lanes->lanes[slot]->peer != peer)
        slot = lanes->lanes[slot]->next_of_peer;
    return lane_at(lanes, slot);
}

/* The connections on which something came since, and when the last did. */
uint32_t lanes_heard_since(const struct lanes *lanes, int64_t since_ns, int *fds,
                           int64_t *heard_ns, uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t slot = 1; slot < lanes->room && count < max; slot++) {
        const struct lane *lane = lanes->lanes[slot];

        if (lane != NULL && lane->slot != 0 && lane->is_open &&
            lane->heard_ns >= since_ns) {
            fds[count] = lane->fd;
            heard_ns[count++] = lane->heard_ns;
        }
    }
    return count;
}

/* Receipts. */

struct receipt *receipt_new(uint32_t count)
{
    struct receipt *receipt;

    receipt = calloc(1, sizeof(*receipt) + count * sizeof(struct share));
    if (receipt != NULL)
        receipt->count = count;
    return receipt;
}

void receipt_free(struct receipt *receipt)
{
    free(receipt);
}

/* The batch of this number among those that are not settled, or NULL. Mostly the first:
 * but for those that go different ways, all arrive in their order. */
static struct lane_batch *find_unsettled(const struct lane *lane, uint64_t number)
{
    uint32_t low = lane->batches_settled, high = lane->batches_count;

    if (low < high && batch_at(lane, low)->number == number)
        return batch_at(lane, low);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (batch_at(lane, middle)->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == lane->batches_count || batch_at(lane, low)->number != number)
        return NULL;
    return batch_at(lane, low);
}

/* Passes over what is settled from the first on: that much can be acknowledged, and is
 * held no more. Returns what it cost. */
static uint64_t pass_settled(struct lane *lane)
{
    uint64_t cost = 0;

    while (lane->batches_settled < lane->batches_count) {
        const struct lane_batch *batch = batch_at(lane, lane->batches_settled);

        if (!batch->is_settled)
            break;
        cost += batch->cost;
        if (batch->number > lane->written)
            lane->written = batch->number;
        lane->batches_settled++;
    }
    return cost;
}

/* Its batches are in the output, or will never be. One is held, and none after it
 * acknowledged, as long as one before it is not. */
void receipt_settle(struct lanes *lanes, const struct receipt *receipt, int64_t now_ns)
{
    for (uint32_t index = 0; index < receipt->count; index++) {
        const struct share *share = &receipt->shares[index];
        struct lane *lane = find(lanes, share);
        struct lane_batch *batch = lane ? find_unsettled(lane, share->number) : NULL;
        uint64_t cost;

        if (batch == NULL)
            continue;
        batch->is_settled = 1;
        cost = pass_settled(lane);
        if (cost == 0)
            continue;
        lane->held_bytes -= cost;
        lanes->held_bytes -= cost;
        /* What a sender that has gone left behind took others' room until now. */
        lanes->is_uneven |= !lane->is_here;
        owe(lanes, lane, cost, now_ns);
    }
}

/* So many more packets of it, in their order, are in the output; or, below 0, so many
 * of the last ones turned out not to be. */
void receipt_written(struct lanes *lanes, struct receipt *receipt, int64_t packets)
{
    uint64_t before = receipt->written, after = before + (uint64_t)packets;
    uint64_t low = packets < 0 ? after : before, high = packets < 0 ? before : after;
    uint64_t start = 0;

    receipt->written = after;
    for (uint32_t index = 0; index < receipt->count && start < high; index++) {
        const struct share *share = &receipt->shares[index];
        /* What is counted twice is the last one's, where the ledger shows it. */
        uint64_t end =
            index + 1 < receipt->count ? start + share->packets : UINT64_MAX;
        uint64_t from = low > start ? low : start, to = high < end ? high : end;
        struct lane *lane = to > from ? find(lanes, share) : NULL;

        if (lane != NULL)
            lane->packets_written += packets < 0 ? from - to : to - from;
        start = end;
    }
}
