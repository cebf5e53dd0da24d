"""What Wireshark is told of our interfaces, and how it gets to ask.

Light, since Wireshark runs every such program several times when it starts.

Specification: extcap(4), doc/extcap_example.py of Wireshark.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcap_zmq import __version__, options
from pcap_zmq.errors import OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes

RECEIVER = "pcap-zmq"
GATEWAY = "pcap-zmq-ssh"

INTERFACES = {
    RECEIVER: "pcap-zmq: packets that senders send",
    GATEWAY: "pcap-zmq: NFLOG groups of a gateway, by ssh",
}

LINKTYPES = {
    "nflog": "with what the kernel says of them (nflog)",
    "raw": "IP packets (raw)",
    "ethernet": "behind Ethernet headers (ethernet)",
}
"""By the names of --linktype; how Wireshark's dialogue calls them."""

AS_SENT = "as-sent"
_TURNED = {name: shown for name, shown in LINKTYPES.items() if name != "nflog"}
"""What a receiver can make of packets."""

LAUNCHER = """\
#!/bin/sh
# Runs pcap-zmq for Wireshark; made by pcap-zmq extcap --install.
exec {command} extcap "$@"
"""


def interfaces() -> Iterator[str]:
    """What --extcap-interfaces answers."""
    yield f"extcap {{version={__version__}}}{{display=pcap-zmq}}"
    for name, shown in INTERFACES.items():
        yield f"interface {{value={name}}}{{display={shown}}}"


def dlts() -> Iterator[str]:
    """What --extcap-dlts answers, for either interface."""
    for name, shown in LINKTYPES.items():
        number = linktypes.NAMES[name]
        yield f"dlt {{number={number}}}{{name={name.upper()}}}{{display={shown}}}"


def arguments(interface: str) -> Iterator[str]:
    """What --extcap-config answers."""
    yield from _RECEIVER_ARGUMENTS if interface == RECEIVER else _GATEWAY_ARGUMENTS


def install(directories: Sequence[Path]) -> list[Path]:
    """Writes a launcher into each, and returns their paths. Raises OutputError."""
    command = shlex.join([sys.executable, "-m", "pcap_zmq"])
    made = []
    for directory in directories:
        path = directory / "pcap-zmq"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(LAUNCHER.format(command=command))
            path.chmod(0o755)
        except OSError as error:
            is_refusal = isinstance(error, PermissionError)
            kind = OutputPermissionError if is_refusal else OutputError
            raise kind(f"{path} cannot be written: {error.strerror}") from error
        made.append(path)
    return made


def personal_directories() -> tuple[Path, ...]:
    """Where Wireshark looks for a user's own: before 4.2, and from then on."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return config / "wireshark" / "extcap", home / ".local/lib/wireshark/extcap"


def _argument(number: int, **parts: str) -> str:
    said = {"number": str(number), **parts}
    return "arg " + "".join(f"{{{name}={value}}}" for name, value in said.items())


def _values(number: int, choices: dict[str, str], default: str) -> Iterator[str]:
    for value, shown in choices.items():
        is_default = "true" if value == default else "false"
        yield (
            f"value {{arg={number}}}{{value={value}}}{{display={shown}}}"
            f"{{default={is_default}}}"
        )


_RECEIVER_ARGUMENTS = (
    _argument(
        0, call="--endpoint", display="Endpoint", type="string", required="true",
        placeholder="tcp://GATEWAY:5140", tooltip="Of the sender or of this receiver",
    ),
    _argument(
        1, call="--mode", display="Who listens", type="selector",
        tooltip="A sender listens with --bind",
    ),
    *_values(
        1, {"connect": "the sender (--bind)", "listen": "this receiver"}, "connect"
    ),
    _argument(2, call="--linktype", display="Packets", type="selector"),
    *_values(2, {AS_SENT: "as they are sent", **_TURNED}, AS_SENT),
    _argument(
        3, call="--key", display="Secret certificate", type="fileselect",
        mustexist="true", group="Keys", tooltip="Our own: see pcap-zmq keygen",
    ),
    _argument(
        4, call="--allow", display="Allowed senders", type="string", group="Keys",
        tooltip="A directory with the public certificates of senders",
    ),
    _argument(
        5, call="--insecure", display="Without keys", type="boolflag", default="false",
        group="Keys", tooltip="Although others may be on the way",
    ),
)  # fmt: skip

_GATEWAY_ARGUMENTS = (
    _argument(
        0, call="--remote-host", display="Gateway", type="string", required="true",
        tooltip="Its name or address, or what ssh calls it",
    ),
    _argument(
        1, call="--groups", display="NFLOG groups", type="string", default="5",
        tooltip="Separated by commas",
    ),
    _argument(2, call="--linktype", display="Packets", type="selector"),
    *_values(2, LINKTYPES, "nflog"),
    _argument(
        3, call="--snaplen", display="Octets kept of each packet", type="unsigned",
        range=f"{options.SNAPLEN.minimum},{options.SNAPLEN.maximum}",
        default=str(options.SNAPLEN.default),
    ),
    _argument(
        4, call="--remote-port", display="Port", type="unsigned", range="1,65535",
        default="22", group="ssh",
    ),
    _argument(
        5, call="--remote-user", display="User", type="string", group="ssh",
    ),
    _argument(
        6, call="--ssh-key", display="Secret key", type="fileselect", mustexist="true",
        group="ssh", tooltip="There is nobody to ask for a password",
    ),
    _argument(
        7, call="--ssh-command", display="Command in place of ssh", type="string",
        default="ssh", group="ssh", tooltip="With options: ssh -J bastion",
    ),
    _argument(
        8, call="--remote-command", display="pcap-zmq there", type="string",
        default="pcap-zmq", group="ssh",
    ),
    _argument(
        9, call="--sudo", display="By sudo", type="boolflag", default="false",
        group="ssh", tooltip="NFLOG groups take CAP_NET_ADMIN",
    ),
)  # fmt: skip
