/* What a receiver keeps of each stream for the ordinary course: a batch that is wanted
 * next, taken, written, acknowledged. Everything out of the ordinary is Python's. */
#ifndef LINK_FFI_LANES_H
#define LINK_FFI_LANES_H

#include <stddef.h>
#include <stdint.h>

#define LANE_ID 24      /* a sender's 16 octets and when it started, as on the wire */
#define LANE_TOTALS 128 /* a sender's counters, as on the wire */
#define LANE_KEY 40     /* a public key, Z85 */

/* Batches of a stream that are remembered beyond a window's worth, at most. */
#define LANE_BATCHES_MIN 64

/* An acknowledgement of so many octets waits for no company. */
#define LANE_OWED_MAX (1 << 20)

/* Octets that a batch costs beyond its payload: docs/wire.md, "Windows". */
#define LANE_MESSAGE_COST 512

enum lane_verdict {
    LANE_TAKEN,    /* it was the one wanted next */
    LANE_REPEATED, /* it came before */
    LANE_AHEAD,    /* one before it is missing */
    LANE_FULL,     /* all streams together hold too much */
    LANE_BEYOND,   /* its stream holds more than its window */
};

/* A batch that was taken, until it is written and its sender has found it so. */
struct lane_batch {
    uint64_t number;
    uint64_t packets_end; /* packets of the stream up to its end */
    uint64_t cost;
    int is_settled; /* it is in the output, or will never be */
};

struct lane {
    uint32_t slot;
    uint32_t generation; /* of the slot: who used it before is somebody else */

    uint8_t id[LANE_ID];
    uint64_t next;    /* number of the batch that is wanted */
    uint64_t written; /* of the last one in the output, as are all before it */
    uint64_t held_bytes;
    uint64_t window;
    uint64_t reserved; /* the largest window that the sender may still go by */
    int64_t heard_ns;
    uint8_t totals[LANE_TOTALS];
    int is_here;

    /* The ledger's terms, in packets. */
    uint64_t packets_received;
    uint64_t packets_written;
    uint64_t acknowledged; /* as the sender has found them, as we count */
    uint64_t said_before;  /* what it said when it had found acknowledged_before */
    uint64_t acknowledged_before;

    /* Its batches, oldest first: a ring. The first `settled` of them are written; of
     * the others some may be, but not the next. */
    struct lane_batch *batches;
    uint32_t batches_room; /* a power of two, or 0 */
    uint32_t batches_first;
    uint32_t batches_count;
    uint32_t batches_settled;

    /* An acknowledgement that is owed: since when, and for what; in a list, the one
     * that is owed longest first. */
    int64_t owed_since_ns;
    uint64_t owed_cost;
    int is_owed;
    int is_eager; /* its sender has nothing more to say before it is acknowledged */
    uint32_t owed_before, owed_after; /* slots */

    /* The connection on which it may take the express way; is_open: it may. */
    int is_open;
    uint64_t peer;
    int fd;
    char key[LANE_KEY + 1];
    uint32_t next_of_peer; /* slot */
};

/* All of a receiver's. Slot 0 is nobody's. */
struct lanes {
    struct lane **lanes;
    uint32_t room;
    uint32_t free_slot;
    uint64_t held_bytes;
    uint64_t held_max; /* above it nothing is taken */
    int is_uneven;     /* somebody's share of the queue has come free */
    uint32_t first_owed, last_owed;
    int64_t delay_ns; /* how long an acknowledgement may wait for company */
    uint32_t peers[4096];
};

/* What of one stream is in a batch: its part, in their order. */
struct share {
    uint32_t slot, generation;
    uint64_t number;
    uint32_t packets;
    uint64_t lost; /* what its sender had missed and dropped when it sent it */
};

/* What is to be said of a batch once it is in the output. */
struct receipt {
    uint64_t written; /* packets of it that are in the output */
    uint32_t count;
    struct share shares[];
};

struct lanes *lanes_new(uint64_t held_max, int64_t delay_ns);
void lanes_free(struct lanes *lanes);
struct lane *lanes_add(struct lanes *lanes);
void lanes_remove(struct lanes *lanes, struct lane *lane);
void lanes_close_all(struct lanes *lanes);
uint32_t lanes_owed(struct lanes *lanes, int64_t now_ns, uint32_t *slots, uint32_t max);
int64_t lanes_due(const struct lanes *lanes);
void lanes_share_out(struct lanes *lanes, uint64_t queue_bytes);
uint32_t lanes_heard_since(const struct lanes *lanes, int64_t since_ns, int *fds,
                           int64_t *heard_ns, uint32_t max);

enum lane_verdict lane_take(struct lanes *lanes, struct lane *lane, uint64_t number,
                            uint64_t payload_length, uint32_t packets);
void lane_hear(struct lane *lane, const uint8_t *totals, int64_t now_ns);
uint64_t lane_lost(const struct lane *lane);
void lane_start_over(struct lane *lane, uint64_t number, uint64_t said);
void lane_spoke(struct lanes *lanes, struct lane *lane);
void lane_open(struct lanes *lanes, struct lane *lane, uint64_t peer, int fd,
               const char *key);
void lane_close(struct lanes *lanes, struct lane *lane);
struct lane *lane_of_peer(const struct lanes *lanes, uint64_t peer);

struct receipt *receipt_new(uint32_t count);
void receipt_free(struct receipt *receipt);
void receipt_settle(struct lanes *lanes, const struct receipt *receipt, int64_t now_ns);
void receipt_written(struct lanes *lanes, struct receipt *receipt, int64_t packets);

#endif
