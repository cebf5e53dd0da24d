"""A bar on a terminal, for what takes longer than a second."""

import sys
from types import TracebackType
from typing import Any, Self

import click

PATIENCE_NS = 1_000_000_000
"""What is done by then needs none."""


class Bar:
    """label: what is being done. Called with how much is done of how much; where
    standard error is no terminal, nothing is shown."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._is_wanted = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._since_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()

    def __call__(self, done: int, total: int) -> None:
        """Draws what there is to see of it."""
        if not self._is_wanted or not total:
            return
        if self._bar is None and not self._is_late():
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=total, label=self._label, file=sys.stderr
            )
            self._bar.render_progress()
        self._bar.length = total
        self._bar.update(min(done, total) - self._bar.pos)

    def finish(self) -> None:
        """Leaves the line to others."""
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None

    def _is_late(self) -> bool:
        # Here, so that --help does not load it.
        from pcap_zmq.clock import SystemClock

        now_ns = SystemClock().now().mono_ns
        if self._since_ns is None:
            self._since_ns = now_ns
        return now_ns - self._since_ns >= PATIENCE_NS
