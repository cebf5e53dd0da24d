/* Leaves out packets that a link is too narrow for, or cuts them. No system call.
 *
 * An MTU counts what is behind the header of the link: of Ethernet its 14 octets and 4
 * for each VLAN tag. Specification: IEEE 802.3, IEEE 802.1Q; LINKTYPE numbers and what
 * they begin with, https://www.tcpdump.org/linktypes.html. */
#include <string.h>

#include "pcap_ffi.h"

#define ETHERNET 1
#define ETHERNET_HEADER 14
#define TYPE_AT 12
#define TAG 4

static int is_tag(const uint8_t *type)
{
    uint16_t number = (uint16_t)(type[0] << 8 | type[1]);

    return number == 0x8100 || number == 0x88a8 || number == 0x9100;
}

/* Octets of the header of the link, as far as they are there. */
static uint32_t link_header(uint32_t linktype, const uint8_t *packet, uint32_t caplen)
{
    uint32_t length;

    switch (linktype) {
    case ETHERNET:
        length = ETHERNET_HEADER;
        while (length <= caplen && is_tag(packet + length - 2))
            length += TAG;
        return length;
    case 0:   /* NULL */
    case 108: /* LOOP */
        return 4;
    case 113: /* LINUX_SLL */
        return 16;
    case 276: /* LINUX_SLL2 */
        return 20;
    default:
        return 0;
    }
}

/* The most octets that a packet may have. */
static uint64_t bound(uint32_t linktype, const uint8_t *record, uint32_t mtu)
{
    uint32_t caplen = get32(record + 8);

    return (uint64_t)link_header(linktype, record + RECORD_HEADER, caplen) + mtu;
}

/* How many packets are longer than the MTU lets them be. Only for octets that
 * records_count() has passed. */
uint32_t records_longer(const uint8_t *records, size_t length, uint32_t linktype,
                        uint32_t mtu)
{
    uint32_t longer = 0;

    for (size_t at = 0; at < length; at += RECORD_HEADER + get32(records + at + 8))
        longer += get32(records + at + 8) > bound(linktype, records + at, mtu);
    return longer;
}

/* Copies to out, which has room for length octets, without the packets that are longer,
 * or, cut, with no more of them than the MTU lets them have; origlen stays. Only for
 * octets that records_count() has passed. Returns the octets written. */
size_t records_fit(const uint8_t *records, size_t length, uint32_t linktype,
                   uint32_t mtu, int cut, uint8_t *out)
{
    size_t at = 0, used = 0;

    while (at < length) {
        const uint8_t *record = records + at;
        uint32_t caplen = get32(record + 8), kept = caplen;
        uint64_t most = bound(linktype, record, mtu);

        at += RECORD_HEADER + (size_t)caplen;
        if (caplen > most) {
            if (!cut)
                continue;
            kept = (uint32_t)most;
        }
        memcpy(out + used, record, RECORD_HEADER + (size_t)kept);
        put32(out + used + 8, kept);
        used += RECORD_HEADER + (size_t)kept;
    }
    return used;
}
