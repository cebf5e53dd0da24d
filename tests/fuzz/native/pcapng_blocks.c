/* Invariant: whatever the packets of valid records consist of, pcapng_encode() reads
 * nothing beyond them and writes no more than pcapng_room() says; what it writes are
 * enhanced packet blocks, one for each record, of whole options, with its time, its
 * part's interface, and each part's loss once; and the way through them ends where
 * blocks end.
 *
 * Input: 2 octets, which link types and how many parts; 2 octets, where a reader leaves;
 * the records, of which those before the first fault are taken. */
#include "harness.h"

#include "pcap_ffi.h"

static const uint32_t LINKTYPES[][2] = {{101, 101}, {239, 239}, {239, 101}, {239, 1}};
#define CHOICES (sizeof(LINKTYPES) / sizeof(LINKTYPES[0]))
#define PARTS 5
#define HEADER 28

/* Returns what a block's options say of a loss. */
static uint32_t check_options(const uint8_t *at, const uint8_t *end)
{
    uint32_t lost = 0;

    while (at < end) {
        uint32_t code = little32(at) & 0xFFFF, length = little32(at) >> 16;

        at += 4;
        CHECK(code == 0 || code == 1 || code == 2 || code == 4);
        CHECK((code == 0) == (length == 0));
        CHECK(code != 0 || at == end);
        CHECK(length <= (size_t)(end - at));
        if (code == 4)
            lost = little32(at);
        at += (length + 3) & ~3U;
        CHECK(at <= end);
    }
    return lost;
}

static void check_blocks(const uint8_t *records, size_t length, uint32_t linktype,
                         uint32_t wanted, uint32_t parts, const uint8_t *blocks,
                         size_t used)
{
    size_t at = 0, here = 0, number = 0;

    for (; here < length; number++) {
        const uint8_t *record = records + here, *block = blocks + at;
        uint64_t time = (uint64_t)little32(record) * 1000000000 + little32(record + 4);
        uint32_t total, caplen, whose = (uint32_t)(number / 2 % parts), lost;

        CHECK(used - at >= HEADER + 4);
        total = little32(block + 4);
        CHECK(little32(block) == 6 && total % 4 == 0 && total <= used - at);
        CHECK(little32(block + total - 4) == total);
        CHECK(little32(block + 8) == 100 + whose);
        CHECK(((uint64_t)little32(block + 12) << 32 | little32(block + 16)) == time);
        caplen = little32(block + 20);
        CHECK(caplen <= total - HEADER - 4 && caplen <= little32(block + 24));
        if (linktype == wanted) {
            CHECK(caplen == little32(record + 8));
            CHECK(memcmp(block + HEADER, record + RECORD_HEADER, caplen) == 0);
        }
        lost = check_options(block + HEADER + ((caplen + 3) & ~3U), block + total - 4);
        CHECK(lost == (number % 2 == 0 && number / 2 < parts ? 7 + whose : 0));
        here += RECORD_HEADER + little32(record + 8);
        at += total;
    }
    CHECK(at == used);
    CHECK(pcapng_packets(blocks, used) == number);
}

static void check_way(const uint8_t *blocks, size_t used, size_t limit)
{
    size_t whole = pcapng_whole(blocks, used, limit);

    CHECK(whole <= used && whole <= limit);
    CHECK(whole == used || whole + little32(blocks + whole + 4) > limit);
    CHECK(pcapng_undeclared(blocks, used, whole) == whole);
    CHECK(pcapng_packets(blocks, whole) + pcapng_packets(blocks + whole, used - whole) ==
          pcapng_packets(blocks, used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t choice = front16(&data, &size), limit = front16(&data, &size);
    const uint32_t *linktypes = LINKTYPES[choice % CHOICES];
    uint32_t parts = 1 + choice / CHOICES % PARTS, *order;
    struct pcapng_part whose[PARTS];
    size_t length, fault, room, used;
    int64_t count = records_count(data, size, &length);
    uint8_t *records = copy_of(data, length), *blocks;

    if (count < 0)
        count = records_count(records, length, &fault);
    CHECK(count >= 0);
    /* Two of each part, by turns. */
    order = (uint32_t *)exactly((size_t)(count + 1) * sizeof(*order));
    for (int64_t at = 0; at < (count + 1) / 2; at++) {
        order[2 * at] = (uint32_t)(at % parts);
        order[2 * at + 1] = 2;
    }
    for (uint32_t part = 0; part < parts; part++)
        whose[part] = (struct pcapng_part){100 + part, 7 + part};
    room = pcapng_room(records, length, (uint32_t)count, parts, linktypes[0],
                       linktypes[1]);
    blocks = exactly(room);
    used = pcapng_encode(records, length, 1000000000, linktypes[0], linktypes[1], order,
                         (size_t)((count + 1) / 2 * 2), whose, parts, blocks);
    CHECK(used <= room);
    check_blocks(records, length, linktypes[0], linktypes[1], parts, blocks, used);
    check_way(blocks, used, limit);
    free(blocks);
    free(order);
    free(records);
    return 0;
}
