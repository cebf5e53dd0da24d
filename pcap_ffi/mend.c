/* Makes packets what they would have been on the wire: finishes checksums and lengths
 * that offload left to the network card, and splits what segmentation offload was to
 * split. No system call.
 *
 * Theory of operation. Of a packet whose checksum the card is to finish the kernel has
 * put the sum of the pseudo-header into the checksum's place (CHECKSUM_PARTIAL in
 * skbuff.h; __tcp_v4_send_check(), udp4_hwcsum(), tcp4_gro_complete()). That number is
 * recognised exactly; whatever else does not fit is corrupt, and stays so. By it a
 * datagram of UDP's segmentation offload is told from a long one that would have become
 * fragments: those have whole checksums.
 *
 * mend_plan() looks only, so that a batch with nothing to do is not copied, and
 * mend_apply() copies. Both take only records that records_count() has passed. */
#include "mend.h"

#include <string.h>

#include "pcap_ffi.h"
#include "tlv.h"

#define IP_LENGTH_MAX 65535
#define IPV4_CHECKSUM 10
#define JUMBO_HEADER 8

/* What is left for payload below the headers: with less, a few packets would become a
 * great many. */
#define SEGMENT_MIN 256

/* Octets behind NFLOG's payload. */
#define TAIL_MAX 256

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_CWR 0x80

enum todo { KEEP, FIX, SPLIT };

/* What is to be done with one packet. */
struct work {
    enum todo todo;
    int is_header_zero; /* the IPv4 header's checksum */
    int is_unfinished;  /* the transport's checksum */
    uint32_t length;    /* FIX: to be put where there is none; else 0 */
    uint32_t size;      /* SPLIT: octets of payload in a segment */
    uint32_t segments;
};

