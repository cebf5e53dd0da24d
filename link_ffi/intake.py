"""Takes messages from a ROUTER of pyzmq's, many at a time, by libzmq's own functions.

Specification: zmq_msg_recv(3), zmq_msg_gets(3); docs/wire.md.
"""

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from link_ffi._link import ffi, lib
from link_ffi.lanes import Lanes
from link_ffi.receipts import Shares

Octets = bytes | bytearray | memoryview

_SRCFD = 2  # zmq.h


@dataclass(frozen=True, slots=True)
class TakenBatch:
    """Packets of a stream, or gathered from several, whose lanes have taken them."""

    linktype: int
    packets: int
    codec: int
    raw_length: int
    payload: Octets
    shares: Shares


@dataclass(frozen=True, slots=True)
class TakenMessage:
    """Any other message, and what ZeroMQ says of who sent it."""

    peer: bytes
    """ZeroMQ's routing id."""
    frames: list[Octets]
    """Three stand for any higher number."""
    fd: int
    """The connection's descriptor; -1 where ZeroMQ does not tell: ZMTP 1.0."""
    key: str
    """The public key that its sender has proven to have, Z85; or empty."""
    address: str


class Intake:
    """new_buffer: makes writable memory of so many octets. small: a batch above so many
    octets is not gathered, and a frame above it not copied. Raises OSError for what
    libzmq says. Must be closed before the socket."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        lanes: Lanes,
        *,
        has_keys: bool,
        buffer_bytes: int,
        new_buffer: Callable[[int], memoryview],
        small: int,
    ) -> None:
        self._zeromq = _zeromq()
        # They shall live as long as what was made of them.
        self._lanes = lanes
        self._c = ffi.gc(
            lib.intake_new(
                self._zeromq,
                ffi.cast("void *", socket.underlying),
                lanes.c,
                has_keys,
            ),
            lib.intake_free,
        )
        if not self._c:
            raise MemoryError
        self._capacity = buffer_bytes
        self._new_buffer = new_buffer
        self._small = small
        self._renew()

    @property
    def messages(self) -> int:
        """Messages that came, of any kind."""
        return int(self._c.messages)

    def take(self, now_ns: int) -> TakenBatch | TakenMessage | None:
        """What came next; None where there is nothing."""
        c = self._c
        kind = lib.intake_take(c, now_ns, self._out, self._capacity, self._small)
        if kind == lib.TAKEN_NOTHING:
            return None
        if kind < 0:
            raise OSError(-kind, os.strerror(-kind))
        if kind == lib.TAKEN_MESSAGE:
            return self._message()
        shares = Shares(self._lanes, lib.intake_receipt(c))
        if kind == lib.TAKEN_BATCH:
            payload = self._frame(1)
            return TakenBatch(
                c.linktype, c.packets, c.codec, c.raw_length, payload, shares
            )
        used = int(c.used)
        return TakenBatch(c.linktype, c.packets, 0, used, self._gathered(used), shares)

    def close(self) -> None:
        """Lets go of the last message."""
        ffi.release(self._c)

    def _renew(self) -> None:
        self._buffer = self._new_buffer(self._capacity)
        self._out = ffi.from_buffer("uint8_t[]", self._buffer)

    def _gathered(self, used: int) -> Octets:
        """What is held shall not cost more memory than it is counted as."""
        gathered = self._buffer[:used]
        if used < self._capacity - self._capacity // 8:
            return bytes(gathered)
        self._renew()
        return gathered

    def _message(self) -> TakenMessage:
        c, zeromq = self._c, self._zeromq
        peer = ffi.addressof(c, "peer")
        count = min(c.frames_count, lib.INTAKE_FRAMES)
        frames = [self._frame(at) for at in range(count)]
        # Metadata are the connection's: any frame has them, but one that was moved.
        key, address = (
            _text(zeromq.msg_gets(peer, name)) for name in (b"User-Id", b"Peer-Address")
        )
        octets = bytes(ffi.buffer(zeromq.msg_data(peer), zeromq.msg_size(peer)))
        return TakenMessage(octets, frames, zeromq.msg_get(peer, _SRCFD), key, address)

    def _frame(self, at: int) -> Octets:
        zeromq = self._zeromq
        frame = ffi.addressof(self._c.frames, at)
        size = int(zeromq.msg_size(frame))
        if size <= self._small:
            return bytes(ffi.buffer(zeromq.msg_data(frame), size))
        kept = lib.intake_keep(self._c, at)
        if not kept:
            raise MemoryError
        # The view keeps the pointer, and that the message.
        octets = ffi.gc(
            zeromq.msg_data(kept), lambda _: lib.intake_let_go(zeromq, kept)
        )
        return memoryview(ffi.buffer(octets, size))


@functools.cache
def _zeromq() -> Any:
    """The functions of the libzmq that pyzmq has loaded, be it its own or the
    system's: another one would know nothing of its sockets."""
    backend = sys.modules[zmq.backend.Socket.__module__]
    library = ctypes.CDLL(backend.__file__)
    functions = ffi.new("struct zeromq *")
    for field in ffi.typeof("struct zeromq").fields:
        name, kind = field[0], field[1].type
        function = getattr(library, f"zmq_{name}", None)
        if function is None:
            raise OSError(errno.ENOSYS, f"this pyzmq hides its libzmq: no zmq_{name}")
        address = ctypes.cast(function, ctypes.c_void_p).value
        setattr(functions, name, ffi.cast(kind, address))
    return functions


def _text(octets: Any) -> str:
    return str(ffi.string(octets).decode()) if octets else ""
