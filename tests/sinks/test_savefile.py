"""The savefile sink against files that exist, disks that are full and readers gone."""

import logging
import os
import resource
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.poll import BROKEN, WRITABLE
from pcap_zmq.sinks.savefile import FULL_DISK_NS, SavefileSink
from tests.pipes import packets

NOW = Instant(1 * NS_PER_S, packets.FIRST_SECOND * NS_PER_S)
HEADER = packets.header()


def sink_for(
    path: Path | str,
    counters: ReceiverCounters | None = None,
    *,
    linktype: int | None = None,
    overwrite: bool = False,
    nanoseconds: bool = True,
) -> "closing[SavefileSink]":
    """A sink that is closed at the end of the test."""
    return closing(
        SavefileSink(
            str(path),
            linktype=linktype,
            file_format=Pcap(nanoseconds=nanoseconds),
            overwrite=overwrite,
            counters=counters or ReceiverCounters(),
        )
    )


def batch_of(numbers: range, linktype: int = RAW) -> Batch:
    """A batch of numbered packets."""
    return Batch(linktype, packets.records(numbers, 100, linktype), len(numbers))


def later(passed_ns: int) -> Instant:
    return Instant(NOW.mono_ns + passed_ns, NOW.wall_ns + passed_ns)


@contextmanager
def file_size_limit(octets: int) -> Iterator[None]:
    """No file may grow beyond this: a write takes what fits, then none is taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="--overwrite"), sink_for(path):
        pass
    assert path.read_bytes() == b"precious"


def test_a_file_that_holds_something_is_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.write_bytes(b"precious" * 1000)
    with sink_for(path, linktype=RAW, overwrite=True) as sink:
        sink.serve(NOW)
    assert path.read_bytes() == HEADER


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    path.touch()
    with sink_for(path, linktype=RAW) as sink:
        sink.serve(NOW)
    assert path.read_bytes() == HEADER


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with sink_for(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"), sink_for(tmp_path):
        pass


def test_a_folder_that_is_missing_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.pcap"
    with pytest.raises(OutputError, match="No such file"), sink_for(path):
        pass


def test_a_file_is_a_header_and_the_records_offered(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    counters = ReceiverCounters()
    batches = [batch_of(range(3)), batch_of(range(3, 5)), batch_of(range(0))]
    with sink_for(path, counters) as sink:
        assert all(sink.offer(batch, NOW) for batch in batches)
    assert path.read_bytes() == HEADER + packets.records(range(5), 100)
    assert counters.written == 5
    assert counters.written_bytes == len(packets.records(range(5), 100))


def test_nothing_is_written_before_the_link_type_is_known(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with sink_for(path) as sink:
        sink.serve(NOW)
        assert path.read_bytes() == b""
        assert sink.offer(batch_of(range(1), packets.ETHERNET), NOW)
        assert path.read_bytes().startswith(packets.header(packets.ETHERNET))


def test_a_link_type_known_from_the_start_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with sink_for(path, linktype=packets.ETHERNET) as sink:
        sink.serve(NOW)
        assert path.read_bytes() == packets.header(packets.ETHERNET)


def test_the_magic_number_says_when_times_are_in_microseconds(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with sink_for(path, linktype=RAW, nanoseconds=False) as sink:
        sink.serve(NOW)
        assert path.read_bytes() == packets.header(magic=packets.MICRO)


def test_a_full_disk_is_not_now_and_looked_at_again_later() -> None:
    counters = ReceiverCounters()
    with sink_for("/dev/full", counters, linktype=RAW) as sink:
        assert not sink.offer(batch_of(range(3)), NOW)
        assert counters.written == 0
        assert sink.due() == NOW.mono_ns + FULL_DISK_NS
        # Until then nothing wakes us: a device that takes nothing says it would.
        assert list(sink.watch(wanted=True)) == []


def test_a_full_disk_is_left_alone_until_then() -> None:
    with sink_for("/dev/full", linktype=RAW) as sink:
        sink.serve(NOW)
        sink.serve(later(FULL_DISK_NS // 2))
        assert sink.due() == NOW.mono_ns + FULL_DISK_NS


def test_a_full_disk_is_spoken_of_with_each_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All of them are one kind of warning, of which the log has one a minute."""
    with (
        caplog.at_level(logging.WARNING),
        sink_for("/dev/full", linktype=RAW) as sink,
    ):
        for turn in range(5):
            now = later(turn * FULL_DISK_NS)
            sink.serve(now)
            assert not sink.offer(batch_of(range(3)), now)
    assert len(caplog.records) == 5
    assert len({record.msg for record in caplog.records}) == 1
    assert "No space left" in caplog.text


