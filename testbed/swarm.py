"""One load process that is many senders: it speaks the wire on as many sockets.

`python -m testbed.swarm ENDPOINT --senders 1000 …` connects them all at once; each says
hello, sends its numbered packets (testbed/numbered.py) in batches, keeps each until it
is acknowledged, says goodbye, and leaves. The last line of output is a JSON object:
what was acknowledged, and how late.

It speaks with nothing but `formats/wire.py`, so that it does not share the sender's
mistakes; and it can do what a sender never does, such as go by no window.

Specification: docs/wire.md, sections 2 to 7.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass

import zmq

from pcap_zmq.errors import WireError
from pcap_zmq.formats import wire
from pcap_zmq.formats.wire import Message, MessageType, ReplyType, StreamId
from testbed import numbered

HEARTBEAT_S = 1.0
PATIENCE_S = 5.0

SOCKETS_SPARE = 4_096
"""Beyond one for each sender, for those that are still being closed."""

DESCRIPTORS_EACH = 3
DESCRIPTORS_SPARE = 256
TURN_MS = 5

AHEAD = 4
"""Batches that a sender without an interval makes before one is acknowledged."""

_TOTALS = struct.Struct(">16Q")
_LOGGED, _ACKNOWLEDGED, _HELD = 0, 5, 10  # slots: docs/wire.md, section 4


@dataclass(slots=True)
class _Sent:
    sequence: int
    packets: int
    payload: bytes
    at: float
    is_on_its_way: bool = False

    @property
    def cost(self) -> int:
        return wire.cost_of(len(self.payload))


@dataclass(frozen=True, slots=True)
class Load:
    """What each sender sends: `batches`, of so many packets of so many octets, one
    every `interval_s`; and whether it goes by the window that it was given."""

    batches: int
    packets: int
    octets: int
    interval_s: float
    heeds_window: bool
    is_restless: bool
    """Hangs up without a word after each batch but the last, and connects again."""


class Speaker:
    """One sender. `serve` whenever there is something to read, or time has passed."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        mark: int,
        load: Load,
    ) -> None:
        self.mark = mark
        self.acknowledged = 0
        self.slowest_s = 0.0
        self.hellos = 0
        self.has_left = False
        self.wants_to_reconnect = False
        self._context = context
        self._endpoint = endpoint
        self._load = load
        self.socket = self._connect()
        self._stream = StreamId(uuid.uuid4().bytes, time.time_ns())
        self._held: deque[_Sent] = deque()
        self._logged = 0
        self._made = 0
        self._window = 0
        self._is_up = False
        self._is_leaving = False
        self._next_batch_at = 0.0
        self._spoke_at = self._heard_at = -PATIENCE_S

    def reconnect(self) -> None:
        """On a new socket, with what is held; the old one goes without a word."""
        self.socket.close()
        self.socket = self._connect()
        self.wants_to_reconnect = False
        self._is_up = False
        self._heard_at = -PATIENCE_S

    def serve(self, now: float) -> None:
        """Takes replies, makes batches that are due, says what may be said."""
        while not self.has_left and self._receive(now):
            pass
        if self.has_left:
            return
        if now >= self._heard_at + PATIENCE_S:
            # The first words too; and again where nobody has answered.
            self._is_up = self._is_leaving = False
            if self._say(MessageType.HELLO):
                self.hellos += 1
                self._heard_at = self._spoke_at = now
        if not self._is_up:
            return
        self._make_due(now)
        if self._send_held():
            self._spoke_at = now
        is_last = self._made == self._load.batches
        if self._load.is_restless and not is_last:
            self.wants_to_reconnect = True
        elif is_last and not self._held:
            self._is_up = False
            self._is_leaving = True
            self._say(MessageType.GOODBYE)
        elif now >= self._spoke_at + HEARTBEAT_S and self._say(MessageType.HEARTBEAT):
            self._spoke_at = now

    def close(self) -> None:
        """Without a word."""
        self.socket.close()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0 if self._load.heeds_window else 4)
        # What is said is said to somebody: never queued for a connection to come.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.connect(self._endpoint)
        return socket

    def _make_due(self, now: float) -> None:
        load = self._load
        while self._made < load.batches and now >= self._next_batch_at:
            if len(self._held) >= AHEAD and not load.interval_s:
                return
            sent_ns, wall_ns = time.monotonic_ns(), time.time_ns()
            numbers = range(self._logged, self._logged + load.packets)
            payload = b"".join(
                numbered.record(self.mark, number, load.octets, sent_ns, wall_ns)
                for number in numbers
            )
            self._made += 1
            self._logged += load.packets
            self._held.append(_Sent(self._made, load.packets, payload, now))
            if load.is_restless:
                return
            self._next_batch_at = max(self._next_batch_at, now - load.interval_s)
            self._next_batch_at += load.interval_s

    def _send_held(self) -> bool:
        under_way = sum(sent.cost for sent in self._held if sent.is_on_its_way)
        has_sent = False
        for sent in self._held:
            if sent.is_on_its_way:
                continue
            if self._load.heeds_window and under_way >= self._window:
                break
            if not self._say(MessageType.BATCH, sent):
                break
            sent.is_on_its_way = has_sent = True
            under_way += sent.cost
        return has_sent

    def _say(self, kind: MessageType, sent: _Sent | None = None) -> bool:
        totals = [0] * wire.TOTALS_SLOTS
        held = self._logged - self.acknowledged
        totals[_LOGGED] = self._logged
        totals[_ACKNOWLEDGED] = self.acknowledged
        totals[_HELD] = held
        first = self._held[0].sequence if self._held else self._made + 1
        message = Message(
            type=kind,
            stream=self._stream,
            sequence=sent.sequence if sent else first,
            window=0 if kind is MessageType.HELLO else self._window,
            linktype=numbered.LINKTYPE_RAW,
            count=sent.packets if sent else 0,
            raw_length=len(sent.payload) if sent else 0,
            totals=_TOTALS.pack(*totals),
            payload=sent.payload if sent else f"swarm-{self.mark}".encode(),
        )
        if kind not in {MessageType.HELLO, MessageType.BATCH}:
            message = Message(
                type=kind,
                stream=message.stream,
                sequence=message.sequence,
                window=message.window,
                linktype=message.linktype,
                totals=message.totals,
            )
        try:
            self.socket.send_multipart(wire.encode_message(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _receive(self, now: float) -> bool:
        try:
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        try:
            reply = wire.decode_reply(list(frames))
        except WireError as error:
            raise SystemExit(f"swarm: a reply that is none: {error}") from error
        if reply.stream != self._stream:
            return True
        self._heard_at = now
        self._window = reply.window
        while self._held and self._held[0].sequence <= reply.written:
            done = self._held.popleft()
            self.acknowledged += done.packets
            self.slowest_s = max(self.slowest_s, now - done.at)
        if reply.type is ReplyType.WELCOME and not self._is_leaving:
            self._is_up = True
            for sent in self._held:
                sent.is_on_its_way = sent.sequence < reply.next
        elif reply.type is ReplyType.FAREWELL:
            self.has_left = True
        return True


def run(
    endpoint: str, senders: int, first_mark: int, load: Load, timeout_s: float
) -> dict[str, float]:
    """All of them from the first word to the last; what came of it. Raises TimeoutError
    where some have not left by then."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = senders + SOCKETS_SPARE
    speakers = [
        Speaker(context, endpoint, mark, load)
        for mark in range(first_mark, first_mark + senders)
    ]
    poller = zmq.Poller()
    for speaker in speakers:
        poller.register(speaker.socket, zmq.POLLIN)
    began = time.monotonic()
    present = speakers
    while present:
        poller.poll(TURN_MS)
        now = time.monotonic()
        for speaker in present:
            speaker.serve(now)
            if speaker.has_left:
                poller.unregister(speaker.socket)
                speaker.close()
            elif speaker.wants_to_reconnect:
                poller.unregister(speaker.socket)
                speaker.reconnect()
                poller.register(speaker.socket, zmq.POLLIN)
        present = [speaker for speaker in present if not speaker.has_left]
        if present and now >= began + timeout_s:
            raise TimeoutError(
                f"{len(present)} of {senders} senders have not left; of the first, "
                f"{present[0].acknowledged} packets are acknowledged"
            )
    context.term()
    return {
        "acknowledged": sum(speaker.acknowledged for speaker in speakers),
        "slowest_s": max(speaker.slowest_s for speaker in speakers),
        "hellos": sum(speaker.hellos for speaker in speakers),
        "seconds": time.monotonic() - began,
    }


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed.swarm")
    parser.add_argument("endpoint")
    parser.add_argument("--senders", type=int, default=1_000)
    parser.add_argument("--first-mark", type=int, default=1_000)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--packets", type=int, default=1, help="in a batch")
    parser.add_argument("--octets", type=int, default=numbered.OCTETS_MIN)
    parser.add_argument("--interval", type=float, default=0, help="between batches, s")
    parser.add_argument("--ignore-window", action="store_true")
    parser.add_argument("--restless", action="store_true", help="a batch a connection")
    parser.add_argument("--timeout", type=float, default=60, help="for all of it, s")
    given = parser.parse_args()
    wanted = given.senders * DESCRIPTORS_EACH + DESCRIPTORS_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted > hard:
        print(f"swarm: needs {wanted} descriptors, may have {hard}", file=sys.stderr)
        return 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    load = Load(
        given.batches,
        given.packets,
        given.octets,
        given.interval,
        heeds_window=not given.ignore_window,
        is_restless=given.restless,
    )
    try:
        outcome = run(
            given.endpoint, given.senders, given.first_mark, load, given.timeout
        )
    except TimeoutError as error:
        print(f"swarm: {error}", file=sys.stderr)
        return 1
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
