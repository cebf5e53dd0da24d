"""Makes a receiver, and a gateway's NFLOG groups over ssh, interfaces of Wireshark.

Theory of operation. Wireshark runs a program with --extcap-interfaces, --extcap-dlts
and --extcap-config to learn what there is, and with --capture to have packets written
to a FIFO of its own; a signal ends that, or its reader's leaving. The FIFO is standard
output, of a receiver in this process or of ssh, which this process becomes.

Specification: extcap(4), doc/extcap_example.py of Wireshark.
"""

import os
import select
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.stages.select import Select
from pcap_zmq.tools.credentials import ServerKeys
from pcap_zmq.tools.extcap_answers import AS_SENT, GATEWAY
from pcap_zmq.tools.output_spec import Kind, OutputSpec
from pcap_zmq.tools.receive_config import ReceiveConfig

STDIN, STDOUT = 0, 1


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """What the interface of a receiver is asked for: connects to a sender that listens,
    or listens itself."""

    endpoint: str
    listens: bool = False
    linktype: str = AS_SENT
    key: Path | None = None
    allow: Path | None = None
    insecure: bool = False

    def config(self) -> ReceiveConfig:
        """For the receiver that this is. Raises ConfigError where something is
        missing."""
        if not self.endpoint:
            raise ConfigError(
                "no endpoint: set it in the options of the interface, as "
                "tcp://HOST:5140, or by --endpoint"
            )
        linktype = linktypes.NAMES.get(self.linktype)
        return ReceiveConfig(
            self.endpoint,
            (OutputSpec(Kind.STDOUT, "", linktype=linktype),),
            connect=not self.listens,
            keys=ServerKeys(self.key, self.allow, self.insecure),
            linger_ns=0,
            report_ns=0,
        )


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the interface of a gateway is asked for. ssh: the command that takes its
    place; remote: how pcap-zmq is called there."""

    host: str
    groups: str = "5"
    linktype: str = "nflog"
    filter: str = ""
    snaplen: int = options.SNAPLEN.default
    port: int = 22
    user: str = ""
    identity: Path | None = None
    ssh: str = "ssh"
    remote: str = "pcap-zmq"
    sudo: bool = False

    def command(self) -> list[str]:
        """What writes the packets here. Raises ConfigError where something is missing,
        or would be taken for something else."""
        if not self.host:
            raise ConfigError(
                "no gateway: set the host in the options of the interface, or by "
                "--remote-host"
            )
        for name, value in (("host", self.host), ("user", self.user)):
            if value.startswith("-"):
                raise ConfigError(f"{value!r} is no {name}")
        Select(self.filter, linktypes.NAMES[self.linktype])
        # There is no terminal to ask for a password on.
        ssh = [*_words("--ssh-command", self.ssh), "-o", "BatchMode=yes"]
        ssh += ["-p", str(self.port)]
        if self.identity is not None:
            ssh += ["-i", str(self.identity)]
        target = f"{self.user}@{self.host}" if self.user else self.host
        dump = ["sudo", "-n"] if self.sudo else []
        dump += [*_words("--remote-command", self.remote), "extcap"]
        dump += ["--dump", self.groups, "--linktype", self.linktype]
        dump += ["--snaplen", str(self.snaplen)]
        if self.filter:
            dump += ["--extcap-capture-filter", self.filter]
        return [*ssh, "--", target, shlex.join(dump)]


def judge_filter(interface: str, expression: str, linktype: str) -> str:
    """What is wrong with a capture filter; empty where nothing is."""
    if not expression:
        return ""
    if interface != GATEWAY:
        return "a receiver has no capture filter"
    try:
        Select(expression, linktypes.NAMES[linktype])
    except ConfigError as error:
        return str(error)
    return ""


def write_to(fifo: str) -> None:
    """Makes Wireshark's FIFO, which it reads or is about to, standard output. Raises
    OutputError."""
    try:
        out = os.open(fifo, os.O_WRONLY)
    except OSError as error:
        kind = (
            OutputPermissionError if isinstance(error, PermissionError) else OutputError
        )
        raise kind(f"{fifo} cannot be written: {error.strerror}") from error
    os.dup2(out, STDOUT)
    os.close(out)


def has_reader() -> bool:
    """Whether standard output, a FIFO or a pipe, is still read."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    return not any(events & select.POLLERR for _, events in poll.poll(0))


def become(command: list[str]) -> None:
    """Becomes a program that writes packets; returns only by ConfigError."""
    _never_end(STDIN)
    try:
        os.execvp(command[0], command)  # noqa: S606  # what the operator configured
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}") from error


def _never_end(fd: int) -> None:
    """Standard input that never comes to an end but with the process that has it: that
    is how the other end knows that we have gone."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "stdin")  # noqa: PTH118
        os.mkfifo(path, 0o600)
        held = os.open(path, os.O_RDWR)
    os.dup2(held, fd)
    os.close(held)


def _words(option: str, text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from error
    if not words:
        raise ConfigError(f"{option} is empty")
    return words
