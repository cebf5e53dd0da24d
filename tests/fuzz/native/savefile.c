/* Invariant: whatever octets a savefile consists of, and in whatever pieces they arrive,
 * savefile_read() writes nothing beyond `used`; what it writes are records that
 * records_count() accepts, as many as it counted and together no longer than the
 * savefile; it comes to an end or a failure, and a failure stays one; and neither the
 * pieces nor small buffers change the records or the end.
 *
 * Input: 2 octets, the capacity of the buffers; 2 octets, the length of a piece and, by
 * the highest bit, whether the first one is the `beginning`; the savefile. */
#include "harness.h"

#include <sys/socket.h>
#include <unistd.h>

#include <pcap/pcap.h>

#include "pcap_ffi.h"

#define LENGTH_MAX (1 << 15)
#define PIECES_MAX 64

/* Everything that a savefile gave. */
struct result {
    int linktype; /* -1: it was refused */
    int status;
    char reason[PCAP_ERRBUF_SIZE];
    uint8_t *records;
    size_t length;
};

/* libpcap is not compiled for us and tells libFuzzer nothing of the ways that it takes;
 * so its words do. */
#ifdef __clang__
__attribute__((section("__libfuzzer_extra_counters")))
#endif
static uint8_t ways[4096];

static void note_way(const struct result *result)
{
    uint32_t hash = 2166136261u ^ (uint32_t)(result->status & 0xFF);

    for (const char *at = result->reason; *at != '\0'; at++)
        if (*at < '0' || *at > '9')
            hash = (hash ^ (uint8_t)*at) * 16777619u;
    ways[hash % sizeof(ways)] = 1;
    ways[(hash ^ (uint32_t)(result->linktype & 0xFF)) % sizeof(ways)] = 1;
}

/* A descriptor from which each read gets one piece. */
static int in_pieces(const uint8_t *octets, size_t length, size_t piece)
{
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    if (piece == 0 || length / piece > PIECES_MAX)
        piece = length / PIECES_MAX + 1;
    for (size_t at = 0; at < length; at += piece) {
        size_t left = length - at, wanted = piece < left ? piece : left;

        CHECK(send(ends[1], octets + at, wanted, 0) == (ssize_t)wanted);
    }
    close(ends[1]);
    return ends[0];
}

/* One call. Returns how it ended. */
static int call(struct savefile *file, size_t capacity, struct result *result,
                size_t bound)
{
    uint8_t *out = exactly(capacity);
    size_t used = 0, fault;
    uint32_t count = 0;
    int status;

    memset(out, CANARY, capacity);
    status = savefile_read(file, out, capacity, &used, &count, 0);
    CHECK(used <= capacity);
    for (size_t beyond = used; beyond < capacity; beyond++)
        CHECK(out[beyond] == CANARY);
    CHECK(records_count(out, used, &fault) == (int64_t)count);
    CHECK(used <= bound - result->length);
    memcpy(result->records + result->length, out, used);
    result->length += used;
    free(out);
    return status;
}

static struct result read_all(const uint8_t *octets, size_t length, size_t piece,
                              size_t beginning, size_t capacity)
{
    struct result result = {.linktype = -1, .records = exactly(length)};
    uint8_t *first = copy_of(octets, beginning);
    /* Records are no longer than the savefile is. */
    size_t ample = length;
    int fd = in_pieces(octets + beginning, length - beginning, piece);
    struct savefile *file =
        savefile_open(fd, (const char *)first, beginning, result.reason);

    free(first);
    if (file == NULL) {
        CHECK(memchr(result.reason, '\0', sizeof(result.reason)) != NULL);
        CHECK(result.reason[0] != '\0');
    } else {
        result.linktype = savefile_linktype(file);
        do {
            size_t before = result.length;

            result.status = call(file, capacity, &result, length);
            /* Too small for the next packet, which waits for a larger one. */
            if (result.status == SAVEFILE_FULL && result.length == before) {
                CHECK(capacity < ample);
                result.status = call(file, ample, &result, length);
                CHECK(result.length > before);
            }
            CHECK(result.status >= 0 ? result.length > before : 1);
        } while (result.status >= 0);
        if (result.status == SAVEFILE_FAILED) {
            snprintf(result.reason, sizeof(result.reason), "%s", savefile_error(file));
            CHECK(result.reason[0] != '\0');
        }
        /* It stays as it ended, and no octet comes after. */
        CHECK(call(file, ample, &result, result.length) == result.status);
        savefile_close(file);
    }
    close(fd);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t capacity = front16(&data, &size), piece = front16(&data, &size), beginning;
    struct result whole, torn;

    if (size > LENGTH_MAX)
        size = LENGTH_MAX;
    beginning = piece & 0x8000 ? piece & 0x7FFF : 0;
    if (beginning > size)
        beginning = size;
    whole = read_all(data, size, size, 0, size);
    note_way(&whole);
    torn = read_all(data, size, piece & 0x7FFF, beginning, capacity);
    CHECK(whole.linktype == torn.linktype);
    CHECK(whole.status == torn.status);
    CHECK(strcmp(whole.reason, torn.reason) == 0);
    CHECK(whole.length == torn.length);
    CHECK(memcmp(whole.records, torn.records, whole.length) == 0);
    free(whole.records);
    free(torn.records);
    return 0;
}
