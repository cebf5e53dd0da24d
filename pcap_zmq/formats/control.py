"""What is said on a dispatcher's control socket: a line of JSON each way.

Specification: docs/dispatch.md, "The control socket".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pcap_zmq.errors import FormatError

LINE_MAX = 1 << 20
"""Octets of a request."""

ORDERS = ("add", "list", "allow", "deny", "skip", "pause", "resume", "status")
WITH_FILES = ("add", "allow", "deny", "skip")


@dataclass(frozen=True, slots=True)
class Request:
    """do: one of ORDERS. files: paths, or numbers as #3. is_for_all: allow whatever
    there is and whatever comes."""

    do: str
    files: Sequence[str] = ()
    is_for_all: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """error: why nothing was done, or not all; "": it was. said: what was asked for."""

    error: str = ""
    said: dict[str, Any] = field(default_factory=dict)


def encode_request(request: Request) -> bytes:
    """The line."""
    said = {
        "do": request.do,
        "files": list(request.files),
        "all": request.is_for_all,
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises FormatError."""
    try:
        said = json.loads(line)
        do, files, is_for_all = (
            said["do"],
            said.get("files", []),
            said.get("all", False),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError('no request: write {"do": "status"}') from error
    if do not in ORDERS:
        raise FormatError(f"{do!r} is none of {', '.join(ORDERS)}")
    if not isinstance(files, list) or not all(isinstance(f, str) for f in files):
        raise FormatError("files: a list of texts")
    if not isinstance(is_for_all, bool):
        raise FormatError("all: true or false")
    return Request(do, tuple(files), is_for_all)


def encode_reply(reply: Reply) -> bytes:
    """The line."""
    said = {"ok": not reply.error, **reply.said}
    if reply.error:
        said["error"] = reply.error
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def decode_reply(line: bytes) -> Reply:
    """Raises FormatError."""
    try:
        said = json.loads(line)
        error = "" if said.pop("ok") else str(said.pop("error", "it did not say why"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as why:
        raise FormatError("no reply of pcap-zmq dispatch") from why
    return Reply(error, said)
