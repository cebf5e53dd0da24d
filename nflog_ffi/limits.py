"""What an NFLOG socket can be told, each option with its bounds and its default."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """The values that an option may have; `default` is the one to start from."""

    minimum: int
    default: int
    maximum: int

    def check(self, option: str, value: int) -> int:
        """The value itself. Raises ValueError where it is out of bounds."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(
                f"{option} is {value}, outside {self.minimum} to {self.maximum}"
            )
        return value


GROUP = Bounds(0, 0, 0xFFFF)
"""NFLOG groups; 0 is also the kernel's own default group."""

SNAPLEN = Bounds(64, 65_531, 65_531)
"""Most octets kept per packet: NFLOG_SNAPLEN_MAX in nflog.h."""

NLBUFSIZ = Bounds(8_192, 131_072, 131_072)
"""Octets that the kernel gathers in one message: NFLOG_NLBUFSIZ_* in nflog.h."""

QTHRESHOLD = Bounds(1, 1_024, 65_535)
"""Packets that the kernel gathers in one message; a rule's lower threshold wins.

The default is above what fits in the default nlbufsiz, so that under load the buffer
decides, and under none the timeout does."""

QTIMEOUT_CS = Bounds(1, 1, 6_000)
"""Hundredths of a second for which the kernel holds a packet at most."""

LINKTYPES = (101, 239, 1)
"""Of the records: packets as they are (LINKTYPE_RAW, the default), with all that the
kernel says of them (LINKTYPE_NFLOG), or behind an Ethernet header."""

RCVBUF = Bounds(131_072, 32 << 20, 1 << 30)
"""Octets that wait in the socket: the default bridges 50 ms at 600 MB/s."""
