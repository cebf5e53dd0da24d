/* Keeps the packets of a period, in place, says which go back in time, and moves all of
 * them in time. No system call. */
#include "period.h"

#include <string.h>

#include "pcap_ffi.h"

#define NS_PER_S 1000000000LL
#define TIME_MAX_NS (0x100000000LL * NS_PER_S - 1)

/* What a record can hold. */
static int64_t bounded(int64_t time_ns)
{
    if (time_ns < 0)
        return 0;
    return time_ns < TIME_MAX_NS ? time_ns : TIME_MAX_NS;
}

/* Keeps what lies in from_ns <= time < until_ns and, where only_forward, is not before
 * what was kept before it; then moves it by moved_ns. Returns the octets that are left.
 * What was kept so far goes on from call to call. Only for octets that records_count() has
 * passed. */
size_t records_period(uint8_t *records, size_t length, struct period *period)
{
    size_t at = 0, used = 0;

    period->packets = period->before = period->beyond = period->backwards = 0;
    period->skipped = 0;
    while (at < length) {
        uint8_t *record = records + at;
        size_t octets = RECORD_HEADER + (size_t)get32(record + 8);
        int64_t time_ns = get32(record) * NS_PER_S + get32(record + 4);

        at += octets;
        if (time_ns < period->from_ns) {
            period->before++;
            continue;
        }
        if (time_ns >= period->until_ns) {
            period->beyond++;
            continue;
        }
        if (time_ns < period->newest_ns) {
            period->backwards++;
            if (period->only_forward) {
                period->skipped++;
                continue;
            }
        } else {
            period->newest_ns = time_ns;
        }
        if (time_ns < period->first_ns)
            period->first_ns = time_ns;
        if (period->moved_ns != 0) {
            time_ns = bounded(time_ns + period->moved_ns);
            put32(record, (uint32_t)(time_ns / NS_PER_S));
            put32(record + 4, (uint32_t)(time_ns % NS_PER_S));
        }
        period->packets++;
        period->kept++;
        period->octets += octets - RECORD_HEADER;
        period->octets_on_wire += get32(record + 12);
        if (used != at - octets)
            memmove(records + used, record, octets);
        used += octets;
    }
    return used;
}
