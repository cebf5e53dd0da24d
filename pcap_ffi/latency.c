/* Sorts packets by how long ago they were stamped. No system call. */
#include "pcap_ffi.h"

#define NS_PER_S 1000000000LL

/* Counts each packet in the first bucket whose bound is not below its age, and adds
 * the ages up. A packet stamped after now has age 0, and is counted in ahead as well.
 * bounds_ns ascend. unit_ns: what the sub-second field counts, 1 or 1000. Takes only
 * records that records_count() has passed. */
void latency_observe(struct latency *latency, const int64_t *bounds_ns, size_t bounds,
                     const uint8_t *records, size_t length, int64_t now_ns,
                     uint32_t unit_ns)
{
    size_t at = 0, bucket = 0;
    double sum_s = 0;

    while (at < length) {
        const uint8_t *record = records + at;
        int64_t stamp_ns = get32(record) * NS_PER_S + (int64_t)get32(record + 4) * unit_ns;
        int64_t age_ns = now_ns - stamp_ns;

        if (age_ns < 0) {
            age_ns = 0;
            latency->ahead++;
        }
        /* Neighbours are about as old as each other: begin where the last one was. */
        while (bucket > 0 && age_ns <= bounds_ns[bucket - 1])
            bucket--;
        while (bucket < bounds && age_ns > bounds_ns[bucket])
            bucket++;
        latency->counts[bucket]++;
        sum_s += (double)age_ns;
        at += RECORD_HEADER + get32(record + 8);
    }
    latency->sum_s += sum_s / NS_PER_S;
}
