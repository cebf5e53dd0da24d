/* Reads capture files from octets that come a piece at a time: pcap in either byte
 * order, in microseconds or nanoseconds, and pcapng with any number of sections and
 * interfaces, of any resolution and link type.
 *
 * Specification: pcap-savefile(5); draft-ietf-opsawg-pcapng.
 *
 * Theory of operation. Only what is whole is taken: a header, a record, a block; the
 * caller keeps the rest and gives it again with what comes next. A block that holds no
 * packet is passed over without being at hand as a whole. Whatever a file says of
 * lengths is believed only within bounds, and where it makes no sense the place in the
 * file is known. */
#include "capture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANOSECONDS 1000000000LL

#define LINKTYPE_RAW 101
#define DLT_RAW_LINUX 12
#define DLT_RAW_OPENBSD 14

#define PCAP_HEADER 24
#define MAGIC_MICRO 0xA1B2C3D4
#define MAGIC_NANO 0xA1B23C4D
#define MAGIC_MODIFIED 0xA1B2CD34 /* with 8 octets more before each packet */

#define BLOCK_HEADER 8
#define BLOCK_MIN 12
#define SECTION 0x0A0D0D0A
#define SECTION_MIN 28
#define BYTE_ORDER_MAGIC 0x1A2B3C4D
#define INTERFACE 1
#define OBSOLETE_PACKET 2
#define SIMPLE_PACKET 3
#define ENHANCED_PACKET 6
#define INTERFACE_MIN 20
/* Of one with as many options as anybody writes. */
#define INTERFACE_MAX 65536

#define OPTION_END 0
#define OPTION_RESOLUTION 9
#define OPTION_OFFSET 14

static uint32_t read16(const struct capture *capture, const uint8_t *in)
{
    return capture->is_big ? (uint32_t)in[0] << 8 | in[1] : (uint32_t)in[1] << 8 | in[0];
}

static uint32_t read32(const struct capture *capture, const uint8_t *in)
{
    uint32_t value = get32(in);

    return capture->is_big ? __builtin_bswap32(value) : value;
}

static uint64_t read64(const struct capture *capture, const uint8_t *in)
{
    uint64_t first = read32(capture, in), second = read32(capture, in + 4);

    return capture->is_big ? first << 32 | second : second << 32 | first;
}

static int broken(struct capture *capture, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(capture->reason, sizeof(capture->reason), format, arguments);
    va_end(arguments);
    return CAPTURE_BROKEN;
}

struct capture *capture_new(void)
{
    return calloc(1, sizeof(struct capture));
}

void capture_free(struct capture *capture)
{
    if (capture != NULL)
        free(capture->interfaces);
    free(capture);
}

/* One call of capture_read: what is at hand, and where its records go. */
struct reading {
    struct capture *capture;
    const uint8_t *in;
    size_t length, taken;
    uint8_t *out; /* NULL: nobody wants them */
    size_t capacity, used;
    uint32_t count;
    int has_some; /* of the link type that was given last */
};

struct packet {
    const uint8_t *at;
    uint32_t caplen, origlen, linktype;
    int64_t time_ns;
    int has_time;
};

static void widen(struct capture_rates *rates)
{
    for (unsigned at = 0; at < CAPTURE_SPANS; at++) {
        unsigned from = 2 * at;
        int is_there = from < CAPTURE_SPANS;

        rates->packets[at] = is_there ? rates->packets[from] + rates->packets[from + 1] : 0;
        rates->octets[at] = is_there ? rates->octets[from] + rates->octets[from + 1] : 0;
    }
    rates->span_ns *= 2;
    rates->used = (rates->used + 1) / 2;
}

