/* Invariant: whatever octets a datagram consists of, nflog_parse() reads nothing beyond
 * them and writes nothing beyond `used`; what it writes are records that
 * records_count() accepts, as many as it counted and no more than the datagram has
 * octets for; its counts only grow; with room for the longest packet every call gets
 * on; and how small the buffers are, or whether the datagram lies in one, changes
 * neither records nor counts. All of it for each link type; what it writes as
 * LINKTYPE_NFLOG is nothing that relink.c would call malformed.
 *
 * Input: 2 octets, the capacity of the buffers (0: only ample ones); the datagram. */
#include "harness.h"

#include "nflog.h"
#include "pcap_ffi.h"
#include "tlv.h"

#define GROUPS 2
#define NOW_NS 1800000000000000000
#define COUNTS (sizeof(struct nflog_counts) / sizeof(uint64_t))

/* Everything that a datagram gave. */
struct result {
    struct nflog_counts counts;
    uint8_t *records;
    size_t length;
};

static void check_growth(const struct nflog_counts *before,
                         const struct nflog_counts *after)
{
    uint64_t was[COUNTS], is[COUNTS];

    memcpy(was, before, sizeof(was));
    memcpy(is, after, sizeof(is));
    for (size_t n = 0; n < COUNTS; n++)
        CHECK(is[n] >= was[n]);
}

/* One call. Returns how much of the datagram is done with. */
static size_t call(struct nflog_parser *parser, const uint8_t *octets, size_t length,
                   size_t capacity, struct result *result)
{
    struct nflog_counts before = parser->counts;
    size_t used = 0, taken, fault;
    /* At the start of a block of its own: netlink's alignment. */
    uint8_t *datagram = copy_of(octets, length), *out = exactly(capacity);
    int64_t count;

    memset(out, CANARY, capacity);
    taken = nflog_parse(parser, datagram, length, NOW_NS, out, capacity, &used);
    CHECK(used <= capacity);
    CHECK(taken <= length);
    for (size_t beyond = used; beyond < capacity; beyond++)
        CHECK(out[beyond] == CANARY);
    check_growth(&before, &parser->counts);
    count = records_count(out, used, &fault);
    CHECK(count >= 0);
    CHECK((uint64_t)count ==
          parser->counts.stamped_by_kernel + parser->counts.stamped_here -
              before.stamped_by_kernel - before.stamped_here);
    memcpy(result->records + result->length, out, used);
    result->length += used;
    free(datagram);
    free(out);
    return taken;
}

/* The datagram to its end, in as many calls as its buffers take. */
static struct result parse(const uint8_t *octets, size_t length, size_t capacity,
                           uint32_t linktype)
{
    struct nflog_group groups[GROUPS] = {{.id = 1}, {.id = 2}};
    struct nflog_parser parser = {
        .groups = groups, .groups_count = GROUPS, .linktype = linktype};
    struct result result = {.records = exactly(length)};
    size_t at = 0;

    do {
        size_t taken = call(&parser, octets + at, length - at, capacity, &result);

        /* Too small for the next packet. */
        if (taken == 0 && at < length) {
            CHECK(capacity < length - at && capacity < NFLOG_CAPACITY_MIN);
            taken = call(&parser, octets + at, length - at, length - at, &result);
            CHECK(taken == length - at);
        }
        at += taken;
    } while (at < length);
    result.counts = parser.counts;
    CHECK(result.counts.received == result.counts.stamped_by_kernel +
                                        result.counts.stamped_here +
                                        result.counts.not_ip);
    return result;
}

/* The same where the datagram lies in the buffer that its records go to. */
static struct result parse_in_place(const uint8_t *octets, size_t length, size_t behind,
                                    uint32_t linktype)
{
    struct nflog_group groups[GROUPS] = {{.id = 1}, {.id = 2}};
    struct nflog_parser parser = {
        .groups = groups, .groups_count = GROUPS, .linktype = linktype};
    struct result result = {.records = exactly(behind + length)};

    memset(result.records, CANARY, behind);
    if (length > 0)
        memcpy(result.records + behind, octets, length);
    CHECK(nflog_parse(&parser, result.records + behind, length, NOW_NS, result.records,
                      behind + length, &result.length) == length);
    result.counts = parser.counts;
    return result;
}

static void check_equal(const struct result *one, struct result other)
{
    CHECK(memcmp(&one->counts, &other.counts, sizeof(one->counts)) == 0);
    CHECK(one->length == other.length);
    CHECK(memcmp(one->records, other.records, one->length) == 0);
    free(other.records);
}

/* Whatever a packet's octets are, its TLVs are whole and a payload is among them. */
static void check_tlvs(const struct result *result)
{
    struct relinked relinked;
    uint8_t *out, *fates;
    size_t fault, at = 0;
    int64_t count = records_count(result->records, result->length, &fault);

    out = exactly(result->length + RELINK_MORE * (size_t)count);
    fates = exactly((size_t)count);
    records_relink(result->records, result->length, LINKTYPE_NFLOG, LINKTYPE_ETHERNET,
                   out, fates, &relinked);
    for (int64_t number = 0; number < count; number++) {
        const uint8_t *packet = result->records + at + RECORD_HEADER;

        CHECK(fates[number] != RELINK_MALFORMED || packet[1] != 0);
        at += RECORD_HEADER + little32(result->records + at + 8);
    }
    free(out);
    free(fates);
}

static void check_as(uint32_t linktype, const uint8_t *data, size_t size,
                     size_t capacity)
{
    /* No record is longer than the message that it is from. */
    struct result ample = parse(data, size, size, linktype);

    if (capacity > 0)
        check_equal(&ample, parse(data, size, capacity, linktype));
    check_equal(&ample, parse_in_place(data, size, 0, linktype));
    check_equal(&ample, parse_in_place(data, size, 4, linktype));
    if (linktype == LINKTYPE_NFLOG)
        check_tlvs(&ample);
    free(ample.records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t capacity = front16(&data, &size);

    check_as(LINKTYPE_RAW, data, size, capacity);
    check_as(LINKTYPE_NFLOG, data, size, capacity);
    check_as(LINKTYPE_ETHERNET, data, size, capacity);
    return 0;
}
