/* What each sender of a swarm says, and what it makes of the replies.
 *
 * Theory of operation. All batches of a sender are alike but for their numbers and times,
 * so none is kept: one that has to be sent again is made again, and how much is under way
 * is a difference of two numbers.
 *
 * Specification: docs/wire.md, sections 3 to 7.
 */
#include "swarm.h"
#include <endian.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_NS (50 * NS_PER_MS)
#define RETRY_NS (100 * NS_PER_MS)
#define CONNECTING_MAX 64 /* well below anybody's backlog */
#define HEARTBEAT_NS (1 * NS_PER_S)
#define PATIENCE_NS (5 * NS_PER_S)

#define HEADER 188
#define REPLY 64
#define COST 512
#define NAME_MAX 32
#define LINKTYPE_RAW 101
enum { HELLO = 1, BATCH = 2, HEARTBEAT = 3, GOODBYE = 4 };
enum { WELCOME = 0x81, FAREWELL = 0x84 };
enum { AT_COUNT = 12, AT_RAW = 16, AT_SENDER = 20, AT_STARTED = 36, AT_SEQUENCE = 44 };
enum { AT_WINDOW = 52, AT_LOGGED = 60, AT_ACKNOWLEDGED = 100, AT_HELD = 140 };

#define RECORD_HEADER 16
#define IP_HEADER 20
#define IP_AND_UDP 28
#define PORT_FIRST 1024
#define PORT_DISCARD 9 /* RFC 863 */
#define SCRATCH (1 << 18)

static unsigned char *template, *scratch;
static size_t template_length, scratch_size;

static void put16(unsigned char *at, unsigned value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static void put32(unsigned char *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

static void put32le(unsigned char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static void put64(unsigned char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

static size_t payload_length(void)
{
    return (size_t)load.batch * (RECORD_HEADER + (size_t)load.length);
}

static void fill_record(unsigned char *record)
{
    unsigned char *ip = record + RECORD_HEADER;
    uint32_t sum = 0;

    put32le(record + 8, (uint32_t)load.length);
    put32le(record + 12, (uint32_t)load.length);
    /* Not all zeros, so that nothing on the way takes a short cut. */
    for (int at = IP_AND_UDP; at < load.length; at++)
        ip[at] = (unsigned char)(at * 31 + 7);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)load.length);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, "\300\0\2\1\300\0\2\2", 8); /* RFC 5737 */
    for (int word = 0; word < IP_HEADER; word += 2)
        sum += (uint32_t)ip[word] << 8 | ip[word + 1];
    sum = (sum & 0xFFFF) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xFFFF);
    put16(ip + IP_HEADER + 2, PORT_DISCARD);
    put16(ip + IP_HEADER + 4, (unsigned)(load.length - IP_HEADER));
}

void link_prepare(void)
{
    unsigned char *at;

    template_length = SHORT_FRAME + HEADER + LONG_FRAME + payload_length();
    scratch_size = template_length > SCRATCH ? template_length : SCRATCH;
    template = calloc(1, template_length);
    scratch = malloc(scratch_size);
    if (template == NULL || scratch == NULL)
        err(1, "malloc");
    template[0] = ZMTP_MORE;
    template[1] = HEADER;
    at = template + SHORT_FRAME + HEADER;
    at[0] = ZMTP_LONG;
    put64(at + 1, payload_length());
    at += LONG_FRAME;
    for (int packet = 0; packet < load.batch; packet++)
        fill_record(at + packet * (RECORD_HEADER + load.length));
}

static void fill_header(const struct sender *sender, unsigned char *header, int type,
                        int64_t sequence)
{
    int64_t logged = sender->made * load.batch;
    int64_t acknowledged = sender->written * load.batch;

    memset(header, 0, HEADER);
    memcpy(header, "PZMQ\1", 5);
    header[5] = (unsigned char)type;
    put32(header + 8, LINKTYPE_RAW);
    if (type == BATCH) {
        put32(header + AT_COUNT, (uint32_t)load.batch);
        put32(header + AT_RAW, (uint32_t)payload_length());
    }
    memcpy(header + AT_SENDER, sender->id, sizeof(sender->id));
    put64(header + AT_STARTED, (uint64_t)started_wall_ns);
    put64(header + AT_SEQUENCE, (uint64_t)sequence);
    put64(header + AT_WINDOW, sender->window);
    put64(header + AT_LOGGED, (uint64_t)logged);
    put64(header + AT_ACKNOWLEDGED, (uint64_t)acknowledged);
    put64(header + AT_HELD, (uint64_t)(logged - acknowledged));
}

/* Anything but a batch. */
static void say(struct sender *sender, int type)
{
    unsigned char frames[SHORT_FRAME + HEADER + SHORT_FRAME + NAME_MAX];
    size_t size = SHORT_FRAME + HEADER;

    frames[0] = type == HELLO ? ZMTP_MORE : 0;
    frames[1] = HEADER;
    fill_header(sender, frames + SHORT_FRAME, type, sender->written + 1);
    if (type == HELLO) {
        int name = snprintf((char *)frames + size + SHORT_FRAME, NAME_MAX, "swarm-%d",
                            (int)(sender - senders));

        frames[size] = 0;
        frames[size + 1] = (unsigned char)name;
        size += SHORT_FRAME + (size_t)name;
    }
    sender->wants_word = 0;
    sender->spoke_ns = now_ns;
    zmtp_emit(sender, frames, size);
}

void link_greet(struct sender *sender)
{
    sender->state = GREETED;
    sender->window = 0;
    sender->heard_ns = now_ns;
    tally.hellos++;
    say(sender, HELLO);
    zmtp_watch(sender);
}

