"""Many capture files come out as one stream by time: held against sorted()."""

import gzip
import io
import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import count_records
from pcap_zmq.captures.merged import (
    TOLD_MAX,
    Extent,
    Merged,
    MergedFile,
    MergePlan,
    Order,
)
from pcap_zmq.captures.survey import survey
from pcap_zmq.counters import FilesCounters, Reason, Skipped
from pcap_zmq.errors import InputError, PcapZmqError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.policy.merge_plan import TIME_MAX_NS
from pcap_zmq.sources.merged_source import MergedSource
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import NS_PER_S, Record, pcap, pcapng
from tests.support.properties import bounded

RAW, ETHERNET = 101, 1
NOW = Instant(0, 0)

Name = tuple[int, int]
"""Of a packet: the number of its file, and its own within."""


def record(time_ns: int, name: Name, length: int = 40) -> Record:
    seconds, nanoseconds = divmod(time_ns, NS_PER_S)
    data = name[0].to_bytes(4) + name[1].to_bytes(4) + bytes(length - 8)
    return Record(seconds, nanoseconds, length, data)


def records(number: int, times: Iterable[int], length: int = 40) -> list[Record]:
    return [record(time, (number, at), length) for at, time in enumerate(times)]


def write(folder: Path, files: Sequence[Sequence[int]], length: int = 40) -> list[Path]:
    """A file for each list of times; the order of their names is the other one."""
    paths = [folder / f"{len(files) - number}.pcap" for number in range(len(files))]
    for number, (path, times) in enumerate(zip(paths, files, strict=True)):
        path.write_bytes(pcap(records(number, times, length)))
    return paths


@dataclass
class Got:
    """What came out, packet by packet."""

    times: list[int] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    linktypes: list[int] = field(default_factory=list)
    batches: int = 0

    def add(self, batch: Batch) -> None:
        assert count_records(batch.records) == batch.count > 0
        for packet in iter_packets(batch.records):
            name = int.from_bytes(packet.data[:4]), int.from_bytes(packet.data[4:8])
            self.times.append(packet.ts_ns)
            self.names.append(name)
            self.linktypes.append(batch.linktype)
        self.batches += 1


class Case:
    """A merge, and whatever it said."""

    def __init__(
        self,
        paths: Sequence[Path],
        plan: MergePlan | None = None,
        *,
        known: Sequence[Entry] = (),
        memory: int = 1 << 20,
        batch_bytes: int = 1 << 20,
    ) -> None:
        self.troubles: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.merged = Merged(
            paths,
            self.trouble,
            plan,
            known=known,
            warn=self.warnings.append,
            memory=memory,
            batch_bytes=batch_bytes,
        )

    def trouble(self, name: str, error: PcapZmqError) -> None:
        self.troubles.append((name, str(error)))

    def got(self) -> Got:
        got = Got()
        for batch in self.merged.batches():
            got.add(batch)
            batch.receipt.settle()
        assert all(file.is_read and file.tally.is_settled for file in self.merged.files)
        return got


def expected(
    files: Sequence[Sequence[int]], plan: MergePlan | None = None
) -> list[tuple[int, Name]]:
    """The same by other means: sorted, once through."""
    plan = MergePlan() if plan is None else plan
    keyed = []
    for number, times in enumerate(files):
        newest = -1
        for at, time in enumerate(times):
            if plan.takes_none(time, time):
                continue
            if plan.order is Order.SKIPPED and time < newest:
                continue
            newest = max(newest, time)
            key = time if plan.order is Order.SORTED else newest
            keyed.append((key, number, at, time))
    return [(time, (number, at)) for _, number, at, time in sorted(keyed)]


FILES = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=8)
BOUNDS = st.none() | st.integers(0, 31)


# Unhappy paths.


def test_a_path_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no file"):
        Case([tmp_path / "none.pcap"])


