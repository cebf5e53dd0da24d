"""What came of a filter: numbers, for people and for machines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pcap_zmq.counters import Reason
from pcap_zmq.stages.sieve import SieveCounts
from pcap_zmq.tools.filter_inputs import Found


@dataclass(slots=True)
class Taken:
    """What a filter takes: octets of packet records, and files that hold them."""

    packets: int = 0
    octets: int = 0
    files: int = 0


@dataclass(slots=True)
class Filtered:
    """What came of it. taken: by filter, each that there is."""

    taken: dict[str, Taken]
    found: Found = field(default_factory=Found)
    counts: SieveCounts = field(default_factory=SieveCounts)
    dropped: Mapping[Reason, int] = field(default_factory=dict)
    """Packets that one savefile cannot hold."""

    def numbers(self) -> dict[str, object]:
        """For machines. In packets, where nothing else is said."""
        counts = self.counts
        return {
            "files": self.found.files,
            "broken_files": len(self.found.troubles),
            "other_files": self.found.others,
            "read": counts.read,
            "duplicates": counts.duplicates,
            "decapsulated": counts.decapsulated,
            "still_inside": counts.still_inside,
            "forgotten": counts.forgotten,
            "orphans": counts.orphans,
            "taken": {n or "all": each.packets for n, each in self.taken.items()},
            "dropped": {why.value: n for why, n in self.dropped.items() if n},
        }

    def text(self) -> str:
        """The same for people, without what is not there."""
        words = [f"{self.found.files} files", f"read {self.counts.read}"]
        taken = sum(each.packets for each in self.taken.values())
        for name, number in self.numbers().items():
            if isinstance(number, int) and number and name not in {"files", "read"}:
                words.append(f"{name.replace('_', ' ')} {number}")
        words.append(f"taken {taken}")
        words += [f"dropped {n} ({why.value})" for why, n in self.dropped.items() if n]
        return ", ".join(words)
