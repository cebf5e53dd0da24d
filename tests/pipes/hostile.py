"""Peers that mean harm, or only something else: each does its worst to a port."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from random import Random

import zmq

from pcap_zmq import sockets
from pcap_zmq.formats import wire
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from testbed.waiting import wait_until

PATIENCE_S = 20.0
STALLED_S = 10.0
GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL".ljust(32, b"\0") + bytes(32)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
MEBIBYTE = 1 << 20

Attack = Callable[[int], None]
"""Takes the port."""


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A plain connection, from one of our own addresses."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))


def say(port: int, *sayings: bytes, greeting: bool = False) -> None:
    """Says each on a connection of its own, and waits until the other end has hung up
    on all. greeting: as a ZeroMQ peer that has shaken hands."""
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(connect(port)) for _ in sayings]
        for connection, octets in zip(connections, sayings, strict=True):
            with contextlib.suppress(ConnectionError):
                if greeting:
                    shake(connection)
                connection.sendall(octets)
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                while connection.recv(1 << 16):
                    pass


def shake(connection: socket.socket) -> None:
    """The whole handshake of a peer without keys; the other end may have others."""
    connection.sendall(GREETING + READY)
    heard = b""
    # libzmq takes what comes before its own READY for a broken handshake.
    while b"READY" not in heard and (octets := connection.recv(1 << 10)):
        heard += octets


def scan(port: int) -> None:
    """Connects and leaves, again and again; and once resets instead of leaving."""
    for number in range(100):
        with connect(port) as connection:
            if number % 2:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def speak_tls(port: int) -> None:
    """A client that wants a certificate of another kind."""
    context = ssl.create_default_context()
    with connect(port) as connection, contextlib.suppress(OSError):
        context.wrap_socket(connection, server_hostname="ids.example")


def speak_http(port: int) -> None:
    say(port, b"GET / HTTP/1.1\r\nHost: ids.example\r\n\r\n")


def make_noise(port: int) -> None:
    """Seeded, so that what fails once fails again."""
    random = Random(port)  # noqa: S311
    say(port, *(random.randbytes(random.randrange(1, 5_000)) for _ in range(50)))


def make_noise_after_the_greeting(port: int) -> None:
    random = Random(port)  # noqa: S311
    noises = [random.randbytes(random.randrange(1, 5_000)) for _ in range(50)]
    say(port, *(GREETING + noise for noise in noises))
    say(port, *noises, greeting=True)


def send_an_endless_message(port: int) -> None:
    """Frames that each announce another, until the other end hangs up. Or takes no
    more: where a thousand came before it was cut off, ZeroMQ looks at it no more, and
    closes it only when it has missed a heartbeat."""
    frame = b"\x03" + struct.pack(">Q", MEBIBYTE) + bytes(MEBIBYTE)
    over = contextlib.suppress(ConnectionError, TimeoutError)
    with connect(port) as connection, over:
        shake(connection)
        connection.settimeout(STALLED_S)
        # Bounded, so that a receiver that takes it all fails us in the end.
        for _ in range(4_096):
            connection.sendall(frame)


def send_a_giant_frame(port: int) -> None:
    """Announced only: nobody needs to send a frame that is refused by its length."""
    lengths = (wire.CUT_OFF + 1, 1 << 40, (1 << 63) - 1)
    heads = [b"\x02" + struct.pack(">Q", length) + b"x" for length in lengths]
    say(port, *heads, greeting=True)


def client(
    context: "zmq.Context[zmq.Socket[bytes]]", port: int, own: Certificate, server: str
) -> "zmq.Socket[bytes]":
    """A ZeroMQ client with a key, connected as far as it gets."""
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    sockets.secure_client(dealer, own, server)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    return dealer


class Insider:
    """Somebody whose key is allowed, and who abuses it."""

    def __init__(self, own: Certificate, server: str) -> None:
        self._own = own
        self._server = server

    def flood_with_nonsense(self, port: int) -> None:
        """Until it has been hung up on a few times."""
        self._send([b"nonsense"] * 10_000, port)

    def flood_with_batches(self, port: int) -> None:
        """That nobody asked for, by a stream that said no hello."""
        stream = StreamId(b"x" * 16, 1)
        message = Message(
            MessageType.BATCH, stream, 1, linktype=RAW, count=1, payload=bytes(100_000)
        )
        header, payload = (bytes(frame) for frame in wire.encode_message(message))
        self._send([(header, payload)] * 500, port)

    def send_broken_batches(self, port: int) -> None:
        """Each when the one before was acknowledged, with no packet in any of them,
        until the receiver has had enough."""
        stream = StreamId(b"y" * 16, 1)
        hello = Message(MessageType.HELLO, stream, 1, linktype=RAW, payload=b"gw1")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        dealer = client(context, port, self._own, self._server)
        dealer.setsockopt(zmq.SNDTIMEO, int(PATIENCE_S * 1_000))
        dealer.send_multipart(wire.encode_message(hello))
        # It is welcome, and then cut off: no more is heard for some time.
        while dealer.poll(1_500):
            written = wire.decode_reply(list(dealer.recv_multipart())).written
            broken = Message(
                MessageType.BATCH,
                stream,
                written + 1,
                linktype=RAW,
                count=7,
                raw_length=100,
                payload=b"\xff" * 100,
            )
            with contextlib.suppress(zmq.Again):
                dealer.send_multipart(wire.encode_message(broken), zmq.NOBLOCK)
        dealer.close(0)
        context.term()

    def claim_streams(self, port: int, senders: list[StreamId]) -> None:
        """Says hello by the ids of others, and goodbye, and sends for them."""
        messages = []
        for stream in senders:
            for kind in (MessageType.HELLO, MessageType.BATCH, MessageType.GOODBYE):
                said = Message(kind, stream, 1, linktype=RAW, count=1, payload=b"gw1")
                messages.append(tuple(map(bytes, wire.encode_message(said))))
        self._send(messages, port)

    def send_a_giant(self, port: int) -> None:
        self._send([bytes(wire.CUT_OFF + 1)] * 3, port)

    def _send(self, messages: Sequence[bytes | tuple[bytes, ...]], port: int) -> None:
        """As many as the other end takes before it hangs up for good."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        dealer = client(context, port, self._own, self._server)
        left = list(messages)

        def is_done() -> bool:
            with contextlib.suppress(zmq.Again):
                while left:
                    frames = left[0] if isinstance(left[0], tuple) else (left[0],)
                    dealer.send_multipart(frames, zmq.NOBLOCK)
                    left.pop(0)
            return not left

        # One that was hung up on as often as it takes does not end: that is fine.
        with contextlib.suppress(TimeoutError):
            wait_until(is_done, 3, "an attack to end")
        dealer.close(1_000)
        context.term()