def test_a_file_that_breaks_in_the_middle_is_told_with_its_place_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    paths = write(tmp_path, [[1, 4, 7, 9], [2, 3, 8]])
    octets = bytearray(paths[0].read_bytes())
    # The third packet's length.
    at = 24 + 2 * 56
    octets[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    paths[0].write_bytes(octets)
    case = Case(paths)
    assert case.got().times == [1, 2, 3, 4, 8]
    ((name, why),) = case.troubles
    assert name == str(paths[0])
    assert f"a packet of 2147483647 octets, more than 262144, at octet {at}" in why
    assert isinstance(case.merged.files[0].failure, PcapZmqError)
    assert case.merged.files[1].failure is None


@pytest.mark.parametrize("cut", [1, 20, 50])
def test_a_torn_end_keeps_the_packets_before_it(tmp_path: Path, cut: int) -> None:
    paths = write(tmp_path, [[1, 4, 7], [2, 3, 8]])
    paths[0].write_bytes(paths[0].read_bytes()[:-cut])
    case = Case(paths)
    assert case.got().times == [1, 2, 3, 4, 8]
    assert [name for name, _ in case.troubles] == [str(paths[0])]
    assert "it ends in the middle of what begins at octet 136" in case.troubles[0][1]


def test_what_is_no_capture_or_cannot_be_read_is_told_and_left_out(
    tmp_path: Path,
) -> None:
    paths = write(tmp_path, [[1, 2], [3]])
    paths[0].write_bytes(b"nothing of this kind")
    empty, gone = tmp_path / "empty", tmp_path / "gone"
    empty.write_bytes(b"")
    gone.symlink_to(tmp_path / "nowhere")
    case = Case([*paths, empty, gone])
    assert case.got().times == [3]
    troubled = [name for name, _ in case.troubles]
    assert troubled == [str(paths[0]), str(empty), str(gone)]
    whys = [why for _, why in case.troubles]
    assert "it has no savefile header" in whys[1]
    assert "cannot be read: No such file" in whys[2]


@pytest.mark.parametrize("plan", [MergePlan(loops=2), MergePlan(together=True)])
def test_a_pipe_cannot_be_read_twice(plan: MergePlan, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo is a pipe, which can be read but once"):
        next(Case([tmp_path / "fifo"], plan).merged.batches())
    with pytest.raises(InputError, match="is a pipe"):
        Case([tmp_path / "fifo"]).merged.extent()


def test_standard_input_is_named_as_people_know_it() -> None:
    with pytest.raises(InputError, match="standard input is a pipe"):
        Case([Path("-")]).merged.extent()


def test_a_file_without_packets_was_looked_at_nevertheless(tmp_path: Path) -> None:
    case = Case(write(tmp_path, [[], [1]]))
    assert case.got().times == [1]
    assert case.merged.begun == 2


def test_compression_that_breaks_keeps_the_packets_before_it(tmp_path: Path) -> None:
    paths = write(tmp_path, [range(0, 100_000, 10), [5, 99_999]])
    octets = gzip.compress(paths[0].read_bytes())
    paths[0].write_bytes(octets[: len(octets) // 2])
    case = Case(paths, batch_bytes=1 << 14)
    got = case.got()
    assert got.times[:3] == [0, 5, 10]
    assert got.times == sorted(got.times)
    assert 1_000 < len(got.times) < 10_000
    assert "the gzip data end in the middle" in case.troubles[0][1]
    assert len(case.troubles) == 1


def test_a_file_that_is_replaced_while_it_is_read_is_told(tmp_path: Path) -> None:
    times = [range(number, 200_000, 1_000) for number in range(420)]
    paths = write(tmp_path, times, length=200)
    case = Case(paths, memory=1 << 16)
    batches = case.merged.batches()
    next(batches)
    other = tmp_path / "other"
    other.write_bytes(paths[0].read_bytes())
    # By now others have taken its descriptor.
    other.replace(paths[0])
    for _ in batches:
        pass
    ((name, why),) = case.troubles
    assert name == str(paths[0])
    assert why.endswith("was replaced while it was being read")


def test_a_trouble_is_told_once_however_often_the_file_is_read(tmp_path: Path) -> None:
    paths = write(tmp_path, [[1, 4], [2, 3]])
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    case = Case(paths, MergePlan(loops=3))
    assert case.merged.extent().packets == 3
    assert len(case.got().times) == 9
    assert len(case.troubles) == 1


def test_of_no_packets_nothing_comes_however_often(tmp_path: Path) -> None:
    case = Case(write(tmp_path, [[], []]), MergePlan(loops=0))
    assert case.got().times == []
    assert (case.troubles, case.warnings) == ([], [])


# Order.


@given(FILES, st.sampled_from(Order), BOUNDS, BOUNDS)
@bounded
def test_packets_come_by_time_and_equal_ones_by_path(
    files: list[list[int]], order: Order, from_ns: int | None, until_ns: int | None
) -> None:
    plan = MergePlan(order, from_ns, until_ns)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(write(Path(folder), files), plan)
        got = case.got()
    assert list(zip(got.times, got.names, strict=True)) == expected(files, plan)
    counts = case.merged.counts
    wanted = [[t for t in times if not plan.takes_none(t, t)] for times in files]
    outside = sum(map(len, files)) - sum(map(len, wanted))
    assert counts.skipped[Skipped.TIME] == outside
    back = sum(
        time < newest
        for times in wanted
        for time, newest in zip(
            times[1:], itertools.accumulate(times, max), strict=False
        )
    )
    assert counts.skipped[Skipped.ORDER] == (order is Order.SKIPPED) * back
    assert counts.backwards == (order is Order.KEPT) * back


@given(
    st.lists(
        st.lists(st.integers(0, 300), min_size=20, max_size=60), min_size=2, max_size=5
    ),
    st.sampled_from([Order.KEPT, Order.SKIPPED]),
    st.sampled_from([1, 1 << 14, 1 << 17]),
    st.sampled_from([1 << 12, 1 << 15]),
    st.integers(8, 1_500),
)
@bounded
def test_however_little_memory_there_is_the_stream_is_the_same(
    files: list[list[int]], order: Order, memory: int, batch_bytes: int, length: int
) -> None:
    plan = MergePlan(order)
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), files, length)
        got = Case(paths, plan, memory=memory, batch_bytes=batch_bytes).got()
    assert list(zip(got.times, got.names, strict=True)) == expected(files, plan)


@given(
    st.lists(
        st.lists(st.integers(0, 300), min_size=10, max_size=60), min_size=1, max_size=4
    ),
    st.integers(8, 1_500),
)
@bounded
def test_sorted_beyond_what_is_read_ahead_loses_nothing_and_counts_what_is_late(
    files: list[list[int]], length: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), files, length)
        case = Case(paths, MergePlan(Order.SORTED), memory=1)
        got = case.got()
    assert sorted(zip(got.times, got.names, strict=True)) == sorted(
        (time, (number, at))
        for number, times in enumerate(files)
        for at, time in enumerate(times)
    )
    newest = list(itertools.accumulate(got.times, max))
    late = sum(time < new for time, new in zip(got.times, newest, strict=True))
    assert case.merged.counts.backwards == late


def test_what_goes_back_by_less_than_a_part_is_sorted(tmp_path: Path) -> None:
    """Neighbours are exchanged all along, over the ends of parts too."""
    times = [number ^ 1 for number in range(5_000)]
    case = Case(write(tmp_path, [times], 100), MergePlan(Order.SORTED), memory=1)
    got = case.got()
    assert got.times == list(range(5_000))
    assert got.batches > 1
    assert case.merged.counts.backwards == 0


def test_an_hour_that_one_packet_is_ahead_does_not_hold_up_what_is_sorted(
    tmp_path: Path,
) -> None:
    hour = 3_600 * NS_PER_S
    case = Case(write(tmp_path, [[1, hour, 2, 4], [3, 5]]), MergePlan(Order.SORTED))
    assert case.got().times == [1, 2, 3, 4, 5, hour]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order.KEPT, "packets that go back in time: 2"),
        (Order.SKIPPED, "packets that go back in time: 2, left out"),
    ],
)
def test_time_that_goes_back_is_told_once_for_a_file(
    order: Order, said: str, tmp_path: Path
) -> None:
    paths = write(tmp_path, [[3, 1, 2], [2]])
    case = Case(paths, MergePlan(order, loops=2))
    case.got()
    assert case.warnings == [f"{paths[0]}: {said}"]


