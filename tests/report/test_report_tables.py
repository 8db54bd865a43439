"""Tables: how names are written, what is told of hyper-parameters, where intervals end, and what explains words."""

import json
import re

import numpy as np
import pandas as pd
import published
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import ADAMW, DIGITS, SGD, TRAINING, training_frame

from orthobench.report import claims, history, names
from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.leaderboard import format_mean, leaderboard, protocol
from orthobench.report.names import normalised, parameters, plain, selected, told_apart
from orthobench.report.site import boards, glossary, rows, solvers, verdicts
from orthobench.report.site.results import read_results
from orthobench.report.statistics import interval, interval_told
from orthobench.report.text import read_frame
from orthobench.report.verify import tables_of

# ----- names -----


WAYS = (("100", "100.0", "1e2", "+100.", "1E+2"), ("0.01", "1e-2", ".01"), ("0", "-0.0", "0e5"))


@pytest.mark.parametrize("ways", WAYS)
def test_a_number_is_written_in_one_way(ways):
    assert {plain(each) for each in ways} == {ways[0]}
    assert len({normalised(f"A[kind=x,rate={each}]") for each in ways}) == 1
    assert all(selected([f"A[rate={ways[0]}]"], f"A[rate={each}]") for each in ways)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_keeps_its_value(number):
    written = plain(str(number))
    assert float(written) == float(number)
    assert plain(written) == written


NO_NUMBERS = (
    "float32",
    "True",
    "1:4",
    "007",
    "1_000",
    "5 4",
    "inf",
    "nan",
    "1e999",
    "1e-999",
    "",
    "12345678901234567.5",
)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_or_has_more_digits_stays(text):
    assert plain(text) == text


@given(st.text(alphabet="A[]=,.-+eE019 x", max_size=30))
def test_a_normalised_name_is_of_the_same_family_with_the_same_parameters(name):
    assert names.family(normalised(name)) == names.family(name)
    assert parameters(normalised(name)) == parameters(name)
    assert normalised(normalised(name)) == normalised(name)


WHOLE, HALF = "SGD[learning_rate=100,momentum=0.9]", "SGD[learning_rate=100.0,momentum=9e-1]"


def two_ways(seeds=4):
    """Rows of one solver under two names, with other seeds each."""
    frame = training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,), seeds=8)
    late = frame["idx_rep"] >= seeds
    own = frame["solver_name"].replace({SGD: WHOLE})
    return frame.assign(solver_name=own.mask(late, own.replace({WHOLE: HALF})))


def test_what_ran_as_100_and_as_100_0_is_one_solver(tmp_path):
    folder = published.write(tmp_path, {"training/one/cpu.parquet": published.provenance(two_ways())})
    (result,), problems = read_results(folder)
    assert problems == []
    for frame in (result.frame, read_frame(folder / "training/one/cpu.parquet")):
        assert set(frame["solver_name"]) == {WHOLE, ADAMW}
        found = {row.solver: row for row in leaderboard(frame, DIGITS, TRAINING, "held_out_loss", "AdamW")}
        assert found[WHOLE].n == 8
    # What computes a row again is the name that it ran as.
    late = result.frame[result.frame["idx_rep"] >= 4]
    assert f"-s '{HALF}'" in rows.command(result.benchmark, result.settings[0], late[late["solver_name"] == WHOLE])
    assert history.earlier_names(result.frame) == []


def test_one_cell_under_two_names_is_reported(tmp_path):
    frame = published.provenance(training_frame(solvers=(SGD,), datasets=(DIGITS,), seeds=2))
    both = [frame.assign(solver_name=each) for each in (WHOLE, HALF)]
    twice = {"training/one/cpu.parquet": pd.concat(both, ignore_index=True)}
    found, (problem,) = read_results(published.write(tmp_path / "one", twice))
    assert found == []
    assert "same point twice" in problem.what
    apart = {f"training/one/{name}.parquet": each for name, each in zip("ab", both, strict=True)}
    _, (problem,) = read_results(published.write(tmp_path / "two", apart))
    assert "2 of its cells are in training/one/a.parquet too" in problem.what


