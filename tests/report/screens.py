"""What the terminal shows of made-up rows, stored in ``screens/``: ``python tests/report/screens.py`` renews it."""

import contextlib
import io
import os
import tempfile
from pathlib import Path
from unittest import mock

from made_up import ADAMW, CAYLEY, DIGITS, PLAIN, SGD, TORCH_MUON, TURBO, fail, robustness_frame, training_frame
from published import provenance, write

from orthobench.report.command import main
from orthobench.report.screen import screen
from orthobench.report.site.results import read_results

FOLDER = Path(__file__).with_name("screens")
WIDTHS = (80, 120, 200)
# Of a quick run: few repetitions, and a failure.
QUICK = {
    "training/here/quick.parquet": fail(training_frame(solvers=(SGD, ADAMW, TURBO), seeds=3), SGD, (1, 2)),
    "robustness/here/quick.parquet": robustness_frame(solvers=(PLAIN, CAYLEY), seeds=3),
}
# Of several files: enough repetitions in one, too few in another, and one that is wrong.
SEVERAL = {
    "training/here/cpu.parquet": fail(
        training_frame(solvers=(SGD, ADAMW, TORCH_MUON, TURBO), datasets=(DIGITS,)), TORCH_MUON, (1, 2)
    ),
    "robustness/here/quick.parquet": robustness_frame(solvers=(PLAIN, CAYLEY), seeds=3),
    "robustness/here/wrong.parquet": robustness_frame(seeds=1).assign(objective_accuracy=7.0),
}


def quick(width):
    """Return the end of `orthobench quick`."""
    with tempfile.TemporaryDirectory() as folder:
        results, _ = read_results(write(Path(folder), {name: provenance(frame) for name, frame in QUICK.items()}))
        return "\n".join(screen(results, width)) + "\n"


def report(width):
    """Return what `orthobench report 'results/**/*.parquet'` prints, and then what it says on stderr."""
    printed, said = io.StringIO(), io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, COLUMNS=str(width)),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
    ):
        write(Path("results"), {name: provenance(frame) for name, frame in SEVERAL.items()})
        main(["results/**/*.parquet"])
    return printed.getvalue() + said.getvalue()


def texts():
    """Map the names of the stored files to what is shown now."""
    return {f"{made.__name__}_{width}.txt": made(width) for made in (quick, report) for width in WIDTHS}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