def test_of_many_files_that_go_back_in_time_only_the_first_are_told_of(
    tmp_path: Path,
) -> None:
    case = Case(write(tmp_path, [[2, 1]] * (TOLD_MAX + 9)))
    case.got()
    assert len(case.warnings) == TOLD_MAX + 1
    assert case.warnings[-1].startswith("more files are like these")
    assert case.merged.counts.backwards == TOLD_MAX + 9


def test_packets_of_several_link_types_come_by_time(tmp_path: Path) -> None:
    """Sections of pcapng are of different ones, within one file too."""
    (tmp_path / "a.pcapng").write_bytes(
        pcapng(records(0, [1, 4]), linktype=RAW)
        + pcapng(records(1, [6, 9]), linktype=ETHERNET)
    )
    (tmp_path / "b.pcap").write_bytes(pcap(records(2, [2, 5, 7, 8]), linktype=ETHERNET))
    got = Case([tmp_path]).got()
    assert got.times == [1, 2, 4, 5, 6, 7, 8, 9]
    assert got.linktypes == [RAW, ETHERNET, RAW, *[ETHERNET] * 5]
    assert got.batches == 4


def test_microseconds_either_byte_order_and_compression_merge(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    times = [[1_000, 4_000], [2_000, 6_000], [3_000, 5_000]]
    a, b, c = (records(number, each) for number, each in enumerate(times))
    paths[0].write_bytes(pcap(a, order=">", nanoseconds=False))
    paths[1].write_bytes(gzip.compress(pcapng(b, resolution=6)))
    paths[2].write_bytes(pcap(c))
    assert Case(paths).got().times == [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]


def test_a_packet_of_the_largest_kind_goes_through_little_memory(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_bytes(pcap(records(0, [1, 3, 5], 262_144)))
    (tmp_path / "b").write_bytes(pcap(records(1, [2, 4], 100_000)))
    got = Case([tmp_path], memory=1, batch_bytes=1 << 12).got()
    assert got.times == [1, 2, 3, 4, 5]


def test_pipes_are_merged_like_files(tmp_path: Path) -> None:
    octets = [pcap(records(0, [2, 4])), gzip.compress(pcap(records(1, [1, 5])))]
    (tmp_path / "file").write_bytes(pcap(records(2, [3, 6])))
    paths = [tmp_path / name for name in ("file", "fifo0", "fifo1")]
    writers = []
    for fifo, each in zip(paths[1:], octets, strict=True):
        os.mkfifo(fifo)
        writers.append(threading.Thread(target=fifo.write_bytes, args=(each,)))
        writers[-1].start()
    got = Case(paths).got()
    for writer in writers:
        writer.join()
    assert got.times == [1, 2, 3, 4, 5, 6]


def test_a_lone_packet_an_empty_one_and_milliseconds_take_their_places(
    tmp_path: Path,
) -> None:
    ms = 1_000_000
    (tmp_path / "a").write_bytes(pcap(records(0, [3 * ms])))
    (tmp_path / "b").write_bytes(pcapng(records(1, [2 * ms, 4 * ms]), resolution=3))
    empty = [Record(0, 3 * ms, 0, b""), Record(0, 5 * ms, 60, b"")]
    (tmp_path / "c").write_bytes(pcap(empty))
    got = Case([tmp_path], MergePlan(loops=2)).got()
    once = [2 * ms, 3 * ms, 3 * ms, 4 * ms, 5 * ms]
    period = 3 * ms + 3 * ms // 4
    assert got.times == [*once, *(time + period for time in once)]


@pytest.mark.skipif(shutil.which("mergecap") is None, reason="no mergecap")
def test_the_stream_is_that_of_mergecap(tmp_path: Path) -> None:
    """Of equal times it has an order of its own: so there are none."""
    paths = []
    for number in range(6):
        found = {at * (number + 1) * 7_919 % 1_500 for at in range(500)}
        times = sorted(6 * time + number for time in found)
        paths.append(tmp_path / f"{number}.pcap")
        linktype = ETHERNET if number % 3 else RAW
        paths[-1].write_bytes(pcap(records(number, times), linktype=linktype))
    out = tmp_path / "merged.pcapng"
    subprocess.run(["mergecap", "-F", "pcapng", "-w", out, *paths], check=True)
    ours, theirs = Case(paths).got(), Case([out]).got()
    assert ours.times == theirs.times
    assert ours.names == theirs.names
    assert ours.linktypes == theirs.linktypes


# A period.


def test_a_period_is_exact_to_the_nanosecond(tmp_path: Path) -> None:
    paths = write(tmp_path, [[9, 10, 11], [19, 20, 21]])
    assert Case(paths, MergePlan(from_ns=10, until_ns=20)).got().times == [10, 11, 19]


def test_a_file_is_not_read_much_beyond_the_period(tmp_path: Path) -> None:
    paths = write(tmp_path, [range(40_000)], length=100)
    case = Case(paths, MergePlan(until_ns=10), batch_bytes=1 << 16)
    assert case.got().times == list(range(10))
    assert case.merged.counts.skipped[Skipped.TIME] < 30_000


# Again and again.


@given(FILES, st.sampled_from(Order), st.integers(1, 4))
@bounded
def test_each_time_through_is_moved_on_by_the_whole_and_a_mean_gap(
    files: list[list[int]], order: Order, loops: int
) -> None:
    plan = MergePlan(order, loops=loops)
    once = expected(files, plan)
    with tempfile.TemporaryDirectory() as folder:
        got = Case(write(Path(folder), files), plan).got()
    times = [time for time, _ in once]
    span = max(times, default=0) - min(times, default=0)
    period = span + max(1, span // (len(times) - 1)) if span else NS_PER_S
    assert got.times == [
        time + turn * period for turn in range(loops) for time in times
    ]
    assert got.names == [name for _ in range(loops) for _, name in once]


def test_files_of_different_days_may_begin_together(tmp_path: Path) -> None:
    day = 86_400 * NS_PER_S
    files = [[day + 5, day + 15], [2 * day, 2 * day + 7], [5 * day + 1, 5 * day]]
    paths = write(tmp_path, files)
    got = Case(paths, MergePlan(together=True, loops=2)).got()
    once = [day + 5, day + 5, day + 6, day + 5, day + 12, day + 15]
    assert got.times[:6] == once
    assert got.names[:6] == [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]
    extent = Case(paths, MergePlan(together=True)).merged.extent()
    assert (extent.first_ns, extent.last_ns) == (day + 5, day + 15)
    assert got.times[6:] == [time + extent.period_ns for time in once]


def test_a_packet_that_would_be_before_all_time_is_at_its_beginning(
    tmp_path: Path,
) -> None:
    """It lies further in than what is looked at to know when the file begins."""
    late = [5 * NS_PER_S + n for n in range(900)]
    paths = write(tmp_path, [[500, 600], [*late, 3]], 200)
    got = Case(paths, MergePlan(together=True)).got()
    assert sorted(got.times) == sorted([0, 500, 600, *range(500, 1_400)])


def test_for_ever_goes_on_until_nobody_asks(tmp_path: Path) -> None:
    case = Case(write(tmp_path, [[1, 3], [2]]), MergePlan(loops=0))
    got = Got()
    batches = case.merged.batches()
    while len(got.times) < 1_000:
        got.add(next(batches))
    batches.close()
    assert got.times == sorted(got.times)
    assert not any(file.is_read for file in case.merged.files)


def test_times_begin_again_where_records_cannot_hold_them(tmp_path: Path) -> None:
    case = Case(write(tmp_path, [[TIME_MAX_NS - 5]]), MergePlan(loops=3))
    assert case.got().times == [TIME_MAX_NS - 5] * 3
    assert set(case.warnings) == {"the times begin again: records end in 2106"}


def test_a_file_that_begins_before_its_first_packet_goes_on_late(
    tmp_path: Path,
) -> None:
    """Further in than what is looked at to know when it begins."""
    times = [*range(1_000, 2_000), 5]
    paths = write(tmp_path, [[1, 10, 20, 3_000], times], 100)
    case = Case(paths, MergePlan(Order.SORTED))
    got = case.got()
    assert got.times == [1, 10, 20, 5, *range(1_000, 2_000), 3_000]
    assert case.warnings == [
        f"{paths[1]}: packets that go back in time too far to be sorted: 1"
    ]
    case = Case(paths)
    assert case.got().times == [1, 10, 20, *times, 3_000]


def test_who_stops_in_the_middle_leaves_nothing_open(tmp_path: Path) -> None:
    paths = write(tmp_path, [range(9_000), range(9_000)], 100)
    archive(tmp_path / "a.tar", "w", {"a": paths[0].read_bytes()})
    before = len(list(Path("/proc/self/fd").iterdir()))
    batches = Case([tmp_path], batch_bytes=1 << 14).merged.batches()
    next(batches)
    assert len(list(Path("/proc/self/fd").iterdir())) > before
    batches.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# On after a stop.


@given(FILES, st.integers(0, 100), st.integers(1, 3))
@bounded
def test_a_stream_goes_on_where_it_was_left(
    files: list[list[int]], skip: int, loops: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), files)
        everything = Case(paths, MergePlan(loops=loops)).got()
        case = Case(paths, MergePlan(loops=loops, skip=skip))
        rest = case.got()
    assert rest.times == everything.times[skip:]
    assert rest.names == everything.names[skip:]
    counts = case.merged.counts
    assert counts.skipped[Skipped.ALREADY_SENT] == min(skip, len(everything.times))
    found = Counter(number for number, _ in rest.names)
    assert [file.tally.read for file in case.merged.files] == [
        found[number] for number in range(len(files))
    ]


# Archives.


def archive(path: Path, mode: str, members: dict[str, bytes]) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, octets in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(octets)
            tar.addfile(info, io.BytesIO(octets))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_is_one_file_whose_members_follow_each_other(
    mode: str, tmp_path: Path
) -> None:
    members = {
        "readme": b"no capture",
        "a.pcap": pcap(records(0, [1, 5])),
        "b.pcap.gz": gzip.compress(pcap(records(1, [7, 9]))),
    }
    archive(tmp_path / "a.tar", mode, members)
    (tmp_path / "b.pcap").write_bytes(pcap(records(2, [3, 6, 8])))
    case = Case([tmp_path])
    got = case.got()
    assert got.times == [1, 3, 5, 6, 7, 8, 9]
    ((name, _),) = case.troubles
    assert name == f"{tmp_path / 'a.tar'}:readme"
    assert case.merged.begun == 4
    assert [file.tally.read for file in case.merged.files] == [4, 3]


def test_a_member_that_is_before_the_last_one_goes_back_in_time(tmp_path: Path) -> None:
    members = {"b": pcap(records(0, [7, 9])), "a": pcap(records(1, [1, 5, 10]))}
    archive(tmp_path / "a.tar", "w", members)
    (tmp_path / "b.pcap").write_bytes(pcap(records(2, [3, 8])))
    kept = Case([tmp_path])
    assert kept.got().times == [3, 7, 8, 9, 1, 5, 10]
    assert kept.merged.counts.backwards == 2
    assert Case([tmp_path], MergePlan(Order.SKIPPED)).got().times == [3, 7, 8, 9, 10]


def test_members_are_sorted_where_it_is_known_when_the_earliest_begins(
    tmp_path: Path,
) -> None:
    members = {"b": pcap(records(0, [7, 9])), "a": pcap(records(1, [1, 5, 10]))}
    archive(tmp_path / "a.tar", "w", members)
    (tmp_path / "b.pcap").write_bytes(pcap(records(2, [3, 8])))
    plan = MergePlan(Order.SORTED)
    known = survey(tmp_path / "a.tar")
    assert Case([tmp_path], plan, known=known).got().times == [1, 3, 5, 7, 8, 9, 10]
    # A look finds out when the first member begins.
    case = Case([tmp_path], plan)
    assert case.got().times == [3, 1, 5, 7, 8, 9, 10]
    assert case.merged.counts.backwards == 1
    assert case.warnings == [
        f"{tmp_path / 'a.tar'}: packets that go back in time too far to be sorted: 1"
    ]


def test_an_archive_that_breaks_keeps_the_packets_before_it(tmp_path: Path) -> None:
    members = {"a": pcap(records(0, [1, 5])), "b": pcap(records(1, range(100)))}
    archive(tmp_path / "a.tar", "w", members)
    octets = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(octets[:4_000])
    (tmp_path / "b.pcap").write_bytes(pcap(records(2, [3, 8])))
    case = Case([tmp_path])
    got = case.got()
    found = Counter(number for number, _ in got.names)
    assert (found[0], found[2]) == (2, 2)
    assert 0 < found[1] < 100
    assert case.troubles


# What is known beforehand.


@given(FILES, st.sampled_from(Order), BOUNDS, BOUNDS)
@bounded
def test_an_index_changes_nothing_but_what_is_read(
    files: list[list[int]], order: Order, from_ns: int | None, until_ns: int | None
) -> None:
    plan = MergePlan(order, from_ns, until_ns)
    once = expected(files, plan)
    times = [time for time, _ in once]
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), files)
        known = [entry for path in paths for entry in survey(path)]
        extents = []
        for entries in ((), known):
            case = Case(paths, plan, known=entries)
            extents.append(case.merged.extent())
            got = case.got()
            assert list(zip(got.times, got.names, strict=True)) == once
    assert extents[0] == extents[1]
    (extent, _) = extents
    octets = 40 * len(times)
    first, last = min(times, default=0), max(times, default=0)
    assert extent == Extent(len(times), octets, octets, first, last)


