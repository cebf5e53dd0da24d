/* The shapes that merge.c offers. */
#ifndef PCAP_FFI_MERGE_H
#define PCAP_FFI_MERGE_H

#include <stddef.h>
#include <stdint.h>

/* What one call gives at most: parts of so many runs, in so many turns. */
#define MERGE_PARTS 512
#define MERGE_TURNS 4096

/* Keys stay far from the ends of their type, whatever somebody's clock shows. */
#define MERGE_KEY_MAX (INT64_C(1) << 62)

/* What a walk over some records finds. */
struct survey {
    size_t length;      /* octets of them */
    uint32_t packets;
    uint32_t disordered; /* stamped earlier than one before them */
    int64_t newest_ns;
};

/* Packets in the order of their times, waiting to be given. The records are the
 * caller's, who keeps them until `left` of the run is 0. */
struct merge_run {
    const uint8_t *records;
    size_t length, at;
    int64_t epoch_ns;   /* a packet's key is its time less this, */
    int64_t ceiling_ns; /* and no more than this */
    int64_t last_ns;    /* the last one's key */
    int64_t key;        /* of the packet at `at`; never below that of one before it */
    uint64_t number;    /* of its coming: among equal keys the first to come goes first, */
    uint32_t rank;      /* if its rank is not higher */
    uint32_t packets, left;
    uint32_t linktype;
    int has_more; /* it stays when it is used up */
    uint32_t next_free;
    uint32_t part; /* in `taken`, where `call` is the present one */
    uint64_t call;
};

/* What one call gave. */
struct taken {
    size_t used;       /* octets written */
    size_t wanted;     /* room that the first packet would have needed; else 0 */
    uint32_t packets, parts, turns, late;
    uint32_t linktype;
    int is_whole;      /* nothing was written: all of one run, as it is */
    int64_t asks;      /* the slot of what is used up and has more; -1: none */
    uint32_t slots[MERGE_PARTS];
    uint32_t totals[MERGE_PARTS]; /* packets of each part, */
    uint32_t lates[MERGE_PARTS];  /* and those that should have gone earlier */
    uint32_t lefts[MERGE_PARTS];  /* what its run still has */
    uint32_t order[2 * MERGE_TURNS]; /* part and packets, by turns */
};

struct merge {
    uint32_t unit_ns; /* what the fraction of a second counts */
    struct merge_run *runs;
    uint32_t *heap; /* slots; the one whose packet is next is the first */
    uint32_t room, count, first_free;
    uint64_t numbers, calls;
    int64_t passed_ns; /* the highest key that has been given */
    struct taken taken;
};

void records_survey(const uint8_t *records, size_t length, uint32_t packets,
                    uint32_t unit_ns, struct survey *survey);
int records_sort(const uint8_t *records, size_t length, uint32_t packets,
                 uint32_t unit_ns, uint8_t *out);

struct merge *merge_new(uint32_t unit_ns);
void merge_free(struct merge *merge);
int64_t merge_add(struct merge *merge, const uint8_t *records, size_t length,
                  uint32_t packets, int64_t epoch_ns, int64_t ceiling_ns,
                  int64_t newest_ns, uint32_t linktype);
int64_t merge_add_part(struct merge *merge, const uint8_t *records, size_t length,
                       uint32_t packets, int64_t floor_ns, int64_t newest_ns,
                       uint32_t linktype, uint32_t rank, int has_more);
void merge_drop(struct merge *merge);
int64_t merge_first(const struct merge *merge);
void merge_take(struct merge *merge, int64_t until_ns, uint8_t *out, size_t capacity,
                size_t whole);

#endif
