/* Turns one netlink datagram into packet records; no system call.
 *
 * Source: linux/netfilter/nfnetlink_log.h for the messages, pcap-savefile(5) for the
 * records (nanoseconds, little-endian).
 *
 * Any octets are welcome: what is not a packet message of one of our groups is
 * counted and passed over, and nothing beyond `length` is read nor beyond `capacity`
 * written. */
#include "nflog.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink.h>

#define PACKET_MESSAGE ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)

#define IPV4_HEADER 20
#define IPV6_HEADER 40

static void put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static uint32_t get16be(const uint8_t *in)
{
    return (uint32_t)in[0] << 8 | in[1];
}

/* The packet's length on the wire, 0 where this is no IP packet.
 *
 * NFLOG has no attribute for it, so it comes from the IP header. A length of 0 there
 * is a super-packet above 64 KiB ("BIG TCP"), whose length no header field holds. */
static uint32_t origlen_of(const uint8_t *packet, uint32_t caplen)
{
    uint32_t origlen;

    if (caplen == 0)
        return 0;
    switch (packet[0] >> 4) {
    case 4:
        origlen = caplen >= IPV4_HEADER ? get16be(packet + 2) : 0;
        break;
    case 6:
        origlen = caplen >= IPV6_HEADER ? get16be(packet + 4) : 0;
        if (origlen > 0)
            origlen += IPV6_HEADER;
        break;
    default:
        return 0;
    }
    return origlen > caplen ? origlen : caplen;
}

