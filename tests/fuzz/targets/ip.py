"""Invariant: of any packet the ends of its TCP connection are told or none are; those
that are told are where RFC 791, 8200 and 9293 have them; and the rules that are made of
them are one line.

Input: the packet.
"""

import ipaddress

from pcap_zmq.formats.ip import TCP, tcp_ends
from pcap_zmq.formats.rules import Stream, exclusions


def check(octets: bytes) -> None:
    ends = tcp_ends(memoryview(octets))
    assert ends == tcp_ends(octets)
    if ends is None:
        return
    if octets[0] >> 4 == 4:
        header, protocol, addresses = (octets[0] & 15) * 4, octets[9], octets[12:20]
    else:
        header, protocol, addresses = 40, octets[6], octets[8:40]
    assert protocol == TCP
    half = len(addresses) // 2
    for at, end in enumerate(ends):
        address = ipaddress.ip_address(addresses[at * half : (at + 1) * half])
        port = int.from_bytes(octets[header + 2 * at : header + 2 * at + 2])
        assert end == (address, port)
        stream = Stream("tcp://gateway:5678", (end.address,), end.port)
        assert exclusions(stream).isprintable()
