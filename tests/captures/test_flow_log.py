"""The packets of a flow are found in the files of a log, and no more files are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pcap_zmq.captures.flow_log import FlowLog
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.formats.condition_text import parse_flow
from pcap_zmq.formats.eve_event import EveEvent
from pcap_zmq.formats.savefile import iter_packets
from tests.flow_ffi.packets import (
    A4,
    B4,
    C4,
    D4,
    ETHERNET,
    GRE,
    UDP,
    ethernet,
    framed,
    ip4,
    ports,
)
from tests.pcap_ffi.savefiles import Record, pcap

S = 10**9
BEGINS = 1_700_000_000
IDLE_NS = 600 * S

FLOW = parse_flow(f"udp {A4}:5000 {B4}:53")


def packet(number: int, *, up: bool = True, port: int = 5000) -> bytes:
    """A frame that carries its number; of the flow, unless it has another port."""
    payload = number.to_bytes(8, "big")
    if up:
        return framed(ip4(A4, B4, UDP, ports(port, 53, payload)))
    return framed(ip4(B4, A4, UDP, ports(53, port, payload)))


def number_of(octets: bytes) -> int:
    return int.from_bytes(octets[-8:], "big")


def write(path: Path, packets: Iterable[tuple[float, bytes]]) -> Path:
    """A savefile of packets, so many seconds after the beginning."""
    records = []
    for at, octets in packets:
        nanoseconds = round((BEGINS + at) * S)
        records.append(Record(*divmod(nanoseconds, S), len(octets), octets))
    path.write_bytes(pcap(records, linktype=ETHERNET))
    return path


def event(at: float, begins: float | None = None) -> EveEvent:
    """An alert."""
    begins_ns = None if begins is None else round((BEGINS + begins) * S)
    return EveEvent(FLOW, round((BEGINS + at) * S), begins_ns=begins_ns)


@dataclass
class Outcome:
    numbers: list[int] = field(default_factory=list)
    files: int = 0
    looked_through: int = 0
    troubles: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def found(paths: Sequence[Path], wanted: EveEvent, idle_ns: int = IDLE_NS) -> Outcome:
    """What comes of it."""
    outcome = Outcome()

    def trouble(name: str, error: PcapZmqError) -> None:
        outcome.troubles.append(f"{Path(name).name}: {error}")

    log = FlowLog(paths, wanted, idle_ns, trouble, warn=outcome.warnings.append)
    for batch in log.batches():
        packets = list(iter_packets(batch.records))
        assert len(packets) == batch.count
        outcome.numbers += [number_of(each.data) for each in packets]
    outcome.files, outcome.looked_through = log.files, log.looked_through
    return outcome


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten files of 100 seconds each; each has packets of another flow, and two of the
    flow in the third to the fifth: a packet each way."""
    for place in range(10):
        others = [(100.0 * place + s, packet(0, port=9)) for s in range(0, 100, 10)]
        if 2 <= place <= 4:
            others.insert(5, (100.0 * place + 41, packet(10 * place)))
            others.insert(7, (100.0 * place + 52, packet(10 * place + 1, up=False)))
        write(tmp_path / f"log.pcap.{BEGINS + 100 * place}", others)
    return tmp_path


ALL = [20, 21, 30, 31, 40, 41]


# Unhappy paths.


def test_a_file_that_breaks_is_told_of_and_the_rest_goes_on(log: Path) -> None:
    third = log / f"log.pcap.{BEGINS + 300}"
    third.write_bytes(third.read_bytes()[:-1])
    outcome = found([log], event(341, begins=241))
    assert outcome.numbers == ALL
    (told,) = outcome.troubles
    assert "ends in the middle" in told


def test_what_is_no_capture_is_told_of_where_it_is_named(log: Path) -> None:
    (log / "eve.json").write_text('{"event_type":"alert"}\n')
    (log / "empty").write_bytes(b"")
    assert found([log], event(341, begins=241)).troubles == []
    outcome = found([log, log / "eve.json"], event(341, begins=241))
    assert (outcome.numbers, len(outcome.troubles)) == (ALL, 1)


def test_of_a_flow_that_is_nowhere_nothing_comes(log: Path) -> None:
    other = replace(event(341, begins=241), flow=parse_flow(f"udp {A4}:1 {B4}:53"))
    outcome = found([log], other)
    assert (outcome.numbers, outcome.troubles) == ([], [])
    # Nor is any looked at that begins later than the flow may have gone on.
    assert outcome.files < 10


def test_a_folder_without_captures_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_text("{}")
    assert found([tmp_path], event(1)).numbers == []


# Which files are read.


def test_no_more_is_read_than_what_may_have_packets_of_the_flow(
    tmp_path: Path,
) -> None:
    # More than what is read at once, so that it shows.
    much = framed(ip4(C4, D4, UDP, ports(1, 2, bytes(60_000))))
    for place in range(8):
        packets = [(100.0 * place + s, much) for s in range(0, 100, 4)]
        if place in {2, 3}:
            packets.insert(10, (100.0 * place + 38, packet(place)))
        write(tmp_path / f"log.pcap.{BEGINS + 100 * place}", packets)
    outcome = found([tmp_path], event(338, begins=238), idle_ns=100 * S)
    assert outcome.numbers == [2, 3]
    # The third to the fifth: then the flow has been idle for long enough.
    assert outcome.files == 3


def test_without_a_beginning_packets_before_the_event_are_found(log: Path) -> None:
    assert found([log], event(441)).numbers == ALL
    assert found([log], event(341), idle_ns=150 * S).numbers == ALL


def test_a_file_that_the_flow_was_idle_in_does_not_end_it(log: Path) -> None:
    write(log / f"log.pcap.{BEGINS + 300}", [(300.0, packet(0, port=9))])
    assert found([log], event(441)).numbers == [20, 21, 40, 41]


