"""What pcap-zmq filter is told, before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.errors import ConfigError, InputError
from pcap_zmq.formats.filter_rules import encode
from pcap_zmq.tools.filter import Filtering
from pcap_zmq.tools.filter_asks import Asks, gather
from pcap_zmq.tools.filter_config import FilterConfig, Way
from tests.pipes import packets

MANY = "\n".join(f"r{number}: {{kind: raw}}" for number in range(4097))


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are spoken of, where we are."""
    packets.write(tmp_path / "in.pcap", range(3))
    (tmp_path / "hosts").write_text("192.0.2.1\nnobody")
    (tmp_path / "rules.yaml").write_text("web: {kind: raw}")
    (tmp_path / "many.yaml").write_text(MANY)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)


def told(**said: Any) -> FilterConfig:
    return FilterConfig(**{"paths": ("in.pcap",), "output": "out"} | said)


ONE = (Path("x"),)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"paths": (), "output": ""}, "no OUTPUT"),
        ({"paths": ()}, "no PATHS"),
        ({"output": "", "write_rules": Path("x")}, "no OUTPUT"),
        ({"output": "folder:"}, "folder: names no folder"),
        ({"output": "folder:x", "is_plain": False}, "are not for folder:"),
        ({"output": "-", "compress": "gzip"}, "--compress is for savefiles"),
        ({"output": "file:x,size=1MiB", "compress": "gzip"}, "--compress is for"),
        ({"output": "http://x"}, "http:// is none that is known"),
        ({"decap": 17}, "--decap-depth 17 is out of bounds: 1 to 16"),
        ({"dedup_ns": 1}, "--dedup"),
        ({"workers": 0}, "--workers 0 is out of bounds"),
        ({"asks": Asks("tcp and and")}, "is no filter for link type"),
        ({"asks": Asks(names=("a",))}, "--rule chooses from a file"),
        ({"asks": Asks(per_flow=True)}, "--per-flow is for the flows of --eve"),
        (
            {"asks": Asks(per_flow=True, eve=ONE, rules=Path("x"))},
            "not together with --rules",
        ),
        ({"asks": Asks(eve=ONE, eve_events=())}, "--eve-events is empty"),
        ({"asks": Asks(rules=Path("none"))}, "none cannot be read: No such"),
        ({"asks": Asks(eve=(Path("folder"),))}, "cannot be read: Is a directory"),
        ({"asks": Asks(keep=(Path("hosts"),))}, "hosts:2: 'nobody' is no subnet"),
        ({"asks": Asks(drop=(Path("in.pcap"),))}, "in.pcap:1: "),
        ({"asks": Asks(rules=Path("many.yaml"))}, "4097 filters are more than 4096"),
        (
            {"asks": Asks(rules=Path("rules.yaml"), names=("wep",))},
            "has no filter 'wep'; did you mean web?; it has web",
        ),
    ],
)
def test_what_makes_no_sense_is_said(said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Filtering(told(**said))
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_names_nothing_is_said() -> None:
    with pytest.raises(InputError, match="none names no file"):
        Filtering(told(paths=("none",))).jobs()
    packets.write(Path("folder/a.pcap"), range(3))
    filtering = Filtering(told(paths=("folder",), suffix=".cap"))
    with pytest.raises(ConfigError, match=r"no file in folder ends in '\.cap'"):
        filtering.jobs()


@pytest.mark.parametrize(
    ("output", "way"),
    [
        ("folder:x", Way.FOLDER),
        ("x", Way.FILE),
        ("in.pcap", Way.FILE),
        ("file:x", Way.FILE),
        ("file:x,size=1MiB", Way.STREAM),
        ("x,format=pcapng", Way.STREAM),
        ("fifo:x", Way.STREAM),
        ("-", Way.STREAM),
        ("/dev/null", Way.STREAM),
        ("exec:cat", Way.STREAM),
        ("tcp://127.0.0.1:1", Way.STREAM),
        ("pcap-over-ip://127.0.0.1", Way.STREAM),
    ],
)
def test_an_output_tells_its_way(output: str, way: Way) -> None:
    config = told(output=output)
    config.check()
    assert config.way is way


def test_what_only_a_stream_has_makes_one() -> None:
    assert told(output="x", is_plain=False).way is Way.STREAM


def test_compression_is_as_said_or_as_the_name_ends() -> None:
    assert told(output="x.pcap.gz").compression == "gzip"
    assert told(output="file:x.zst").compression == "zstd"
    assert told(output="x.pcap").compression is None
    assert told(output="x.pcap.gz", compress="xz").compression == "xz"
    assert told(output="folder:x.gz").compression is None
    assert told(output="folder:x", compress="lz4").ending == ".lz4"


def test_of_folders_files_with_the_suffix_are_read_and_named_ones_in_any_case() -> None:
    for name in ("a.pcap", "a.pcap.gz", "b.cap", "sub.pcap"):
        packets.write(Path("folder") / name, range(3))
    config = told(paths=("in.pcap", "folder", "./folder/../in.pcap"), suffix=".pcap")
    jobs = Filtering(config).jobs()
    assert [(str(job.path), job.stem, job.is_named) for job in jobs] == [
        ("in.pcap", "in", True),
        ("folder/a.pcap", "a", False),
        ("folder/a.pcap.gz", "a-2", False),
        ("folder/sub.pcap", "sub", False),
        ("folder/../in.pcap", "in-2", True),
    ]


def test_lists_that_keep_are_one_and_lists_that_drop_come_after_all() -> None:
    Path("hosts").write_text("192.0.2.1")
    Path("eve").write_text("")
    hosts, eve = (Path("hosts"),), (Path("eve"),)
    asked = gather(
        Asks(
            "udp",
            rules=Path("rules.yaml"),
            keep=hosts,
            drop=hosts,
            eve=eve,
            drop_eve=eve,
        )
    )
    assert (
        encode(asked.rules, "x.toml")
        == """\
[[web.conditions]]
kind = "bpf"
match = ["udp"]

[[web.conditions]]
any = [
    { kind = "subnet", match = ["192.0.2.1"] },
    { kind = "flow", match = [] },
]

[[web.conditions]]
kind = "subnet"
negate = true
match = ["192.0.2.1"]

[[web.conditions]]
kind = "flow"
negate = true
match = []
"""
    )
    assert asked.notes == ["eve: 0 events (alert) of 0 flows"] * 2
