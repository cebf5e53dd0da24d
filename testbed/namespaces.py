"""Makes private networks of real kernel namespaces, joined by veth pairs.

Theory of operation. A network namespace lives as long as a process in it or a mount of
it. Here it is a process, the *holder*: a `cat` that copies a pipe of ours. The pipe
closes when we end, however we end, and with the holder go its namespace, the interfaces
and the rules. Nothing is mounted and nothing in /run has to be cleaned up.

Without root, the first holder makes a user namespace as well, and every further
namespace of the same `Network` is made inside it: the kernel moves an interface only
between network namespaces that one user namespace owns.

Commands enter through nsenter(1), which becomes the program instead of starting it, so
that the process id is the program's own. No mount namespace is needed: /proc/net and
/proc/sys/net show the network of the process that looks.

Specification: namespaces(7), user_namespaces(7), veth(4).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from testbed.waiting import first_line, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

# ip, nft, tcpdump and their like are there, and on Debian not on a user's PATH.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)

# IFNAMSIZ in linux/if.h, less the zero: an interface is named after whom it leads to.
NAME_OCTETS_MAX = 15

HOLDER_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0

# Against Suricata, which takes a second or two to leave in good order.
STOP_TIMEOUT_S = 10.0


def why_unavailable() -> str | None:
    """Why this process cannot make private networks, in one line; None when it can."""
    for tool in ("unshare", "nsenter", "setpriv", "ip"):
        if shutil.which(tool, path=SEARCH_PATH) is None:
            return f"{tool} is not installed (packages util-linux and iproute2)"
    if _may_unshare(_unshare_arguments(own_user_namespace=False)):
        return None
    if _may_unshare(_unshare_arguments(own_user_namespace=True)):
        return None
    return (
        "private networks need root, or unprivileged user namespaces "
        "(see user_namespaces(7) and, on Ubuntu, "
        "kernel.apparmor_restrict_unprivileged_userns)"
    )


class Namespace:
    """One host of a network; made by `Network.add`."""

    def __init__(
        self, name: str, holder: subprocess.Popen[str], network: Network
    ) -> None:
        self.name = name
        self.pid = holder.pid
        self._network = network

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` with what makes it run here, for callers who start it themselves.

        The process id will be the program's. `FileNotFoundError` when there is none.
        """
        return [*self._network.entry(self.pid), _program(argv[0]), *argv[1:]]

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout_s: float = COMMAND_TIMEOUT_S,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end, with its text captured.

        No input is an empty input, never the terminal. A failed `check` raises
        `CalledProcessError`, and its notes hold what the command said.
        """
        done = subprocess.run(
            self.command(argv),
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=env,
            check=False,
        )
        if check and done.returncode != 0:
            error = subprocess.CalledProcessError(
                done.returncode, list(argv), done.stdout, done.stderr
            )
            error.add_note(f"on {self.name}: {done.stderr.strip() or done.stdout}")
            raise error
        return done

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command here, as `Network.popen` does elsewhere."""
        return self._network.popen(argv, self, **options)

    def forward(self) -> None:
        """Let this host pass packets on, as a router does."""
        self.sysctl("ipv4/ip_forward", "1")
        self.sysctl("ipv6/conf/all/forwarding", "1")

    def sysctl(self, setting: str, value: str) -> None:
        """Set what is under /proc/sys/net, where this kernel has it."""
        path = Path("/proc/sys/net", setting)
        if path.exists():
            self.run(["tee", str(path)], input=value)

    def default_route(self, via: str) -> None:
        """Send what is for nobody near to `via`, an IPv4 or IPv6 address."""
        family = "-6" if ":" in via else "-4"
        self.run(["ip", family, "route", "add", "default", "via", via])


def _wait_for_neighbours(host: Namespace, device: str) -> None:
    """Until IPv6 neighbours can be found: the kernel adds the multicast route some time
    after a link has come up, and what is sent before that is lost."""
    show = ["ip", "-6", "route", "show", "table", "all", "dev", device]
    wait_until(
        lambda: "ff00::/8" in host.run(show).stdout,
        COMMAND_TIMEOUT_S,
        f"{device} to carry IPv6",
    )


