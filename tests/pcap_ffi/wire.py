"""What becomes of packets on their way to the wire, in plain Python: checksums that the
network card finishes, and packets that it splits. The model that C is held against.

Specification: RFC 1071, RFC 768, RFC 791, RFC 8200, RFC 9293; net/ipv4/tcp_offload.c
and net/ipv4/udp_offload.c of the kernel.
"""

import struct
from dataclasses import dataclass, replace

TCP, UDP = 6, 17
FIN, SYN, RST, PSH, ACK, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x80


def ones_sum(octets: bytes) -> int:
    """Of 16-bit words, in the ones' complement."""
    total = sum(
        int.from_bytes(octets[at : at + 2].ljust(2, b"\0"), "big")
        for at in range(0, len(octets), 2)
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True)
class Segment:
    """A packet of TCP or UDP, before its checksums."""

    version: int
    protocol: int
    payload: bytes
    flags: int = ACK
    sequence: int = 1
    ident: int = 7
    options: bytes = b""
    """TCP's."""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """IPv6: headers before the transport, each without its first octet."""
    ports: tuple[int, int] = (40_000, 443)
    link: bytes = b""
    missing: int = 0
    """Octets of payload that were not captured, at its end."""

    @property
    def source(self) -> bytes:
        return b"\x0a\0\0\1" if self.version == 4 else b"\xfd" + bytes(14) + b"\1"

    @property
    def destination(self) -> bytes:
        return b"\xc0\0\2\x09" if self.version == 4 else b"\xfd" + bytes(14) + b"\2"

    @property
    def headers(self) -> int:
        """Octets of IP and transport headers."""
        transport = 8 if self.protocol == UDP else 20 + len(self.options)
        return len(self.ip_header(0)) + transport

    def ip_header(self, octets: int) -> bytes:
        """Before so many octets of transport."""
        if self.version == 4:
            header = struct.pack(
                ">BBHHHBBH", 0x45, 0, 20 + octets, self.ident, 0x4000, 64,
                self.protocol, 0,
            )  # fmt: skip
            header += self.source + self.destination
            checksum = ones_sum(header) ^ 0xFFFF
            return header[:10] + checksum.to_bytes(2) + header[12:]
        first, *after = [*(kind for kind, _ in self.extensions), self.protocol]
        extensions = b"".join(
            bytes([kind]) + header
            for (_, header), kind in zip(self.extensions, after, strict=True)
        )
        length = len(extensions) + octets
        header = struct.pack(">IHBB", 0x60 << 24, length, first, 64)
        return header + self.source + self.destination + extensions

    def transport(self, checksum: int, payload: bytes) -> bytes:
        ports = struct.pack(">HH", *self.ports)
        if self.protocol == UDP:
            length = (8 + len(payload)) & 0xFFFF
            return ports + struct.pack(">HH", length, checksum) + payload
        words = 5 + len(self.options) // 4
        rest = struct.pack(
            ">IIBBHHH", self.sequence, 99, words << 4, self.flags, 500, checksum, 0
        )
        return ports + rest + self.options + payload

    def pseudo(self, octets: int) -> bytes:
        return (
            self.source + self.destination + struct.pack(">II", octets, self.protocol)
        )

    def encoded(self, *, finished: bool) -> bytes:
        """With its checksum, or what stands there for the network card."""
        plain = self.transport(0, self.payload)
        pseudo = self.pseudo(len(plain))
        if finished:
            checksum = ones_sum(pseudo + plain) ^ 0xFFFF
            if self.protocol == UDP and checksum == 0:
                checksum = 0xFFFF
        else:
            checksum = ones_sum(pseudo)
        transport = self.transport(checksum, self.payload)
        whole = self.ip_header(len(transport)) + transport
        return self.link + whole[: len(whole) - self.missing]

    def segments(self, mtu: int) -> list["Segment"]:
        """As segmentation offload would have made them of what was captured; what was
        not stays in the last."""
        size = mtu - self.headers
        there = len(self.payload) - self.missing
        ends = list(range(size, there + 1, size))
        if not self.missing and ends and ends[-1] == there:
            ends.pop()
        ends.append(len(self.payload))
        made = []
        for number, end in enumerate(ends):
            begin = ends[number - 1] if number else 0
            flags = self.flags
            if end < len(self.payload):
                flags &= ~(FIN | PSH)
            if number:
                flags &= ~CWR
            made.append(
                replace(
                    self,
                    payload=self.payload[begin:end],
                    flags=flags,
                    sequence=(self.sequence + begin) % (1 << 32),
                    ident=(self.ident + number) % (1 << 16),
                    missing=self.missing if end == len(self.payload) else 0,
                )
            )
        return made
