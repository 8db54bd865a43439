"""Benchopt's cache of cells, with a checksum beside each: what was damaged since it was written is computed again."""

import contextlib
import hashlib
from pathlib import Path

from joblib._store_backends import FileSystemStoreBackend, StoreBackendMixin

from ..files import write_whole

ITEM = "output.pkl"  # joblib's
SUM = f"{ITEM}.sha256"


@contextlib.contextmanager
def checksums():
    """Have joblib's stores write checksums, and believe no item with another one, inside the block.

    A class of our own would not do: Benchopt's keys depend on the store's, and `benchopt run` shares these cells.
    """
    FileSystemStoreBackend.dump_item, FileSystemStoreBackend.contains_item = _dump_item, _contains_item
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):  # blocks may overlap
            del FileSystemStoreBackend.dump_item, FileSystemStoreBackend.contains_item


def _dump_item(store, call_id, item, verbose=1):
    folder = Path(store.location, *call_id)
    (folder / SUM).unlink(missing_ok=True)
    StoreBackendMixin.dump_item(store, call_id, item, verbose)  # joblib warns where it can't be written
    with contextlib.suppress(OSError):  # a cell without a checksum is one as Benchopt leaves it
        write_whole(folder / SUM, hashlib.sha256((folder / ITEM).read_bytes()).hexdigest().encode())


def _contains_item(store, call_id):
    if not StoreBackendMixin.contains_item(store, call_id):
        return False
    folder = Path(store.location, *call_id)
    try:
        wanted = (folder / SUM).read_text()
    except FileNotFoundError:
        return True
    if hashlib.sha256((folder / ITEM).read_bytes()).hexdigest() == wanted:
        return True
    print(f"{folder / ITEM} is not what was written there: it is computed again")
    return False
