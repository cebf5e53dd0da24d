/* Invariant: whatever octets records consist of, records_count() judges them without
 * reading beyond; what it accepts are records by pcap-savefile(5) that fill the octets
 * to the last one, what it refuses has its first fault where it says; and what it
 * accepts, the other loops change as they promise and in no other way, and
 * latency_observe() counts each of it in its bucket.
 *
 * Input: 2 octets, the limit for records_whole(); 2 octets, the snaplen; the records.
 * The first 4 are also the second at which latency is judged, and the snaplen the MTU,
 * of Ethernet where the limit is even. */
#include "harness.h"

#include "pcap_ffi.h"

#define NANOSECONDS 1000000000

struct record {
    uint32_t seconds, fraction, caplen, origlen;
    const uint8_t *packet;
};

/* The record that begins here, where there is one that is as it should be. */
static int read_record(const uint8_t *octets, size_t left, struct record *record)
{
    if (left < RECORD_HEADER)
        return 0;
    *record = (struct record){little32(octets), little32(octets + 4),
                              little32(octets + 8), little32(octets + 12),
                              octets + RECORD_HEADER};
    return record->fraction < NANOSECONDS && record->caplen <= CAPLEN_MAX &&
           record->caplen <= record->origlen && record->caplen <= left - RECORD_HEADER;
}

/* As records_count(), by other means. */
static int64_t expected_count(const uint8_t *octets, size_t length, size_t *at)
{
    struct record record;
    int64_t count = 0;

    for (*at = 0; *at < length; *at += RECORD_HEADER + record.caplen) {
        if (!read_record(octets + *at, length - *at, &record))
            return -1;
        count++;
    }
    return count;
}

static void check_whole(const uint8_t *octets, size_t length, size_t limit)
{
    size_t whole = records_whole(octets, length, limit), fault;

    CHECK(whole <= length);
    CHECK(whole <= limit);
    CHECK(expected_count(octets, whole, &fault) >= 0);
    if (whole < length) {
        struct record next;

        CHECK(read_record(octets + whole, length - whole, &next));
        CHECK(whole + RECORD_HEADER + next.caplen > limit);
    }
}

static void check_microseconds(const uint8_t *octets, size_t length)
{
    uint8_t *rescaled = copy_of(octets, length);
    struct record was, is;

    records_to_microseconds(rescaled, length);
    for (size_t at = 0; at < length; at += RECORD_HEADER + was.caplen) {
        CHECK(read_record(octets + at, length - at, &was));
        CHECK(read_record(rescaled + at, length - at, &is));
        CHECK(is.fraction == was.fraction / 1000);
        CHECK(is.seconds == was.seconds && is.caplen == was.caplen &&
              is.origlen == was.origlen);
        CHECK(memcmp(is.packet, was.packet, was.caplen) == 0);
    }
    free(rescaled);
}

static void check_truncated(const uint8_t *octets, size_t length, uint32_t snaplen)
{
    uint8_t *shorter = copy_of(octets, length);
    size_t kept = records_truncate(shorter, length, snaplen), here = 0;
    struct record was, is;

    for (size_t at = 0; at < length; at += RECORD_HEADER + was.caplen) {
        CHECK(read_record(octets + at, length - at, &was));
        CHECK(here < kept && read_record(shorter + here, kept - here, &is));
        CHECK(is.caplen == (was.caplen < snaplen ? was.caplen : snaplen));
        CHECK(is.seconds == was.seconds && is.fraction == was.fraction &&
              is.origlen == was.origlen);
        CHECK(memcmp(is.packet, was.packet, is.caplen) == 0);
        here += RECORD_HEADER + is.caplen;
    }
    CHECK(here == kept);
    free(shorter);
}

/* The most octets that a packet of Ethernet, or of a link without a header, may have. */
static uint64_t most_octets(const struct record *record, int ethernet, uint32_t mtu)
{
    uint32_t header = ethernet ? 14 : 0;

    while (ethernet && header <= record->caplen) {
        const uint8_t *type = record->packet + header - 2;
        unsigned number = (unsigned)type[0] << 8 | type[1];

        if (number != 0x8100 && number != 0x88a8 && number != 0x9100)
            break;
        header += 4;
    }
    return (uint64_t)header + mtu;
}

static void check_mtu(const uint8_t *octets, size_t length, int ethernet, uint32_t mtu)
{
    uint8_t *cut = copy_of(octets, length), *left = copy_of(octets, length);
    uint32_t linktype = ethernet ? 1 : 101, longer = 0;
    size_t cut_to = records_fit(octets, length, linktype, mtu, 1, cut);
    size_t left_to = records_fit(octets, length, linktype, mtu, 0, left);
    size_t cut_at = 0, left_at = 0;
    struct record was, is;

    for (size_t at = 0; at < length; at += RECORD_HEADER + was.caplen) {
        uint64_t most;

        CHECK(read_record(octets + at, length - at, &was));
        most = most_octets(&was, ethernet, mtu);
        longer += was.caplen > most;
        CHECK(cut_at < cut_to && read_record(cut + cut_at, cut_to - cut_at, &is));
        CHECK(is.caplen == (was.caplen < most ? was.caplen : most));
        CHECK(is.seconds == was.seconds && is.fraction == was.fraction &&
              is.origlen == was.origlen);
        CHECK(memcmp(is.packet, was.packet, is.caplen) == 0);
        cut_at += RECORD_HEADER + is.caplen;
        if (was.caplen > most)
            continue;
        CHECK(left_to - left_at >= RECORD_HEADER + was.caplen);
        CHECK(memcmp(left + left_at, octets + at, RECORD_HEADER + was.caplen) == 0);
        left_at += RECORD_HEADER + was.caplen;
    }
    CHECK(cut_at == cut_to && left_at == left_to);
    CHECK(records_longer(octets, length, linktype, mtu) == longer);
    free(cut);
    free(left);
}

/* As latency_observe(), one bucket after the other. */
static void check_latency(const uint8_t *octets, size_t length, int64_t now_ns)
{
    static const int64_t bounds_ns[] = {0, 1000000, 3600000000000, INT64_C(1) << 60};
    uint64_t counts[5] = {0}, expected[5] = {0}, ahead = 0;
    struct latency latency = {.counts = counts};
    struct record record;

    latency_observe(&latency, bounds_ns, 4, octets, length, now_ns, 1);
    for (size_t at = 0; at < length; at += RECORD_HEADER + record.caplen) {
        int64_t age_ns;
        int bucket = 0;

        CHECK(read_record(octets + at, length - at, &record));
        age_ns = now_ns - record.seconds * INT64_C(1000000000) - record.fraction;
        ahead += age_ns < 0;
        while (bucket < 4 && age_ns > bounds_ns[bucket])
            bucket++;
        expected[bucket]++;
    }
    CHECK(latency.ahead == ahead);
    CHECK(memcmp(counts, expected, sizeof(counts)) == 0);
    CHECK(latency.sum_s >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t limit = front16(&data, &size), snaplen = front16(&data, &size);
    uint8_t *octets = copy_of(data, size);
    size_t at, fault;
    int64_t count = records_count(octets, size, &at);

    CHECK(count == expected_count(octets, size, &fault));
    CHECK(at == fault);
    if (count >= 0) {
        CHECK(at == size);
        check_whole(octets, size, limit);
        check_microseconds(octets, size);
        check_truncated(octets, size, snaplen);
        check_mtu(octets, size, limit % 2 == 0, snaplen);
        check_latency(octets, size,
                      ((int64_t)limit << 16 | snaplen) * INT64_C(1000000000));
    }
    free(octets);
    return 0;
}
