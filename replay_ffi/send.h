/* A thread that puts packets onto a network interface when they are due. */
#ifndef REPLAY_FFI_SEND_H
#define REPLAY_FFI_SEND_H

#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "schedule.h"

#define SENDER_BATCHES 256 /* that may wait; a power of two */

/* What became so far of the packets of a batch. */
struct sender_outcome {
    uint32_t sent;
    uint32_t too_long;
    uint32_t malformed;
    int is_done;
};

#define SENDER_SENDING 0
#define SENDER_WAITING 1 /* the interface is down */
#define SENDER_FAILED 2

struct sender_status {
    int state;
    int error;         /* errno, where it failed */
    int64_t waited_ns; /* for an interface that was down */
    uint64_t held_up;  /* times that there was no room in the interface's queue */
    int64_t ahead_ns;  /* how long it busy-waits for a packet, by now */
};

struct sender;
struct sender *sender_new(int fd, const struct device *device,
                          struct schedule *schedule, int64_t ahead_max_ns);
int sender_wake(const struct sender *sender);
int sender_give(struct sender *sender, const uint8_t *records, size_t length);
int sender_outcome(const struct sender *sender, struct sender_outcome *outcome);
void sender_release(struct sender *sender);
void sender_status(const struct sender *sender, struct sender_status *status);
void sender_stop(struct sender *sender);
void sender_free(struct sender *sender);

#endif
