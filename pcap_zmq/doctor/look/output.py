"""What lies where the receiver shall write, who has it open, and which IDS is here."""

import os
import stat
from pathlib import Path

from pcap_zmq.doctor.judge.groups import Process
from pcap_zmq.doctor.judge.ids import NAMES, Ids, Readers
from pcap_zmq.doctor.judge.output import Kind, Output
from pcap_zmq.doctor.look import processes, programs
from pcap_zmq.doctor.look.processes import Descriptor

FILE_PREFIX = "file:"
FIFO_PREFIX = "fifo:"

_VERSION_OPTIONS = {"suricata": "-V", "snort": "-V", "zeek": "--version"}
_DELETED = " (deleted)"


def look(text: str) -> Output:
    """`text` as the receiver takes it: a path, file:PATH or fifo:PATH."""
    path = Path(text.removeprefix(FILE_PREFIX).removeprefix(FIFO_PREFIX))
    # The receiver replaces what a link leads to, not the link.
    path = path.resolve()
    is_file_wanted = text.startswith(FILE_PREFIX)
    directory = path.parent
    kind, status = _kind(path)
    may_replace = os.access(directory, os.W_OK | os.X_OK)
    if status is not None and status.st_uid != os.geteuid() and os.geteuid() != 0:
        may_replace = False
    readers, writers, sees_all = _ends(path) if kind is Kind.FIFO else ((), (), True)
    return Output(
        path=str(path),
        is_file_wanted=is_file_wanted,
        kind=kind,
        # Path.is_dir() raises where a directory above may not be searched.
        has_directory=os.path.isdir(directory),  # noqa: PTH112
        may_write=os.access(path, os.W_OK),
        may_replace=may_replace,
        mode=0 if status is None else stat.S_IMODE(status.st_mode),
        size=0 if status is None else status.st_size,
        free=_free(directory),
        readers=readers,
        writers=writers,
        sees_all=sees_all,
        is_root=os.geteuid() == 0,
    )


def look_for_ids(output: Output | None) -> Readers:
    """Those on the PATH; and who reads the FIFO, under whatever name."""
    found: list[Ids] = []
    for name in NAMES:
        said = programs.run(name, _VERSION_OPTIONS[name])
        if said is not None:
            found.append(Ids(name, said.output + said.complaint))
    fifo = "FIFO" if output is None else output.path
    return Readers(fifo, tuple(found), output.readers if output else ())


def _kind(path: Path) -> tuple[Kind, os.stat_result | None]:
    try:
        status = path.stat()
    except PermissionError:
        return Kind.HIDDEN, None
    except OSError:
        return Kind.NOTHING, None
    if stat.S_ISFIFO(status.st_mode):
        return Kind.FIFO, status
    if stat.S_ISREG(status.st_mode):
        return Kind.FILE, status
    if stat.S_ISDIR(status.st_mode):
        return Kind.DIRECTORY, status
    return Kind.OTHER, status


def _free(directory: Path) -> int | None:
    try:
        filesystem = os.statvfs(directory)
    except OSError:
        return None
    return filesystem.f_bavail * filesystem.f_frsize


def _ends(path: Path) -> tuple[tuple[Process, ...], tuple[Process, ...], bool]:
    """Who reads and who writes. The receiver has a fresh FIFO ready as soon as one has
    been opened, so the open one is shown as deleted."""
    names = (str(path), f"{path}{_DELETED}")
    seen = processes.descriptors()
    open_here = [found for found in seen.found if found.target in names]
    writing = [found for found in open_here if _is_open_for(found, os.O_WRONLY)]
    reading = [found for found in open_here if _is_open_for(found, os.O_RDONLY)]
    if writing:
        # A reader of another one of the same name waits for its turn.
        inodes = {found.inode() for found in writing}
        reading = [found for found in reading if found.inode() in inodes]
    return _who(reading), _who(writing), seen.is_complete


def _is_open_for(descriptor: Descriptor, mode: int) -> bool:
    return descriptor.flags() & os.O_ACCMODE in (mode, os.O_RDWR)


def _who(descriptors: list[Descriptor]) -> tuple[Process, ...]:
    pids = dict.fromkeys(descriptor.pid for descriptor in descriptors)
    found = (processes.process(pid) for pid in pids)
    return tuple(process for process in found if process is not None)
