"""One capture file, plain or compressed, from whatever its octets come from.

Waits for what it reads, so it belongs into a thread or a process of its own.
"""

import enum
import os
import select
from collections.abc import Iterator
from typing import Protocol

from pcap_ffi import Capture, CaptureError, Filter, Paused
from pcap_zmq.clock import NS_PER_MS, SystemClock
from pcap_zmq.errors import FormatError, InputError, NoCaptureError, SavefileError
from pcap_zmq.formats.compressed import MAGIC_MAX, Undo, kind_of

CHUNK = 1 << 20
"""Octets that are read at once, at most."""

JOIN = 1 << 16
"""Octets that are put behind what was left over, so that only these are copied."""

_NO_ROOM = memoryview(bytearray())
_NOTHING = memoryview(b"")


class Ended(enum.Enum):
    """Why a read came back."""

    FULL = "full"
    """The buffer is, or packets of another link type follow; another read goes on."""
    WAITS = "waits"
    """The stream has nothing more at the moment."""
    END = "end"
    """There is nothing more at all."""


class Octets(Protocol):
    """A stream that is read to its end."""

    def read(self, size: int, /) -> bytes:
        """What is there, so many at most; b"": the end. Waits for the first one."""


class Descriptor:
    """The octets of a file, a pipe or a socket, which stays the caller's. name: for
    people."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read(self, size: int, /) -> bytes:
        """As `Octets` says. Raises InputError."""
        try:
            while True:
                self._poll.poll()
                try:
                    return os.read(self._fd, size)
                except BlockingIOError:
                    # Whoever shares a pipe with us has made it non-blocking, and was
                    # faster.
                    continue
        except OSError as error:
            raise InputError(
                f"{self._name} cannot be read: {error.strerror}"
            ) from error

    def has_more(self, timeout_ms: int) -> bool:
        """Whether a read would find something, or the end, within that time."""
        return bool(self._poll.poll(timeout_ms))


class _TornError(Exception):
    """The file ends, or its compression does, where it should not."""


class CaptureFile:
    """Reads from octets; only those of a descriptor keep nobody waiting for more than a
    read asks for. name: for people. Raises InputError where they cannot be read,
    SavefileError where they are no capture."""

    def __init__(self, octets: Octets, name: str) -> None:
        self._input = octets
        self._name = name
        self._clock = SystemClock()
        self._capture = Capture()
        self._octets = _NOTHING
        # So many of them were left over; behind them is the beginning of this piece.
        self._left = 0
        self._piece = _NOTHING
        self._undo: Undo | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._is_at_end = False
        self._failure: SavefileError | None = None
        self._begin()

    @property
    def linktype(self) -> int:
        """Of the packets that were read last; before the first, of the first
        interface."""
        linktype = self._capture.linktype
        if linktype is None:
            raise AssertionError("asked before anything was read")
        return linktype

    @property
    def passed_over(self) -> int:
        """Packets that were not chosen."""
        return self._capture.passed_over

    def choose(self, chosen: Filter) -> None:
        """Of packets of this `linktype` only those are read from now on that the filter
        takes: most of the others' octets are never looked at."""
        self._capture.choose(chosen, self.linktype)

    def read_into(
        self, buffer: memoryview, age_ns: int, enough: int | None = None
    ) -> tuple[int, int, Ended]:
        """Fills `buffer` with records of one link type: octets used, packets, and why
        it came back.

        Waits as long as it takes for the first packet, then at most `age_ns` in all for
        further ones. With so many octets that are `enough` it comes back, as if the
        buffer were full. Raises SavefileError at octets that are no packet, and
        InputError; what came before them must have been read by then, so a failing read
        that has some returns those, and the next one raises.
        """
        used = count = 0
        until_ns: int | None = None
        while True:
            try:
                taken, octets, packets, paused = self._read(buffer[used:], count > 0)
                goes_on = self._take(taken)
                used += octets
                count += packets
                if paused is Paused.BROKEN:
                    if count:
                        return used, count, Ended.WAITS
                    continue
                if paused is not Paused.WANTS:
                    if not count:
                        raise self._failed(f"a packet longer than {len(buffer)} octets")
                    return used, count, Ended.FULL
                if goes_on:
                    continue
                if enough is not None and used >= enough and not self._left:
                    # What is left is less than a packet: it shall keep no more.
                    self._octets = memoryview(bytes(self._octets))
                    if self._undo is None:
                        self._pieces = iter(())
                    return used, count, Ended.FULL
                if count and until_ns is None:
                    until_ns = self._clock.now().mono_ns + age_ns
                if not self._has_more(until_ns):
                    return used, count, Ended.END if self._is_at_end else Ended.WAITS
            except _TornError as error:
                failure = self._failed(error)
                if not count:
                    raise failure from error
                return used, count, Ended.WAITS
            except (InputError, SavefileError):
                if not count:
                    raise
                return used, count, Ended.WAITS
            except FormatError as error:
                # Of what the octets came out of: an archive, a compressed one.
                failure = self._failed(error)
                if not count:
                    raise failure from error
                return used, count, Ended.WAITS

    def _begin(self) -> None:
        """Up to the first link type."""
        beginning = b""
        while len(beginning) < MAGIC_MAX and (chunk := self._read_chunk(None)):
            beginning += chunk
        if not beginning:
            raise NoCaptureError(f"{self._name} is empty: it has no savefile header")
        kind = kind_of(beginning)
        self._undo = None if kind is None else Undo(kind)
        self._pieces = self._undone(beginning)
        while self._capture.linktype is None:
            try:
                if not self._has_more(None):
                    raise CaptureError("it ends", self._capture.at)
                # No room for a packet: only what comes before the first one.
                taken, _, _, _ = self._capture.read(self._octets, _NO_ROOM)
            except (CaptureError, _TornError) as error:
                raise NoCaptureError(
                    f"{self._name} is no pcap or pcapng savefile: {error}"
                ) from error
            self._take(taken)

    def _read(self, buffer: memoryview, goes_on: bool) -> tuple[int, int, int, Paused]:
        if self._failure is not None:
            raise self._failure
        try:
            return self._capture.read(self._octets, buffer, goes_on=goes_on)
        except CaptureError as error:
            raise self._failed(error) from error

    def _failed(self, why: object) -> SavefileError:
        """What is wrong stays wrong."""
        self._failure = SavefileError(f"{self._name}: {why}")
        return self._failure

    def _take(self, octets: int) -> bool:
        """They were looked at. Whether others are there now."""
        if self._left and octets >= self._left:
            self._octets = self._piece[octets - self._left :]
            self._left, self._piece = 0, _NOTHING
            return bool(self._octets)
        self._octets = self._octets[octets:]
        self._left = max(0, self._left - octets)
        return False

    def _join(self, piece: bytes) -> None:
        """It comes behind what is left over."""
        self._left = len(self._octets)
        if not self._left:
            self._octets = memoryview(piece)
            return
        self._octets = memoryview(bytes(self._octets) + piece[:JOIN])
        self._piece = memoryview(piece)
        if len(piece) <= JOIN:
            # All of it is there.
            self._left, self._piece = 0, _NOTHING

    def _has_more(self, until_ns: int | None) -> bool:
        """Whether there is more to look at; False at the end, or when it takes longer.
        Raises _TornError where it ends in the middle of something."""
        if self._left:
            # What is left over is longer than what was put behind it.
            rest = self._piece[len(self._octets) - self._left :]
            self._octets = memoryview(bytes(self._octets) + rest)
            self._left, self._piece = 0, _NOTHING
            return True
        while True:
            try:
                piece = next((piece for piece in self._pieces if piece), None)
            except FormatError as error:
                raise _TornError(str(error)) from error
            if piece is not None:
                self._join(piece)
                return True
            if self._is_at_end:
                self._check_end()
                return False
            chunk = self._read_chunk(until_ns)
            if chunk is None:
                return False
            self._is_at_end = not chunk
            self._pieces = self._undone(chunk)

    def _undone(self, chunk: bytes) -> Iterator[bytes]:
        return iter((chunk,)) if self._undo is None else self._undo.feed(chunk)

    def _check_end(self) -> None:
        if self._undo is not None and not self._undo.is_whole:
            raise _TornError(f"the {self._undo.name} data end in the middle")
        if self._octets or self._capture.is_torn:
            at = self._capture.at
            raise _TornError(f"it ends in the middle of what begins at octet {at:,}")

    def _read_chunk(self, until_ns: int | None) -> bytes | None:
        """Waits for more; None: it takes longer than until then."""
        if until_ns is not None and isinstance(self._input, Descriptor):
            left_ns = until_ns - self._clock.now().mono_ns
            if not self._input.has_more(max(0, -(-left_ns // NS_PER_MS))):
                return None
        return self._input.read(CHUNK)
