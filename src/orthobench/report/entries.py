"""TOML files of entries: lists of tables, ``[[name]]``, each of which is a dataclass of its keys."""

import tomllib
from dataclasses import MISSING, fields


def read_entries(path, kinds, find_lack):
    """Read the entries of a file; one that is not there has none.

    Parameters
    ----------
    path : pathlib.Path
    kinds : dict of str to type
        The dataclass of each list of tables.
    find_lack : callable
        Returns what is wrong with an entry; empty if nothing is.

    Returns
    -------
    dict of str to tuple
        The entries by the name of their list.

    Raises
    ------
    ValueError
        If something in it is not as it should be. The message names the file, the entry and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:  # also what is not UTF-8
        raise ValueError(f"{path}: not a TOML file ({error}).") from error
    if not content.keys() <= kinds.keys():
        unknown = ", ".join(content.keys() - kinds.keys())
        raise ValueError(f"{path}: unknown tables {unknown}; allowed: {', '.join(kinds)}.")
    found = {}
    for name, kind in kinds.items():
        tables = content.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            raise ValueError(f"{path}: {name} is {tables!r}; allowed: tables [[{name}]].")
        owners = [f"{path}: {name} number {number}" for number in range(1, len(tables) + 1)]
        found[name] = tuple(_entry(*each, kind, find_lack) for each in zip(owners, tables, strict=True))
    return found


def _entry(owner, table, kind, find_lack):
    types = {each.name: each.type for each in fields(kind)}
    blank = [name for name, value in table.items() if isinstance(value, str) and not value.strip()]
    wrong = [name for name, value in table.items() if name in blank or type(value) is not types.get(name)]
    lacking = [each.name for each in fields(kind) if each.default is MISSING and each.name not in table]
    if wrong or lacking:
        told = ", ".join(f"{name} ({each.__name__})" for name, each in types.items())
        raise ValueError(
            f"{owner}: keys {', '.join(wrong + lacking)}: unknown, missing, empty or of another type; allowed: {told}."
        )
    entry = kind(**table)
    lack = find_lack(entry)
    if lack:
        raise ValueError(f"{owner}: {lack}.")
    return entry
