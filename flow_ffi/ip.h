/* Reads the headers of a packet of IP, up to what it carries. For flow.c, and for
 * filter_ffi. Nothing beyond the octets that are given is read.
 *
 * Specification: RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 4302
 * (AH). What a packet says of its lengths is believed only within what is there. */
#ifndef FLOW_FFI_IP_H
#define FLOW_FFI_IP_H

#include "flow.h"
#include "within.h"

#define IP4_HEADER 20
#define IP4_MORE 0x2000
#define IP4_OFFSET 0x1FFF
#define IP6_HEADER 40

#define HOP_BY_HOP 0
#define ICMP 1
#define TCP 6
#define UDP 17
#define UDP_HEADER 8
#define DCCP 33
#define ROUTING 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define ICMP6 58
#define DESTINATION 60
#define SCTP 132
#define MOBILITY 135
#define UDP_LITE 136
#define HIP 139
#define SHIM6 140

enum part { WHOLE, FIRST, LATER };

struct ip {
    unsigned version;
    const uint8_t *source, *target;
    unsigned protocol;
    struct octets payload;
    enum part part;
    uint32_t length; /* said, of all of it; 0: nothing is that can be believed */
    /* Of a fragment: */
    uint32_t identification;
    unsigned fragment_protocol;
};

static inline int read_ip4(struct octets in, struct ip *ip)
{
    uint32_t header, total, offset;

    if (in.length < IP4_HEADER)
        return 0;
    header = (in.at[0] & 0xFU) * 4;
    if (header < IP4_HEADER)
        return 0;
    total = big16(in.at + 2);
    /* What follows in a frame is padding. Where nothing is said of a length, the packet
     * was too long to say it, or was to be cut in pieces by the hardware. */
    if (total >= header && total < in.length)
        in.length = total;
    offset = big16(in.at + 6);
    *ip = (struct ip){
        .version = 4,
        .source = in.at + 12,
        .target = in.at + 16,
        .protocol = in.at[9],
        .payload = after(in, header),
        .part = offset & IP4_OFFSET ? LATER : offset & IP4_MORE ? FIRST : WHOLE,
        .length = total >= header ? total : 0,
        .identification = big16(in.at + 4),
        .fragment_protocol = in.at[9],
    };
    return 1;
}

/* The length of an extension header; 0 where it is none, or a fragment's. */
static inline uint32_t extension(unsigned protocol, struct octets in)
{
    if (in.length < 8)
        return 0;
    switch (protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case DESTINATION:
    case MOBILITY:
    case HIP:
    case SHIM6:
        return (in.at[1] + 1U) * 8;
    case AUTHENTICATION:
        return (in.at[1] + 2U) * 4;
    case FRAGMENT:
        return 8;
    default:
        return 0;
    }
}

static inline int read_ip6(struct octets in, struct ip *ip)
{
    uint32_t payload, length;

    if (in.length < IP6_HEADER)
        return 0;
    payload = big16(in.at + 4);
    if (payload != 0 && payload < in.length - IP6_HEADER)
        in.length = IP6_HEADER + payload;
    *ip = (struct ip){
        .version = 6,
        .source = in.at + 8,
        .target = in.at + 24,
        .protocol = in.at[6],
        .payload = after(in, IP6_HEADER),
        .length = payload != 0 ? IP6_HEADER + payload : 0,
    };
    for (unsigned headers = 0; headers < HEADERS_MAX; headers++) {
        struct octets at = ip->payload;
        unsigned next;

        length = extension(ip->protocol, at);
        if (length == 0 || length > at.length)
            break;
        next = at.at[0];
        if (ip->protocol == FRAGMENT) {
            uint32_t offset = big16(at.at + 2);

            ip->identification = big32(at.at + 4);
            ip->fragment_protocol = next;
            /* Neither offset nor more to come: it is whole, RFC 6946. */
            if (offset & 0xFFF8)
                ip->part = LATER;
            else if (offset & 1)
                ip->part = FIRST;
        }
        ip->protocol = next;
        ip->payload = after(at, length);
        if (ip->part == LATER)
            break;
    }
    return 1;
}

/* 1 where this is IP, of either version. */
static inline int read_ip(struct octets in, struct ip *ip)
{
    uint32_t length;

    if (in.length == 0)
        return 0;
    if (in.at[0] >> 4 == 6)
        return read_ip6(in, ip);
    if (in.at[0] >> 4 != 4 || !read_ip4(in, ip))
        return 0;
    if (ip->protocol == AUTHENTICATION) {
        length = extension(AUTHENTICATION, ip->payload);
        if (length != 0 && length <= ip->payload.length && ip->part != LATER) {
            ip->protocol = ip->payload.at[0];
            ip->payload = after(ip->payload, length);
        }
    }
    return 1;
}

static inline int has_ports(unsigned protocol)
{
    return protocol == TCP || protocol == UDP || protocol == DCCP || protocol == SCTP ||
           protocol == UDP_LITE;
}

/* The number of a fragment's datagram, which only its sender's side has. */
static inline uint64_t datagram_of(const struct flow_seed *seed, const struct ip *ip)
{
    uint64_t words[6] = {(uint64_t)ip->identification << 32 |
                         (uint64_t)ip->fragment_protocol << 8 | ip->version};

    if (ip->version == 4) {
        words[1] = (uint64_t)big32(ip->source) << 32 | big32(ip->target);
        return flow_siphash(seed, words, 2);
    }
    words[1] = big64(ip->source);
    words[2] = big64(ip->source + 8);
    words[3] = big64(ip->target);
    words[4] = big64(ip->target + 8);
    return flow_siphash(seed, words, 5);
}

/* The packet that an ICMP error quotes, or what is left of it; nothing where this is no
 * error. Of an echo and its kin has_identifier says that their identifier is there. */
static inline struct octets quoted_in(const struct ip *ip, int *has_identifier)
{
    struct octets in = ip->payload;
    unsigned type = in.length >= 8 ? in.at[0] : 0;
    int is_error;

    if (in.length < 8) {
        *has_identifier = 0;
        is_error = 0;
    } else if (ip->protocol == ICMP) {
        *has_identifier = type == 0 || type == 8 || (type >= 13 && type <= 18);
        is_error = (type >= 3 && type <= 5) || type == 11 || type == 12;
    } else {
        *has_identifier = type == 128 || type == 129;
        is_error = type >= 1 && type <= 4;
    }
    return after(in, is_error ? 8 : in.length);
}

#endif
