/* Runs a target over files and over octets near them, without libFuzzer: what the suite
 * does with any compiler.
 *
 * Usage: replay MUTATIONS FILE... - so many mutations of each file, and its
 * truncations. Deterministic: the same files and number give the same octets. */
#include "harness.h"

#define INPUT_MAX (1 << 17)
#define TRUNCATIONS_MAX 500

static uint64_t state = 0x9E3779B97F4A7C15;

/* xorshift64: the same numbers on every machine. */
static uint64_t chance(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void run(const uint8_t *octets, size_t length)
{
    uint8_t *input = copy_of(octets, length);

    LLVMFuzzerTestOneInput(input, length);
    free(input);
}

static void mutate(uint8_t *octets, size_t length)
{
    static const uint16_t telling[] = {0, 1, 2, 3, 4, 5, 15, 16, 17, 255, 1024, 65535};
    size_t at = chance(length), run;

    switch (chance(4)) {
    case 0:
        octets[at] ^= (uint8_t)(1u << chance(8));
        break;
    case 1:
        octets[at] = (uint8_t)chance(256);
        break;
    case 2: /* lengths and types are 16 or 32 bits, at even places */
        at &= ~(size_t)1;
        if (at + 2 <= length)
            memcpy(octets + at, &telling[chance(sizeof(telling) / 2)], 2);
        break;
    default:
        run = chance(length - at);
        memmove(octets + at, octets + chance(length - run), run);
    }
}

static void torment(const uint8_t *input, size_t length, unsigned long mutations)
{
    uint8_t *octets = exactly(length);

    run(input, length);
    if (length == 0)
        mutations = 0;
    for (unsigned long n = 0; n < mutations; n++) {
        size_t left = length;

        memcpy(octets, input, length);
        for (uint64_t times = 1 + chance(6); times > 0; times--)
            mutate(octets, length);
        if (chance(4) == 0)
            left = chance(length + 1);
        run(octets, left);
    }
    /* Every truncation of the short ones; some of the long ones. */
    if (mutations > 0)
        for (size_t left = 0; left < length; left += 1 + length / TRUNCATIONS_MAX)
            run(input, left);
    free(octets);
}

int main(int argc, char **argv)
{
    uint8_t *input = exactly(INPUT_MAX);
    unsigned long mutations;

    CHECK(argc > 2);
    mutations = strtoul(argv[1], NULL, 10);
    for (int n = 2; n < argc; n++) {
        FILE *file = fopen(argv[n], "rb");
        size_t length;

        CHECK(file != NULL);
        length = fread(input, 1, INPUT_MAX, file);
        CHECK(feof(file));
        fclose(file);
        torment(input, length, mutations);
    }
    free(input);
    printf("%d inputs\n", argc - 2);
    return 0;
}
