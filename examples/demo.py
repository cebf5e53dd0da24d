"""Shows the way of a packet, from an NFLOG rule on a gateway to the alert of an IDS.

Everything is real and private: four hosts in network namespaces of their own, HTTP and
DNS between two of them, and an IDS that knows of it only what comes out of the pipe.
Root is not needed where users may make namespaces. Commands are shown as they are run.

Usage: make demo, or python examples/demo.py --help. The exit status is 0 if, and only
if, the IDS saw every packet that the kernel counted, and found what was to be found.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# The testbed is part of the checkout, not of what is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from testbed import rules, traffic
from testbed.ids import Suricata, Tcpdump
from testbed.namespaces import SEARCH_PATH, Network, why_unavailable
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP = 5
PORT = 5140
SERVER_V4, SERVER_V6 = "10.0.2.2", "fd00:2::2"
IDS_ADDRESS = "10.0.3.2"

# The default is for a link with room to spare; here compression should show.
LOW_WATERMARK = "10KiB/s"
# Small enough that a page fits a socket's buffer: without root it cannot be enlarged.
PAGES, PAGE_BYTES = 8, 60_000

# Against two busy cores, on which Suricata takes some 3 s to start.
TIMEOUT_S = 20.0

BAD_PATH = "/etc/passwd"
BAD_NAME = "malware.example"
RULES = f"""\
alert http any any -> any any (msg:"{BAD_PATH} was asked for"; flow:to_server; \
http.uri; content:"{BAD_PATH}"; sid:1; rev:1;)
alert dns any any -> any any (msg:"{BAD_NAME} was looked up"; \
dns.query; content:"{BAD_NAME}"; nocase; sid:2; rev:1;)
"""
PACKETS_SHOWN = 8
LOG_LINES_SHOWN = 20

PICTURE = f"""
client ─────────── gateway ─────────── server
10.0.1.1              │               {SERVER_V4}
fd00:1::1             │               {SERVER_V6}
                      │
                     ids
                   {IDS_ADDRESS}
