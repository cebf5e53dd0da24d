"""Where members of archives go below a folder: each its own place, and none outside.

Names only; no file is looked at.
"""

from collections.abc import Collection

PART_MAX = 240
"""Octets of one part of a path: the longest that file systems take, 255, less what it
is called while it is being written."""


class MemberNames:
    """The same names in the same order always get the same places."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def place(self, name: str) -> str:
        """A path for a member of this name: its own, without what leads out of the
        folder. What another has got already gets a number."""
        parts = [_short(p) for p in name.split("/") if p not in {"", ".", ".."}]
        *folders, last = parts or ["member"]
        folder = ""
        for part in folders:
            folder = _free(folder, part, (self._files,)) + "/"
            self._folders.add(folder.removesuffix("/"))
        place = _free(folder, last, (self._files, self._folders))
        self._files.add(place)
        return place


def _free(folder: str, name: str, taken: Collection[Collection[str]]) -> str:
    number, free = 1, folder + name
    # a.pcap.gz becomes a-2.pcap.gz: readers go by what it ends in.
    stem, dot, endings = name.partition(".")
    if not stem:
        stem, dot, endings = name, "", ""
    while any(free in some for some in taken):
        number += 1
        free = f"{folder}{stem}-{number}{dot}{endings}"
    return free


def _short(part: str) -> str:
    octets = part.encode(errors="surrogateescape")
    if len(octets) <= PART_MAX:
        return part
    # Of the end more matters than of the beginning: it tells what kind of file it is.
    return octets[-PART_MAX:].decode(errors="surrogateescape")
