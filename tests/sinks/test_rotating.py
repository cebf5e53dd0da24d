"""Files that follow each other: their names, their ends, and what a crash leaves."""

import fcntl
import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.pcapng import Pcapng
from pcap_zmq.formats.pcapng_blocks import About
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.sinks.rotating import FRAME_BYTES, FRAME_NS, RotatingSink
from tests.pipes import packets
from tests.sinks.turning import Receipt, batch_of

NOON = 1_738_324_800
"""2025-01-31T12:00:00Z."""
HOUR_NS = 3600 * NS_PER_S
HEADER = packets.header()


class Bench:
    """A rotating sink, and the time, which only we move."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.counters = ReceiverCounters()
        self.at_ns = 0
        settings: dict[str, Any] = {
            "size": None,
            "age_ns": None,
            "count": None,
            "compress": None,
            "linktype": RAW,
            "file_format": Pcap(),
            **options,
        }
        self.sink = RotatingSink(str(path), counters=self.counters, **settings)
        self.arrived: list[Any] = []

    @property
    def now(self) -> Instant:
        return Instant(NS_PER_S + self.at_ns, NOON * NS_PER_S + self.at_ns)

    def later(self, passed_ns: int) -> None:
        """The time passes, and the sink gets its turn."""
        self.at_ns += passed_ns
        self.sink.serve(self.now)
        self.arrived += self.sink.arrived()

    def give(self, *batches: Batch) -> None:
        for batch in batches:
            assert self.sink.offer(batch, self.now)
        self.arrived += self.sink.arrived()

    def finish(self) -> None:
        self.sink.finish(None)
        self.sink.serve(self.now)
        self.arrived += self.sink.arrived()
        assert self.sink.is_finished()
        self.sink.close()


Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def new(name: str = "gw-%Y%m%d-%H%M%S.pcap", **options: Any) -> Bench:
        made.append(Bench(tmp_path / name, **options))
        return made[-1]

    yield new
    for bench in made:
        bench.sink.close()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def numbers(path: Path) -> list[int]:
    octets = path.read_bytes()
    if path.suffix == ".gz":
        octets = gzip.decompress(octets)
    elif path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(octets), read_across_frames=True
        )
        octets = reader.read()
    records, torn = packets.split(octets)
    assert torn == b""
    return [packets.number_of(record) for record in records]


def all_numbers(directory: Path) -> list[int]:
    found: list[int] = []
    for path in sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        found += numbers(path)
    return found


# What is refused.


@pytest.mark.parametrize("name", ["gw-%c.pcap", "gw-%", "gw-%Ey.pcap", "%x"])
def test_a_directive_that_depends_on_the_locale_is_refused(
    make: Make, name: str
) -> None:
    with pytest.raises(ConfigError, match="is not for file names here; there are %Y"):
        make(name)


def test_the_time_is_for_the_name_not_for_directories(make: Make) -> None:
    with pytest.raises(ConfigError, match="not for the directories"):
        make("%Y/gw.pcap")


def test_a_directory_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    with pytest.raises(ConfigError, match="is a directory; name a file in it"):
        make("captures")


def test_a_directory_that_there_is_not_is_one_line(make: Make) -> None:
    with pytest.raises(OutputError, match="there is no directory"):
        make("missing/gw.pcap")


# Names.


def test_a_file_is_a_part_until_it_is_complete(make: Make, tmp_path: Path) -> None:
    bench = make()
    receipt = Receipt()
    bench.give(batch_of(range(5), receipt=receipt))
    assert names(tmp_path) == ["gw-20250131-120000.pcap.part"]
    assert stat.S_IMODE((tmp_path / names(tmp_path)[0]).stat().st_mode) == 0o600
    assert bench.arrived == [receipt]
    bench.finish()
    assert names(tmp_path) == ["gw-20250131-120000.pcap"]
    assert all_numbers(tmp_path) == list(range(5))
    assert (bench.counters.written, bench.counters.files) == (5, 1)


def test_no_packets_make_no_file(make: Make, tmp_path: Path) -> None:
    bench = make(age_ns=HOUR_NS)
    bench.give(batch_of(range(0)))
    bench.later(5 * HOUR_NS)
    bench.finish()
    assert names(tmp_path) == []
    assert bench.counters.files == 0


def test_files_of_the_same_second_are_numbered(make: Make, tmp_path: Path) -> None:
    bench = make(size=1)
    for at in range(3):
        bench.give(batch_of(range(at, at + 1)))
    bench.finish()
    assert names(tmp_path) == [
        "gw-20250131-120000-1.pcap",
        "gw-20250131-120000-2.pcap",
        "gw-20250131-120000.pcap",
    ]
    assert numbers(tmp_path / "gw-20250131-120000-2.pcap") == [2]


def test_nothing_that_is_there_is_overwritten(make: Make, tmp_path: Path) -> None:
    there = tmp_path / "gw-20250131-120000.pcap"
    there.write_bytes(b"precious")
    bench = make()
    bench.give(batch_of(range(5)))
    # Somebody takes the next name as well, while it is being written.
    (tmp_path / "gw-20250131-120000-1.pcap").write_bytes(b"also precious")
    bench.finish()
    assert there.read_bytes() == b"precious"
    assert (tmp_path / "gw-20250131-120000-1.pcap").read_bytes() == b"also precious"
    assert numbers(tmp_path / "gw-20250131-120000-2.pcap") == list(range(5))


def test_a_link_with_the_name_of_a_part_is_not_followed(
    make: Make, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "gw-20250131-120000.pcap.part").symlink_to(victim)
    bench = make()
    bench.give(batch_of(range(5)))
    bench.finish()
    assert victim.read_bytes() == b"precious"
    assert numbers(tmp_path / "gw-20250131-120000-1.pcap") == list(range(5))


# When a file ends.


def test_a_file_ends_before_it_would_be_too_large(make: Make, tmp_path: Path) -> None:
    one = batch_of(range(10))
    bench = make(size=len(HEADER) + 2 * len(one.records) + 1_000)
    for at in range(0, 50, 10):
        bench.give(batch_of(range(at, at + 10)))
        bench.later(NS_PER_S)
    bench.finish()
    assert [len(numbers(tmp_path / name)) for name in names(tmp_path)] == [20, 20, 10]
    assert all_numbers(tmp_path) == list(range(50))


def test_a_batch_that_is_too_large_has_a_file_of_its_own(
    make: Make, tmp_path: Path
) -> None:
    bench = make(size=1_000)
    bench.give(batch_of(range(100)), batch_of(range(100, 101)))
    bench.finish()
    assert sorted(map(len, map(numbers, tmp_path.iterdir()))) == [1, 100]


def test_a_file_ends_with_the_hour_also_without_packets(
    make: Make, tmp_path: Path
) -> None:
    bench = make(age_ns=HOUR_NS)
    bench.later(HOUR_NS // 4)
    bench.give(batch_of(range(5)))
    due_ns = bench.sink.due()
    assert due_ns is not None
    assert due_ns - bench.now.mono_ns == 3 * HOUR_NS // 4
    bench.later(3 * HOUR_NS // 4 - 1)
    assert names(tmp_path) == ["gw-20250131-121500.pcap.part"]
    bench.later(1)
    assert names(tmp_path) == ["gw-20250131-121500.pcap"]
    assert bench.sink.due() is None
    bench.give(batch_of(range(5, 6)))
    bench.finish()
    assert names(tmp_path) == ["gw-20250131-121500.pcap", "gw-20250131-130000.pcap"]


def test_only_so_many_files_are_kept(make: Make, tmp_path: Path) -> None:
    others = ("gw-20250131-11.pcap", "other.pcap", "gw-20250131-110000.pcap.part.txt")
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    bench = make(size=1, count=3)
    for at in range(6):
        bench.give(batch_of(range(at, at + 1)))
        bench.later(NS_PER_S)
    bench.finish()
    assert names(tmp_path) == sorted(
        [*others, *(f"gw-20250131-12000{second}.pcap" for second in (3, 4, 5))]
    )
    assert (bench.counters.files, bench.counters.removed_files) == (6, 3)


def test_files_of_an_earlier_run_count_too(make: Make, tmp_path: Path) -> None:
    for second in range(4):
        path = tmp_path / f"gw-20250131-11000{second}.pcap"
        path.write_bytes(HEADER)
        os.utime(path, ns=(0, second))
    bench = make(count=2)
    assert names(tmp_path) == ["gw-20250131-110002.pcap", "gw-20250131-110003.pcap"]
    bench.give(batch_of(range(5)))
    bench.finish()
    assert names(tmp_path) == ["gw-20250131-110003.pcap", "gw-20250131-120000.pcap"]


def test_a_link_or_a_directory_of_such_a_name_is_left_alone(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "gw-20250131-110000.pcap").symlink_to("/etc/passwd")
    (tmp_path / "gw-20250131-110001.pcap").mkdir()
    bench = make(count=1)
    bench.give(batch_of(range(5)))
    bench.finish()
    assert len(names(tmp_path)) == 3


# Compression.


@pytest.mark.parametrize(("codec", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_compressed_files_are_frames_that_any_reader_takes(
    make: Make, tmp_path: Path, codec: str, ending: str
) -> None:
    bench = make(compress=codec)
    for at in range(0, 5_000, 100):
        bench.give(batch_of(range(at, at + 100)))
    bench.finish()
    (path,) = tmp_path.iterdir()
    assert path.name == f"gw-20250131-120000.pcap{ending}"
    assert numbers(path) == list(range(5_000))
    assert path.stat().st_size < 5_000 * 200 // 4
    program = "gunzip" if codec == "gzip" else "zstd"
    out = subprocess.run([program, "-dc", path], check=True, capture_output=True)
    assert packets.numbers(out.stdout) == list(range(5_000))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_wireshark_reads_compressed_files(
    make: Make, tmp_path: Path, codec: str
) -> None:
    bench = make(compress=codec)
    for at in range(0, 5_000, 100):
        bench.give(batch_of(range(at, at + 100)))
    bench.finish()
    (path,) = tmp_path.iterdir()
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "5000"


def test_a_batch_has_arrived_when_its_frame_is_written(make: Make) -> None:
    bench = make(compress="zstd")
    receipt = Receipt()
    bench.give(batch_of(range(5), receipt=receipt))
    assert bench.arrived == []
    assert bench.counters.written == 0
    assert sum(item.count for item in bench.sink.held) == 5
    due_ns = bench.sink.due()
    assert due_ns == bench.now.mono_ns + FRAME_NS
    bench.later(FRAME_NS)
    assert bench.arrived == [receipt]
    assert bench.counters.written == receipt.written == 5
    assert list(bench.sink.held) == []


def test_a_full_frame_waits_for_nobody(make: Make) -> None:
    bench = make(compress="gzip")
    given = batch_of(range(2 * FRAME_BYTES // 200), receipt=Receipt())
    bench.give(given)
    assert bench.arrived == [given.receipt]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_files_end_when_they_are_large_enough(
    make: Make, tmp_path: Path, codec: str
) -> None:
    bench = make(compress=codec, size=20_000)
    for at in range(0, 10_000, 100):
        bench.give(batch_of(range(at, at + 100)))
        bench.later(FRAME_NS)
    bench.finish()
    assert len(names(tmp_path)) > 2
    assert all_numbers(tmp_path) == list(range(10_000))
    assert all(path.stat().st_size < 2 * 20_000 for path in tmp_path.iterdir())


def test_the_ending_is_not_said_twice(make: Make, tmp_path: Path) -> None:
    bench = make("gw-%H.pcap.gz", compress="gzip", size=1)
    for at in range(2):
        bench.give(batch_of(range(at, at + 1)))
        bench.later(FRAME_NS)
    bench.finish()
    assert names(tmp_path) == ["gw-12-1.pcap.gz", "gw-12.pcap.gz"]


# What a crash has left.


def leave(
    directory: Path, octets: bytes, name: str = "gw-20250131-110000.pcap"
) -> Path:
    path = directory / f"{name}.part"
    path.write_bytes(octets)
    return path


def test_a_torn_packet_is_cut_off_and_the_file_gets_its_name(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = HEADER + packets.records(range(20))
    leave(tmp_path, whole + packets.record(20)[:-1])
    bench = make()
    assert (tmp_path / "gw-20250131-110000.pcap").read_bytes() == whole
    assert names(tmp_path) == ["gw-20250131-110000.pcap"]
    assert bench.counters.recovered_files == 1
    assert "was left incomplete" in caplog.text


@pytest.mark.parametrize("length", range(len(packets.record(1)) + 1))
def test_wherever_a_file_is_torn_its_whole_packets_stay(
    make: Make, tmp_path: Path, length: int
) -> None:
    leave(tmp_path, HEADER + packets.record(0) + packets.record(1)[:length])
    make()
    found = numbers(tmp_path / "gw-20250131-110000.pcap")
    assert found == ([0, 1] if length == len(packets.record(1)) else [0])


@pytest.mark.parametrize("length", [0, 1, 23, 24, 25, 60])
def test_a_file_without_a_whole_packet_is_removed(
    make: Make, tmp_path: Path, length: int
) -> None:
    leave(tmp_path, (HEADER + packets.record(0))[:length])
    bench = make()
    assert names(tmp_path) == []
    assert bench.counters.recovered_files == 0


def test_a_part_of_a_file_that_is_there_gets_the_next_name(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "gw-20250131-110000.pcap").write_bytes(b"precious")
    leave(tmp_path, HEADER + packets.record(7))
    make()
    assert (tmp_path / "gw-20250131-110000.pcap").read_bytes() == b"precious"
    assert numbers(tmp_path / "gw-20250131-110000-1.pcap") == [7]


def test_a_part_that_another_process_writes_is_left_alone(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = leave(tmp_path, HEADER + packets.record(7)[:-1])
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        make()
    assert names(tmp_path) == [path.name]
    assert "is being written by another process" in caplog.text


def test_a_second_sink_of_the_same_pattern_leaves_the_first_alone(
    make: Make, tmp_path: Path
) -> None:
    first = make()
    first.give(batch_of(range(5)))
    second = make()
    second.give(batch_of(range(5, 9)))
    first.give(batch_of(range(9, 12)))
    first.finish()
    second.finish()
    assert numbers(tmp_path / "gw-20250131-120000.pcap") == [*range(5), 9, 10, 11]
    assert numbers(tmp_path / "gw-20250131-120000-1.pcap") == [5, 6, 7, 8]


def test_what_is_no_savefile_is_left_alone(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path, b"#!/bin/sh\n" * 100)
    leave(tmp_path, HEADER + packets.record(1), name="another-20250131-110000.pcap")
    make()
    assert names(tmp_path) == [
        "another-20250131-110000.pcap.part",
        "gw-20250131-110000.pcap.part",
    ]
    assert "it is no savefile" in caplog.text


@pytest.mark.parametrize(("codec", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_half_a_frame_is_cut_off(
    make: Make, tmp_path: Path, codec: str, ending: str
) -> None:
    bench = make(compress=codec)
    for at in range(0, 40, 10):
        bench.give(batch_of(range(at, at + 10)))
        bench.later(FRAME_NS)
    bench.finish()
    (complete,) = tmp_path.iterdir()
    octets = complete.read_bytes()
    complete.unlink()
    for cut in (1, 7, 30, len(octets) // 2):
        name = f"gw-20250131-110000.pcap{ending}"
        leave(tmp_path, octets[:-cut], name)
        make(compress=codec).sink.close()
        found = numbers(tmp_path / name)
        assert found == list(range(len(found)))
        assert 10 <= len(found) <= 30
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


KILLED = """
import sys
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.rotating import RotatingSink
from tests.pipes import packets