/* Finds the span of a time that is in another one than the last. */
static void turn_to(struct capture_rates *rates, int64_t time_ns)
{
    int64_t since_ns = time_ns - rates->start_ns;

    if (rates->span_ns == 0) {
        rates->start_ns = time_ns;
        rates->span_ns = NANOSECONDS;
        since_ns = 0;
    }
    if (since_ns < 0)
        since_ns = 0; /* before the first one */
    while (since_ns / rates->span_ns >= CAPTURE_SPANS)
        widen(rates);
    rates->now = (uint32_t)(since_ns / rates->span_ns);
    rates->now_ns = rates->start_ns + rates->now * rates->span_ns;
    if (rates->now >= rates->used)
        rates->used = rates->now + 1;
}

static void note_rate(struct capture_rates *rates, const struct packet *packet)
{
    /* Unsigned, so that what is before it is beyond it, too. */
    if ((uint64_t)packet->time_ns - (uint64_t)rates->now_ns >= (uint64_t)rates->span_ns)
        turn_to(rates, packet->time_ns);
    rates->packets[rates->now]++;
    rates->octets[rates->now] += packet->origlen;
}

static void sum_up(struct capture *capture, const struct packet *packet)
{
    struct capture_sums *sums = &capture->sums;

    if (sums->packets == 0 || packet->time_ns < sums->first_ns)
        sums->first_ns = packet->time_ns;
    if (sums->packets == 0 || packet->time_ns > sums->last_ns)
        sums->last_ns = packet->time_ns;
    sums->backwards += sums->packets > 0 && packet->time_ns < capture->before_ns;
    sums->packets++;
    sums->octets += packet->caplen;
    sums->octets_on_wire += packet->origlen;
    sums->truncated += packet->caplen < packet->origlen;
    sums->without_time += !packet->has_time;
    if (packet->caplen > capture->largest)
        capture->largest = packet->caplen;
    if (capture->rates != NULL)
        note_rate(capture->rates, packet);
    capture->before_ns = packet->time_ns;
}

static void skip(struct reading *reading, size_t octets)
{
    reading->taken += octets;
    reading->capture->at += octets;
}

/* Before anything is copied: of most packets that a filter does not take only the headers
 * are ever looked at. */
static int is_unwanted(const struct capture *capture, const struct packet *packet)
{
    return capture->filter != NULL && packet->linktype == capture->filter_linktype &&
           !filter_takes(capture->filter, packet->linktype, packet->at, packet->caplen,
                         packet->origlen);
}

/* octets: of the record or block that brings the packet; they are taken with it. */
static int give(struct reading *reading, struct packet *packet, size_t octets)
{
    struct capture *capture = reading->capture;

    if (packet->caplen > CAPLEN_MAX)
        return broken(capture, "a packet of %u octets, more than %u", packet->caplen,
                      CAPLEN_MAX);
    if (packet->origlen < packet->caplen)
        packet->origlen = packet->caplen;
    if (!packet->has_time)
        packet->time_ns = capture->before_ns;
    if (packet->time_ns < 0 || packet->time_ns / NANOSECONDS > UINT32_MAX)
        return broken(capture, "a time that packet records cannot hold");
    if (is_unwanted(capture, packet)) {
        if (!reading->has_some)
            capture->linktype = packet->linktype;
        capture->passed_over++;
        sum_up(capture, packet);
        skip(reading, octets);
        return CAPTURE_WANTS;
    }
    if (reading->has_some && packet->linktype != capture->linktype)
        return CAPTURE_TURNS;
    if (reading->out != NULL) {
        uint8_t *record = reading->out + reading->used;

        if (reading->capacity - reading->used < RECORD_HEADER + (size_t)packet->caplen)
            return CAPTURE_FULL;
        put32(record, (uint32_t)(packet->time_ns / NANOSECONDS));
        put32(record + 4, (uint32_t)(packet->time_ns % NANOSECONDS));
        put32(record + 8, packet->caplen);
        put32(record + 12, packet->origlen);
        memcpy(record + RECORD_HEADER, packet->at, packet->caplen);
        reading->used += RECORD_HEADER + (size_t)packet->caplen;
    }
    capture->linktype = packet->linktype;
    sum_up(capture, packet);
    reading->count++;
    reading->has_some = 1;
    skip(reading, octets);
    return CAPTURE_WANTS;
}

