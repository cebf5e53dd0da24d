"""Invariant: any frames are a request of ZeroMQ's who may connect, or a FormatError;
one with a key has a whole one; and every request, understood or not, can be answered.

Input: frames, each after its length in 2 octets.
"""

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import z85, zap
from tests.fuzz.octets import Front

FRAMES_MAX = 10


def check(octets: bytes) -> None:
    front = Front(octets)
    frames = list[bytes]()
    while not front.is_empty and len(frames) < FRAMES_MAX:
        frames.append(front.piece())
    request_id = zap.request_id_in(frames)
    name = ""
    try:
        request = zap.decode_request(frames)
    except FormatError:
        status = zap.Status.FAILED
    else:
        assert request.id == request_id
        assert not request.key or z85.decode_key(request.key) == frames[6]
        status, name = zap.Status.WELCOME, request.address
    reply = zap.encode_reply(request_id, status, name, "why")
    assert reply[:3] == [zap.VERSION, request_id, status.value]
    assert all(isinstance(frame, bytes) for frame in reply)
