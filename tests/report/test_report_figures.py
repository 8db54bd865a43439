"""What the figures of the root benchmark draw: work, spectra, sizes, data sets and layers."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up import (
    DATASETS,
    GAUSSIAN,
    LAYERS,
    MOMENTA,
    POWER_LAW,
    STEPS,
    WIDE,
    constant,
    fail,
    noise,
    objective,
    root_frame,
)
from scipy import stats

from orthobench.report import names
from orthobench.report.curves import error_traces
from orthobench.report.layers import COLUMNS, features, format_layer, layers, nearest_regime
from orthobench.report.layers import protocol as layers_protocol
from orthobench.report.matrices import last_matrices, parse
from orthobench.report.page import draw, remember
from orthobench.report.profiles import traces_by_size, traces_by_spectrum
from orthobench.report.spectra import ideal_exponent, out_label, spectrum_traces
from orthobench.report.statistics import median_interval, paired_comparison

FLOAT32 = objective()
METHODS = ["Muon", "Turbo-Muon"]


def curves(traces):
    return {trace.label: trace for trace in traces if trace.kind == "curve"}


def last(rows, solver, dataset, column="relative_error"):
    own = rows[(rows.solver_name == solver) & (rows.dataset_name == dataset) & (rows.stop_val == STEPS[solver])]
    return own.set_index("idx_rep")[f"objective_{column}"]


# ----- names -----


def test_names_are_taken_apart():
    assert names.parameters(GAUSSIAN) == {"columns": "128", "count": "4", "rows": "128"}
    assert names.parameters("SVD") == {}
    assert [names.regime(name) for name in DATASETS] == ["gaussian", "gaussian", "power_law", "momenta"]
    assert [names.shape_class(name) for name in DATASETS] == ["square", "1:4", "square", "other"]
    assert names.shape("gaussian[rows=a,columns=0]") is None
    assert names.size(WIDE) == 128


def test_data_sets_come_in_a_fixed_order():
    early, late = MOMENTA.replace("20", "3"), MOMENTA.replace("20", "100")
    shuffled = ["Gaussian", late, POWER_LAW, MOMENTA, early, GAUSSIAN]
    assert names.in_order(shuffled) == [GAUSSIAN, POWER_LAW, early, MOMENTA, late, "Gaussian"]


def test_short_names_never_mean_two_data_sets():
    twin = GAUSSIAN.replace("count=4", "count=8")
    assert names.short_names([GAUSSIAN, WIDE, "x"]) == {GAUSSIAN: "gaussian 128x128", WIDE: "gaussian 64x256", "x": "x"}
    assert names.short_names([GAUSSIAN, twin]) == {GAUSSIAN: GAUSSIAN, twin: twin}


# ----- matrices -----


def test_matrices_are_those_of_the_last_points_of_good_cells():
    rows = fail(root_frame(solvers=METHODS, seeds=3), "Muon", [1])
    found = last_matrices(rows.sample(frac=1, random_state=0), MOMENTA, FLOAT32)
    assert [(solver, seed) for solver, seed, _ in found] == [
        ("Muon", 0),
        ("Muon", 2),
        ("Turbo-Muon", 0),
        ("Turbo-Muon", 1),
        ("Turbo-Muon", 2),
    ]
    (first, second) = found[0][2]
    assert (first.name, second.name) == LAYERS
    assert first.relative_error == pytest.approx(last(rows, "Muon", MOMENTA)[0])


@pytest.mark.parametrize("text", ["", "{", "3", "null", "[1]", '[{"name": "0"}]', float("nan"), None])
def test_text_that_describes_no_matrices_is_none(text):
    assert parse(text) is None


def test_a_matrix_with_a_figure_that_is_not_finite_is_none():
    good = root_frame(seeds=1, solvers=["Muon"], datasets=[GAUSSIAN])["objective_by_matrix"].iloc[-1]
    assert len(parse(good)) == 2
    assert parse(good.replace('"stable_rank": ', '"stable_rank": NaN, "was": ')) is None
    short = json.loads(good)
    short[0]["sigma_out"].pop()
    assert parse(json.dumps(short)) is None


# ----- error against work -----


def test_work_is_the_count_of_the_harness():
    rows = root_frame()
    drawn = curves(error_traces(rows, GAUSSIAN, FLOAT32, against="flops"))
    assert "SVD" not in drawn  # no count: not on the axis
    assert drawn["Turbo-Muon"].x == [1e6, 2e6, 3e6, 4e6]
    in_time = curves(error_traces(rows, GAUSSIAN, FLOAT32))
    assert drawn["Muon"].y == in_time["Muon"].y
    assert drawn["Muon"].y_low == in_time["Muon"].y_low


def test_a_failure_without_a_count_stays_at_the_work_done():
    rows = fail(root_frame(), "Muon", [2])
    (cross,) = [trace for trace in error_traces(rows, GAUSSIAN, FLOAT32, against="flops") if trace.kind == "failed"]
    assert (cross.label, cross.x) == ("Muon: diverged, 1 of 8 seeds", [4e6])
    assert error_traces(rows.drop(columns="objective_flops"), GAUSSIAN, FLOAT32, against="flops") == []


# ----- singular values -----


def test_singular_values_are_medians_over_seeds_of_medians_in_bins():
    rows = root_frame(seeds=10, solvers=METHODS)
    *series, ideal = spectrum_traces(rows, POWER_LAW, FLOAT32)
    (muon, _) = series
    edges = np.geomspace(64**-1.1, 1, 25)
    points = pd.DataFrame(
        [
            (seed, value, out)
            for solver, seed, matrices in last_matrices(rows, POWER_LAW, FLOAT32)
            if solver == "Muon"
            for matrix in matrices
            for value, out in zip(matrix.sigma_in, matrix.sigma_out, strict=True)
        ],
        columns=["seed", "x", "y"],
    )
    bins = pd.cut(points["x"].clip(edges[0], edges[-1]), edges, right=True, include_lowest=True)
    expected = [
        median_interval(group.groupby("seed")["y"].median()) for _, group in points.groupby(bins, observed=True)
    ]
    assert muon.y == pytest.approx([each.estimate for each in expected])
    assert muon.y_low == pytest.approx([each.low for each in expected])
    assert muon.x == sorted(muon.x)
    assert muon.n == 10
    assert (ideal.solver, ideal.y) == (None, [1, 1])


def test_the_ideal_line_has_the_exponent_of_the_objective():
    rows = root_frame(seeds=1)
    rows["objective_name"] = name = "Orthogonalisation[dtype=float32,exponent=0.5]"
    muon, *_, ideal = spectrum_traces(rows[rows["solver_name"] == "Muon"], POWER_LAW, name)
    # Such gains have the scale of the matrix to the exponent, which the rows do not tell: they are relative too.
    assert muon.y[-1] == 1
    assert "divided" in out_label(name)
    assert "divided" not in out_label(FLOAT32)
    assert ideal.y == pytest.approx(np.sqrt(ideal.x))
    assert ideal.label == "ideal: exponent 0.500"
    assert ideal_exponent("Polar factor") == 0


def test_a_zero_matrix_has_no_singular_values():
    rows = root_frame(seeds=1, solvers=["Muon"], datasets=[MOMENTA])
    zero = {"name": "zero", "rows": 2, "columns": 2, "rank": 0, "stable_rank": 0.0, "relative_error": 0.0}
    rows["objective_by_matrix"] = json.dumps([{**zero, "sigma_in": [], "sigma_out": []}])
    assert spectrum_traces(rows, MOMENTA, FLOAT32) == []
    assert layers(rows, FLOAT32) == []


def test_failed_cells_show_no_singular_values():
    rows = fail(root_frame(seeds=10, solvers=METHODS), "Muon", [0, 1])
    assert {label: trace.n for label, trace in curves(spectrum_traces(rows, GAUSSIAN, FLOAT32)).items()} == {
        "Muon": 8,
        "Turbo-Muon": 10,
    }


# ----- sizes and data sets -----


def test_time_is_that_of_gaussian_matrices_of_one_shape():
    big = "gaussian[columns=512,count=1,rows=512]"
    rows = root_frame(time=constant(2.0), datasets=[*DATASETS, big], solvers=METHODS, seeds=10)
    drawn = traces_by_size(rows, FLOAT32, "square")
    assert curves(drawn)["Muon"].x == [128, 512]
    expected = median_interval(last(rows, "Muon", big, "time_per_matrix_s"))
    assert curves(drawn)["Muon"].y[1] == expected.estimate
    bars = [trace for trace in drawn if trace.kind == "line" and trace.label == "Muon"]
    assert bars[1].y == [expected.low, expected.high]
    assert curves(traces_by_size(rows, FLOAT32, "1:4"))["Muon"].x == [128]
    assert traces_by_size(rows, "Another", "square") == []


def test_data_sets_stand_side_by_side_and_are_named_in_the_legend():
    rows = root_frame(seeds=10, solvers=METHODS)
    drawn = traces_by_spectrum(rows, FLOAT32, "relative_error")
    assert [round(x) for x in curves(drawn)["Muon"].x] == [1, 2, 3, 4]
    assert curves(drawn)["Muon"].x != curves(drawn)["Turbo-Muon"].x  # bars do not hide each other
    assert curves(drawn)["Muon"].y[3] == median_interval(last(rows, "Muon", MOMENTA)).estimate
    assert [trace.label for trace in drawn if trace.solver is None] == [
        "1: gaussian 128x128",
        "2: gaussian 64x256",
        "3: power_law 128x128",
        "4: transformer momenta, step 20",
    ]


def test_failed_cells_are_crosses_beside_the_others():
    rows = fail(fail(root_frame(solvers=METHODS), "Muon", [0], datasets=[MOMENTA]), "Turbo-Muon", range(8), "timeout")
    drawn = traces_by_spectrum(rows, FLOAT32, "relative_error")
    crosses = {trace.label: trace for trace in drawn if trace.kind == "failed"}
    one = crosses.pop("Muon: 1 diverged of 8 seeds on transformer momenta, step 20")
    assert one.y == [curves(drawn)["Muon"].y[3]]  # at the median of the others
    assert curves(drawn)["Muon"].n == 7
    assert len(crosses) == 4
    top = max(y for trace in drawn if trace.kind == "line" for y in trace.y)
    assert {cross.y[0] for cross in crosses.values()} == {top}
    assert "Turbo-Muon" not in curves(drawn)


# ----- layers -----


def worse_on_momenta(solver, dataset, dtype, seed):
    level = 0.2 if solver == "Turbo-Muon" else 0.1
    return level * noise(dataset, seed) * noise(solver, dataset, seed)


def test_layers_have_their_errors_and_paired_differences():
    rows = root_frame(worse_on_momenta, seeds=9)
    found = layers(rows, FLOAT32)
    assert [(row.network, row.step, row.layer) for row in found] == [("transformer", "20", name) for name in LAYERS]
    turbo, muon = last(rows, "Turbo-Muon", MOMENTA), last(rows, "Muon", MOMENTA)
    test = paired_comparison(2 * turbo, 2 * muon)  # the made-up error of the second layer is twice that of the first
    second = found[1]
    assert second.errors["Muon"].estimate == pytest.approx(2 * muon.mean())
    assert (second.difference.difference, second.difference.low) == pytest.approx((test.difference, test.low))
    assert second.difference.p == pytest.approx(2 * stats.ttest_rel(turbo, muon).pvalue)  # Holm: two layers, same p
    assert (second.n, second.shape, second.rank) == (9, (64, 96), 64)
    assert len(format_layer(second)) == len(COLUMNS)


def test_the_regime_is_that_of_the_nearest_synthetic_data_set():
    found = layers(root_frame(), FLOAT32)
    assert {row.regime for row in found} == {"power_law"}
    assert "power_law: 2" in layers_protocol(found)
    alone = layers(root_frame(datasets=[MOMENTA]), FLOAT32)
    assert {row.regime for row in alone} == {""}
    assert "for lack of synthetic data sets" in layers_protocol(alone)
    assert "n/a" in format_layer(alone[0])


def test_the_tail_exponent_is_that_of_a_power_law():
    (_, _, (first, second)) = last_matrices(root_frame(), POWER_LAW, FLOAT32)[0]
    assert features(first)[1] == pytest.approx(1.0)
    assert features(second)[1] == pytest.approx(1.1)
    assert features(first)[0] == pytest.approx(np.log10(first.stable_rank / 64))


def test_two_regimes_are_named_where_the_second_is_not_twice_as_far():
    references = [("a", np.array([0.0, 0.0])), ("b", np.array([1.0, 0.0])), ("b", np.array([9.0, 0.0]))]
    assert nearest_regime(np.array([0.2, 0.0]), references) == ("a", pytest.approx(0.2))
    assert nearest_regime(np.array([0.4, 0.0]), references)[0] == "a or b"
    assert nearest_regime(np.array([1.0, 0.0]), references) == ("b", 0)
    assert nearest_regime(np.array([1.0, 0.0]), [])[0] == ""


def test_layers_without_one_of_the_methods_or_enough_seeds_have_no_test():
    (first, _) = layers(root_frame(solvers=["SVD", "Muon"]), FLOAT32)
    assert first.difference is None
    assert list(first.errors) == ["Muon"]
    (first, _) = layers(root_frame(seeds=7), FLOAT32)
    assert first.difference.n == 7
    assert np.isnan(first.difference.p)
    rows = fail(root_frame(seeds=9), "Muon", [0, 1])
    assert layers(rows, FLOAT32)[0].difference.n == 7


# ----- drawing -----


def test_what_belongs_to_no_solver_takes_no_colour_from_them():
    asked = []

    def get_style(label):
        asked.append(label)
        return {"color": (0, 0, 0, 1), "marker": 3}

    drawn = draw(spectrum_traces(root_frame(seeds=1, solvers=METHODS), GAUSSIAN, FLOAT32), get_style)
    assert asked == METHODS
    assert len({trace["color"] for trace in drawn}) == 2


def test_what_was_made_of_a_frame_is_remembered_until_another_one_comes():
    calls = []
    function = remember(lambda frame, name: calls.append(name) or (len(frame), name))
    one, two = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1, 2]})
    asked = [(one, "x"), (one, "y"), (one, "x"), (two, "x"), (one, "y")]
    assert [function(*each) for each in asked] == [(len(frame), name) for frame, name in asked]
    assert calls == ["x", "y", "x", "y"]