def test_an_index_of_a_file_that_has_changed_is_not_believed(tmp_path: Path) -> None:
    paths = write(tmp_path, [[5, 6], [1, 9]])
    known = [entry for path in paths for entry in survey(path)]
    paths[0].write_bytes(pcap(records(0, [2, 3, 4])))
    case = Case(paths, known=known)
    assert case.merged.extent().packets == 5
    assert case.got().times == [1, 2, 3, 4, 9]


def test_what_an_index_says_is_outside_is_not_opened(tmp_path: Path) -> None:
    paths = write(tmp_path, [[5, 6], [1, 2]])
    known = [entry for path in paths for entry in survey(path)]
    case = Case(paths, MergePlan(from_ns=4), known=known)
    assert case.got().times == [5, 6]
    assert [file.is_begun for file in case.merged.files] == [True, False]
    assert case.merged.begun == 1


# Who uses it.


def test_files_are_asked_for_when_their_turn_has_come_and_may_be_left_out(
    tmp_path: Path,
) -> None:
    paths = write(tmp_path, [[5, 6], [1, 9], [7]])
    asked: list[tuple[str, list[int]]] = []
    got = Got()

    def admit(file: MergedFile) -> bool:
        asked.append((file.tally.name, list(got.times)))
        return file.path != paths[0]

    merged = Merged(paths, lambda name, error: None, admit=admit)
    for batch in merged.batches():
        got.add(batch)
    assert got.times == [1, 7, 9]
    # What comes before a file does not wait for its permission.
    assert asked == [
        (str(paths[1]), []),
        (str(paths[0]), [1]),
        (str(paths[2]), [1]),
    ]
    assert [file.is_begun for file in merged.files] == [False, True, True]
    assert all(file.is_read for file in merged.files)


