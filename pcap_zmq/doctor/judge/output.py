"""Whether the receiver's output can be written, and who reads it.

Specification: fifo(7), pipe(7).
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, unknown, warning
from pcap_zmq.doctor.judge.groups import Process

CHECK = "output"

_MIB = 1 << 20
_PAGE = 4096

PIPE_BYTES = _MIB
"""What the receiver asks for: sinks/fifo.py."""

SPACE_MIN = 1 << 30
"""Below it a file lasts seconds at the default high watermark."""


class Kind(enum.Enum):
    """What lies at the path."""

    NOTHING = "nothing"
    FIFO = "a FIFO"
    FILE = "a file"
    DIRECTORY = "a directory"
    OTHER = "neither a FIFO nor a regular file"
    HIDDEN = "behind a directory that this user may not search"


@dataclass(frozen=True, slots=True)
class Output:
    """Where the receiver is told to write. may_write, may_replace: the thing itself,
    and its place in the directory. free: octets; None: not known. sees_all: whether
    every process's descriptors could be looked at. is_root: we are root, who may see
    less than all in a container."""

    path: str
    is_file_wanted: bool
    kind: Kind
    has_directory: bool
    may_write: bool
    may_replace: bool
    mode: int = 0
    size: int = 0
    free: int | None = None
    readers: tuple[Process, ...] = ()
    writers: tuple[Process, ...] = ()
    sees_all: bool = True
    is_root: bool = False


@dataclass(frozen=True, slots=True)
class Pipes:
    """fs.pipe-max-size in octets, fs.pipe-user-pages-soft in pages; None: not shown."""

    maximum: int | None
    user_pages: int | None


def judge(output: Output) -> Iterator[Finding]:
    """The path itself."""
    path, kind = output.path, output.kind
    if kind is Kind.HIDDEN:
        yield problem(
            CHECK,
            f"{path} is {kind.value}",
            "let the receiver's user search (x) every directory above it",
        )
    elif not output.has_directory:
        yield problem(
            CHECK, f"{path} has no directory to be in", "make the directory first"
        )
    elif kind in (Kind.DIRECTORY, Kind.OTHER):
        yield problem(CHECK, f"{path} is {kind.value}", "name a FIFO or a file")
    elif kind is Kind.NOTHING:
        yield from _judge_nothing(output)
    elif not output.may_write:
        yield problem(
            CHECK, f"{path} may not be written by this user", "chown or chmod it"
        )
    elif kind is Kind.FIFO:
        yield from _judge_fifo(output)
    else:
        yield from _judge_file(output)
    if output.free is not None and output.free < SPACE_MIN and _is_file(output):
        yield warning(
            CHECK,
            f"{path}: {output.free // _MIB} MiB are free there, which a busy gateway "
            "fills in seconds",
            "make room; while the disk is full, the senders hold their packets",
        )


def _is_file(output: Output) -> bool:
    return output.kind is Kind.FILE or (
        output.kind is Kind.NOTHING and output.is_file_wanted
    )


def _judge_nothing(output: Output) -> Iterator[Finding]:
    made = "the file" if output.is_file_wanted else "the FIFO"
    if output.may_replace:
        yield ok(CHECK, f"{output.path}: {made} will be made there, with mode 0600")
    else:
        yield problem(
            CHECK,
            f"{output.path}: this user may not make {made} in that directory",
            "let the receiver's user write to the directory",
        )


def _judge_fifo(output: Output) -> Iterator[Finding]:
    path = output.path
    if output.is_file_wanted:
        yield problem(CHECK, f"{path} is a FIFO, not a file", "leave file: out")
        return
    yield ok(CHECK, f"{path} is a FIFO, mode {output.mode:04o}")
    if output.mode & 0o004:
        yield warning(
            CHECK,
            f"{path} may be read by everybody on this host, and so may all traffic",
            f"chmod o= {path}",
        )
    if not output.may_replace:
        yield warning(
            CHECK,
            f"{path} cannot be replaced for the next reader: one that opens it as "
            "another leaves may find a torn record",
            "let the receiver's user write to the directory and own the FIFO",
        )
    yield from _judge_ends(output)


def _judge_ends(output: Output) -> Iterator[Finding]:
    path, readers, writers = output.path, output.readers, output.writers
    if len(readers) > 1:
        yield problem(
            CHECK,
            f"{path} is read by {_and(readers)}: each gets a part of the stream",
            "one reader for each FIFO; stop the others",
        )
    elif readers:
        yield ok(CHECK, f"{path} is read by {readers[0]}")
    elif not output.sees_all:
        yield unknown(
            CHECK,
            f"nobody is seen to read {path}, but not every process shows what it has "
            "open",
            "run with CAP_SYS_PTRACE, outside of any container"
            if output.is_root
            else "run as root",
        )
    else:
        yield ok(CHECK, f"{path} is read by nobody yet: the senders hold their packets")
    strangers = [writer for writer in writers if not writer.is_ours("recv")]
    if strangers:
        yield problem(
            CHECK,
            f"{path} is written by {_and(strangers)}, too: the stream is torn",
            "stop it: a FIFO has one writer",
        )


def _and(processes: list[Process] | tuple[Process, ...]) -> str:
    return " and ".join(map(str, processes))


def _judge_file(output: Output) -> Iterator[Finding]:
    if output.size:
        yield warning(
            CHECK,
            f"{output.path} holds {output.size} octets already",
            "a receiver refuses it without --overwrite",
        )
    else:
        yield ok(CHECK, f"{output.path} is an empty file")


def judge_pipes(pipes: Pipes) -> Iterator[Finding]:
    """Whether the FIFO gets the room that it asks for."""
    if pipes.maximum is not None and pipes.maximum < PIPE_BYTES:
        yield warning(
            CHECK,
            f"fs.pipe-max-size of {pipes.maximum} leaves the FIFO less than "
            f"{PIPE_BYTES} octets: the IDS has to be quicker",
            f"sysctl -w fs.pipe-max-size={PIPE_BYTES}",
        )
    pages = pipes.user_pages
    if pages and pages * _PAGE < PIPE_BYTES:
        yield warning(
            CHECK,
            f"fs.pipe-user-pages-soft of {pages} leaves a user's pipes together less "
            f"than {PIPE_BYTES} octets",
            "sysctl -w fs.pipe-user-pages-soft=16384",
        )
