"""What the makers of seeds share."""

import struct
from collections.abc import Iterator

Seeds = Iterator[tuple[str, bytes]]
"""Each with its name."""


def little16(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)
