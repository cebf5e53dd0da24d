"""One capture file through all filters, into a file for each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pcap_ffi import keep_freed_memory
from pcap_zmq.captures.inputs import Member, Passed
from pcap_zmq.formats.codec import Compress
from pcap_zmq.formats.conditions import Condition
from pcap_zmq.formats.out_names import file_name
from pcap_zmq.sinks.capture_parts import CaptureParts, Written
from pcap_zmq.stages.sieve import Preparation, SieveCounts
from pcap_zmq.tools.filter_inputs import Advanced, Found, Job, members_of, packets_in
from pcap_zmq.tools.filter_sieves import sieves_for
from pcap_zmq.tools.workers import More


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with each file. rules: by the name of the folder below `folder` that
    what they take goes to; "": that folder itself. scratch: for what is not whole."""

    rules: Mapping[str, Condition]
    preparation: Preparation
    folder: Path
    scratch: Path
    compress: str | None
    ending: str
    nanoseconds: bool
    overwrite: bool

    def path(self, rule: str, stem: str, linktype: int | None = None) -> Path:
        """What is made of an input of this stem."""
        return self.folder / rule / file_name(stem, linktype, self.ending)

    def new_parts(self) -> CaptureParts:
        """For the outputs of one file."""
        compress: Compress | None = None
        if self.compress is not None:
            # Here, since most are not.
            from pcap_zmq.formats.file_frames import frame_compressor

            compress = frame_compressor(self.compress)
        return CaptureParts(self.scratch, compress, nanoseconds=self.nanoseconds)


@dataclass(slots=True)
class Done:
    """What became of files."""

    found: Found = field(default_factory=Found)
    counts: SieveCounts = field(default_factory=SieveCounts)
    written: list[Written] = field(default_factory=list)

    def add(self, other: "Done") -> None:
        """Sums up."""
        self.found.add(other.found)
        self.counts.add(other.counts)
        self.written += other.written


class Work:
    """For one process: what filters are made of is made once."""

    def __init__(self, plan: Plan) -> None:
        # Else the kernel clears the pages of each batch anew.
        keep_freed_memory()
        self._plan = plan
        self._new_sieve = sieves_for(plan.rules, plan.preparation)

    def __call__(self, job: Job, more: More, /) -> Done:
        """Makes all outputs of a file, or of each in an archive. Raises ConfigError for
        a filter that cannot be run on these packets, OutputError and
        OutputPermissionError."""
        done, passed, told = Done(), Passed(), 0

        def advanced() -> None:
            nonlocal told
            more(passed.octets - told)
            told = passed.octets

        for member, stem in members_of(job, passed, done.found):
            is_named = job.is_named and stem == job.stem
            self._filter(member, stem, done, advanced, is_named=is_named)
        return done

    def _filter(
        self,
        member: Member,
        stem: str,
        done: Done,
        advanced: Advanced,
        *,
        is_named: bool,
    ) -> None:
        plan, rules = self._plan, list(self._plan.rules)
        sieve, parts = self._new_sieve(), plan.new_parts()
        try:
            for batch in packets_in(
                member, done.found, is_named=is_named, advanced=advanced, sieve=sieve
            ):
                for which, taken in sieve.each(batch):
                    parts.add(which, taken)
            done.written += parts.commit(
                lambda which, linktype: plan.path(rules[which], stem, linktype),
                overwrite=plan.overwrite,
            )
        finally:
            parts.close()
        done.counts.add(sieve.counts)
