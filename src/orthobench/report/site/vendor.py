"""Scripts of others that the pages use: exact versions, checked, kept in the user's cache, never committed."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orthobench.files import write_whole

VARIABLE = "ORTHOBENCH_VENDOR"
CACHE_VARIABLE = "ORTHOBENCH_CACHE"


@dataclass(frozen=True)
class Script:
    """A file of an npm package."""

    package: str
    version: str
    member: str  # of the package's archive
    sha256: str  # of that file

    @property
    def archive(self):
        """The name that ``npm pack`` gives the package's archive."""
        return f"{self.package}-{self.version}.tgz"

    @property
    def name(self):
        """The file's name on our pages."""
        return Path(self.member).name


# The versions that Benchopt's own pages ask for.
PLOTLY = Script(
    "plotly.js-dist-min",
    "2.12.1",
    "package/plotly.min.js",
    "10ebc4d3cd9125492b3cddfdcd348a1956c596d90f59b44355861ab34c98d902",
)
GRID = Script(
    "gridjs", "6.2.0", "package/dist/gridjs.umd.js", "f7402f347715568c73f061781edd8e7dceeecdd7e2503c28a1012b7ccbc12509"
)
GRID_STYLE = Script(
    "gridjs",
    "6.2.0",
    "package/dist/theme/mermaid.min.css",
    "ab9585e3983a57267a8f22f708fe40ad70f8c1bd5688ebfba31d11a0c7cca331",
)
ANIME = Script(
    "animejs", "2.0.2", "package/anime.min.js", "7813f21ffc8ab5a9c4808a33cae9e6234b4ab3b14245a8900bdd62879642077c"
)
SCRIPTS = (PLOTLY, GRID, GRID_STYLE, ANIME)


def vendored(script):
    """Return the content of a script, from the cache, the folder ``$ORTHOBENCH_VENDOR``, or npm, in this order.

    Raises
    ------
    RuntimeError
        If it can't be had, or is not what it should be; the message says what to do.
    """
    kept = _cache() / f"{script.package}-{script.version}" / script.name
    if kept.is_file() and _digest(kept.read_bytes()) == script.sha256:
        return kept.read_bytes()
    content = _checked(script, _extract(script, _archive(script)))
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, content)  # two builds at once never see half a file
    return content


def _cache():
    root = os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "orthobench"
    return Path(root).expanduser() / "vendor"


def _archive(script):
    """Return the bytes of the package's archive."""
    given = os.environ.get(VARIABLE)
    remedy = (
        f"Run `npm pack {script.package}@{script.version}` where there is a network, and set {VARIABLE} to the folder "
        f"that holds {script.archive}."
    )
    if given:
        path = Path(given).expanduser() / script.archive
        if not path.is_file():
            raise RuntimeError(f"{path}: no such file, and {VARIABLE} says that it is there. {remedy}")
        return path.read_bytes()
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"the pages need {script.name} of {script.package} {script.version}, and npm is missing. "
                           f"Install npm, or: {remedy}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", f"{script.package}@{script.version}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        path = Path(folder) / script.archive
        if done.returncode or not path.is_file():
            reason = " ".join((done.stderr or done.stdout).split())[-300:]
            raise RuntimeError(f"`{' '.join(command[1:])}` failed: {reason or 'no reason given'}. {remedy}")
        return path.read_bytes()


def _extract(script, archive):
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:gz") as packed:
                return packed.extractfile(script.member).read()
        except (tarfile.TarError, OSError, EOFError, KeyError, AttributeError) as error:
            raise RuntimeError(f"{script.archive} holds no {script.member} ({error}); pack it again.") from error


def _checked(script, content):
    found = _digest(content)
    if found != script.sha256:
        raise RuntimeError(
            f"{script.name} of {script.package} {script.version} has the SHA-256 {found}, expected {script.sha256}: "
            "not the published file; it is not used."
        )
    return content


def _digest(content):
    return hashlib.sha256(content).hexdigest()
