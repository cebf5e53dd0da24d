"""Opens the door of whoever listens for senders: a receiver, or a relay."""

import logging
from collections.abc import Callable

import zmq

from pcap_zmq.connections import Connections, make_room
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.sources.door import Door
from pcap_zmq.tools.credentials import ServerKeys

logger = logging.getLogger(__name__)


def open_door(
    context: zmq.Context[zmq.Socket[bytes]],
    own: Certificate | None,
    *,
    keys: ServerKeys,
    max_connections: int,
    allowance: int,
    hangup: Callable[[], bool],
    counters: ReceiverCounters,
) -> Door:
    """own: as `keys` were read; None without keys. allowance: octets that a sender may
    have under way. hangup: see `Door`. Raises ConfigError and KeyFileError."""
    room = make_room(max_connections)
    if room < max_connections:
        logger.warning(
            "at most %d connections, not %d: the limit of open descriptors does not "
            "allow more (ulimit -Hn, LimitNOFILE=)",
            room,
            max_connections,
        )
    return Door(
        context,
        own=own,
        allowed=keys.read_allowed(),
        connections=Connections(room, allowance),
        hangup=hangup,
        counters=counters,
    )