def test_a_file_that_may_not_grow_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    with sink_for(path, linktype=RAW) as sink:
        sink.serve(NOW)
        with (
            file_size_limit(len(HEADER)),
            pytest.raises(OutputError, match="takes no more: File too large"),
        ):
            sink.offer(batch_of(range(3)), NOW)


def test_a_record_that_an_error_tore_is_cut_off_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    batch = batch_of(range(3))
    with sink_for(path, linktype=RAW) as sink:
        assert sink.offer(batch_of(range(0, 1)), NOW)
        before = path.stat().st_size
        with file_size_limit(before + 200), pytest.raises(OutputError):
            sink.offer(batch, NOW)
        assert path.stat().st_size == before + 200
    assert packets.split(path.read_bytes())[1] == b""
    assert packets.numbers(path.read_bytes()) == [0, 0]


TORN_BY_A_FULL_DISK = """
import os, sys
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.sinks.savefile import FULL_DISK_NS, SavefileSink
from tests.pipes import packets

filler = os.open("filler", os.O_WRONLY | os.O_CREAT)
os.write(filler, bytes(48 << 10))
counters = ReceiverCounters()
sink = SavefileSink(
    "out.pcap", linktype=101, file_format=Pcap(), overwrite=False, counters=counters
)
octets = packets.records(range(200), 200)
batch = Batch(101, octets, 200)
assert not sink.offer(batch, Instant(1, 1))
assert counters.written == 0
assert 24 < os.stat("out.pcap").st_size < 24 + len(octets)
if sys.argv[1] == "recovers":
    os.ftruncate(filler, 0)
    now = Instant(1 + FULL_DISK_NS, 1)
    sink.serve(now)
    assert sink.offer(batch, now)
    sink.close()
    assert open("out.pcap", "rb").read() == packets.header() + octets
else:
    sink.close()
    whole, torn = packets.split(open("out.pcap", "rb").read())
    assert 0 < len(whole) < 200 and not torn
    assert b"".join(whole) == octets[: len(b"".join(whole))]
"""


@pytest.mark.parametrize("story", ["recovers", "is closed"])
def test_a_batch_torn_by_a_full_disk(tmp_path: Path, story: str) -> None:
    """It goes on where it stopped when there is room again; else the record that was
    torn is cut off. A small file system of our own is the disk."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(TORN_BY_A_FULL_DISK))
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = (
        f"mount -t tmpfs -o size=64k none {mounted} && cd {mounted} && "
        f"exec {sys.executable} {script} '{story}'"
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


def test_the_end_of_a_full_pipe_is_waited_for(tmp_path: Path) -> None:
    """A FIFO that was asked for as a file is written as one."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with sink_for(path, linktype=RAW) as sink:
            assert sink.offer(batch_of(range(3)), NOW)
            (watch,) = sink.watch(wanted=True)
            assert watch.events == WRITABLE
            (watch,) = sink.watch(wanted=False)
            assert watch.events == BROKEN
    finally:
        os.close(reader)


def test_a_reader_that_has_left_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with sink_for(path, linktype=RAW) as sink:
        os.close(reader)
        with pytest.raises(OutputError, match="has left"):
            sink.offer(batch_of(range(3)), NOW)


def test_a_file_has_nothing_to_wait_for(tmp_path: Path) -> None:
    with sink_for(tmp_path / "out.pcap", linktype=RAW) as sink:
        assert list(sink.watch(wanted=True)) == []
        assert sink.due() is None


def test_finished_once_told(tmp_path: Path) -> None:
    with sink_for(tmp_path / "out.pcap", linktype=RAW) as sink:
        assert not sink.is_finished()
        sink.finish(None)
        assert sink.is_finished()


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    with sink_for(tmp_path / "out.pcap", linktype=RAW) as sink:
        sink.close()
