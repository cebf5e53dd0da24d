/* Takes messages from a ROUTER, many at a time. */
#ifndef LINK_FFI_INTAKE_H
#define LINK_FFI_INTAKE_H

#include "lanes.h"

/* As zmq.h has it, which pyzmq's wheels do not bring along. */
typedef struct {
    _Alignas(8) unsigned char octets[64];
} message_t;

/* libzmq's own functions, of the library that pyzmq has loaded. */
struct zeromq {
    int (*msg_init)(message_t *);
    int (*msg_recv)(message_t *, void *socket, int flags);
    int (*msg_close)(message_t *);
    int (*msg_move)(message_t *to, message_t *from);
    void *(*msg_data)(message_t *);
    size_t (*msg_size)(const message_t *);
    int (*msg_more)(const message_t *);
    int (*msg_get)(const message_t *, int property);
    const char *(*msg_gets)(const message_t *, const char *property);
};

/* Most frames of a message that anybody looks at, beside the peer's. */
#define INTAKE_FRAMES 3

/* Batches that are gathered at once, at most. */
#define INTAKE_SHARES 1024

enum taken {
    TAKEN_NOTHING,  /* there is no message */
    TAKEN_GATHERED, /* small batches: their records are in the buffer */
    TAKEN_BATCH,    /* one batch, payload is frames[1] */
    TAKEN_MESSAGE,  /* anything else: frames[0, count) are for Python to judge */
};

struct intake {
    const struct zeromq *zeromq;
    void *socket;
    struct lanes *lanes;
    int has_keys;

    /* The message at hand, whose frames live until the next call. */
    message_t peer;
    message_t frames[INTAKE_FRAMES];
    uint32_t frames_count; /* as they came: more than INTAKE_FRAMES are closed */
    int is_waiting;        /* it was received, and nothing was made of it so far */

    /* What was taken. */
    uint64_t messages;
    uint32_t linktype;
    uint32_t packets;
    uint8_t codec;
    uint32_t raw_length;
    size_t used;
    uint32_t shares_count;
    struct share shares[INTAKE_SHARES];
};

struct intake *intake_new(const struct zeromq *zeromq, void *socket,
                          struct lanes *lanes, int has_keys);
void intake_free(struct intake *intake);
int intake_take(struct intake *intake, int64_t now_ns, uint8_t *out, size_t capacity,
                size_t small);
struct receipt *intake_receipt(const struct intake *intake);
message_t *intake_keep(struct intake *intake, uint32_t frame);
void intake_let_go(const struct zeromq *zeromq, message_t *message);

#endif