def test_a_source_counts_what_is_left_out_and_whose_packets_arrive(
    tmp_path: Path,
) -> None:
    paths = write(tmp_path, [[5, 6, 4, 99], [1, 9]])
    counters = FilesCounters()
    plan = MergePlan(Order.SKIPPED, until_ns=50, skip=1)
    merged = Merged(paths, lambda name, error: None, plan)
    source = MergedSource(merged, counters)
    batches: list[Batch] = []

    def has_ended() -> bool:
        batch = source.read(NOW)
        if batch is not None:
            batches.append(batch)
        return source.is_exhausted()

    wait_until(has_ended, 10, "the end of the files")
    assert counters.files == 2
    assert counters.read == 6
    assert counters.skipped == {
        Skipped.TIME: 1,
        Skipped.ORDER: 1,
        Skipped.ALREADY_SENT: 1,
    }
    (batch,) = batches
    receipt = batch.receipt
    assert batch.count == 3
    receipt.count_written(2)
    receipt.count_written(-1)
    assert [file.tally.written for file in merged.files] == [1, 0]
    receipt.count_dropped(Reason.SHUTDOWN, 1)
    source.settle(receipt, NOW)
    assert [file.tally.written for file in merged.files] == [1, 1]
    assert [file.tally.is_settled for file in merged.files] == [True, True]
    source.close()


