"""What the files are called that are made of others: each its own, none twice.

Names only; no file is looked at.
"""

import re

from pcap_zmq.formats import linktype as linktypes

ENDING = ".pcap"

_PART_MAX = 200
"""Octets of a name; most file systems take 255."""

_DEPTH_MAX = 32
"""Folders in folders."""

_COMPRESSED = frozenset({".gz", ".xz", ".zst", ".lz4"})
_CAPTURES = frozenset({".pcap", ".pcapng", ".cap"})
_TAR = frozenset({".tar", ".tgz", ".txz", ".tzst"})
_LINKTYPE = re.compile(rf"(?:\.(?:{'|'.join(linktypes.NAMES)}|linktype[0-9]+))+$")


class OutNames:
    """Gives each input a stem of its own: its place below the folder that it was found
    in, without what tells how it is packed. The same inputs in the same order always
    get the same."""

    def __init__(self) -> None:
        self._taken = set[str]()
        # Of a stem that was taken: the number that it got last.
        self._numbers = dict[str, int]()

    def stem(self, place: str) -> str:
        """For an input at this place. Never leads out of the folder that it is put
        below. Names that would be the same get a number, in the order in which they are
        asked for."""
        parts = [_fitting(part) for part in place.split("/")]
        parts = [part for part in parts if part not in {"", "..", "."}][-_DEPTH_MAX:]
        name = _without_endings(parts[-1]) if parts else "capture"
        folder = "".join(f"{part}/" for part in parts[:-1])
        first = stem = folder + name
        number = self._numbers.get(first, 1)
        if number > 1:
            stem = f"{first}-{number}"
        while (key := _LINKTYPE.sub("", stem)) in self._taken:
            number += 1
            stem = f"{first}-{number}"
            self._numbers[first] = number
        self._taken.add(key)
        return stem


def file_name(stem: str, linktype: int | None, ending: str) -> str:
    """Of what is made of an input. linktype: where there are several of them. ending:
    what tells how it is compressed."""
    kind = "" if linktype is None else f".{_word(linktype)}"
    return f"{stem}{kind}{ENDING}{ending}"


def _fitting(part: str) -> str:
    """What a file system takes, with room for what is put behind it."""
    octets = part.replace("\0", "_").encode(errors="surrogateescape")
    is_cut = len(octets) > _PART_MAX
    return octets[:_PART_MAX].decode(errors="ignore" if is_cut else "surrogateescape")


def _word(linktype: int) -> str:
    names = {number: name for name, number in linktypes.NAMES.items()}
    return names.get(linktype, f"linktype{linktype}")


def _without_endings(name: str) -> str:
    for endings in (_COMPRESSED, _TAR, _CAPTURES):
        stem, dot, ending = name.rpartition(".")
        if stem and f"{dot}{ending}".lower() in endings:
            name = stem
    return name


def is_called(name: str, suffix: str) -> bool:
    """Whether a file's name ends so, compressed or not."""
    stem, dot, ending = name.rpartition(".")
    is_compressed = f"{dot}{ending}".lower() in _COMPRESSED
    return name.endswith(suffix) or (is_compressed and stem.endswith(suffix))
