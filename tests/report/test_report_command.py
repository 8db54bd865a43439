"""`orthobench report`: which files it means, how its lines fit a terminal, and what it says of what is wrong."""

import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import screens
from made_up import (
    ADAMW,
    DIGITS,
    DOCS,
    PLAIN,
    SGD,
    TORCH_MUON,
    TURBO,
    fail,
    robustness_frame,
    root_frame,
    training_frame,
)
from test_report_cells import cell, every_status, frame

from orthobench import cli
from orthobench.report import sources, survival
from orthobench.report.command import main
from orthobench.report.leaderboard import COLUMNS
from orthobench.report.terminal import NARROWEST, Screen, length, shortened, wrap
from orthobench.report.text import LEFT_OUT, MEAN, leaderboards

WIDTHS = (10, 64, 80, 120, 200)
FOLDERS = {"benchmark_muon": "training", "benchmark_lipschitz": "robustness"}


def put(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path)
    return path


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with outputs of one benchmark, and published results of it and of another."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    training, robustness = training_frame(seeds=1, datasets=[DIGITS]), robustness_frame(seeds=1)
    for number, name in enumerate(("b", "a", "c")):
        path = put(tmp_path / f"benchmark_muon/outputs/{name}.parquet", training)
        os.utime(path, ns=(0, [2, 3, 1][number]))
    put(tmp_path / "results/training/one/cpu.parquet", training)
    put(tmp_path / "results/robustness/one/cpu.parquet", robustness)
    put(tmp_path / "results/robustness/one/tune.parquet", robustness)
    put(tmp_path / "results/.hidden/one/cpu.parquet", robustness)
    return tmp_path


def found(*named):
    return [str(path) for path in sources.find(list(named))[0]]


ROBUST = ["results/robustness/one/cpu.parquet", "results/robustness/one/tune.parquet"]
OUTPUT = "benchmark_muon/outputs/a.parquet"


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ([], [ROBUST, OUTPUT]),
        (["benchmark_muon"], [OUTPUT]),
        (["./benchmark_muon/"], [OUTPUT]),
        (["benchmark_lipschitz"], [ROBUST]),
        (["results/robustness"], [ROBUST]),
        (["results/robustness/"], [ROBUST]),
        (["results/robustness", ROBUST[1], f"./{ROBUST[0]}", "results/rob*/*/*.parquet"], [ROBUST]),
        (["results/**/*.parquet"], [ROBUST, "results/training/one/cpu.parquet"]),
        (["results/*"], [ROBUST, "results/training/one/cpu.parquet"]),
        (["benchmark_muon/outputs/[ab].parquet"], [OUTPUT, "benchmark_muon/outputs/b.parquet"]),
        (["benchmark_muon/outputs/a.parquet", "benchmark_muon"], [OUTPUT]),
    ],
)
def test_names_folders_patterns_and_benchmarks_mean_files_each_once(repository, named, meant):
    flat = [path for each in meant for path in ([each] if isinstance(each, str) else each)]
    assert sorted(found(*named)) == sorted(flat)
    assert sources.find(named)[1] == []


