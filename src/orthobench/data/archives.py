"""Members of archives, read into memory: nothing is extracted, and a damaged archive is an error that names it."""

import gzip
import io
import tarfile
import zipfile
import zlib


def gunzip(path):
    """Return the content of a gzip file.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If it isn't whole.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error})") from error


def read_tar(path, wanted):
    """Read regular members of a .tar file, or of a .tar.gz file (of any other ending), which is unpacked in memory.

    Parameters
    ----------
    path : pathlib.Path
    wanted : callable
        From a member's name, as it is in the archive, to whether it is read.

    Returns
    -------
    dict of str to bytes
        In the archive's order.

    Raises
    ------
    ValueError
        If it isn't a whole archive.
    """
    try:
        file = path.open("rb") if path.suffix == ".tar" else io.BytesIO(gunzip(path))
        with file, tarfile.open(fileobj=file, mode="r:") as archive:
            chosen = (member for member in archive if member.isreg() and wanted(member.name))
            return {member.name: archive.extractfile(member).read() for member in chosen}
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not a whole tar archive ({error})") from error


def read_zip(path, wanted):
    """Read members of a zip file; parameters, result and errors are those of `read_tar`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist() if wanted(name)}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # The last two: a method or an encryption that a damaged header asks for.
        raise ValueError(f"{path} is not a whole zip archive ({error})") from error


def choose_members(members, names, path):
    """Return those of the given names, in their order.

    Parameters
    ----------
    members : dict of str to bytes
    names : sequence of str
    path : pathlib.Path
        Of the archive, for the message.

    Returns
    -------
    dict of str to bytes

    Raises
    ------
    ValueError
        If one is missing.
    """
    lacking = [name for name in names if name not in members]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    return {name: members[name] for name in names}
