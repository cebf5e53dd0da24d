"""What goes wrong between two hosts: a cable pulled, packets that vanish, connections
reset, an address that changes. Each is there on return, until a function ends it.

Specification: ip-link(8), ip-address(8), nft(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.namespaces import Namespace


def pull_cable(host: Namespace, other: str) -> None:
    """Takes the interface that leads to `other` down; neither end has a carrier."""
    host.run(["ip", "link", "set", other, "down"])


def plug_cable(host: Namespace, other: str) -> None:
    """Ends `pull_cable`."""
    host.run(["ip", "link", "set", other, "up"])


def silence(host: Namespace, other: str) -> None:
    """What comes from `other` vanishes: no answer, no error, and the carrier stays."""
    _refuse(host, other, "drop")


def end_silence(host: Namespace, other: str) -> None:
    """Ends `silence`."""
    host.run(["nft", "delete", "table", "inet", f"deaf_to_{other}"])


def reset(host: Namespace, other: str) -> None:
    """What comes from `other` over TCP is answered by a reset, as by a firewall that
    has forgotten its connections."""
    _refuse(host, other, "meta l4proto tcp reject with tcp reset")


def end_reset(host: Namespace, other: str) -> None:
    """Ends `reset`."""
    end_silence(host, other)


def _refuse(host: Namespace, other: str, verdict: str) -> None:
    chain = f'type filter hook input priority -10\niifname "{other}" {verdict}\n'
    table = f"table inet deaf_to_{other} {{\nchain here {{\n{chain}}}\n}}\n"
    host.run(["nft", "-f", "-"], input=table)


def change_address(host: Namespace, device: str, old: str, new: str) -> None:
    """Takes one address with its prefix length from a device, and gives it another."""
    lines = f"address del {old} dev {device}\naddress add {new} dev {device}\n"
    host.run(["ip", "-batch", "-"], input=lines)
