"""Replays capture files at their times: onto an interface, into an output, to a
receiver."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pcap_zmq.captures.merged import Merged
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Stop
from pcap_zmq.ports import Attendant, Stage
from pcap_zmq.privileges import drop_to
from pcap_zmq.sources.merged_source import MergedSource
from pcap_zmq.sources.paced import Paced
from pcap_zmq.stages.chain import as_one
from pcap_zmq.stages.sift import Sift
from pcap_zmq.tools.file_tool import FileSource, FileTool, Progress
from pcap_zmq.tools.known_files import known_files
from pcap_zmq.tools.replay_config import Pace, ReplayConfig
from pcap_zmq.tools.replay_gaps import Gaps
from pcap_zmq.tools.replay_lateness import Punctuality, Seconds, rate, tell
from pcap_zmq.tools.replay_out import ToInterface, reached_by
from pcap_zmq.tools.way_out import WayOut
from replay_ffi import LATE_NS, Schedule, Stamps

logger = logging.getLogger(__name__)

MILLION = 1_000_000

LATE_IN_STREAMS_NS = 10 * NS_PER_MS
"""What goes to an output or a receiver counts as late beyond this: the loop wakes to
the millisecond, and compresses and writes besides."""


class Replay(FileTool):
    """Runs until the last packet has gone, or a signal. What is not due by then is not
    sent."""

    def __init__(self, config: ReplayConfig, progress: Progress | None = None) -> None:
        super().__init__(config, progress)
        self._config = config
        self.identity = "replay/" + "/".join(config.paths or (str(config.index),))
        # What never ends is never whole.
        self.is_whole = config.plan.loops != 0
        self._schedule = schedule_of(
            config.pace, LATE_NS if config.interface else LATE_IN_STREAMS_NS
        )
        self._sift = Sift(config.filter, config.mtu, self.counters)
        self._gaps = Gaps()
        if config.pace.speed is not None:
            self._gaps.speed = config.pace.speed / MILLION
        self._paced: Paced | None = None
        self._ended_ns: int | None = None
        if config.interface is not None:
            # What it holds is not due yet.
            self._linger_ns = 0

    def _open_way_out(self, opened: ExitStack) -> WayOut:
        name = self._config.interface
        if name is None:
            return super()._open_way_out(opened)
        linktype = self._config.way_out.defaults.linktype
        way = ToInterface(
            name,
            self._schedule,
            linktype,
            opened,
            busy_wait_ns=self._config.busy_wait_ns,
        )
        drop_to(self._config.user, reads_on=True)
        return way

    def _inputs(self) -> Sequence[str]:
        return self._config.paths

    def _open_source(self, opened: ExitStack) -> FileSource:
        config = self._config
        known = known_files(config.paths, config.index)
        merged = Merged(
            known.paths,
            self.trouble,
            config.plan,
            known=known.entries,
            warn=lambda text: logger.warning("%s", text),
            passed=self.passed,
        )
        source = MergedSource(merged, self.counters, self._fit)
        if config.interface is not None:
            return source
        self._paced = Paced(
            source,
            as_one(self._sifting()),
            self._schedule,
            reached_by(self._way.sink),
            stamps=Stamps(self._schedule) if config.stamps else None,
        )
        return self._paced

    def _stages(self) -> Iterable[Stage[Any, Any]]:
        # Elsewhere they are sifted before they are due.
        return self._sifting() if self._paced is None else ()

    def _sifting(self) -> Sequence[Stage[Any, Any]]:
        pace = self._config.pace
        goes_by_times = not pace.top and pace.pps is None and pace.bits_per_s is None
        return (self._sift, self._gaps) if goes_by_times else (self._sift,)

    def _attend(self, stop: Stop) -> Sequence[Attendant]:
        now = self._clock.now()
        punctuality = Punctuality(self._schedule, self._behind_ns, now)
        return (*super()._attend(stop), punctuality)

    def _behind_ns(self, now: Instant) -> int:
        """How late what cannot go is; an interface's thread sends it at once."""
        return 0 if self._paced is None else self._paced.behind_ns(now)

    def _settle(self) -> None:
        self._ended_ns = self._clock.now().mono_ns
        if self._paced is not None:
            self._way.drop(self._paced.unsent)
        if self.counters.read and not self._stop.is_set and not self._went():
            logger.warning(
                "no packet was sent: all %d were left out by --from, --to, --filter, "
                "--skip-mtu or --order",
                self.counters.read,
            )
        super()._settle()

    def _went(self) -> bool:
        return self.counters.read > self.counters.skipped.total()

    def _held_packets(self) -> int:
        paced = self._paced
        held = paced.held_packets if paced else 0
        return super()._held_packets() + held + self._sift.failed

    def _more(self) -> Mapping[str, object]:
        schedule, more = self._schedule, dict[str, object]()
        if self._sift.cut:
            more["cut"] = self._sift.cut
        if schedule.start_ns is not None:
            ended_ns = self._last_ns() or self._clock.now().mono_ns
            took = Seconds((ended_ns - schedule.start_ns) / NS_PER_S)
            more["took"] = took
            if took > 0:
                more["rate"] = rate(schedule.packets, schedule.octets, took)
        if isinstance(self._way, ToInterface) and self._way.lost:
            more["lost_by_interface"] = self._way.lost
        if not schedule.is_top_speed:
            more["lateness"] = tell(schedule.lateness)
        return more

    def _last_ns(self) -> int | None:
        """When the last packet went; None: some may still go."""
        return self._ended_ns if self._paced is None else self._paced.last_ns

    def _fit(self, merged: Merged) -> None:
        """The pace by which once through takes as long as is asked for: found by the
        thread that reads, before the first packet, so that a signal ends that, too."""
        fit_ns = self._config.pace.fit_ns
        if fit_ns is None:
            return
        extent = merged.extent()
        if not extent.duration_ns:
            logger.info("no time passes within %d packets", extent.packets)
            return
        self._schedule.hasten(extent.duration_ns / fit_ns)
        self._gaps.speed = extent.duration_ns / fit_ns
        logger.info(
            "%d packets within %s, to be sent within %s: %.4g times as fast",
            extent.packets,
            Seconds(extent.duration_ns / NS_PER_S),
            Seconds(fit_ns / NS_PER_S),
            extent.duration_ns / fit_ns,
        )


def schedule_of(pace: Pace, late_ns: int) -> Schedule:
    """One that fits all into a time is hastened once it is known how long that is."""
    if pace.top:
        return Schedule.top_speed()
    if pace.pps is not None:
        return Schedule.packets_per_second(pace.pps / 1_000, late_ns=late_ns)
    if pace.bits_per_s is not None:
        megabits = pace.bits_per_s / MILLION
        return Schedule.megabits_per_second(megabits, late_ns=late_ns)
    speed = 1.0 if pace.speed is None else pace.speed / MILLION
    return Schedule.at_times(speed, late_ns=late_ns)
