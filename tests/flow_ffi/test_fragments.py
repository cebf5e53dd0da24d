"""All fragments of a datagram go one way: that of its flow."""

from itertools import permutations

import pytest

from flow_ffi import FlowSpread, flow_hash
from tests.flow_ffi import packets as p

PAYLOAD = p.ports(40_000, 53, b"y" * 64)
SETS, WAYS = 1_024, 4


def pieces4(
    identification: int = 7, source: str = p.A4, target: str = p.B4
) -> list[bytes]:
    """A datagram of UDP in three."""
    cuts = [(0, 24), (24, 48), (48, len(PAYLOAD))]
    return [
        p.ip4(
            source,
            target,
            p.UDP,
            PAYLOAD[start:end],
            identification=identification,
            offset=start,
            more=end < len(PAYLOAD),
        )
        for start, end in cuts
    ]


def pieces6(identification: int = 7) -> list[bytes]:
    cuts = [(0, 24), (24, 48), (48, len(PAYLOAD))]
    return [
        p.ip6(
            p.A6,
            p.B6,
            p.FRAGMENT,
            p.fragment6(
                p.UDP,
                identification=identification,
                offset=start,
                more=end < len(PAYLOAD),
            )
            + PAYLOAD[start:end],
        )
        for start, end in cuts
    ]


WHOLE = {
    pieces4: p.ip4(p.A4, p.B4, p.UDP, PAYLOAD),
    pieces6: p.ip6(p.A6, p.B6, p.UDP, PAYLOAD),
}


def flows(spread: FlowSpread, packets: list[bytes]) -> list[int]:
    return [spread.flow(p.RAW, packet) for packet in packets]


@pytest.mark.parametrize("pieces", WHOLE)
def test_fragments_go_where_their_flow_goes(pieces: object) -> None:
    assert callable(pieces)
    spread = FlowSpread()
    whole = spread.flow(p.RAW, WHOLE[pieces])
    assert flows(spread, pieces()) == [whole] * 3


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("pieces", WHOLE)
def test_a_datagram_stays_together_in_any_order(
    pieces: object, order: tuple[int, ...]
) -> None:
    assert callable(pieces)
    made = pieces()
    assert len(set(flows(FlowSpread(), [made[at] for at in order]))) == 1


@pytest.mark.parametrize("pieces", WHOLE)
def test_by_nothing_but_the_packet_a_datagram_stays_together(pieces: object) -> None:
    assert callable(pieces)
    assert len({flow_hash(p.RAW, piece) for piece in pieces()}) == 1


def test_a_number_that_comes_again_begins_another_datagram() -> None:
    """Of 16 bits, so it does; and its ports are others."""
    spread = FlowSpread()
    flows(spread, pieces4())
    other = p.ports(40_001, 53, b"y" * 64)
    again = [
        p.ip4(p.A4, p.B4, p.UDP, other[:24], more=True),
        p.ip4(p.A4, p.B4, p.UDP, other[24:], offset=24),
    ]
    whole = spread.flow(p.RAW, p.ip4(p.A4, p.B4, p.UDP, other))
    assert flows(spread, again) == [whole] * 2


def test_the_other_direction_has_numbers_of_its_own() -> None:
    """And the fragments of both are of one flow."""
    spread = FlowSpread()
    there = flows(spread, pieces4())
    answer = p.ports(53, 40_000, b"z" * 64)
    back = [
        p.ip4(p.B4, p.A4, p.UDP, answer[:24], more=True),
        p.ip4(p.B4, p.A4, p.UDP, answer[24:], offset=24),
    ]
    assert set(flows(spread, back)) == set(there)


def test_a_fragment_header_around_a_whole_packet_changes_nothing() -> None:
    """RFC 6946, atomic fragments."""
    header = p.fragment6(p.UDP, identification=7)
    atomic = p.ip6(p.A6, p.B6, p.FRAGMENT, header + PAYLOAD)
    assert flow_hash(p.RAW, atomic) == flow_hash(p.RAW, WHOLE[pieces6])


def test_headers_behind_a_fragment_header_are_passed_over_in_the_first_one() -> None:
    spread = FlowSpread()
    header = p.fragment6(p.DESTINATION, identification=7, more=True)
    first = p.ip6(p.A6, p.B6, p.FRAGMENT, header + p.extension(p.UDP) + PAYLOAD)
    later = p.fragment6(p.DESTINATION, identification=7, offset=96)
    rest = p.ip6(p.A6, p.B6, p.FRAGMENT, later + b"z" * 30)
    whole = spread.flow(p.RAW, WHOLE[pieces6])
    assert flows(spread, [first, rest]) == [whole] * 2


def test_an_error_leads_no_fragments_astray() -> None:
    """Anybody can send one, and say in it what he likes."""
    spread = FlowSpread()
    first, *rest = pieces4()
    forged = p.ip4(p.A4, p.B4, p.UDP, p.ports(1, 2), more=True)
    spread.flow(p.RAW, first)
    spread.flow(p.RAW, p.ip4(p.D4, p.B4, p.ICMP, b"\x03" + bytes(7) + forged))
    whole = spread.flow(p.RAW, WHOLE[pieces4])
    assert flows(spread, rest) == [whole] * 2


def test_an_error_about_a_fragment_goes_where_the_fragment_went() -> None:
    spread = FlowSpread()
    first, second, _ = pieces4()
    error = p.ip4(p.D4, p.A4, p.ICMP, b"\x0b" + bytes(7) + second)
    assert len(set(flows(spread, [first, second, error]))) == 1


def test_the_table_holds_what_is_under_way_and_never_grows() -> None:
    """A fragment of each of many datagrams, then another one: those that were pushed
    out go by their addresses, and nothing else comes of it."""
    spread = FlowSpread(seed=5)
    few = SETS // 2
    for number in range(few):
        spread.flow(p.RAW, pieces4(number)[0])
    whole = spread.flow(p.RAW, WHOLE[pieces4])
    found = [spread.flow(p.RAW, pieces4(number)[1]) for number in range(few)]
    # Of half as many as there are sets, hardly ever five fall into one.
    assert found.count(whole) >= few - 5
    for number in range(20 * SETS * WAYS):
        spread.flow(p.RAW, pieces4(number % 65_536, source="203.0.113.1")[0])
    late = spread.flow(p.RAW, pieces4(0)[1])
    assert late == flow_hash(p.RAW, pieces4(0)[1], seed=5)
