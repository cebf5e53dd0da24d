"""Which connections ZeroMQ has accepted for us, and which of them have to go.

Theory of operation. ZeroMQ bounds neither how many connections it accepts nor how long
a message of many frames may grow, and has no call that ends a connection. But its
monitor names the descriptor of each, and so does every message; a descriptor that is
shut down ends the connection as if the other side had gone. A descriptor may stand for
another socket by the time that we use it, so its inode is compared first; and messages
of a connection that is gone may still be there when the next one has its descriptor, so
whose a message is says its routing id.

A connection is *silent* until it has brought a whole message. Beyond the bound the
oldest silent one goes, so that those who open connections and say nothing drive out
each other: neither those who talk nor newcomers, who say hello within moments. In any
case it goes when it stays silent.

Specification: tcp(7), TCP_INFO; getrlimit(2).
"""

import os
import resource
import socket
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import linux_ffi
from pcap_zmq.clock import NS_PER_S
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import wire

SHARE = 2
"""One part in so many of the bound is the most that one address can have of silent
connections."""

MUTE_NS = 10 * NS_PER_S
"""Who has connected and not said anything by then is hung up on: a scanner, or one who
says hello in a way that ZeroMQ waits for the rest of."""

STALE_NS = 15 * NS_PER_S
"""Who talked, and has not for so long, can be taken for silent: a sender that is there
says something every second."""

LOOK_NS = NS_PER_S // 4
"""How often the growth of unfinished messages is looked at."""

LOOKS = 512
"""Connections looked at in one go: thousands take turns."""

MALFORMED_MAX = 16
"""Malformed messages in a row for which a peer is cut off; one is forgiven each
second."""

RESERVE = 256
"""Descriptors left for everything that is no connection."""

AHEAD = 4
"""Times the bound that may be open for a moment in a flood, where the system allows."""

CONNECTIONS_MIN = 16

ROUTING_ID = 5
"""Octets of a routing id that ZeroMQ has made: a zero and a number."""


@dataclass(slots=True)
class Connection:
    """What is known of one."""

    fd: int
    inode: int
    address: str
    is_tcp: bool
    expires_ns: int | None = None
    """When to hang up, if it is silent until then (mono_ns); None: never."""
    name: str = ""
    """Of whom it is; "" while that is not known."""
    key: str = ""
    peer: bytes = b""
    """ZeroMQ's routing id, once a message came."""
    is_sender: bool = False
    """Whether a sender has said hello on it."""
    heard_ns: int | None = None
    """When the last whole message came (mono_ns); None: it is silent."""
    octets: int | None = None
    """Received at the first look after the last whole message."""
    malformed: int = 0
    forgiven_ns: int = 0

    @property
    def who(self) -> str:
        """For people."""
        return f"{self.name} ({self.address})" if self.name else self.address


