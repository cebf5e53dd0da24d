/* What filters ask of packets, and which records they take: what layers.c, flow_set.c,
 * ask.c and filters.c offer. No system call in any of them. */
#ifndef FILTER_FFI_FILTER_H
#define FILTER_FFI_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "flow.h"
#include "within.h"

/* flow_set.c */

/* An end, as packets say it: in the order of the network, an address of IPv4 first in
 * its octets and zeros behind it. */
struct end {
    uint8_t address[16];
    uint16_t port;
};

struct flow_set;
struct flow_set *flow_set_new(uint64_t seed);
void flow_set_free(struct flow_set *set);
size_t flow_set_count(const struct flow_set *set);
int flow_set_add(struct flow_set *set, unsigned version, unsigned protocol,
                 const struct end *one, const struct end *other);
int flow_set_has(const struct flow_set *set, unsigned version, unsigned protocol,
                 const struct end *one, const struct end *other);

/* Of packed flows; see flow_set.py. */
#define FLOW_PACKED 38
int64_t flow_set_add_packed(struct flow_set *set, const uint8_t *packed, size_t flows);

/* layers.c: where in a packet its addresses and ports are. */

/* A packet of IP. */
struct level {
    const uint8_t *source, *target;
    unsigned version, protocol;
    int has_ports;
    uint16_t source_port, target_port;
    uint64_t datagram; /* whose first fragment it is; 0: none */
};

#define LEVELS_MAX (DEPTH_MAX + 1)

struct layers {
    struct level levels[LEVELS_MAX]; /* the outermost one first */
    uint32_t levels_count;
    int has_quoted; /* the last one is an ICMP error, and quotes this: */
    struct level quoted;
    const uint8_t *frames[LEVELS_MAX]; /* headers of Ethernet, the outermost first */
    uint32_t frames_count;
    const uint8_t *sender; /* six octets of a cooked capture; or NULL */
    int is_orphan;         /* a fragment whose first one was not seen */
    uint8_t recalled[32];  /* addresses of what lay in a datagram's first fragment */
};

/* What first fragments said, for the last few datagrams; the table is of one size. */
#define DATAGRAM_WAYS 4
#define DATAGRAM_SETS 512

/* What is remembered of a level. */
struct said {
    uint8_t version, protocol, has_ports;
    uint16_t source_port, target_port;
};

struct datagram {
    uint64_t number; /* 0: none */
    struct said outer;
    struct said inner; /* of the innermost packet within; version 0: there is none */
    uint8_t ends[32];  /* of that one, its addresses */
};

struct datagrams {
    struct flow_seed seed;
    struct datagram entries[DATAGRAM_SETS][DATAGRAM_WAYS]; /* the newest first */
};

void layers_find(struct layers *layers, struct datagrams *datagrams, uint32_t linktype,
                 struct octets packet, int is_deep);

/* What filters are made of. */
#define FILTERS_MAX 4096

enum filter_kind {
    FILTER_SUBNETS,
    FILTER_PORTS,
    FILTER_MACS,
    FILTER_FLOWS,
    FILTER_BPF,
    FILTER_TIME,
};

#define SIDE_SOURCE 1
#define SIDE_TARGET 2

#define LEVEL_OUTER 0
#define LEVEL_INNER 1
#define LEVEL_ANY 2

struct bpf_insn;

/* What one test looks for. All it points to is the caller's, who keeps it. Ranges are
 * sorted by their lower ends, and do not touch. */
struct filter_test {
    uint32_t kind;
    uint32_t side;
    /* Pairs of the lowest and the highest: addresses of IPv4, or protocols << 16 |
     * ports. */
    const uint32_t *ranges;
    uint32_t ranges_count;
    /* NULL, or for each upper half of an address the first range that does not end
     * before it; one more for the end. */
    const uint32_t *firsts;
    const uint64_t *ranges6; /* the same of IPv6, each address two numbers */
    uint32_t ranges6_count;
    const uint64_t *macs; /* sorted */
    uint32_t macs_count;
    const struct flow_set *flows;
    const struct bpf_insn *program;
    int64_t from_ns, until_ns;
};

/* A filter is steps from its first one to a verdict, forward only. */
#define STEP_TAKE UINT32_MAX
#define STEP_LEAVE (UINT32_MAX - 1)

struct filter_step {
    uint32_t test;
    uint32_t yes, no; /* the next step, by its place among all, or a verdict */
};

/* Verdicts that are kept, by what packets have in common that filters ask about: in so
 * much memory at most, and so many. */
#define VERDICTS_OCTETS (8 << 20)
#define VERDICTS_MAX (1 << 15)

struct filters {
    /* The caller's, who keeps it and says what is true. */
    const struct filter_test *tests;
    const struct filter_step *steps;
    const uint32_t *firsts; /* the first step of each filter, or a verdict */
    uint32_t tests_count, steps_count, filters_count;
    uint32_t level;
    /* Numbers of the filters that ask about nothing but addresses, ports and flows of
     * IP, and whose verdicts are to be kept; and of the others. Together each once. */
    const uint32_t *kept, *others;
    uint32_t kept_count, others_count;

    uint64_t orphans;

    /* By filters_new. */
    uint64_t *verdicts; /* a number of packets, and the words of their mask; or NULL */
    size_t verdicts_count; /* a power of two */
    uint64_t packet;
    uint64_t *asked; /* of each test: the last packet that was asked, and its answer */
    struct layers layers;
    struct datagrams datagrams;
};

/* ask.c */

/* A packet that is asked. */
struct asked {
    uint32_t linktype;
    const uint8_t *record;
    uint32_t caplen;
    int has_layers; /* filters->layers are those of it */
};

/* Of so many packets, or headers, that lie in each other those that are asked. */
struct span {
    uint32_t from, until;
};

static inline struct span asked_of(const struct filters *filters, uint32_t count)
{
    struct span span = {0, count};

    if (filters->level == LEVEL_OUTER && count > 1)
        span.until = 1;
    if (filters->level == LEVEL_INNER && count > 1)
        span.from = count - 1;
    return span;
}

/* Whether what is quoted belongs to those that are asked. */
static inline int is_quoted(const struct layers *layers, struct span span)
{
    return layers->has_quoted && span.until == layers->levels_count;
}

void look_into(struct filters *filters, struct asked *asked);
int ask(struct filters *filters, const struct filter_test *test, struct asked *asked);

/* filters.c */
struct filters *filters_new(uint32_t tests, uint64_t seed);
void filters_free(struct filters *filters);
int filters_are_sound(const struct filters *filters);
int filters_keep_verdicts(struct filters *filters);
int filters_choose(struct filters *filters, uint32_t linktype, const uint8_t *records,
                   size_t length, uint32_t count, uint64_t *masks, uint64_t *lengths,
                   uint32_t *counts);
void filters_gather(const uint8_t *records, size_t length, const uint64_t *masks,
                    uint32_t filters, uint8_t **outs);

void *filter_alloc(size_t size);
void filter_free(void *memory);

#endif
