"""Invariant: any frames give a message, a reply or a WireError; what was read is within
the bounds that the specification sets, and says the same when it is written again.

Input: frames, each after its length in 2 octets.
"""

from pcap_zmq.errors import WireError
from pcap_zmq.formats import linktype, wire
from pcap_zmq.formats.wire import MessageType
from pcap_zmq.packet import Octets
from tests.fuzz.octets import Front

FRAMES_MAX = 4
CARRYING = (MessageType.HELLO, MessageType.BATCH)


def check(octets: bytes) -> None:
    front = Front(octets)
    frames = list[Octets]()
    while not front.is_empty and len(frames) < FRAMES_MAX:
        # As pyzmq gives them: views of a buffer that is not ours.
        frames.append(memoryview(front.piece()))
    check_message(frames)
    check_reply(frames)
    if frames and len(frames[0]) == len(wire.NO_TOTALS):
        check_totals(bytes(frames[0]))


def check_message(frames: list[Octets]) -> None:
    try:
        message = wire.decode_message(frames)
    except WireError:
        return
    assert 0 < message.sequence <= wire.SEQUENCE_MAX
    assert 0 <= message.linktype <= linktype.MAXIMUM
    assert len(message.payload) <= wire.MESSAGE_MAX
    check_totals(message.totals)
    again = wire.decode_message(wire.encode_message(message))
    if message.type in CARRYING:
        assert again == message
    else:
        # The payload frame of these is passed over.
        assert wire.encode_message(again) == wire.encode_message(message)


def check_reply(frames: list[Octets]) -> None:
    try:
        reply = wire.decode_reply(frames)
    except WireError:
        return
    assert reply.next > reply.written
    assert wire.encode_reply(reply) == bytes(frames[0])


def check_totals(totals: bytes) -> None:
    counters = wire.decode_totals(totals)
    numbers = [counters.logged, counters.acknowledged, *counters.dropped.values()]
    assert all(0 <= number < 1 << 64 for number in numbers)
