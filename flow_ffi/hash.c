/* Numbers of words that nobody can choose who does not know the seed: SipHash-1-3
 * (Aumasson, Bernstein: SipHash, a fast short-input PRF; one round a word and three at
 * the end, as in the hash tables of Rust and CPython). */
#include "flow.h"
#include "sip.h"

/* Every bit of the number has a part in every bit of this one, and none is lost: the
 * finalizer of splitmix64. */
uint64_t flow_mix(uint64_t number)
{
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9;
    number = (number ^ number >> 27) * 0x94D049BB133111EB;
    return number ^ number >> 31;
}

/* SipHash's key has two words. */
struct flow_seed flow_seed_of(uint64_t seed)
{
    return (struct flow_seed){{seed, flow_mix(seed + 0x9E3779B97F4A7C15)}};
}

/* SipHash-1-3 of the words, as octets with the lowest first. */
uint64_t flow_siphash(const struct flow_seed *seed, const uint64_t *words,
                      unsigned count)
{
    uint64_t v[4] = {
        seed->key[0] ^ 0x736F6D6570736575,
        seed->key[1] ^ 0x646F72616E646F6D,
        seed->key[0] ^ 0x6C7967656E657261,
        seed->key[1] ^ 0x7465646279746573,
    };
    uint64_t last = (uint64_t)count << 59; /* how many octets, in the highest one */

    for (unsigned at = 0; at <= count; at++) {
        uint64_t word = at < count ? words[at] : last;

        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xFF;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