sink = RotatingSink(
    sys.argv[1], size=None, age_ns=None, count=None, compress=None, linktype=101,
    file_format=Pcap(), counters=ReceiverCounters(),
)
for at in range(0, 300, 100):
    batch = Batch(101, packets.records(range(at, at + 100)), 100)
    assert sink.offer(batch, SystemClock().now())
print("written", flush=True)
sys.stdin.read()
"""


def test_after_kill_9_everything_that_had_arrived_is_there(
    make: Make, tmp_path: Path
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "gw-%Y%m%d-%H%M%S.pcap")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"written\n"
    killed.kill()
    killed.communicate()
    assert [name[-5:] for name in names(tmp_path)] == [".part"]
    make()
    assert all_numbers(tmp_path) == list(range(300))


# A disk that is full.

FULL = """
import os, sys
from pathlib import Path
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.sinks.rotating import FULL_DISK_NS, RotatingSink
from tests.pipes import packets

story, codec = sys.argv[1], sys.argv[2] if sys.argv[2] != "none" else None
counters = ReceiverCounters()
sink = RotatingSink(
    "gw.pcap", size=None, age_ns=None, count=None, compress=codec, linktype=101,
    file_format=Pcap(), counters=counters,
)
class Receipt:
    def count_written(self, packets): return packets
    def count_dropped(self, reason, packets): raise AssertionError