/* Some programs write what DLT_RAW is on their system. */
static uint32_t known(uint32_t linktype)
{
    return linktype == DLT_RAW_LINUX || linktype == DLT_RAW_OPENBSD ? LINKTYPE_RAW
                                                                    : linktype;
}

/* pcap. */

static int begin_pcap(struct reading *reading, const uint8_t *in)
{
    struct capture *capture = reading->capture;
    uint32_t major = read16(capture, in + 4), minor = read16(capture, in + 6);
    uint32_t linktype = read32(capture, in + 20);

    if (major != 2)
        return broken(capture, "pcap of version %u.%u, not 2", major, minor);
    capture->kind = CAPTURE_PCAP;
    capture->interfaces_count = capture->sums.interfaces = 1;
    capture->interfaces = calloc(1, sizeof(*capture->interfaces));
    if (capture->interfaces == NULL)
        return CAPTURE_NO_MEMORY;
    /* The upper bits tell of frame check sequences. */
    capture->linktype = known(linktype & 0xFFFF);
    capture->interfaces[0].linktype = capture->linktype;
    capture->interfaces[0].snaplen = read32(capture, in + 16);
    capture->sums.snaplen = capture->interfaces[0].snaplen;
    skip(reading, PCAP_HEADER);
    return CAPTURE_WANTS;
}

static int read_record(struct reading *reading, const uint8_t *in, size_t length)
{
    struct capture *capture = reading->capture;
    struct packet packet = {.has_time = 1};
    uint32_t fraction;

    if (length < capture->record_header)
        return CAPTURE_WANTS;
    fraction = read32(capture, in + 4);
    packet.caplen = read32(capture, in + 8);
    packet.origlen = read32(capture, in + 12);
    if (packet.caplen > CAPLEN_MAX)
        return broken(capture, "a packet of %u octets, more than %u", packet.caplen,
                      CAPLEN_MAX);
    if (length < capture->record_header + (size_t)packet.caplen)
        return CAPTURE_WANTS;
    packet.at = in + capture->record_header;
    packet.linktype = capture->interfaces[0].linktype;
    packet.time_ns = read32(capture, in) * NANOSECONDS +
                     (int64_t)fraction * (capture->is_nano ? 1 : 1000);
    return give(reading, &packet, capture->record_header + (size_t)packet.caplen);
}

/* pcapng. */

static int begin_section(struct reading *reading, const uint8_t *in, size_t length)
{
    struct capture *capture = reading->capture;
    uint32_t octets;

    if (length < SECTION_MIN)
        return CAPTURE_WANTS;
    capture->is_big = 0;
    if (read32(capture, in + 8) != BYTE_ORDER_MAGIC) {
        capture->is_big = 1;
        if (read32(capture, in + 8) != BYTE_ORDER_MAGIC)
            return broken(capture, "a section without a byte order");
    }
    octets = read32(capture, in + 4);
    if (octets < SECTION_MIN || octets % 4 != 0)
        return broken(capture, "a section header of %u octets", octets);
    if (read16(capture, in + 12) != 1)
        return broken(capture, "pcapng of version %u.%u, not 1", read16(capture, in + 12),
                      read16(capture, in + 14));
    capture->kind = CAPTURE_PCAPNG;
    capture->interfaces_count = 0;
    capture->to_skip = octets;
    return CAPTURE_WANTS;
}

static void read_options(const struct capture *capture, const uint8_t *in, size_t length,
                         struct capture_interface *interface)
{
    while (length >= 4) {
        uint32_t code = read16(capture, in), octets = read16(capture, in + 2);
        size_t padded = ((size_t)octets + 3) & ~(size_t)3;

        in += 4;
        length -= 4;
        if (code == OPTION_END || octets > length)
            return;
        if (code == OPTION_RESOLUTION && octets >= 1) {
            unsigned power = in[0] & 0x7F;

            interface->units = 0;
            interface->power = power;
            if (!(in[0] & 0x80)) {
                /* 10 to the power of 19 is the last that fits. */
                interface->units = 1;
                for (unsigned at = 0; at < power && at < 19; at++)
                    interface->units *= 10;
                interface->power = power;
            }
        } else if (code == OPTION_OFFSET && octets >= 8) {
            interface->offset_s = (int64_t)read64(capture, in);
        }
        if (padded > length)
            return;
        in += padded;
        length -= padded;
    }
}

