"""What files are called that follow each other: a pattern with the time in it.

Specification: docs/outputs.md, strftime(3). Names and values; no file is looked at.
"""

import re

from pcap_zmq.errors import ConfigError

DIRECTIVES = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%m": "[0-9]{2}",
    "%d": "[0-9]{2}",
    "%j": "[0-9]{3}",
    "%H": "[0-9]{2}",
    "%M": "[0-9]{2}",
    "%S": "[0-9]{2}",
    "%s": "[0-9]+",
    "%F": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "%%": "%",
}
"""Those that mean the same in every locale, and what they become."""

PART = ".part"
"""Behind the name of a file that is not complete."""

_DIRECTIVE = re.compile("%.?")


class FileNames:
    """Names that a pattern makes, like gw-%Y%m%d-%H%M%S.pcap: of another file in the
    same second, gw-20250131-120000-1.pcap. ending: what the names end in, where the
    pattern does not say so itself (.gz).

    Raises ConfigError for a directive that is not known here.
    """

    def __init__(self, pattern: str, ending: str = "") -> None:
        for directive in _DIRECTIVE.findall(pattern):
            if directive not in DIRECTIVES:
                raise ConfigError(
                    f"{pattern!r}: {directive} is not for file names here; there are "
                    f"{' '.join(DIRECTIVES)}"
                )
        stem = pattern.removesuffix(ending) if ending else pattern
        stem, dot, kind = stem.rpartition(".")
        if not stem or "%" in kind:
            stem, dot, kind = stem + dot + kind, "", ""
        self.stem = stem
        """For strftime."""
        self._end = dot + kind + ending
        self._name = re.compile(
            "".join(_as_expression(part) for part in _split(stem))
            + "(?:-[1-9][0-9]*)?"
            + re.escape(self._end)
        )

    def name(self, stem: str, number: int = 0) -> str:
        """stem: with the time filled in. number: of files before it of the same
        time."""
        return f"{stem}-{number}{self._end}" if number else stem + self._end

    def next_name(self, name: str) -> str:
        """After a name of this pattern that is taken."""
        stem = name.removesuffix(self._end)
        found = re.fullmatch("(.*)-([1-9][0-9]*)", stem)
        # What looks like a number may be the time's: a longer name is free as well.
        if found is None or not self._name.fullmatch(found[1] + self._end):
            return self.name(stem, 1)
        return self.name(found[1], int(found[2]) + 1)

    def matches(self, name: str) -> bool:
        """Whether this pattern makes such names, at whatever time."""
        return self._name.fullmatch(name) is not None


def _split(stem: str) -> list[str]:
    return [part for part in re.split("(%.)", stem) if part]


def _as_expression(part: str) -> str:
    return DIRECTIVES.get(part) or re.escape(part)
