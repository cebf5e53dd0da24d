"""The whole pipe as processes: senders on gateways, a receiver, and a reader of it."""

import re
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcap_ffi import RecordsError, count_records
from pcap_zmq.formats.savefile import (
    FILE_HEADER_LENGTH,
    encode_file_header,
    iter_packets,
)
from pcap_zmq.packet import Packet
from testbed import rules
from testbed.namespaces import Namespace, Network
from testbed.waiting import wait_until

BIN = Path(sys.executable).parent
PORT = 5140
GROUP = 5
TIMEOUT_S = 30.0

LINKTYPE_RAW = 101
LINKTYPE_NFLOG = 239
NFULA_PAYLOAD = 9  # linux/netfilter/nfnetlink_log.h, as in tests/nflog_ffi/datagrams.py


@dataclass(frozen=True)
class Program:
    """One that runs, and what it says on standard error."""

    process: subprocess.Popen[Any]
    log: Path

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Asks it to end and waits until it has, in good order."""
        self.process.send_signal(signal_number)
        self.await_end()

    def await_end(self) -> None:
        wait_until(
            lambda: self.process.poll() is not None, TIMEOUT_S, "a program's end"
        )
        assert self.process.returncode == 0, self.log.read_text()[-3_000:]

    def heeds(self, signal_number: int) -> bool:
        """Whether it has taken a signal to be told by."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (caught,) = re.findall(r"^SigCgt:\t(\w+)$", status, re.MULTILINE)
        return bool(int(caught, 16) >> (signal_number - 1) & 1)

    def totals(self) -> dict[str, int]:
        """Its last line, by word: logged, acknowledged, written, and so on."""
        *_, line = re.findall(r"^totals: (.*)$", self.log.read_text(), re.MULTILINE)
        # The receiver's line ends with what the ledger lacks.
        assert "unaccounted" not in line or line.endswith(", unaccounted 0"), line
        found = {word: int(n) for word, n in re.findall(r"([a-z_]+) (\d+)\b", line)}
        compressed = re.search(r"in (\d+) batches \((\d+) compressed", line)
        if compressed:
            found["batches"], found["compressed"] = map(int, compressed.groups())
        return found


class Pipe:
    """Senders on any hosts, a receiver with a FIFO on another, `cat` behind it."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network = network
        self._directory = directory
        self.fifo = directory / "fifo"
        self.output = directory / "output"

    def receive(self, host: Namespace, *options: str) -> Program:
        argv = [str(BIN / "pcap-zmq-recv"), "--once", "--insecure", *options]
        return self._start(host, [*argv, f"tcp://0.0.0.0:{PORT}", str(self.fifo)])

    def send(
        self,
        host: Namespace,
        receiver: str,
        *options: str,
        within: Sequence[str] = (),
    ) -> Program:
        """A sender that has opened its group and is on its way. within: a command that
        becomes ours, as setpriv does."""
        argv = [*within, str(BIN / "pcap-zmq-send"), "--insecure", *options]
        program = self._start(
            host, [*argv, f"nflog:{GROUP}", f"tcp://{receiver}:{PORT}"]
        )

        def is_open() -> bool:
            assert program.process.poll() is None, program.log.read_text()
            return rules.is_read(host, GROUP) and program.heeds(signal.SIGTERM)

        wait_until(is_open, TIMEOUT_S, "the sender to open its group")
        return program

    def read(self) -> subprocess.Popen[Any]:
        """A reader of the FIFO, which ends when the FIFO does."""
        wait_until(self.fifo.is_fifo, TIMEOUT_S, "the receiver's FIFO")
        with self.output.open("wb") as output:
            return self._network.popen(["cat", str(self.fifo)], stdout=output)

    def packets(self) -> list[Packet]:
        """All that came out of the FIFO, which has to be one whole savefile."""
        return packets_of(self.output, encode_file_header(LINKTYPE_RAW))

    def _start(self, host: Namespace, argv: Sequence[str]) -> Program:
        log = self._directory / f"{Path(argv[0]).name}-{host.name}.log"
        with log.open("w") as output:
            process = host.popen(argv, stdout=output, stderr=subprocess.STDOUT)
        return Program(process, log)


def packets_of(path: Path, header: bytes) -> list[Packet]:
    """The packets of a savefile in our own byte order and precision."""
    octets = path.read_bytes()
    assert octets[:FILE_HEADER_LENGTH] == header
    records = octets[FILE_HEADER_LENGTH:]
    count_records(records)
    return list(iter_packets(records))


def has_packets(path: Path, count: int) -> bool:
    """Whether so many are in a savefile that is still being written."""
    octets = path.read_bytes()
    try:
        return count_records(octets[FILE_HEADER_LENGTH:]) >= count
    except RecordsError:
        return False


def packets_of_tcpdump(path: Path) -> list[bytes]:
    """The packets that tcpdump got from NFLOG: LINKTYPE_NFLOG, attributes and all."""
    octets = path.read_bytes()
    (linktype,) = struct.unpack_from("<I", octets, 20)
    assert linktype == LINKTYPE_NFLOG
    return [
        attributes(packet.data)[NFULA_PAYLOAD]
        for packet in iter_packets(octets[FILE_HEADER_LENGTH:])
    ]


def attributes(octets: bytes) -> dict[int, bytes]:
    """Of one packet of LINKTYPE_NFLOG, after its header of four octets."""
    found, at = dict[int, bytes](), 4
    while at < len(octets):
        length, kind = struct.unpack_from("=HH", octets, at)
        found[kind] = octets[at + 4 : at + length]
        at += (length + 3) & ~3
    return found
