"""Whether the libraries under us are there, and recent enough."""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, warning

CHECK = "libraries"

LIBZMQ_MIN = (4, 3, 3)
"""Before it, a client that shakes no hand blocks a CURVE server (CVE-2020-15166), and
another overruns the heap."""


@dataclass(frozen=True, slots=True)
class Libraries:
    """Versions as text. codecs: which of those that need a package are installed.
    nflog: where libnetfilter_log was loaded from; None: it cannot be, because of
    nflog_error."""

    python: str
    pcap_zmq: str
    libzmq: tuple[int, int, int]
    pyzmq: str
    has_curve: bool
    codecs: dict[str, bool]
    libpcap: str | None
    nflog: str | None
    nflog_error: str = ""


def judge(libraries: Libraries, *, sends: bool) -> Iterator[Finding]:
    """sends: NFLOG has to work here."""
    version = ".".join(map(str, libraries.libzmq))
    zmq = f"libzmq {version} (pyzmq {libraries.pyzmq})"
    yield ok(CHECK, f"pcap-zmq {libraries.pcap_zmq} on Python {libraries.python}")
    if libraries.libzmq < LIBZMQ_MIN:
        yield problem(
            CHECK,
            f"{zmq} has holes that anybody who can connect may use",
            "pip install --upgrade pyzmq: its wheels carry libzmq 4.3.5",
        )
    elif not libraries.has_curve:
        yield warning(
            CHECK,
            f"{zmq} was built without CURVE: nothing can be encrypted",
            "use pyzmq's own wheels, or a libzmq that is built with libsodium",
        )
    else:
        yield ok(CHECK, f"{zmq}, with CURVE")
    yield from _judge_codecs(libraries.codecs)
    yield ok(CHECK, libraries.libpcap or "libpcap, of a version that it does not tell")
    if libraries.nflog is not None:
        yield ok(CHECK, f"libnetfilter_log, from {libraries.nflog}")
    elif sends:
        yield problem(
            CHECK,
            f"NFLOG cannot be read here: {libraries.nflog_error}",
            "install libnetfilter-log1 and libmnl0, or build again on Linux with "
            "libnetfilter-log-dev",
        )
    else:
        yield ok(CHECK, "no libnetfilter_log, which a receiver does not need")


def _judge_codecs(codecs: dict[str, bool]) -> Iterator[Finding]:
    """The two ends need not have the same ones: a receiver refuses what it lacks."""
    missing = [name for name, is_there in codecs.items() if not is_there]
    names = ["zlib", *(name for name, is_there in codecs.items() if is_there)]
    if missing:
        yield warning(
            CHECK,
            f"codecs: {', '.join(names)}; not {', '.join(missing)}, which the other "
            "end may use",
            "pip install 'pcap-zmq[all]'",
        )
    else:
        yield ok(CHECK, f"codecs: {', '.join(names)}")
