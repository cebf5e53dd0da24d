/* What Python may see of flow.h. */
#define FLOW_TARGETS_MAX ...

struct flow_hasher;
struct flow_hasher *flow_hasher_new(uint64_t seed, int inner);
void flow_hasher_free(struct flow_hasher *hasher);
uint64_t flow_of(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *packet,
                 uint32_t caplen);
uint64_t flow_hash(const uint8_t *packet, uint32_t caplen, uint32_t linktype, int inner,
                   uint64_t seed);

int flow_choose(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, const uint64_t *targets, uint32_t targets_count,
                const uint32_t *segments, uint32_t segments_count, uint16_t *chosen,
                uint64_t *lengths, uint32_t *counts);
void flow_part(const uint8_t *records, size_t length, const uint16_t *chosen,
               uint8_t **outs);

void *flow_alloc(size_t size);
void flow_free(void *memory);

#define HEADS_OCTETS_MIN ...
#define HEADS_PLACES ...
#define FLOWS_PARTS ...

struct shed {
    size_t kept_length;
    uint32_t kept;
    uint32_t tails;
    uint32_t flows;
};

struct heads;
struct heads *heads_new(size_t octets, uint64_t seed);
void heads_free(struct heads *heads);
void heads_shed(struct heads *heads, uint32_t linktype, const uint8_t *records,
                size_t length, uint32_t now_ms, uint64_t limit, uint64_t admitted,
                uint8_t *out, uint64_t *places, struct shed *shed);
uint32_t heads_place(uint64_t octets);
void flows_shed(struct flow_hasher *hasher, uint32_t linktype, const uint8_t *records,
                size_t length, uint64_t admitted, uint8_t *out, uint64_t *parts,
                struct shed *shed);
