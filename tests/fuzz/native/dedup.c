/* Invariant: whatever octets packets consist of, those that were seen are told without
 * reading beyond them; what is kept and what is dropped is what came; the first one is
 * kept; a second time, at the same moment, all are dropped; after the window they are
 * kept as before; what changes on the way from router to router makes no other packet;
 * and what are no records, or not as many, is refused.
 *
 * Input: 1 octet, the link type; 1 octet, the window; then packets: 1 octet, how many
 * octets it has, with the highest bit set times 16; and these. */
#include "harness.h"

#include "dedup.h"
#include "pcap_ffi.h"

#define PACKETS_MAX 64
#define SEED 0x0123456789ABCDEF

static const uint32_t linktypes[] = {101, 1, 239, 0, 108, 113, 228, 229, 276, 147};

static void check_digest(const uint8_t *packet, uint32_t length, uint32_t linktype)
{
    struct flow_seed seed = flow_seed_of(SEED);
    uint64_t number = digest_packet(&seed, linktype, packet, length);
    uint8_t *other = copy_of(packet, length);

    CHECK(number == digest_packet(&seed, linktype, other, length));
    if (linktype == 101 && length >= 40) {
        if (packet[0] >> 4 == 6)
            other[7] ^= 0xFF;
        /* With less of a header it is no IP. */
        if (packet[0] >> 4 == 4 && (packet[0] & 0xF) >= 5)
            other[8] ^= 0xFF;
        CHECK(number == digest_packet(&seed, linktype, other, length));
    }
    free(other);
}

static uint32_t keep(struct dedup *dedup, const uint8_t *records, size_t length,
                     uint32_t count, uint32_t linktype, uint64_t *kept)
{
    uint64_t octets, found = 0;
    uint32_t packets, sum = 0;
    size_t at = 0;

    CHECK(dedup_choose(dedup, linktype, records, length, count, kept, &octets,
                       &packets) == 0);
    for (uint32_t packet = 0; packet < count; packet++) {
        size_t end = at + RECORD_HEADER + get32(records + at + 8);

        CHECK(kept[packet] <= 1);
        found += kept[packet] * (end - at);
        sum += (uint32_t)kept[packet];
        at = end;
    }
    CHECK(octets == found && packets == sum);
    return packets;
}

static void check(uint8_t *records, size_t length, uint32_t count, uint32_t linktype,
                  int64_t window_ns)
{
    struct dedup *dedup = dedup_new(window_ns, 1 << 20, SEED);
    uint64_t *kept = (uint64_t *)exactly((count + 1) * sizeof(*kept)), octets;
    uint32_t first, packets;

    CHECK(dedup != NULL);
    first = keep(dedup, records, length, count, linktype, kept);
    CHECK(count == 0 || kept[0] == 1);
    CHECK(keep(dedup, records, length, count, linktype, kept) == 0);
    CHECK(dedup->seen == 2 * count && dedup->dropped == 2 * count - first);
    for (size_t at = 0; at < length; at += RECORD_HEADER + get32(records + at + 8))
        put32(records + at, 1700000100);
    CHECK(keep(dedup, records, length, count, linktype, kept) == first);
    CHECK(dedup->forgotten == 0);
    CHECK(dedup_choose(dedup, linktype, records, length, count + 1, kept, &octets,
                       &packets) == -1);
    if (count > 0) {
        uint8_t *shorter = copy_of(records, length - 1);

        CHECK(dedup_choose(dedup, linktype, shorter, length - 1, count, kept, &octets,
                           &packets) == -1);
        free(shorter);
    }
    free(kept);
    dedup_free(dedup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t made[PACKETS_MAX * (RECORD_HEADER + 16 * 127)];
    uint32_t linktype, count = 0;
    int64_t window_ns;
    uint8_t *records;
    size_t used = 0;

    if (size < 2)
        return 0;
    linktype = linktypes[data[0] % 10];
    window_ns = data[1] * (int64_t)1000000;
    for (data += 2, size -= 2; size > 0 && count < PACKETS_MAX; count++) {
        size_t length = (data[0] & 0x7FU) * (data[0] & 0x80 ? 16U : 1U);

        data++;
        size--;
        if (length > size)
            length = size;
        put32(made + used, 1700000000);
        put32(made + used + 4, 0);
        put32(made + used + 8, (uint32_t)length);
        put32(made + used + 12, (uint32_t)length);
        memcpy(made + used + RECORD_HEADER, data, length);
        used += RECORD_HEADER + length;
        records = copy_of(data, length);
        check_digest(records, (uint32_t)length, linktype);
        free(records);
        data += length;
        size -= length;
    }
    records = copy_of(made, used);
    check(records, used, count, linktype, window_ns);
    free(records);
    return 0;
}
