/* What Python may see of filter.h, decapsulate.h, dedup.h and pcap_ffi.h. */
#define FILTERS_MAX ...
#define FILTER_MAX ...
#define FLOW_PACKED ...
#define DEPTH_MAX ...

struct flow_set;
struct flow_set *flow_set_new(uint64_t seed);
void flow_set_free(struct flow_set *set);
size_t flow_set_count(const struct flow_set *set);
int64_t flow_set_add_packed(struct flow_set *set, const uint8_t *packed, size_t flows);

struct bpf_insn {
    uint16_t code;
    uint8_t jt;
    uint8_t jf;
    uint32_t k;
};
int filter_is_valid(const struct bpf_insn *filter, uint32_t count);

#define FILTER_SUBNETS ...
#define FILTER_PORTS ...
#define FILTER_MACS ...
#define FILTER_FLOWS ...
#define FILTER_BPF ...
#define FILTER_TIME ...
#define STEP_TAKE ...
#define STEP_LEAVE ...

struct filter_test {
    uint32_t kind;
    uint32_t side;
    const uint32_t *ranges;
    uint32_t ranges_count;
    const uint32_t *firsts;
    const uint64_t *ranges6;
    uint32_t ranges6_count;
    const uint64_t *macs;
    uint32_t macs_count;
    const struct flow_set *flows;
    const struct bpf_insn *program;
    int64_t from_ns, until_ns;
};
struct filter_step {
    uint32_t test;
    uint32_t yes, no;
};
struct filters {
    const struct filter_test *tests;
    const struct filter_step *steps;
    const uint32_t *firsts;
    uint32_t tests_count, steps_count, filters_count;
    uint32_t level;
    const uint32_t *kept, *others;
    uint32_t kept_count, others_count;
    uint64_t orphans;
    ...;
};
struct filters *filters_new(uint32_t tests, uint64_t seed);
void filters_free(struct filters *filters);
int filters_are_sound(const struct filters *filters);
int filters_keep_verdicts(struct filters *filters);
int filters_choose(struct filters *filters, uint32_t linktype, const uint8_t *records,
                   size_t length, uint32_t count, uint64_t *masks, uint64_t *lengths,
                   uint32_t *counts);
void filters_gather(const uint8_t *records, size_t length, const uint64_t *masks,
                    uint32_t filters, uint8_t **outs);

struct peeler {
    uint32_t depth;
    uint32_t kinds;
    uint64_t changed;
    uint64_t taken_off[...];
    uint64_t undone[...];
};
struct peeled {
    uint32_t linktype, count;
    uint64_t length;
};
int64_t peel_records(struct peeler *peeler, uint32_t linktype, const uint8_t *records,
                     size_t length, uint32_t count, uint8_t *out,
                     struct peeled *parts);

struct dedup {
    uint64_t seen, dropped, forgotten;
    ...;
};
struct dedup *dedup_new(int64_t window_ns, size_t octets, uint64_t seed);
void dedup_free(struct dedup *dedup);
int dedup_choose(struct dedup *dedup, uint32_t linktype, const uint8_t *records,
                 size_t length, uint32_t count, uint64_t *kept, uint64_t *kept_length,
                 uint32_t *kept_count);

void *filter_alloc(size_t size);
void filter_free(void *memory);
