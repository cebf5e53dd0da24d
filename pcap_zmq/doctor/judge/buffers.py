"""Whether the sender gets the receive buffer that it asks for.

Specification: socket(7), SO_RCVBUF and SO_RCVBUFFORCE.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, unknown, warning

CHECK = "receive buffer"


@dataclass(frozen=True, slots=True)
class Buffers:
    """In octets. maximum: net.core.rmem_max; None: not shown in this namespace.
    may_force: CAP_NET_ADMIN in the first user namespace, where alone it counts."""

    wanted: int
    maximum: int | None
    may_force: bool


def judge(buffers: Buffers) -> Iterator[Finding]:
    """The kernel gives less without saying so."""
    wanted, maximum = buffers.wanted, buffers.maximum
    if buffers.may_force:
        yield ok(CHECK, f"--rcvbuf {wanted} is given, whatever net.core.rmem_max says")
    elif maximum is None:
        yield unknown(CHECK, "net.core.rmem_max is not shown in this namespace")
    elif maximum < wanted:
        yield warning(
            CHECK,
            f"net.core.rmem_max of {maximum} is less than --rcvbuf {wanted}: bursts "
            "overrun the smaller buffer sooner",
            f"sysctl -w net.core.rmem_max={wanted}, or start the sender as the host's "
            "root, who may pass it over",
        )
    else:
        yield ok(CHECK, f"net.core.rmem_max of {maximum} allows --rcvbuf {wanted}")
