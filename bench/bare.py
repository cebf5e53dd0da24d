"""The least that a receiver could do in Python: each message is received and written.

usage: python -m bench.bare ADDRESS FIFO

It welcomes whoever says hello with a window without end, acknowledges nothing, looks at
nothing and counts nothing: what pcap-zmq-recv does beyond that shall cost less than
what it saves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import zmq

from pcap_zmq import sockets
from pcap_zmq.formats import linktype, savefile, wire
from pcap_zmq.formats.wire import MessageType, Reply, ReplyType

WINDOW = 1 << 40
AT_TYPE = 5
"""Of a header: docs/wire.md."""


def main(address: str, fifo: str) -> None:
    with sockets.new_context() as context, context.socket(zmq.ROUTER) as socket:
        sockets.prepare(socket)
        socket.bind(address)
        out = os.open(Path(fifo), os.O_WRONLY)
        os.write(out, savefile.encode_file_header(linktype.RAW, nanoseconds=True))
        while True:
            peer, *frames = socket.recv_multipart()
            if frames[0][AT_TYPE] == MessageType.BATCH:
                os.write(out, frames[1])
            else:
                answer(socket, peer, list(frames))


def answer(
    socket: zmq.Socket[bytes], peer: bytes, frames: list[bytes | bytearray | memoryview]
) -> None:
    """Hello and goodbye have their answers; for anything else there is none."""
    message = wire.decode_message(frames)
    kinds = {
        MessageType.HELLO: ReplyType.WELCOME,
        MessageType.GOODBYE: ReplyType.FAREWELL,
    }
    kind = kinds.get(message.type)
    if kind is not None:
        reply = Reply(
            kind, message.stream, message.sequence - 1, message.sequence, WINDOW, 1
        )
        socket.send_multipart([peer, wire.encode_reply(reply)])


if __name__ == "__main__":
    main(*sys.argv[1:3])
