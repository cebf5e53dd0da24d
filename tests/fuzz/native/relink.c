/* Invariant: whatever the packets of valid records consist of, records_relink() reads
 * nothing beyond them and writes nothing beyond `length`; what it writes are valid
 * records, as many as it counted, with the times of those that they are made of, no
 * larger than these by more than RELINK_MORE; each packet has one fate; and of an IP
 * packet that went behind an Ethernet header an IP packet comes back.
 *
 * Input: 2 octets, which link types; the records, of which those before the first fault
 * are taken. */
#include "harness.h"

#include "pcap_ffi.h"
#include "tlv.h"

static const uint32_t LINKTYPES[] = {1, 101, 228, 229, 239, 113, 0};
#define COUNT (sizeof(LINKTYPES) / sizeof(LINKTYPES[0]))

/* What was made, and of which records. */
struct made {
    uint8_t *records;
    struct relinked relinked;
};

static struct made make(const uint8_t *records, size_t length, int64_t count,
                        uint32_t from, uint32_t to, uint8_t *fates)
{
    size_t room = length + RELINK_MORE * (size_t)count;
    struct made made = {.records = exactly(room)};

    memset(made.records, CANARY, room);
    records_relink(records, length, from, to, made.records, fates, &made.relinked);
    CHECK(made.relinked.length <= room);
    for (size_t at = made.relinked.length; at < room; at++)
        CHECK(made.records[at] == CANARY);
    return made;
}

static void check_made(const uint8_t *octets, int64_t count, const struct made *made,
                       const uint8_t *fates)
{
    size_t at = 0, here = 0, fault;
    uint32_t fated[RELINK_FATES] = {0};

    CHECK(records_count(made->records, made->relinked.length, &fault) ==
          made->relinked.fates[RELINK_MADE]);
    for (int64_t number = 0; number < count; number++) {
        uint32_t caplen = little32(octets + at + 8);

        CHECK(fates[number] < RELINK_FATES);
        fated[fates[number]]++;
        if (fates[number] == RELINK_MADE) {
            const uint8_t *record = made->records + here;

            CHECK(memcmp(record, octets + at, 8) == 0);
            CHECK(little32(record + 8) <= caplen + RELINK_MORE);
            CHECK(little32(record + 8) > 0);
            here += RECORD_HEADER + little32(record + 8);
        }
        at += RECORD_HEADER + caplen;
    }
    CHECK(here == made->relinked.length);
    CHECK(memcmp(fated, made->relinked.fates, sizeof(fated)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t choice = front16(&data, &size);
    uint32_t from = LINKTYPES[choice % COUNT], to = LINKTYPES[choice / COUNT % COUNT];
    size_t length, fault;
    int64_t count = records_count(data, size, &length);
    uint8_t *octets = copy_of(data, length), *fates, *again;
    struct made made, same;

    if (count < 0)
        count = records_count(octets, length, &fault);
    CHECK(count >= 0);
    if (records_relinkable(from, to)) {
        fates = exactly((size_t)count);
        made = make(octets, length, count, from, to, fates);
        same = make(octets, length, count, from, to, NULL);
        check_made(octets, count, &made, fates);
        CHECK(made.relinked.length == same.relinked.length);
        CHECK(memcmp(made.records, same.records, same.relinked.length) == 0);
        free(same.records);
        if (to == LINKTYPE_ETHERNET && from != LINKTYPE_NFLOG) {
            uint32_t whole = made.relinked.fates[RELINK_MADE];

            again = exactly(whole);
            same = make(made.records, made.relinked.length, whole, to, LINKTYPE_RAW,
                        again);
            CHECK(same.relinked.fates[RELINK_MADE] == whole);
            free(same.records);
            free(again);
        }
        free(made.records);
        free(fates);
    }
    free(octets);
    return 0;
}
