"""A receiver that comes and goes: to a sender that listens it connects again and again,
says welcome, takes a batch, acknowledges it on the next connection, and hangs up.

`python -m testbed.fickle ENDPOINT TIMES`; the last line of output is how many packets
it has taken. Specification: docs/wire.md, section 6.
"""

from __future__ import annotations

import sys
import time

import zmq

from pcap_zmq.formats import wire
from pcap_zmq.formats.wire import Message, MessageType, Reply, ReplyType

ANSWER_MS = 10_000
WINDOW = 1 << 20


class FickleReceiver:
    """Remembers from one connection to the next what it has taken."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.taken = 0
        self._context = context
        self._endpoint = endpoint
        self._started_ns = time.time_ns()
        self._next = 0

    def visit(self) -> None:
        """One connection, until a batch has come. Raises TimeoutError without one."""
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self._endpoint)
        try:
            while not self._hear(socket):
                pass
        finally:
            socket.close()

    def _hear(self, socket: zmq.Socket[bytes]) -> bool:
        if not socket.poll(ANSWER_MS):
            raise TimeoutError(f"nothing is said at {self._endpoint}")
        peer, *frames = socket.recv_multipart()
        message = wire.decode_message(list(frames))
        if message.type is MessageType.HELLO:
            self._next = max(self._next, message.sequence)
            socket.send_multipart([peer, wire.encode_reply(self._welcome(message))])
        elif message.type is MessageType.BATCH and message.sequence == self._next:
            self._next += 1
            self.taken += message.count
            return True
        return False

    def _welcome(self, hello: Message) -> Reply:
        return Reply(
            type=ReplyType.WELCOME,
            stream=hello.stream,
            written=self._next - 1,
            next=self._next,
            window=WINDOW,
            receiver_started_ns=self._started_ns,
        )


def main() -> None:
    """Be the receiver."""
    endpoint, times = sys.argv[1:]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    receiver = FickleReceiver(context, endpoint)
    for _ in range(int(times)):
        receiver.visit()
    context.term()
    print(receiver.taken)


if __name__ == "__main__":
    main()
