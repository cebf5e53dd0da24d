"""The one checker that every decoder of octets from elsewhere goes through."""

from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def check_decoder(
    decode: Callable[[bytes], T], whole: bytes, refusal: type[Exception]
) -> T:
    """The value of the whole; anything shorter or longer is refused, and whatever
    stands in any one octet gives a value or the refusal, never another exception."""
    value = decode(whole)
    for length in range(len(whole)):
        with pytest.raises(refusal):
            decode(whole[:length])
    for trailing in (b"\0", b"\xff", whole):
        with pytest.raises(refusal):
            decode(whole + trailing)
    for at in range(len(whole)):
        for octet in range(256):
            try:
                decode(whole[:at] + bytes([octet]) + whole[at + 1 :])
            except refusal:
                continue
    return value
