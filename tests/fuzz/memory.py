"""Where files cost the least."""

from pathlib import Path

_SHARED = Path("/dev/shm")  # noqa: S108  # private directories in it

MEMORY = _SHARED if _SHARED.is_dir() else None
"""A directory in memory; None: there is none, and any other has to do."""
