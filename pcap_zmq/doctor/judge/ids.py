"""Which IDS is here, and the options that it needs on a FIFO with NFLOG's packets.

Why: packets are up to 64 KiB long, and locally sent ones have unfinished checksums
(docs/nflog.md). Snort cuts packets at 1518 octets and reads 64 at once unless told;
all three ignore packets whose checksums are wrong unless told.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, unknown, warning
from pcap_zmq.doctor.judge.groups import Process

CHECK = "ids"

BUFFER_MENDED = (8, 0, 6)
"""From here on Suricata's pcap-file.buffer-size may be 0, for FIFOs."""

NAMES = ("suricata", "snort", "zeek")


@dataclass(frozen=True, slots=True)
class Ids:
    """One that is on the PATH, and what it says of its version."""

    name: str
    said: str


@dataclass(frozen=True, slots=True)
class Readers:
    """found: on the PATH. fifo: where they shall read. running: who reads it now."""

    fifo: str
    found: tuple[Ids, ...]
    running: tuple[Process, ...] = ()


def judge(readers: Readers) -> Iterator[Finding]:
    """How to start each, and what is amiss with the one that runs."""
    for ids in readers.found:
        yield _judge_found(ids, readers.fifo)
    if not readers.found:
        yield unknown(
            CHECK,
            "neither Suricata nor Snort nor Zeek is on the PATH; whatever reads pcap "
            "may read the FIFO",
        )
    for process in readers.running:
        name = _name_of(process)
        if name is not None:
            yield from _judge_running(name, process)


def version_of(ids: Ids) -> tuple[int, ...]:
    """Empty where it does not say."""
    found = re.search(r"version\s+(\d+(?:\.\d+)*)", ids.said, re.IGNORECASE)
    return tuple(map(int, found[1].split("."))) if found else ()


def _judge_found(ids: Ids, fifo: str) -> Finding:
    version = version_of(ids)
    shown = f"{ids.name.capitalize()} {'.'.join(map(str, version)) or '(which?)'}"
    match ids.name, version[:1]:
        case "suricata", (major,) if major < 7:
            return warning(
                CHECK,
                f"{shown} is older than what this was tried with (7 and 8)",
                f"suricata -r {fifo} -k none -l /var/log/suricata",
            )
        case "suricata", _:
            line = f"suricata -r {fifo} -k none -l /var/log/suricata"
            return ok(CHECK, f"{shown}{_suricata_note(version)}: {line}")
        case "snort", (major,) if major < 3:
            return warning(
                CHECK,
                f"{shown} is older than what this was tried with (3)",
                f"snort -r {fifo} -k none -c snort.conf",
            )
        case "snort", _:
            options = "-s 65535 -k none --daq-batch-size 1 -c snort.lua"
            return ok(CHECK, f"{shown}: snort -r {fifo} {options}")
        case _:
            return ok(CHECK, f"{shown}: zeek -C -r {fifo} local")


def _suricata_note(version: tuple[int, ...]) -> str:
    # It sets up its read buffer after having read the file header, and loses with it
    # whatever more it had read; our FIFO holds nothing more until then.
    if (8,) <= version < BUFFER_MENDED:
        return " (loses the start of a FIFO, unless it is one of pcap-zmq-recv)"
    return ""


def _name_of(process: Process) -> str | None:
    # Suricata calls its threads Suricata-Main, W#01 and so on.
    shown = process.name.lower()
    return next((name for name in NAMES if shown.startswith(name)), None)


def _judge_running(name: str, process: Process) -> Iterator[Finding]:
    for has, what, remedy in _WANTED[name]:
        if not has(process.argv):
            yield warning(CHECK, f"{process} reads the FIFO {what}", remedy)


def _option(argv: tuple[str, ...], *names: str) -> str | None:
    """The value of an option, in whichever of its forms."""
    for at, word in enumerate(argv):
        for name in names:
            if word == name:
                return argv[at + 1] if at + 1 < len(argv) else ""
            if name.startswith("--") and word.startswith(f"{name}="):
                return word.partition("=")[2]
            if not name.startswith("--") and word.startswith(name) and word != name:
                return word[len(name) :]
    return None


def _has_no_checksums(argv: tuple[str, ...]) -> bool:
    settings = [word.replace(" ", "") for word in argv]
    # no: none are verified. auto, the default, gives up only after many wrong ones.
    is_set = any("checksum-checks=no" in word for word in settings)
    return is_set or _option(argv, "-k") == "none"


def _is_not_continuous(argv: tuple[str, ...]) -> bool:
    return "--pcap-file-continuous" not in argv


def _has_snaplen(argv: tuple[str, ...]) -> bool:
    value = _option(argv, "-s", "--snaplen") or ""
    return value.isdecimal() and int(value) >= 65_535


def _has_single_batches(argv: tuple[str, ...]) -> bool:
    return _option(argv, "--daq-batch-size") == "1"


def _ignores_checksums(argv: tuple[str, ...]) -> bool:
    settings = [word.replace(" ", "") for word in argv]
    return any(re.fullmatch(r"-[A-Za-z]*C[A-Za-z]*", word) for word in argv) or any(
        "ignore_checksums=T" in word for word in settings
    )


Wanted = tuple[Callable[[tuple[str, ...]], bool], str, str]

_CHECKSUMS = "and verifies checksums: it passes over packets that were sent here"
_WANTED: dict[str, tuple[Wanted, ...]] = {
    "suricata": (
        (_has_no_checksums, _CHECKSUMS, "start it with -k none"),
        (
            _is_not_continuous,
            "with --pcap-file-continuous, which is for directories",
            "leave it out: the FIFO stays open as long as the receiver runs",
        ),
    ),
    "snort": (
        (_has_no_checksums, _CHECKSUMS, "start it with -k none"),
        (
            _has_snaplen,
            "and cuts packets at 1518 octets, which offload makes far longer",
            "start it with -s 65535",
        ),
        (
            _has_single_batches,
            "64 packets at once, and waits for the last of them",
            "start it with --daq-batch-size 1",
        ),
    ),
    "zeek": ((_ignores_checksums, _CHECKSUMS, "start it with -C"),),
}