def test_what_all_solvers_share_is_told_once_and_the_rest_of_each():
    variants = ["A[dtype=f,rate=0.1,way=x]", "A[dtype=f,rate=0.20,way=x]"]
    told = told_apart([*variants, "B[dtype=f,decay=1]", "C[decay=1.0,dtype=f]"])
    assert told.of_all == ("dtype=f",)
    assert told.usual == ("decay=1",)
    assert list(told.own.values()) == [("A", ("rate=0.1", "way=x")), ("A", ("rate=0.2", "way=x")), ("B", ()), ("C", ())]


NAMED = st.builds("{}[a={},b={}]".format, *map(st.sampled_from, ("AB", "12", "12"))) | st.just("A")


@given(st.lists(NAMED, min_size=1, unique=True))
def test_a_name_with_its_own_parameters_means_one_solver(listed):
    told = told_apart(listed)
    assert len(set(told.own.values())) == len(listed)
    for name, (own, chips) in told.own.items():
        assert own == names.family(name)
        texts = {f"{key}={value}" for key, value in parameters(name).items()}
        assert {*told.of_all, *chips} <= texts
        keys = {text.partition("=")[0] for text in (*told.of_all, *chips)}
        usual = {text for text in told.usual if text.partition("=")[0] not in keys}
        # A usual value is of all that say no other, but for those that have no such parameter.
        assert {*told.of_all, *chips, *usual} == texts or (name == "A" and texts == {*told.of_all, *chips})


def test_the_usual_value_is_told_once_and_others_below_the_name():
    told = told_apart(["A[decay=0.1,rate=1]", "B[decay=0.1,rate=2]", "C[decay=0.1]", "C[decay=0]", "D[rate=3]"])
    assert (told.of_all, told.usual) == ((), ("decay=0.1",))
    assert [chips for _, chips in told.own.values()] == [("rate=1",), ("rate=2",), (), ("decay=0",), ("rate=3",)]
    # As if it had the usual one, were it not said of all of them.
    told = told_apart(["A[decay=0.1]", "B[decay=0.1]", "C[decay=0.1]", "C"])
    assert [chips for _, chips in told.own.values()] == [("decay=0.1",)] * 3 + [()]


def test_names_that_parameters_do_not_tell_apart_stay_whole():
    assert list(told_apart(["A[x", "A[y"]).own.values()) == [("A[x", ()), ("A[y", ())]


# ----- intervals -----


def test_an_interval_is_cut_at_what_is_possible_and_its_tests_are_not():
    values = [0.9, 1.0, 1.0, 1.0]
    free, cut = interval(values), interval(values, within=(0, 1))
    assert free.high > 1
    assert (cut.estimate, cut.low, cut.high) == (free.estimate, free.low, 1)
    assert interval([-1e-9, 0.0], within=(0, 1)).low <= interval([-1e-9, 0.0]).estimate  # by rounding, say
    assert interval_told((0, 1)).endswith(", cut at 0 and 1")
    assert interval_told((0, np.inf)).endswith(", cut at 0")
    assert interval_told((-np.inf, np.inf)).endswith("interval")


def test_a_leaderboard_shows_no_share_above_1_and_no_negative_loss():
    frame = training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,), seeds=3)
    spread = np.array([0.02, 0.5, 1.0])[frame["idx_rep"]]
    frame = frame.assign(objective_held_out_accuracy=spread, objective_held_out_loss=spread, objective_value=spread)
    for metric, most in (("held_out_accuracy", 1), ("held_out_loss", np.inf), ("value", np.inf)):
        for row in leaderboard(frame, DIGITS, TRAINING, metric, "AdamW"):
            free = interval([0.02, 0.5, 1.0])
            assert free.low < 0
            assert free.high > 1
            assert (row.low, row.high) == (0, min(free.high, most))
            assert row.half == pytest.approx(max(row.mean, min(free.high, most) - row.mean))
            assert format_mean(row).startswith("0.507 ± ")
            if row.difference is not None:
                assert row.difference.low == 0  # all differences are: what tests say of them is not cut
    told = protocol([], "held_out_accuracy", None, BENCHMARKS["benchmark_muon"].range_of("held_out_accuracy"))
    assert "cut at 0 and 1" in told


def test_the_range_of_the_monitored_value_is_that_of_its_metrics():
    assert BENCHMARKS["benchmark_lipschitz"].range_of("value") == (0, 2)  # 1 - muFidelity, which may be -1
    assert BENCHMARKS["."].range_of("value") == (0, np.inf)
    assert BENCHMARKS["."].range_of("nothing") == (-np.inf, np.inf)


