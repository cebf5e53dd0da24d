"""Filters capture files into one stream: a FIFO, a receiver, whatever OUTPUT may be."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from pcap_zmq.captures.inputs import size_of
from pcap_zmq.errors import SavefileError
from pcap_zmq.packet import Batch
from pcap_zmq.ports import Stage
from pcap_zmq.sources.files import FilesSource
from pcap_zmq.stages.sieve import Preparation, SieveStage
from pcap_zmq.tools.file_tool import FileSource, FileTool, FileToolConfig, Progress
from pcap_zmq.tools.filter import Filtering
from pcap_zmq.tools.filter_inputs import Found, packets_of
from pcap_zmq.tools.filter_sieves import sieves_for


class FilterStream(FileTool):
    """A packet goes out that any of the filters takes."""

    identity = "filter"
    is_whole = True

    def __init__(
        self,
        filtering: Filtering,
        preparation: Preparation,
        config: FileToolConfig,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(config, progress)
        self._filtering = filtering
        self._found = Found()
        self._told = 0
        self._sieve = sieves_for(filtering.one_rule(), preparation)()

    def _open_source(self, opened: ExitStack) -> FileSource:
        jobs = self._filtering.jobs()
        self.passed.total = sum(size_of(job.path) for job in jobs)
        packets = packets_of(jobs, self.passed, self._found)
        return FilesSource(self._telling(packets), self.counters)

    def _telling(self, packets: Iterable[Batch]) -> Generator[Batch, None, None]:
        """Tells of what breaks as soon as it does."""
        for batch in packets:
            self._tell()
            yield batch
        self._tell()

    def _tell(self) -> None:
        self.counters.files = self._found.files
        while self._told < len(self._found.troubles):
            text = self._found.troubles[self._told]
            self._told += 1
            self.trouble("", SavefileError(text))

    def _stages(self) -> Iterable[Stage[Any, Any]]:
        return (SieveStage(self._sieve, self.counters),)

    def _more(self) -> Mapping[str, object]:
        counts = self._sieve.counts
        more = {"decapsulated": counts.decapsulated, "others": self._found.others}
        return {name: number for name, number in more.items() if number}
