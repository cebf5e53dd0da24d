/* Reads a packet of LINKTYPE_NFLOG: its TLVs, how long it was on the wire, and the
 * Ethernet header that it had or would have had. For relink.c, and for nflog_ffi, to
 * which the kernel gives the same octets.
 *
 * Source: https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html; for VLAN and L2HDR,
 * which it does not have, linux/netfilter/nfnetlink_log.h.
 *
 * Any octets are welcome: nothing beyond the lengths that are given is read. */
#ifndef PCAP_FFI_TLV_H
#define PCAP_FFI_TLV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW 101
#define LINKTYPE_NFLOG 239

/* Family, version, and the group in network order. */
#define NFLOG_HEADER 4

/* Length, these four octets included, and type; a value is padded to a multiple of
 * four. */
#define TLV_HEADER 4
#define TLV_ALIGN(length) (((length) + 3) & ~3U)

/* Without what says that the value is TLVs itself (NLA_F_NESTED) and its kin. */
#define TLV_TYPE 0x3FFF

enum {
    TLV_PACKET_HDR = 1, /* the EtherType and the hook */
    TLV_PAYLOAD = 9,
    TLV_HWTYPE = 15,
    TLV_HWHEADER = 16,
    TLV_VLAN = 20,
    TLV_L2HDR = 21,
    TLV_VLAN_PROTO = 1, /* these two in VLAN */
    TLV_VLAN_TCI = 2
};

#define FAMILY_BRIDGE 7       /* NFPROTO_BRIDGE */
#define HWTYPE_ETHERNET 1     /* ARPHRD_ETHER */
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86DD
#define ETHERTYPE_MIN 0x0600  /* below, it is a length (IEEE 802.3) */

#define ADDRESSES 12
#define ETHERNET_HEADER 14
#define VLAN_TAG 4
#define LINK_MAX (ETHERNET_HEADER + VLAN_TAG)

/* How far into an IP header its length goes. */
#define IPV4_LENGTH_END 4
#define IPV6_LENGTH_END 6
#define IPV6_HEADER 40

struct tlv {
    uint32_t type, length; /* of the value */
    const uint8_t *value;
};

static inline uint32_t get16be(const uint8_t *in)
{
    return (uint32_t)in[0] << 8 | in[1];
}

