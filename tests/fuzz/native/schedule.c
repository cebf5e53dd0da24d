/* Invariant: whatever times records have and at whatever pace they are to go, each
 * passes once and never before its time, moments never go back, and the first that is
 * not due is told; each delay is counted once, in a bucket whose bound is not below it;
 * and what is stamped changes only in its times, which never go back.
 *
 * Input: 1 octet, what kind of schedule; 1 octet, the power of two that is its pace; 2
 * octets, how many microseconds lie between two looks at least; the records. */
#include "harness.h"

#include <math.h>

#include "pcap_ffi.h"
#include "schedule.h"
#include "stamp.h"

#define KINDS 4
#define POWERS 80
#define START_NS 1000000
#define SLACK_NS 10000000

static void check_buckets(const struct lateness *lateness, uint64_t packets)
{
    uint64_t counted = 0;
    int64_t last_ns = -1;

    for (uint32_t bucket = 0; bucket < LATENESS_BUCKETS; bucket++) {
        CHECK(lateness_bound(bucket) > last_ns);
        last_ns = lateness_bound(bucket);
        counted += lateness->buckets[bucket];
        if (counted == packets && lateness->buckets[bucket] > 0)
            CHECK(last_ns >= lateness->max_ns);
    }
    CHECK(counted == packets && lateness->packets == packets);
    CHECK(lateness->late <= packets);
}

static uint64_t time_of(const uint8_t *record)
{
    CHECK(little32(record + 4) < 1000000000);
    return little32(record) * UINT64_C(1000000000) + little32(record + 4);
}

static void check_stamped(const uint8_t *records, const uint8_t *stamped, size_t length,
                          uint64_t *last_ns)
{
    size_t at = 0;

    while (at < length) {
        size_t next = at + RECORD_HEADER + little32(records + at + 8);

        CHECK(memcmp(records + at + 8, stamped + at + 8, next - at - 8) == 0);
        CHECK(time_of(stamped + at) >= *last_ns);
        *last_ns = time_of(stamped + at);
        at = next;
    }
    CHECK(at == length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schedule schedule = {0};
    struct schedule_place stamps = {0};
    struct schedule_due due;
    uint64_t passed = 0, octets = 0, last_ns = 0;
    int64_t now_ns = START_NS, step_ns, count;
    uint8_t *records;
    size_t at = 0, fault;

    if (size < 4)
        return 0;
    schedule.kind = data[0] % KINDS;
    schedule.pace = ldexp(1.0, data[1] % POWERS - POWERS / 2);
    data += 2;
    size -= 2;
    step_ns = front16(&data, &size) * INT64_C(1000);
    count = records_count(data, size, &fault);
    if (count < 0)
        return 0;
    records = copy_of(data, size);
    while (at < size) {
        uint8_t *stamped;

        schedule_take(&schedule, records + at, size - at, now_ns, &due);
        CHECK(due.length <= size - at && (due.count > 0) == (due.length > 0));
        CHECK(records_count(records + at, due.length, &fault) == due.count);
        stamped = copy_of(records + at, due.length);
        schedule_stamp(&schedule, &stamps, stamped, due.length, now_ns, SLACK_NS, 0);
        check_stamped(records + at, stamped, due.length, &last_ns);
        free(stamped);
        passed += due.count;
        octets += due.octets;
        at += due.length;
        if (at < size) {
            CHECK(due.next_ns > now_ns);
            now_ns = due.next_ns - now_ns < step_ns ? now_ns + step_ns : due.next_ns;
        }
    }
    CHECK((int64_t)passed == count && schedule.place.packets == passed);
    CHECK(schedule.place.octets == octets && octets == size - passed * RECORD_HEADER);
    check_buckets(&schedule.lateness, schedule.kind == SCHEDULE_TOP ? 0 : passed);
    free(records);
    return 0;
}
