"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def part(path):
    """Give a new file beside a path, to be written and renamed; what is left of it after the block is removed."""
    handle, name = tempfile.mkstemp(dir=Path(path).parent, prefix=".part")
    os.close(handle)
    os.chmod(name, 0o644)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def settle(path):
    """Return when a file is on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_whole(path, content):
    """Write bytes to a path: who reads it finds what was there before, or all of these.

    Raises
    ------
    OSError
        If they can't be written; what was there before is left.
    """
    with part(path) as new:
        new.write_bytes(content)
        settle(new)
        os.replace(new, path)