static uint16_t load(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static void store(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t checksum_at(const struct packet *packet)
{
    return packet->transport + (packet->protocol == PACKET_UDP ? 6 : 16);
}

/* Octets of transport in so long an IP packet. */
static uint32_t transport_length(const struct packet *packet, uint32_t length)
{
    return length - (packet->transport - packet->network);
}

/* Octets of the IP packet that were captured; a frame may have padding behind it. */
static uint32_t captured(const struct packet *packet)
{
    uint32_t room = packet->end - packet->network;

    return room < packet->length ? room : packet->length;
}

static uint64_t transport_sum(const struct packet *packet, uint32_t length)
{
    uint32_t octets = transport_length(packet, length);

    return sum_octets(packet_pseudo_sum(packet, octets),
                      packet->octets + packet->transport, octets);
}

static int is_partial(const struct packet *packet)
{
    uint32_t octets = transport_length(packet, packet->length);

    return load(packet->octets + checksum_at(packet)) ==
           sum_fold(packet_pseudo_sum(packet, octets));
}

static int is_header_zero(const struct packet *packet)
{
    const uint8_t *ip = packet->octets + packet->outermost;
    uint32_t header = (ip[0] & 0xfu) * 4;

    return ip[0] >> 4 == 4 && header >= 20 &&
           packet->end - packet->outermost >= header &&
           get_field(ip + IPV4_CHECKSUM) == 0;
}

static void finish_header(uint8_t *ip)
{
    uint32_t header = (ip[0] & 0xfu) * 4;

    store(ip + IPV4_CHECKSUM, 0);
    store(ip + IPV4_CHECKSUM, (uint16_t)~sum_fold(sum_octets(0, ip, header)));
}

/* Over so long an IP packet, all of which is there. Where the checksum is right by
 * chance, although it is the sum of the pseudo-header, it stays. */
static void finish_transport(const struct packet *packet, uint32_t length,
                             uint8_t *field)
{
    uint64_t sum = sum_fold(transport_sum(packet, length));
    uint16_t checksum;

    if (sum == 0xffff)
        return;
    /* Without what stands in its place. */
    checksum = (uint16_t)~sum_fold(sum + (uint16_t)~load(field));
    /* RFC 768: 0 says that there is none. */
    store(field, checksum == 0 && packet->protocol == PACKET_UDP ? 0xffff : checksum);
}

/* The length to be put where there is none: the real one or, where that has no room
 * either or is not all there, of what is there. 0: that has no room. */
static uint32_t length_for(const struct packet *packet)
{
    uint32_t removed = packet->has_length == LENGTH_JUMBO ? JUMBO_HEADER : 0;
    uint32_t length = captured(packet) - removed;

    return length - (packet->version == 6 ? IPV6_HEADER : 0) <= IP_LENGTH_MAX ? length
                                                                              : 0;
}

static struct work judge_fix(struct mend *mend, const struct packet *packet)
{
    struct work work = {.todo = KEEP};

    work.is_header_zero = is_header_zero(packet);
    if (packet->network == PACKET_NONE) {
        /* Nothing that has a checksum that is known here. */
    } else if (packet->has_length != LENGTH_SAID) {
        work.length = length_for(packet);
        work.is_unfinished = work.length != 0;
        mend->unfixed += work.length == 0;
    } else if (is_partial(packet)) {
        work.is_unfinished = captured(packet) == packet->length;
        mend->unfixed += !work.is_unfinished;
    }
    if (work.is_header_zero || work.is_unfinished)
        work.todo = FIX;
    return work;
}

/* Whether it is what segmentation offload is given: TCP that is whole or unfinished, or
 * UDP that is unfinished. */
static int is_super(const struct packet *packet)
{
    const uint8_t *transport = packet->octets + packet->transport;

    if (packet->network != packet->outermost || packet->payload == 0)
        return 0;
    if (packet->protocol == PACKET_UDP)
        return is_partial(packet);
    if (transport[13] & (TCP_SYN | TCP_RST))
        return 0;
    if (packet->has_length != LENGTH_SAID || is_partial(packet))
        return 1;
    return captured(packet) == packet->length &&
           sum_fold(transport_sum(packet, packet->length)) == 0xffff;
}

static struct work judge_split(const struct mend *mend, const struct packet *packet,
                               uint32_t caplen)
{
    struct work work = {.todo = KEEP};
    uint32_t removed = packet->has_length == LENGTH_JUMBO ? JUMBO_HEADER : 0;
    uint32_t headers = packet->payload - packet->network;
    uint32_t payload = packet->length - headers, there;

    if (!is_super(packet) || headers - removed + SEGMENT_MIN > mend->mtu)
        return work;
    /* Each segment gets it: a sender could make very much of it. */
    if (packet->tag != 0 && caplen - packet->end > TAIL_MAX)
        return work;
    work.size = mend->mtu - (headers - removed);
    there = captured(packet) - headers;
    if (payload <= work.size || there < work.size)
        return work;
    /* Of what was cut off no segments are made: what is left of it stays together. */
    work.segments = there == payload ? (payload - 1) / work.size + 1
                                     : there / work.size + 1;
    work.todo = SPLIT;
    return work;
}

static struct work judge(struct mend *mend, const uint8_t *record,
                         struct packet *packet)
{
    struct work work = {.todo = KEEP};
    int is_parsed = packet_parse(packet, record + RECORD_HEADER, get32(record + 8),
                                 get32(record + 12), mend->linktype);

    if (packet->outermost == PACKET_NONE)
        return work;
    if (!is_parsed) {
        packet->network = PACKET_NONE;
        packet->has_length = LENGTH_SAID;
    }
    if (is_parsed && mend->what & MEND_SEGMENT && packet->length > mend->mtu) {
        work = judge_split(mend, packet, get32(record + 8));
        if (work.todo == SPLIT)
            return work;
        mend->unsegmented++;
    }
    if (mend->what & MEND_FIX)
        work = judge_fix(mend, packet);
    return work;
}

/* The headers of a packet without its jumbo payload option, if it has one; the copy's
 * places are in *copy. Returns how many octets they are. */
static uint32_t copy_headers(const struct packet *packet, uint32_t octets, uint8_t *out,
                             struct packet *copy)
{
    uint32_t at = packet->outermost + IPV6_HEADER;

    *copy = *packet;
    copy->octets = out;
    if (packet->has_length != LENGTH_JUMBO) {
        memcpy(out, packet->octets, octets);
        return octets;
    }
    memcpy(out, packet->octets, at);
    memcpy(out + at, packet->octets + at + JUMBO_HEADER, octets - at - JUMBO_HEADER);
    out[packet->outermost + 6] = packet->octets[at];
    if (copy->destination > at)
        copy->destination -= JUMBO_HEADER;
    copy->transport -= JUMBO_HEADER;
    copy->payload -= packet->payload ? JUMBO_HEADER : 0;
    copy->end -= JUMBO_HEADER;
    copy->length -= JUMBO_HEADER;
    return octets - JUMBO_HEADER;
}

static void put_length(uint8_t *ip, uint32_t length)
{
    uint32_t said = length - (ip[0] >> 4 == 6 ? IPV6_HEADER : 0);

    put_field(ip + (ip[0] >> 4 == 6 ? 4 : 2), said <= IP_LENGTH_MAX ? said : 0);
}

static void put_tag(const struct packet *packet, uint8_t *octets, uint32_t end)
{
    if (packet->tag != 0) {
        uint32_t length = end - packet->tag;

        octets[packet->tag] = (uint8_t)length;
        octets[packet->tag + 1] = (uint8_t)(length >> 8);
    }
}

static uint8_t *fix(const uint8_t *record, const struct packet *packet,
                    const struct work *work, uint8_t *out)
{
    uint8_t *octets = out + RECORD_HEADER;
    uint32_t caplen = get32(record + 8), origlen = get32(record + 12), removed;
    struct packet copy;

    memcpy(out, record, RECORD_HEADER);
    removed = caplen - copy_headers(packet, caplen, octets, &copy);
    /* Only the option tells how long a packet was that was cut. */
    if (packet->has_length == LENGTH_JUMBO && packet->length > captured(packet))
        origlen = caplen + (packet->length - captured(packet));
    put32(out + 8, caplen - removed);
    put32(out + 12, origlen - removed);
    if (work->length != 0) {
        put_tag(packet, octets, copy.end);
        put_length(octets + copy.network, work->length);
    }
    if (work->is_header_zero || (work->length != 0 && copy.version == 4))
        finish_header(octets + copy.outermost);
    if (work->is_unfinished)
        finish_transport(&copy, work->length ? work->length : copy.length,
                         octets + checksum_at(&copy));
    return octets + caplen - removed;
}

/* The headers of the segment that begins so far into the payload. */
static void put_headers(const struct packet *copy, uint8_t *octets, uint32_t segment,
                        uint32_t begin, uint32_t length, int is_last)
{
    uint8_t *ip = octets + copy->network, *transport = octets + copy->transport;

    put_length(ip, length);
    if (copy->version == 4) {
        put_field(ip + 4, get_field(ip + 4) + segment);
        finish_header(ip);
    }
    if (copy->protocol == PACKET_UDP) {
        put_field(transport + 4, transport_length(copy, length));
        return;
    }
    put_long_field(transport + 4, get_long_field(transport + 4) + begin);
    if (!is_last)
        transport[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
    if (segment > 0)
        transport[13] &= (uint8_t)~TCP_CWR;
}

/* What follows the payload's attribute: padding, and perhaps others, which the kernel
 * does not write; each segment gets them, so there are few of them. */
static uint8_t *copy_tail(const struct packet *packet, uint32_t caplen, uint8_t *octets,
                          uint8_t *end)
{
    uint32_t at = TLV_ALIGN(packet->end);

    if (packet->tag == 0)
        return end;
    while ((end - octets) % 4 != 0)
        *end++ = 0;
    if (at < caplen) {
        memcpy(end, packet->octets + at, caplen - at);
        end += caplen - at;
    }
    return end;
}

static uint8_t *split(const uint8_t *record, const struct packet *packet,
                      const struct work *work, uint8_t *out)
{
    uint32_t headers = packet->payload - packet->network;
    uint32_t payload = packet->length - headers, there = captured(packet) - headers;

    for (uint32_t segment = 0; segment < work->segments; segment++) {
        uint8_t *octets = out + RECORD_HEADER, *end;
        uint32_t begin = segment * work->size, own, own_there, length, caplen;
        int is_last = segment + 1 == work->segments;
        struct packet copy;

        own = is_last ? payload - begin : work->size;
        own_there = own < there - begin ? own : there - begin;
        copy_headers(packet, packet->payload, octets, &copy);
        memcpy(octets + copy.payload, packet->octets + packet->payload + begin,
               own_there);
        end = octets + copy.payload + own_there;
        length = copy.payload - copy.network + own;
        put_headers(&copy, octets, segment, begin, length, is_last);
        store(octets + checksum_at(&copy),
              sum_fold(packet_pseudo_sum(&copy, transport_length(&copy, length))));
        if (own_there == own)
            finish_transport(&copy, length, octets + checksum_at(&copy));
        put_tag(packet, octets, (uint32_t)(end - octets));
        end = copy_tail(packet, get32(record + 8), octets, end);
        caplen = (uint32_t)(end - octets);
        memcpy(out, record, 8);
        put32(out + 8, caplen);
        put32(out + 12, caplen + (own - own_there));
        out = end;
    }
    return out;
}

/* The most octets that split() writes. */
static size_t split_room(const struct packet *packet, const struct work *work,
                         uint32_t caplen)
{
    size_t each = RECORD_HEADER + packet->payload;

    if (packet->tag != 0)
        each += 3 + (caplen - packet->end);
    return work->segments * each + captured(packet);
}

/* Looks whether there is anything to do, and how much room that takes. */
void mend_plan(struct mend *mend, const uint8_t *records, size_t length)
{
    size_t at = 0, room = 0;
    int is_needed = 0;

    mend->splits = mend->fixed = mend->unfixed = 0;
    mend->segments = mend->unsegmented = 0;
    while (at < length) {
        uint32_t caplen = get32(records + at + 8);
        struct packet packet;
        struct work work = judge(mend, records + at, &packet);

        is_needed |= work.todo != KEEP;
        /* Then nothing needs more room than it has. */
        if (is_needed && !(mend->what & MEND_SEGMENT)) {
            room = length;
            break;
        }
        if (work.todo == SPLIT) {
            room += split_room(&packet, &work, caplen);
            mend->splits++;
        } else {
            room += RECORD_HEADER + caplen;
        }
        at += RECORD_HEADER + caplen;
    }
    mend->room = is_needed ? room : 0;
}

/* After mend_plan() of the same records: writes what becomes of them to out, which has
 * room for what was planned, as has splits. Returns the octets written. */
size_t mend_apply(struct mend *mend, const uint8_t *records, size_t length,
                  uint8_t *out, struct mend_split *splits)
{
    uint8_t *begin = out;
    uint32_t written = 0;
    size_t at = 0;

    mend->fixed = mend->unfixed = mend->segments = mend->unsegmented = 0;
    while (at < length) {
        const uint8_t *record = records + at;
        uint32_t caplen = get32(record + 8), made = 1;
        struct packet packet;
        struct work work = judge(mend, record, &packet);

        if (work.todo == SPLIT) {
            out = split(record, &packet, &work, out);
            made = work.segments;
            *splits++ = (struct mend_split){written, made};
            mend->segments += made;
        } else if (work.todo == FIX) {
            out = fix(record, &packet, &work, out);
            mend->fixed++;
        } else {
            memcpy(out, record, RECORD_HEADER + (size_t)caplen);
            out += RECORD_HEADER + caplen;
        }
        written += made;
        at += RECORD_HEADER + (size_t)caplen;
    }
    return (size_t)(out - begin);
}
