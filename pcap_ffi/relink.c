/* Makes packet records of one link type of those of another. No system call.
 *
 * Takes only records that records_count() has passed; what is in the packets is
 * anybody's: nothing beyond their octets is read. */
#include "pcap_ffi.h"
#include "tlv.h"

#define LINKTYPE_IPV4 228
#define LINKTYPE_IPV6 229

#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88A8
#define ETHERTYPE_QINQ_OLD 0x9100

/* A packet on its way from one form to the other. */
struct passage {
    const uint8_t *packet; /* what is kept of the record */
    uint32_t caplen, origlen;
    uint32_t link; /* octets of the header that goes before it */
    uint8_t header[LINK_MAX];
};

static int is_ip(uint32_t linktype)
{
    return linktype == LINKTYPE_RAW || linktype == LINKTYPE_IPV4 ||
           linktype == LINKTYPE_IPV6;
}

int records_relinkable(uint32_t from, uint32_t to)
{
    if (to == LINKTYPE_RAW)
        return is_ip(from) || from == LINKTYPE_NFLOG || from == LINKTYPE_ETHERNET;
    return to == LINKTYPE_ETHERNET && (is_ip(from) || from == LINKTYPE_NFLOG);
}

/* An IP packet as it is, or behind a header that says nothing but what it is. */
static int of_ip(struct passage *passage, uint32_t to)
{
    uint32_t ethertype = ip_ethertype(passage->packet, passage->caplen);

    if (ethertype == 0)
        return RELINK_NOT_IP;
    if (to == LINKTYPE_ETHERNET) {
        memset(passage->header, 0, ADDRESSES);
        put16be(passage->header + ADDRESSES, ethertype);
        passage->link = ETHERNET_HEADER;
    }
    return RELINK_MADE;
}

/* Without its header, its tags and what a short packet was filled up with. */
static int of_ethernet(struct passage *passage)
{
    const uint8_t *frame = passage->packet;
    uint32_t at = ETHERNET_HEADER, ethertype, length, found;

    if (passage->caplen < at)
        return RELINK_MALFORMED;
    ethertype = get16be(frame + ADDRESSES);
    while ((ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ ||
            ethertype == ETHERTYPE_QINQ_OLD) &&
           passage->caplen - at >= VLAN_TAG) {
        ethertype = get16be(frame + at + 2);
        at += VLAN_TAG;
    }
    passage->packet += at;
    passage->caplen -= at;
    passage->origlen -= at;
    found = ip_ethertype(passage->packet, passage->caplen);
    if (found == 0 || found != ethertype)
        return RELINK_NOT_IP;
    length = ip_length(passage->packet, passage->caplen);
    if (length > 0 && length < passage->origlen)
        passage->origlen = length;
    if (passage->caplen > passage->origlen)
        passage->caplen = passage->origlen;
    return RELINK_MADE;
}

/* What its payload is, behind the header that its other TLVs tell of. */
static int of_nflog(struct passage *passage, uint32_t to)
{
    const uint8_t *record = passage->packet, *payload;
    uint32_t at = NFLOG_HEADER, ethertype = 0, length, kept;
    int is_whole = passage->caplen == passage->origlen;
    struct tlv tlv;
    size_t step;

    /* The version, of which there is one. */
    if (passage->caplen < NFLOG_HEADER || record[1] != 0)
        return RELINK_MALFORMED;
    for (;;) {
        uint32_t left = passage->caplen - at;

        if (left < TLV_HEADER)
            return RELINK_MALFORMED;
        if ((tlv_get16(record + at + 2, 0) & TLV_TYPE) == TLV_PAYLOAD)
            break;
        step = tlv_read(record + at, left, 0, &tlv);
        if (step == 0)
            return RELINK_MALFORMED;
        if (tlv.type == TLV_PACKET_HDR && tlv.length >= 2)
            ethertype = get16be(tlv.value);
        at += (uint32_t)step;
    }
    /* It goes on behind the end of a record that was cut. */
    length = tlv_get16(record + at, 0);
    kept = passage->caplen - at - TLV_HEADER;
    if (length < TLV_HEADER || (length - TLV_HEADER > kept && is_whole))
        return RELINK_MALFORMED;
    length -= TLV_HEADER;
    if (kept > length)
        kept = length;
    payload = record + at + TLV_HEADER;
    passage->packet = payload;
    passage->caplen = kept;
    passage->origlen = may_be_ip(ethertype) ? ip_origlen(payload, kept) : kept;
    if (passage->origlen < length)
        passage->origlen = length;
    if (to == LINKTYPE_RAW)
        return may_be_ip(ethertype) ? of_ip(passage, to) : RELINK_NOT_IP;
    if (kept > 0)
        passage->link = ethernet_header(record + NFLOG_HEADER, at - NFLOG_HEADER, 0,
                                        record[0], payload, kept, passage->header);
    return passage->link > 0 ? RELINK_MADE : RELINK_NOT_IP;
}

static int relink(struct passage *passage, uint32_t from, uint32_t to)
{
    if (from == LINKTYPE_NFLOG)
        return of_nflog(passage, to);
    if (from == LINKTYPE_ETHERNET)
        return of_ethernet(passage);
    return of_ip(passage, to);
}

/* Writes the records, whose link types records_relinkable() joins, to out, which has
 * room for length and RELINK_MORE for each of them.
 *
 * fates: NULL, or room for what becomes of each, RELINK_MADE and so on, in order. */
void records_relink(const uint8_t *records, size_t length, uint32_t from, uint32_t to,
                    uint8_t *out, uint8_t *fates, struct relinked *relinked)
{
    size_t at = 0;

    *relinked = (struct relinked){0};
    while (at < length) {
        const uint8_t *record = records + at;
        struct passage passage = {.packet = record + RECORD_HEADER,
                                  .caplen = get32(record + 8),
                                  .origlen = get32(record + 12)};
        uint8_t *made = out + relinked->length;
        int fate;

        at += RECORD_HEADER + (size_t)passage.caplen;
        fate = relink(&passage, from, to);
        relinked->fates[fate]++;
        if (fates != NULL)
            *fates++ = (uint8_t)fate;
        if (fate != RELINK_MADE)
            continue;
        if (passage.caplen > CAPLEN_MAX - passage.link)
            passage.caplen = CAPLEN_MAX - passage.link;
        if (passage.origlen > UINT32_MAX - passage.link)
            passage.origlen = UINT32_MAX - passage.link;
        memcpy(made, record, 8);
        put32(made + 8, passage.link + passage.caplen);
        put32(made + 12, passage.link + passage.origlen);
        memcpy(made + RECORD_HEADER, passage.header, passage.link);
        memcpy(made + RECORD_HEADER + passage.link, passage.packet, passage.caplen);
        relinked->length += RECORD_HEADER + passage.link + (size_t)passage.caplen;
    }
}
