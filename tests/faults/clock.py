"""A wall clock of one's own, that can be set while programs run by it.

Time namespaces have a monotonic clock of their own and no wall clock, and setting the
machine's would set everybody's. So libfaketime answers for the kernel where a program
asks for the wall clock; the monotonic clock stays the kernel's.

Specification: libfaketime's README, "Using a file to set the fake time at run time".
"""

from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open(3) puts it


def library() -> Path | None:
    """libfaketime for programs with threads; None where it is not installed."""
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


class WallClock:
    """As far from the true time as it was last set."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set_off(0)

    def set_off(self, seconds: int) -> None:
        """Steps to so many seconds after the true time; negative: before it."""
        # In one piece: whoever reads it meanwhile finds the old one or the new one.
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._path)

    @staticmethod
    def clean_up_after(pid: int) -> None:
        """Removes what the library shares with children and a killed process left."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (SHARED_MEMORY / name).unlink(missing_ok=True)

    @property
    def entry(self) -> list[str]:
        """The start of a command that goes by this clock."""
        settings = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": self._path,
            # Looked at each time that a program asks, not every ten seconds.
            "FAKETIME_NO_CACHE": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items())]
