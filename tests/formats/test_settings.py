"""A settings file as octets: read, judged, and its faults placed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import settings
from pcap_zmq.formats.settings import SIZE_MAX, Shape

KNOWN = {
    "send": {
        "source": Shape.ONE,
        "send-queue": Shape.ONE,
        "linger": Shape.ONE,
        "bind": Shape.FLAG,
        "allow": Shape.MANY,
    },
    "recv": {"output": Shape.ONE, "linger": Shape.ONE},
}


def complaints(text: str) -> list[str]:
    return list(settings.complaints(settings.decode(text.encode(), "f"), KNOWN))


@given(st.binary(max_size=200))
def test_any_octets_are_settings_or_an_error_of_one_kind(octets: bytes) -> None:
    try:
        read = settings.decode(octets, "f")
    except ConfigError:
        return
    for complaint in settings.complaints(read, KNOWN):
        assert complaint.startswith("f")


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"[send]\nlinger =", "f:2: Invalid value"),
        (b"[send\n", "f:1:6: Expected ']' at the end of a table declaration"),
        (b"[send]\nlinger = 1\nlinger = 2", "f:3: Cannot overwrite a value"),
        (b'[send]\n\nname = "\xff"', "f:3: is no UTF-8"),
        (b"a = " + b"[" * 100_000, "f: is nested too deeply"),
        (b"a = " + b"9" * 5_000, "f: "),
        (b"#" * (SIZE_MAX + 1), f"f is no settings file: more than {SIZE_MAX} octets"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_toml_is_named_by_line_and_column(octets: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.decode(octets, "f")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[send]\nsend-queu = 1", "f:2: [send] send-queu is no setting; did you mean"),
        ("[send]\nsend_queue = 1", "did you mean send-queue?"),
        ("[send]\nSEND-QUEUE = 1", "did you mean send-queue?"),
        ("[send]\nzzz = 1", "f:2: [send] zzz is no setting"),
        ("[send]\noutput = 1", "f:2: [send] output is no setting; it belongs to [recv"),
        ("[recieve]", "f:1: there is no table [recieve]"),
        ("[sned]", "f:1: there is no table [sned]; did you mean [send]?"),
        ("[zzz]", "f:1: there is no table [zzz]: [send], [recv]"),
        ("source = 5", "f:1: source stands in no table; it belongs to [send]"),
        ("zzz = 5", "zzz stands in no table; every setting does: [send], [recv]"),
        ("send = 5", "f:1: send is a table: write [send]"),
        ("[[send]]", "f:1: send is a table: write [send]"),
        ("[send]\nlinger = true", "[send] linger wants text or a number, not true"),
        ("[send]\nlinger = [1]", "wants text or a number, not a list"),
        ("[send]\nlinger = {a = 1}", "wants text or a number, not a table"),
        ("[send.linger]\na = 1", "wants text or a number, not a table"),
        ("[send]\nlinger = 2025-01-01", "wants text or a number, not a date or time"),
        ('[send]\nbind = "yes"', "[send] bind wants true or false, not a text"),
        ("[send]\nbind = 1", "wants true or false, not a number"),
        ('[send]\nallow = "a"', "wants a list of texts or numbers, not a text"),
        ("[send]\nallow = [true]", "not a list of other things"),
        (f"[send]\nlinger = 0x{'f' * 5_000}", "is a number of endless digits"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_does_not_fit_is_named_with_what_would(text: str, said: str) -> None:
    (complaint,) = complaints(text)
    assert said in complaint


def test_every_fault_is_named() -> None:
    text = "[send]\na = 1\nlinger = true\n[recv]\nb = 2\n[third]\n"
    assert [complaint.partition(": ")[0] for complaint in complaints(text)] == [
        "f:2",
        "f:3",
        "f:5",
        "f:6",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# linger = 1\n[recv]\nlinger = 2\n[send]\n\nlinger = 3", 6),
        ('[send]\nsource = """\nlinger = 1\n"""\nlinger = 3', 5),
        ('[send]\nsource = "linger"\n"linger" = 3', 3),
        ("[send]\nallow = [\n 'linger',\n]\nlinger = '''\na\nb'''", 5),
        ("send.linger = 1", 1),
        ("send = {source = 1,\tlinger = 2}", 1),
        ("[send]\r\n# linger\r\nlinger = 1\r\n", 3),
        ("[send]\nsource = '\u2028'\nlinger = 1", 3),
    ],
    ids=ascii,
)
def test_a_setting_is_found_on_its_line(text: str, line: int) -> None:
    read = settings.decode(text.encode(), "f")
    assert read.place("send", "linger") == f"f:{line}: [send] linger"


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (True, Shape.FLAG, True),
        ("64MiB", Shape.ONE, "64MiB"),
        ("", Shape.ONE, ""),
        (1_000, Shape.ONE, "1000"),
        (0.5, Shape.ONE, "0.5"),
        (["a", 5], Shape.MANY, ["a", "5"]),
        ([], Shape.MANY, []),
        (["a", 5], Shape.SOME, ["a", "5"]),
        ("a b", Shape.SOME, ["a b"]),
        (5, Shape.SOME, ["5"]),
    ],
)
def test_a_value_is_what_the_command_line_would_say(
    value: object, shape: Shape, expected: object
) -> None:
    assert settings.given(value, shape) == expected


def test_a_value_is_not_repeated_in_what_is_said_of_it() -> None:
    assert "hunter2" not in complaints('[send]\nbind = "hunter2"')[0]
