"""Makes small MaxMind databases of autonomous systems.

Specification: MaxMind DB File Format 2.0, records of 32 bits.
"""

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network

MARKER = b"\xab\xcd\xefMaxMind.com"


def database(networks: Mapping[str, int], *, key: str = "") -> bytes:
    """An IPv6 tree, in which IPv4 is ::/96; each network's AS number. key: what the
    number is called."""
    nodes: list[list[int | bytes]] = [[0, 0]]
    for text, number in networks.items():
        network = ip_network(text)
        is_v4 = isinstance(network, IPv4Network)
        length = network.prefixlen + (96 if is_v4 else 0)
        bits = f"{int(network.network_address):0128b}"[:length]
        record = _map({key or "autonomous_system_number": _unsigned(number)})
        at = 0
        for bit in map(int, bits[:-1]):
            next_at = nodes[at][bit]
            if not next_at:
                nodes.append([0, 0])
                next_at = nodes[at][bit] = len(nodes) - 1
            assert isinstance(next_at, int)
            at = next_at
        nodes[at][int(bits[-1])] = record
    return _packed(nodes)


def _packed(nodes: list[list[int | bytes]]) -> bytes:
    tree, data = b"", b""
    for node in nodes:
        for value in node:
            if isinstance(value, bytes):
                # Behind the tree and the 16 octets that part it from the data.
                pointer = len(nodes) + 16 + len(data)
                data += value
            else:
                pointer = value or len(nodes)
            tree += struct.pack(">I", pointer)
    return tree + bytes(16) + data + MARKER + _metadata(len(nodes))


def _metadata(nodes: int) -> bytes:
    return _map(
        {
            "binary_format_major_version": _unsigned(2, kind=5),
            "binary_format_minor_version": _unsigned(0, kind=5),
            "build_epoch": _field(9, b"\x01"),
            "database_type": _text("Test-ASN"),
            "description": _map({"en": _text("for a test")}),
            "ip_version": _unsigned(6, kind=5),
            "languages": _field(11, b""),
            "node_count": _unsigned(nodes),
            "record_size": _unsigned(32, kind=5),
        }
    )


def _field(kind: int, octets: bytes, size: int | None = None) -> bytes:
    length = len(octets) if size is None else size
    assert length < 29
    if kind > 7:
        return bytes((length, kind - 7)) + octets
    return bytes((kind << 5 | length,)) + octets


def _text(text: str) -> bytes:
    octets = text.encode()
    if len(octets) < 29:
        return _field(2, octets)
    return bytes((2 << 5 | 29, len(octets) - 29)) + octets


def _unsigned(value: int, *, kind: int = 6) -> bytes:
    return _field(kind, value.to_bytes(4).lstrip(b"\0"))


def _map(pairs: Mapping[str, bytes]) -> bytes:
    return _field(
        7, b"".join(_text(key) + value for key, value in pairs.items()), len(pairs)
    )
