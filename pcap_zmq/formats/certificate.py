"""Certificate files: whose CURVE key it is, the key, and perhaps its secret half.

The text is what zmq.auth and CZMQ write and read, so that other programs can use the
files and we theirs. Beside the keys there are a name, by which people know the owner,
and a role.

Specification: https://rfc.zeromq.org/spec/4/ (ZPL), docs/security.md.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import z85

SIZE_MAX = 16 << 10
"""Octets of a certificate file that is read."""

NAME_MAX = 64
"""Octets of a name."""


class Role(enum.Enum):
    """What its owner may do at a receiver."""

    SENDER = "sender"
    """Send packets, and ask for its own line of the ledger."""
    OPERATOR = "operator"
    """Ask for the whole ledger, and send nothing."""


class Secret:
    """Text that no log, traceback or comparison shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text; only for the call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor written down")


@dataclass(frozen=True, slots=True)
class Certificate:
    """public: Z85. secret: None in the half that is given away. name: "" where the
    file has none."""

    public: str
    secret: Secret | None = None
    name: str = ""
    role: Role = Role.SENDER


_LINE = re.compile(
    r"""(?P<indent>\s*)(?P<name>[A-Za-z0-9$._@/-]+)
    (?:\s*=\s*
        (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'](?:[^"']*[^\s"'])?))
    )?
    \s*""",
    re.VERBOSE,
)


def decode(octets: bytes) -> Certificate:
    """Raises FormatError, in which there is nothing of a secret."""
    if len(octets) > SIZE_MAX:
        raise FormatError(f"more than {SIZE_MAX} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        # Not raised from it: that error carries the octets.
        raise FormatError("no text") from None
    values: dict[tuple[str, str], str] = {}
    for number, section, name, value in _values(text):
        if (section, name) in values:
            raise FormatError(f"line {number} says {name[:NAME_MAX]} again")
        values[section, name] = value
    public = values.get(("curve", "public-key"))
    if public is None:
        raise FormatError("no public-key in a section curve")
    z85.decode_key(public)
    secret = values.get(("curve", "secret-key"))
    if secret is not None:
        z85.decode_key(secret)
    name = values.get(("metadata", "name"), "")
    if name:
        check_name(name)
    return Certificate(
        public=public,
        secret=None if secret is None else Secret(secret),
        name=name,
        role=_role_of(values.get(("metadata", "role"), Role.SENDER.value)),
    )


def encode(certificate: Certificate) -> str:
    """The text of its file. With a secret in it, it is itself one."""
    head = _PUBLIC_HEAD if certificate.secret is None else _SECRET_HEAD
    lines = [*head, "metadata", f'    name = "{certificate.name}"']
    if certificate.role is not Role.SENDER:
        lines.append(f'    role = "{certificate.role.value}"')
    lines += ["curve", f'    public-key = "{certificate.public}"']
    if certificate.secret is not None:
        lines.append(f'    secret-key = "{certificate.secret.reveal()}"')
    return "\n".join(lines) + "\n"


def check_name(name: str) -> None:
    """Raises FormatError for what is no name of a certificate's owner."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise FormatError("a name that is no text") from None
    if not 0 < length <= NAME_MAX:
        raise FormatError(f"a name of {length} octets, not 1 to {NAME_MAX}")
    if not name.isprintable() or set(name) & set("\"'/\\") or name != name.strip():
        raise FormatError(
            f"the name {name!r}; it must be printable, without quotes, slashes, and "
            "spaces around it"
        )
    if name.startswith("."):
        raise FormatError(f"the name {name!r}, which begins with a dot")


def _values(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Line number, section, name and value of each line that has one."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise FormatError(f"line {number} is none of a certificate")
        values = match["double"], match["single"], match["bare"]
        value = next((value for value in values if value is not None), None)
        if not match["indent"]:
            section = match["name"]
        elif value is not None:
            yield number, section, match["name"], value


def _role_of(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        roles = " or ".join(role.value for role in Role)
        shown = text[:NAME_MAX]
        raise FormatError(f"the role {shown!r}, which is not {roles}") from None


_PUBLIC_HEAD = (
    "# ZeroMQ CURVE public certificate, made by pcap-zmq keygen.",
    "# It is no secret; but check that it is the right one where you put it.",
    "",
)
_SECRET_HEAD = (
    "# ZeroMQ CURVE SECRET certificate, made by pcap-zmq keygen.",
    "# Whoever can read this can pass for its owner: it stays on this host.",
    "",
)
