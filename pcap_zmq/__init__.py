"""Carries packets that netfilter selects on a gateway to an IDS elsewhere."""

from importlib.metadata import version

from pcap_zmq.errors import PcapZmqError
from pcap_zmq.packet import Batch, EncodedBatch, Instant, Packet

__all__ = ["Batch", "EncodedBatch", "Instant", "Packet", "PcapZmqError", "__version__"]

__version__ = version("pcap-zmq")