static inline void put16be(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

/* is_host: in the machine's own order, as the kernel says it, and not little-endian, as
 * in a packet record. */
static inline uint32_t tlv_get16(const uint8_t *in, int is_host)
{
    uint16_t value;

    if (!is_host)
        return (uint32_t)in[1] << 8 | in[0];
    memcpy(&value, in, sizeof(value));
    return value;
}

/* The TLV at the start of left octets. Returns what it takes of them, padding included
 * where that is there, or 0 where none that is whole begins here. */
static inline size_t tlv_read(const uint8_t *in, size_t left, int is_host,
                              struct tlv *tlv)
{
    uint32_t length;

    if (left < TLV_HEADER)
        return 0;
    length = tlv_get16(in, is_host);
    if (length < TLV_HEADER || length > left)
        return 0;
    tlv->type = tlv_get16(in + 2, is_host) & TLV_TYPE;
    tlv->length = length - TLV_HEADER;
    tlv->value = in + TLV_HEADER;
    return TLV_ALIGN(length) < left ? TLV_ALIGN(length) : left;
}

/* 0 where these octets begin no IP packet. */
static inline uint32_t ip_ethertype(const uint8_t *packet, uint32_t caplen)
{
    if (caplen == 0)
        return 0;
    switch (packet[0] >> 4) {
    case 4:
        return ETHERTYPE_IPV4;
    case 6:
        return ETHERTYPE_IPV6;
    default:
        return 0;
    }
}

/* What an IP packet's header says of its length; 0 where the header is cut before it
 * does, or says 0: that is a super-packet above 64 KiB ("BIG TCP"), whose length no
 * header field holds; and 0 where this is no IP packet. */
static inline uint32_t ip_length(const uint8_t *packet, uint32_t caplen)
{
    uint32_t length;

    if (caplen < IPV4_LENGTH_END)
        return 0;
    switch (packet[0] >> 4) {
    case 4:
        return get16be(packet + 2);
    case 6:
        length = caplen < IPV6_LENGTH_END ? 0 : get16be(packet + 4);
        return length > 0 ? length + IPV6_HEADER : 0;
    default:
        return 0;
    }
}

/* A packet's length before it was cut, as far as its IP header tells. */
static inline uint32_t ip_origlen(const uint8_t *packet, uint32_t caplen)
{
    uint32_t length = ip_length(packet, caplen);

    return length > caplen ? length : caplen;
}

/* Whether PACKET_HDR allows for an IP packet: it says so, or nothing at all. What it
 * says otherwise may begin like one (an 802.2 header does). */
static inline int may_be_ip(uint32_t ethertype)
{
    return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6 || ethertype == 0;
}

/* The tag of TLV_VLAN; 0 where it has none. */
static inline int vlan_tag(const struct tlv *vlan, int is_host, uint8_t *tag)
{
    int found = 0;
    struct tlv part;
    size_t at = 0, step;

    while ((step = tlv_read(vlan->value + at, vlan->length - at, is_host, &part))) {
        if (part.type == TLV_VLAN_PROTO && part.length >= 2) {
            memcpy(tag, part.value, 2);
            found |= 1;
        } else if (part.type == TLV_VLAN_TCI && part.length >= 2) {
            memcpy(tag + 2, part.value, 2);
            found |= 2;
        }
        at += step;
    }
    return found == 3;
}

/* The Ethernet header of a packet that has these TLVs before its payload, of which so
 * many octets were kept: its own where NFLOG has it, made where not (no addresses, the
 * EtherType of its IP version or what the kernel says). Writes up to LINK_MAX octets to
 * out. Returns how many, or 0 where nothing says what the packet is. */
static inline uint32_t ethernet_header(const uint8_t *tlvs, size_t length, int is_host,
                                       uint8_t family, const uint8_t *packet,
                                       uint32_t caplen, uint8_t *out)
{
    const uint8_t *header = NULL, *bridged = NULL;
    uint32_t ethertype = 0, hwtype = 0, used = ADDRESSES;
    uint32_t of_ip = ip_ethertype(packet, caplen);
    uint8_t tag[VLAN_TAG];
    int is_tagged = 0;
    struct tlv tlv;
    size_t at = 0, step;

    for (; (step = tlv_read(tlvs + at, length - at, is_host, &tlv)); at += step) {
        switch (tlv.type) {
        case TLV_PACKET_HDR:
            if (tlv.length >= 2)
                ethertype = get16be(tlv.value);
            break;
        case TLV_HWTYPE:
            if (tlv.length >= 2)
                hwtype = get16be(tlv.value);
            break;
        case TLV_HWHEADER:
            if (tlv.length >= ETHERNET_HEADER)
                header = tlv.value;
            break;
        case TLV_L2HDR:
            if (tlv.length == ETHERNET_HEADER)
                bridged = tlv.value;
            break;
        case TLV_VLAN:
            is_tagged = vlan_tag(&tlv, is_host, tag);
            break;
        }
    }
    /* Of a bridge's own packets there is no HWTYPE, and nothing else on a bridge. */
    if (hwtype != HWTYPE_ETHERNET)
        header = family == FAMILY_BRIDGE ? bridged : NULL;
    if (may_be_ip(ethertype) && of_ip > 0)
        ethertype = of_ip;
    else if (ethertype < ETHERTYPE_MIN)
        ethertype = header != NULL ? get16be(header + ADDRESSES) : 0;
    if (ethertype == 0)
        return 0;
    if (header != NULL)
        memcpy(out, header, ADDRESSES);
    else
        memset(out, 0, ADDRESSES);
    if (is_tagged) {
        memcpy(out + used, tag, VLAN_TAG);
        used += VLAN_TAG;
    }
    put16be(out + used, ethertype);
    return used + 2;
}

#endif
