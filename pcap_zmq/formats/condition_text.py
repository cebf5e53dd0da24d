"""The values of a filter's tests as people write them.

What is written is parsed or refused with a word of how it is written; what `describe_…`
says is parsed to the same value. Specification: docs/filter.md, "Filters".
"""

import functools
import re
from ipaddress import IPv6Address, ip_address, ip_network

from pcap_zmq.formats.conditions import (
    ASN_MAX,
    PORT_MAX,
    PROTOCOLS,
    WITH_PORTS,
    Address,
    Flow,
    Network,
    NoValueError,
    Ports,
    flow,
    flow_ends,
)

_ALIASES = {"ipv6-icmp": 58, "ip-encap": 4, "ospfigp": 89}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_PROTOCOL = re.compile(r"(?:proto:)?([0-9]{1,3})")
_PROTOCOL_MAX = 64
_PORT = re.compile(r"[0-9]{1,5}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([a-z]+))?")
_ETHER = re.compile(r"[0-9a-f]{2}([:-]?)(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}")
_ASN = re.compile(r"(?:as)?([0-9]{1,10})")
_END = re.compile(r"\[([^\]]+)\]:([0-9]+)|([^:]+):([0-9]+)")


# A flow list names the same hosts over and over.
@functools.lru_cache(1 << 16)
def parse_address(text: str) -> Address:
    """Raises NoValueError."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise NoValueError(f"{text!r} is no IP address") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise NoValueError(f"{text!r} has a zone, which no packet tells of")
    return address


def parse_network(text: str) -> Network:
    """A subnet, or an address alone; bits beyond its length do not count. Raises
    NoValueError."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise NoValueError(
            f"{text!r} is no subnet; write 10.0.0.0/8, 2001:db8::/32 or an address"
        ) from error
    if "%" in text:
        raise NoValueError(f"{text!r} has a zone, which no packet tells of")
    return network


@functools.lru_cache(1 << 8)
def parse_protocol(text: str) -> int:
    """By its name, as Suricata has it too, or its number. Raises NoValueError."""
    if len(text) > _PROTOCOL_MAX:
        # What is a name, and blanks, would be remembered.
        raise NoValueError(f"{text[:_PROTOCOL_MAX]!r}... is no IP protocol")
    word = text.strip().lower()
    number = PROTOCOLS.get(word, _ALIASES.get(word))
    if number is None and (found := _PROTOCOL.fullmatch(word)):
        number = int(found[1])
    if number is None or number > 255:
        raise NoValueError(
            f"{text!r} is no IP protocol; write {', '.join(PROTOCOLS)} or a number"
        )
    return number


def parse_port(text: str) -> int:
    """Raises NoValueError."""
    if _PORT.fullmatch(text) is None or int(text) > PORT_MAX:
        raise NoValueError(f"{text!r} is no port")
    return int(text)


def parse_ports(text: str) -> Ports:
    """Raises NoValueError."""
    found = _PORTS.fullmatch(text.lower())
    if found is not None:
        first = int(found[1])
        last = first if found[2] is None else int(found[2])
        protocol = None if found[3] is None else PROTOCOLS.get(found[3], 0)
        if first <= last <= PORT_MAX and (protocol is None or protocol in WITH_PORTS):
            return Ports(first, last, protocol)
    names = ", ".join(sorted(map(describe_protocol, WITH_PORTS)))
    raise NoValueError(
        f"{text!r} is no port; write 443/tcp, 53 or 8000-8080/udp; of {names}"
    )


def parse_ether(text: str) -> bytes:
    """Raises NoValueError."""
    word = text.lower()
    if _ETHER.fullmatch(word) is None:
        raise NoValueError(f"{text!r} is no MAC address; write 00:11:22:aa:bb:cc")
    return bytes.fromhex(word.replace(":", "").replace("-", ""))


def parse_asn(text: str) -> int:
    """Raises NoValueError."""
    found = _ASN.fullmatch(text.lower())
    if found is None or int(found[1]) > ASN_MAX:
        raise NoValueError(f"{text!r} is no AS number; write 13335 or AS13335")
    return int(found[1])


def parse_bpf(text: str) -> str:
    """Only that there is something: whether it is a filter depends on the packets."""
    if not text.strip():
        raise NoValueError("an empty expression; write one of pcap-filter(7)")
    return text


def parse_flow(text: str) -> Flow:
    """Raises NoValueError."""
    words = text.split()
    if len(words) != 3:
        raise NoValueError(
            f"{text!r} is no flow; write tcp 192.0.2.1:5000 198.51.100.2:443, "
            "udp [2001:db8::1]:53 [2001:db8::2]:5353 or icmp 192.0.2.1 192.0.2.2"
        )
    protocol = parse_protocol(words[0])
    has_ports = protocol in WITH_PORTS
    (source, source_port), (target, target_port) = (
        _parse_end(word, has_ports=has_ports) for word in words[1:]
    )
    return flow(protocol, source, source_port, target, target_port)


def _parse_end(text: str, *, has_ports: bool) -> tuple[Address, int]:
    if not has_ports:
        return parse_address(text), 0
    found = _END.fullmatch(text)
    if found is None:
        raise NoValueError(f"{text!r} has no port, as 192.0.2.1:443 has")
    return parse_address(found[1] or found[3]), parse_port(found[2] or found[4])


def describe_protocol(number: int) -> str:
    """Its name, or number."""
    return _NAMES.get(number, str(number))


def describe_ports(ports: Ports) -> str:
    """As `parse_ports` takes it."""
    span = str(ports.first)
    if ports.last != ports.first:
        span += f"-{ports.last}"
    if ports.protocol is None:
        return span
    return f"{span}/{describe_protocol(ports.protocol)}"


def describe_network(network: Network) -> str:
    """As `parse_network` takes it: an address where it is but one."""
    is_one = network.prefixlen == network.max_prefixlen
    return str(network.network_address if is_one else network)


def describe_ether(octets: bytes) -> str:
    """As `parse_ether` takes it."""
    return octets.hex(":")


def describe_flow(octets: Flow) -> str:
    """As `parse_flow` takes it."""
    ends = flow_ends(octets)
    name = describe_protocol(ends.protocol)
    if ends.protocol not in WITH_PORTS:
        return f"{name} {ends.one} {ends.other}"
    form = "{}:{}" if ends.one.version == 4 else "[{}]:{}"
    one = form.format(ends.one, ends.one_port)
    return f"{name} {one} {form.format(ends.other, ends.other_port)}"
