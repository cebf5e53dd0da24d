"""Where an exporter listens or sends to: HOST:PORT."""

import re
from dataclasses import dataclass

from pcap_zmq.errors import ConfigError

_HOST = re.compile(r"\[(?P<v6>[^\]\[]+)\]|(?P<name>[^\]\[:]*)")


@dataclass(frozen=True, slots=True)
class Address:
    """A host's name or address, without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(
    option: str, text: str, *, host: str, port: int | None = None
) -> Address:
    """HOST:PORT, an IPv6 address in brackets; `host` and `port` are for what is left
    out, None where it may not be. Raises ConfigError, with the option's name."""
    if re.fullmatch(r"[0-9]+", text):
        # A bare number can only be meant as a port.
        text = f":{text}"
    named, colon, number = text.rpartition(":")
    if port is not None and (not colon or text.endswith("]")):
        named, number = text, str(port)
    found = _HOST.fullmatch(named)
    is_port = re.fullmatch(r"[0-9]{1,5}", number) and int(number) <= 0xFFFF
    if found is None or not is_port or not text.isprintable() or " " in text:
        raise ConfigError(
            f"{option} {text!r} has no host and port; write HOST:PORT, an IPv6 address "
            "in brackets"
        )
    return Address(found["v6"] or found["name"] or host, int(number))
