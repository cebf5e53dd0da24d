"""Which endpoints leave this host, as far as their text tells."""

import pytest

from pcap_zmq import sockets
from pcap_zmq.errors import ConfigError

WITHIN = [
    "ipc:///run/link",
    "tcp://127.0.0.1:5140",
    "tcp://127.1.2.3:*",
    "tcp://localhost:5140",
    "tcp://[::1]:5140",
    "tcp://[::ffff:127.0.0.1]:5140",
    "tcp://192.0.2.1:0;127.0.0.1:5140",
]
BEYOND = [
    "tcp://0.0.0.0:5140",
    "tcp://*:5140",
    "tcp://[::]:5140",
    "tcp://128.0.0.1:5140",
    "tcp://192.0.2.1:5140",
    "tcp://[fe80::1%lo]:5140",
    "tcp://[::ffff:192.0.2.1]:5140",
    "tcp://[::127.0.0.1]:5140",
    "tcp://127.0.0.1.example:5140",
    "tcp://localhost.example:5140",
    "tcp://LOCALHOST:5140",
    "tcp://2130706433:5140",
    "tcp://127.1:5140",
    "tcp://lo:5140",
    "tcp://127.0.0.1:0;192.0.2.1:5140",
]


@pytest.mark.parametrize("endpoint", BEYOND)
def test_what_may_leave_this_host_is_refused(endpoint: str) -> None:
    """What we cannot be sure of, too, whatever a resolver makes of it."""
    with pytest.raises(ConfigError, match="--this and --that"):
        sockets.check_reach(endpoint, options="--this and --that")


@pytest.mark.parametrize("endpoint", WITHIN)
def test_what_stays_within_is_not(endpoint: str) -> None:
    sockets.check_reach(endpoint, options="")