class Connections:
    """All that are open. maximum: how many may be at a time. allowance: octets that a
    sender may have under way; what the others may is a constant."""

    def __init__(self, maximum: int, allowance: int) -> None:
        self.maximum = maximum
        self._allowance = allowance
        self._by_fd: dict[int, Connection] = {}
        self._by_peer: dict[bytes, Connection] = {}
        # The routing id of who spoke last on each descriptor.
        self._latest: dict[int, bytes] = {}
        self._silent: OrderedDict[int, Connection] = OrderedDict()
        self._silent_at: dict[str, OrderedDict[int, Connection]] = {}
        # The one that was heard least recently is the first.
        self._talking: OrderedDict[int, Connection] = OrderedDict()
        self._look_ns = 0
        self._looked = 0

    def __len__(self) -> int:
        return len(self._silent) + len(self._talking)

    def __iter__(self) -> Iterator[Connection]:
        return chain(list(self._talking.values()), list(self._silent.values()))

    def opened(
        self, fd: int, now_ns: int, *, may_expire: bool = True
    ) -> Connection | None:
        """A connection is there; returns the one that had to leave for it, if any.
        may_expire: whether it is for the other side to say something."""
        self.closed(fd)
        connection = _look_at(fd)
        if connection is None:
            return None
        if may_expire:
            connection.expires_ns = now_ns + MUTE_NS
        self._by_fd[fd] = connection
        self._silent[fd] = connection
        neighbours = self._silent_at.setdefault(connection.address, OrderedDict())
        neighbours[fd] = connection
        if len(neighbours) > max(1, self.maximum // SHARE):
            return self._cut_first(neighbours)
        if len(self) <= self.maximum:
            return None
        _, stalest = next(iter(self._talking.items()), (0, None))
        if len(self._silent) == 1 and stalest is not None:
            is_stale = now_ns >= (stalest.heard_ns or 0) + STALE_NS
            return self._cut_first(self._talking if is_stale else self._silent)
        return self._cut_first(self._silent)

    def closed(self, fd: int) -> None:
        """A connection is gone."""
        connection = self._by_fd.pop(fd, None)
        if connection is not None:
            self._forget(connection)

    def knows(self, fd: int, peer: bytes) -> bool:
        """Whether the connection of this descriptor has this routing id."""
        connection = self._by_fd.get(fd)
        return connection is not None and connection.peer == peer

    def heard(self, fd: int, peer: bytes, now_ns: int) -> Connection | None:
        """A whole message came on a connection; None where that is gone already, or
        was cut off. peer: ZeroMQ's routing id; b"" where it gives none."""
        connection = self._by_fd.get(fd)
        if connection is None or not self._is_of(connection, peer):
            return None
        if connection.heard_ns is None:
            if self._silent.pop(fd, None) is None:
                return None
            self._leave_neighbours(connection)
            self._talking[fd] = connection
        elif fd in self._talking:
            self._talking.move_to_end(fd)
        else:
            return None
        connection.heard_ns = now_ns
        connection.octets = None
        return connection

    def heard_on_lane(self, fd: int, heard_ns: int) -> None:
        """A sender that has said hello there was heard; not whoever has got the same
        descriptor since."""
        connection = self._by_fd.get(fd)
        if connection is not None and connection.is_sender:
            self.heard(fd, connection.peer, heard_ns)

    def of_peer(self, peer: bytes) -> Connection | None:
        """The connection on which messages with this routing id came."""
        return self._by_peer.get(peer)

    def cut(self, connection: Connection) -> None:
        """Ends it, unless it has ended."""
        self._forget(connection)
        _shut(connection)

    def blame(self, connection: Connection, now_ns: int) -> bool:
        """It brought something malformed; whether it has done so too often."""
        forgiven = (now_ns - connection.forgiven_ns) // NS_PER_S
        connection.malformed = max(0, connection.malformed - forgiven) + 1
        connection.forgiven_ns += forgiven * NS_PER_S
        return connection.malformed > MALFORMED_MAX

    def look(self, now_ns: int) -> tuple[list[Connection], list[Connection]]:
        """Those who have sent more than they may without finishing a message; and
        those who have said nothing for too long."""
        if now_ns < self.due():
            return [], []
        self._look_ns = now_ns + LOOK_NS
        everybody = list(self)
        if self._looked >= len(everybody):
            self._looked = 0
        turn = everybody[self._looked : self._looked + LOOKS]
        self._looked += len(turn)
        received = linux_ffi.octets_received([connection.fd for connection in turn])
        gluttons = [
            connection
            for connection, octets in zip(turn, received, strict=True)
            if self._is_glutton(connection, octets)
        ]
        mutes = [
            connection
            for connection in turn
            if connection.heard_ns is None
            and connection.expires_ns is not None
            and now_ns >= connection.expires_ns
            and connection not in gluttons
        ]
        return gluttons, mutes

    def due(self) -> int:
        """When to look next (mono_ns)."""
        return self._look_ns

    def _is_of(self, connection: Connection, peer: bytes) -> bool:
        """Whether the connection is the one with this routing id, now at the latest."""
        if connection.peer != peer:
            if _is_up_to(peer, self._latest.get(connection.fd, b"")):
                return False
            # The first message, or what was taken for that was of the one before.
            self._leave_peer(connection)
            self._latest[connection.fd] = peer
            connection.peer, connection.malformed = peer, 0
            connection.key = connection.name = ""
            connection.is_sender = False
            self._by_peer[peer] = connection
        return True

    def _is_glutton(self, connection: Connection, octets: int) -> bool:
        if not connection.is_tcp:
            return False
        if connection.octets is None or octets < connection.octets:
            connection.octets = 0 if connection.heard_ns is None else octets
        most = wire.CUT_OFF + (self._allowance if connection.is_sender else 0)
        return octets - connection.octets > most

    def _cut_first(self, among: OrderedDict[int, Connection]) -> Connection:
        connection = next(iter(among.values()))
        self.cut(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        fd = connection.fd
        if self._silent.pop(fd, None) is not None:
            self._leave_neighbours(connection)
        self._talking.pop(fd, None)
        self._leave_peer(connection)

    def _leave_peer(self, connection: Connection) -> None:
        if self._by_peer.get(connection.peer) is connection:
            del self._by_peer[connection.peer]

    def _leave_neighbours(self, connection: Connection) -> None:
        neighbours = self._silent_at[connection.address]
        del neighbours[connection.fd]
        if not neighbours:
            del self._silent_at[connection.address]


def make_room(maximum: int) -> int:
    """Raises the limit of open descriptors as far as is wanted and allowed; returns how
    many connections fit below it, at most `maximum`. Raises ConfigError where hardly
    any do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # ZeroMQ accepts in a thread of its own: in a flood it is ahead of us.
    wanted = max(soft, min(hard, AHEAD * maximum + RESERVE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    room = min(maximum, wanted - RESERVE)
    if room < CONNECTIONS_MIN:
        raise ConfigError(
            f"only {hard} descriptors may be open at a time, of which {RESERVE} are "
            "not for connections; raise the limit (ulimit -Hn, LimitNOFILE=)"
        )
    return room


def _is_up_to(peer: bytes, other: bytes) -> bool:
    """Whether a routing id is not later than another. ZeroMQ numbers its own in the
    order of the connections, modulo 2^32 (RFC 1982); those that peers choose have none.
    """
    if not all(len(name) == ROUTING_ID and name[0] == 0 for name in (peer, other)):
        return False
    apart = int.from_bytes(other[1:], "big") - int.from_bytes(peer[1:], "big")
    return apart % 2**32 < 2**31


def _look_at(fd: int) -> Connection | None:
    """None where it has gone meanwhile."""
    try:
        with socket.socket(fileno=os.dup(fd)) as seen:
            inode = os.fstat(seen.fileno()).st_ino
            is_tcp = seen.family in {socket.AF_INET, socket.AF_INET6}
            address = str(seen.getpeername()[0]) if is_tcp else "this host"
    except OSError:
        return None
    return Connection(fd, inode, address.removeprefix("::ffff:"), is_tcp)


def _shut(connection: Connection) -> None:
    try:
        with socket.socket(fileno=os.dup(connection.fd)) as end:
            if os.fstat(end.fileno()).st_ino == connection.inode:
                end.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has ended by itself.
        return