static int add_interface(struct reading *reading, const uint8_t *in, uint32_t octets)
{
    struct capture *capture = reading->capture;
    struct capture_interface *interface;

    if (octets < INTERFACE_MIN)
        return broken(capture, "an interface of %u octets", octets);
    if (capture->interfaces_count == CAPTURE_INTERFACES_MAX)
        return broken(capture, "more than %u interfaces", CAPTURE_INTERFACES_MAX);
    if (capture->interfaces_count >= capture->interfaces_room) {
        uint32_t room = capture->interfaces_room ? 2 * capture->interfaces_room : 8;
        void *more =
            realloc(capture->interfaces, room * sizeof(*capture->interfaces));

        if (more == NULL)
            return CAPTURE_NO_MEMORY;
        capture->interfaces = more;
        capture->interfaces_room = room;
    }
    interface = &capture->interfaces[capture->interfaces_count++];
    *interface = (struct capture_interface){
        .linktype = known(read16(capture, in + 8)),
        .snaplen = read32(capture, in + 12),
        .units = 1000000,
        .power = 6,
    };
    read_options(capture, in + 16, octets - INTERFACE_MIN, interface);
    capture->sums.interfaces++;
    if (interface->snaplen > capture->sums.snaplen)
        capture->sums.snaplen = interface->snaplen;
    skip(reading, octets);
    return CAPTURE_WANTS;
}

/* Nanoseconds since the epoch; negative where they do not fit. */
static int64_t time_of(const struct capture_interface *interface, uint64_t units)
{
    __int128 ns;

    if (interface->units == 0)
        ns = interface->power < 64 ? (__int128)units * NANOSECONDS >> interface->power : 0;
    else if (interface->power > 19)
        ns = 0; /* less than a second since the epoch, whatever it says */
    else
        ns = (__int128)units * NANOSECONDS / interface->units;
    ns += (__int128)interface->offset_s * NANOSECONDS;
    return ns < 0 || ns > INT64_MAX ? -1 : (int64_t)ns;
}

static int read_packet(struct reading *reading, uint32_t kind, const uint8_t *in,
                       uint32_t octets)
{
    struct capture *capture = reading->capture;
    const struct capture_interface *interface;
    struct packet packet = {.has_time = kind != SIMPLE_PACKET};
    uint32_t fixed = kind == SIMPLE_PACKET ? 12 : 28, number = 0;

    if (octets < fixed + 4)
        return broken(capture, "a packet's block of %u octets", octets);
    if (kind == ENHANCED_PACKET)
        number = read32(capture, in + 8);
    else if (kind == OBSOLETE_PACKET)
        number = read16(capture, in + 8);
    if (number >= capture->interfaces_count)
        return broken(capture, "a packet of interface %u, of which there are %u", number,
                      capture->interfaces_count);
    interface = &capture->interfaces[number];
    if (kind == SIMPLE_PACKET) {
        packet.origlen = packet.caplen = read32(capture, in + 8);
        if (interface->snaplen && packet.caplen > interface->snaplen)
            packet.caplen = interface->snaplen;
        if (packet.caplen > octets - fixed - 4)
            packet.caplen = octets - fixed - 4;
    } else {
        uint64_t units =
            (uint64_t)read32(capture, in + 12) << 32 | read32(capture, in + 16);

        packet.caplen = read32(capture, in + 20);
        packet.origlen = read32(capture, in + 24);
        packet.time_ns = time_of(interface, units);
    }
    if (packet.caplen > octets - fixed - 4)
        return broken(capture, "a packet of %u octets in a block of %u", packet.caplen,
                      octets);
    packet.at = in + fixed;
    packet.linktype = interface->linktype;
    return give(reading, &packet, octets);
}

