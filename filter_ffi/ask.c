/* Asks a packet one thing: whether its addresses are in subnets, its ports in spans, and
 * so on. What is looked for is sorted, or has a table. */
#include "filter.h"

#include <string.h>

#include "ip.h"
#include "pcap_ffi.h"

/* Whether a number is in one of the ranges. */
static int is_in_ranges(const uint32_t *ranges, uint32_t from, uint32_t until,
                        uint32_t number)
{
    while (from < until) {
        uint32_t middle = from + (until - from) / 2;

        if (number < ranges[2 * middle])
            until = middle;
        else if (number > ranges[2 * middle + 1])
            from = middle + 1;
        else
            return 1;
    }
    return 0;
}

static int is_in_subnets4(const struct filter_test *test, uint32_t address)
{
    uint32_t from = 0, until = test->ranges_count;

    if (test->firsts != NULL) {
        from = test->firsts[address >> 16];
        until = test->firsts[(address >> 16) + 1];
        /* The one that ends first behind these may have begun before. */
        until += until < test->ranges_count;
    }
    return is_in_ranges(test->ranges, from, until, address);
}

static int compare6(const uint64_t *range, uint64_t high, uint64_t low)
{
    if (high != range[0])
        return high < range[0] ? -1 : 1;
    return low < range[1] ? -1 : low > range[1];
}

static int is_in_subnets6(const struct filter_test *test, const uint8_t *address)
{
    uint64_t high = big64(address), low = big64(address + 8);
    uint32_t from = 0, until = test->ranges6_count;

    while (from < until) {
        uint32_t middle = from + (until - from) / 2;
        const uint64_t *range = test->ranges6 + 4 * (size_t)middle;

        if (compare6(range, high, low) < 0)
            until = middle;
        else if (compare6(range + 2, high, low) > 0)
            from = middle + 1;
        else
            return 1;
    }
    return 0;
}

static int is_in_subnets(const struct filter_test *test, unsigned version,
                         const uint8_t *address)
{
    return version == 4 ? is_in_subnets4(test, big32(address))
                        : is_in_subnets6(test, address);
}

static int ask_subnets(const struct filter_test *test, const struct level *level)
{
    return (test->side & SIDE_SOURCE &&
            is_in_subnets(test, level->version, level->source)) ||
           (test->side & SIDE_TARGET &&
            is_in_subnets(test, level->version, level->target));
}

static int ask_ports(const struct filter_test *test, const struct level *level)
{
    uint32_t protocol = (uint32_t)level->protocol << 16, count = test->ranges_count;

    if (!level->has_ports)
        return 0;
    return (test->side & SIDE_SOURCE &&
            is_in_ranges(test->ranges, 0, count, protocol | level->source_port)) ||
           (test->side & SIDE_TARGET &&
            is_in_ranges(test->ranges, 0, count, protocol | level->target_port));
}

static struct end end_of(const struct level *level, const uint8_t *address,
                         uint16_t port)
{
    struct end end = {.port = level->has_ports ? port : 0};

    memcpy(end.address, address, level->version == 4 ? 4 : 16);
    return end;
}

static int ask_flows(const struct filter_test *test, const struct level *level)
{
    struct end source = end_of(level, level->source, level->source_port);
    struct end target = end_of(level, level->target, level->target_port);

    /* A flow of this protocol without ports is another one, of other packets. */
    if (has_ports(level->protocol) && !level->has_ports)
        return 0;
    return flow_set_has(test->flows, level->version, level->protocol, &source, &target);
}

static int ask_level(const struct filter_test *test, const struct level *level)
{
    switch (test->kind) {
    case FILTER_SUBNETS:
        return ask_subnets(test, level);
    case FILTER_PORTS:
        return ask_ports(test, level);
    default:
        return ask_flows(test, level);
    }
}

static int ask_levels(const struct filters *filters, const struct filter_test *test)
{
    const struct layers *layers = &filters->layers;
    struct span span = asked_of(filters, layers->levels_count);

    for (uint32_t at = span.from; at < span.until; at++)
        if (ask_level(test, &layers->levels[at]))
            return 1;
    return test->kind == FILTER_FLOWS && is_quoted(layers, span) &&
           ask_flows(test, &layers->quoted);
}

static int is_mac(const struct filter_test *test, const uint8_t *octets)
{
    uint64_t mac = (uint64_t)big32(octets) << 16 | big16(octets + 4);
    uint32_t from = 0, until = test->macs_count;

    while (from < until) {
        uint32_t middle = from + (until - from) / 2;

        if (test->macs[middle] == mac)
            return 1;
        if (test->macs[middle] < mac)
            from = middle + 1;
        else
            until = middle;
    }
    return 0;
}

static int ask_macs(const struct filters *filters, const struct filter_test *test)
{
    const struct layers *layers = &filters->layers;
    struct span span = asked_of(filters, layers->frames_count);

    for (uint32_t at = span.from; at < span.until; at++)
        if ((test->side & SIDE_TARGET && is_mac(test, layers->frames[at])) ||
            (test->side & SIDE_SOURCE && is_mac(test, layers->frames[at] + 6)))
            return 1;
    return layers->sender != NULL && test->side & SIDE_SOURCE &&
           is_mac(test, layers->sender);
}

/* Finds what tests ask for within a packet. */
void look_into(struct filters *filters, struct asked *asked)
{
    struct octets packet = {asked->record + RECORD_HEADER, asked->caplen};

    layers_find(&filters->layers, &filters->datagrams, asked->linktype, packet,
                filters->level != LEVEL_OUTER);
    filters->orphans += (uint64_t)filters->layers.is_orphan;
    asked->has_layers = 1;
}

static int ask_time(const struct filter_test *test, const uint8_t *record)
{
    int64_t time_ns = (int64_t)get32(record) * 1000000000 + get32(record + 4);

    return test->from_ns <= time_ns && time_ns < test->until_ns;
}

/* Whether a test holds of a packet. */
int ask(struct filters *filters, const struct filter_test *test, struct asked *asked)
{
    switch (test->kind) {
    case FILTER_BPF:
        return filter_takes(test->program, asked->linktype,
                            asked->record + RECORD_HEADER, asked->caplen,
                            get32(asked->record + 12));
    case FILTER_TIME:
        return ask_time(test, asked->record);
    default:
        break;
    }
    if (!asked->has_layers)
        look_into(filters, asked);
    return test->kind == FILTER_MACS ? ask_macs(filters, test)
                                     : ask_levels(filters, test);
}
