"""The bounds and defaults of the tools' options, for the command line and the tools."""

from typing import NamedTuple

from nflog_ffi import limits
from pcap_zmq.errors import ConfigError
from pcap_zmq.units import NS_PER_MS, NS_PER_S

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
MILLION = 1_000_000


class Bounds(NamedTuple):
    """The values that an option may have; 0 too where it means "never" or "all"."""

    minimum: int
    default: int
    maximum: int
    zero: bool = False

    def check(self, option: str, value: int) -> None:
        """Raises ConfigError for a value out of bounds."""
        if self.minimum <= value <= self.maximum or (self.zero and value == 0):
            return
        zero = "0 or " if self.zero else ""
        raise ConfigError(
            f"{option} {value} is out of bounds: {zero}{self.minimum} to {self.maximum}"
        )


class Keep(NamedTuple):
    """How much of what passed is kept: so many octets, and nothing older; None: however
    old."""

    nbytes: int
    age_ns: int | None = None


BATCH_BYTES = Bounds(64 * KIB, MIB, 8 * MIB)
BATCH_AGE_NS = Bounds(NS_PER_MS, 20 * NS_PER_MS, 10 * NS_PER_S)
LOW_WATERMARK = Bounds(KIB, MIB, 100 * GIB, zero=True)
HIGH_WATERMARK = Bounds(KIB, 64 * MIB, 100 * GIB, zero=True)
FLOW_TABLE = Bounds(64 * KIB, 4 * MIB, GIB)
SEND_QUEUE = Bounds(MIB, 64 * MIB, 64 * GIB)
SPOOL_SIZE = Bounds(4 * MIB, 10 * GIB, 16384 * GIB)
RECEIVE_QUEUE = Bounds(MIB, 64 * MIB, 64 * GIB)
OUTPUT_QUEUE = Bounds(64 * KIB, 16 * MIB, 64 * GIB)
FILE_SIZE = Bounds(64 * KIB, GIB, 16384 * GIB)
FILE_AGE_NS = Bounds(NS_PER_S, 3600 * NS_PER_S, 366 * 24 * 3600 * NS_PER_S)
FILE_COUNT = Bounds(1, 100, 1 << 20)
KEEP_BYTES = Bounds(MIB, 256 * MIB, 1024 * GIB)
KEEP_NS = Bounds(NS_PER_S, 60 * NS_PER_S, 24 * 3600 * NS_PER_S)
KEEP_AGED_BYTES = GIB
"""The most that is kept where only an age was given."""
REORDER_NS = Bounds(NS_PER_MS, 0, 10 * NS_PER_S, zero=True)
REORDER_SHARE = 2
"""One part in so many of the receive queue is for packets that wait for others."""
WORKERS = Bounds(1, 4, 1024)
FILTERS_MAX = 4096
"""That run together."""
DECAP_DEPTH = Bounds(1, 16, 16)
DEDUP_NS = Bounds(NS_PER_MS, 10 * NS_PER_MS, 3600 * NS_PER_S)
FLOW_IDLE_NS = Bounds(NS_PER_S, 600 * NS_PER_S, 24 * 3600 * NS_PER_S)
MAX_CONNECTIONS = Bounds(16, 4096, 1 << 20)
LINGER_NS = Bounds(0, 2 * NS_PER_S, 3600 * NS_PER_S)
ANSWER_NS = Bounds(100 * NS_PER_MS, 5 * NS_PER_S, 60 * NS_PER_S)
WATCH_NS = Bounds(100 * NS_PER_MS, NS_PER_S, 3600 * NS_PER_S)
FAILOVER_NS = Bounds(100 * NS_PER_MS, 5 * NS_PER_S, 3600 * NS_PER_S, zero=True)
AUTH_TIMEOUT_NS = Bounds(100 * NS_PER_MS, 0, 31 * 24 * 3600 * NS_PER_S, zero=True)
LEASE_NS = Bounds(NS_PER_S, 10 * NS_PER_S, 3600 * NS_PER_S)
REPORT_NS = Bounds(NS_PER_S, 60 * NS_PER_S, 24 * 3600 * NS_PER_S, zero=True)

SPEED_MILLIONTHS = Bounds(1, MILLION, 1_000_000 * MILLION)
FIT_NS = Bounds(NS_PER_MS, 600 * NS_PER_S, 366 * 24 * 3600 * NS_PER_S)
PPS_THOUSANDTHS = Bounds(1, 1_000_000, 1_000_000_000_000)
BITS_PER_S = Bounds(1_000, 100 * MILLION, 1_000_000 * MILLION)
LOOPS = Bounds(1, 1, 1 << 31, zero=True)
BUSY_WAIT_NS = Bounds(0, NS_PER_MS // 10, NS_PER_MS)
"""Of each packet's wait, on an interface: more than the kernel's timers are late."""
MTU = Bounds(68, 1500, 262_144)
TIMESTAMPS = ("kept", "now")
ORDERS = ("kept", "sorted", "skipped")

PCAP_OVER_IP_PORT = 57_012
"""By convention."""
FORMATS = ("pcap", "pcapng")
COMPRESS = ("gzip", "zstd")
WHEN_SLOW = ("wait", "drop")
SEGMENT_MTU = Bounds(576, 1500, 65_535)
CHECKSUMS = ("keep", "fix")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _of(bounds: limits.Bounds) -> Bounds:
    """The kernel's and the crossing's bounds, under the names of our options."""
    return Bounds(bounds.minimum, bounds.default, bounds.maximum)


GROUP = _of(limits.GROUP)
SNAPLEN = _of(limits.SNAPLEN)
NLBUFSIZ = _of(limits.NLBUFSIZ)
QTHRESHOLD = _of(limits.QTHRESHOLD)
QTIMEOUT_CS = _of(limits.QTIMEOUT_CS)
RCVBUF = _of(limits.RCVBUF)
