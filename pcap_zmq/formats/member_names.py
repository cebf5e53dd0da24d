"""Where members of archives go below a folder: each its own place, and none outside.

Names only; no file is looked at.
"""

from collections.abc import Collection

PART_MAX = 240
"""Octets of one part of a path: the longest that file systems take, 255, less what it
is called while it is being written."""

PATH_MAX = 2048
"""Octets of a path, and folders in it: far more than anybody makes, and each of them
is remembered. Of a longer one the end is kept."""
FOLDERS_MAX = 64


class MemberNames:
    """The same names in the same order always get the same places."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        # Where a name was taken: the number that was free last.
        self._numbers: dict[tuple[str, bool], int] = {}

    def place(self, name: str) -> str:
        """A path for a member of this name: its own, without what leads out of the
        folder. What another has got already gets a number."""
        *folders, last = _parts(name) or ["member"]
        folder = ""
        for part in folders:
            folder = self._free(folder, part, (self._files,)) + "/"
            self._folders.add(folder.removesuffix("/"))
        place = self._free(folder, last, (self._files, self._folders))
        self._files.add(place)
        return place

    def _free(self, folder: str, name: str, taken: Collection[Collection[str]]) -> str:
        free = folder + name
        known = free, len(taken) == 1
        number = self._numbers.get(known, 1)
        # a.pcap.gz becomes a-2.pcap.gz: readers go by what it ends in.
        stem, dot, endings = name.partition(".")
        if not stem:
            stem, dot, endings = name, "", ""
        if number > 1:
            free = f"{folder}{stem}-{number}{dot}{endings}"
        while any(free in some for some in taken):
            number += 1
            free = f"{folder}{stem}-{number}{dot}{endings}"
            self._numbers[known] = number
        return free


def _parts(name: str) -> list[str]:
    # A name of pax may have octets that no file's has.
    parts = name.replace("\0", "_").split("/")
    kept, octets = list[str](), 0
    for part in reversed(parts):
        if part in {"", ".", ".."}:
            continue
        short = _short(part)
        octets += len(short.encode(errors="surrogateescape")) + 1
        if kept and (octets > PATH_MAX or len(kept) > FOLDERS_MAX):
            break
        kept.append(short)
    return kept[::-1]


def _short(part: str) -> str:
    octets = part.encode(errors="surrogateescape")
    if len(octets) <= PART_MAX:
        return part
    # Of the end more matters than of the beginning: it tells what kind of file it is.
    return octets[-PART_MAX:].decode(errors="surrogateescape")
