"""What a receiver knows of one run of one sender, and where its packets are.

Specification: docs/wire.md, docs/ledger.md.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from pcap_zmq.counters import Account, Reason
from pcap_zmq.formats import wire
from pcap_zmq.formats.ledger import Tally
from pcap_zmq.formats.wire import ReplyType, StreamId

UNACKNOWLEDGED_MIN = 64
"""Of any sender so many batches are remembered that it has not found acknowledged."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end of a connection, as far as that can be known."""

    name: str = ""
    """The name that is bound to its key; empty without keys."""
    key: str = ""
    """Its public key, Z85; empty without keys."""
    address: str = ""
    is_operator: bool = False
    """May look at every line of the ledger, and send no packets."""


ANYBODY = Identity()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which batch of which stream has been written, and whose packets they are."""

    stream: StreamId
    sequence: int
    account: Account = field(default_factory=Account, compare=False, repr=False)


@dataclass(slots=True)
class Stream:
    """What a receiver knows of one run of one sender."""

    id: StreamId
    """As its sender calls it."""
    key: StreamId
    """As we do: where senders have keys, no two of them can mean the same."""
    name: str
    peer: bytes
    """The connection that it is on: ZeroMQ's routing id."""
    next: int
    written: int
    linktype: int
    heard_ns: int
    window: int = 0
    reserved: int = 0
    """The largest window that the sender may still go by."""
    held_bytes: int = 0
    totals: bytes = wire.NO_TOTALS
    identity: Identity = ANYBODY
    since_ns: int = 0
    rate: int = 0
    rated_ns: int = 0
    rated_logged: int = 0
    has_left: bool = False
    has_died: bool = False
    """Started again without a goodbye."""
    is_here: bool = True
    """Connected as far as is known, so that it has a share of the queue."""
    owes: ReplyType | None = None
    spoke_ns: int = 0
    is_refused: bool = False
    """A batch was not taken, and the sender has yet to be told."""
    resume_wanted: bool = False
    """A batch was missing, and the sender has been told so."""
    costs: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and cost of each batch that is held."""
    repeated: int = 0
    malformed: int = 0
    """Messages and batches on its connections that no format explains."""
    owner: bytes = b""
    """Who has put this stream into our memory: a key's name, or a connection."""
    account: Account = field(default_factory=Account)
    elsewhere: int = 0
    """Packets that the sender found acknowledged otherwise than by this stream."""
    acknowledged: int = 0
    """Packets of this stream that the sender has found acknowledged, as we count."""
    unacknowledged: deque[tuple[int, int]] = field(default_factory=deque)
    """Number of each batch that the sender has not found acknowledged, and the packets
    up to its end."""

    def tally(self, held_here: int) -> Tally:
        """held_here: packets of this stream that are found in the receiver now."""
        said = wire.decode_totals(self.totals)
        account = self.account
        held_there = said.held - (account.received - self.acknowledged)
        dropped = Counter({reason: n for reason, n in said.dropped.items() if n})
        dropped.update(account.dropped)
        tally = Tally(
            logged=said.logged,
            delivered=account.written,
            held_by_sender=held_there,
            held_by_receiver=held_here,
            missed=said.missed,
            missed_tail=said.missed_tail,
            elsewhere=self.elsewhere,
            dropped=dropped,
        )
        if self.elsewhere < 0:
            # A sender's predecessor died before it heard that these were delivered.
            tally.dropped[Reason.SENDER_GONE] += self.elsewhere
            tally.elsewhere = 0
        if self.has_died:
            tally.dropped[Reason.SENDER_GONE] += held_there
            tally.held_by_sender = 0
        elif self.has_left:
            # What it held when it said goodbye it has given up, or keeps on its disk.
            given_up = held_there - said.spooled
            tally.held_by_sender -= given_up
            tally.dropped[Reason.SHUTDOWN] += given_up
        return tally

    def remember(self, sequence: int) -> None:
        """This batch was taken, and its sender has not found it acknowledged. Of one
        that never finds any the last ones are remembered together: a true one has a
        window's worth at most."""
        batches = self.unacknowledged
        worth = max(self.window, self.reserved) // wire.MESSAGE_COST
        if len(batches) > UNACKNOWLEDGED_MIN + 4 * worth:
            batches.pop()
        batches.append((sequence, self.account.received))

    def is_settled(self) -> bool:
        """Nothing of it is held here, not even a batch of no packets."""
        account = self.account
        settled = account.written + account.dropped.total()
        return not self.costs and account.received == settled

    def compare_acknowledged(self) -> None:
        """How far the sender has found its packets acknowledged: to the end of which
        batch, of those that are settled. What it says beyond is unaccounted for."""
        said = wire.acknowledged_in(self.totals) - self.elsewhere
        batches = self.unacknowledged
        while batches and batches[0][0] <= self.written and batches[0][1] <= said:
            self.acknowledged = batches.popleft()[1]

    def start_over(self, sequence: int, acknowledged: int) -> None:
        """The sender cannot know what became of the batches before this one: what it
        takes for acknowledged, and did not hear from us, is not ours."""
        batches = self.unacknowledged
        while batches and batches[0][0] < sequence:
            self.acknowledged = batches.popleft()[1]
        self.elsewhere = acknowledged - self.acknowledged
