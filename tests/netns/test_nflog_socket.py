"""NFLOG groups of a real kernel, read through the crossing."""

import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nflog_ffi import NflogError, NflogPermissionError, NflogSocket, limits
from nflog_ffi.socket import CAPACITY_MIN
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet
from testbed.waiting import wait_until
from tests.netns import here
from tests.nflog_ffi.datagrams import ipv4, logged

pytestmark = [pytest.mark.netns, pytest.mark.inside]

PORT = 9
NETLINK_NETFILTER = 12  # linux/netlink.h; the socket module has no name for it

OPEN_GROUP_7 = """
import sys
from nflog_ffi import NflogSocket
with NflogSocket([7]):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_group_that_another_process_holds_is_refused_and_its_owner_named() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_GROUP_7],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        expected = f"group 7 is held by another process .*port id {holder.pid}"
        with pytest.raises(NflogPermissionError, match=expected):
            NflogSocket([6, 7])
        holder.communicate("", timeout=here.TIMEOUT_S)
    # And when it has gone, nothing is left of it, nor of our attempt.
    NflogSocket([6, 7]).close()


def test_a_group_that_this_process_holds_is_refused() -> None:
    with NflogSocket([7]), pytest.raises(NflogPermissionError, match="group 7 is held"):
        NflogSocket([7])


def test_without_the_capability_the_error_names_it(user_namespace: bool) -> None:
    setpriv = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    done = subprocess.run(
        [*setpriv, sys.executable, "-c", OPEN_GROUP_7],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=here.TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "NflogPermissionError" in done.stderr
    assert "NFLOG group 7 needs CAP_NET_ADMIN" in done.stderr


def test_the_systems_loggers_stay_as_they_are() -> None:
    before = Path("/proc/net/netfilter/nf_log").read_text()
    with NflogSocket([0, 1]) as opened:
        assert Path("/proc/net/netfilter/nf_log").read_text() == before
        opened.unbind()
        assert Path("/proc/net/netfilter/nf_log").read_text() == before
    assert Path("/proc/net/netfilter/nf_log").read_text() == before


def test_the_kernel_shows_what_was_asked_for(user_namespace: bool) -> None:
    with NflogSocket([300, 2], snaplen=96, qtimeout_cs=7) as opened:
        lines = Path("/proc/net/netfilter/nfnetlink_log").read_text().splitlines()
        rows = [[int(field) for field in line.split()] for line in lines]
        # Group, port id, queued, copy mode (2: packets), copy range, timeout.
        shown = [row[:6] for row in rows]
        assert sorted(shown) == [
            [2, os.getpid(), 0, 2, 96, 7],
            [300, os.getpid(), 0, 2, 96, 7],
        ]
        assert all("copy range" not in warning for warning in opened.warnings)


def test_a_receive_buffer_that_is_not_given_whole_is_a_warning() -> None:
    with NflogSocket([1], rcvbuf=limits.RCVBUF.minimum) as opened:
        assert opened.warnings == []


def test_several_groups_come_through_one_socket(user_namespace: bool) -> None:
    for group in (1, 2, 0xFFFF):
        here.log(f"udp dport {group}", f"group {group}")
    with NflogSocket([0xFFFF, 1, 2]) as opened:
        for group in (1, 2, 0xFFFF):
            here.send_udp([b"to %d" % group] * 3, group)
        packets = here.read_packets(opened, 9)
    payloads = sorted(here.udp_payload(packet.data) for packet in packets)
    assert payloads == sorted([b"to 1", b"to 2", b"to 65535"] * 3)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_packets_come_as_they_were_sent(
    family: socket.AddressFamily, user_namespace: bool
) -> None:
    here.log(f"udp dport {PORT}", "group 5")
    sent = here.numbered(200, 300)
    with NflogSocket([5]) as opened:
        here.send_udp(sent, PORT, family)
        packets = here.read_packets(opened, len(sent))
        counts = opened.counts()
    assert [here.udp_payload(packet.data) for packet in packets] == sent
    assert all(packet.origlen == len(packet.data) for packet in packets)
    assert (counts.received, counts.missed, counts.malformed) == (200, 0, 0)
    assert (counts.truncated, counts.overruns) == (0, 0)


def test_the_kernel_stamps_what_comes_in_and_we_what_goes_out() -> None:
    here.log(f"udp dport {PORT}", "group 5", hook="input")
    here.log(f"udp dport {PORT}", "group 6", hook="output")
    with NflogSocket([5]) as comes_in, NflogSocket([6]) as goes_out:
        here.send_udp([b"?"], PORT)
        (came,) = here.read_packets(comes_in, 1)
        (went,) = here.read_packets(goes_out, 1)
        stamped = [
            (counts.stamped_by_kernel, counts.stamped_here)
            for counts in (comes_in.counts(), goes_out.counts())
        ]
    assert stamped == [(1, 0), (0, 1)]
    assert abs(came.ts_ns - went.ts_ns) < here.TIMEOUT_S * 1e9


def test_a_snaplen_cuts_the_packet_and_not_its_origlen() -> None:
    here.log(f"udp dport {PORT}", "group 5")
    with NflogSocket([5], snaplen=96) as opened:
        here.send_udp([b"x" * 300], PORT)
        (packet,) = here.read_packets(opened, 1)
    assert (len(packet.data), packet.origlen) == (96, 328)


def test_a_rules_own_snaplen_cuts_the_packet_and_not_its_origlen() -> None:
    here.log(f"udp dport {PORT}", "group 5 snaplen 64")
    with NflogSocket([5]) as opened:
        here.send_udp([b"x" * 300], PORT)
        (packet,) = here.read_packets(opened, 1)
    assert (len(packet.data), packet.origlen) == (64, 328)


@pytest.mark.parametrize("octets", [65_531, 65_535])
def test_the_longest_packets_are_kept_up_to_what_an_attribute_holds(
    octets: int,
) -> None:
    here.log(f"udp dport {PORT}", "group 5")
    with NflogSocket([5]) as opened:
        here.send_udp([b"x" * (octets - 28)], PORT)
        (packet,) = here.read_packets(opened, 1)
    assert (len(packet.data), packet.origlen) == (65_531, octets)


def test_the_kernel_gathers_many_packets_in_a_message() -> None:
    here.log(f"udp dport {PORT}", "group 5")
    # With its default of a page it would be two packets of this size.
    with NflogSocket([5], qtimeout_cs=100) as opened:
        here.send_udp(here.numbered(160, 1372), PORT)
        here.read_packets(opened, 160)
        counts = opened.counts()
    assert counts.received / counts.datagrams > 40


def test_super_packets_of_local_tcp_come_whole(user_namespace: bool) -> None:
    here.run(["ip", "link", "set", "lo", "mtu", "1500"])
    sent = os.urandom(2_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        here.log(f"tcp dport {port}", "group 5")
        with (
            NflogSocket([5]) as opened,
            socket.create_connection(("127.0.0.1", port)) as client,
        ):
            accepted, _ = server.accept()
            with accepted:
                thread = threading.Thread(target=drain, args=(accepted, len(sent)))
                thread.start()
                packets = []
                for start in range(0, len(sent), 1 << 17):
                    client.sendall(sent[start : start + (1 << 17)])
                    # Without root the receive buffer is small, so it is emptied often.
                    packets += here.read_packets(opened, 1)
                thread.join(here.TIMEOUT_S)
                while len(stream(packets)) < len(sent):
                    packets += here.read_packets(opened, 1)
            counts = opened.counts()
    assert stream(packets) == sent
    assert all(packet.origlen == len(packet.data) for packet in packets)
    assert max(len(packet.data) for packet in packets) > 20_000
    assert counts.missed == 0


def drain(connection: socket.socket, octets: int) -> None:
    """Receives so much and forgets it."""
    while octets > 0:
        octets -= len(connection.recv(1 << 16))


def stream(packets: list[Packet]) -> bytes:
    """What one side of a TCP connection sent, from its packets over IPv4."""
    segments: dict[int, bytes] = {}
    for packet in packets:
        (seq,) = struct.unpack_from("!I", packet.data, 24)
        header = 20 + (packet.data[32] >> 4) * 4
        if packet.data[header:]:
            segments[seq] = packet.data[header:]
    first = min(segments, default=0)
    # The numbers may go past the last one, but not twice.
    if segments and max(segments) - first > 1 << 31:
        first = min(seq for seq in segments if seq > 1 << 31)
    ordered = sorted(segments, key=lambda seq: (seq - first) % (1 << 32))
    return b"".join(segments[seq] for seq in ordered)


def test_a_stalled_reader_learns_exactly_how_many_it_missed(
    user_namespace: bool,
) -> None:
    here.log(f"udp dport {PORT}", "group 5")
    first, later = here.numbered(3_000, 500), here.numbered(1, 500, first=3_000)
    with NflogSocket([5], rcvbuf=limits.RCVBUF.minimum) as opened:
        here.send_udp(first, PORT)
        wait_until(lambda: here.queued(5) == 0, here.TIMEOUT_S, "the flush")
        # The kernel has told of nothing yet, and still there is something to see.
        assert opened.unrevealed_drops() > 0
        read = here.read_packets(opened, 1)
        while more := list(iter_packets(opened.read(0))):
            read += more
        assert opened.unrevealed_drops() > 0
        assert opened.counts().overruns >= 1

        here.send_udp(later, PORT)
        read += here.read_packets(opened, 1)
        counts = opened.counts()
        assert counts.received == len(read)
        assert counts.received + counts.missed == len(first) + len(later)
        assert counts.missed > 0
        assert opened.unrevealed_drops() == 0
    assert here.udp_payload(read[-1].data) == later[0]


def test_what_another_process_sends_us_is_no_packet() -> None:
    here.log(f"udp dport {PORT}", "group 5")
    with (
        NflogSocket([5]) as opened,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as other,
    ):
        forged = logged(ipv4(40), group=5, seq=1_000)
        assert other.sendto(forged, (os.getpid(), 0)) == len(forged)
        here.send_udp([b"real"], PORT)
        (packet,) = here.read_packets(opened, 1)
        counts = opened.counts()
    assert here.udp_payload(packet.data) == b"real"
    assert (counts.received, counts.missed, counts.malformed) == (1, 0, 0)


def test_what_the_kernel_holds_can_be_read_after_unbinding() -> None:
    here.log(f"udp dport {PORT}", "group 5")
    with NflogSocket([5], qtimeout_cs=6_000) as opened:
        here.send_udp([b"held"], PORT)
        assert here.queued(5) == 1
        assert opened.unbind()
        here.send_udp([b"too late"], PORT)
        (packet,) = here.read_packets(opened, 1)
        assert opened.read(0) == b""
    assert here.udp_payload(packet.data) == b"held"


def test_a_full_buffer_goes_on_where_it_stopped() -> None:
    here.log(f"udp dport {PORT}", "group 5")
    sent = here.numbered(600, 400)
    with NflogSocket([5]) as opened:
        here.send_udp(sent, PORT)
        wait_until(lambda: here.queued(5) == 0, here.TIMEOUT_S, "the flush")
        buffer = memoryview(bytearray(CAPACITY_MIN))
        payloads, is_full, full_buffers = [], True, 0
        while is_full:
            used, is_full = opened.read_into(buffer, 0)
            payloads += [
                here.udp_payload(packet.data) for packet in iter_packets(buffer[:used])
            ]
            full_buffers += is_full
    assert payloads == sent
    assert full_buffers >= 3


def test_a_buffer_too_small_for_a_packet_is_refused() -> None:
    short = CAPACITY_MIN - 1
    with NflogSocket([5]) as opened, pytest.raises(ValueError, match=f"{short} octets"):
        opened.read_into(memoryview(bytearray(short)), 0)


def test_nothing_to_read_gives_nothing_at_once() -> None:
    with NflogSocket([5]) as opened:
        assert opened.read(0) == b""


def test_a_closed_socket_is_not_read_and_closes_again() -> None:
    opened = NflogSocket([5])
    opened.close()
    opened.close()
    assert opened.fileno() == -1
    with pytest.raises(ValueError, match="closed"):
        opened.read(0)


def test_a_kernel_without_a_word_for_an_error_is_still_an_oserror() -> None:
    assert issubclass(NflogPermissionError, NflogError)
    assert issubclass(NflogError, OSError)
