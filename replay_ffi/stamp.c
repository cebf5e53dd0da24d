/* Gives packets the times at which they go. No system call, no clock. */
#include "stamp.h"

#include "pcap_ffi.h"

#define NS_PER_S 1000000000LL
#define SECONDS_MAX 0xffffffffLL

/* Each record gets the time at which its packet was due, or, where that is longer ago
 * than slack_ns, slack_ns before now_ns; at top speed now_ns. offset_ns: how far the
 * clock that shows in it is ahead of the monotonic one. place: moves on with what the
 * schedule, which has begun, lets pass: all of that comes here, in order, with the times
 * that it had. Only for octets that records_count() has passed. */
void schedule_stamp(const struct schedule *schedule, struct schedule_place *place,
                    uint8_t *records, size_t length, int64_t now_ns, int64_t slack_ns,
                    int64_t offset_ns)
{
    size_t at = 0;

    while (at < length) {
        uint8_t *record = records + at;
        int64_t due_ns = schedule_next(schedule, place, record), went_ns = now_ns;

        if (schedule->kind != SCHEDULE_TOP && due_ns <= now_ns)
            went_ns = due_ns > now_ns - slack_ns ? due_ns : now_ns - slack_ns;
        went_ns += offset_ns;
        if (went_ns < 0)
            went_ns = 0;
        if (went_ns / NS_PER_S > SECONDS_MAX)
            went_ns = SECONDS_MAX * NS_PER_S;
        put32(record, (uint32_t)(went_ns / NS_PER_S));
        put32(record + 4, (uint32_t)(went_ns % NS_PER_S));
        at += RECORD_HEADER + get32(record + 8);
    }
}
