"""Whether a receiver can be reached, and speaks ZeroMQ.

Specification: RFC 23/ZMTP, the greeting: a signature of 10 octets, 2 of version, 20 of
mechanism.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, warning

CHECK = "endpoint"

GREETING_LENGTH = 64
SIGNATURE = b"\xff" + bytes(7) + b"\x01\x7f" + b"\x03\x00"
"""What a peer of version 3 says first. It is enough: the other one then says all of its
greeting, and would close the connection on a mechanism that is not its own."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What became of a connection. refused: why there is none. said: what came back to
    our signature."""

    endpoint: str
    refused: str | None
    said: bytes = b""


def mechanism_of(greeting: bytes) -> str | None:
    """NULL, CURVE or PLAIN; empty where it was not said; None: no ZeroMQ."""
    if len(greeting) < 10 or greeting[0] != 0xFF or not greeting[9] & 1:
        return None
    return greeting[12:32].rstrip(b"\0").decode("ascii", "replace")


def is_open(endpoint: Endpoint, *, has_keys: bool) -> bool:
    """Whether it wants keys as we have them."""
    mechanism = mechanism_of(endpoint.said)
    return endpoint.refused is None and mechanism == ("CURVE" if has_keys else "NULL")


def judge(endpoint: Endpoint, *, has_keys: bool) -> Iterator[Finding]:
    """has_keys: ours; without them a receiver that wants some lets nobody in."""
    name = endpoint.endpoint
    if endpoint.refused is not None:
        yield problem(
            CHECK,
            f"{name} cannot be reached: {endpoint.refused}",
            "start pcap-zmq-recv there, and let the firewalls between pass it; a "
            "sender holds its packets until then",
        )
        return
    mechanism = mechanism_of(endpoint.said)
    if mechanism is None:
        yield problem(
            CHECK,
            f"whoever answers at {name} speaks no ZeroMQ",
            "look for the port in the receiver's command line",
        )
    elif mechanism == "CURVE" and not has_keys:
        yield warning(
            CHECK,
            f"{name} wants keys (CURVE)",
            "pcap-zmq keygen makes them; give the sender --key and --peer-key",
        )
    elif mechanism == "NULL" and has_keys:
        yield problem(
            CHECK,
            f"{name} has no keys (CURVE), and we have",
            "give the receiver --key and --allow",
        )
    else:
        how = f", mechanism {mechanism}" if mechanism else ""
        yield ok(CHECK, f"{name} answers and speaks ZeroMQ{how}")
