"""Invariant: any octets are what a dispatcher remembers, or a FormatError of one line;
what is read is read the same again when it is written.

Input: the file behind its first octets that say what it is.
"""

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.checkpoint import MAGIC, decode, encode_head, encode_line


def check(octets: bytes) -> None:
    try:
        memory = decode(MAGIC + octets)
    except FormatError as error:
        check_line(str(error))
        return
    lines = memory.lines()
    again = decode(encode_head(memory.slot) + b"".join(map(encode_line, lines)))
    assert again.lines() == lines


def check_line(text: str) -> None:
    assert len(text.splitlines()) == 1
