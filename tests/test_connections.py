"""The table of connections over real sockets: who has to go, and who must not."""

import contextlib
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.connections import (
    AHEAD,
    CONNECTIONS_MIN,
    LOOK_NS,
    LOOKS,
    MALFORMED_MAX,
    MUTE_NS,
    RESERVE,
    STALE_NS,
    Connection,
    Connections,
    make_room,
)
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import wire
from testbed.waiting import wait_until

PATIENCE_S = 10.0
SECOND = NS_PER_S


def routing_id(number: int) -> bytes:
    """As ZeroMQ makes it."""
    return struct.pack(">xI", number % 2**32)


class Desk:
    """Connections of our own to a port of our own, as ZeroMQ would accept them."""

    def __init__(self, maximum: int, allowance: int = 0) -> None:
        self.table = Connections(maximum, allowance)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.near: list[socket.socket] = []
        self.far: list[socket.socket] = []
        self.left: list[Connection] = []
        self.now_ns = 0

    def connect(self, host: str = "127.0.0.1") -> int:
        """A new connection from this address; its number."""
        far = socket.create_connection(self._listener.getsockname(), 5, (host, 0))
        near = self._listener.accept()[0]
        self.far.append(far)
        self.near.append(near)
        leaving = self.table.opened(near.fileno(), self.now_ns)
        if leaving is not None:
            self.left.append(leaving)
        return len(self.far) - 1

    def hear(self, number: int, peer: bytes | None = None) -> Connection | None:
        """peer: another routing id than that of the connection."""
        fd = self.near[number].fileno()
        return self.table.heard(fd, peer or routing_id(number), self.now_ns)

    def reopen(self, number: int) -> None:
        """Another connection has got the descriptor."""
        self.table.opened(self.near[number].fileno(), self.now_ns)

    def is_cut(self, number: int) -> bool:
        """Whether the other side has seen the end of it."""
        self.far[number].setblocking(False)
        try:
            return self.far[number].recv(1) == b""
        except BlockingIOError:
            return False

    @property
    def cut(self) -> list[int]:
        return [number for number in range(len(self.far)) if self.is_cut(number)]

    def close(self) -> None:
        for end in (*self.near, *self.far, self._listener):
            end.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with contextlib.closing(Desk(maximum=4)) as desk:
        yield desk


@pytest.fixture
def large() -> Iterator[Desk]:
    with contextlib.closing(Desk(maximum=2 * LOOKS, allowance=1 << 20)) as desk:
        yield desk


def test_the_oldest_silent_one_has_to_go(desk: Desk) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"):
        desk.connect(host)
    assert desk.cut == [0]
    assert [connection.address for connection in desk.left] == ["127.0.0.1"]
    assert len(desk.table) == 4


def test_one_address_drives_out_itself_and_nobody_else(desk: Desk) -> None:
    first = desk.connect("127.0.0.1")
    for _ in range(10):
        desk.connect("127.0.0.2")
    assert first not in desk.cut
    assert len(desk.cut) == 8


def test_who_has_spoken_stays_however_many_come(desk: Desk) -> None:
    for host in range(1, 4):
        desk.hear(desk.connect(f"127.0.0.{host}"))
    newcomers = [desk.connect(f"127.0.0.{host}") for host in range(4, 12)]
    assert desk.cut == newcomers[:-1]
    assert len(desk.table) == 4


def test_where_everybody_talks_a_newcomer_has_to_go(desk: Desk) -> None:
    for host in range(1, 5):
        desk.hear(desk.connect(f"127.0.0.{host}"))
    newcomer = desk.connect("127.0.0.9")
    assert desk.cut == [newcomer]


def test_who_talked_long_ago_makes_room_for_a_newcomer(desk: Desk) -> None:
    for host in range(1, 5):
        desk.hear(desk.connect(f"127.0.0.{host}"))
    desk.now_ns = STALE_NS
    for number in (0, 1, 3):
        desk.hear(number)
    newcomer = desk.connect("127.0.0.9")
    assert desk.cut == [2]
    assert desk.hear(newcomer) is not None


