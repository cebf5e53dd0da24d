"""Invariant: any octets are settings or a ConfigError of one line; what is wrong with
settings is said in one line each; and a value that is taken is text, as on a command
line.

Input: the file, of which the first octets count.
"""

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import settings
from pcap_zmq.formats.settings import Shape

LENGTH_MAX = 512
"""Where something wrong stands is found by reading the file again and again."""

KNOWN = {
    "send": {"group": Shape.MANY, "to": Shape.ONE, "insecure": Shape.FLAG},
    "recv": {"output": Shape.ONE},
}


def check(octets: bytes) -> None:
    try:
        read = settings.decode(octets[:LENGTH_MAX], "a.toml")
    except ConfigError as error:
        check_line(str(error))
        return
    complaints = list(settings.complaints(read, KNOWN))
    for complaint in complaints:
        check_line(complaint)
    for table, shapes in KNOWN.items():
        for name, value in read.table(table).items():
            shape = shapes.get(name)
            if shape is None:
                assert complaints
                continue
            check_value(value, shape, bool(complaints))


def check_value(value: object, shape: Shape, is_complained_of: bool) -> None:
    try:
        given = settings.given(value, shape)
    except ConfigError as error:
        check_line(str(error))
        assert is_complained_of
        return
    if shape is Shape.FLAG:
        assert isinstance(given, bool)
    elif shape is Shape.ONE:
        assert isinstance(given, str)
    else:
        assert isinstance(given, list)
        assert all(isinstance(one, str) for one in given)


def check_line(text: str) -> None:
    assert text
    assert len(text.splitlines()) == 1