# ----- pages -----


@pytest.fixture(scope="module")
def files():
    return published.files()


def test_captions_tell_what_is_alike_and_chips_what_is_not(files):
    page = files["robustness/index.html"].decode()
    header, *lines = tables_of(page)["board-one-1-certified_accuracy_36"]
    caption = re.search(r'<table id="board-one-1-certified_accuracy_36">\s*<caption>(.*?)</caption>', page)[1]
    assert "all with alpha=0.98, learning_rate=0.05, loss=cross_entropy, margin=0.399, temperature=0.25" in caption
    assert "cut at 0 and 1" in caption
    assert {line[header.index("solver")] for line in lines} == {"Plain", "Cayley"}
    page = files["training/index.html"].decode()
    header, *lines = tables_of(page)["board-one-1-held_out_loss"]
    assert "SGD learning_rate=0.1 momentum=0.9" in {line[header.index("solver")] for line in lines}
    data = files["data/training/one/board-1.js"].decode()[len("orthobench.receive(") : -3]
    cells = [row[1] for row in json.loads(f"[{data}]")[1]["held_out_loss"]["rows"]]
    (own,) = (each for each in cells if each["t"] == "SGD")
    assert own["c"] == ["learning_rate=0.1", "momentum=0.9"]


def test_ranks_are_shaded_by_fifths_of_those_that_have_one(files):
    page = files["training/index.html"].decode()
    key = next(key for key in tables_of(page) if key.startswith("overview-one"))
    table = page.partition(f'<table id="{key}">')[2].partition("</table>")[0]
    cells = re.findall(r'<td(?: data-sort="([\d.]+)")?(?: class="([^"]*)")?>(?:<a [^>]*>)?([^<]*)', table)
    shades = {}
    for middle, classes, text in cells:
        if re.match(r"\d", text):
            shades.setdefault(float(middle), set()).update(re.findall(r"heat-(\d)", classes))
        else:
            assert "heat" not in classes
    assert all(len(found) == 1 for found in shades.values())  # all data sets rank as many
    in_order = [int(min(shades[middle])) for middle in sorted(shades)]
    assert in_order == sorted(in_order)
    assert 0 <= in_order[0] < in_order[-1] < boards.HEAT


@pytest.mark.parametrize(
    "columns",
    [boards.COLUMNS, solvers.COLUMNS, verdicts.COLUMNS, claims.CHECK_COLUMNS, ("setting",), (*rows._FIRST, "message")],
    ids=["leaderboard", "solver", "claims", "checks", "setting", "rows"],
)
def test_every_column_is_explained(columns):
    assert list(glossary.terms(columns)) == list(columns)


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda each: each.folder)
def test_every_metric_is_explained_by_itself(benchmark):
    told = glossary.metrics(benchmark, benchmark.leaderboards)
    assert len(told) == len(benchmark.leaderboards)
    for label, meaning in told.items():
        assert meaning.endswith((" lower is better", " higher is better"))
        assert not re.match(r"(so far|of it|parts of it|another|the same|of the)\b", meaning), label
        assert "`" not in meaning
        assert "\\" not in meaning


def test_what_explains_a_page_is_on_it(files):
    for path, kinds in (
        ("index.html", {"table"}),
        ("training/index.html", {"table", "metric"}),
        ("training/solvers/adamw.html", {"table", "metric"}),
        (next(path for path in files if path.startswith("training/one/1-")), {"table", "metric", "column"}),
    ):
        page = files[path].decode()
        found = {
            part: re.findall(r"<dt>(.*?)</dt>", inside)
            for part, inside in re.findall(r'<dl data-words="(\w+)">(.*?)</dl>', page, re.DOTALL)
        }
        assert found.keys() == kinds
        for about in re.findall(r'<span class="term">(.*?)</span>', page):
            assert about in found["metric"]
        for part, header in re.findall(r'data-words="(\w+)">.*?<thead>(.*?)</thead>', page, re.DOTALL):
            columns = re.findall(r'<th scope="col">(.*?)</th>', header)
            assert columns
            if part == "table" and path != "training/index.html":
                assert set(columns) <= set(found[part])
