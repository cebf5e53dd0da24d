"""Invariant: any octets are an event that names a flow, or a FormatError of one line.

Input: what --event names.
"""

from pcap_zmq.clock import utc_ns
from pcap_zmq.errors import FormatError
from pcap_zmq.formats.conditions import flow_ends
from pcap_zmq.formats.eve_event import decode_event


def check(octets: bytes) -> None:
    try:
        event = decode_event(octets, utc_ns)
    except FormatError as error:
        check_line(str(error))
        return
    for flow in (event.flow, event.outer):
        if flow is not None:
            assert flow_ends(flow).one.version == flow_ends(flow).other.version
    assert isinstance(event.at_ns, int)
    assert event.capture_file != ""


def check_line(text: str) -> None:
    assert len(text.splitlines()) == 1
