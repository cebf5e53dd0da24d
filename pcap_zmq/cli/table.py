"""Rows of words and numbers as lines for a terminal."""

from collections.abc import Sequence

_TEXT_COLUMNS = 2
"""Columns of words, on the left; the others are numbers."""


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, the columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < _TEXT_COLUMNS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def plain(text: str) -> str:
    """Names come from elsewhere: they shall stand on the terminal and not steer it."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)
