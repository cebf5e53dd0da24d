"""Capture filters: compiled from pcap-filter(7)'s language, carried as octets, run.

Specification: pcap_compile(3PCAP), pcap-filter(7). A program is classic BPF; as octets
its instructions follow each other, big-endian: code (2), jt (1), jf (1), k (4).
"""

import struct

from pcap_ffi._pcap import ffi, lib
from pcap_ffi.buffers import new_buffer

Octets = bytes | bytearray | memoryview

FILTER_MAX: int = lib.FILTER_MAX
"""Most instructions of a program: what it costs for each packet is bounded."""

_INSTRUCTION = struct.Struct(">HBBI")

# What libpcap compiles for has numbers of its own: DLT_RAW is 12 on Linux. Of NFLOG's
# packets the filter is for those within.
_DLT = {101: 12, 239: 12}


class FilterError(ValueError):
    """No filter; the message says why."""


class Filter:
    """A program that was found valid. Any octets may come; raises FilterError."""

    def __init__(self, octets: Octets) -> None:
        count, rest = divmod(len(octets), _INSTRUCTION.size)
        if rest or not 0 < count <= FILTER_MAX:
            raise FilterError(f"{len(octets)} octets are no filter")
        self._program = ffi.new("struct bpf_insn[]", count)
        for place, fields in enumerate(_INSTRUCTION.iter_unpack(octets)):
            instruction = self._program[place]
            instruction.code, instruction.jt, instruction.jf, instruction.k = fields
        if not lib.filter_is_valid(self._program, count):
            raise FilterError("a filter that could do harm")

    @property
    def c(self) -> object:
        """For the C functions; lives as long as the filter does."""
        return self._program


def compile_filter(expression: str, linktype: int) -> bytes:
    """The program for packets of this LINKTYPE; of NFLOG's for the IP packets that are
    within. May ask for names of hosts. Raises
    FilterError with what libpcap says."""
    dead = ffi.gc(
        lib.pcap_open_dead(_DLT.get(linktype, linktype), lib.CAPLEN_MAX), lib.pcap_close
    )
    if not dead:
        raise MemoryError
    program = ffi.new("struct bpf_program *")
    netmask_unknown = 0xFFFFFFFF
    if lib.pcap_compile(dead, program, expression.encode(), 1, netmask_unknown):
        raise FilterError(ffi.string(lib.pcap_geterr(dead)).decode(errors="replace"))
    try:
        if program.bf_len > FILTER_MAX:
            raise FilterError(
                f"{program.bf_len} instructions, more than {FILTER_MAX}: say less"
            )
        instructions = (program.bf_insns[place] for place in range(program.bf_len))
        return b"".join(
            _INSTRUCTION.pack(i.code, i.jt, i.jf, i.k) for i in instructions
        )
    finally:
        lib.pcap_freecode(program)


def select_records(
    records: Octets,
    *,
    from_ns: int,
    until_ns: int,
    unit_ns: int,
    linktype: int,
    chosen: Filter | None,
) -> tuple[Octets, int]:
    """The records with from_ns <= time < until_ns that the filter takes, and how many
    they are. unit_ns: 1, or 1000 where the records are in microseconds. Takes only
    octets that `count_records` has passed."""
    out = new_buffer(len(records))
    count = ffi.new("uint32_t *")
    used = lib.records_select(
        ffi.from_buffer("uint8_t[]", records),
        len(records),
        from_ns,
        until_ns,
        unit_ns,
        linktype,
        ffi.NULL if chosen is None else chosen.c,
        ffi.from_buffer("uint8_t[]", out),
        count,
    )
    # Few octets do not keep a large buffer occupied.
    is_most = used > len(records) - len(records) // 8
    return out[:used] if is_most else bytes(out[:used]), count[0]