# How much it takes.

MEASURE = """
import os, sys
from pcap_zmq.captures.merged import Merged, MergePlan, Order
def kib(name):
    # Not getrusage(2): that counts what the process was before it began this program.
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
merged = Merged([sys.argv[1]], print, MergePlan(Order(sys.argv[2])))
before, packets, descriptors = kib("VmRSS"), 0, 0
for batch in merged.batches():
    packets += batch.count
    descriptors = max(descriptors, len(os.listdir('/proc/self/fd')))
print(packets, kib("VmHWM") - before, descriptors)
"""


def measure(folder: Path, order: Order) -> list[int]:
    """Packets, KiB of memory beyond what the program has, descriptors."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, folder, order.value],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize("order", [Order.KEPT, Order.SORTED])
def test_three_hundred_files_that_overlap_share_bounded_memory(
    order: Order, tmp_path: Path
) -> None:
    """75 MiB of them, all of the same minute."""
    counts = []
    for number in range(300):
        times = range(number, 60 * NS_PER_S, 60 * NS_PER_S // 170)
        counts.append(len(times))
        octets = pcap(records(number, times, 1_500))
        (tmp_path / f"{number}").write_bytes(octets)
    packets, memory, descriptors = measure(tmp_path, order)
    assert packets == sum(counts)
    assert memory < 48 << 10
    assert descriptors < 450


def test_thousands_of_small_files_are_opened_when_their_time_comes(
    tmp_path: Path,
) -> None:
    octets = pcap(records(0, range(3)))
    for number in range(2_000):
        start = number.to_bytes(4, "little")
        moved = bytearray(octets)
        for at in range(3):
            moved[24 + 56 * at : 28 + 56 * at] = start
        (tmp_path / f"{number:05}").write_bytes(moved)
    packets, memory, descriptors = measure(tmp_path, Order.KEPT)
    assert packets == 6_000
    assert memory < 24 << 10
    assert descriptors < 100
