/* Invariant: whatever messages come, and whatever becomes of their streams meanwhile,
 * intake_take() reads nothing beyond a frame and writes nothing beyond `used`; what it
 * gathers are records that records_count() accepts, as many as the shares say, each
 * stream's batches once and in order; a message that it hands on has changed no lane;
 * no message gets lost; and once all is settled nothing is held or owed for ever.
 *
 * Input: 1 octet, the capacity; 1 octet, what is small; then steps: see step(). */
#include "harness.h"

#include <errno.h>

#include "intake.h"
#include "pcap_ffi.h"

#define LANES 4
#define FRAMES_MAX 256
#define RECEIPTS_MAX 256
#define HEADER 188
#define RECORD_MAX 300
#define HELD_MAX 20000
#define DELAY_NS 100

/* What libzmq has in a message_t, for all that intake.c knows of it. */
struct frame {
    uint8_t *data;
    size_t size;
    const char *key;
    int more;
    int fd;
};

/* Frames that are there to be received, oldest first. */
static struct frame queue[FRAMES_MAX];
static size_t queue_first, queue_last;
static unsigned interruptions;

static struct frame frame_of(const message_t *message)
{
    struct frame frame;

    memcpy(&frame, message, sizeof(frame));
    return frame;
}

static int fake_init(message_t *message)
{
    memset(message, 0, sizeof(*message));
    return 0;
}

static int fake_close(message_t *message)
{
    free(frame_of(message).data);
    return fake_init(message);
}

static int fake_move(message_t *to, message_t *from)
{
    fake_close(to);
    *to = *from;
    return fake_init(from);
}

static int fake_recv(message_t *message, void *socket, int flags)
{
    CHECK(socket == queue && flags == 1);
    if (++interruptions % 7 == 0) {
        errno = EINTR;
        return -1;
    }
    if (queue_first == queue_last) {
        errno = EAGAIN;
        return -1;
    }
    fake_close(message);
    memcpy(message, &queue[queue_first++], sizeof(struct frame));
    return (int)frame_of(message).size;
}

static void *fake_data(message_t *message) { return frame_of(message).data; }
static size_t fake_size(const message_t *message) { return frame_of(message).size; }
static int fake_more(const message_t *message) { return frame_of(message).more; }

static int fake_get(const message_t *message, int property)
{
    CHECK(property == 2);
    return frame_of(message).fd;
}

static const char *fake_gets(const message_t *message, const char *property)
{
    CHECK(strcmp(property, "User-Id") == 0);
    return frame_of(message).key;
}

static const struct zeromq fake = {
    .msg_init = fake_init, .msg_recv = fake_recv, .msg_close = fake_close,
    .msg_move = fake_move, .msg_data = fake_data, .msg_size = fake_size,
    .msg_more = fake_more, .msg_get = fake_get,   .msg_gets = fake_gets,
};

static const char *const keys[LANES] = {"first", "second", "third", "first"};

struct state {
    struct lanes *lanes;
    struct lane *lane[LANES];
    struct intake *intake;
    struct receipt *receipts[RECEIPTS_MAX];
    size_t receipts_first, receipts_last;
    size_t capacity, small;
    uint64_t sent, batches, messages;
    int64_t now_ns;
};

static uint8_t front8(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    --*size;
    return *(*data)++;
}

static void big(uint8_t *out, uint64_t number, int octets)
{
    for (int at = octets - 1; at >= 0; at--, number >>= 8)
        out[at] = (uint8_t)number;
}

static int has_room(size_t frames)
{
    if (queue_first == queue_last)
        queue_first = queue_last = 0;
    return queue_last + frames <= FRAMES_MAX;
}

static void enqueue(const uint8_t *octets, size_t length, int who, int fd, int more)
{
    queue[queue_last++] =
        (struct frame){copy_of(octets, length), length, keys[who], more, fd};
}

static void enqueue_peer(int who, int fd)
{
    const uint8_t peer[5] = {0, 0, 0, 0, (uint8_t)who};

    enqueue(peer, sizeof(peer), who, fd, 1);
}

static void add(struct state *state, int who)
{
    struct lane *lane = lanes_add(state->lanes);

    CHECK(lane != NULL);
    memset(lane->id, 'a' + who, LANE_ID);
    lane->next = 1;
    lane->window = lane->reserved = 4096;
    lane->is_here = 1;
    state->lane[who] = lane;
    lane_open(state->lanes, lane, (uint64_t)1 << 32 | (uint64_t)who, who + 10,
              keys[who]);
}

