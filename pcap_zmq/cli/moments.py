"""A moment as an option: written the same way by every command."""

from typing import Any

import click

MOMENT_MAX_NS = (1 << 32) * 1_000_000_000 - 1
"""A packet record has 32 bits for the seconds."""

EXAMPLES = "2026-01-31T12:00:00Z or @1769860800.5"


class MomentType(click.ParamType):  # type: ignore[type-arg]  # only newer ones have
    """2026-01-31T12:00:00.123456789Z, or without a zone in UTC; @1769860800.5 (seconds
    since the epoch). Becomes nanoseconds since the epoch."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        # Here, so that --help loads nothing of it.
        from pcap_zmq.clock import utc_ns

        try:
            moment_ns = utc_ns(str(value))
            if not 0 <= moment_ns <= MOMENT_MAX_NS:
                raise ValueError
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment; write it as {EXAMPLES}", param, ctx)
        return moment_ns