class Network:
    """Named namespaces that may be joined; all of it ends on leaving the context.

    `user_namespace` says whether to make one; None makes one when there is no other
    way. With one, we are root inside it and nobody new outside.
    """

    def __init__(self, user_namespace: bool | None = None) -> None:
        if user_namespace is None:
            arguments = _unshare_arguments(own_user_namespace=False)
            user_namespace = not _may_unshare(arguments)
        self.user_namespace = user_namespace
        self._namespaces: dict[str, Namespace] = {}
        self._holders: list[subprocess.Popen[str]] = []
        self._started: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Namespace:
        return self._namespaces[name]

    def add(self, name: str, *, forward: bool = False) -> Namespace:
        """A new host with nothing but its loopback interface, which is up."""
        if not 0 < len(name.encode()) <= NAME_OCTETS_MAX or "/" in name:
            raise ValueError(f"not the name of an interface: {name!r}")
        if name in self._namespaces:
            raise ValueError(f"there is a host {name!r} already")
        namespace = Namespace(name, self._hold(), self)
        self._namespaces[name] = namespace
        namespace.run(["ip", "link", "set", "lo", "up"])
        # Duplicate address detection would keep even link-local addresses, and with
        # them neighbour discovery, from working for the first second or two.
        namespace.sysctl("ipv6/conf/all/accept_dad", "0")
        namespace.sysctl("ipv6/conf/default/accept_dad", "0")
        if forward:
            namespace.forward()
        return namespace

    def join(
        self,
        left: str,
        right: str,
        left_address: str,
        right_address: str,
        *,
        v6: tuple[str, str] | None = None,
        mtu: int = 1500,
        offloads: bool = True,
    ) -> None:
        """Lay a cable between two hosts; each end is named after the host it leads to.

        Addresses carry their prefix length, as in "10.0.1.1/24"; `v6` adds one IPv6
        address on each end, usable at once. Without `offloads` packets cross as they
        would on a real cable: no larger than the MTU and with finished checksums.
        """
        this, other = self[left], self[right]
        v6_left, v6_right = v6 or ("", "")
        # Made here with its far end over there, so no name can meet another's.
        far_end = f"peer name {left} mtu {mtu} netns {other.pid}"
        this.run(f"ip link add {right} mtu {mtu} type veth {far_end}".split())
        for host, device, v4_address, v6_address in (
            (this, right, left_address, v6_left),
            (other, left, right_address, v6_right),
        ):
            lines = [f"address add {v4_address} dev {device}"]
            if v6_address:
                lines.append(f"address add {v6_address} dev {device} nodad")
            lines.append(f"link set {device} up")
            host.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")
            if not offloads:
                features = "tx off tso off gso off gro off"
                host.run(f"ethtool -K {device} {features}".split())
        if v6 is not None:
            for host, device in ((this, right), (other, left)):
                _wait_for_neighbours(host, device)

    def popen(
        self, argv: Sequence[str], host: Namespace | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command on a host, or outside all of them; text, with an empty
        standard input, unless told. Leaving the context ends it, if nobody did before.

        It has a session of its own, so that Ctrl-C reaches only us, who end what we
        started in good order. It is killed with the *thread* that started it (prctl(2),
        PR_SET_PDEATHSIG), unless it changes its user: so our own kill -9 ends it, too.
        """
        if not {"text", "universal_newlines", "encoding"} & options.keys():
            options["text"] = True
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("start_new_session", True)
        tied = ["setpriv", "--pdeathsig", "KILL", "--", _program(argv[0]), *argv[1:]]
        process = subprocess.Popen(host.command(tied) if host else tied, **options)
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what was started here and still runs, then the namespaces themselves."""
        _stop(self._started)
        self._started.clear()
        for holder in self._holders:
            if holder.stdin is not None:
                holder.stdin.close()
        _stop(self._holders)
        self._holders.clear()
        self._namespaces.clear()

    def entry(self, pid: int) -> list[str]:
        """The start of a command that runs in the namespace that `pid` holds."""
        entry = ["nsenter", f"--target={pid}", "--net"]
        if self.user_namespace:
            # Root inside is who we are outside; setuid(0) would be refused or worse.
            entry += ["--user", "--preserve-credentials"]
        return [*entry, "--"]

    def _hold(self) -> subprocess.Popen[str]:
        is_first = not self._holders
        argv = _unshare_arguments(own_user_namespace=self.user_namespace and is_first)
        if self.user_namespace and not is_first:
            argv = [*self.entry(self._holders[0].pid), *argv]
        holder = subprocess.Popen(
            [*argv, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._holders.append(holder)
        if holder.stdin is None or holder.stdout is None or holder.stderr is None:
            raise AssertionError("asked for pipes, got none")
        # What comes back has been through cat, which runs in its namespace by then.
        with contextlib.suppress(BrokenPipeError):  # unshare failed, and says why
            holder.stdin.write("ready\n")
            holder.stdin.flush()
        if first_line(holder.stdout, HOLDER_TIMEOUT_S, "a namespace") != "ready":
            reason = holder.stderr.read().strip()
            raise PermissionError(errno.EPERM, f"cannot make a namespace: {reason}")
        return holder


def _unshare_arguments(*, own_user_namespace: bool) -> list[str]:
    if own_user_namespace:
        return ["unshare", "--user", "--map-root-user", "--net", "--"]
    return ["unshare", "--net", "--"]


def _may_unshare(arguments: list[str]) -> bool:
    # With ip, since some systems grant the namespace and then no power over it.
    try:
        argv = [*arguments, _program("ip"), "link", "set", "lo", "up"]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _program(name: str) -> str:
    # Said here: nsenter itself would start, and fail with nothing but status 127.
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "command not found", name)
    return path


def _stop(processes: Sequence[subprocess.Popen[Any]]) -> None:
    # The last started first: what depends on others tends to be started after them.
    for process in reversed(processes):
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for process in reversed(processes):
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                # A child that left without reading has broken the pipe already.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
