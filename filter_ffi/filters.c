/* Asks each packet what filters want to know, and gathers for each filter the records
 * that it takes.
 *
 * A filter is a way through tests, forward only, that ends in a verdict: so a test is
 * only asked where it matters, and of several filters that share a test the first one
 * asks. What tests need of a packet's inside is looked for where the first one needs
 * it: filters of nothing but BPF never do.
 *
 * Of many filters, those that ask about nothing but addresses, ports and flows say the
 * same of all packets that have these in common. What they said is kept for the packets
 * that come next, by a keyed number of 64 bits. */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#include "pcap_ffi.h"

/* Of all filters together: so much one packet may cost. */
#define STEPS_MAX (1 << 22)

/* Each test is asked once a packet. */
static int ask_once(struct filters *filters, uint32_t test, struct asked *asked)
{
    uint64_t *last = &filters->asked[test];

    if (*last >> 1 != filters->packet)
        *last = filters->packet << 1 |
                (uint64_t)ask(filters, &filters->tests[test], asked);
    return (int)(*last & 1);
}

static int is_taken(struct filters *filters, uint32_t step, struct asked *asked)
{
    while (step < STEP_LEAVE) {
        const struct filter_step *here = &filters->steps[step];

        step = ask_once(filters, here->test, asked) ? here->yes : here->no;
    }
    return step == STEP_TAKE;
}

static void ask_filters(struct filters *filters, const uint32_t *numbers,
                        uint32_t count, struct asked *asked, uint64_t *mask)
{
    for (uint32_t at = 0; at < count; at++) {
        uint32_t filter = numbers[at];

        if (is_taken(filters, filters->firsts[filter], asked))
            mask[filter / 64] |= (uint64_t)1 << filter % 64;
    }
}

static unsigned add_words(uint64_t *words, const struct level *level)
{
    words[0] = (uint64_t)level->version << 48 | (uint64_t)level->protocol << 40 |
               (uint64_t)level->has_ports << 32 | (uint64_t)level->source_port << 16 |
               level->target_port;
    if (level->version == 4) {
        words[1] = (uint64_t)big32(level->source) << 32 | big32(level->target);
        return 2;
    }
    words[1] = big64(level->source);
    words[2] = big64(level->source + 8);
    words[3] = big64(level->target);
    words[4] = big64(level->target + 8);
    return 5;
}

/* The number of all that filters of `kept` may ask about; never 0. */
static uint64_t number_of(const struct filters *filters)
{
    const struct layers *layers = &filters->layers;
    struct span span = asked_of(filters, layers->levels_count);
    uint64_t words[5 * (LEVELS_MAX + 1) + 1];
    unsigned count = 1;

    for (uint32_t at = span.from; at < span.until; at++)
        count += add_words(words + count, &layers->levels[at]);
    words[0] = (uint64_t)is_quoted(layers, span);
    if (words[0])
        count += add_words(words + count, &layers->quoted);
    return flow_siphash(&filters->datagrams.seed, words, count) | 1;
}

/* The same for filters whose verdicts are kept. */
static void ask_kept(struct filters *filters, struct asked *asked, uint64_t *mask,
                     uint32_t words)
{
    uint64_t number, *verdict;

    look_into(filters, asked);
    number = number_of(filters);
    verdict = filters->verdicts +
              (size_t)(number >> 1 & (filters->verdicts_count - 1)) * (1 + words);
    if (verdict[0] != number) {
        verdict[0] = number;
        memset(verdict + 1, 0, words * sizeof(*verdict));
        ask_filters(filters, filters->kept, filters->kept_count, asked, verdict + 1);
    }
    memcpy(mask, verdict + 1, words * sizeof(*mask));
}

/* Keeps verdicts from now on, of filters that are known. Returns -1 where there is no
 * memory. */
int filters_keep_verdicts(struct filters *filters)
{
    size_t octets = (1 + ((size_t)filters->filters_count + 63) / 64) * 8;

    filters->verdicts_count = 1;
    while (filters->verdicts_count < VERDICTS_MAX &&
           2 * filters->verdicts_count * octets <= VERDICTS_OCTETS)
        filters->verdicts_count *= 2;
    filters->verdicts = calloc(filters->verdicts_count, octets);
    return filters->verdicts == NULL ? -1 : 0;
}

/* Says which filters take which record: bit filter % 64 of the word filter / 64 of each
 * packet's, as many words as all filters need; and of each filter how many records it
 * takes, and their octets. Returns 0; -1 where the records are not `count` whole ones. */
