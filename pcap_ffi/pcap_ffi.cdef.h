/* What Python may see of pcap_ffi.h. */
#define RECORD_HEADER ...
#define CAPLEN_MAX ...

int64_t records_count(const uint8_t *records, size_t length, size_t *at);
void records_to_microseconds(uint8_t *records, size_t length);
size_t records_truncate(uint8_t *records, size_t length, uint32_t snaplen);
size_t records_whole(const uint8_t *records, size_t length, size_t limit);
size_t records_end(const uint8_t *records, size_t length, uint64_t count);
uint32_t records_longer(const uint8_t *records, size_t length, uint32_t linktype,
                        uint32_t mtu);
size_t records_fit(const uint8_t *records, size_t length, uint32_t linktype,
                   uint32_t mtu, int cut, uint8_t *out);

struct latency {
    uint64_t *counts;
    uint64_t ahead;
    double sum_s;
};
void latency_observe(struct latency *latency, const int64_t *bounds_ns, size_t bounds,
                     const uint8_t *records, size_t length, int64_t now_ns,
                     uint32_t unit_ns);

#define CAPTURE_NEEDS_MAX ...
#define CAPTURE_WANTS ...
#define CAPTURE_FULL ...
#define CAPTURE_TURNS ...
#define CAPTURE_BROKEN ...
#define CAPTURE_NO_MEMORY ...

enum capture_kind { CAPTURE_UNKNOWN, CAPTURE_PCAP, CAPTURE_PCAPNG };

struct capture_sums {
    uint64_t packets;
    uint64_t octets;
    uint64_t octets_on_wire;
    uint64_t truncated;
    uint64_t backwards;
    uint64_t without_time;
    int64_t first_ns;
    int64_t last_ns;
    uint32_t interfaces;
    uint32_t snaplen;
};
#define CAPTURE_SPANS ...
struct capture_rates {
    int64_t start_ns;
    int64_t span_ns;
    int64_t now_ns;
    uint32_t now;
    uint32_t used;
    uint64_t packets[512];
    uint64_t octets[512];
};
struct capture_interface {
    uint32_t linktype;
    ...;
};
struct capture {
    enum capture_kind kind;
    uint64_t at;
    uint64_t to_skip;
    uint32_t linktype;
    struct capture_interface *interfaces;
    uint32_t interfaces_count;
    struct capture_sums sums;
    struct capture_rates *rates;
    const struct bpf_insn *filter;
    uint32_t filter_linktype;
    uint64_t passed_over;
    uint32_t largest;
    char reason[96];
    ...;
};
struct capture *capture_new(void);
void capture_free(struct capture *capture);
int capture_read(struct capture *capture, const uint8_t *in, size_t length,
                 size_t *taken, uint8_t *out, size_t capacity, size_t *used,
                 uint32_t *count, int goes_on);

#define FILTER_MAX ...

struct bpf_insn {
    uint16_t code;
    uint8_t jt;
    uint8_t jf;
    uint32_t k;
};
struct bpf_program {
    uint32_t bf_len;
    struct bpf_insn *bf_insns;
};
typedef struct pcap pcap_t;
pcap_t *pcap_open_dead(int linktype, int snaplen);
void pcap_close(pcap_t *handle);
char *pcap_geterr(pcap_t *handle);
int pcap_compile(pcap_t *handle, struct bpf_program *program, const char *expression,
                 int optimize, uint32_t netmask);
void pcap_freecode(struct bpf_program *program);

int filter_is_valid(const struct bpf_insn *filter, uint32_t count);
size_t records_select(const uint8_t *records, size_t length, int64_t from_ns,
                      int64_t until_ns, uint32_t unit_ns, uint32_t linktype,
                      const struct bpf_insn *filter, uint8_t *out, uint32_t *count);

#define RELINK_MADE ...
#define RELINK_MALFORMED ...
#define RELINK_NOT_IP ...
#define RELINK_MORE ...
struct relinked {
    size_t length;
    uint32_t fates[...];
};
int records_relinkable(uint32_t from, uint32_t to);
void records_relink(const uint8_t *records, size_t length, uint32_t from, uint32_t to,
                    uint8_t *out, uint8_t *fates, struct relinked *relinked);

struct pcapng_part {
    uint32_t interface;
    uint64_t lost;
};
size_t pcapng_room(const uint8_t *records, size_t length, uint32_t count,
                   uint32_t parts, uint32_t linktype, uint32_t wanted);
size_t pcapng_encode(const uint8_t *records, size_t length, uint32_t per_second,
                     uint32_t linktype, uint32_t wanted, const uint32_t *order,
                     size_t order_length, struct pcapng_part *parts,
                     uint32_t parts_count, uint8_t *out);
size_t pcapng_whole(const uint8_t *blocks, size_t length, size_t limit);
uint64_t pcapng_packets(const uint8_t *blocks, size_t length);
size_t pcapng_undeclared(const uint8_t *blocks, size_t length, size_t at);

#define MEND_FIX ...
#define MEND_SEGMENT ...
struct mend {
    uint32_t linktype;
    uint32_t what;
    uint32_t mtu;
    size_t room;
    uint32_t splits;
    uint32_t fixed;
    uint32_t unfixed;
    uint32_t segments;
    uint32_t unsegmented;
};
struct mend_split {
    uint32_t first;
    uint32_t records;
};
void mend_plan(struct mend *mend, const uint8_t *records, size_t length);
size_t mend_apply(struct mend *mend, const uint8_t *records, size_t length,
                  uint8_t *out, struct mend_split *splits);

void *buffer_alloc(size_t size);
void buffer_free(void *memory);
void buffer_keep_freed(void);

struct survey {
    size_t length;
    uint32_t packets;
    uint32_t disordered;
    int64_t newest_ns;
};
void records_survey(const uint8_t *records, size_t length, uint32_t packets,
                    uint32_t unit_ns, struct survey *survey);
int records_sort(const uint8_t *records, size_t length, uint32_t packets,
                 uint32_t unit_ns, uint8_t *out);

#define MERGE_KEY_MAX ...
struct merge_run {
    int64_t last_ns;
    uint32_t packets, left;
    ...;
};
struct taken {
    size_t used;
    size_t wanted;
    uint32_t packets, parts, turns, late;
    uint32_t linktype;
    int is_whole;
    int64_t asks;
    uint32_t slots[...];
    uint32_t totals[...];
    uint32_t lates[...];
    uint32_t lefts[...];
    uint32_t order[...];
};
struct merge {
    struct merge_run *runs;
    uint32_t count;
    struct taken taken;
    ...;
};
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

struct period {
    int64_t from_ns, until_ns;
    int64_t moved_ns;
    int only_forward;
    int64_t first_ns;
    int64_t newest_ns;
    uint64_t kept;
    uint64_t octets, octets_on_wire;
    uint32_t packets;
    uint32_t before;
    uint32_t beyond;
    uint32_t backwards;
    uint32_t skipped;
};
size_t records_period(uint8_t *records, size_t length, struct period *period);