def batch(at):
    # Of octets that do not shrink.
    octets = b"".join(
        packets.RECORD_HEADER.pack(packets.FIRST_SECOND, n, 1000, 1000)
        + os.urandom(1000) for n in range(at, at + 40)
    )
    return Batch(101, octets, 40, Receipt())
filler = os.open("filler", os.O_WRONLY | os.O_CREAT)
os.write(filler, bytes(48 << 10))
time = 1
given = [batch(0), batch(40)]
taken = 0
while sink.due() is None or taken < 2:
    now = Instant(time, 1)
    if not sink.offer(given[taken], now):
        break
    taken += 1
    if codec:
        time += 1 << 30
        sink.serve(Instant(time, 1))
        if counters.written < 40 * taken:
            break
assert counters.written == 0, counters
part = Path("gw.pcap" + {None: "", "gzip": ".gz"}[codec] + ".part")
assert part.stat().st_size <= 24, part.stat()
assert sink.due() > time
assert not sink.offer(given[taken], Instant(time, 1)) if taken < 2 else True
if story == "recovers":
    os.unlink("filler")
    os.ftruncate(filler, 0)
    time += FULL_DISK_NS
    sink.serve(Instant(time, 1))
    if not codec:
        assert sink.offer(given[0], Instant(time, 1))
    assert counters.written == 40
    assert len(sink.arrived()) == 1
    sink.finish(None)
    sink.serve(Instant(time, 1))
    assert sink.is_finished()
    sink.close()
    assert not part.exists() and part.with_suffix("").exists()