def test_only_the_log_of_the_thread_is_read(log: Path) -> None:
    for path in list(log.iterdir()):
        octets = path.read_bytes()
        path.rename(path.with_name(path.name.replace("pcap.", "pcap.1.")))
        path.with_name(path.name.replace("pcap.", "pcap.2.")).write_bytes(octets)
    name = f"/var/log/suricata/log.pcap.2.{BEGINS + 300}"
    outcome = found([log], replace(event(341, begins=241), capture_file=name))
    assert outcome.numbers == ALL
    # The file itself may have been removed, or compressed.
    name = f"log.pcap.2.{BEGINS + 9999}.lz4"
    outcome = found([log], replace(event(341, begins=241), capture_file=name))
    assert (outcome.numbers, outcome.warnings) == (ALL, [])
    # Of a name that is not there nothing is known, and all of both is looked through.
    outcome = found([log], replace(event(341, begins=241), capture_file="gone"))
    assert outcome.numbers == sorted(2 * ALL)
    assert len(outcome.warnings) == 1


def test_an_archive_is_a_file_of_its_own(log: Path, tmp_path: Path) -> None:
    import tarfile

    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(log.glob("log.*")):
            archive.add(file, file.name)
    assert found([path], event(341, begins=241)).numbers == ALL
    assert found([path], event(341)).numbers == ALL


# When a flow is the same.


def test_the_same_ports_after_a_long_time_are_another_flow(tmp_path: Path) -> None:
    at = [0.0, 10, 700, 710, 1500, 1510, 1520]
    packets = [(each, packet(number)) for number, each in enumerate(at)]
    one = write(tmp_path / "one.pcap", packets)
    assert found([one], event(705)).numbers == [2, 3]
    assert found([one], event(1500)).numbers == [4, 5, 6]
    assert found([one], event(10)).numbers == [0, 1]
    assert found([one], event(1505, begins=700)).numbers == [2, 3, 4, 5, 6]
    assert found([one], event(5), idle_ns=1000 * S).numbers == [*range(7)]
    # The same over files.
    several = tmp_path / "several"
    several.mkdir()
    for number, each in enumerate(packets):
        write(several / f"{number}.pcap", [each])
    assert found([several], event(705)).numbers == [2, 3]
    assert found([several], event(1500)).numbers == [4, 5, 6]


def test_packets_before_the_flow_began_are_of_another(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pcap", [(0, packet(0)), (10, packet(1)), (20, packet(2))]
    )
    assert found([path], event(20, begins=10)).numbers == [1, 2]


def test_a_flow_that_ended_goes_no_further(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pcap", [(0, packet(0)), (10, packet(1)), (20, packet(2))]
    )
    wanted = replace(event(0, begins=0), ends_ns=(BEGINS + 10) * S)
    assert found([path], wanted).numbers == [0, 1]


def test_an_event_before_its_flow_is_one_about_a_flow_that_timed_out(
    tmp_path: Path,
) -> None:
    """Suricata's own packets, by which it ends flows, have times of their own."""
    path = write(tmp_path / "a.pcap", [(5000, packet(0)), (5001, packet(1))])
    assert found([path], event(0, begins=5000)).numbers == [0, 1]


def test_both_directions_are_one_flow_and_other_hosts_are_none(tmp_path: Path) -> None:
    """UDP, too, where ports alone were compared before."""
    other = framed(ip4(C4, D4, UDP, ports(5000, 53, bytes(8))))
    path = write(
        tmp_path / "a.pcap",
        [(0, packet(1)), (1, packet(2, up=False)), (2, other), (3, packet(3))],
    )
    assert found([path], event(0, begins=0)).numbers == [1, 2, 3]


def test_later_fragments_belong_to_the_flow(tmp_path: Path) -> None:
    datagram = ports(5000, 53, bytes(24) + (9).to_bytes(8, "big"))
    first = ip4(A4, B4, UDP, datagram[:16], more=True, identification=77)
    second = ip4(A4, B4, UDP, datagram[16:], offset=16, identification=77)
    strange = ip4(A4, B4, UDP, datagram[16:], offset=16, identification=78)
    frames = [framed(each) for each in (first, second, strange)]
    path = write(tmp_path / "a.pcap", [(n, each) for n, each in enumerate(frames)])
    assert found([path], event(0, begins=0)).numbers == [0, 9]


def tunnelled(number: int, source: str, target: str) -> bytes:
    inner = ip4(A4, B4, UDP, ports(5000, 53, number.to_bytes(8, "big")))
    return framed(ip4(source, target, GRE, b"\0\0\x08\0" + inner))


def test_a_flow_in_a_tunnel_is_that_of_this_tunnel(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pcap",
        [
            (0, tunnelled(1, C4, D4)),
            (1, tunnelled(2, D4, C4)),
            (2, tunnelled(3, A4, D4)),
            (3, packet(4)),
            (4, ethernet(0x8100, b"\0\x05\x08\0" + tunnelled(5, C4, D4)[14:])),
        ],
    )
    inside = replace(event(0, begins=0), outer=parse_flow(f"gre {C4} {D4}"))
    assert found([path], inside).numbers == [1, 2, 5]
    assert found([path], event(0, begins=0)).numbers == [4]


def test_packets_of_several_files_come_by_time(tmp_path: Path) -> None:
    """Two taps, a direction each."""
    for up in (True, False):
        numbers = range(0 if up else 1, 20, 2)
        packets = [(float(n), packet(n, up=up)) for n in numbers]
        write(tmp_path / f"{up}.pcap", packets)
    assert found([tmp_path], event(10, begins=0)).numbers == [*range(20)]
