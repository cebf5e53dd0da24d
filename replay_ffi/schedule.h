/* When each packet of a replay is due, and how late it was. */
#ifndef REPLAY_FFI_SCHEDULE_H
#define REPLAY_FFI_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_AT_TIMES 0 /* of packets; pace: how much faster, 1 is as captured */
#define SCHEDULE_PACKETS 1  /* pace: so many a second */
#define SCHEDULE_OCTETS 2   /* pace: so many a second */
#define SCHEDULE_TOP 3      /* no pace: at once */

/* Delays below this are counted to the nanosecond, above it each power of two has so
 * many buckets: a bound that is told is at most 1/16 above the delay. */
#define LATENESS_FINE 16
#define LATENESS_BUCKETS (60 * LATENESS_FINE)

struct lateness {
    int64_t bound_ns; /* beyond it a packet counts as late */
    uint64_t packets;
    uint64_t late;
    uint64_t sum_ns;
    int64_t max_ns;
    uint64_t buckets[LATENESS_BUCKETS];
};

/* How far a schedule has been followed. */
struct schedule_place {
    int64_t floor_ns; /* since the start: when the latest of those before was due */
    uint64_t packets; /* that have been passed */
    uint64_t octets;
};

struct schedule {
    int kind;
    double pace;
    int is_begun;
    int64_t start_ns; /* on the monotonic clock */
    int64_t epoch_ns; /* packet time that is due at the start */
    struct schedule_place place;
    struct lateness lateness;
};

struct schedule_due {
    size_t length; /* of the records that are due */
    uint32_t count;
    uint64_t octets; /* of their packets */
    int64_t next_ns; /* when the next one is due */
};

void schedule_begin(struct schedule *schedule, int64_t start_ns, int64_t epoch_ns);
void schedule_begin_with(struct schedule *schedule, int64_t start_ns,
                         const uint8_t *record);
void schedule_shift(struct schedule *schedule, int64_t by_ns);
int64_t schedule_next(const struct schedule *schedule, struct schedule_place *place,
                      const uint8_t *record);
void schedule_take(struct schedule *schedule, const uint8_t *records, size_t length,
                   int64_t now_ns, struct schedule_due *due);

void lateness_observe(struct lateness *lateness, int64_t late_ns);
int64_t lateness_bound(uint32_t bucket);

#endif