int filters_choose(struct filters *filters, uint32_t linktype, const uint8_t *records,
                   size_t length, uint32_t count, uint64_t *masks, uint64_t *lengths,
                   uint32_t *counts)
{
    uint32_t words = (filters->filters_count + 63) / 64;
    size_t at = 0;

    memset(lengths, 0, filters->filters_count * sizeof(*lengths));
    memset(counts, 0, filters->filters_count * sizeof(*counts));
    memset(masks, 0, (size_t)count * words * sizeof(*masks));
    for (uint32_t packet = 0; packet < count; packet++, masks += words) {
        struct asked asked = {.linktype = linktype, .record = records + at};
        size_t octets;

        if (length - at < RECORD_HEADER)
            return -1;
        asked.caplen = get32(records + at + 8);
        if (asked.caplen > length - at - RECORD_HEADER)
            return -1;
        octets = RECORD_HEADER + (size_t)asked.caplen;
        filters->packet++;
        if (filters->verdicts != NULL)
            ask_kept(filters, &asked, masks, words);
        else
            ask_filters(filters, filters->kept, filters->kept_count, &asked, masks);
        ask_filters(filters, filters->others, filters->others_count, &asked, masks);
        for (uint32_t word = 0; word < words; word++)
            for (uint64_t left = masks[word]; left != 0; left &= left - 1) {
                uint32_t filter = 64 * word + (uint32_t)__builtin_ctzll(left);

                lengths[filter] += octets;
                counts[filter]++;
            }
        at += octets;
    }
    return at == length ? 0 : -1;
}

/* Of one filter: what is taken without a gap is copied at once. */
static void gather_one(const uint8_t *records, size_t length, const uint64_t *masks,
                       uint8_t *out)
{
    size_t from = 0, at = 0;

    while (at < length) {
        size_t octets = RECORD_HEADER + (size_t)get32(records + at + 8);

        if (!*masks++) {
            memcpy(out, records + from, at - from);
            out += at - from;
            from = at + octets;
        }
        at += octets;
    }
    memcpy(out, records + from, at - from);
}

/* Copies to each filter's memory the records that it takes, by what filters_choose said
 * of the same records. outs: one for each filter, with room for its octets, or NULL for
 * one that needs no copy; they move on. */
void filters_gather(const uint8_t *records, size_t length, const uint64_t *masks,
                    uint32_t filters, uint8_t **outs)
{
    uint32_t words = (filters + 63) / 64;

    if (filters == 1) {
        gather_one(records, length, masks, outs[0]);
        return;
    }
    for (size_t at = 0; at < length; masks += words) {
        size_t octets = RECORD_HEADER + (size_t)get32(records + at + 8);

        for (uint32_t word = 0; word < words; word++)
            for (uint64_t left = masks[word]; left != 0; left &= left - 1) {
                uint8_t **out = &outs[64 * word + (uint32_t)__builtin_ctzll(left)];

                if (*out == NULL)
                    continue;
                memcpy(*out, records + at, octets);
                *out += octets;
            }
        at += octets;
    }
}

static int is_forward(const struct filters *filters, uint32_t from, uint32_t to)
{
    return to >= STEP_LEAVE || (to > from && to < filters->steps_count);
}

/* Whether every way through the steps ends. */
int filters_are_sound(const struct filters *filters)
{
    if (filters->filters_count > FILTERS_MAX || filters->steps_count > STEPS_MAX ||
        filters->kept_count > FILTERS_MAX || filters->others_count > FILTERS_MAX)
        return 0;
    for (uint32_t at = 0; at < filters->kept_count; at++)
        if (filters->kept[at] >= filters->filters_count)
            return 0;
    for (uint32_t at = 0; at < filters->others_count; at++)
        if (filters->others[at] >= filters->filters_count)
            return 0;
    for (uint32_t filter = 0; filter < filters->filters_count; filter++)
        if (filters->firsts[filter] < STEP_LEAVE &&
            filters->firsts[filter] >= filters->steps_count)
            return 0;
    for (uint32_t step = 0; step < filters->steps_count; step++) {
        const struct filter_step *here = &filters->steps[step];

        if (here->test >= filters->tests_count ||
            !is_forward(filters, step, here->yes) || !is_forward(filters, step, here->no))
            return 0;
    }
    return 1;
}

/* Its memory is the caller's, until filters_free; NULL: there is none. */
struct filters *filters_new(uint32_t tests, uint64_t seed)
{
    struct filters *filters = calloc(1, sizeof(*filters));

    if (filters == NULL)
        return NULL;
    filters->tests_count = tests;
    filters->asked = calloc(tests ? tests : 1, sizeof(*filters->asked));
    if (filters->asked == NULL) {
        free(filters);
        return NULL;
    }
    filters->datagrams.seed = flow_seed_of(seed);
    return filters;
}

void filters_free(struct filters *filters)
{
    if (filters == NULL)
        return;
    free(filters->asked);
    free(filters->verdicts);
    free(filters);
}

/* Memory that is not cleared; NULL: there is none. */
void *filter_alloc(size_t size)
{
    return malloc(size);
}

void filter_free(void *memory)
{
    free(memory);
}
