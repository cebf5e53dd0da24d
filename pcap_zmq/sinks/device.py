"""Opens a network interface for sending, and says why where that cannot be.

Specification: packet(7), proc(5).
"""

import errno
from pathlib import Path

from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from replay_ffi import InterfaceSender, Schedule, Takes

DEVICES = Path("/proc/self/net/dev")
"""What the kernel counts of each interface."""

_DROPPED_COLUMN = 11
"""Of the numbers there: packets that were to be sent, and dropped."""


def open_device(name: str, schedule: Schedule, busy_wait_ns: int) -> InterfaceSender:
    """Raises ConfigError, OutputError and OutputPermissionError."""
    try:
        sender = InterfaceSender(name, schedule, busy_wait_ns=busy_wait_ns)
    except PermissionError as error:
        raise OutputPermissionError(
            f"interface {name} may not be written to: {error.strerror}; run as root, "
            "or with CAP_NET_RAW"
        ) from error
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise ConfigError(
                f"there is no interface {name!r}; `ip link` lists those that there are"
            ) from error
        raise OutputError(
            f"interface {name} cannot be opened: {error.strerror}"
        ) from error
    why = None
    if sender.takes is Takes.NOTHING:
        why = (
            f"interface {name} takes neither Ethernet frames nor bare IP packets (its "
            f"type is {sender.type}); use an Ethernet, veth, dummy or tun interface"
        )
    elif not sender.is_up:
        why = f"interface {name} is down; bring it up: ip link set {name} up"
    if why is not None:
        sender.close()
        raise OutputError(why)
    return sender


def dropped_by(name: str) -> int | None:
    """Packets that this interface was to send and dropped, since it is there; None:
    nobody tells."""
    try:
        lines = DEVICES.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        device, _, numbers = line.partition(":")
        if device.strip() == name:
            return int(numbers.split()[_DROPPED_COLUMN])
    return None
