"""The tool that makes keys: one pair of certificate files."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq.formats.certificate import Role
from pcap_zmq.keys import make_pair


@dataclass(frozen=True, slots=True)
class KeygenConfig:
    """What `pcap-zmq keygen` is asked to do. role: "sender" or "operator"."""

    directory: Path
    name: str = field(default_factory=socket.gethostname)
    role: str = Role.SENDER.value


def make_keys(config: KeygenConfig) -> tuple[Path, Path]:
    """The public file and the secret one. Raises ConfigError; nothing is ever
    overwritten."""
    return make_pair(config.directory, config.name, Role(config.role))
