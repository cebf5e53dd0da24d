"""Capture filters for packets of a link type, or what is wrong with one.

Specification: pcap-filter(7).
"""

from contextlib import suppress

from pcap_ffi import FilterError, compile_filter
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import linktype as linktypes


def program_of(expression: str, linktype: int) -> bytes:
    """Compiled, as octets; may ask for names of hosts. Raises ConfigError with what
    libpcap says of it."""
    try:
        return compile_filter(expression, linktype)
    except FilterError as error:
        raise ConfigError(
            f"{expression!r} is no filter for link type "
            f"{linktypes.describe(linktype)}: {error}; see pcap-filter(7)"
        ) from error


def check_expression(expression: str) -> None:
    """For who does not know the link type yet: raises ConfigError for what is a filter
    for none of those that most captures have."""
    for linktype in (linktypes.ETHERNET, linktypes.LINUX_SLL):
        # Some are for packets with a certain header only.
        with suppress(ConfigError):
            program_of(expression, linktype)
            return
    program_of(expression, linktypes.RAW)