static int is_late(const struct sender *sender, int64_t number)
{
    int64_t turn = number / load.group * load.senders + (sender - senders);

    return now_ns >=
           load.began_ns + (int64_t)((double)turn * load.spacing_ns) + LATE_NS;
}

/* number: of the batch, from 0. */
static void fill_batch(const struct sender *sender, unsigned char *frames, int64_t number)
{
    unsigned char *record = frames + SHORT_FRAME + HEADER + LONG_FRAME;
    int index = (int)(sender - senders);

    memcpy(frames, template, template_length);
    fill_header(sender, frames + SHORT_FRAME, BATCH, number + 1);
    for (int at = 0; at < load.batch; at++) {
        unsigned char *ip = record + RECORD_HEADER, *stamp = ip + IP_AND_UDP;
        uint64_t packet = (uint64_t)(number * load.batch + at);

        put32le(record, (uint32_t)(now_wall_ns / NS_PER_S));
        put32le(record + 4, (uint32_t)(now_wall_ns % NS_PER_S));
        put16(ip + IP_HEADER, PORT_FIRST + (unsigned)index);
        if (load.first_mark < 0) {
            memcpy(stamp, &now_wall_ns, sizeof(now_wall_ns));
            put64(stamp + 8, (uint64_t)index);
            put64(stamp + 16, packet);
        } else {
            put64(stamp, (uint64_t)(load.first_mark + index));
            put64(stamp + 8, packet);
            put64(stamp + 16, (uint64_t)now_ns);
        }
        record += RECORD_HEADER + load.length;
    }
}

static uint64_t under_way(const struct sender *sender)
{
    return (uint64_t)(sender->sent - sender->written) * (payload_length() + COST);
}

static int may_send(const struct sender *sender)
{
    return sender->sent < sender->made && under_way(sender) < sender->window;
}

void link_send_made(struct sender *sender)
{
    if (sender->state != UP)
        return;
    if (under_way(sender) >= sender->window / 2 &&
        now_ns >= sender->read_ns + NS_PER_MS) {
        zmtp_read(sender);
        if (sender->state != UP)
            return;
    }
    while (may_send(sender) && !sender->pending_length) {
        size_t size = 0;

        while (may_send(sender) && size + template_length <= scratch_size) {
            fill_batch(sender, scratch + size, sender->sent);
            size += template_length;
            if (sender->sent < sender->highest)
                tally.resent++;
            else
                tally.late += is_late(sender, sender->sent);
            sender->sent++;
        }
        if (sender->sent > sender->highest)
            sender->highest = sender->sent;
        sender->wants_word = 0;
        sender->spoke_ns = now_ns;
        zmtp_emit(sender, scratch, size);
    }
    if (sender->sent < sender->made && under_way(sender) >= sender->window) {
        tally.stalled += !sender->is_stalled;
        sender->is_stalled = 1;
    } else {
        sender->is_stalled = 0;
    }
    if (sender->wants_word)
        say(sender, HEARTBEAT);
    zmtp_watch(sender);
}

void link_take_reply(struct sender *sender, const unsigned char *reply, size_t size)
{
    uint64_t window, written, next;

    if (size != REPLY || memcmp(reply, "PZMQ\1", 5) != 0)
        errx(1, "a reply of %zu octets that is none", size);
    if (memcmp(reply + 16, sender->id, sizeof(sender->id)) != 0 ||
        get64(reply + 32) != (uint64_t)started_wall_ns)
        return;
    window = get64(reply + 8);
    written = get64(reply + 40);
    next = get64(reply + 48);
    if (next <= written)
        errx(1, "a reply that wants batch %llu after %llu", (unsigned long long)next,
             (unsigned long long)written);
    if (written > (uint64_t)sender->highest)
        return;
    if (next > (uint64_t)sender->highest + 1)
        next = (uint64_t)sender->highest + 1;
    sender->heard_ns = now_ns;
    sender->wants_word |= window != sender->window && sender->state == UP;
    sender->window = window;
    if ((int64_t)written > sender->written)
        sender->written = (int64_t)written;
    if (reply[5] == WELCOME && (sender->state == GREETED || sender->state == UP)) {
        tally.welcomed += !sender->was_welcomed;
        sender->was_welcomed = 1;
        sender->state = UP;
        sender->sent = (int64_t)next - 1;
        if (sender->sent < sender->written)
            sender->sent = sender->written;
        /* That it goes by this window is news to the receiver. */
        sender->wants_word = 1;
    } else if (reply[5] == FAREWELL && sender->state == LEAVING) {
        sender->written = (int64_t)next - 1;
        sender->state = GONE;
        tally.farewells++;
    }
}

void link_look_after(struct sender *sender)
{
    if (sender->state == AWAY && tally.connecting < CONNECTING_MAX &&
        now_ns >= sender->away_ns + RETRY_NS)
        zmtp_connect(sender);
    if (sender->state < GREETED || sender->state == GONE)
        return;
    zmtp_read(sender);
    if (sender->state < GREETED || sender->state == GONE)
        return;
    if (now_ns >= sender->heard_ns + PATIENCE_NS) {
        link_greet(sender);
    } else if (sender->state == UP && load.is_ending) {
        sender->state = LEAVING;
        say(sender, GOODBYE);
        zmtp_watch(sender);
    } else if (sender->state == UP) {
        sender->wants_word |= now_ns >= sender->spoke_ns + HEARTBEAT_NS;
        link_send_made(sender);
    }
}
