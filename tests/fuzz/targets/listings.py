"""Invariant: any text is what iptables-save said; any text is what nft said or a
ValueError; and whatever rules were read, any packet can be walked through them, on a
way that ends.

Input: 1 octet, which program; the text.
"""

from ipaddress import ip_address

from pcap_zmq.doctor.judge import iptables, nftables
from pcap_zmq.doctor.judge.ruleset import Backend, Field, Table
from pcap_zmq.doctor.judge.walk import Probe, walk
from tests.fuzz.octets import Front

HOOKS = frozenset({"prerouting", "input", "forward", "output", "postrouting"})
PROBES: tuple[Probe, ...] = (
    {},
    {
        Field.FAMILY: "ip",
        Field.PROTOCOL: "tcp",
        Field.SOURCE: ip_address("192.0.2.1"),
        Field.DESTINATION: ip_address("10.0.0.2"),
        Field.SOURCE_PORT: 40_000,
        Field.DESTINATION_PORT: 5678,
        Field.GOES_OUT: "eth0",
    },
    {Field.FAMILY: "ip6", Field.SOURCE: ip_address("2001:db8::1")},
)


def check(octets: bytes) -> None:
    front = Front(octets)
    backend = front.choice(tuple(Backend))
    # As programs' output is read.
    text = front.rest().decode(errors="replace")
    for table in read(text, backend):
        for probe in PROBES:
            for logged in walk(table, probe, HOOKS):
                assert logged.where
                assert logged.log in logged.rule.logs


def read(text: str, backend: Backend) -> list[Table]:
    if backend is not Backend.NFT:
        return iptables.read(text, backend)
    try:
        return nftables.read(text)
    except ValueError:
        return []
