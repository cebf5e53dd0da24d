/* Makes pcapng blocks of packet records, and finds its way in them. No system call.
 *
 * Specification: draft-ietf-opsawg-pcapng; LINKTYPE_NFLOG for what a packet's options
 * are made of.
 *
 * Records are such as records_count() has passed; what is in their packets may be
 * anything. Blocks are such as were made here and in formats/pcapng.py: little-endian. */
#include "pcap_ffi.h"
#include "tlv.h"

#include <string.h>

#define BLOCK_SECTION 0x0A0D0D0A
#define BLOCK_INTERFACE 1
#define BLOCK_PACKET 6

#define BLOCK_MIN 12     /* type, and its length before and after */
#define PACKET_HEADER 28 /* up to the packet */
#define OPTION_HEADER 4
#define OPTION_END 0
#define OPTION_COMMENT 1
#define OPTION_FLAGS 2
#define OPTION_DROPCOUNT 4

/* Beyond its record, at most: a longer header, padding, its length after it. */
#define PACKET_OVERHEAD (PACKET_HEADER - RECORD_HEADER + 3 + 4)
#define DROPCOUNT_OVERHEAD (OPTION_HEADER + 8 + OPTION_HEADER)

#define INBOUND 1
#define OUTBOUND 2

enum { TLV_MARK = 2, TLV_INDEV = 4, TLV_OUTDEV = 5, TLV_PREFIX = 10 };

/* Of NFLOG's prefix so much is kept: what the kernel allows (NF_LOG_PREFIXLEN). */
#define PREFIX_MAX 128
#define COMMENT_MAX (PREFIX_MAX + 32)

/* What becomes of one record. */
struct shape {
    const uint8_t *packet;
    uint32_t caplen, origlen;
    uint32_t link; /* octets of the header before it */
    uint32_t flags;
    uint32_t commented;
    uint8_t header[LINK_MAX];
    uint8_t comment[COMMENT_MAX];
};

static uint32_t padded(uint32_t length)
{
    return (length + 3) & ~3U;
}