elif story == "is cut":
    assert sink.cut() == 0
    sink.finish(None)
    sink.serve(Instant(time + FULL_DISK_NS, 1))
    assert sink.is_finished()
    sink.close()
    assert os.listdir() == ["filler"]
else:
    sink.close()
    assert os.listdir() == ["filler"]
"""


@pytest.mark.parametrize(
    ("story", "codec"),
    [
        ("recovers", "none"),
        ("is cut", "none"),
        ("is closed", "none"),
        ("recovers", "gzip"),
        ("is closed", "gzip"),
    ],
)
def test_a_full_disk_is_waited_for_and_nothing_half_written_stays(
    tmp_path: Path, story: str, codec: str
) -> None:
    """A small file system of our own is the disk."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FULL))
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = (
        f"mount -t tmpfs -o size=64k none {mounted} && cd {mounted} && "
        f"exec {sys.executable} {script} '{story}' {codec}"
    )
    done = subprocess.run(
        ["unshare", "--mount", *user, "--", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr


# pcapng.


def pcapng() -> Pcapng:
    return Pcapng(About(hardware="", os="", application="tests"))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("codec", [None, "zstd"])
def test_every_file_of_pcapng_says_all_that_it_needs(
    make: Make, tmp_path: Path, codec: str | None
) -> None:
    bench = make("gw-%s.pcapng", file_format=pcapng(), compress=codec, age_ns=NS_PER_S)
    for at in range(0, 40, 10):
        bench.give(batch_of(range(at, at + 10)))
        bench.later(NS_PER_S)
    bench.finish()
    found = [tshark_lengths(path) for path in sorted(tmp_path.iterdir())]
    lengths = [len(packets.record(n, 200 + n % 37)) - 16 for n in range(40)]
    assert found == [lengths[at : at + 10] for at in range(0, 40, 10)]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("cut", [1, 5, 100, 260])
def test_a_torn_block_of_pcapng_is_cut_off(
    make: Make, tmp_path: Path, cut: int
) -> None:
    bench = make("gw-%s.pcapng", file_format=pcapng())
    bench.give(batch_of(range(20)))
    bench.finish()
    (path,) = tmp_path.iterdir()
    leave(tmp_path, path.read_bytes()[:-cut], path.name)
    path.unlink()
    bench = make("gw-%s.pcapng", file_format=pcapng())
    assert bench.counters.recovered_files == 1
    lengths = [len(packets.record(n, 200 + n % 37)) - 16 for n in range(20)]
    assert tshark_lengths(path) == lengths[: 18 if cut == 260 else 19]


def tshark_lengths(path: Path) -> list[int]:
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.len"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True)
    return [int(line) for line in out.stdout.split()]
