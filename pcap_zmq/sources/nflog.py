"""NFLOG groups in, batches out, with what the kernel lost on the way counted.

The kernel gathers packets for the flush time, and what is read here is gathered on
until the batch is full or its age is reached. A packet after a quiet time leaves at
once: only packets that come close after an earlier batch wait, so that batches stay
few.
"""

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
from pcap_zmq.formats import linktype
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.policy.tail import TailEstimate
from pcap_zmq.poll import READABLE, Watch

NS_PER_CS = 10 * NS_PER_MS

REST_MIN_NS = NS_PER_MS
REST_MAX_NS = 5 * NS_PER_MS
"""After the socket was emptied it is left alone for about as long as the batch takes to
fill, within these bounds: so a batch takes one turn under load instead of one for each
of the kernel's messages. The receive buffer has room for ten times that."""

LOOK_NS = NS_PER_S
"""How often counters are brought up to date without a batch."""


def qtimeout_for(batch_age_ns: int) -> int:
    """The kernel's flush time (1/100 s) that suits a batch age: half of it, at least
    the shortest there is, and at most what can be waited for at the end."""
    return max(1, min(batch_age_ns, NS_PER_S) // (2 * NS_PER_CS))


class NflogSource:
    """Any number of groups on one socket. Raises NflogError and its kin where the
    kernel refuses, each saying what to do."""

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
            )
        self.warnings = self._socket.warnings
        self.failure: PcapZmqError | None = None
        self.linktype = linktype.RAW
        self._capacity = max(batch_bytes, CAPACITY_MIN)
        self._kernel_age_ns = qtimeout_cs * NS_PER_CS
        self._age_ns = max(0, batch_age_ns - self._kernel_age_ns)
        self._counters = counters
        self._counts = self._socket.counts()
        self._tail = TailEstimate()
        self._buffer = new_buffer(self._capacity)
        self._used = 0
        self._records_given = 0
        self._gave_ns = 0
        self._rests_until_ns = 0
        self._read_ns = 0
        self._looked_ns = 0
        self._stop_ns: int | None = None
        self._is_exhausted = False

    @property
    def held_packets(self) -> int:
        """Packets in the batch that is being filled; the counters are of the same
        moment."""
        self._look()
        return self._socket.records() - self._records_given

    def serve(self, now: Instant) -> None:
        """Brings the counters up to date from time to time."""
        if now.mono_ns >= self._looked_ns + LOOK_NS:
            self._looked_ns = now.mono_ns
            self._look()
            self._estimate_tail()

    def watch(self, wanted: bool) -> Iterable[Watch]:
        """The socket, unless it is being left alone."""
        if wanted and not self._rests_until_ns and not self._is_exhausted:
            yield Watch(self._socket.fileno(), READABLE)

    def due(self) -> int | None:
        """The end of a rest, the age of a batch, or the next look at the counters."""
        if self._is_exhausted:
            return None
        due = self._looked_ns + LOOK_NS
        if self._rests_until_ns:
            due = min(due, self._rests_until_ns)
        if self._used:
            due = min(due, self._gave_ns + self._age_ns)
        if self._stop_ns is not None:
            due = min(due, self._stop_ns)
        return due

    def read(self, now: Instant) -> Batch | None:
        """The next batch: full, or old enough, or the last."""
        if self._is_exhausted:
            return None
        if now.mono_ns >= self._rests_until_ns or self._stop_ns is not None:
            before = self._used
            self._used, is_full = self._read_into(before)
            rest_ns = 0 if is_full else self._rest_ns(self._used - before, now)
            self._rests_until_ns = now.mono_ns + rest_ns if rest_ns else 0
            self._read_ns = now.mono_ns
            if is_full:
                return self._give(now)
            if self._stop_ns is not None and now.mono_ns >= self._stop_ns:
                self._is_exhausted = True
                self._look()
                self._estimate_tail()
                return self._give(now) if self._used else None
        if self._used and now.mono_ns >= self._gave_ns + self._age_ns:
            return self._give(now)
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

    def _read_into(self, used: int) -> tuple[int, bool]:
        try:
            return self._socket.read_into(self._buffer, used)
        except OSError as error:
            raise NflogError(error.strerror) from error

    def _rest_ns(self, read_bytes: int, now: Instant) -> int:
        """How long until the batch is full at the rate at which it has been filling."""
        if not read_bytes:
            return 0
        passed_ns = now.mono_ns - self._read_ns
        fill_ns = passed_ns * (self._capacity - self._used) // read_bytes
        return min(
            max(fill_ns, REST_MIN_NS), REST_MAX_NS, max(self._age_ns, REST_MIN_NS)
        )

    def _give(self, now: Instant) -> Batch:
        records = self._socket.records()
        count, self._records_given = records - self._records_given, records
        if self._used < self._capacity - self._capacity // 8:
            # Small batches do not each keep a large buffer occupied.
            batch = Batch(self.linktype, bytes(self._buffer[: self._used]), count)
        else:
            batch = Batch(self.linktype, self._buffer[: self._used], count)
            self._buffer = new_buffer(self._capacity)
        self._used = 0
        self._gave_ns = now.mono_ns
        self._look()
        return batch

    def _estimate_tail(self) -> None:
        counts = self._socket.counts()
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