"""


class DemoError(Exception):
    """What did not go as it should have."""


class Program(NamedTuple):
    """One of the programs that run all the time, and what it says."""

    name: str
    process: subprocess.Popen[Any]
    log: Path

    def await_end(self) -> None:
        """Wait for its end, which must be a good one."""
        wait_until(lambda: self.process.poll() is not None, TIMEOUT_S, self.name)
        if self.process.returncode != 0:
            raise DemoError(f"{self.name} ended with status {self.process.returncode}")

    def totals(self) -> str:
        """Its last word."""
        lines = self.log.read_text().splitlines()
        return next((line for line in reversed(lines) if "totals:" in line), "")


class Demo:
    """One run: its network, its files and its programs."""

    def __init__(self, network: Network, directory: Path, tool: rules.Tool) -> None:
        self._network = network
        self._directory = directory
        self._tool = tool
        self._fifo = directory / "packets.fifo"
        self._gateway, self._ids = directory / "gateway", directory / "ids"
        self._allow = str(directory / "ids" / "allow")
        self._suricata: Suricata | None = None
        self._programs: list[Program] = []
        self._started = time.monotonic()

    def run(self, *, with_suricata: bool) -> None:
        """All of it; `DemoError` or `TimeoutError` when something is amiss."""
        self._make_network()
        step(f"Rules on the gateway log what it forwards to NFLOG group {GROUP}")
        for argv, text in rules.log_commands(GROUP, tool=self._tool):
            show("gateway", argv, text)
        rules.log_packets(self._network["gateway"], GROUP, tool=self._tool)

        step("Keys: each end knows the other, and nobody else reads or sends packets")
        self._make_keys()

        step("The IDS host: an IDS that reads a FIFO, and the receiver that fills it")
        show("ids", ["mkfifo", str(self._fifo)])
        os.mkfifo(self._fifo, 0o600)
        if with_suricata:
            self._suricata = Suricata(self._directory, RULES)
            show("ids", ["cat", str(self._suricata.rules)])
            show_text(RULES)
        ids = self._start_ids()
        try:
            self._feed(ids)
        finally:
            # Suricata heeds nothing else while it waits in open(2) for a writer.
            ids.process.kill()

    def _make_keys(self) -> None:
        """On each host its own. The hosts share a disk here, which saves the copying of
        the IDS host's public half."""
        for host, directory in (("gateway", self._gateway), ("ids", self._ids)):
            self._run(host, ["pcap-zmq", "keygen", "--name", host, str(directory)])
        self._run("ids", ["mkdir", "-m", "755", self._allow])
        self._run("ids", ["cp", str(self._gateway / "gateway.key"), self._allow])

    def _feed(self, ids: Program) -> None:
        ids_keys = ["--key", str(self._ids / "ids.key_secret"), "--allow", self._allow]
        way_out = [f"tcp://0.0.0.0:{PORT}", str(self._fifo)]
        receiver = self._start("ids", ["pcap-zmq-recv", "--once", *ids_keys, *way_out])

        step("The gateway: the sender reads the group and connects to the IDS host")
        own_key, ids_key = self._gateway / "gateway.key_secret", self._ids / "ids.key"
        options = ["--key", str(own_key), "--peer-key", str(ids_key)]
        options += ["--low-watermark", LOW_WATERMARK]
        way = [f"nflog:{GROUP}", f"tcp://{IDS_ADDRESS}:{PORT}"]
        sender = self._start("gateway", ["pcap-zmq-send", *options, *way])
        gateway = self._network["gateway"]
        self._await(lambda: rules.is_read(gateway, GROUP), "a reader of the group")

        self._make_traffic()
        self._await(lambda: rules.is_quiet(gateway, GROUP), "the sender to read")
        # Whoever is not there yet has missed nothing, but the end must wait for it.
        self._await(lambda: has_open(ids, self._fifo), "the IDS to open the FIFO")
        sender.process.send_signal(signal.SIGTERM)
        for program in (sender, receiver, ids):
            program.await_end()
        self._judge(sender, receiver, ids)

    def show_logs(self) -> None:
        """What the programs said, for who has to find out what went wrong."""
        for program in self._programs:
            lines = program.log.read_text().splitlines()
            say(f"\n--- {program.name} said:")
            say("\n".join(lines[-LOG_LINES_SHOWN:]))

    def _make_network(self) -> None:
        step("Four hosts, each in a network namespace of its own")
        show_text(PICTURE)
        network = self._network
        for name in ("client", "server", "ids"):
            network.add(name)
        network.add("gateway", forward=True)
        # Without offloads, so that packets are as large as on a real cable.
        network.join(
            "client", "gateway", "10.0.1.1/24", "10.0.1.2/24",
            v6=("fd00:1::1/64", "fd00:1::2/64"), offloads=False,
        )  # fmt: skip
        network.join(
            "gateway", "server", "10.0.2.1/24", f"{SERVER_V4}/24",
            v6=("fd00:2::1/64", f"{SERVER_V6}/64"), offloads=False,
        )  # fmt: skip
        network.join("gateway", "ids", "10.0.3.1/24", f"{IDS_ADDRESS}/24")
        for via in ("10.0.1.2", "fd00:1::2"):
            network["client"].default_route(via)
        for via in ("10.0.2.1", "fd00:2::1"):
            network["server"].default_route(via)

    def _make_traffic(self) -> None:
        step("Traffic: web pages and names, some of which nobody should ask for")
        client, server = self._network["client"], self._network["server"]
        traffic.serve_http(server)
        traffic.serve_dns(server)
        for address in (SERVER_V4, f"[{SERVER_V6}]"):
            page, bad_page = (
                f"http://{address}{path}" for path in (f"/bytes/{PAGE_BYTES}", BAD_PATH)
            )
            traffic.http_get(client, *[page] * PAGES, bad_page)
            show_text(f"client: GET {page}, {PAGES} times, and {bad_page}")
        for address, kind in ((SERVER_V4, "A"), (SERVER_V6, "AAAA")):
            names = ["www.example", BAD_NAME]
            answers = traffic.dns_query(client, address, *names, type=kind)
            for name, answer in zip(names, answers, strict=True):
                show_text(f"client: {name} {kind} asked of {address}: {answer}")

    def _start_ids(self) -> Program:
        argv = (self._suricata or Tcpdump()).command(self._fifo)
        show("ids", argv)
        log = self._directory / "ids.log"
        with log.open("w") as output:
            process = self._network.popen(argv, stdout=output, stderr=subprocess.STDOUT)
        return self._remember(Program(argv[0], process, log))

    def _run(self, host: str, argv: list[str]) -> None:
        """To its end."""
        show(host, argv)
        self._network[host].run([find(argv[0]), *argv[1:]])

    def _start(self, host: str, argv: list[str]) -> Program:
        show(host, argv)
        path = find(argv[0])
        log = self._directory / f"{argv[0]}.log"
        with log.open("w") as output:
            process = self._network[host].popen(
                [path, *argv[1:]], stdout=output, stderr=subprocess.STDOUT
            )
        return self._remember(Program(argv[0], process, log))

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what the programs bring about, as long as all of them live."""

        def has_come() -> bool:
            for program in self._programs:
                if program.process.poll() is not None:
                    raise DemoError(f"{program.name} ended too early")
            return condition()

        wait_until(has_come, TIMEOUT_S, what)

    def _remember(self, program: Program) -> Program:
        self._programs.append(program)
        return program

    def _judge(self, sender: Program, receiver: Program, ids: Program) -> None:
        step("What became of it")
        logged = rules.packets_logged(self._network["gateway"], GROUP, tool=self._tool)
        if self._suricata:
            seen = self._suricata.packets_seen()
            alerts = self._suricata.alerts()
            found = [f"{a.source} -> {a.destination}: {a.text}" for a in alerts]
            alerted = {(a.rule, ":" in a.source) for a in alerts}
            is_found = alerted >= {
                (rule, v6) for rule in (1, 2) for v6 in (False, True)
            }
        else:
            packets = Tcpdump().packets(ids.log.read_text())
            seen = len(packets)
            found = packets[-PACKETS_SHOWN:]
            text = "\n".join(packets)
            is_found = all(mark in text for mark in (BAD_PATH, BAD_NAME, "IP6"))
        for who, what in (
            ("the kernel", f"{logged} packets logged by the rules"),
            (sender.name, sender.totals()),
            (receiver.name, receiver.totals()),
            (ids.name, f"{seen} packets read from the FIFO, and this found:"),
        ):
            line = f"{who:15}{what}"
            show_text(textwrap.fill(line, width=84, subsequent_indent=" " * 15))
        show_text("\n".join(f"{'':15}{line}" for line in found))
        if not 0 < logged == seen:
            raise DemoError(f"the IDS saw {seen} packets of {logged}")
        if not is_found:
            raise DemoError(f"{ids.name} did not find all that was to be found")
        took_s = time.monotonic() - self._started
        say(f"\nAll {seen} packets arrived, in {took_s:.0f} s. Nothing is left behind.")


def find(command: str) -> str:
    """Where a command is, ours included."""
    beside_us = str(Path(sys.executable).parent)
    path = shutil.which(command, path=os.pathsep.join([beside_us, SEARCH_PATH]))
    if path is None:
        raise DemoError(f"{command} is not installed; try: make demo")
    return path


def has_open(program: Program, path: Path) -> bool:
    """Whether a program has a file open that is, or was, at `path`."""
    # The receiver gives each reader a FIFO of its own, and its place to the next.
    names = str(path), f"{path} (deleted)"
    try:
        links = list(Path(f"/proc/{program.process.pid}/fd").iterdir())
        return any(str(link.readlink()) in names for link in links)
    except FileNotFoundError:  # closed, or ended, while we looked
        return False


def say(text: str) -> None:
    print(text, flush=True)


def step(title: str) -> None:
    say(f"\n* {title}\n")


def show_text(text: str) -> None:
    say(textwrap.indent(text.strip("\n"), "    "))


def show(host: str, argv: Sequence[str], text: str = "") -> None:
    """Show a command as it would be typed on `host`."""
    show_text(f"{host}# {shlex.join(argv)}" + (f" <<END\n{text}END" if text else ""))


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rules", choices=("nft", "iptables"), default="nft")
    parser.add_argument("--ids", choices=("suricata", "tcpdump"))
    options = parser.parse_args()
    reason = why_unavailable()
    if reason:
        print(f"demo: {reason}", file=sys.stderr)
        return 3
    with_suricata = options.ids != "tcpdump" and Suricata.is_installed()
    if options.ids == "suricata" and not with_suricata:
        print("demo: suricata is not installed", file=sys.stderr)
        return 3
    # As Ctrl-C does: end what was started on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pcap-zmq-demo-") as directory,
            Network() as network,
        ):
            demo = Demo(network, Path(directory), options.rules)
            try:
                demo.run(with_suricata=with_suricata)
            except (DemoError, TimeoutError, subprocess.CalledProcessError) as error:
                demo.show_logs()
                print(f"\ndemo: failed: {error}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
