"""NFLOG groups as a readable socket: packet records into a caller's buffer.

Specification: linux/netfilter/nfnetlink_log.h; net/netfilter/nfnetlink_log.c for what
it does not say.
"""

import errno
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from nflog_ffi import limits
from nflog_ffi._nflog import ffi, lib
from nflog_ffi.errors import NflogError, NflogPermissionError

CAPACITY_MIN: int = lib.NFLOG_CAPACITY_MIN
"""The least octets that a buffer must have free for `read_into` to make progress."""

GROUPS_FILE = Path("/proc/net/netfilter/nfnetlink_log")
"""Group, owner's port id, queued, copy mode, copy range, timeout: one line a group."""

CAP_NET_ADMIN = 12
"""Its bit in /proc/self/status: linux/capability.h."""


class NflogCounts(NamedTuple):
    """struct nflog_counts: what has happened since the socket was opened, in packets
    unless named otherwise. `received + missed` is what the kernel logged."""

    received: int
    missed: int
    not_ip: int
    stamped_by_kernel: int
    stamped_here: int
    gaps: int
    malformed: int
    datagrams: int
    truncated: int
    overruns: int


_COUNTS = struct.Struct(f"={len(NflogCounts._fields)}Q")


class NflogSocket:
    """Any number of NFLOG groups on one netlink socket.

    linktype: of the packet records that are read, whichever group they are of; one of
    `nflog_ffi.limits.LINKTYPES`.

    Every option is checked against its bounds in `nflog_ffi.limits`, since the kernel
    acknowledges and ignores what it does not like. `warnings` says, a sentence each,
    what was asked for and not given.

    Raises ValueError for an option out of bounds, NflogPermissionError without
    CAP_NET_ADMIN or for a group that another process holds, NflogError otherwise.
    """

    def __init__(
        self,
        groups: Iterable[int],
        *,
        snaplen: int = limits.SNAPLEN.default,
        nlbufsiz: int = limits.NLBUFSIZ.default,
        qthreshold: int = limits.QTHRESHOLD.default,
        qtimeout_cs: int = limits.QTIMEOUT_CS.default,
        rcvbuf: int = limits.RCVBUF.default,
        linktype: int = limits.LINKTYPES[0],
    ) -> None:
        self.groups = tuple(dict.fromkeys(groups))
        if not self.groups:
            raise ValueError("no NFLOG group was given")
        for group in self.groups:
            limits.GROUP.check("group", group)
        # Owned by this object and alive for each call that it is passed to.
        options = ffi.new("struct nflog_options *")
        options.snaplen = limits.SNAPLEN.check("snaplen", snaplen)
        options.nlbufsiz = limits.NLBUFSIZ.check("nlbufsiz", nlbufsiz)
        options.qthreshold = limits.QTHRESHOLD.check("qthreshold", qthreshold)
        options.qtimeout_cs = limits.QTIMEOUT_CS.check("qtimeout_cs", qtimeout_cs)
        limits.RCVBUF.check("rcvbuf", rcvbuf)
        if linktype not in limits.LINKTYPES:
            raise ValueError(f"linktype is {linktype}, not one of {limits.LINKTYPES}")

        self.warnings: list[str] = []
        self.rcvbuf = 0
        """Octets that the receive buffer has, as socket(7) counts them: it was asked
        for `rcvbuf`."""
        self._used = ffi.new("size_t *")
        self._socket = lib.nflog_socket_open(linktype)
        if self._socket == ffi.NULL:
            raise NflogError(ffi.errno, "no netlink socket: " + os.strerror(ffi.errno))
        try:
            # The socket's own memory: not touched after close().
            counts = lib.nflog_socket_counts(self._socket)
            self._counts_memory = ffi.buffer(counts, _COUNTS.size)
            # First, so that a busy group does not overrun the default buffer.
            self._set_rcvbuf(rcvbuf)
            for group in self.groups:
                self._bind(group, options)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the groups back. Closing twice is harmless."""
        if self._socket != ffi.NULL:
            lib.nflog_socket_close(self._socket)
            self._socket = ffi.NULL

    def fileno(self) -> int:
        """The descriptor to wait on; -1 when closed."""
        if self._socket == ffi.NULL:
            return -1
        return int(lib.nflog_socket_fd(self._socket))

    def read_into(
        self, buffer: memoryview, used: int, deadline_ns: int = 0
    ) -> tuple[int, bool]:
        """Appends packet records to `buffer[used:]` until it is full or the deadline
        (CLOCK_MONOTONIC, nanoseconds) passes; in the past, takes what is there.

        A record: seconds, nanoseconds, caplen, origlen (32 bits each, little-endian),
        then caplen octets of the link type. The GIL is released meanwhile. Returns how
        much of the buffer is used now, and whether more waits that did not fit. A
        signal ends the wait early.
        """
        self._check_open()
        capacity = len(buffer)
        if capacity - used < CAPACITY_MIN and used == 0:
            raise ValueError(f"a buffer of {capacity} octets, not {CAPACITY_MIN}")
        self._used[0] = used
        status = lib.nflog_socket_read(
            # A view of the caller's memory, alive until the call returns.
            self._socket,
            ffi.from_buffer("uint8_t[]", buffer, require_writable=True),
            capacity,
            self._used,
            deadline_ns,
        )
        if status < 0:
            raise NflogError(-status, "reading NFLOG: " + os.strerror(-status))
        return self._used[0], status == 1

    def read(self, timeout_s: float) -> bytes:
        """Packet records of what arrives within `timeout_s` seconds, 256 KiB at most;
        empty when nothing came. The simple way; `read_into` copies once less."""
        buffer = bytearray(1 << 18)
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        with memoryview(buffer) as view:
            used, _ = self.read_into(view, 0, deadline_ns)
            return bytes(view[:used])

    def counts(self) -> NflogCounts:
        """What has happened so far."""
        self._check_open()
        return NflogCounts(*_COUNTS.unpack(self._counts_memory))

    def unrevealed_drops(self) -> int:
        """Datagrams that the kernel had no room for and that no gap has told yet.

        Each held as many packets as the kernel had gathered. The number is the Drops
        column of /proc/net/netlink, less its value when the last gap was seen.
        """
        self._check_open()
        drops = lib.nflog_socket_drops(self._socket)
        revealed = lib.nflog_socket_drops_revealed(self._socket)
        return max(0, int(drops - revealed))

    def unbind(self) -> bool:
        """Ends logging to the groups; what the kernel still held can be read after.

        False where CAP_NET_ADMIN is gone by now: then only closing ends it.
        """
        self._check_open()
        # Each is tried, whatever became of the others.
        statuses = [
            lib.nflog_socket_unbind(self._socket, group) for group in self.groups
        ]
        return not any(statuses)

    def _check_open(self) -> None:
        if self._socket == ffi.NULL:
            raise ValueError("the NFLOG socket is closed")

    def _set_rcvbuf(self, wanted: int) -> None:
        forced = ffi.new("int *")
        effective = lib.nflog_socket_rcvbuf(self._socket, wanted, forced)
        if effective < 0:
            raise NflogError(-effective, "receive buffer: " + os.strerror(-effective))
        self.rcvbuf = int(effective)
        if effective < wanted:
            self.warnings.append(
                f"the receive buffer is {effective} octets, not {wanted}: raise "
                "net.core.rmem_max with sysctl, or run with CAP_NET_ADMIN outside of "
                "a user namespace"
            )

    # cffi gives struct pointers no type that mypy knows.
    def _bind(self, group: int, options: object) -> None:
        status = lib.nflog_socket_bind(self._socket, group, options)
        if status == -errno.EPERM:
            raise NflogPermissionError(errno.EPERM, _why_not_permitted(group))
        if status < 0:
            raise NflogError(-status, f"NFLOG group {group}: {os.strerror(-status)}")
        self._read_back(group, options)

    def _read_back(self, group: int, options: object) -> None:
        """Compares what the kernel shows of a group with what it acknowledged."""
        shown = _group_line(group)
        if shown is None:
            return
        wanted = (
            lib.nflog_socket_portid(self._socket),
            options.snaplen,  # type: ignore[attr-defined]
            options.qtimeout_cs,  # type: ignore[attr-defined]
        )
        if (shown[1], shown[4], shown[5]) != wanted:
            self.warnings.append(
                f"the kernel shows port id, copy range and timeout of group {group} "
                f"as {shown[1]}, {shown[4]}, {shown[5]}, not {wanted}"
            )


def _group_line(group: int) -> list[int] | None:
    """The group's numbers in GROUPS_FILE; None where it is not there or hidden."""
    try:
        lines = GROUPS_FILE.read_text().splitlines()
    except OSError:
        return None
    numbers = ([int(field) for field in line.split()] for line in lines)
    return next((line for line in numbers if line[0] == group), None)


def _why_not_permitted(group: int) -> str:
    owner = _group_line(group)
    if owner is not None:
        return (
            f"NFLOG group {group} is held by another process (netlink port id "
            f"{owner[1]}, usually its pid); stop it or use another group"
        )
    if not _has_net_admin():
        return (
            f"NFLOG group {group} needs CAP_NET_ADMIN; run as root, or with "
            "setpriv --ambient-caps +net_admin"
        )
    return (
        f"the kernel did not permit NFLOG group {group}: another process holds it "
        f"(see {GROUPS_FILE}), or CAP_NET_ADMIN is missing in this network namespace"
    )


def _has_net_admin() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(
        line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")
    )
    return bool(int(effective, 16) >> CAP_NET_ADMIN & 1)
