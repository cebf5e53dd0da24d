"""A savefile as a readable source: pcap or pcapng in, packet records out."""

import enum
from types import TracebackType
from typing import Self

from pcap_ffi._pcap import ffi, lib


class SavefileFormatError(ValueError):
    """This is no savefile, or it ends in the middle; libpcap's own words."""


class Ended(enum.Enum):
    """Why a read came back."""

    FULL = lib.SAVEFILE_FULL
    """The buffer is full; another read goes on."""
    WAITS = lib.SAVEFILE_WAITS
    """The stream has nothing more at the moment."""
    END = lib.SAVEFILE_END
    """There is nothing more at all."""


class Savefile:
    """Reads the savefile that a descriptor leads to: a file, a pipe, a socket.

    The descriptor stays the caller's, who closes it after this. Raises
    SavefileFormatError where it holds no savefile. Reading waits for data; the GIL is
    released meanwhile. `beginning` is what was read from it already, to look at it: at
    most BEGINNING_MAX octets.
    """

    BEGINNING_MAX: int = lib.SAVEFILE_BEGINNING_MAX

    def __init__(self, fd: int, beginning: bytes = b"") -> None:
        if len(beginning) > self.BEGINNING_MAX:
            raise ValueError(f"a beginning of {len(beginning)} octets")
        reason = ffi.new("char[]", lib.PCAP_ERRBUF_SIZE)
        self._file = lib.savefile_open(fd, beginning, len(beginning), reason)
        if self._file == ffi.NULL:
            raise SavefileFormatError(ffi.string(reason).decode(errors="replace"))
        self.linktype: int = lib.savefile_linktype(self._file)
        """The LINKTYPE number of every packet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closing twice is harmless."""
        if self._file != ffi.NULL:
            lib.savefile_close(self._file)
            self._file = ffi.NULL

    def read_into(self, buffer: memoryview, age_ns: int) -> tuple[int, int, Ended]:
        """Fills `buffer` with records: octets used, packets, and why it came back.

        Waits as long as it takes for the first packet, then at most `age_ns` in all for
        further ones. Raises SavefileFormatError at octets that are no packet; what
        came before them must have been read by then, so a failing read that has some
        returns those, and the next one raises.
        """
        if self._file == ffi.NULL:
            raise ValueError("the savefile is closed")
        used = ffi.new("size_t *")
        count = ffi.new("uint32_t *")
        status = lib.savefile_read(
            self._file,
            # A view of the caller's memory, alive until the call returns.
            ffi.from_buffer("uint8_t[]", buffer, require_writable=True),
            len(buffer),
            used,
            count,
            age_ns,
        )
        if status == lib.SAVEFILE_FAILED:
            if not count[0]:
                reason = ffi.string(lib.savefile_error(self._file))
                raise SavefileFormatError(reason.decode(errors="replace"))
            return used[0], count[0], Ended.WAITS
        if status == lib.SAVEFILE_FULL and not count[0]:
            raise SavefileFormatError(f"a packet longer than {len(buffer)} octets")
        return used[0], count[0], Ended(status)
