/* Turns one netlink datagram into packet records; no system call.
 *
 * Source: linux/netfilter/nfnetlink_log.h for the messages, pcap-savefile(5) for the
 * records (nanoseconds, little-endian), pcap_ffi/tlv.h for what is in them.
 *
 * Theory of operation. A record holds the packet alone (LINKTYPE_RAW), all that the
 * kernel says of it as well (LINKTYPE_NFLOG), or an Ethernet header before it. The
 * netlink header of a message is as long as that of a record, and what follows it is
 * the form of LINKTYPE_NFLOG to the octet: so such a record is made where it lies, by
 * writing the one header over the other.
 *
 * Any octets are welcome: what is not a packet message of one of our groups is
 * counted and passed over, and nothing beyond `length` is read nor beyond `capacity`
 * written. */
#include "nflog.h"
#include "tlv.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>

/* Each link type has a loop of its own, and in it all that is on the way. */
#define MADE_FOR_EACH static inline __attribute__((always_inline))

#define PACKET_MESSAGE ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)

_Static_assert(NFLOG_HEADER == sizeof(struct nfgenmsg), "LINKTYPE_NFLOG's header");
_Static_assert(NFLOG_RECORD_HEADER == sizeof(struct nlmsghdr), "header for header");
_Static_assert(TLV_HEADER == NLA_HDRLEN && TLV_TYPE == (uint16_t)NLA_TYPE_MASK, "TLV");
_Static_assert((int)TLV_PACKET_HDR == NFULA_PACKET_HDR, "a TLV is an attribute");
_Static_assert((int)TLV_PAYLOAD == NFULA_PAYLOAD, "a TLV is an attribute");
_Static_assert((int)TLV_HWTYPE == NFULA_HWTYPE, "a TLV is an attribute");
_Static_assert((int)TLV_HWHEADER == NFULA_HWHEADER, "a TLV is an attribute");
_Static_assert((int)TLV_VLAN == NFULA_VLAN, "a TLV is an attribute");
_Static_assert((int)TLV_L2HDR == NFULA_L2HDR, "a TLV is an attribute");
_Static_assert((int)TLV_VLAN_PROTO == NFULA_VLAN_PROTO, "a TLV is an attribute");
_Static_assert((int)TLV_VLAN_TCI == NFULA_VLAN_TCI, "a TLV is an attribute");

static void put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

MADE_FOR_EACH struct nflog_group *find_group(struct nflog_parser *parser,
                                             uint16_t id)
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

/* What of a packet's attributes goes into its record; NULL or 0 where it has none. */
struct packet {
    const uint8_t *payload;
    uint32_t caplen;
    uint32_t ethertype; /* not looked for where records are raw */
    const uint8_t *seq;
    const uint8_t *timestamp;
};

/* Finds the attributes that a record needs. nflog_nlmsg_parse() of the library makes a
 * table of all of them by a callback each, which took a sixth of the sender's time.
 * Returns 0 where the attributes are not well-formed. */
MADE_FOR_EACH int find_attributes(const struct nlmsghdr *message, uint32_t linktype,
                                  struct packet *packet)
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
        case NFULA_PACKET_HDR:
            if (linktype != LINKTYPE_RAW && length >= 2)
                packet->ethertype = get16be(value);
            break;
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

/* What a record is made of. */
struct record {
    const uint8_t *start; /* in the message */
    uint32_t caplen;      /* of what is there */
    uint32_t link;        /* octets of the header before it */
    uint32_t origlen;
    uint8_t header[LINK_MAX];
};

/* How a packet becomes a record. */
enum shaped { SHAPED, NO_PACKET, MALFORMED };

MADE_FOR_EACH enum shaped shape_raw(const struct packet *packet, struct record *record)
{
    if (ip_ethertype(packet->payload, packet->caplen) == 0)
        return NO_PACKET;
    record->start = packet->payload;
    record->caplen = packet->caplen;
    record->link = 0;
    record->origlen = ip_origlen(packet->payload, packet->caplen);
    return SHAPED;
}

/* The packet's length before the kernel cut it, as far as it can be told. */
static uint32_t whole_length(const struct packet *packet)
{
    return may_be_ip(packet->ethertype) ? ip_origlen(packet->payload, packet->caplen)
                                        : packet->caplen;
}

/* As libpcap has it: all that the kernel says, with the padding of the payload, which
 * is the last. What might follow it is left out. */
MADE_FOR_EACH enum shaped shape_nflog(const struct nlmsghdr *message,
                                      const struct packet *packet,
                                      struct record *record)
{
    const uint8_t *body = (const uint8_t *)message + MNL_NLMSG_HDRLEN;
    size_t before;

    if (packet->caplen == 0)
        return NO_PACKET;
    before = (size_t)(packet->payload - body);
    if (before > NFLOG_METADATA_MAX ||
        before + TLV_ALIGN(packet->caplen) > message->nlmsg_len - MNL_NLMSG_HDRLEN)
        return MALFORMED;
    record->start = body;
    record->caplen = (uint32_t)before + TLV_ALIGN(packet->caplen);
    record->link = 0;
    record->origlen = (uint32_t)before + TLV_ALIGN(whole_length(packet));
    return SHAPED;
}

MADE_FOR_EACH enum shaped shape_ethernet(const struct nlmsghdr *message,
                                         const struct packet *packet,
                                         struct record *record)
{
    const uint8_t *body = (const uint8_t *)message + MNL_NLMSG_HDRLEN;
    size_t before;

