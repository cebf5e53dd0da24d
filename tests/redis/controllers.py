"""The two controllers that pcapdj's README shows, as the calls that they make of Redis.

Nothing in here knows of us: what works with these works with theirs.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.pipes.tools import PATIENCE_S

Client = Any
"""A redis.Redis; what its answers are typed as changes from version to version."""


def import_files(client: Client, folder: Path) -> None:
    """Queues what ends in pcap, in the order of the names."""
    for name in sorted(path.name for path in folder.iterdir()):
        if name.endswith("pcap"):
            client.rpush("PCAPDJ_IN_QUEUE", f"{folder}/{name}")


def authorise_by_string(client: Client, path: bytes) -> None:
    """As the README has it."""
    client.set("PCAPDJ_AUTH", path)


def authorise_by_set(client: Client, path: bytes) -> None:
    """As pcapdj's later versions have it."""
    client.sadd("PCAPDJ_AUTH", path)


@contextmanager
def authoriser(
    client: Client, authorise: Callable[[Client, bytes], None]
) -> Iterator[list[bytes]]:
    """Allows whatever is next, for ever; gives what it has allowed so far."""
    allowed: list[bytes] = []
    has_ended = threading.Event()

    def run() -> None:
        while not has_ended.is_set():
            try:
                path = client.lpop("PCAPDJ_NEXT")
            except redis.ConnectionError:
                # The server is started anew: an operator starts his script anew.
                path = None
            if path is None:
                has_ended.wait(0.005)
                continue
            assert isinstance(path, bytes)
            allowed.append(path)
            authorise(client, path)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield allowed
    finally:
        has_ended.set()
        thread.join(PATIENCE_S)