def test_who_was_cut_is_heard_no_more_and_cut_once(desk: Desk) -> None:
    number = desk.connect()
    connection = desk.hear(number)
    assert connection is not None
    desk.table.cut(connection)
    desk.table.cut(connection)
    assert desk.is_cut(number)
    assert desk.hear(number) is None
    assert len(desk.table) == 0


def test_a_silent_one_that_was_cut_is_heard_no_more(desk: Desk) -> None:
    number = desk.connect()
    (connection,) = desk.table
    desk.table.cut(connection)
    assert desk.hear(number) is None


def test_a_descriptor_that_means_another_socket_is_left_alone(desk: Desk) -> None:
    number = desk.connect()
    connection = desk.hear(number)
    assert connection is not None
    here, there = socket.socketpair()
    with here, there:
        os.dup2(here.fileno(), connection.fd)
        desk.table.cut(connection)
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.recv(1)


def test_a_descriptor_is_a_new_connection_when_it_opens_again(desk: Desk) -> None:
    number = desk.connect()
    before = desk.hear(number)
    desk.reopen(number)
    (after,) = desk.table
    assert (after is before, after.heard_ns) == (False, None)


@pytest.mark.parametrize("first", [7, 2**32 - 1])
def test_a_late_message_of_a_connection_that_is_gone_is_not_the_next_ones(
    desk: Desk, first: int
) -> None:
    gone, here = routing_id(first), routing_id(first + 1)
    number = desk.connect()
    desk.hear(number, gone)
    desk.table.closed(desk.near[number].fileno())
    desk.reopen(number)
    assert desk.hear(number, gone) is None
    connection = desk.hear(number, here)
    assert connection is not None
    assert desk.hear(number, gone) is None
    assert (desk.table.of_peer(here), desk.table.of_peer(gone)) == (connection, None)


def test_what_came_late_does_not_count_once_the_next_one_speaks(desk: Desk) -> None:
    gone, here = routing_id(1), routing_id(2)
    number = desk.connect()
    connection = desk.hear(number, gone)
    assert connection is not None
    for _ in range(MALFORMED_MAX):
        assert not desk.table.blame(connection, desk.now_ns)
    assert desk.hear(number, here) is connection
    assert not desk.table.blame(connection, desk.now_ns)
    assert desk.table.of_peer(gone) is None


def test_a_peer_that_chose_its_routing_id_is_blamed_all_the_same(desk: Desk) -> None:
    number = desk.connect()
    desk.hear(number, routing_id(1))
    assert desk.hear(number, b"mine") is desk.hear(number, b"or that") is not None


def test_what_has_gone_is_forgotten(desk: Desk) -> None:
    number = desk.connect()
    connection = desk.hear(number)
    assert connection is not None
    assert desk.table.of_peer(connection.peer) is connection
    desk.table.closed(desk.near[number].fileno())
    assert (len(desk.table), desk.table.of_peer(connection.peer)) == (0, None)
    assert desk.hear(number) is None
    # Not an error either: nothing that ever opened need close, nor the other way round.
    desk.table.closed(999)


def test_a_descriptor_that_is_closed_already_is_no_connection(desk: Desk) -> None:
    here, there = socket.socketpair()
    fd = here.fileno()
    here.close()
    there.close()
    assert desk.table.opened(fd, 0) is None
    assert len(desk.table) == 0


def test_malformed_messages_are_forgiven_one_a_second(desk: Desk) -> None:
    connection = desk.hear(desk.connect())
    assert connection is not None
    blamed = [desk.table.blame(connection, 0) for _ in range(MALFORMED_MAX + 1)]
    assert blamed == [False] * MALFORMED_MAX + [True]
    assert not desk.table.blame(connection, 2 * SECOND)
    slowly = [desk.table.blame(connection, n * SECOND) for n in range(100, 200)]
    assert not any(slowly)


