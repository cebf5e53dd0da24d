/* Copies the records that a question wants: of a span of time, and that a filter takes.
 * No system call.
 *
 * A filter may come from elsewhere: it is classic BPF, which only jumps forward, and
 * runs once it was found valid. */
#include <pcap/pcap.h>
#include <string.h>

#include "pcap_ffi.h"
#include "tlv.h"

/* What libpcap's interpreter knows: it aborts at any other instruction, and its own
 * validation looks at their classes only. That lets a jump go backwards, too.
 * follow: how many instructions come after this one. */
static int is_known(const struct bpf_insn *instruction, uint32_t follow)
{
    switch (instruction->code) {
    case BPF_JMP | BPF_JA:
        return instruction->k < follow;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
        return instruction->k < 32;
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_MSH | BPF_B:
    case BPF_LDX | BPF_IMM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_X:
    case BPF_ALU | BPF_ADD | BPF_X:
    case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_X:
    case BPF_ALU | BPF_DIV | BPF_X:
    case BPF_ALU | BPF_MOD | BPF_X:
    case BPF_ALU | BPF_AND | BPF_X:
    case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_X:
    case BPF_ALU | BPF_LSH | BPF_X:
    case BPF_ALU | BPF_RSH | BPF_X:
    case BPF_ALU | BPF_ADD | BPF_K:
    case BPF_ALU | BPF_SUB | BPF_K:
    case BPF_ALU | BPF_MUL | BPF_K:
    case BPF_ALU | BPF_DIV | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_K:
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_ALU | BPF_OR | BPF_K:
    case BPF_ALU | BPF_XOR | BPF_K:
    case BPF_ALU | BPF_NEG:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
        return 1;
    default:
        return 0;
    }
}

int filter_is_valid(const struct bpf_insn *filter, uint32_t count)
{
    if (count == 0 || count > FILTER_MAX)
        return 0;
    for (uint32_t at = 0; at < count; at++)
        if (!is_known(&filter[at], count - at - 1))
            return 0;
    return bpf_validate(filter, (int)count);
}

struct packet {
    const uint8_t *at;
    uint32_t caplen, origlen;
};

/* What a filter looks at: of NFLOG's packets the one within, since libpcap has no
 * filters for what is around it. One without is nothing. */
static struct packet looked_at(uint32_t linktype, struct packet packet)
{
    uint32_t at = NFLOG_HEADER, beyond = packet.origlen - packet.caplen;

    if (linktype != LINKTYPE_NFLOG)
        return packet;
    while (packet.caplen >= TLV_HEADER && at <= packet.caplen - TLV_HEADER) {
        uint32_t left = packet.caplen - at;
        struct tlv tlv;
        size_t step;

        if ((tlv_get16(packet.at + at + 2, 0) & TLV_TYPE) == TLV_PAYLOAD) {
            uint32_t length = tlv_get16(packet.at + at, 0);

            /* It may have been cut. */
            if (length > left || length < TLV_HEADER)
                length = left;
            length -= TLV_HEADER;
            return (struct packet){packet.at + at + TLV_HEADER, length, length + beyond};
        }
        step = tlv_read(packet.at + at, left, 0, &tlv);
        if (step == 0)
            break;
        at += (uint32_t)step;
    }
    return (struct packet){packet.at, 0, 0};
}

/* Whether a valid filter takes a packet of this link type. */
int filter_takes(const struct bpf_insn *filter, uint32_t linktype, const uint8_t *packet,
                 uint32_t caplen, uint32_t origlen)
{
    struct packet seen =
        looked_at(linktype, (struct packet){packet, caplen, origlen});

    return bpf_filter(filter, seen.at, seen.origlen, seen.caplen) != 0;
}

/* Copies to out, which has room for length octets, what lies in from_ns <= time <
 * until_ns and what the filter, NULL for any, takes. unit_ns: what the fraction of a
 * second counts. linktype: of the records. Only for octets that records_count() has passed.
 *
 * Returns the octets copied; *count is of packets. */
size_t records_select(const uint8_t *records, size_t length, int64_t from_ns,
                      int64_t until_ns, uint32_t unit_ns, uint32_t linktype,
                      const struct bpf_insn *filter, uint8_t *out, uint32_t *count)
{
    size_t at = 0, used = 0;

    *count = 0;
    while (at < length) {
        const uint8_t *record = records + at;
        uint32_t caplen = get32(record + 8);
        int64_t time_ns = (int64_t)get32(record) * 1000000000 +
                          (int64_t)get32(record + 4) * unit_ns;

        at += RECORD_HEADER + (size_t)caplen;
        if (time_ns < from_ns || time_ns >= until_ns)
            continue;
        if (filter != NULL && !filter_takes(filter, linktype, record + RECORD_HEADER,
                                            caplen, get32(record + 12)))
            continue;
        memcpy(out + used, record, RECORD_HEADER + (size_t)caplen);
        used += RECORD_HEADER + (size_t)caplen;
        (*count)++;
    }
    return used;
}
