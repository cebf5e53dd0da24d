/* Makes a number of a packet that stays the same where it was forwarded or mirrored: of
 * all of its IP packet but what routers change, and of nothing around it.
 *
 * SipHash-1-3, of a secret seed, in four lanes that do not wait for each other. */
#include "dedup.h"

#include <string.h>

#include "ip.h"
#include "sip.h"

#define LANES 4
#define STRIDE (LANES * sizeof(uint64_t))

/* Above what a header of IPv4 may be, and what of one of IPv6 changes. */
#define HEAD_MAX 60

struct digest {
    uint64_t lanes[LANES][4];
};

static void begin(struct digest *digest, const struct flow_seed *seed)
{
    for (uint64_t lane = 0; lane < LANES; lane++) {
        uint64_t *v = digest->lanes[lane];

        v[0] = seed->key[0] ^ 0x736F6D6570736575;
        v[1] = seed->key[1] ^ 0x646F72616E646F6D ^ lane;
        v[2] = seed->key[0] ^ 0x6C7967656E657261;
        v[3] = seed->key[1] ^ 0x7465646279746573;
    }
}

static void add_stride(struct digest *digest, const uint8_t *octets)
{
    uint64_t words[LANES];

    memcpy(words, octets, sizeof(words));
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t *v = digest->lanes[lane];

        v[3] ^= words[lane];
        sip_round(v);
        v[0] ^= words[lane];
    }
}

/* The last stride is filled up with zeros: whoever asks adds the lengths. */
static void add(struct digest *digest, const uint8_t *octets, uint32_t length)
{
    uint8_t last[STRIDE] = {0};

    for (; length >= STRIDE; octets += STRIDE, length -= STRIDE)
        add_stride(digest, octets);
    if (length > 0) {
        memcpy(last, octets, length);
        add_stride(digest, last);
    }
}

static uint64_t end(struct digest *digest, const struct flow_seed *seed,
                    uint64_t lengths)
{
    uint64_t words[LANES + 1];

    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t *v = digest->lanes[lane];

        v[2] ^= 0xFF;
        sip_round(v);
        sip_round(v);
        sip_round(v);
        words[lane] = v[0] ^ v[1] ^ v[2] ^ v[3];
    }
    words[LANES] = lengths;
    return flow_siphash(seed, words, LANES + 1);
}

/* The packet of IP in one of a link type, padding cut off; nothing where there is none,
 * and then *other is what lies behind its addresses and tags. */
static struct octets ip_in(uint32_t linktype, struct octets packet, struct octets *other)
{
    struct within here = within_link(linktype, packet);
    struct frame frame;
    struct ip ip;

    *other = packet;
    for (unsigned steps = 0; here.kind == WITHIN_ETHERNET && steps < DEPTH_MAX; steps++) {
        packet = here.in;
        linktype = LINKTYPE_ETHERNET;
        here = within_ethernet(packet);
    }
    if (here.kind == WITHIN_IP && read_ip(here.in, &ip)) {
        if (ip.length != 0 && ip.length < here.in.length)
            here.in.length = ip.length;
        return here.in;
    }
    if (frame_of(linktype, &frame) && packet.length >= frame.header) {
        uint32_t type = big16(packet.at + frame.type_at);

        *other = after(packet, frame.header);
        /* With the type, which lies before what follows; of SLL2 it does not. */
        if (past_tags(&type, other) > 0 || frame.type_at + 2 == frame.header)
            *other = (struct octets){other->at - 2, other->length + 2};
    }
    return (struct octets){packet.at, 0};
}

/* So many octets of a header, without what each router changes. */
static uint32_t steady_head(struct octets in, uint8_t head[HEAD_MAX])
{
    uint32_t length = in.at[0] >> 4 == 6 ? IP6_HEADER : (in.at[0] & 0xFU) * 4;

    if (length > in.length)
        length = in.length;
    memcpy(head, in.at, length);
    if (in.at[0] >> 4 == 6)
        head[7] = 0;
    else
        head[8] = head[10] = head[11] = 0;
    return length;
}

uint64_t digest_packet(const struct flow_seed *seed, uint32_t linktype,
                       const uint8_t *packet, uint32_t caplen)
{
    struct octets other, in = ip_in(linktype, (struct octets){packet, caplen}, &other);
    uint8_t head[HEAD_MAX];
    struct digest digest;
    uint32_t length;

    begin(&digest, seed);
    if (in.length == 0) {
        add(&digest, other.at, other.length);
        return end(&digest, seed, other.length);
    }
    length = steady_head(in, head);
    add(&digest, head, length);
    in = after(in, length);
    add(&digest, in.at, in.length);
    return end(&digest, seed, (uint64_t)length << 32 | in.length);
}
