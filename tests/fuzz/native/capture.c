/* Invariant: whatever octets a capture file consists of, and in whatever pieces they
 * come, capture_read() takes no more than it is given and writes nothing beyond `used`;
 * what it writes are records that records_count() accepts, as many as it counted; it
 * comes to an end; neither the pieces nor small buffers change the records, the sums, or
 * how and where it ends; and summing up alone comes to the same sums.
 *
 * Input: 2 octets, the capacity of the buffers; 2 octets, the length of a piece; the
 * file. */
#include "harness.h"

#include "capture.h"

#define LENGTH_MAX (1 << 15)
#define PIECES_MAX 64

struct result {
    struct capture *capture;
    int ended;
    size_t torn; /* octets that were not taken at the end */
    uint8_t *records;
    size_t length;
};

static void append(struct result *result, const uint8_t *records, size_t length)
{
    result->records = realloc(result->records, result->length + length + 1);
    CHECK(result->records != NULL);
    memcpy(result->records + result->length, records, length);
    result->length += length;
}

/* One call with memory of just these sizes. Returns how it ended. */
static int call(struct result *result, const uint8_t *in, size_t length, size_t *taken,
                size_t capacity, int has_out, uint32_t *count)
{
    uint8_t *given = copy_of(in, length), *out = has_out ? exactly(capacity) : NULL;
    size_t used = 0, fault;
    int ended;

    if (has_out)
        memset(out, CANARY, capacity);
    ended = capture_read(result->capture, given, length, taken, out, capacity, &used,
                         count, 0);
    CHECK(*taken <= length);
    CHECK(used <= capacity);
    if (has_out) {
        for (size_t beyond = used; beyond < capacity; beyond++)
            CHECK(out[beyond] == CANARY);
        CHECK(records_count(out, used, &fault) == (int64_t)*count);
        append(result, out, used);
    }
    free(given);
    free(out);
    return ended;
}

static struct result read_all(const uint8_t *octets, size_t length, size_t piece,
                              size_t capacity, int has_out)
{
    struct result result = {.capture = capture_new()};
    size_t at = 0, end = 0;

    CHECK(result.capture != NULL);
    if (piece == 0)
        piece = 1;
    for (;;) {
        size_t taken = 0;
        uint32_t count = 0;

        result.ended = call(&result, octets + at, end - at, &taken, capacity, has_out,
                            &count);
        at += taken;
        CHECK(result.capture->at == at);
        if (result.ended == CAPTURE_FULL && count == 0) {
            /* Too small for the packet: a larger one does. */
            CHECK(capacity < length);
            result.ended = call(&result, octets + at, end - at, &taken, length, has_out,
                                &count);
            CHECK(count > 0);
            at += taken;
        }
        if (result.ended == CAPTURE_BROKEN && taken == 0)
            break;
        if (result.ended != CAPTURE_WANTS) {
            CHECK(taken > 0);
            continue;
        }
        if (end == length && taken == 0)
            break;
        end = length - end < piece ? length : end + piece;
    }
    result.torn = length - at;
    return result;
}

static void free_result(struct result *result)
{
    capture_free(result->capture);
    free(result->records);
}

static void check_same(const struct result *one, const struct result *other)
{
    const struct capture *a = one->capture, *b = other->capture;

    CHECK(one->ended == other->ended);
    CHECK(one->torn == other->torn);
    CHECK(a->at == b->at);
    CHECK(a->kind == b->kind);
    CHECK(a->to_skip == b->to_skip);
    CHECK(memcmp(&a->sums, &b->sums, sizeof(a->sums)) == 0);
    if (one->ended == CAPTURE_BROKEN)
        CHECK(strcmp(a->reason, b->reason) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t capacity = front16(&data, &size), piece = front16(&data, &size);
    struct result whole, torn, sums;

    if (size > LENGTH_MAX)
        size = LENGTH_MAX;
    /* So that the number of calls stays small. */
    if (size / (piece + 1) > PIECES_MAX)
        piece = size / PIECES_MAX;
    if (capacity > size)
        capacity = size;
    /* Records are no longer than what they are made of. */
    whole = read_all(data, size, size, size, 1);
    torn = read_all(data, size, piece, capacity, 1);
    sums = read_all(data, size, size, 0, 0);
    check_same(&whole, &torn);
    check_same(&whole, &sums);
    CHECK(whole.length == torn.length);
    if (whole.length > 0)
        CHECK(memcmp(whole.records, torn.records, whole.length) == 0);
    CHECK(whole.length == whole.capture->sums.octets +
                              RECORD_HEADER * whole.capture->sums.packets);
    free_result(&whole);
    free_result(&torn);
    free_result(&sums);
    return 0;
}