    if (packet->caplen == 0)
        return NO_PACKET;
    before = (size_t)(packet->payload - body);
    record->link = ethernet_header(body + NFLOG_HEADER,
                                   before - NFLOG_HEADER - TLV_HEADER, 1, body[0],
                                   packet->payload, packet->caplen, record->header);
    if (record->link == 0)
        return NO_PACKET;
    /* The kernel always says more than a header is long; so it fits before the packet
     * where that lies. */
    if (record->link > before)
        return MALFORMED;
    record->start = packet->payload;
    record->caplen = packet->caplen;
    record->origlen = record->link + whole_length(packet);
    return SHAPED;
}

/* The kernel's 16-bit numbers are the machine's, a record's are little-endian. */
static void make_little_endian(uint8_t *tlvs, size_t length)
{
    size_t at = 0, step;
    struct tlv tlv;

    while ((step = tlv_read(tlvs + at, length - at, 1, &tlv))) {
        uint32_t type = tlv_get16(tlvs + at + 2, 1);

        tlvs[at] = (uint8_t)(tlv.length + TLV_HEADER);
        tlvs[at + 1] = (uint8_t)((tlv.length + TLV_HEADER) >> 8);
        tlvs[at + 2] = (uint8_t)type;
        tlvs[at + 3] = (uint8_t)(type >> 8);
        at += step;
    }
}

MADE_FOR_EACH void put_record(uint8_t *out, uint64_t time_ns, uint32_t linktype,
                              const struct record *record)
{
    uint8_t *packet = out + NFLOG_RECORD_HEADER;

    put32(out, (uint32_t)(time_ns / 1000000000));
    put32(out + 4, (uint32_t)(time_ns % 1000000000));
    put32(out + 8, record->link + record->caplen);
    put32(out + 12, record->origlen);
    if (linktype == LINKTYPE_ETHERNET)
        memcpy(packet, record->header, record->link);
    /* It may be there already. */
    if (linktype != LINKTYPE_NFLOG || packet != record->start)
        memmove(packet + record->link, record->start, record->caplen);
    if (linktype == LINKTYPE_NFLOG && BYTE_ORDER != LITTLE_ENDIAN)
        make_little_endian(packet + NFLOG_HEADER, record->caplen - NFLOG_HEADER);
}

/* Makes at most one record. Returns 0 when the record does not fit, and then has
 * counted nothing, so that the message can be shown again. */
MADE_FOR_EACH int parse_packet(struct nflog_parser *parser,
                               const struct nlmsghdr *message, uint64_t now_ns,
                               uint32_t linktype, uint8_t *out, size_t capacity,
                               size_t *used)
{
    const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
    struct nflog_group *group = find_group(parser, ntohs(header->res_id));
    struct packet packet = {0};
    struct record record;
    enum shaped shaped;
    uint64_t time_ns;

    if (group == NULL || !find_attributes(message, linktype, &packet)) {
        parser->counts.malformed++;
        return 1;
    }
    if (linktype == LINKTYPE_NFLOG)
        shaped = shape_nflog(message, &packet, &record);
    else if (linktype == LINKTYPE_ETHERNET)
        shaped = shape_ethernet(message, &packet, &record);
    else
        shaped = shape_raw(&packet, &record);
    if (shaped == MALFORMED) {
        parser->counts.malformed++;
        return 1;
    }
    if (shaped == SHAPED && capacity - *used < NFLOG_RECORD_HEADER + record.link +
                                                   (size_t)record.caplen)
        return 0;

    follow_sequence(parser, group, packet.seq);
    parser->counts.received++;
    if (shaped == NO_PACKET) {
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
    put_record(out + *used, time_ns, linktype, &record);
    *used += NFLOG_RECORD_HEADER + record.link + (size_t)record.caplen;
    return 1;
}

/* As nflog_parse(). */
MADE_FOR_EACH size_t
parse_as(struct nflog_parser *parser, const uint8_t *datagram, size_t length,
         uint64_t now_ns, uint32_t linktype, uint8_t *out, size_t capacity,
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
            else if (!parse_packet(parser, message, now_ns, linktype, out, capacity,
                                   used))
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

/* Appends the records of a datagram's packets to out[*used, capacity).
 *
 * datagram: length octets, aligned to 4 (netlink's own alignment); the caller's. It may
 * lie in out itself, at or behind *used, and is gone then: a record is no longer than
 * the message that it comes from, so it never reaches what is still to be read.
 * now_ns: wall clock, for packets that the kernel did not stamp.
 * Returns how many octets of the datagram are done with; fewer than length means that
 * the buffer is full: show the rest again with an empty one. */
size_t nflog_parse(struct nflog_parser *parser, const uint8_t *datagram,
                   size_t length, uint64_t now_ns, uint8_t *out, size_t capacity,
                   size_t *used)
{
    switch (parser->linktype) {
    case LINKTYPE_NFLOG:
        return parse_as(parser, datagram, length, now_ns, LINKTYPE_NFLOG, out, capacity,
                        used);
    case LINKTYPE_ETHERNET:
        return parse_as(parser, datagram, length, now_ns, LINKTYPE_ETHERNET, out,
                        capacity, used);
    default:
        return parse_as(parser, datagram, length, now_ns, LINKTYPE_RAW, out, capacity,
                        used);
    }
}