/* Octets of the UTF-8 character that begins here; 0 where none does that is whole. */
static size_t character(const uint8_t *text, size_t left)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code;
    size_t length;

    if (text[0] < 0x80)
        return 1;
    length = text[0] >= 0xF0 ? 4 : text[0] >= 0xE0 ? 3 : 2;
    if (text[0] < 0xC0 || text[0] > 0xF4 || length > left)
        return 0;
    code = text[0] & (0x7FU >> length);
    for (size_t at = 1; at < length; at++) {
        if ((text[at] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text[at] & 0x3F);
    }
    if (code < lowest[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return 0;
    return length;
}

static uint32_t put_text(uint8_t *out, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);

    memcpy(out, text, length);
    return length;
}

/* A rule's text: what is no UTF-8, or would move a terminal's cursor, becomes "?". */
static uint32_t put_prefix(uint8_t *out, const struct tlv *prefix)
{
    size_t length = strnlen((const char *)prefix->value, prefix->length);
    uint32_t used = 0;

    while (length > 0 && prefix->value[length - 1] == ' ')
        length--;
    if (length > PREFIX_MAX)
        length = PREFIX_MAX;
    for (size_t at = 0; at < length;) {
        size_t step = character(prefix->value + at, length - at);
        int is_control = prefix->value[at] < 0x20 || prefix->value[at] == 0x7F ||
                         (prefix->value[at] == 0xC2 && step == 2 &&
                          prefix->value[at + 1] < 0xA0);

        if (step == 0 || is_control) {
            out[used++] = '?';
            at += step > 0 ? step : 1;
        } else {
            memcpy(out + used, prefix->value + at, step);
            used += (uint32_t)step;
            at += step;
        }
    }
    return used;
}

static void comment(struct shape *shape, const struct tlv *mark,
                    const struct tlv *prefix)
{
    static const char digits[] = "0123456789abcdef";

    if (mark->length == 4) {
        uint32_t value = get16be(mark->value) << 16 | get16be(mark->value + 2);
        int shift = 28;

        shape->commented += put_text(shape->comment, "mark=0x");
        while (shift > 0 && value >> shift == 0)
            shift -= 4;
        for (; shift >= 0; shift -= 4)
            shape->comment[shape->commented++] = (uint8_t)digits[value >> shift & 15];
    }
    /* The last, since it may have anything in it. */
    if (prefix->length > 0 && prefix->value[0] != '\0') {
        if (shape->commented > 0)
            shape->comment[shape->commented++] = ' ';
        shape->commented += put_text(shape->comment + shape->commented, "prefix=");
        shape->commented += put_prefix(shape->comment + shape->commented, prefix);
    }
}

/* Takes out of a packet of LINKTYPE_NFLOG what pcapng has a place for; and, where
 * another link type is wanted, the packet itself. */
static void open_nflog(struct shape *shape, uint32_t wanted)
{
    const uint8_t *start = shape->packet, *payload = NULL;
    struct tlv mark = {0}, prefix = {0}, tlv;
    uint32_t ethertype = 0, caplen = 0, whole = 0;
    size_t at = NFLOG_HEADER, end = shape->caplen, before = 0;
    int has_indev = 0, has_outdev = 0;

    while (at < end && end - at >= TLV_HEADER) {
        size_t step = tlv_read(start + at, end - at, 0, &tlv);

        if (step == 0) {
            /* Cut off by --snaplen, in the payload, which is the last. */
            uint32_t length = tlv_get16(start + at, 0);

            if ((tlv_get16(start + at + 2, 0) & TLV_TYPE) != TLV_PAYLOAD ||
                length < TLV_HEADER)
                break;
            tlv.type = TLV_PAYLOAD;
            tlv.length = (uint32_t)(end - at) - TLV_HEADER;
            tlv.value = start + at + TLV_HEADER;
            whole = length - TLV_HEADER;
            step = end - at;
        }
        if (tlv.type == TLV_PACKET_HDR && tlv.length >= 2)
            ethertype = get16be(tlv.value);
        else if (tlv.type == TLV_MARK)
            mark = tlv;
        else if (tlv.type == TLV_INDEV)
            has_indev = 1;
        else if (tlv.type == TLV_OUTDEV)
            has_outdev = 1;
        else if (tlv.type == TLV_PREFIX)
            prefix = tlv;
        else if (tlv.type == TLV_PAYLOAD) {
            payload = tlv.value;
            caplen = tlv.length;
            before = at;
        }
        at += step;
    }
    if (has_indev != has_outdev)
        shape->flags = has_indev ? INBOUND : OUTBOUND;
    comment(shape, &mark, &prefix);
    if (wanted == LINKTYPE_NFLOG)
        return;
    shape->packet = payload != NULL ? payload : start;
    shape->caplen = caplen;
    shape->origlen = may_be_ip(ethertype) ? ip_origlen(shape->packet, caplen) : caplen;
    if (shape->origlen < whole)
        shape->origlen = whole;
    if (wanted == LINKTYPE_ETHERNET && payload != NULL) {
        shape->link = ethernet_header(start + NFLOG_HEADER, before - NFLOG_HEADER, 0,
                                      start[0], payload, caplen, shape->header);
        if (shape->link == 0) {
            /* Nothing says what it is. */
            memset(shape->header, 0, ETHERNET_HEADER);
            shape->link = ETHERNET_HEADER;
        }
        shape->origlen += shape->link;
    }
}

static inline void make_shape(struct shape *shape, const uint8_t *record,
                              uint32_t linktype, uint32_t wanted)
{
    shape->packet = record + RECORD_HEADER;
    shape->caplen = get32(record + 8);
    shape->origlen = get32(record + 12);
    shape->link = shape->flags = shape->commented = 0;
    if (linktype == LINKTYPE_NFLOG)
        open_nflog(shape, wanted);
}

static uint8_t *put_option(uint8_t *out, uint32_t code, uint32_t length)
{
    put32(out, length << 16 | code);
    return out + OPTION_HEADER;
}

static uint8_t *put_padding(uint8_t *out, uint32_t length)
{
    while (length++ & 3)
        *out++ = 0;
    return out;
}

static uint8_t *put_options(uint8_t *out, const struct shape *shape, uint64_t lost)
{
    if (shape->flags == 0 && lost == 0 && shape->commented == 0)
        return out;
    if (shape->flags != 0) {
        out = put_option(out, OPTION_FLAGS, 4);
        put32(out, shape->flags);
        out += 4;
    }
    if (lost != 0) {
        out = put_option(out, OPTION_DROPCOUNT, 8);
        put32(out, (uint32_t)lost);
        put32(out + 4, (uint32_t)(lost >> 32));
        out += 8;
    }
    if (shape->commented != 0) {
        out = put_option(out, OPTION_COMMENT, shape->commented);
        memcpy(out, shape->comment, shape->commented);
        out = put_padding(out + shape->commented, shape->commented);
    }
    return put_option(out, OPTION_END, 0);
}

static inline uint8_t *put_packet(uint8_t *start, const struct shape *shape,
                                  uint64_t time, uint32_t interface, uint64_t lost)
{
    uint32_t caplen = shape->link + shape->caplen, total;
    uint8_t *out = start + PACKET_HEADER;

    put32(start, BLOCK_PACKET);
    put32(start + 8, interface);
    put32(start + 12, (uint32_t)(time >> 32));
    put32(start + 16, (uint32_t)time);
    put32(start + 20, caplen);
    put32(start + 24, shape->origlen);
    memcpy(out, shape->header, shape->link);
    memcpy(out + shape->link, shape->packet, shape->caplen);
    out = put_padding(out + caplen, caplen);
    out = put_options(out, shape, lost);
    total = (uint32_t)(out - start) + 4;
    put32(start + 4, total);
    put32(out, total);
    return out + 4;
}

/* How many octets pcapng_encode() may write, at most, of so many records and parts. */
size_t pcapng_room(const uint8_t *records, size_t length, uint32_t count,
                   uint32_t parts, uint32_t linktype, uint32_t wanted)
{
    size_t room = length + (size_t)count * PACKET_OVERHEAD +
                  (size_t)parts * DROPCOUNT_OVERHEAD;
    struct shape shape;

    if (linktype != LINKTYPE_NFLOG)
        return room;
    for (size_t at = 0; at < length;) {
        make_shape(&shape, records + at, linktype, wanted);
        room += shape.link + OPTION_HEADER;
        room += shape.flags != 0 ? OPTION_HEADER + 4 : 0;
        room += shape.commented != 0 ? OPTION_HEADER + padded(shape.commented) : 0;
        at += RECORD_HEADER + get32(records + at + 8);
    }
    return room;
}

/* Makes an enhanced packet block of each record. Returns the octets written.
 *
 * per_second: units of the times in the records. wanted: the link type of the blocks;
 * another one than linktype only where that is LINKTYPE_NFLOG. order: a part's index and
 * how many packets of it come, by turns, order_length numbers; what comes beyond is of
 * the last part. parts: at least one; what each has lost is told with its first packet,
 * and 0 afterwards. */
size_t pcapng_encode(const uint8_t *records, size_t length, uint32_t per_second,
                     uint32_t linktype, uint32_t wanted, const uint32_t *order,
                     size_t order_length, struct pcapng_part *parts,
                     uint32_t parts_count, uint8_t *out)
{
    struct pcapng_part *part = &parts[parts_count - 1];
    const uint8_t *start = out;
    uint32_t left = 0;
    size_t next = 0;
    struct shape shape;

    for (size_t at = 0; at < length;) {
        const uint8_t *record = records + at;
        uint64_t time = (uint64_t)get32(record) * per_second + get32(record + 4);

        while (left == 0) {
            if (order_length - next < 2) {
                part = &parts[parts_count - 1];
                left = UINT32_MAX;
            } else {
                part = &parts[order[next] < parts_count ? order[next] : parts_count - 1];
                left = order[next + 1];
                next += 2;
            }
        }
        left--;
        make_shape(&shape, record, linktype, wanted);
        out = put_packet(out, &shape, time, part->interface, part->lost);
        part->lost = 0;
        at += RECORD_HEADER + get32(record + 8);
    }
    return (size_t)(out - start);
}

/* What a block takes; 0 where none that is whole begins here. */
static size_t block_length(const uint8_t *block, size_t left)
{
    size_t total = left >= BLOCK_MIN ? get32(block + 4) : 0;

    return total < BLOCK_MIN || total > left ? 0 : total;
}

/* Where the last block ends that ends within limit. */
size_t pcapng_whole(const uint8_t *blocks, size_t length, size_t limit)
{
    size_t at = 0, step;

    while ((step = block_length(blocks + at, length - at)) != 0 && step <= limit - at)
        at += step;
    return at;
}

/* Packets in these blocks. */
uint64_t pcapng_packets(const uint8_t *blocks, size_t length)
{
    uint64_t packets = 0;
    size_t step;

    for (size_t at = 0; (step = block_length(blocks + at, length - at)); at += step)
        packets += get32(blocks + at) == BLOCK_PACKET;
    return packets;
}

/* Where the first block begins, from at on, that does not only say what a section or an
 * interface is. */
size_t pcapng_undeclared(const uint8_t *blocks, size_t length, size_t at)
{
    size_t step;

    while ((step = block_length(blocks + at, length - at)) != 0) {
        uint32_t type = get32(blocks + at);

        if (type != BLOCK_SECTION && type != BLOCK_INTERFACE)
            break;
        at += step;
    }
    return at;
}