/* A batch that is plain but for what the input says. */
static void say_batch(struct state *state, const uint8_t **data, size_t *size)
{
    int who = front8(data, size) % LANES;
    int delta = (int8_t)front8(data, size);
    uint32_t packets = front8(data, size) % 8, caplen = front8(data, size);
    uint8_t manner = front8(data, size), twist = front8(data, size);
    uint8_t header[HEADER] = {'P', 'Z', 'M', 'Q', 1, 2};
    uint8_t payload[8 * RECORD_MAX] = {0};
    size_t length = packets * (16 + caplen);
    struct lane *lane = state->lane[who];
    int fd = who + 10 + (manner & 32 ? 1 : 0);

    header[6] = manner & 1;
    big(header + 8, manner & 128 ? 1 : 101, 4);
    big(header + 12, packets + (manner & 4 ? 1 : 0), 4);
    big(header + 16, length + (manner & 2 ? 1 : 0), 4);
    memset(header + 20, 'a' + who, LANE_ID);
    big(header + 44, lane->next + (uint64_t)(int64_t)delta, 8);
    big(header + 52, manner & 8 ? lane->window : UINT64_MAX, 8);
    big(header + 60 + 40, lane->packets_written, 8);
    for (uint32_t at = 0; at < packets; at++) {
        payload[at * (16 + caplen) + 8] = (uint8_t)caplen;
        payload[at * (16 + caplen) + 12] = (uint8_t)caplen;
    }
    if (twist != 0) {
        size_t at = front16(data, size) % (HEADER + length);

        *(at < HEADER ? &header[at] : &payload[at - HEADER]) ^= twist;
    }
    enqueue_peer(who, fd);
    enqueue(header, HEADER, manner & 16 ? (who + 1) % LANES : who, fd, 1);
    enqueue(payload, length, who, fd, manner & 64 ? 1 : 0);
    if (manner & 64)
        enqueue(payload, length, who, fd, 0);
    state->sent++;
}

/* Frames of octets as they are in the input. */
static void say_anything(struct state *state, const uint8_t **data, size_t *size)
{
    int who = front8(data, size) % LANES;
    unsigned frames = front8(data, size) % 7;

    enqueue_peer(who, who + 10);
    queue[queue_last - 1].more = frames > 0;
    for (unsigned n = 0; n < frames; n++) {
        size_t length = front8(data, size);

        if (length > *size)
            length = *size;
        enqueue(*data, length, who, who + 10, n + 1 < frames);
        *data += length;
        *size -= length;
    }
    state->sent++;
}

/* The shares of what was taken are what their lanes wanted next. */
static void check_shares(struct state *state, const uint64_t *wanted)
{
    const struct intake *intake = state->intake;
    uint64_t packets = 0, seen[LANES] = {0};

    CHECK(intake->shares_count > 0 && intake->shares_count <= INTAKE_SHARES);
    for (uint32_t n = 0; n < intake->shares_count; n++) {
        const struct share *share = &intake->shares[n];
        int who = 0;

        while (state->lane[who]->slot != share->slot)
            CHECK(++who < LANES);
        CHECK(share->generation == state->lane[who]->generation);
        CHECK(share->number == wanted[who] + seen[who]++);
        packets += share->packets;
    }
    for (int who = 0; who < LANES; who++)
        CHECK(state->lane[who]->next == wanted[who] + seen[who]);
    CHECK(packets == intake->packets);
    state->batches += intake->shares_count;
}

static void keep_receipt(struct state *state)
{
    struct receipt *receipt = intake_receipt(state->intake);

    CHECK(receipt != NULL && receipt->count == state->intake->shares_count);
    if (state->receipts_last == RECEIPTS_MAX) {
        receipt_settle(state->lanes, receipt, state->now_ns);
        receipt_free(receipt);
    } else {
        state->receipts[state->receipts_last++] = receipt;
    }
}

static void check_gathered(const struct state *state, const uint8_t *out)
{
    size_t used = state->intake->used, fault;

    CHECK(used > 0 && used <= state->capacity);
    for (size_t beyond = used; beyond < state->capacity; beyond++)
        CHECK(out[beyond] == CANARY);
    CHECK(records_count(out, used, &fault) == (int64_t)state->intake->packets);
}

/* A frame that outlives the next message. */
static void keep_and_let_go(struct state *state, uint32_t at)
{
    size_t length = fake_size(&state->intake->frames[at]);
    message_t *kept = intake_keep(state->intake, at);

    CHECK(kept != NULL && fake_size(kept) == length);
    CHECK(fake_size(&state->intake->frames[at]) == 0);
    intake_let_go(&fake, kept);
}

