"""NFLOG groups in, batches out, with what the kernel lost on the way counted.

The kernel gathers packets for the flush time, and what is read here is gathered on
until the batch is full or its age is reached. A packet after a quiet time leaves at
once. Under load the socket is left alone for some milliseconds after it was emptied: so
a turn of the loop, which costs the same for one packet and for ten thousand, takes all
that came meanwhile, and batches stay few.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pcap_ffi import new_buffer
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.errors import (
    NflogError,
    NflogPermissionError,
    NflogUnavailableError,
    PcapZmqError,
)
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.policy.tail import TailEstimate
from pcap_zmq.poll import READABLE, Watch

NS_PER_CS = 10 * NS_PER_MS

REST_MAX_NS = 8 * NS_PER_MS
"""How long the socket is left alone at most: with the kernel's flush time, which its
timer rounds up, no more than the age that a batch may have by default."""

REST_MIN_NS = NS_PER_MS
"""Less is no rest: the loop waits in whole milliseconds."""

RUSH_BYTES_PER_S = 600_000_000
"""During a rest so much may come without filling more than a quarter of the receive
buffer: that is for packets smaller than what the kernel says about each, and for a loop
that is late."""

BATCHES_A_SLAB = 2
"""Memory is had for so many full batches at a time. Smaller ones lie in it back to
back, and none has to be copied. One that nobody holds any more when the next begins,
since it was compressed or dropped, leaves its place to that: what is held keeps no
memory occupied but its own."""

LOOK_NS = NS_PER_S
"""How often the tail is estimated."""


def rest_for(age_ns: int, rcvbuf: int) -> int:
    """How long to leave the socket alone, where a batch may wait for `age_ns` after the
    kernel had its part, and `rcvbuf` octets may wait in the socket. 0: not at all."""
    safe_ns = rcvbuf // 4 * NS_PER_S // RUSH_BYTES_PER_S
    rest_ns = min(max(age_ns, REST_MIN_NS), REST_MAX_NS, safe_ns)
    return rest_ns if rest_ns >= REST_MIN_NS else 0


def qtimeout_for(batch_age_ns: int) -> int:
    """The kernel's flush time (1/100 s) that suits a batch age: half of it, at least
    the shortest there is, and at most what can be waited for at the end."""
    return max(1, min(batch_age_ns, NS_PER_S) // (2 * NS_PER_CS))


class NflogSource:
    """Any number of groups on one socket, all of one link type: raw, nflog or ethernet.

    snaplen: octets of the packet itself, from layer 3 on. Raises NflogError and its kin
    where the kernel refuses, each saying what to do."""

    def __init__(
        self,
        groups: Sequence[int],
        *,
        batch_bytes: int,
        batch_age_ns: int,
        snaplen: int,
        nlbufsiz: int,
        qthreshold: int,
        qtimeout_cs: int | None,
        rcvbuf: int,
        counters: SenderCounters,
        linktype: int = linktypes.RAW,
    ) -> None:
        if qtimeout_cs is None:
            qtimeout_cs = qtimeout_for(batch_age_ns)
        with _translated():
            # Here, so that a receiver runs where there is no libnetfilter_log.
            from nflog_ffi.socket import CAPACITY_MIN, NflogSocket

            self._socket = NflogSocket(
                groups,
                snaplen=snaplen,
                nlbufsiz=nlbufsiz,
                qthreshold=qthreshold,
                qtimeout_cs=qtimeout_cs,
                rcvbuf=rcvbuf,
                linktype=linktype,
            )
        self.warnings = self._socket.warnings
        self.failure: PcapZmqError | None = None
        self.linktype = linktype
        self._capacity = max(batch_bytes, CAPACITY_MIN)
        self._kernel_age_ns = qtimeout_cs * NS_PER_CS
        self._age_ns = max(0, batch_age_ns - self._kernel_age_ns)
        self._counters = counters
        self._counts = self._socket.counts()
        self._tail = TailEstimate()
        self._rest_ns = rest_for(self._age_ns, self._socket.rcvbuf)
        self._room_min = CAPACITY_MIN
        self._room = self._last_room = new_buffer(BATCHES_A_SLAB * self._capacity)
        self._last = weakref.ref(self._room)
        self._used = 0
        self._records_given = 0
        self._emptied_ns = 0
        self._since_ns = 0
        self._rests_until_ns = 0
        self._datagrams = 0
        self._looked_ns = 0
        self._stop_ns: int | None = None
        self._is_exhausted = False

    @property
    def held_packets(self) -> int:
        """Packets in the batch that is being filled; the counters are of the same
        moment."""
        return self._records - self._records_given

    def serve(self, now: Instant) -> None:
        """Estimates from time to time what was lost at the end."""
        if now.mono_ns >= self._looked_ns + LOOK_NS:
            self._looked_ns = now.mono_ns
            self._estimate_tail()

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """The socket, unless it is being left alone."""
        if wanted and not self._rests_until_ns and not self._is_exhausted:
            yield Watch(self._socket.fileno(), READABLE)

    def due(self) -> int | None:
        """The end of a rest, the age of a batch, or the next look at the tail."""
        if self._is_exhausted:
            return None
        due = self._looked_ns + LOOK_NS
        if self._rests_until_ns:
            due = min(due, self._rests_until_ns)
        if self._used:
            due = min(due, self._since_ns + self._age_ns)
        if self._stop_ns is not None:
            due = min(due, self._stop_ns)
        return due

    def read(self, now: Instant) -> Batch | None:
        """The next batch: full, or old enough, or the last."""
        if self._is_exhausted:
            return None
        if self._stop_ns is not None or self._may_read(now.mono_ns):
            if self._fill(now):
                return self._give()
            if self._stop_ns is not None and now.mono_ns >= self._stop_ns:
                self._is_exhausted = True
                self._estimate_tail()
                return self._give() if self._used else None
        # After another rest it might be too old.
        if self._used and now.mono_ns + self._rest_ns > self._since_ns + self._age_ns:
            return self._give()
        return None

    def settle(self, receipt: object, now: Instant) -> None:
        """The kernel wants no acknowledgement."""

    def stop(self, now: Instant) -> None:
        """Ends logging to the groups; what the kernel still holds is read yet. Without
        the capability to end it, for as long as the kernel may hold a packet."""
        grace_ns = 0 if self._socket.unbind() else 2 * self._kernel_age_ns
        self._stop_ns = now.mono_ns + grace_ns

    def is_exhausted(self) -> bool:
        """After `stop`, once all has been read."""
        return self._is_exhausted

    def close(self) -> None:
        """Gives the groups back."""
        self._socket.close()

    def _may_read(self, now_ns: int) -> bool:
        """Not in a rest, nor twice in a turn after the socket was empty."""
        return now_ns >= self._rests_until_ns and now_ns > self._emptied_ns

    def _fill(self, now: Instant) -> bool:
        """Whether the batch is full now. Where it is not, the socket is empty."""
        if not self._used:
            # Its first packet came when the socket was last empty, at the earliest.
            self._since_ns = self._emptied_ns
            if self._last() is None:
                self._room = self._last_room
            elif len(self._room) < self._room_min:
                self._room = new_buffer(BATCHES_A_SLAB * self._capacity)
        room = self._room[: self._capacity]
        try:
            self._used, is_full = self._socket.read_into(room, self._used)
        except OSError as error:
            raise NflogError(error.strerror) from error
        self._look()
        if is_full:
            self._rests_until_ns = 0
            return True
        rests = self._is_busy(now.mono_ns - self._emptied_ns)
        self._rests_until_ns = now.mono_ns + self._rest_ns if rests else 0
        self._emptied_ns = now.mono_ns
        return False

    def _is_busy(self, passed_ns: int) -> bool:
        """Whether so much comes that a rest saves turns: it costs one itself. Under
        less load nothing waits for its end."""
        datagrams = self._counts.datagrams
        came, self._datagrams = datagrams - self._datagrams, datagrams
        return 2 * came * self._rest_ns > 3 * passed_ns

    def _give(self) -> Batch:
        records = self._room[: self._used]
        batch = Batch(self.linktype, records, self.held_packets)
        self._records_given = self._records
        self._last, self._last_room = weakref.ref(records), self._room
        self._room = self._room[self._used :]
        self._used = 0
        return batch

    @property
    def _records(self) -> int:
        return self._counts.stamped_by_kernel + self._counts.stamped_here

    def _estimate_tail(self) -> None:
        counts = self._counts
        self._tail.learn(counts.received, counts.datagrams)
        drops = self._socket.unrevealed_drops()
        self._counters.missed_tail = self._tail.packets(drops)

    def _look(self) -> None:
        before, counts = self._counts, self._socket.counts()
        self._counts = counts
        counters = self._counters
        # Added, not set: an earlier run may have left something to go on from.
        counters.received += counts.received - before.received
        counters.dropped[Reason.NOT_IP] += counts.not_ip - before.not_ip
        counters.overruns += counts.overruns - before.overruns
        counters.truncated_datagrams += counts.truncated - before.truncated
        counters.malformed_messages += counts.malformed - before.malformed
        counters.stamped_here += counts.stamped_here - before.stamped_here
        if counts.missed != before.missed:
            counters.missed += counts.missed - before.missed
            # A gap has told exactly what was an estimate until now.
            self._estimate_tail()


@contextmanager
def _translated() -> Iterator[None]:
    """The one place where the crossing's errors become ours."""
    from nflog_ffi import errors

    try:
        yield
    except errors.NflogPermissionError as error:
        raise NflogPermissionError(error.strerror) from error
    except errors.NflogError as error:
        raise NflogError(error.strerror) from error
    except ImportError as error:
        raise NflogUnavailableError(
            f"NFLOG cannot be read here: {error}; install libnetfilter-log1 and "
            "libmnl0, or build again on Linux with libnetfilter-log-dev"
        ) from error
