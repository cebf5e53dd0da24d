/* Invariant: whatever octets packets consist of, their flows are told without reading
 * beyond them; the same packet alone is of the same flow again, also as a reader finds
 * it in a frame of NFLOG; and records that are spread over targets are each in one of
 * the parts, unchanged and in order, as many and as long as the counts say; what are no
 * records, or not as many, is refused. And of flows that are cut, each record is kept,
 * unchanged and in order, or counted, and all octets that came are in the profile.
 *
 * Input: 1 octet, the link type; 1 octet, whether tunnels are looked into, how many
 * targets, and what is cut; then packets: 1 octet, how many octets it has, with the highest bit set times
 * 16; and these. */
#include "harness.h"

#include "heads.h"
#include "pcap_ffi.h"

#define PACKETS_MAX 64
#define SEED 0x0123456789ABCDEF

static const uint32_t linktypes[] = {101, 1, 239, 0, 108, 113, 228, 229, 276, 147};

struct packets {
    uint8_t *octets[PACKETS_MAX];
    uint32_t lengths[PACKETS_MAX];
    uint32_t count;
};

static void read_packets(struct packets *packets, const uint8_t *data, size_t size)
{
    packets->count = 0;
    while (size > 0 && packets->count < PACKETS_MAX) {
        size_t length = data[0] & 0x7F;

        length *= data[0] & 0x80 ? 16 : 1;
        data++;
        size--;
        if (length > size)
            length = size;
        packets->lengths[packets->count] = (uint32_t)length;
        packets->octets[packets->count++] = copy_of(data, length);
        data += length;
        size -= length;
    }
}

static void check_flow(const uint8_t *packet, uint32_t length, uint32_t linktype,
                       int inner)
{
    uint64_t flow = flow_hash(packet, length, linktype, inner, SEED);
    uint8_t *framed;

    CHECK(flow == flow_hash(packet, length, linktype, inner, SEED));
    if (linktype != 101 || length > 0xFFFF - 4)
        return;
    /* In a frame of NFLOG, behind a prefix of three octets. */
    framed = exactly(16 + length);
    memcpy(framed, "\2\0\0\5" "\7\0\12\0" "abc\0", 12);
    framed[12] = (uint8_t)(length + 4);
    framed[13] = (uint8_t)((length + 4) >> 8);
    framed[14] = 9;
    framed[15] = 0;
    memcpy(framed + 16, packet, length);
    /* What is no packet is of a flow of its link. */
    if (flow != flow_hash(packet, 0, 101, inner, SEED))
        CHECK(flow == flow_hash(framed, 16 + length, 239, inner, SEED));
    free(framed);
}

static void write_record(uint8_t *out, const uint8_t *packet, uint32_t length,
                         uint32_t number)
{
    put32(out, number);
    put32(out + 4, 0);
    put32(out + 8, length);
    put32(out + 12, length);
    memcpy(out + RECORD_HEADER, packet, length);
}

/* Each record is where it was said to go, behind those before it. */
static void check_parts(const struct packets *packets, const uint8_t *records,
                        size_t length, const uint16_t *chosen, const uint64_t *lengths,
                        const uint32_t *counts, uint32_t targets)
{
    uint8_t *parts[8], *outs[8];
    uint32_t found[8] = {0};
    size_t at[8] = {0}, here = 0;

    for (uint32_t target = 0; target < targets; target++)
        outs[target] = parts[target] = exactly(lengths[target]);
    flow_part(records, length, chosen, outs);
    for (uint32_t n = 0; n < packets->count; n++) {
        uint32_t target = chosen[n];
        size_t octets = RECORD_HEADER + packets->lengths[n];

        CHECK(target < targets);
        CHECK(at[target] + octets <= lengths[target]);
        CHECK(memcmp(parts[target] + at[target], records + here, octets) == 0);
        at[target] += octets;
        here += octets;
        found[target]++;
    }
    for (uint32_t target = 0; target < targets; target++) {
        CHECK(at[target] == lengths[target]);
        CHECK(outs[target] == parts[target] + lengths[target]);
        CHECK(counts[2 * target] + counts[2 * target + 1] == found[target]);
        free(parts[target]);
    }
}

static size_t write_records(uint8_t *out, const struct packets *packets)
{
    size_t length = 0;

    for (uint32_t n = 0; n < packets->count; n++) {
        write_record(out + length, packets->octets[n], packets->lengths[n], n);
        length += RECORD_HEADER + packets->lengths[n];
    }
    return length;
}

