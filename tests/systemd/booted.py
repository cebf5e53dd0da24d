"""A service manager of our own: systemd as the first process of private namespaces.

Theory of operation. Its root is an overlay on the machine's, so that what it writes
goes with it, and every namespace but the user's is its own. It lives in a cgroup of its
own, in the unified hierarchy, and ends with the process that holds the namespaces. The
units find our commands in /usr/local/bin, where they look for them anyway.

Specification: systemd's docs/CONTAINER_INTERFACE.md, unshare(1), cgroup_namespaces(7).
"""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.waiting import wait_until
from tests.systemd.units import ROOT

SYSTEMD = Path("/lib/systemd/systemd")
TIMEOUT_S = 60.0

NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")

_BOOT = """
set -eu
# Nothing of this is seen outside.
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root
# An overlay would not see what changes here.
mkdir -p "$root$2" "$root$3"
mount --bind "$2" "$root$2"
mount --bind "$3" "$root$3"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
echo "[Unit]
Wants=systemd-journald.service
After=systemd-journald.service" > "$root/etc/systemd/system/ours.target"
ln -sf "$2/.venv/bin/pcap-zmq-send" "$2/.venv/bin/pcap-zmq-recv" "$root/usr/local/bin"
ip link set lo up
cd "$root"
mkdir old
pivot_root . old
umount -l /old
# The manager hands credentials over by a mount that has to be seen by itself.
mount --make-rshared /
exec env -i container=ours PATH="$PATH" "$4" --system --unit=ours.target \
    --log-target=console
"""


def why_unavailable() -> str | None:
    """Why there can be no manager of our own; None when there can."""
    if os.geteuid() != 0:
        return "a service manager of our own needs root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    if _cgroups() is None:
        return "there is no unified hierarchy of cgroups"
    return None


def _cgroups() -> Path | None:
    """Where the unified hierarchy is."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


class Manager:
    """Runs from enter to exit. directory: for its log, and to mount its root on."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "systemd.log"
        self._mount = directory / "root"
        cgroups = _cgroups()
        assert cgroups is not None
        self._cgroup = cgroups / f"pcap-zmq-tests-{os.getpid()}"
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._mount.mkdir()
        self._cgroup.mkdir()
        boot = ["sh", "-c", _BOOT, "boot", str(self._mount), str(ROOT)]
        argv = ["unshare", *NAMESPACES, "--fork", "--kill-child", *boot]
        joining = f'echo $$ > {self._cgroup}/cgroup.procs && exec "$@"'
        with self._log.open("wb") as log:
            self._holder = subprocess.Popen(
                # The interpreter may lie where the root's own files hide it.
                [*("sh", "-c", joining, "join"), *argv, sys.base_prefix, str(SYSTEMD)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(self._is_up, TIMEOUT_S, "systemd")
        except BaseException as error:
            error.add_note(self._log.read_text())
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, and all that runs below it."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            wait_until(self._is_empty, TIMEOUT_S, "the end of all in our cgroup")
        for directory in sorted(self._cgroup.rglob("*/"), reverse=True):
            directory.rmdir()
        self._cgroup.rmdir()

    def entry(self) -> list[str]:
        """The start of a command that is to run there."""
        holder = self._holder
        assert holder is not None
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        (pid,) = children.read_text().split()
        return ["nsenter", f"--target={pid}", *NAMESPACES, "--"]

    def run(self, *argv: str, check: bool = True, **options: Any) -> str:
        """What a command there says on its standard output."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*self.entry(), *argv],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            **options,
        )
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """A file there, and the directories above it."""
        self.run("mkdir", "-p", str(Path(path).parent))
        self.run("tee", path, input=text)

    def property_of(self, unit: str, name: str) -> str:
        """As `systemctl show` has it."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str) -> str:
        """What a unit has said."""
        return self.run("journalctl", "-o", "cat", "--no-pager", "-u", unit)

    def threads(self, unit: str) -> list[dict[str, str]]:
        """The status of every thread of a unit's process."""
        pid = self.property_of(unit, "MainPID")
        shown = self.run("sh", "-c", f"cat /proc/{pid}/task/*/status")
        threads: list[dict[str, str]] = []
        for line in shown.splitlines():
            name, _, text = line.partition(":")
            if name == "Name":
                threads.append({})
            threads[-1][name] = text.strip()
        return threads

    def _is_up(self) -> bool:
        assert self._holder is not None
        assert self._holder.poll() is None, self._log.read_text()
        try:
            entry = self.entry()
        except (ValueError, FileNotFoundError):
            return False
        # Before the new root is there, there is no manager to be asked.
        argv = [*entry, "systemctl", "is-active", "ours.target"]
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
        return done.stdout.strip() == "active"

    def _is_empty(self) -> bool:
        return "populated 0" in (self._cgroup / "cgroup.events").read_text()


def drop_in() -> str:
    """What our units need where the interpreter lies in somebody's home."""
    homes = ("/root", "/home", "/run/user")
    if not sys.base_prefix.startswith(homes) and not str(ROOT).startswith(homes):
        return ""
    paths = f"{sys.base_prefix} {ROOT}"
    return f"[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths={paths}\n"
