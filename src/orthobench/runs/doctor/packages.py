"""Installed packages against what `requirements.lock` pins and what `pyproject.toml` asks for."""

import re
import shlex
import tomllib
from importlib import metadata

from orthobench.report.page import one_line

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)")


def same(name):
    """Return a package's name as all of its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(name):
    """Return the version of an installed package, None if it isn't installed or is damaged."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


class Wanted:
    """What a clone's files say of packages.

    Parameters
    ----------
    root : pathlib.Path or None
        The clone's folder. Without one nothing is pinned, and this package's own metadata say what it asks for.

    Attributes
    ----------
    pinned : dict of str to str
        The version of each package of the lock, by its name there.
    problems : list of str
        Which file can't be read, and why.
    """

    def __init__(self, root):
        self.pinned, self.problems, self._required, self._extras = {}, [], [], {}
        reads = [(self._read_metadata, None)]
        if root is not None:
            locks = [root / "requirements.lock", *root.glob("requirements-torch.lock")]
            reads = [*((self._read_lock, path) for path in locks), (self._read_project, root / "pyproject.toml")]
        for read, path in reads:
            try:
                read(path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self.problems.append(f"{path} can't be read ({one_line(error)}): git checkout {path}")
            except ImportError as error:  # there are no metadata, or nothing that reads them
                self.problems.append(f"what orthobench needs can't be told: {error}")

    def _read_lock(self, path):
        lines = path.read_text(encoding="utf-8").splitlines()
        self.pinned |= dict(found.groups() for found in map(_PIN.match, lines) if found)

    def _read_project(self, path):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        self._extras = project["optional-dependencies"]
        self._required = [*project["dependencies"], *self._extras["site"]]

    def _read_metadata(self, _):
        from packaging.requirements import Requirement

        for text in metadata.requires("orthobench") or []:
            marker = Requirement(text).marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", "site")):
                self._required.append(text.partition(";")[0].strip())

    def differing(self):
        """Return the pinned packages with another version, as (name, installed, pinned), and those that are missing."""
        others, missing = [], []
        for name, pinned in self.pinned.items():
            version = installed(name)
            if version is None:
                missing.append(name)
            elif version.partition("+")[0] != pinned:  # without the build, such as +cpu
                others.append((name, version, pinned))
        return others, missing

    def unmet(self):
        """Return what a quick run and its page ask for, and don't find.

        Returns
        -------
        list of (str, str, str)
            Name, what is asked of its version, and the installed version, "" if there is none.
        """
        from packaging.requirements import Requirement

        found = []
        for each in map(Requirement, self._required):
            version = installed(each.name)
            applies = each.marker is None or each.marker.evaluate()
            if applies and (version is None or not each.specifier.contains(version, prereleases=True)):
                found.append((each.name, str(each.specifier), version or ""))
        return found

    def command(self, names, again=False):
        """Return the command that installs packages: as pinned, or else as an extra of this package asks for them."""
        pinned = {same(name): f"{name}=={version}" for name, version in self.pinned.items()}
        asked = {}
        for text in [*self._required, *(each for extra in self._extras.values() for each in extra)]:
            asked.setdefault(same(re.match(r"[\w.-]+", text)[0]), text.partition(";")[0].strip())
        texts = dict.fromkeys(pinned.get(same(name)) or asked.get(same(name)) or name for name in names)
        return shlex.join(["pip", "install", *(["--force-reinstall"] if again else []), *texts])
