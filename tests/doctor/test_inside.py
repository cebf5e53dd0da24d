"""What the doctor prints and sees while this process itself reads a group."""

import socket

import pytest

from nflog_ffi import NflogSocket, limits
from pcap_zmq.formats.savefile import iter_packets
from testbed.waiting import wait_until
from tests.doctor.asking import ask
from tests.netns import here

pytestmark = [pytest.mark.netns, pytest.mark.inside]

GROUP, UDP_PORT = 5, 9
SEND = ("--send", str(GROUP))


def protocol_of(packet: bytes) -> int:
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


@pytest.mark.parametrize("kind", ["nft", "iptables"])
def test_the_rules_it_prints_log_everything_but_our_own_stream(
    kind: str, user_namespace: bool
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        endpoint = f"tcp://127.0.0.1:{port}"
        rules = ask(*SEND, endpoint).answer["rules"]
        if kind == "nft":
            here.run(["nft", "-f", "-"], input=rules["nft"])
        else:
            here.run(["sh", "-e"], input=rules["iptables"])
        after = ask(*SEND, endpoint)
        server.listen()
        with NflogSocket([GROUP]) as opened:
            with (
                socket.create_connection(("127.0.0.1", port)) as client,
                server.accept()[0] as accepted,
            ):
                client.sendall(b"to the receiver")
                assert accepted.recv(100)
            here.send_udp([b"v4"], UDP_PORT)
            here.send_udp([b"v6"], UDP_PORT, socket.AF_INET6)
            # Each goes out and comes in, and so does the news that nobody listens.
            packets = here.read_packets(opened, 8)
            packets += list(iter_packets(opened.read(0)))
    protocols = [protocol_of(packet.data) for packet in packets]
    assert socket.IPPROTO_TCP not in protocols
    payloads = [
        here.udp_payload(packet.data)
        for packet, protocol in zip(packets, protocols, strict=True)
        if protocol == socket.IPPROTO_UDP
    ]
    assert payloads == [b"v4", b"v4", b"v6", b"v6"]
    assert after.of("rules", "problem") == []
    assert after.one("own stream", "ok")


def test_a_reader_that_left_no_room_is_told_of() -> None:
    here.log(f"udp dport {UDP_PORT}", f"group {GROUP}")
    with NflogSocket([GROUP], rcvbuf=limits.RCVBUF.minimum) as opened:
        here.send_udp(here.numbered(3_000, 500), UDP_PORT)
        wait_until(lambda: here.queued(GROUP) == 0, here.TIMEOUT_S, "the flush")
        drops = opened.unrevealed_drops()
        found = ask(*SEND)
    assert drops > 0
    assert f"the kernel has dropped {drops} messages" in found.one("groups", "warning")


def test_a_reader_that_runs_notices_nothing() -> None:
    here.log(f"udp dport {UDP_PORT}", f"group {GROUP}")
    with NflogSocket([GROUP]) as opened:
        here.send_udp([b"before"], UDP_PORT)
        ask(*SEND)
        here.send_udp([b"after"], UDP_PORT)
        packets = here.read_packets(opened, 2)
        counts = opened.counts()
    payloads = [here.udp_payload(packet.data) for packet in packets]
    assert payloads == [b"before", b"after"]
    assert (counts.missed, counts.overruns) == (0, 0)
