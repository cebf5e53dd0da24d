/* Says when packets are due, and counts how late they were. No system call, no clock.
 *
 * Every moment is reckoned from the start, never from the packet before: so nothing adds
 * up, neither what a sleep took too long nor what is rounded. */
#include "schedule.h"

#include <math.h>

#include "pcap_ffi.h"

#define NS_PER_S 1000000000LL

/* Far beyond any replay, and far enough from the end to be added to. */
#define NEVER_NS (INT64_MAX / 4)

static int64_t time_of(const uint8_t *record)
{
    return get32(record) * NS_PER_S + (int64_t)get32(record + 4);
}

static int64_t bounded(double ns)
{
    if (ns > (double)NEVER_NS)
        return NEVER_NS;
    if (ns < -(double)NEVER_NS)
        return -NEVER_NS;
    return (int64_t)llrint(ns);
}

/* A packet of time epoch_ns is due at start_ns. */
void schedule_begin(struct schedule *schedule, int64_t start_ns, int64_t epoch_ns)
{
    schedule->start_ns = start_ns;
    schedule->epoch_ns = epoch_ns;
    schedule->is_begun = 1;
}

/* The same, with the time of a packet. */
void schedule_begin_with(struct schedule *schedule, int64_t start_ns,
                         const uint8_t *record)
{
    schedule_begin(schedule, start_ns, time_of(record));
}

/* Everything that is left is due so much later: for a time in which nothing could go.
 * Nobody is late by it, and nothing is caught up in a burst. */
void schedule_shift(struct schedule *schedule, int64_t by_ns)
{
    schedule->start_ns += by_ns;
}

/* When the packet of this record is due, being the next one, and moves the place past
 * it. Never before one that came before it: who goes back in time goes at once. */
int64_t schedule_next(const struct schedule *schedule, struct schedule_place *place,
                      const uint8_t *record)
{
    int64_t since_ns = 0;

    switch (schedule->kind) {
    case SCHEDULE_AT_TIMES:
        since_ns = time_of(record) - schedule->epoch_ns;
        if (schedule->pace != 1.0)
            since_ns = bounded((double)since_ns / schedule->pace);
        break;
    case SCHEDULE_PACKETS:
        since_ns = bounded((double)place->packets * NS_PER_S / schedule->pace);
        break;
    case SCHEDULE_OCTETS:
        since_ns = bounded((double)place->octets * NS_PER_S / schedule->pace);
        break;
    default:
        break;
    }
    if (since_ns < place->floor_ns)
        since_ns = place->floor_ns;
    if (since_ns > NEVER_NS)
        since_ns = NEVER_NS;
    place->floor_ns = since_ns;
    place->packets++;
    place->octets += get32(record + 8);
    return schedule->start_ns + since_ns;
}

/* Passes what of the records is due at now_ns, and counts how late it was. A schedule
 * that has not begun begins now, with the first of them. Only for octets that
 * records_count() has passed. */
void schedule_take(struct schedule *schedule, const uint8_t *records, size_t length,
                   int64_t now_ns, struct schedule_due *due)
{
    uint64_t octets = schedule->place.octets;

    *due = (struct schedule_due){.next_ns = now_ns};
    if (length == 0)
        return;
    if (!schedule->is_begun)
        schedule_begin_with(schedule, now_ns, records);
    while (due->length < length) {
        const uint8_t *record = records + due->length;
        struct schedule_place place = schedule->place;

        due->next_ns = schedule_next(schedule, &place, record);
        if (due->next_ns > now_ns)
            break;
        schedule->place = place;
        if (schedule->kind != SCHEDULE_TOP)
            lateness_observe(&schedule->lateness, now_ns - due->next_ns);
        due->length += RECORD_HEADER + get32(record + 8);
        due->count++;
    }
    due->octets = schedule->place.octets - octets;
}

/* One thread counts, any may look: each number is whole, though not all are of one
 * moment. */
static void add(uint64_t *counter, uint64_t much)
{
    __atomic_store_n(counter, *counter + much, __ATOMIC_RELAXED);
}

static uint32_t bucket_of(uint64_t ns)
{
    uint32_t power;

    if (ns < LATENESS_FINE)
        return (uint32_t)ns;
    power = 63 - (uint32_t)__builtin_clzll(ns);
    return (power - 3) * LATENESS_FINE + (uint32_t)(ns >> (power - 4)) - LATENESS_FINE;
}

/* The longest delay that this bucket counts. */
int64_t lateness_bound(uint32_t bucket)
{
    uint32_t shift;

    if (bucket < LATENESS_FINE)
        return bucket;
    shift = bucket / LATENESS_FINE - 1;
    return (int64_t)(((uint64_t)(bucket % LATENESS_FINE + LATENESS_FINE + 1) << shift) - 1);
}

/* Counts one packet that went so much later than it was due. */
void lateness_observe(struct lateness *lateness, int64_t late_ns)
{
    if (late_ns < 0)
        late_ns = 0;
    add(&lateness->packets, 1);
    add(&lateness->sum_ns, (uint64_t)late_ns);
    add(&lateness->buckets[bucket_of((uint64_t)late_ns)], 1);
    if (late_ns > lateness->bound_ns)
        add(&lateness->late, 1);
    if (late_ns > lateness->max_ns)
        __atomic_store_n(&lateness->max_ns, late_ns, __ATOMIC_RELAXED);
}
