"""Asks a receiver questions, one after the other, each until it is answered."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import zmq

from pcap_zmq import options, sockets
from pcap_zmq.clock import NS_PER_S, SystemClock
from pcap_zmq.errors import TransportError
from pcap_zmq.formats.inquiry import (
    ANSWER_MAX,
    Kind,
    Question,
    decode_answer,
    encode_question,
)
from pcap_zmq.packet import Octets
from pcap_zmq.poll import READABLE, WRITABLE, Poller, Stop, Watch
from pcap_zmq.privileges import harden
from pcap_zmq.tools.credentials import ClientKeys

AGAIN_NS = NS_PER_S
"""Who has not been answered by then asks again."""


@dataclass(frozen=True, slots=True)
class AskerConfig:
    """Which receiver, and how long to wait for each answer."""

    address: str
    timeout_ns: int = options.ANSWER_NS.default
    keys: ClientKeys = field(default_factory=ClientKeys)

    def check(self) -> None:
        """Raises ConfigError for a value out of bounds."""
        options.ANSWER_NS.check("--timeout (ns)", self.timeout_ns)


class Asker:
    """Entered, it connects. Raises ConfigError or TransportError where the address
    cannot be had."""

    def __init__(self, config: AskerConfig) -> None:
        config.check()
        sockets.check_endpoint(config.address, bind=False)
        config.keys.check(config.address)
        self._config = config
        self._clock = SystemClock()
        self._poller = Poller()
        self._open = ExitStack()
        self._asked = 0

    def __enter__(self) -> Self:
        # Before anything secret is read.
        harden()
        credentials = self._config.keys.read()
        with ExitStack() as opened:
            context = opened.enter_context(sockets.new_context())
            self._socket = opened.enter_context(closing(context.socket(zmq.DEALER)))
            sockets.prepare(self._socket)
            self._socket.setsockopt(zmq.MAXMSGSIZE, ANSWER_MAX)
            if credentials is not None:
                credentials.secure(self._socket)
            sockets.attach(self._socket, self._config.address, bind=False)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def ask(self, kind: Kind, stop: Stop, details: bytes = b"") -> Octets | None:
        """The answer's body; None: a signal came first. Raises TransportError where
        the receiver says nothing in time, WireError where what it says is no answer."""
        deadline_ns = self._clock.now().mono_ns + self._config.timeout_ns
        self._asked += 1
        question = encode_question(Question(kind, self._asked, details))
        while self._wait(WRITABLE, deadline_ns, stop):
            self._socket.send(question, zmq.NOBLOCK)
            # What was asked is lost with its connection.
            again_ns = min(self._clock.now().mono_ns + AGAIN_NS, deadline_ns)
            while self._wait(READABLE, again_ns, stop):
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                asked, body = decode_answer(frames)
                if asked == Question(kind, self._asked):
                    return body
        if stop.is_set:
            return None
        why = (
            "it wants keys: give --key and --peer-key"
            if self._config.keys.key is None
            else "it does not take this key"
        )
        raise TransportError(
            f"no answer from {self._config.address}: no pcap-zmq-recv listens there, "
            f"or {why}"
        )

    def pause(self, pause_ns: int, stop: Stop) -> None:
        """Waits, for a signal at most so long."""
        self._poller.wait([stop.watch()], pause_ns)

    def _wait(self, events: int, deadline_ns: int, stop: Stop) -> bool:
        """False when a signal came, or it is too late."""
        while not stop.is_set:
            left_ns = deadline_ns - self._clock.now().mono_ns
            if left_ns <= 0:
                break
            watch = Watch(self._socket, events)
            self._poller.wait([stop.watch(), watch], left_ns)
            if watch.is_ready:
                return True
        return False
