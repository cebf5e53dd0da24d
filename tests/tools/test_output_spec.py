"""OUTPUT as it is written, and what it means."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import ConfigError
from pcap_zmq.tools.output_spec import (
    DEFAULT,
    Kind,
    check_together,
    parse_command,
    parse_output,
)
from tests.support.properties import bounded

MIB = 1 << 20
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "kind", "target", "name"),
    [
        ("/run/x", Kind.PATH, "/run/x", "/run/x"),
        ("x y,z", Kind.PATH, "x y,z", "x y,z"),
        ("fifo:x", Kind.FIFO, "x", "fifo:x"),
        ("file:x", Kind.FILE, "x", "file:x"),
        ("file:fifo:x", Kind.FILE, "fifo:x", "file:fifo:x"),
        ("-", Kind.STDOUT, "", "-"),
        ("file:-", Kind.STDOUT, "", "-"),
        ("-x", Kind.PATH, "-x", "-x"),
        ("exec:cat -", Kind.CHILD, "cat -", "exec:cat -"),
        (
            "pcap-over-ip://[::1]:57012",
            Kind.SERVER,
            "[::1]:57012",
            "pcap-over-ip://[::1]:57012",
        ),
    ],
)
def test_each_kind_is_told_by_how_it_begins(
    text: str, kind: Kind, target: str, name: str
) -> None:
    spec = parse_output(text)
    assert (spec.kind, spec.target, spec.name) == (kind, target, name)
    assert replace(spec, kind=DEFAULT.kind, target="") == DEFAULT


def test_options_are_read_from_the_end() -> None:
    spec = parse_output(
        "file:/a,b/%Y.pcap,when-slow=drop,queue=1MiB,linktype=raw,format=pcapng,"
        "size=2MiB,age=1h,count=7,compress=zstd"
    )
    assert spec.target == "/a,b/%Y.pcap"
    assert (spec.drops, spec.queue, spec.linktype) == (True, MIB, 101)
    assert (spec.format, spec.size, spec.age_ns) == ("pcapng", 2 * MIB, 3600 * SECOND)
    assert (spec.count, spec.compress) == (7, "zstd")


def test_what_an_output_does_not_say_holds_for_all() -> None:
    defaults = replace(DEFAULT, drops=True, queue=2 * MIB, linktype=1, format="pcapng")
    spec = parse_output("x,when-slow=wait,linktype=239", defaults)
    assert (spec.drops, spec.linktype) == (False, 239)
    assert (spec.queue, spec.format) == (2 * MIB, "pcapng")


def test_a_command_is_taken_as_it_is() -> None:
    command = "snort -r - --lua 'a=1,queue=2'"
    assert parse_command(command).target == command


@pytest.mark.parametrize(
    ("text", "rotates"),
    [
        ("file:x", False),
        ("file:x%Y", True),
        ("file:%Y/x", False),
        ("file:x,size=1MiB", True),
        ("file:x,compress=gzip", True),
        ("fifo:x%Y", False),
        ("x%Y", False),
    ],
)
def test_files_follow_each_other_where_anything_says_so(
    text: str, rotates: bool
) -> None:
    assert parse_output(text).rotates is rotates


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "OUTPUT is empty"),
        ("fifo:", "OUTPUT is empty: 'fifo:'"),
        (",queue=1MiB", "OUTPUT is empty"),
        ("x,queue=1MiB,queue=2MiB", "says queue twice"),
        ("x,queue=1", "queue=1 cannot be; write 64KiB to 64GiB"),
        ("x,queue=much", "queue=much cannot be"),
        ("x,linktype=70000", "linktype=70000 cannot be"),
        ("x,format=text", "format=text cannot be; write pcap or pcapng"),
        ("x,rotate=1", "'rotate' is no option; there are when-slow, queue, linktype"),
        ("x,count=1", "count is for file: only"),
        ("file:x,count=0", "count=0 cannot be; write 1 to"),
        ("tcp://1:2", "tcp:// is none that is known; there are fifo:, file:"),
        ("pcap-over-ip://localhost:port", "has no host and port"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_output(text)
    assert said in str(caught.value)


@given(st.text(max_size=40))
@bounded
def test_any_text_is_an_output_or_a_mistake(text: str) -> None:
    try:
        spec = parse_output(text)
    except ConfigError:
        return
    assert spec.target or spec.kind is Kind.STDOUT


def test_an_empty_command_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="--exec is empty"):
        parse_command(" ")


def test_no_two_write_to_one_place_but_commands() -> None:
    check_together([parse_output("x"), parse_output("y"), parse_output("-")])
    check_together([parse_command("cat"), parse_command("cat")])
    for one, other in (("x", "fifo:x"), ("-", "file:-"), ("x,queue=1MiB", "x")):
        with pytest.raises(ConfigError, match="is there twice"):
            check_together([parse_output(one), parse_output(other)])
