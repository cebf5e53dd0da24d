"""What a file is called by everybody, in whatever folder they are."""

import os
from pathlib import Path


def whole(path: Path) -> Path:
    """From the root, and without "..": that may lead elsewhere than the name says,
    behind a symbolic link. Links are kept where nothing depends on them."""
    path = path.absolute()
    if ".." not in path.parts:
        return path
    if path.name == "..":
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name
