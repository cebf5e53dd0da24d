"""The pipes that ours is compared with: what people chain, and what was before.

netsniff-ng is not among them: it reads network devices through packet sockets and
cannot bind a group of NFLOG; of netlink it sees only what somebody else asked for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.pipes import (
    GROUP,
    PORT,
    READY_TIMEOUT_S,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    end_processes,
    has_socket,
    number,
    start_process,
)
from testbed.rules import is_read
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from testbed.namespaces import Namespace

# For who tunes the other pipe: more was within the spread of this.
SOCAT_BLOCK_BYTES = 262_144
# Between tcpdump and socat; the default of 64 KiB was within the spread of this, too.
PIPE_BYTES = 1 << 20

CHECKOUT = Path(__file__).resolve().parents[1]

# netlink_qthreshold: see QTHRESHOLD in ancestor.py; the kernel's own is 100.
_ULOGD_SETTINGS = """\
[global]
logfile="{log}"
loglevel=5
stack=log1:NFLOG,base1:BASE,pcap1:PCAP
{plugins}
[log1]
group={group}
bufsize=1048576
netlink_socket_buffer_size=33554432
netlink_socket_buffer_maxsize=67108864
netlink_qthreshold=1024
netlink_qtimeout=10
[pcap1]
file="{fifo}"
sync=0
"""


class TcpdumpSocat:
    """tcpdump | socat to socat, which is what people chain together for this.

    block_bytes: socat's -b; None: as it comes, 8 KiB.
    unbuffered: every packet at once, for who wants it soon rather than cheap.
    is_root: whether we are root outside of the network too. Where not, dumpcap takes
    tcpdump's place, over the same libpcap: tcpdump insists on changing its user, which
    a user namespace does not let it.
    """

    def __init__(
        self,
        *,
        block_bytes: int | None = None,
        unbuffered: bool = False,
        is_root: bool = True,
    ) -> None:
        self.name = "tcpdump | socat" if is_root else "dumpcap | socat"
        self._block = [] if block_bytes is None else ["-b", block_bytes]
        if block_bytes is not None:
            self.name += f" -b {block_bytes}"
        # -B: in KiB for the one, MiB for the other. -Z root: stay who we are.
        self._capture = (
            "tcpdump -Z root -s 0 -B 32768" if is_root else "dumpcap -qP -B 32"
        )
        if unbuffered and is_root:
            self._capture += " -U"
        self._log: Path | None = None
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        socat = ["socat", "-u", *self._block]
        listen = f"TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr"
        log = directory / "socat-recv.log"
        self.receivers = [start_process(host, [*socat, listen, f"GOPEN:{fifo}"], log)]
        wait_until(
            lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, "socat to listen"
        )
        dump = f"{self._capture} -i nflog:{GROUP} -w -".split()
        self._log = directory / "capture.log"
        capture = start_process(
            host, dump, self._log, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        argv = [*socat, "STDIN", f"TCP:127.0.0.1:{PORT}"]
        log = directory / "socat-send.log"
        relay = start_process(host, argv, log, stdin=capture.stdout)
        if capture.stdout is None:
            raise AssertionError("asked for a pipe, got none")
        # Or socat's end would never be the last one.
        capture.stdout.close()
        self.senders = [capture, relay]
        wait_until(
            lambda: is_read(host, GROUP) and has_socket(host, TCP_ESTABLISHED),
            READY_TIMEOUT_S,
            self.name,
        )

    def end(self) -> None:
        end_processes([*self.senders, *self.receivers])

    def counters(self) -> dict[str, int]:
        said = self._log.read_text() if self._log else ""
        return {
            "captured": number(r"(\d+) packets? captured", said)
            or number(r"Packets captured: (\d+)", said),
            # libpcap counts overruns here, not packets.
            "overruns": number(r"(\d+) packets? dropped by", said),
        }


class Ulogd:
    """ulogd2 into the FIFO itself: its capture alone, which nobody carries anywhere.

    Its settings are what its own messages ask for under load: a large socket buffer and
    no write of its own for each packet (sync=0).
    """

    name = "ulogd2"

    def __init__(self) -> None:
        self._log: Path | None = None
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        self._log = directory / "ulogd.log"
        settings = directory / "ulogd.conf"
        plugins = "".join(f'plugin="{plugin}"\n' for plugin in _ulogd_plugins())
        settings.write_text(
            _ULOGD_SETTINGS.format(
                log=self._log, plugins=plugins, group=GROUP, fifo=fifo
            )
        )
        argv = ["ulogd", "-c", settings]
        self.senders = [start_process(host, argv, directory / "ulogd.err")]
        wait_until(lambda: is_read(host, GROUP), READY_TIMEOUT_S, self.name)

    def end(self) -> None:
        end_processes(self.senders)

    def counters(self) -> dict[str, int]:
        said = self._log.read_text() if self._log else ""
        return {"complaints of lost events": said.count("Maximum buffer size")}


class Ancestor:
    """One callback in Python and one ZeroMQ message for each packet."""

    name = "the ancestor's method"

    def __init__(self) -> None:
        self._log: Path | None = None
        self.senders: list[subprocess.Popen[Any]] = []
        self.receivers: list[subprocess.Popen[Any]] = []

    def start(self, host: Namespace, directory: Path, fifo: Path) -> None:
        program = [sys.executable, "-m", "bench.ancestor"]
        endpoint = f"tcp://127.0.0.1:{PORT}"
        argv = [*program, "receive", endpoint, str(fifo)]
        log = directory / "ancestor-receive.log"
        self.receivers = [start_process(host, argv, log, cwd=CHECKOUT)]
        wait_until(lambda: has_socket(host, TCP_LISTEN), READY_TIMEOUT_S, self.name)
        self._log = directory / "ancestor-send.log"
        argv = [*program, "send", str(GROUP), endpoint]
        self.senders = [start_process(host, argv, self._log, cwd=CHECKOUT)]
        wait_until(
            lambda: is_read(host, GROUP) and has_socket(host, TCP_ESTABLISHED),
            READY_TIMEOUT_S,
            self.name,
        )

    def end(self) -> None:
        end_processes([*self.senders, *self.receivers])

    def counters(self) -> dict[str, int]:
        said = self._log.read_text() if self._log else ""
        return {
            "pushed": number(r"sent (\d+)", said),
            "refused by ZeroMQ": number(r"refused (\d+)", said),
            "overruns": number(r"overruns (\d+)", said),
        }


def _ulogd_plugins() -> list[Path]:
    # Debian has them below the directory of the machine's architecture.
    plugins = [
        next(iter(Path("/usr/lib").glob(f"*/ulogd/{name}.so")), None)
        for name in ("ulogd_inppkt_NFLOG", "ulogd_raw2packet_BASE", "ulogd_output_PCAP")
    ]
    found = [plugin for plugin in plugins if plugin is not None]
    if len(found) < len(plugins):
        raise RuntimeError("plugins of ulogd are missing: install ulogd2, ulogd2-pcap")
    return found
