/* Takes what is plain and hands on the rest.
 *
 * Plain is a batch that its open lane wants next, on its own connection and with its
 * own key. Small ones that are not compressed are gathered: their records go into one
 * buffer, one after the other, whoever sent them. Nothing else is judged here; a
 * message that is not plain is Python's, and has changed nothing. */
#include "intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

#define DONTWAIT 1 /* zmq.h */
#define SRCFD 2

/* docs/wire.md, "Header". */
#define HEADER 188
#define AT_CODEC 6
#define AT_LINKTYPE 8
#define AT_COUNT 12
#define AT_RAW_LENGTH 16
#define AT_STREAM 20
#define AT_SEQUENCE 44
#define AT_WINDOW 52
#define AT_TOTALS 60
#define LINKTYPE_MAX 65535
#define SEQUENCE_MAX INT64_MAX
#define MESSAGE_MAX ((16 << 20) + 4096)
#define CODEC_NONE 0

/* The first six octets of every batch: the magic, version 1, type BATCH. */
static const uint8_t batch_begins[] = {'P', 'Z', 'M', 'Q', 1, 2};

static uint32_t get32be(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static uint64_t get64be(const uint8_t *in)
{
    return (uint64_t)get32be(in) << 32 | get32be(in + 4);
}

struct intake *intake_new(const struct zeromq *zeromq, void *socket,
                          struct lanes *lanes, int has_keys)
{
    struct intake *intake = calloc(1, sizeof(*intake));

    if (intake == NULL)
        return NULL;
    intake->zeromq = zeromq;
    intake->socket = socket;
    intake->lanes = lanes;
    intake->has_keys = has_keys;
    zeromq->msg_init(&intake->peer);
    for (int at = 0; at < INTAKE_FRAMES; at++)
        zeromq->msg_init(&intake->frames[at]);
    return intake;
}

void intake_free(struct intake *intake)
{
    intake->zeromq->msg_close(&intake->peer);
    for (int at = 0; at < INTAKE_FRAMES; at++)
        intake->zeromq->msg_close(&intake->frames[at]);
    free(intake);
}

static int receive_frame(struct intake *intake, message_t *frame)
{
    int length;

    do
        length = intake->zeromq->msg_recv(frame, intake->socket, DONTWAIT);
    while (length < 0 && errno == EINTR);
    return length < 0 ? -errno : 0;
}

/* All frames of the next message, whose later ones are there when the first is. */
static int receive(struct intake *intake)
{
    const struct zeromq *zeromq = intake->zeromq;
    message_t *last = &intake->peer;
    int failed = receive_frame(intake, last);

    if (failed)
        return failed;
    intake->frames_count = 0;
    while (zeromq->msg_more(last)) {
        uint32_t at = intake->frames_count++;

        /* Those that nobody looks at go the way of the last one. */
        last = &intake->frames[at < INTAKE_FRAMES ? at : INTAKE_FRAMES - 1];
        failed = receive_frame(intake, last);
        if (failed)
            return failed;
    }
    intake->is_waiting = 1;
    intake->messages++;
    return 0;
}

/* A routing id of the form that ZeroMQ makes, as a number; 0 for any other. Nobody is
 * known by it alone: a peer can claim any. */
static uint64_t peer_of(const struct intake *intake)
{
    const struct zeromq *zeromq = intake->zeromq;
    message_t *peer = (message_t *)&intake->peer;
    const uint8_t *id = zeromq->msg_data(peer);

    if (zeromq->msg_size(peer) != 5 || id[0] != 0)
        return 0;
    return (uint64_t)1 << 32 | get32be(id + 1);
}

/* The lane that this message is plain for, or NULL. Nothing is changed. */
static struct lane *plain(struct intake *intake, const uint8_t **header)
{
    const struct zeromq *zeromq = intake->zeromq;
    message_t *frame = &intake->frames[0];
    const uint8_t *at;
    struct lane *lane;
    uint64_t peer;

    if (intake->frames_count != 2 || zeromq->msg_size(frame) != HEADER)
        return NULL;
    peer = peer_of(intake);
    lane = peer ? lane_of_peer(intake->lanes, peer) : NULL;
    if (lane == NULL || zeromq->msg_get(frame, SRCFD) != lane->fd)
        return NULL;
    at = *header = zeromq->msg_data(frame);
    if (memcmp(at, batch_begins, sizeof(batch_begins)) != 0 || at[7] != 0 ||
        get32be(at + AT_LINKTYPE) > LINKTYPE_MAX ||
        get64be(at + AT_SEQUENCE) > SEQUENCE_MAX ||
        zeromq->msg_size(&intake->frames[1]) > MESSAGE_MAX ||
        memcmp(at + AT_STREAM, lane->id, LANE_ID) != 0)
        return NULL;
    if (intake->has_keys) {
        const char *key = zeromq->msg_gets(frame, "User-Id");

        if (key == NULL || strcmp(key, lane->key) != 0)
            return NULL;
    }
    /* It goes by a smaller window now: what was reserved for it is others'. */
    if (get64be(at + AT_WINDOW) == lane->window && lane->window < lane->reserved)
        return NULL;
    return lane;
}

static int is_gatherable(struct intake *intake, const uint8_t *header, size_t small)
{
    message_t *payload = &intake->frames[1];
    size_t length = intake->zeromq->msg_size(payload), bad;

    return header[AT_CODEC] == CODEC_NONE && length > 0 && length <= small &&
           get32be(header + AT_RAW_LENGTH) == length &&
           records_count(intake->zeromq->msg_data(payload), length, &bad) ==
               get32be(header + AT_COUNT);
}

/* Takes the message at hand for its lane, if that wants it. */
static int take(struct intake *intake, struct lane *lane, const uint8_t *header,
                int64_t now_ns)
{
    uint64_t number = get64be(header + AT_SEQUENCE);
    uint32_t packets = get32be(header + AT_COUNT);
    size_t length = intake->zeromq->msg_size(&intake->frames[1]);

    if (lane_take(intake->lanes, lane, number, length, packets) != LANE_TAKEN)
        return 0;
    lane_hear(lane, header + AT_TOTALS, now_ns);
    intake->shares[intake->shares_count++] =
        (struct share){lane->slot, lane->generation, number, packets, lane_lost(lane)};
    intake->packets += packets;
    intake->linktype = get32be(header + AT_LINKTYPE);
    intake->is_waiting = 0;
    return 1;
}

/* Makes something of the next messages: as many small batches as there are, or fit, or
 * one other message.
 *
 * out: the caller's, `capacity` octets. small: batches above so many octets are not
 * gathered. Returns an enum taken, or -errno of libzmq's. */
int intake_take(struct intake *intake, int64_t now_ns, uint8_t *out, size_t capacity,
                size_t small)
{
    intake->used = intake->shares_count = intake->packets = 0;
    while (intake->shares_count < INTAKE_SHARES && capacity - intake->used >= small) {
        const uint8_t *header;
        struct lane *lane;
        int failed = intake->is_waiting ? 0 : receive(intake);

        /* What was gathered comes first, before any failure too. */
        if (failed == -EAGAIN || (failed && intake->shares_count > 0))
            break;
        if (failed)
            return failed;
        lane = plain(intake, &header);
        if (lane != NULL && is_gatherable(intake, header, small)) {
            message_t *payload = &intake->frames[1];
            size_t length = intake->zeromq->msg_size(payload);

            if (intake->shares_count > 0 &&
                get32be(header + AT_LINKTYPE) != intake->linktype)
                break;
            if (take(intake, lane, header, now_ns)) {
                memcpy(out + intake->used, intake->zeromq->msg_data(payload), length);
                intake->used += length;
                continue;
            }
        }
        /* What was gathered comes first. */
        if (intake->shares_count > 0)
            break;
        if (lane != NULL && take(intake, lane, header, now_ns)) {
            intake->codec = header[AT_CODEC];
            intake->raw_length = get32be(header + AT_RAW_LENGTH);
            return TAKEN_BATCH;
        }
        intake->is_waiting = 0;
        return TAKEN_MESSAGE;
    }
    return intake->shares_count > 0 ? TAKEN_GATHERED : TAKEN_NOTHING;
}

/* For what was taken last; NULL without memory. The caller's, for receipt_free(). */
struct receipt *intake_receipt(const struct intake *intake)
{
    struct receipt *receipt = receipt_new(intake->shares_count);

    if (receipt != NULL)
        memcpy(receipt->shares, intake->shares,
               intake->shares_count * sizeof(struct share));
    return receipt;
}

/* A frame of the last message, to outlive it; NULL without memory. The caller's, for
 * intake_let_go(). */
message_t *intake_keep(struct intake *intake, uint32_t frame)
{
    message_t *kept = malloc(sizeof(*kept));

    if (kept != NULL) {
        intake->zeromq->msg_init(kept);
        intake->zeromq->msg_move(kept, &intake->frames[frame]);
    }
    return kept;
}

void intake_let_go(const struct zeromq *zeromq, message_t *message)
{
    zeromq->msg_close(message);
    free(message);
}