static int read_block(struct reading *reading, const uint8_t *in, size_t length)
{
    struct capture *capture = reading->capture;
    uint32_t kind, octets, most;
    int is_packet;

    if (length < BLOCK_HEADER)
        return CAPTURE_WANTS;
    /* The same in either byte order. */
    if (get32(in) == SECTION)
        return begin_section(reading, in, length);
    kind = read32(capture, in);
    octets = read32(capture, in + 4);
    if (octets < BLOCK_MIN || octets % 4 != 0)
        return broken(capture, "a block of %u octets", octets);
    is_packet =
        kind == ENHANCED_PACKET || kind == SIMPLE_PACKET || kind == OBSOLETE_PACKET;
    if (!is_packet && kind != INTERFACE) {
        capture->to_skip = octets;
        return CAPTURE_WANTS;
    }
    most = is_packet ? CAPTURE_NEEDS_MAX : INTERFACE_MAX;
    if (octets > most)
        return broken(capture, "a block of %u octets, more than %u", octets, most);
    if (length < octets)
        return CAPTURE_WANTS;
    if (read32(capture, in + octets - 4) != octets)
        return broken(capture, "a block that ends with another length than it began");
    return is_packet ? read_packet(reading, kind, in, octets)
                     : add_interface(reading, in, octets);
}

/* Either. */

static int begin(struct reading *reading, const uint8_t *in, size_t length)
{
    struct capture *capture = reading->capture;

    if (length < 4)
        return CAPTURE_WANTS;
    if (get32(in) == SECTION)
        return begin_section(reading, in, length);
    for (capture->is_big = 0; capture->is_big < 2; capture->is_big++) {
        uint32_t magic = read32(capture, in);

        if (magic != MAGIC_MICRO && magic != MAGIC_NANO && magic != MAGIC_MODIFIED)
            continue;
        capture->is_nano = magic == MAGIC_NANO;
        capture->record_header = magic == MAGIC_MODIFIED ? 24 : 16;
        return length < PCAP_HEADER ? CAPTURE_WANTS : begin_pcap(reading, in);
    }
    return broken(capture, "the first octets, %02x%02x%02x%02x, are those of no capture",
                  in[0], in[1], in[2], in[3]);
}

static int step(struct reading *reading)
{
    const uint8_t *in = reading->in + reading->taken;
    size_t length = reading->length - reading->taken;

    switch (reading->capture->kind) {
    case CAPTURE_PCAP:
        return read_record(reading, in, length);
    case CAPTURE_PCAPNG:
        return read_block(reading, in, length);
    default:
        return begin(reading, in, length);
    }
}

/* Takes what is whole of the next octets and makes packet records of it.
 *
 * in: what was not taken last time, and more; CAPTURE_NEEDS_MAX octets always get it on.
 * out: the caller's; NULL only sums up. Records given in one call are of one link type,
 * capture->linktype; goes_on: of that which was given last. *taken, *used: octets; *count: packets. Returns how it ended. At
 * the end of the file something that was not taken, or to_skip, is a torn rest. */
int capture_read(struct capture *capture, const uint8_t *in, size_t length,
                 size_t *taken, uint8_t *out, size_t capacity, size_t *used,
                 uint32_t *count, int goes_on)
{
    struct reading reading = {capture, in, length, 0, out, capacity, 0, 0, goes_on};
    uint64_t before;
    int ended;

    do {
        size_t left = length - reading.taken;
        size_t skipped = capture->to_skip < left ? (size_t)capture->to_skip : left;

        capture->to_skip -= skipped;
        skip(&reading, skipped);
        before = capture->at;
        ended = capture->to_skip ? CAPTURE_WANTS : step(&reading);
    } while (ended == CAPTURE_WANTS && (capture->at > before || capture->to_skip) &&
             reading.taken < length);
    *taken = reading.taken;
    *used = reading.used;
    *count = reading.count;
    return ended;
}
