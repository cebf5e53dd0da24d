"""What tcpdump takes of a capture by an expression the same tests take of it, and what
it sees in a tunnel is what is left without the tunnel."""

import re
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

import pcap_ffi
from filter_ffi import (
    AllOf,
    AnyOf,
    Bpf,
    Decapsulator,
    Filters,
    Macs,
    Not,
    Ports,
    Side,
    Subnets,
    Term,
)
from pcap_zmq.captures.packets import packets_of_all
from pcap_zmq.packet import Batch
from tests.filter_ffi.records import pcap, records, seen
from tests.flow_ffi import packets as p
from tests.flow_ffi import test_tunnels as tunnels

ROOT = Path(__file__).parents[2]
REAL = sorted((ROOT.parent / "shared/pcaps").glob("*.pcap*"))
"""Where there are some: tests say as much of the crafted one without."""

INNER = [
    *p.both(p.A4, p.B4, p.TCP, 40_000, 443),
    *p.both(p.A6, p.B6, p.UDP, 40_000, 53),
    p.ip4(p.A4, p.C4, p.ICMP, b"\x08" + bytes(15)),
]


@pytest.fixture(scope="module")
def crafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    octets, _ = records(
        [
            *map(p.framed, INNER),
            *(p.framed(tunnel(packet)) for tunnel in tunnels.EVERY for packet in INNER),
            p.ethernet(0x0806, bytes(28)),
            p.framed(INNER[0][:25]),
        ]
    )
    path = tmp_path_factory.mktemp("crafted") / "crafted.pcap"
    path.write_bytes(pcap(octets, p.ETHERNET))
    return path


@pytest.fixture(params=["crafted", *REAL], ids=lambda param: Path(param).name)
def capture(request: pytest.FixtureRequest, crafted: Path) -> Path:
    return crafted if request.param == "crafted" else Path(request.param)


def batches(path: Path) -> list[Batch]:
    def fail(name: str, error: Exception) -> None:
        raise error

    return list(packets_of_all([path], fail))


def tcpdump(*argv: str) -> bytes:
    done = subprocess.run(
        ["tcpdump", "--nano", "-nn", *argv],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def terms_of(path: Path) -> Iterator[tuple[str, Term]]:
    """Each with the expression that says the same."""
    yield "", Bpf("")
    yield "tcp port 443 or udp port 53", Bpf("tcp port 443 or udp port 53")
    yield "less 100", Bpf("less 100")
    nets = [ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16")]
    yield "ip net 10.0.0.0/8 or ip net 192.168.0.0/16", Subnets(nets)
    yield "ip src net 192.168.0.0/16", Subnets(nets[1:], Side.SOURCE)
    yield "ip6 net 2001:db8::/32", Subnets([ip_network("2001:db8::/32")])
    yield "tcp dst port 443", Ports([(443, 443, 6)], Side.TARGET)
    yield "portrange 50-1023", Ports([(50, 1023, None)])
    yield (
        "ip net 10.0.0.0/8 and not (tcp port 443 or less 80)",
        AllOf(
            (Subnets(nets[:1]), Not(AnyOf((Ports([(443, 443, 6)]), Bpf("less 80")))))
        ),
    )
    first = next(iter(batches(path)))
    if first.linktype == p.ETHERNET:
        mac = bytes(first.records[16:22])
        yield f"ether host {mac.hex(':')}", Macs([mac])


def test_tests_take_what_tcpdump_takes_by_the_same_expression(
    capture: Path, tmp_path: Path
) -> None:
    named = dict(terms_of(capture))
    filters = Filters(named, compile_bpf=pcap_ffi.compile_filter)
    found: dict[str, list[object]] = {name: [] for name in named}
    for batch in batches(capture):
        taken = filters.select(batch.linktype, batch.records, batch.count)
        for name, one in zip(named, taken, strict=True):
            found[name] += seen(one.records)
    assert filters.orphans == 0
    for name in named:
        witness = tmp_path / "witness.pcap"
        tcpdump("-r", str(capture), "-w", str(witness), name)
        expected = [one for batch in batches(witness) for one in seen(batch.records)]
        assert found[name] == expected, name


def _around(tunnel: Callable[[bytes], bytes]) -> tuple[int, bytes, int]:
    """Packets in a tunnel: their link type, records, and how many they are."""
    return p.ETHERNET, *records([p.framed(tunnel(packet)) for packet in INNER])


def _real() -> list[tuple[int, bytes, int]]:
    """A tunnel of 6in4, where there are captures."""
    return [
        (batch.linktype, bytes(batch.records), batch.count)
        for path in REAL
        if path.name == "6in4tunnel.pcap"
        for batch in batches(path)
    ]


@pytest.mark.parametrize(
    ("linktype", "octets", "count"),
    [
        pytest.param(*_around(tunnels.ip_in_ip), id="ip_in_ip"),
        pytest.param(*_around(tunnels.ip_in_ip6), id="ip_in_ip6"),
        pytest.param(*_around(tunnels.plain_gre), id="plain_gre"),
        pytest.param(*_around(tunnels.vxlan), id="vxlan"),
        *(pytest.param(*real, id="real") for real in _real()),
    ],
)
def test_what_is_left_of_a_tunnel_is_what_tcpdump_sees_in_it(
    linktype: int, octets: bytes, count: int, tmp_path: Path
) -> None:
    parts = Decapsulator().peel(linktype, octets, count)
    assert sum(part.count for part in parts) == count
    outer = _lines(linktype, octets, tmp_path)
    inner = [
        line for part in parts for line in _lines(part.linktype, part.records, tmp_path)
    ]
    assert len(outer) == len(inner) == count
    for around, within in zip(outer, inner, strict=True):
        assert around.endswith(within)
        assert len(around) > len(within)


def _lines(linktype: int, octets: pcap_ffi.filter.Octets, folder: Path) -> list[str]:
    """What tcpdump says of each packet, without its time."""
    path = folder / "told.pcap"
    path.write_bytes(pcap(octets, linktype))
    told = tcpdump("-t", "-r", str(path)).decode()
    # What is within VXLAN is on a line of its own.
    return re.sub(r"vni \d+\n", "", told).splitlines()
