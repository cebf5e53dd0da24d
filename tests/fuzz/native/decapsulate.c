/* Invariant: whatever octets packets consist of, what is around packets is taken off
 * without reading beyond them; no packet is lost, none grows, times stay, and none is
 * shorter on the wire than it is here; what is of the same link type and length as it
 * came, is what came; where there were not too many tunnels, nothing is left to be taken
 * off; and what are no records, or not as many, is refused.
 *
 * Input: 1 octet, the link type; 1 octet, how deep and what is taken off; then packets: 1
 * octet, how many octets it has, with the highest bit set times 16; and these. */
#include "harness.h"

#include "decapsulate.h"
#include "pcap_ffi.h"

#define PACKETS_MAX 64
#define ALL ((1U << PASSED_KINDS) - 1)

/* So short a packet has no more frames in frames than are gone through. */
#define SHORT 400

static const uint32_t linktypes[] = {101, 1, 239, 0, 108, 113, 228, 229, 276, 147};

static size_t record_end(const uint8_t *records, size_t length, size_t at)
{
    CHECK(length - at >= RECORD_HEADER);
    CHECK(get32(records + at + 8) <= length - at - RECORD_HEADER);
    return at + RECORD_HEADER + get32(records + at + 8);
}

/* Each packet that is left beside the one that came. */
static void check_left(const uint8_t *records, size_t length, uint32_t linktype,
                       const uint8_t *out, const struct peeled *parts, int64_t count)
{
    size_t from = 0, at = 0;

    for (int64_t part = 0; part < count; part++) {
        size_t end = at + parts[part].length;

        CHECK(parts[part].count > 0);
        CHECK(part == 0 || parts[part].linktype != parts[part - 1].linktype);
        for (uint32_t packet = 0; packet < parts[part].count; packet++) {
            size_t from_end = record_end(records, length, from);
            size_t at_end = record_end(out, end, at);

            CHECK(memcmp(out + at, records + from, 8) == 0);
            CHECK(at_end - at <= from_end - from);
            CHECK(get32(out + at + 8) <= get32(out + at + 12) ||
                  get32(records + from + 8) > get32(records + from + 12));
            if (at_end - at == from_end - from && parts[part].linktype == linktype)
                CHECK(memcmp(out + at, records + from, at_end - at) == 0);
            from = from_end;
            at = at_end;
        }
        CHECK(at == end);
    }
    CHECK(from == length);
}

/* A second time there is nothing to take off. */
static void check_bare(const uint8_t *out, const struct peeled *parts, int64_t count)
{
    struct peeler again = {.depth = DEPTH_MAX, .kinds = ALL};

    for (int64_t part = 0; part < count; out += parts[part++].length) {
        uint8_t *records = copy_of(out, parts[part].length);
        uint8_t *room = exactly(parts[part].length);
        struct peeled *more =
            (struct peeled *)exactly(parts[part].count * sizeof(*more));

        CHECK(peel_records(&again, parts[part].linktype, records, parts[part].length,
                           parts[part].count, room, more) == 0);
        CHECK(again.changed == 0);
        free(records);
        free(room);
        free(more);
    }
}

static void check(const uint8_t *records, size_t length, uint32_t count,
                  uint32_t linktype, uint8_t manner, int is_short)
{
    struct peeler peeler = {
        .depth = 1 + manner % DEPTH_MAX,
        .kinds = manner & 0x80 ? ALL ^ 1U << manner / 16 % 8 : ALL,
    };
    uint8_t *out = exactly(length);
    struct peeled *parts = (struct peeled *)exactly(count * sizeof(*parts));
    int64_t made = peel_records(&peeler, linktype, records, length, count, out, parts);

    CHECK(made >= 0 && made <= count);
    CHECK((made == 0) == (peeler.changed == 0));
    CHECK(peeler.changed <= count);
    if (made > 0)
        check_left(records, length, linktype, out, parts, made);
    if (is_short && peeler.undone[UNDONE_DEPTH] == 0 && peeler.kinds == ALL)
        check_bare(out, parts, made);
    CHECK(peel_records(&peeler, linktype, records, length, count + 1, out, parts) == -1);
    if (count > 0) {
        uint8_t *shorter = copy_of(records, length - 1);

        CHECK(peel_records(&peeler, linktype, shorter, length - 1, count, out, parts) ==
              -1);
        free(shorter);
    }
    free(out);
    free(parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t made[PACKETS_MAX * (RECORD_HEADER + 16 * 127)];
    uint32_t linktype, count = 0;
    uint8_t manner, *records;
    int is_short = 1;
    size_t used = 0;

    if (size < 2)
        return 0;
    linktype = linktypes[data[0] % 10];
    manner = data[1];
    for (data += 2, size -= 2; size > 0 && count < PACKETS_MAX; count++) {
        size_t length = (data[0] & 0x7FU) * (data[0] & 0x80 ? 16U : 1U);

        data++;
        size--;
        if (length > size)
            length = size;
        is_short &= length <= SHORT;
        put32(made + used, 1700000000);
        put32(made + used + 4, count);
        put32(made + used + 8, (uint32_t)length);
        /* Cut, as it was, or said to be shorter than it is. */
        put32(made + used + 12, (uint32_t)length + count % 3 * 100 - (count % 7 == 6));
        memcpy(made + used + RECORD_HEADER, data, length);
        used += RECORD_HEADER + length;
        data += length;
        size -= length;
    }
    records = copy_of(made, used);
    check(records, used, count, linktype, manner, is_short);
    free(records);
    return 0;
}
