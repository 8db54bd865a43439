"""Where the clone of OrthoBench is that this package belongs to."""

from pathlib import Path

FILE = "benchmark.toml"


def find_root():
    """Return the folder of the repository that this package is in, or else the one that is worked in.

    Raises
    ------
    FileNotFoundError
        If neither is one.
    """
    candidates = [Path(__file__).parents[3], Path.cwd(), *Path.cwd().parents]
    found = next((each for each in candidates if (each / FILE).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no {FILE}: results are reported from a clone of OrthoBench, or below one.")
    return found
