/* What Python may see of pcap_ffi.h. */
#define RECORD_HEADER ...
#define CAPLEN_MAX ...
#define SAVEFILE_BEGINNING_MAX ...
#define SAVEFILE_FULL ...
#define SAVEFILE_WAITS ...
#define SAVEFILE_END ...
#define SAVEFILE_FAILED ...
#define PCAP_ERRBUF_SIZE ...

int64_t records_count(const uint8_t *records, size_t length, size_t *at);
void records_to_microseconds(uint8_t *records, size_t length);
size_t records_truncate(uint8_t *records, size_t length, uint32_t snaplen);
size_t records_whole(const uint8_t *records, size_t length, size_t limit);

struct latency {
    uint64_t *counts;
    uint64_t ahead;
    double sum_s;
};
void latency_observe(struct latency *latency, const int64_t *bounds_ns, size_t bounds,
                     const uint8_t *records, size_t length, int64_t now_ns,
                     uint32_t unit_ns);

struct savefile;
struct savefile *savefile_open(int fd, const char *beginning, size_t length,
                               char *errbuf);
void savefile_close(struct savefile *file);
int savefile_linktype(const struct savefile *file);
const char *savefile_error(struct savefile *file);
int savefile_read(struct savefile *file, uint8_t *out, size_t capacity, size_t *used,
                  uint32_t *count, int64_t age_ns);

void *buffer_alloc(size_t size);
void buffer_free(void *memory);
void buffer_keep_freed(void);