/* Returns whether there was anything. */
static int take(struct state *state)
{
    uint64_t wanted[LANES], held = state->lanes->held_bytes;
    uint8_t *out = exactly(state->capacity);
    uint32_t count;
    int taken;

    for (int who = 0; who < LANES; who++)
        wanted[who] = state->lane[who]->next;
    memset(out, CANARY, state->capacity);
    taken = intake_take(state->intake, state->now_ns, out, state->capacity,
                        state->small);
    count = state->intake->frames_count;
    switch (taken) {
    case TAKEN_GATHERED:
        check_gathered(state, out);
        check_shares(state, wanted);
        keep_receipt(state);
        break;
    case TAKEN_BATCH:
        CHECK(state->intake->shares_count == 1);
        check_shares(state, wanted);
        keep_receipt(state);
        keep_and_let_go(state, 1);
        break;
    case TAKEN_MESSAGE:
        CHECK(state->lanes->held_bytes == held);
        for (int who = 0; who < LANES; who++)
            CHECK(state->lane[who]->next == wanted[who]);
        for (uint32_t at = 0; at < count && at < INTAKE_FRAMES; at++)
            keep_and_let_go(state, at);
        state->messages++;
        break;
    default:
        CHECK(taken == TAKEN_NOTHING);
        CHECK(queue_first == queue_last);
    }
    free(out);
    return taken != TAKEN_NOTHING;
}

static void settle(struct state *state)
{
    struct receipt *receipt;
    uint64_t packets = 0;

    if (state->receipts_first == state->receipts_last)
        return;
    receipt = state->receipts[state->receipts_first++];
    for (uint32_t n = 0; n < receipt->count; n++)
        packets += receipt->shares[n].packets;
    receipt_written(state->lanes, receipt, (int64_t)packets);
    receipt_written(state->lanes, receipt, -(int64_t)(packets / 2));
    receipt_written(state->lanes, receipt, (int64_t)(packets / 2));
    receipt_settle(state->lanes, receipt, state->now_ns);
    receipt_free(receipt);
}

static void acknowledge(struct state *state, int64_t passes_ns)
{
    uint32_t slots[LANES], count;

    state->now_ns += passes_ns;
    count = lanes_owed(state->lanes, state->now_ns, slots, LANES);
    for (uint32_t n = 0; n < count; n++) {
        CHECK(slots[n] > 0 && slots[n] < state->lanes->room);
        CHECK(!state->lanes->lanes[slots[n]]->is_owed);
    }
    CHECK(lanes_due(state->lanes) > state->now_ns);
}

static void step(struct state *state, const uint8_t **data, size_t *size)
{
    uint8_t what = front8(data, size);
    int who = (what >> 4) % LANES;
    struct lane *lane = state->lane[who];

    switch (what % 12) {
    case 0:
    case 1:
    case 2:
        if (has_room(4))
            say_batch(state, data, size);
        break;
    case 3:
        if (has_room(8))
            say_anything(state, data, size);
        break;
    case 4:
    case 5:
        take(state);
        break;
    case 6:
        settle(state);
        break;
    case 7:
        if (lane->is_open)
            lane_close(state->lanes, lane);
        else
            lane_open(state->lanes, lane, (uint64_t)1 << 32 | (uint64_t)who,
                      who + 10, keys[who]);
        break;
    case 8:
        lanes_remove(state->lanes, lane);
        add(state, who);
        break;
    case 9:
        lane->window = (uint64_t)front8(data, size) << 4;
        lane->reserved = (uint64_t)front8(data, size) << 4;
        break;
    case 10:
        acknowledge(state, front8(data, size));
        break;
    default:
        lane_start_over(lane, lane->next + front8(data, size), front8(data, size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state = {.now_ns = 1};

    state.small = 1 + front8(&data, &size) * (size_t)8;
    state.capacity = state.small + front8(&data, &size) * (size_t)16;
    queue_first = queue_last = interruptions = 0;
    state.lanes = lanes_new(HELD_MAX, DELAY_NS);
    CHECK(state.lanes != NULL);
    for (int who = 0; who < LANES; who++)
        add(&state, who);
    state.intake = intake_new(&fake, queue, state.lanes, 1);
    CHECK(state.intake != NULL);
    while (size > 0)
        step(&state, &data, &size);
    while (take(&state))
        ;
    CHECK(state.intake->messages == state.sent);
    CHECK(state.batches + state.messages == state.sent);
    while (state.receipts_first < state.receipts_last)
        settle(&state);
    acknowledge(&state, DELAY_NS);
    CHECK(lanes_due(state.lanes) == INT64_MAX);
    CHECK(state.lanes->held_bytes == 0);
    intake_free(state.intake);
    lanes_free(state.lanes);
    return 0;
}
