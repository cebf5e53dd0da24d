/* The shapes that period.c offers. */
#ifndef PCAP_FFI_PERIOD_H
#define PCAP_FFI_PERIOD_H

#include <stddef.h>
#include <stdint.h>

struct period {
    int64_t from_ns, until_ns; /* from_ns <= time < until_ns is kept */
    int64_t moved_ns;          /* and that added to it */
    int only_forward;          /* leave out what goes back in time */
    /* Of what was kept so far, before it was moved. */
    int64_t first_ns;  /* the earliest time; INT64_MAX: nothing was kept */
    int64_t newest_ns; /* the latest; INT64_MIN */
    uint64_t kept;     /* packets */
    uint64_t octets, octets_on_wire; /* of them, without headers */
    /* Of this call. */
    uint32_t packets;   /* that were kept */
    uint32_t before;    /* too early */
    uint32_t beyond;    /* too late */
    uint32_t backwards; /* before one that was kept before them */
    uint32_t skipped;   /* of them */
};

size_t records_period(uint8_t *records, size_t length, struct period *period);

#endif
