"""Invariant: any octets are filters or a ConfigError of one line, and filters that are
written are read as what they were.

Input: the kind of file (an octet: even YAML, odd TOML), and the file.
"""

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.filter_rules import decode, encode


def check(octets: bytes) -> None:
    name = "a.toml" if octets[:1] and octets[0] & 1 else "a.yaml"
    try:
        rules = decode(octets[1:], name)
    except ConfigError as error:
        check_line(str(error))
        return
    for other in ("b.yaml", "b.toml"):
        assert decode(encode(rules, other).encode(), other) == rules


def check_line(text: str) -> None:
    assert len(text.splitlines()) == 1