static void check_spread(const struct packets *packets, uint32_t linktype, int inner,
                         uint32_t targets)
{
    static const uint64_t names[8] = {0, 1, 2, UINT64_MAX, 5, 6, 7, 1000};
    struct flow_hasher *hasher = flow_hasher_new(SEED, inner);
    uint32_t segments[2] = {packets->count / 3, packets->count - packets->count / 3};
    uint16_t *chosen = (uint16_t *)exactly(packets->count * sizeof(*chosen));
    uint64_t lengths[8];
    uint32_t counts[16];
    size_t length = 0;
    uint8_t *records;

    CHECK(hasher != NULL);
    for (uint32_t n = 0; n < packets->count; n++)
        length += RECORD_HEADER + packets->lengths[n];
    records = exactly(length);
    write_records(records, packets);
    for (int again = 0; again < 2; again++) {
        CHECK(flow_choose(hasher, linktype, records, length, names, targets, segments, 2,
                          chosen, lengths, counts) == 0);
        check_parts(packets, records, length, chosen, lengths, counts, targets);
    }
    if (packets->count > 0) {
        uint8_t *shorter = copy_of(records, length - 1);

        CHECK(flow_choose(hasher, linktype, shorter, length - 1, names, targets,
                          segments, 2, chosen, lengths, counts) == -1);
        free(shorter);
        segments[1]--;
        CHECK(flow_choose(hasher, linktype, records, length, names, targets, segments, 2,
                          chosen, lengths, counts) == -1);
    }
    free(records);
    free(chosen);
    flow_hasher_free(hasher);
}

/* What is in out are records of those that came, in their order. */
static void check_kept(const struct packets *packets, const uint8_t *records,
                       size_t length, const uint8_t *out, const struct shed *shed)
{
    size_t at = 0, from = 0;
    uint32_t kept = 0;

    CHECK(shed->kept + shed->tails + shed->flows == packets->count);
    if (shed->kept == packets->count) {
        CHECK(shed->kept_length == length);
        return;
    }
    for (uint32_t n = 0; n < packets->count; n++) {
        size_t octets = RECORD_HEADER + packets->lengths[n];

        /* Their numbers make each of them another. */
        if (shed->kept_length - at >= octets &&
            memcmp(out + at, records + from, octets) == 0) {
            at += octets;
            kept++;
        }
        from += octets;
    }
    CHECK(at == shed->kept_length);
    CHECK(kept == shed->kept);
}

static void check_shed(const struct packets *packets, uint32_t linktype, uint8_t manner)
{
    static uint64_t places[HEADS_PLACES], parts[FLOWS_PARTS];
    const uint64_t limits[4] = {0, 100, 1000, HEADS_ALL};
    const uint64_t numbers[4] = {HEADS_ALL, HEADS_ALL / 2, HEADS_ALL / 8, 0};
    struct heads *heads = heads_new(0, SEED);
    struct flow_hasher *hasher = flow_hasher_new(SEED, 1);
    size_t length = 0;
    uint64_t sum = 0;
    uint8_t *records, *out;
    struct shed shed;

    CHECK(heads != NULL && hasher != NULL);
    for (uint32_t n = 0; n < packets->count; n++)
        length += RECORD_HEADER + packets->lengths[n];
    records = exactly(length);
    out = exactly(length);
    write_records(records, packets);
    for (uint32_t again = 0; again < 3; again++) {
        memset(places, 0, sizeof(places));
        heads_shed(heads, linktype, records, length, again * 40000,
                   limits[(manner + again) % 4], numbers[manner / 4 % 4], out, places,
                   &shed);
        check_kept(packets, records, length, out, &shed);
        sum = 0;
        for (uint32_t place = 0; place < HEADS_PLACES; place++)
            sum += places[place];
        CHECK(sum <= length);
        CHECK(sum == length || shed.flows > 0);
    }
    memset(parts, 0, sizeof(parts));
    flows_shed(hasher, linktype, records, length, numbers[manner / 4 % 4], out, parts,
               &shed);
    check_kept(packets, records, length, out, &shed);
    sum = 0;
    for (uint32_t part = 0; part < FLOWS_PARTS; part++)
        sum += parts[part];
    CHECK(sum == length);
    free(records);
    free(out);
    flow_hasher_free(hasher);
    heads_free(heads);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct packets packets;
    uint32_t linktype, targets;
    int inner;

    if (size < 2)
        return 0;
    linktype = linktypes[data[0] % (sizeof(linktypes) / sizeof(*linktypes))];
    inner = data[1] & 0x80 ? 1 : 0;
    targets = 1 + data[1] % 8;
    read_packets(&packets, data + 2, size - 2);
    for (uint32_t n = 0; n < packets.count; n++)
        check_flow(packets.octets[n], packets.lengths[n], linktype, inner);
    check_spread(&packets, linktype, inner, targets);
    check_shed(&packets, linktype, data[1]);
    for (uint32_t n = 0; n < packets.count; n++)
        free(packets.octets[n]);
    return 0;
}
