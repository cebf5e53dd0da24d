"""Invariant: any octets are a list, whose flows have ends of one IP version, or a
ListError of one line that names a line of it; and of events never anything else.

Input: the kind of list (an octet: even CSV, odd events), and the list.
"""

from pcap_zmq.formats.conditions import flow, flow_ends
from pcap_zmq.formats.flow_list import ListError, decode_csv, decode_eve


def check(octets: bytes) -> None:
    lines = octets[1:].split(b"\n")
    if octets[:1] and octets[0] & 1:
        found = decode_eve(lines, ["alert"])
        assert found.without_flow + len(found.flows) <= found.events <= len(lines)
        flows = set(found.flows)
    else:
        try:
            listed = decode_csv(lines)
        except ListError as error:
            check_line(str(error), error.line, len(lines))
            return
        listed.condition()
        flows = listed.flows
    for each in flows:
        assert flow(*flow_ends(each)) == each


def check_line(text: str, number: int, lines: int) -> None:
    assert 1 <= number <= lines
    assert len(text.splitlines()) == 1
