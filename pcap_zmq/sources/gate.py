"""Answers ZeroMQ's question who may connect, in the loop and without a thread.

Specification: https://rfc.zeromq.org/spec/27/ (ZAP).
"""

import logging
from collections.abc import Callable, Iterable, Mapping

import zmq

from pcap_zmq import sockets
from pcap_zmq.allowed import Person
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import FormatError
from pcap_zmq.formats import zap
from pcap_zmq.formats.zap import Status
from pcap_zmq.poll import READABLE, Watch

logger = logging.getLogger(__name__)

REQUESTS_A_TURN = 256
"""So that a flood of keys does not stop the rest."""


class Gate:
    """Open before anything listens in this context: until then nobody gets in. people:
    whose keys are allowed now."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        people: Callable[[], Mapping[str, Person]],
        counters: ReceiverCounters,
    ) -> None:
        self._people = people
        self._counters = counters
        self._socket = context.socket(zmq.REP)
        # A peer that has given up does not wait for its answer.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(zap.ENDPOINT)

    def serve(self) -> None:
        """Answers what ZeroMQ has asked."""
        for _ in range(REQUESTS_A_TURN):
            if not sockets.has_message(self._socket):
                break
            frames = self._socket.recv_multipart(zmq.NOBLOCK)
            self._socket.send_multipart(self._judge(frames), zmq.NOBLOCK)

    def watch(self) -> Iterable[Watch]:
        """Questions."""
        yield Watch(self._socket, READABLE)

    def close(self) -> None:
        """Lets nobody in any more."""
        self._socket.close()

    def _judge(self, frames: list[bytes]) -> list[bytes]:
        try:
            request = zap.decode_request(frames)
        except FormatError as error:
            logger.warning("ZeroMQ asks what nobody understands: %s", error)
            return zap.encode_reply(zap.request_id_in(frames), Status.FAILED)
        person = self._people().get(request.key)
        address = sockets.plain(request.address)
        if person is not None and request.domain == sockets.ZAP_DOMAIN:
            logger.debug("%s has the key of %s", address, person.name)
            # The key, not the name: what it is called may change.
            return zap.encode_reply(request.id, Status.WELCOME, request.key)
        self._counters.refused_connections += 1
        logger.warning(
            "%s was refused: its key %s is not in the --allow directory",
            address,
            request.key,
        )
        return zap.encode_reply(request.id, Status.REFUSED, text="not allowed")
