"""Carries packets that netfilter selects on a gateway to an IDS elsewhere."""

from typing import TYPE_CHECKING, Any

from pcap_zmq.errors import PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.packet import Batch, EncodedBatch, Instant, Packet

__all__ = ["Batch", "EncodedBatch", "Instant", "Packet", "PcapZmqError", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: no command's --help needs them.
    if name in {"Batch", "EncodedBatch", "Instant", "Packet"}:
        from pcap_zmq import packet

        return getattr(packet, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
