"""Runs of `benchmark_segmentation`'s objective on the small problem of `segmentation_toys`."""

import shutil

from conftest import ROOT, SmallBenchmark

from orthobench.harness import raise_failures

DATASET = f"""
import sys
sys.path.append({str(ROOT / "tests" / "harness" / "segmentation")!r})
from segmentation_toys import make_task
from orthobench.harness.segmentation import SegmentationDataset

class Dataset(SegmentationDataset):
    name = "toy"
    parameters = {{"steps": [4], "padding": ["circular"], "shown": [False], "missing": [False]}}

    def task(self, seed):
        if self.missing:
            raise ConnectionError("no such file")
        return make_task(steps=self.steps, padding_mode=self.padding, pictures=self.shown)
"""


def run(folder, solvers, part="held_out", **options):
    """Run solvers, a dict of name to text, in a folder that may not be there yet; return the rows."""
    raise_failures(False)
    small = SmallBenchmark(folder)
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "benchmark_segmentation" / "objective.py", folder)
    small.write({"datasets/toy.py": DATASET} | {f"solvers/{name}.py": text for name, text in solvers.items()})
    rows = small.run(objective_filters=[f"Segmentation[part={part}]"], **options)
    return rows.assign(solver=rows["solver_name"].str.partition("[")[0])
