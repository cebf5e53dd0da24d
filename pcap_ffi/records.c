/* Walks packed packet records: validates, rescales time, truncates. No system call.
 *
 * records_count() is the judge of octets from elsewhere; the others take only what it
 * has passed. */
#include "pcap_ffi.h"

#include <string.h>

#define NANOSECONDS 1000000000

/* How many records fill exactly length octets, or -1; *at is then where the first one
 * starts that does not fit the format. */
int64_t records_count(const uint8_t *records, size_t length, size_t *at)
{
    int64_t count = 0;

    *at = 0;
    while (*at < length) {
        const uint8_t *record = records + *at;
        uint32_t caplen;

        if (length - *at < RECORD_HEADER)
            return -1;
        caplen = get32(record + 8);
        if (get32(record + 4) >= NANOSECONDS || caplen > CAPLEN_MAX ||
            caplen > get32(record + 12) || caplen > length - *at - RECORD_HEADER)
            return -1;
        *at += RECORD_HEADER + caplen;
        count++;
    }
    return count;
}

/* Rescales nanoseconds to microseconds, in place. */
void records_to_microseconds(uint8_t *records, size_t length)
{
    size_t at = 0;

    while (at < length) {
        put32(records + at + 4, get32(records + at + 4) / 1000);
        at += RECORD_HEADER + get32(records + at + 8);
    }
}

/* Keeps at most snaplen octets of each packet, in place; origlen stays. Returns the
 * new length. */
size_t records_truncate(uint8_t *records, size_t length, uint32_t snaplen)
{
    size_t at = 0, kept = 0;

    while (at < length) {
        uint32_t caplen = get32(records + at + 8);
        uint32_t shorter = caplen < snaplen ? caplen : snaplen;

        memmove(records + kept, records + at, RECORD_HEADER + (size_t)shorter);
        put32(records + kept + 8, shorter);
        kept += RECORD_HEADER + (size_t)shorter;
        at += RECORD_HEADER + (size_t)caplen;
    }
    return kept;
}

/* Where the count-th record ends, or the last one where there are fewer. */
size_t records_end(const uint8_t *records, size_t length, uint64_t count)
{
    size_t at = 0;

    for (; count > 0 && at < length; count--)
        at += RECORD_HEADER + (size_t)get32(records + at + 8);
    return at;
}

/* Where the last record ends that ends at or before limit. */
size_t records_whole(const uint8_t *records, size_t length, size_t limit)
{
    size_t at = 0;

    while (at < length) {
        size_t end = at + RECORD_HEADER + get32(records + at + 8);

        if (end > limit)
            break;
        at = end;
    }
    return at;
}
