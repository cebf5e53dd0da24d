"""Gateways, an IDS host and our programs on them, to do harm to."""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import numbered, rules
from testbed.namespaces import Namespace, Network
from testbed.numbered import Flow
from testbed.waiting import wait_until
from tests.faults.clock import WallClock
from tests.faults.ids import PATIENCE_S, Ids
from tests.faults.keys import Keys, Security, Without
from tests.netns.pipe import BIN, GROUP, PORT
from tests.pipes.tools import Totals
from tests.support import ledger

IDS_HOST = "ids"


@dataclass(frozen=True, slots=True)
class Program:
    """One of ours, running; its stderr goes to a file."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """Its stderr so far."""
        return self.log.read_text(errors="replace")

    def wait_to_say(
        self, text: str, times: int = 1, timeout_s: float = PATIENCE_S
    ) -> None:
        """Until stderr has it so many times."""

        def has_said() -> bool:
            said = self.said()
            assert self.process.poll() is None, f"it has ended: {said[-3000:]}"
            return said.count(text) >= times

        wait_until(has_said, timeout_s, f"{text!r}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        WallClock.clean_up_after(self.pid)

    def pause(self) -> None:
        """It stands still until `resume`."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> Totals:
        """Ends it as an operator would; returns what it says last."""
        self.process.send_signal(signal.SIGTERM)
        return self.await_end()

    def await_end(self) -> Totals:
        """Its end in good order, by itself."""
        wait_until(lambda: self.process.poll() is not None, PATIENCE_S, "its end")
        said = self.said()
        assert self.process.returncode == 0, said[-3000:]
        assert "Traceback" not in said
        (totals,) = re.findall("^totals: .*$", said, re.MULTILINE)
        return Totals(totals)

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208

    def resident_bytes(self) -> int:
        """Memory that it occupies now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kib) * 1024

    def heeds(self, signal_number: int) -> bool:
        """Whether it has taken a signal to be told by."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (caught,) = re.findall(r"^SigCgt:\t(\w+)$", status, re.MULTILINE)
        return bool(int(caught, 16) >> (signal_number - 1) & 1)


class World:
    """An IDS host with one cable to each gateway; ends what was started in it.

    Gateway number n is 10.0.n.1 and knows the IDS host as 10.0.n.2. What a flow sends
    on a gateway is logged there, and nothing else.
    """

    def __init__(
        self,
        network: Network,
        directory: Path,
        gateways: Sequence[str],
        *,
        has_keys: bool = False,
    ) -> None:
        self.network = network
        self._security: Security = Keys(directory, gateways) if has_keys else Without()
        self.directory = directory
        self.gateways = tuple(gateways)
        self.fifo = directory / "fifo"
        self.programs: list[Program] = []
        self._flows: list[Flow] = []
        os.mkfifo(self.fifo, 0o600)
        self.ids_host = network.add(IDS_HOST)
        for number, name in enumerate(self.gateways):
            network.add(name)
            network.join(name, IDS_HOST, f"10.0.{number}.1/24", f"10.0.{number}.2/24")
            log_flows(network[name])

    def read(self) -> Ids:
        """An IDS, to be entered."""
        return Ids(self.fifo)

    def receive(
        self,
        *options: str,
        output: str | None = None,
        port: int = PORT,
        within: Sequence[str] = (),
    ) -> Program:
        """A receiver that listens on every address of the IDS host."""
        argv = [*within, str(BIN / "pcap-zmq-recv"), *self._security.of_receiver()]
        argv += options
        argv += [f"tcp://0.0.0.0:{port}", output or str(self.fifo)]
        program = self.start(self.ids_host, argv)
        program.wait_to_say("listening on")
        return program

    def send(
        self,
        gateway: str,
        *options: str,
        endpoint: str | None = None,
        within: Sequence[str] = (),
    ) -> Program:
        """A sender that has opened its group. within: a command that becomes ours."""
        host = self.network[gateway]
        argv = [*within, str(BIN / "pcap-zmq-send"), *self._security.of_sender(gateway)]
        argv += ["--name", gateway, "--low-watermark", "0", *options, f"nflog:{GROUP}"]
        argv.append(endpoint or self.address(gateway))
        program = self.start(host, argv)

        def is_open() -> bool:
            assert program.process.poll() is None, program.said()
            return rules.is_read(host, GROUP) and program.heeds(signal.SIGTERM)

        wait_until(is_open, PATIENCE_S, "the sender to open its group")
        return program

    def flow(self, gateway: str, rate: int, octets: int = 200) -> Flow:
        """Packets on a gateway, with a mark of their own."""
        mark = len(self._flows) + 1
        flow = Flow(self.network[gateway], self.directory, mark, rate, octets)
        self._flows.append(flow)
        return flow

    def address(self, gateway: str, port: int = PORT) -> str:
        """Where the gateway finds the receiver."""
        return f"tcp://10.0.{self.gateways.index(gateway)}.2:{port}"

    @property
    def asking(self) -> list[str]:
        """The start of a command that asks the receiver, on its own host."""
        return [str(BIN / "pcap-zmq"), "status", *self._security.of_status()]

    def ledger(self) -> dict[str, Any]:
        """The receiver's, which has to balance."""
        argv = [*self.asking, "--json", f"tcp://127.0.0.1:{PORT}"]
        return ledger.judge(self.ids_host.run(argv, check=False))

    def start(self, host: Namespace, argv: Sequence[str]) -> Program:
        """Any program, with a log of its own."""
        log = self.directory / f"{len(self.programs)}-{Path(argv[0]).name}.log"
        with log.open("wb") as stderr:
            process = host.popen(
                argv,
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                text=False,
            )
        self.programs.append(Program(process, log))
        return self.programs[-1]

    def settle(self, gateway: str) -> None:
        """Until the sender has read all that was logged."""
        host = self.network[gateway]
        wait_until(lambda: rules.is_quiet(host, GROUP), PATIENCE_S, "it to be read")


def log_flows(host: Namespace) -> None:
    """Logs on a host what flows there, and only that."""
    rule = f"udp dport {numbered.PORT} counter log group {GROUP} queue-threshold 64"
    chain = f"type filter hook output priority 0\n{rule}\n"
    table = f"table inet ours {{\nchain out {{\n{chain}}}\n}}\n"
    host.run(["nft", "-f", "-"], input=table)
