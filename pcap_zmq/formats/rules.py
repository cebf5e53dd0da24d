"""Netfilter rules as text, ready to paste: what logs to a group, and what keeps our own
stream out of it.

Specification: nft(8), "LOG STATEMENT"; iptables-extensions(8), NFLOG.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pcap_zmq.formats.ip import Address


@dataclass(frozen=True, slots=True)
class Stream:
    """The TCP connection between the two ends, as rules see it: the end that listens.

    addresses: none where the name is not known or it listens on all. interface: through
    which it goes, "lo" where both ends are on this host; None: not known.
    """

    endpoint: str
    addresses: tuple[Address, ...]
    port: int
    is_listening: bool = False
    """It is us who listen."""
    interface: str | None = None

    def __str__(self) -> str:
        return f"{'at' if self.is_listening else 'to'} {self.endpoint}"

    def ways(self) -> Iterator["Way"]:
        """Both directions, for each address."""
        for address in self.addresses or (None,):
            yield Way(address, self.port, True)
            yield Way(address, self.port, False)


class Way(NamedTuple):
    """One direction of a stream: to the end that listens, or from it."""

    address: Address | None
    port: int
    is_to: bool

    def nft(self) -> str:
        """As nft matches it."""
        end = "d" if self.is_to else "s"
        where = ""
        if self.address is not None:
            family = "ip" if self.address.version == 4 else "ip6"
            where = f"{family} {end}addr {self.address} "
        return f"{where}tcp {end}port {self.port}"

    def iptables(self) -> str:
        """As iptables and ip6tables match it."""
        end = "d" if self.is_to else "s"
        where = "" if self.address is None else f"-{end} {self.address} "
        return f"{where}-p tcp --{end}port {self.port}"


def nft_rules(group: int, qthreshold: int, stream: Stream | None) -> str:
    """A table that logs what goes through this host, to it and from it; for nft -f."""
    lines = [f"        {way.nft()} return" for way in stream.ways()] if stream else []
    own = (
        "        # pcap-zmq's own stream, or it would mirror itself\n" if lines else ""
    )
    returns = own + "".join(f"{line}\n" for line in lines)
    bases = "".join(
        f"    chain {hook} {{\n"
        f"        type filter hook {hook} priority -1\n"
        "        jump mirror\n"
        "    }\n"
        for hook in ("forward", "input", "output")
    )
    return (
        "table inet pcap_zmq {\n"
        "    chain mirror {\n"
        f"{returns}"
        f"        log group {group} queue-threshold {qthreshold}\n"
        "    }\n"
        f"{bases}"
        "}\n"
    )


def iptables_rules(group: int, qthreshold: int, stream: Stream | None) -> str:
    """The same for iptables and ip6tables, as commands for a shell."""
    lines = []
    for version, program in ((4, "iptables"), (6, "ip6tables")):
        lines.append(f"{program} -N PCAP_ZMQ")
        lines += [
            f"{program} -A PCAP_ZMQ {way.iptables()} -j RETURN"
            for way in (stream.ways() if stream else ())
            if way.address is None or way.address.version == version
        ]
        log = f"-j NFLOG --nflog-group {group} --nflog-threshold {qthreshold}"
        lines.append(f"{program} -A PCAP_ZMQ {log}")
        lines += [
            f"{program} -I {chain} -j PCAP_ZMQ"
            for chain in ("FORWARD", "INPUT", "OUTPUT")
        ]
    return "".join(f"{line}\n" for line in lines)


def exclusions(stream: Stream) -> str:
    """What keeps a stream out of whatever rule logs it, in one line, for whoever does
    not know which rule that is."""
    way, *_ = stream.ways()
    back = next(other for other in stream.ways() if other.is_to != way.is_to)
    return (
        f'put "{way.nft()} accept" and "{back.nft()} accept" before nft\'s log rule, '
        f"or with iptables -I CHAIN {way.iptables()} -j ACCEPT and "
        f"-I CHAIN {back.iptables()} -j ACCEPT"
    )
