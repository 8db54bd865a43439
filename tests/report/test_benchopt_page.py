"""Benchopt's own page of each benchmark, from rows in which almost nothing came out."""

import json
import re

import numpy as np
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.helpers import reset_solver_styles
from benchopt.results import read_results
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from conftest import ROOT

PUBLISHED = {
    ".": "orthogonalisation/epyc_2_cores/cpu",
    "benchmark_muon": "training/epyc_2_cores/cpu",
    "benchmark_lipschitz": "robustness/epyc_2_cores/cpu",
    "benchmark_dp": "privacy/epyc_2_cores/cpu",
    "benchmark_rcp": "conformal/epyc_2_cores/seeds",
    "benchmark_segmentation": "segmentation/epyc_2_cores/cpu",
}


def published(benchmark):
    """Return rows of four solvers on one data set: in `benchmark_rcp` of two that have curves of their own."""
    rows = read_results(ROOT / "results" / f"{PUBLISHED[benchmark]}.parquet")
    rows = rows[rows["dataset_name"] == rows["dataset_name"].min()]
    solvers = sorted(rows["solver_name"].unique(), key=lambda name: ("Vanilla" in name, name))
    return rows[rows["solver_name"].isin(solvers[:2] + solvers[-2:])].reset_index(drop=True)


def metrics(rows):
    numbers = rows.select_dtypes("number").columns
    return [name for name in numbers if name.startswith("objective_") and not name.startswith("objective_env_")]


def almost_nothing(rows):
    """One solver diverges at once, two have infinite figures, one has a single point."""
    first, *infinite, last = rows["solver_name"].unique()
    rows = rows[~rows["solver_name"].isin([first, last]) | ~rows.duplicated("solver_name")].copy()
    rows[metrics(rows)] = rows[metrics(rows)].astype(float)
    unbounded = [name for name in metrics(rows) if "p_value" not in name]
    rows.loc[rows["solver_name"].isin(infinite), unbounded] = np.inf
    failed = rows["solver_name"] == first
    rows.loc[failed, metrics(rows)] = np.nan
    rows.loc[failed, ["objective_status", "objective_message"]] = ["diverged", "NaN at once"]
    return rows


def no_figure(rows):
    """Good rows, whose metrics are all NaN."""
    return rows.assign(**dict.fromkeys(metrics(rows), np.nan))


def one_metric_gone(rows):
    return rows.assign(**{metrics(rows)[0]: np.nan})


@pytest.mark.parametrize("worse", [almost_nothing, no_figure, one_metric_gone])
@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_a_page_is_made_of_rows_that_failed_and_has_their_solvers(benchmark, worse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    reset_solver_styles()
    folder, rows = ROOT / benchmark, worse(published(benchmark))
    plots = {path.name: path.read_text() for path in (folder / "plots").glob("*.py")}
    extra = {"claims.toml": (folder / "claims.toml").read_text()}
    config = (folder / "config.yml").read_text()
    with temp_benchmark(plots=plots, config=config, extra_files=extra) as made:
        outputs = made.get_output_folder()
        outputs.mkdir(parents=True, exist_ok=True)
        to_parquet(rows, outputs / "run.parquet")
        plot_benchmark(outputs / "run.parquet", made, display=False)
        page = (outputs / f"{made.name}_run.html").read_text()
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    assert sorted(data) == sorted(yaml.safe_load(config)["plots"])
    assert all(data.values())
    titles = [plot["title"] for plots in data.values() for plot in plots.values()]
    assert not [title for title in titles if title.startswith("error")]
    shown = json.dumps(data)
    for solver in rows["solver_name"].unique():
        assert re.sub(r"\W.*", "", solver) in shown