def send_unheard(desk: Desk, number: int, octets: int) -> None:
    """Takes them out of the near end, as ZeroMQ would into an unfinished message."""
    chunk, near, far = bytes(1 << 20), desk.near[number], desk.far[number]
    near.setblocking(False)
    far.setblocking(False)
    sent = taken = 0

    def is_done() -> bool:
        nonlocal sent, taken
        with contextlib.suppress(BlockingIOError):
            while sent < octets:
                sent += far.send(chunk[: octets - sent])
        with contextlib.suppress(BlockingIOError):
            while taken < octets:
                taken += len(near.recv(1 << 20))
        return taken == octets

    wait_until(is_done, PATIENCE_S, "the octets to arrive")


def test_a_message_that_does_not_end_is_seen(large: Desk) -> None:
    number = large.connect()
    send_unheard(large, number, wire.CUT_OFF)
    assert large.table.look(0)[0] == []
    send_unheard(large, number, 1)
    assert large.table.look(LOOK_NS - 1)[0] == []
    assert [c.fd for c in large.table.look(LOOK_NS)[0]] == [large.near[number].fileno()]


def test_whole_messages_may_have_any_length_altogether(large: Desk) -> None:
    number = large.connect()
    for turn in range(5):
        large.now_ns = turn * LOOK_NS
        send_unheard(large, number, wire.CUT_OFF // 2)
        large.hear(number)
        assert large.table.look(large.now_ns)[0] == []


def test_a_sender_may_have_its_window_under_way_too(large: Desk) -> None:
    number = large.connect()
    connection = large.hear(number)
    assert connection is not None
    connection.is_sender = True
    assert large.table.look(0)[0] == []
    send_unheard(large, number, wire.CUT_OFF + (1 << 20))
    assert large.table.look(LOOK_NS)[0] == []
    send_unheard(large, number, 1)
    assert large.table.look(2 * LOOK_NS)[0] == [connection]


def test_who_never_says_anything_is_told_of(desk: Desk) -> None:
    mute, _ = desk.connect(), desk.hear(desk.connect())
    assert desk.table.look(MUTE_NS - 1) == ([], [])
    _, mutes = desk.table.look(MUTE_NS - 1 + LOOK_NS)
    assert [connection.fd for connection in mutes] == [desk.near[mute].fileno()]


def test_whom_we_called_need_not_speak(desk: Desk) -> None:
    number = desk.connect()
    desk.table.opened(desk.near[number].fileno(), 0, may_expire=False)
    assert desk.table.look(2 * MUTE_NS) == ([], [])


def test_of_very_many_all_are_looked_at_in_turn(large: Desk) -> None:
    for host in range(1, 4):
        for _ in range(LOOKS // 2 - 1):
            large.connect(f"127.0.0.{host}")
    last = len(large.near) - 1
    send_unheard(large, last, wire.CUT_OFF + 1)
    seen = [len(large.table.look(turn * LOOK_NS)[0]) for turn in range(4)]
    assert sorted(seen) == [0, 0, 1, 1]


def test_a_local_socket_has_no_octets_to_count(large: Desk, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(str(tmp_path / "s"))
            with listener.accept()[0] as near:
                large.table.opened(near.fileno(), 0)
                (connection,) = large.table
                assert (connection.is_tcp, connection.address) == (False, "this host")
                assert large.table.look(0)[0] == []


@pytest.fixture
def limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("limit")
def test_room_is_made_for_as_many_as_are_wanted() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    assert make_room(1_000) == 1_000
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert soft == min(hard, AHEAD * 1_000 + RESERVE)


def in_a_child(hard: int, wanted: int) -> int:
    """What `make_room` says where the hard limit is so low; 0: it refuses. A limit that
    was lowered stays so, hence the child."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            room = make_room(wanted)
        except ConfigError:
            room = 0
        os._exit(room)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_there_is_no_more_room_than_descriptors() -> None:
    assert in_a_child(RESERVE + 100, wanted=200) == 100
    assert in_a_child(RESERVE + CONNECTIONS_MIN, wanted=200) == CONNECTIONS_MIN
    assert in_a_child(RESERVE + CONNECTIONS_MIN - 1, wanted=200) == 0