def test_a_benchmark_is_meant_from_its_own_folder_and_from_anywhere_else(repository, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(repository / "benchmark_muon")
    assert found(".") == ["outputs/a.parquet"]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert found("benchmark_muon") == [str(repository / OUTPUT)]
    assert found(".") == []


@pytest.mark.parametrize(
    "text", ["result/**/*.parquet", "nothing.parquet", "benchmark_moun", "", "empty", ".", "a" * 256]
)
def test_what_names_nothing_is_named_and_costs_nothing_else(repository, text, capsys):
    (repository / "empty").mkdir()
    assert main([text, OUTPUT]) == 2
    printed = capsys.readouterr()
    assert "AdamW" in printed.out
    assert printed.err.startswith(f"error: {text or repr(text)}: ")
    assert printed.err.count("\n") == 1


def test_a_link_to_itself_among_files_is_named_and_costs_no_other(repository, capsys):
    (repository / "results/training/one/loop.parquet").symlink_to("loop.parquet")
    assert main(["results/training"]) == 1
    printed = capsys.readouterr()
    assert "AdamW" in printed.out
    assert printed.err.startswith("error: results/training/one/loop.parquet: no such file.")


def test_without_any_results_it_says_how_to_have_some(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    assert main([]) == 2
    assert "orthobench quick" in capsys.readouterr().err


def test_the_command_of_the_suite_takes_options_before_and_after(repository, capsys):
    assert cli.main(["report", "--metric", "held_out_accuracy", OUTPUT]) == 0
    before = capsys.readouterr().out
    assert "held-out accuracy, higher is better" in before
    assert cli.main(["report", OUTPUT, "--metric", "held_out_accuracy"]) == 0
    assert capsys.readouterr().out == before
    assert cli.main(["report", "--metric", "held_out_accuracy"]) == 0  # the benchmarks that have it
    assert capsys.readouterr().out == before
    assert cli.main(["report", "--metric", "speed"]) == 2
    assert "no benchmark has the metric 'speed'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        cli.main(["report", "--help"])
    assert end.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "; ".join(LEFT_OUT) in told
    assert "relative_error" in told


def test_what_a_narrow_terminal_leaves_out_are_columns():
    assert {*COLUMNS, *survival.COLUMNS, "flags", "learning rates"} >= set(LEFT_OUT)


# ----- what is one result -----


def test_each_benchmark_has_a_heading_of_its_own(repository, capsys):
    assert main(["results"]) == 0
    printed = capsys.readouterr().out
    headings = re.findall(r"^== (\S+): ", printed, re.MULTILINE)
    assert headings == ["benchmark_lipschitz", "benchmark_lipschitz", "benchmark_muon"]
    assert [path for path in (*ROBUST, "results/training/one/cpu.parquet") if path not in printed] == []


def test_files_of_a_folder_are_one_result_but_not_where_they_have_cells_in_common(repository, capsys):
    outputs = repository / "benchmark_muon" / "outputs"
    put(outputs / "docs.parquet", training_frame(seeds=1, datasets=[DOCS], solvers=(TURBO,)))
    assert main(["benchmark_muon/outputs/a.parquet", "benchmark_muon/outputs/docs.parquet"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n== ") + printed.startswith("== ") == 1
    assert "outputs/a.parquet, benchmark_muon/outputs/docs.parquet" in printed
    assert main(["benchmark_muon/outputs/a.parquet", "benchmark_muon/outputs/b.parquet"]) == 0  # the same cells
    printed = capsys.readouterr()
    assert printed.out.count("== benchmark_muon") == 2
    assert printed.err == ""


def test_what_is_asked_for_and_does_not_apply_is_said_once_and_no_file_is_wrong(repository, capsys):
    assert main(["results", "--claims", "absent.toml"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: absent.toml: no such file")
    assert printed.err.count("\n") == 1
    assert main(["results/training", "--learning-rates"]) == 2
    assert "no objective with part=tuning" in capsys.readouterr().err
    assert main(["results", "--metric", "held_out_loss"]) == 2
    printed = capsys.readouterr()
    assert "AdamW" in printed.out
    assert "no leaderboard of 'held_out_loss'; choose one of certified_accuracy_36" in printed.err


def test_a_result_after_the_option_for_claims_is_a_result(repository, monkeypatch, capsys):
    monkeypatch.chdir(screens.FOLDER.parents[2])
    assert main(["--claims", str(repository / OUTPUT)]) == 0
    assert "turbo-muon-quality" in capsys.readouterr().out


# ----- width -----


def test_the_width_of_text_is_that_in_a_terminal():
    assert length("Muon") == 4
    assert length("正交化") == 6
    assert length("e\u0301") == 1
    assert shortened("Muon", 4) == "Muon"
    for text in ("Turbo-Muon[orthogonaliser=turbo_muon]", "正交化" * 9, "e\u0301" * 30):
        for width in range(4, 20):
            short = shortened(text, width)
            assert width - 2 <= length(short) <= width
            assert short[0] == text[0]
            assert "…" in short


@pytest.mark.parametrize("width", range(8, 60, 4))
def test_wrapped_text_fits_and_loses_nothing(width):
    for text in (
        "one two  three-hundred-and-forty-five/six,seven[eight=nine,ten=" + "x" * 70 + "]",
        "results/robustness/a_machine/cpu.parquet, results/robustness/a_machine/tune.parquet: 12 cells",
        "正交化的矩阵" * 12 + " 和 e\u0301" + "e\u0301" * 80,
    ):
        lines = wrap(text, width, "  ", "! ")
        assert all(length(line) <= width for line in lines)
        assert "".join("".join(lines).split()) == "".join(("! " + text).split())


def long_name(kind):
    return f"Gram Newton-Schulz of 正交化[{','.join(f'parameter_{i}={kind}_{i}' for i in range(6))}]"


def difficult():
    """Rows with long and wide names, of several failures, and of metrics that don't apply."""
    rows = [cell(long_name(kind), seed, [0.3 + 0.1 * seed]) for kind in ("a", "bc" * 30) for seed in range(9)]
    rows.append(cell("正" * 60, 0, [], "error", "ValueError: " + "no/such/kernel" * 20))
    return pd.concat([every_status(), frame(*rows)], ignore_index=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [difficult, lambda: training_frame(seeds=2), robustness_frame], ids=["hard", "n", "r"])
def test_no_line_is_longer_than_the_terminal_is_wide(width, make, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    path = put(tmp_path / "run.parquet", make())
    for options in ([], ["--failures"], ["--metric", "value"]):
        main([str(path), *options])
        lines = capsys.readouterr().out.splitlines()
        assert all(length(line) <= max(width, NARROWEST) for line in lines if not line.startswith("orthobench "))


def header_of(text):
    return next(line for line in text.splitlines() if re.match("rank +solver", line))


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_are_left_out_in_the_stated_order_and_said(width):
    rows = difficult()
    screen = Screen(max(width, NARROWEST))
    text = leaderboards(rows, None, None, screen)
    header = re.split(r" {2,}", header_of(text))
    shown = [name for name in (*COLUMNS, MEAN) if name in header]
    assert {"rank", "solver", MEAN} <= set(shown)
    absent = [name for name in LEFT_OUT if name in COLUMNS and name not in shown]
    assert absent == [name for name in LEFT_OUT if name in COLUMNS][: len(absent)]
    assert list(screen.left_out) == absent
    told = " ".join(screen.note())
    assert told == "" if not absent else told.startswith(f"{len(absent)} column")
    assert all(f'"{name}"' in told for name in absent)
    assert all(f"parameter_{i}=a_{i}" in "".join(text.split()) for i in range(6))  # names go on in the next line


def test_wide_shows_all_columns_and_whole_names(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    path = put(tmp_path / "run.parquet", difficult())
    assert main([str(path), "--wide"]) == 0
    printed = capsys.readouterr().out
    assert [name for name in COLUMNS if name not in header_of(printed)] == []
    assert "left out for width" not in printed
    assert long_name("a") in printed


def test_a_narrower_terminal_shows_no_column_that_a_wider_one_does_not():
    rows, before = difficult(), -1
    for width in range(NARROWEST, 260, 7):
        screen = Screen(width)
        assert MEAN in header_of(leaderboards(rows, None, None, screen))
        assert len(screen.left_out) <= before or before < 0
        before = len(screen.left_out)
    assert before == 0


@pytest.mark.parametrize("name", [f"{what}_{width}.txt" for what in ("quick", "report") for width in screens.WIDTHS])
def test_the_stored_screens_are_what_is_shown(name):
    """`python tests/report/screens.py` writes them anew."""
    what, _, width = name.removesuffix(".txt").partition("_")
    assert getattr(screens, what)(int(width)) == (screens.FOLDER / name).read_text(encoding="utf-8")


# ----- what is said once -----


@pytest.mark.parametrize(("seeds", "told"), [(1, "n = 1 is too small"), (3, "n = 3 is too small")])
def test_too_few_repetitions_to_rank_are_said_once(seeds, told):
    text = leaderboards(training_frame(seeds=seeds, datasets=[DIGITS, DOCS]), None, None, Screen())
    assert text.count("too small") == text.count(told) == 1
    table = text.partition("\n\n")[2].partition("\n\n")[0]
    assert "p = n/a" not in table
    assert "on one seed" not in table
    assert {line.split()[0] for line in table.splitlines()[2:7]} == {"-"}
    assert "not tested" not in text


def test_solvers_of_few_repetitions_among_others_are_named():
    rows = training_frame(datasets=[DIGITS])
    rows = rows[(rows["solver_name"] != SGD) | (rows["idx_rep"] < 2)]
    text = leaderboards(rows, None, None, Screen())
    assert "n = 2 of SGD is too small to rank" in text
    assert re.search(r"^1 .*Turbo-Muon", text, re.MULTILINE) or re.search(r"^1-\d .*Turbo-Muon", text, re.MULTILINE)


def test_enough_repetitions_have_ranks_and_no_such_note():
    text = leaderboards(training_frame(datasets=[DIGITS]), None, None, Screen())
    assert "too small" not in text
    assert "separable" in text


def test_rules_that_were_told_above_are_not_told_again():
    rows = robustness_frame(datasets=("digits[a=1]batch_size=64", "digits[a=2]batch_size=64"))
    text = leaderboards(rows, None, None, Screen())
    assert text.count("Student t interval") == 1
    assert text.count("higher is better: ") == 2
    assert text.count("higher is better: as above") == 1


def test_the_same_message_of_several_solvers_is_shown_once():
    rows = fail(fail(training_frame(seeds=2, datasets=[DIGITS]), SGD, (0,)), ADAMW, (1,))
    text = leaderboards(rows, None, None, Screen())
    assert text.count("made to fail") == 1
    assert re.search(r"^! (SGD, AdamW|AdamW, SGD)", re.sub(r"\[[^]]*\]", "", text), re.MULTILINE)


# ----- failures, and files that are wrong -----


def test_failures_are_counted_with_the_command_that_shows_each(tmp_path, monkeypatch, capsys):
    rows = fail(training_frame(seeds=3, datasets=[DIGITS]), TORCH_MUON, (0, 2))
    again = "benchopt run benchmark_muon -o 'a b' -d digits -f X -r 1"
    rows.loc[rows["objective_status"] != "ok", "objective_message"] = f"loss is NaN | retry: {again}"
    put(tmp_path / "a run.parquet", rows)
    monkeypatch.chdir(tmp_path)
    assert main(["a run.parquet"]) == 0
    *_, told, command = capsys.readouterr().out.splitlines()
    assert told == "! 2 of 15 cells failed. What each said, and the command that runs it again:"
    words = shlex.split(command)
    assert words[:2] == ["orthobench", "report"]
    assert main(words[2:]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"! diverged:\s+torch.optim.Muon", printed)) == 2
    assert printed.splitlines().count(again) == 2
    assert printed.count("loss is NaN") == 2
    assert main(["a run.parquet", "--wide"]) == 0
    assert again not in capsys.readouterr().out  # the tables have the message alone
    put(tmp_path / "good.parquet", robustness_frame(seeds=1, solvers=(PLAIN,)))
    assert main(["good.parquet", "--failures"]) == 0
    assert "no cell failed" in capsys.readouterr().out


def test_one_of_several_files_that_makes_no_result_is_named_and_the_others_are_reported(tmp_path, capsys):
    good = put(tmp_path / "good.parquet", root_frame(seeds=1))
    bad = put(tmp_path / "twice.parquet", pd.concat([root_frame(seeds=1, solvers=("CANS",))] * 2))
    assert main([str(good), str(bad)]) == 1
    printed = capsys.readouterr()
    assert "Turbo-Muon" in printed.out
    assert printed.err.startswith(f"error: {bad}: CANS, repetition 0")
    assert printed.err.count("\n") == 1


def test_a_reader_who_has_seen_enough_gets_no_traceback(tmp_path):
    path = put(tmp_path / "run.parquet", training_frame(seeds=1))
    command = [sys.executable, "-m", "orthobench", "report", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
