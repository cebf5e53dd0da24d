/* Tells packets that were seen a moment ago from those that were not.
 *
 * A table in sets of a few: a packet's number says which set, and what has left the
 * window makes room. It grows where a set is full of what has not, up to a bound; from
 * there on the one that is furthest away in time is forgotten. Times are the packets'
 * own and may go back. */
#include "dedup.h"

#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

#define SETS_MIN 1024

struct seen {
    uint64_t number; /* 0: none */
    int64_t time_ns;
};

static size_t set_of(const struct dedup *dedup, uint64_t number)
{
    return (size_t)number & (dedup->sets - 1);
}

static uint64_t apart(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
}

/* Twice as many sets: what was in one goes to one of two, and nothing is lost. */
static int grow(struct dedup *dedup)
{
    struct seen *old = dedup->entries;
    size_t sets = dedup->sets;

    if (2 * sets > dedup->sets_max)
        return 0;
    dedup->entries = calloc(2 * sets * SEEN_WAYS, sizeof(*dedup->entries));
    if (dedup->entries == NULL) {
        dedup->entries = old;
        return 0;
    }
    dedup->sets = 2 * sets;
    for (size_t at = 0; at < sets * SEEN_WAYS; at++) {
        struct seen *set = dedup->entries + set_of(dedup, old[at].number) * SEEN_WAYS;
        unsigned way = 0;

        if (old[at].number == 0)
            continue;
        while (set[way].number != 0)
            way++;
        set[way] = old[at];
    }
    free(old);
    return 1;
}

/* Where a packet is to be remembered; NULL where it was seen. */
static struct seen *place_for(struct dedup *dedup, uint64_t number, int64_t time_ns)
{
    for (;;) {
        struct seen *set = dedup->entries + set_of(dedup, number) * SEEN_WAYS;
        struct seen *place = NULL;
        uint64_t furthest = 0;

        for (unsigned way = 0; way < SEEN_WAYS; way++) {
            uint64_t away = set[way].number == 0
                                ? UINT64_MAX
                                : apart(set[way].time_ns, time_ns);

            if (set[way].number == number) {
                if (away <= (uint64_t)dedup->window_ns)
                    return NULL;
                /* It is another one now. */
                return &set[way];
            }
            if (place == NULL || away > furthest) {
                place = &set[way];
                furthest = away;
            }
        }
        if (furthest > (uint64_t)dedup->window_ns)
            return place;
        if (grow(dedup))
            continue;
        dedup->forgotten++;
        return place;
    }
}

static int is_new(struct dedup *dedup, uint64_t number, int64_t time_ns)
{
    struct seen *place = place_for(dedup, number, time_ns);

    if (place == NULL)
        return 0;
    *place = (struct seen){number, time_ns};
    return 1;
}

/* Says which records are to be kept: a word for each, 1 or 0, as filters_gather takes
 * them of one filter; and how many, and their octets. Returns 0; -1 where the records are
 * not `count` whole ones. */
int dedup_choose(struct dedup *dedup, uint32_t linktype, const uint8_t *records,
                 size_t length, uint32_t count, uint64_t *kept, uint64_t *kept_length,
                 uint32_t *kept_count)
{
    size_t at = 0;

    *kept_length = 0;
    *kept_count = 0;
    for (uint32_t packet = 0; packet < count; packet++) {
        const uint8_t *record = records + at;
        uint32_t caplen;
        int64_t time_ns;
        uint64_t number;

        if (length - at < RECORD_HEADER)
            return -1;
        caplen = get32(record + 8);
        if (caplen > length - at - RECORD_HEADER)
            return -1;
        time_ns = (int64_t)get32(record) * 1000000000 + get32(record + 4);
        number = digest_packet(&dedup->seed, linktype, record + RECORD_HEADER, caplen);
        kept[packet] = (uint64_t)is_new(dedup, number ? number : 1, time_ns);
        at += RECORD_HEADER + (size_t)caplen;
        dedup->seen++;
        if (kept[packet]) {
            *kept_length += RECORD_HEADER + (size_t)caplen;
            (*kept_count)++;
        } else {
            dedup->dropped++;
        }
    }
    return at == length ? 0 : -1;
}

/* octets: most memory for the table. Its memory is the caller's, until dedup_free; NULL:
 * there is none. */
struct dedup *dedup_new(int64_t window_ns, size_t octets, uint64_t seed)
{
    struct dedup *dedup = calloc(1, sizeof(*dedup));

    if (dedup == NULL)
        return NULL;
    dedup->window_ns = window_ns;
    dedup->seed = flow_seed_of(seed);
    dedup->sets = SETS_MIN;
    dedup->sets_max = octets / (SEEN_WAYS * SEEN_ENTRY);
    dedup->entries = calloc(dedup->sets * SEEN_WAYS, sizeof(*dedup->entries));
    if (dedup->entries == NULL) {
        free(dedup);
        return NULL;
    }
    return dedup;
}

void dedup_free(struct dedup *dedup)
{
    if (dedup == NULL)
        return;
    free(dedup->entries);
    free(dedup);
}
