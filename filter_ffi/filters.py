"""Packet records in, and for each of several filters those that it takes."""

import enum
import secrets
import struct
from array import array as numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from filter_ffi._filter import ffi, lib
from filter_ffi.memory import NewBuffer, array, new_buffer, not_whole, octets_of, room
from filter_ffi.programs import Asked, Ranges, programs_of
from filter_ffi.terms import Term

Octets = bytes | bytearray | memoryview

FILTERS_MAX: int = lib.FILTERS_MAX
"""Most filters that run together."""

_INSTRUCTION = struct.Struct(">HBBI")

_INDEXED = 256
"""Ranges of IPv4 from which on an index of their upper halves pays."""
_HALVES = 1 << 16

_KEPT = 16
"""Filters from which on it pays to keep what they said of packets like the next one."""


class Level(enum.Enum):
    """Which packet is asked about addresses, ports and flows where packets lie in
    packets (tunnels). VLAN tags, MPLS labels and PPPoE are always looked through; BPF
    expressions are asked about the whole."""

    OUTER = 0
    INNER = 1
    """The innermost one."""
    ANY = 2
    """A test holds where it holds of one of them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a filter takes of a batch: its own records where it takes all of them, or
    memory of its own."""

    records: Octets
    count: int


class Filters:
    """filters: by their names, up to FILTERS_MAX. compile_bpf: makes a program, as
    octets, of an expression and a LINKTYPE: `pcap_ffi.compile_filter`; needed where
    there is a `Bpf`. new_buffer: makes the memory of what is taken. Raises ValueError
    for what no filter can be, MemoryError.
    """

    def __init__(
        self,
        filters: Mapping[str, Term],
        *,
        compile_bpf: Callable[[str, int], bytes] | None = None,
        level: Level = Level.OUTER,
        new_buffer: NewBuffer = new_buffer,
    ) -> None:
        if len(filters) > FILTERS_MAX:
            raise ValueError(f"{len(filters)} filters are more than {FILTERS_MAX}")
        made = programs_of(filters)
        self._names = tuple(filters)
        self._compile = compile_bpf
        self._new_buffer = new_buffer
        self._kept: list[object] = [made.flow_sets]
        self._expressions = {
            number: asked.expression
            for asked, number in made.tests.items()
            if asked.kind == lib.FILTER_BPF
        }
        if self._expressions and compile_bpf is None:
            raise ValueError("a filter of BPF, and nothing to compile it")
        self._programs: dict[int, dict[int, Any]] = {}
        self._prepared: int | None = None
        self._tests = ffi.new("struct filter_test[]", len(made.tests))
        for asked, number in made.tests.items():
            self._write(self._tests[number], asked)
            if asked.kind == lib.FILTER_FLOWS:
                self._tests[number].flows = made.flow_sets[asked.flows].c
        self._steps = ffi.new("struct filter_step[]", made.steps)
        self._firsts = ffi.new("uint32_t[]", made.firsts)
        self._c = ffi.gc(
            lib.filters_new(len(made.tests), secrets.randbits(64)), lib.filters_free
        )
        if not self._c:
            raise MemoryError
        self._c.tests = self._tests
        self._c.steps = self._steps
        self._c.firsts = self._firsts
        self._c.steps_count = len(made.steps)
        self._c.filters_count = len(self._names)
        self._c.level = level.value
        others = sorted({*range(len(filters))}.difference(made.steady))
        self._c.kept = self._keep("uint32_t[]", numbers("I", made.steady))
        self._c.kept_count = len(made.steady)
        self._c.others = self._keep("uint32_t[]", numbers("I", others))
        self._c.others_count = len(others)
        if not lib.filters_are_sound(self._c):
            raise ValueError(f"filters of {len(made.steps)} steps: say less")
        if len(made.steady) >= _KEPT and lib.filters_keep_verdicts(self._c):
            raise MemoryError

    @property
    def names(self) -> tuple[str, ...]:
        """In their order."""
        return self._names

    @property
    def orphans(self) -> int:
        """Fragments without ports whose first one was not seen before them: no test of
        ports or flows held for them."""
        return int(self._c.orphans)

    def prepare(self, linktype: int) -> None:
        """Compiles what BPF there is for packets of this LINKTYPE, as `select` does
        where it was not done. Raises whatever `compile_bpf` does, and ValueError where
        what it makes is no valid program."""
        if linktype == self._prepared:
            return
        if linktype not in self._programs:
            self._programs[linktype] = {
                number: self._compiled(expression, linktype)
                for number, expression in self._expressions.items()
            }
        for number, program in self._programs[linktype].items():
            self._tests[number].program = program
        self._prepared = linktype

    def select(self, linktype: int, records: Octets, count: int) -> list[Taken]:
        """What each filter takes, in the order of `names`; packets stay in theirs.
        Raises what `prepare` does, and ValueError where the records are not `count`
        whole ones."""
        self.prepare(linktype)
        filters = len(self._names)
        masks = array("uint64_t", count * -(-filters // 64))
        lengths = ffi.new("uint64_t[]", filters)
        counts = ffi.new("uint32_t[]", filters)
        octets = octets_of(records)
        if lib.filters_choose(
            self._c, linktype, octets, len(records), count, masks, lengths, counts
        ):
            raise not_whole(records, count)
        taken = [Taken(b"", 0)] * filters
        outs = ffi.new("uint8_t *[]", filters)
        is_copied = False
        for number, packets in enumerate(counts):
            if packets == count:
                taken[number] = Taken(records, count)
            elif packets:
                out = room(self._new_buffer, lengths[number], len(records))
                outs[number] = octets_of(out)
                taken[number] = Taken(out, packets)
                is_copied = True
        if is_copied:
            lib.filters_gather(octets, len(records), masks, filters, outs)
        return taken

    def _compiled(self, expression: str, linktype: int) -> Any:
        assert self._compile is not None  # noqa: S101  # __init__ has seen to it
        octets = self._compile(expression, linktype)
        count, rest = divmod(len(octets), _INSTRUCTION.size)
        if rest or not 0 < count <= lib.FILTER_MAX:
            raise ValueError(f"{len(octets)} octets are no filter")
        program = ffi.new("struct bpf_insn[]", list(_INSTRUCTION.iter_unpack(octets)))
        if not lib.filter_is_valid(program, count):
            raise ValueError("a filter that could do harm")
        return program

    def _write(self, test: Any, asked: Asked) -> None:
        test.kind = asked.kind
        test.side = int(asked.side)
        test.ranges = self._held("uint32_t[]", "I", asked.ranges)
        test.ranges_count = len(asked.ranges)
        if asked.kind == lib.FILTER_SUBNETS and len(asked.ranges) >= _INDEXED:
            test.firsts = self._keep("uint32_t[]", numbers("I", _index(asked.ranges)))
        halves = tuple(
            (number >> 64, number & 0xFFFFFFFFFFFFFFFF)
            for ends in asked.ranges6
            for number in ends
        )
        test.ranges6 = self._held("uint64_t[]", "Q", halves)
        test.ranges6_count = len(asked.ranges6)
        test.macs = self._keep("uint64_t[]", numbers("Q", asked.macs))
        test.macs_count = len(asked.macs)
        test.from_ns = asked.from_ns
        test.until_ns = asked.until_ns

    def _held(self, kind: str, code: str, pairs: Ranges) -> Any:
        return self._keep(kind, numbers(code, (one for pair in pairs for one in pair)))

    def _keep(self, kind: str, values: "numbers[int]") -> Any:
        """The numbers for C, for as long as the filters live."""
        held = ffi.from_buffer(kind, values)
        self._kept.append(held)
        return held


def _index(ranges: Ranges) -> list[int]:
    """For each upper half of an address the first range that does not end before it;
    and one more."""
    index, at = [], 0
    for half in range(_HALVES + 1):
        while at < len(ranges) and ranges[at][1] < half << 16:
            at += 1
        index.append(at)
    return index
