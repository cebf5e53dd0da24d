/* Invariant: whatever packets records hold, mend_plan() and mend_apply() read nothing
 * beyond them and write nothing beyond what was planned; what comes out are records by
 * pcap-savefile(5), as many as are counted; each packet that was split is where it is
 * said to be, in pieces of
 * its time that fill the MTU, but for the last one; and what cannot be finished is so
 * again.
 *
 * Input: 2 octets, the MTU; 2 octets, what to do and the link type; the records. */
#include "harness.h"

#include "mend.h"
#include "pcap_ffi.h"

#define MTU_MIN 576

static const uint32_t LINKTYPES[] = {101, 1, 239, 113, 228, 229, 276, 147};

static const uint8_t *nth(const uint8_t *records, int64_t number)
{
    for (; number > 0; number--)
        records += RECORD_HEADER + little32(records + 8);
    return records;
}

static void check_splits(const struct mend *mend, const struct mend_split *splits,
                         const uint8_t *out, int64_t count)
{
    uint32_t end = 0, segments = 0;

    for (uint32_t at = 0; at < mend->splits; at++) {
        const uint8_t *record = nth(out, splits[at].first);

        CHECK(splits[at].first >= end);
        CHECK(splits[at].records >= 2);
        end = splits[at].first + splits[at].records;
        CHECK(end <= count);
        segments += splits[at].records;
        for (uint32_t segment = 1; segment < splits[at].records; segment++) {
            const uint8_t *next = nth(record, 1);
            struct packet packet;

            CHECK(memcmp(record, next, 8) == 0);
            CHECK(packet_parse(&packet, record + RECORD_HEADER, little32(record + 8),
                               little32(record + 12), mend->linktype));
            CHECK(packet.length == mend->mtu);
            CHECK(little32(record + 8) == little32(record + 12));
            record = next;
        }
    }
    CHECK(segments == mend->segments);
}

static void check_applied(struct mend *mend, const uint8_t *octets, size_t size,
                          int64_t count)
{
    struct mend again = *mend;
    uint8_t *out = exactly(mend->room);
    struct mend_split *splits = (void *)exactly(mend->splits * sizeof(*splits));
    size_t used = mend_apply(mend, octets, size, out, splits), at;
    int64_t made;

    CHECK(used <= mend->room);
    made = records_count(out, used, &at);
    CHECK(made == count + mend->segments - mend->splits);
    CHECK(mend->fixed + mend->splits <= count);
    check_splits(mend, splits, out, made);
    mend_plan(&again, out, used);
    if (again.room == 0)
        CHECK(again.unfixed >= mend->unfixed);
    free(splits);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t mtu = front16(&data, &size), how = front16(&data, &size);
    uint8_t *octets = copy_of(data, size);
    struct mend mend = {
        .linktype = LINKTYPES[how >> 2 & 7],
        .what = how & 3,
        .mtu = mtu < MTU_MIN ? MTU_MIN : mtu,
    };
    size_t at;
    int64_t count = records_count(octets, size, &at);

    if (count >= 0) {
        mend_plan(&mend, octets, size);
        CHECK(mend.splits <= count);
        if (mend.room == 0)
            CHECK(mend.splits == 0 && mend.fixed == 0 && mend.segments == 0);
        else
            check_applied(&mend, octets, size, count);
    }
    free(octets);
    return 0;
}