static struct nflog_group *find_group(struct nflog_parser *parser, uint16_t id)
{
    size_t low = 0, high = parser->groups_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (parser->groups[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < parser->groups_count && parser->groups[low].id == id)
        return &parser->groups[low];
    return NULL;
}

/* The kernel numbers each group's packets under its lock, so numbers only go up; a
 * step back of up to half the range could only be a forgery and is passed over. */
static void follow_sequence(struct nflog_parser *parser, struct nflog_group *group,
                            const uint8_t *value)
{
    uint32_t seq, gap;

    if (value == NULL)
        return;
    memcpy(&seq, value, sizeof(seq));
    seq = ntohl(seq);
    gap = seq - group->next_seq;
    if (gap > UINT32_MAX / 2) {
        parser->counts.malformed++;
        return;
    }
    if (gap > 0) {
        parser->counts.missed += gap;
        parser->counts.gaps++;
    }
    group->next_seq = seq + 1;
}

/* When the kernel saw the packet, 0 where it did not say: it does so only up to
 * FORWARD (nfnetlink_log.c, __build_packet_message). */
static uint64_t kernel_time_ns(const uint8_t *value)
{
    struct nfulnl_msg_packet_timestamp stamp;
    uint64_t seconds, microseconds;

    if (value == NULL)
        return 0;
    memcpy(&stamp, value, sizeof(stamp));
    seconds = be64toh(stamp.sec);
    microseconds = be64toh(stamp.usec);
    if (seconds > UINT32_MAX || microseconds >= 1000000)
        return 0;
    return seconds * 1000000000 + microseconds * 1000;
}

static void put_record(uint8_t *out, uint64_t time_ns, const uint8_t *packet,
                       uint32_t caplen, uint32_t origlen)
{
    put32(out, (uint32_t)(time_ns / 1000000000));
    put32(out + 4, (uint32_t)(time_ns % 1000000000));
    put32(out + 8, caplen);
    put32(out + 12, origlen);
    memmove(out + NFLOG_RECORD_HEADER, packet, caplen);
}

/* What of a packet's attributes goes into its record; NULL or 0 where it has none. */
struct packet {
    const uint8_t *payload;
    uint32_t caplen;
    const uint8_t *seq;
    const uint8_t *timestamp;
};

/* Finds the attributes that a record needs. nflog_nlmsg_parse() of the library makes a
 * table of all of them by a callback each, which took a sixth of the sender's time.
 * Returns 0 where the attributes are not well-formed. */
static int find_attributes(const struct nlmsghdr *message, struct packet *packet)
{
    const uint8_t *at = (const uint8_t *)message + MNL_NLMSG_HDRLEN +
                        MNL_ALIGN(sizeof(struct nfgenmsg));
    const uint8_t *end = (const uint8_t *)message + message->nlmsg_len;

    while (at + sizeof(struct nlattr) <= end) {
        const struct nlattr *attribute = (const void *)at;
        size_t length = attribute->nla_len;
        const uint8_t *value = at + MNL_ATTR_HDRLEN;

        if (length < MNL_ATTR_HDRLEN || length > (size_t)(end - at))
            return 0;
        length -= MNL_ATTR_HDRLEN;
        switch (attribute->nla_type & NLA_TYPE_MASK) {
        case NFULA_PAYLOAD:
            packet->payload = value;
            packet->caplen = (uint32_t)length;
            break;
        case NFULA_SEQ:
            if (length != sizeof(uint32_t))
                return 0;
            packet->seq = value;
            break;
        case NFULA_TIMESTAMP:
            if (length < sizeof(struct nfulnl_msg_packet_timestamp))
                return 0;
            packet->timestamp = value;
            break;
        }
        at += MNL_ALIGN(attribute->nla_len);
    }
    return 1;
}

/* Makes at most one record. Returns 0 when the record does not fit, and then has
 * counted nothing, so that the message can be shown again. */
static int parse_packet(struct nflog_parser *parser, const struct nlmsghdr *message,
                        uint64_t now_ns, uint8_t *out, size_t capacity, size_t *used)
{
    const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
    struct nflog_group *group = find_group(parser, ntohs(header->res_id));
    struct packet packet = {0};
    uint32_t origlen;
    uint64_t time_ns;

    if (group == NULL || !find_attributes(message, &packet)) {
        parser->counts.malformed++;
        return 1;
    }
    origlen = origlen_of(packet.payload, packet.caplen);
    if (origlen > 0 && capacity - *used < NFLOG_RECORD_HEADER + (size_t)packet.caplen)
        return 0;

    follow_sequence(parser, group, packet.seq);
    parser->counts.received++;
    if (origlen == 0) {
        parser->counts.not_ip++;
        return 1;
    }
    time_ns = kernel_time_ns(packet.timestamp);
    if (time_ns > 0) {
        parser->counts.stamped_by_kernel++;
    } else {
        parser->counts.stamped_here++;
        time_ns = now_ns;
    }
    put_record(out + *used, time_ns, packet.payload, packet.caplen, origlen);
    *used += NFLOG_RECORD_HEADER + packet.caplen;
    return 1;
}

/* Appends the records of a datagram's packets to out[*used, capacity).
 *
 * datagram: length octets, aligned to 4 (netlink's own alignment); the caller's. It may
 * lie in out itself, at or behind *used, and is gone then: a record is shorter than the
 * message that it comes from, so it never reaches what is still to be read.
 * now_ns: wall clock, for packets that the kernel did not stamp.
 * Returns how many octets of the datagram are done with; fewer than length means that
 * the buffer is full: show the rest again with an empty one. */
size_t nflog_parse(struct nflog_parser *parser, const uint8_t *datagram,
                   size_t length, uint64_t now_ns, uint8_t *out, size_t capacity,
                   size_t *used)
{
    size_t at = 0;

    while (length - at >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *message = (const void *)(datagram + at);
        size_t step;

        if (message->nlmsg_len < sizeof(*message) || message->nlmsg_len > length - at)
            break;
        /* Now, since the record may come to lie here. */
        step = MNL_ALIGN(message->nlmsg_len);
        if (message->nlmsg_type == PACKET_MESSAGE) {
            if (message->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg))
                parser->counts.malformed++;
            else if (!parse_packet(parser, message, now_ns, out, capacity, used))
                return at;
        } else if (message->nlmsg_type >= NLMSG_MIN_TYPE) {
            parser->counts.malformed++;
        }
        /* The last message's padding may be missing. */
        at = step < length - at ? at + step : length;
    }
    if (at < length)
        parser->counts.malformed++;
    return length;
}
