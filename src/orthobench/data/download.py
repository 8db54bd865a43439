"""Files of public data sets: found on this machine, or downloaded and checked; never used unchecked."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import filelock
import pooch
import requests
import urllib3
from tqdm import tqdm

LOCATION_VARIABLE = "ORTHOBENCH_DATA"
OFFLINE_VARIABLE = "ORTHOBENCH_OFFLINE"
DEFAULT_LOCATION = "~/.cache/orthobench/data"
ATTEMPTS = 5
TIMEOUT_S = (10, 30)  # to connect, and between two pieces
PIECE_BYTES = 2**16


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Parameters
    ----------
    name : str
        Its folder's name.
    urls : tuple of str
        Web folders that hold its files, each ending in a slash, in the order in which they are tried.
    files : mapping of str to str
        File name to SHA-256, in hexadecimal; of files inside an archive too.
    licence : str
        As its makers state it.
    """

    name: str
    urls: tuple[str, ...]
    files: Mapping[str, str]
    licence: str


@dataclass(frozen=True)
class Exactly:
    """The very folder that holds the files of a data set, whatever its name; for the argument `folder` of loaders.

    Parameters
    ----------
    path : str or path-like
    """

    path: str | os.PathLike


def downloads_folder():
    """Return the folder of all data sets where none is named: $ORTHOBENCH_DATA, or else ~/.cache/orthobench/data."""
    return Path(os.environ.get(LOCATION_VARIABLE) or DEFAULT_LOCATION).expanduser()


def data_folder(source, folder=None):
    """Return where the files of a source are kept: in a folder of its name, not necessarily existing.

    Parameters
    ----------
    source : Source
        Of which data set.
    folder : str, path-like or Exactly, optional
        The folder of all data sets, by default $ORTHOBENCH_DATA, or else ~/.cache/orthobench/data; or exactly that of
        this one.

    Returns
    -------
    pathlib.Path
        `folder`/`source.name`, or the exact folder.
    """
    if isinstance(folder, Exactly):
        return Path(folder.path).expanduser()
    return (Path(folder).expanduser() if folder else downloads_folder()) / source.name


def fetch(source, name, folder=None):
    """Return the path of a file with the right content; download it if it is not there.

    A file that is there is checked, and neither the network nor a lock is used. Otherwise, unless $ORTHOBENCH_OFFLINE
    is set to anything but 0, it is downloaded from the first of the source's urls that has it, next to its final name,
    which appears only once the checksum is right. What an interrupted download got is kept in a file ending in `.part`,
    and the next one continues it if the server can; several processes may ask for the same file at once. A progress
    bar shows on a terminal.

    Parameters
    ----------
    source : Source
        The data set.
    name : str
        One of `source.files`.
    folder : str, path-like or Exactly, optional
        The folder of all data sets, or exactly that of this one; see `data_folder`.

    Returns
    -------
    pathlib.Path
        Of the file `name` in the `data_folder`.

    Raises
    ------
    ValueError
        If the file is there with another content (it is left as it is), or is none of the source's.
    ConnectionError
        If no url gave it, or none may be asked.
    OSError
        If the folder cannot be written to.
    """
    if name not in source.files:
        raise ValueError(f"name is {name!r}: give one of {', '.join(source.files)}")
    path = data_folder(source, folder) / name
    if not path.exists():
        if os.environ.get(OFFLINE_VARIABLE, "0") != "0":
            raise ConnectionError(
                f"{path} is not there, and {OFFLINE_VARIABLE} forbids to download it: unset that, or put it there "
                f"(SHA-256 {source.files[name]})"
            )
        _download_once(source, name, path)
    return check_content(path, source.files[name])


def check_content(path, expected):
    """Return the path of a file if its SHA-256 is the expected one.

    Parameters
    ----------
    path : pathlib.Path
        Of an existing file.
    expected : str
        SHA-256, in hexadecimal.

    Returns
    -------
    pathlib.Path
        The same path.

    Raises
    ------
    ValueError
        If it is not. The file is left as it is.
    """
    found = pooch.file_hash(path)
    if found != expected.lower():
        raise ValueError(
            f"{path} is damaged or another file: its SHA-256 is {found}, not {expected}; "
            "move it away to have it downloaded again, or put the right file there"
        )
    return path


def _download_once(source, name, path):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f"{name}.lock")):
            if not path.exists():  # else another process has got it meanwhile
                _download(source, name, path)
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error}): give a folder that can be written to, set {LOCATION_VARIABLE} to one, "
            f"or put {name} there"
        ) from error


def _download(source, name, path):
    part = path.with_name(f"{name}.part")
    failures = []
    for url in (base + name for base in source.urls):
        for _ in range(ATTEMPTS):
            had = _size(part)
            try:
                downloader = functools.partial(_continue, part=part)
                pooch.retrieve(url, f"sha256:{source.files[name]}", name, path.parent, downloader=downloader)
                return
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reason, again = error, _size(part) > had
            except ValueError as error:  # the checksum: what an earlier attempt left may be of another file
                reason, again = error, had > 0
            if not again:
                break
        failures.append(f"{url}: {reason}")
    raise ConnectionError(
        f"{name} of the data set {source.name} cannot be downloaded: get it in another way and put it into "
        f"{path.parent}, or give the folder that has {source.name}/{name} ({LOCATION_VARIABLE}); its SHA-256 is "
        f"{source.files[name]}. Tried " + "; ".join(failures)
    )


def _continue(url, output_file, _, *, part):
    """Get what `part` lacks, then rename it to `output_file`, which pooch checks."""
    start = _size(part)
    # The bytes as they are on the server: ranges and checksums are of those.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        nothing_left = start and response.status_code == requests.codes.requested_range_not_satisfiable
        if not nothing_left:
            response.raise_for_status()
            _append(response, part, start)
    os.replace(part, output_file)


def _append(response, part, start):
    continues = response.status_code == requests.codes.partial_content
    if not (continues and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")):
        start = 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    name = part.name.removesuffix(".part")
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None) as bar,
    ):
        # Less than Content-Length is an error of urllib3.
        for piece in response.raw.stream(PIECE_BYTES, decode_content=False):
            file.write(piece)
            bar.update(len(piece))


def _size(path):
    return path.stat().st_size if path.exists() else 0
