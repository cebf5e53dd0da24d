"""The tool at a gateway that writes NFLOG groups to standard output as a savefile, for
whoever has started it from elsewhere: pcap-zmq extcap, over ssh."""

import logging
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pcap_ffi import keep_freed_memory
from pcap_zmq import options
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import OutputCounters, ReceiverCounters, SenderCounters
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.pipeline import Pipeline
from pcap_zmq.poll import READABLE, Poller, Stop, Watch
from pcap_zmq.privileges import drop_to, harden
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.sources.nflog import NflogSource
from pcap_zmq.stages.select import Select
from pcap_zmq.tools.send_config import NflogOptions

logger = logging.getLogger(__name__)

STDIN = 0


@dataclass(frozen=True, slots=True)
class DumpConfig:
    """What to write. filter: in the language of pcap-filter(7)."""

    nflog: NflogOptions
    filter: str = ""


class Dump:
    """Runs until a signal, until nobody reads any more, or until whoever started it has
    closed standard input, where that is a pipe. Raises ConfigError for a filter that is
    none."""

    def __init__(self, config: DumpConfig) -> None:
        self._config = config
        self._select = Select(config.filter, config.nflog.linktype)
        self._logged = SenderCounters()
        self._written = ReceiverCounters()
        self._dropped = 0
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        harden()
        keep_freed_memory()
        nflog = self._config.nflog
        with ExitStack() as opened:
            self._source = opened.enter_context(
                closing(
                    NflogSource(
                        nflog.groups,
                        batch_bytes=options.BATCH_BYTES.default,
                        batch_age_ns=options.BATCH_AGE_NS.default,
                        snaplen=nflog.snaplen,
                        nlbufsiz=nflog.nlbufsiz,
                        qthreshold=nflog.qthreshold,
                        qtimeout_cs=nflog.qtimeout_cs,
                        rcvbuf=nflog.rcvbuf,
                        counters=self._logged,
                        linktype=nflog.linktype,
                    )
                )
            )
            drop_to(None)
            self._sink = opened.enter_context(
                closing(
                    SavefileSink(
                        "-",
                        linktype=nflog.linktype,
                        file_format=Pcap(),
                        overwrite=False,
                        counters=OutputCounters(self._written),
                    )
                )
            )
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def run(self, stop: Stop) -> None:
        """Until the end. Raises OutputError when the reader has left."""
        pipeline = Pipeline[Batch, Batch](
            self._source,
            self._select,
            self._sink,
            drop=self._drop,
            linger_ns=options.LINGER_NS.default,
            clock=SystemClock(),
            poller=Poller(),
        )
        attendants = [_Starter(stop)] if _is_piped(STDIN) else []
        pipeline.run(stop, attendants)
        missed = self._logged.missed + self._logged.missed_tail
        if missed or self._dropped:
            logger.warning(
                "%d packets are missing: the kernel had no room for %d, and who reads "
                "was too slow for %d",
                missed + self._dropped,
                missed,
                self._dropped,
            )

    def _drop(self, item: Batch) -> None:
        """Its reader is too slow: nobody holds packets for it."""
        self._dropped += item.count


class _Starter:
    """Whoever has started us: ends the run by closing standard input, or dying."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._watch = Watch(STDIN, READABLE, is_ready=False)
        self._is_there = True

    def serve(self, now: Instant) -> None:
        """Looks whether it is still there. What it says is of no interest."""
        if self._is_there and self._watch.is_ready and not os.read(STDIN, 1 << 12):
            self._is_there = False
            self._stop.set()

    def due(self) -> int | None:
        """Only when woken."""
        return None

    def watch(self) -> Iterable[Watch]:
        """Its end of standard input."""
        return (self._watch,) if self._is_there else ()


def _is_piped(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
