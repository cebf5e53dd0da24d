"""Whether the keys that were given would let a sender or a receiver start."""

from collections.abc import Iterator
from dataclasses import dataclass

from pcap_zmq.doctor.finding import Finding, ok, problem, warning

CHECK = "keys"


@dataclass(frozen=True, slots=True)
class Keys:
    """are_given: any at all. refused: what a start would say; None: nothing.
    is_insecure: they are done without on purpose."""

    endpoint: str
    are_given: bool
    refused: str | None
    is_insecure: bool = False


def judge(keys: Keys) -> Iterator[Finding]:
    """Nothing where none are needed."""
    if keys.refused is not None:
        yield problem(CHECK, keys.refused)
    elif keys.is_insecure:
        yield warning(
            CHECK,
            f"{keys.endpoint} does without keys: anybody on the way can read the "
            "packets and send some",
            "pcap-zmq keygen makes some",
        )
    elif keys.are_given:
        yield ok(CHECK, "the certificate files are well")
