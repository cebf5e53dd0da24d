"""CURVE keys as people see them: 32 octets as 40 printable characters and back.

Specification: https://rfc.zeromq.org/spec/32/ (Z85).
"""

from pcap_zmq.errors import FormatError

KEY_OCTETS = 32
KEY_LENGTH = 40
"""Characters of a key: five for four octets."""

_ALPHABET = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ".-:+=^!/*?&<>()[]{}@%$#"
)
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_BASE = len(_ALPHABET)


def encode(octets: bytes) -> str:
    """A multiple of four octets."""
    if len(octets) % 4:
        raise ValueError(f"{len(octets)} octets are no multiple of four")
    text = []
    for at in range(0, len(octets), 4):
        number = int.from_bytes(octets[at : at + 4])
        text += [_ALPHABET[number // _BASE**place % _BASE] for place in (4, 3, 2, 1, 0)]
    return "".join(text)


def decode_key(text: str) -> bytes:
    """The octets of a key. Raises FormatError; the text is not in it, since it may be
    a secret."""
    if len(text) != KEY_LENGTH:
        raise FormatError(f"a key of {len(text)} characters, not {KEY_LENGTH}")
    octets = bytearray()
    for at in range(0, KEY_LENGTH, 5):
        number = 0
        for character in text[at : at + 5]:
            if character not in _DIGITS:
                raise FormatError("a key with a character that is not in Z85")
            number = number * _BASE + _DIGITS[character]
        if number >> 32:
            raise FormatError("a key with a group of characters that is no number")
        octets += number.to_bytes(4)
    return bytes(octets)
