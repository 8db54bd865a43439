"""What `make run` ends in: one screen and one page of what was found."""

import html
import re

import pytest
from made_up import ADAMW, DIGITS, SGD, TURBO, fail, robustness_frame, training_frame
from published import EVIL, HOSTILE, provenance, training, write
from screens import QUICK

from orthobench import cli
from orthobench.report.screen import screen
from orthobench.report.site.results import read_results
from orthobench.report.site.single import single
from orthobench.report.site.tables import leading_number
from orthobench.runs import quick


@pytest.fixture
def results(tmp_path):
    return read_results(write(tmp_path, {name: provenance(frame) for name, frame in QUICK.items()}))[0]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_screen_fits_the_terminal_and_four_lines_are_a_benchmarks(results, width):
    lines = screen(results, width)
    commands = [line for line in lines if "benchopt run" in line]
    assert all(len(line) <= width for line in lines if line not in commands)
    assert len(lines) <= 6 + 4 * len(results)
    assert lines[0] == "33 cells, 6 failed; n < 8: no evidence, no ranks"
    for result in results:
        place = lines.index(result.benchmark.asked)
        own = lines[place + 1 : place + 5]
        (baseline,) = (line for line in own if "baseline" in line)
        assert result.benchmark.baseline in baseline
    assert any(line.startswith("! diverged: SGD") for line in lines)
    (command,) = commands
    assert " benchopt run benchmark_muon " in command


def test_the_page_is_whole_in_itself_and_shows_each_figure(results):
    page = single(results, "A run")
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    frame = QUICK["training/here/quick.parquet"]
    last = frame[(frame["solver_name"] == ADAMW) & (frame["dataset_name"] == DIGITS)]
    mean = last.sort_values("stop_val").groupby("idx_rep").tail(1)["objective_held_out_loss"].mean()
    table = page[page.index('<table id="board-1-held_out_loss">') :].partition("</table>")[0]
    (row,) = (row for row in table.partition("<tbody>")[2].split("<tr>") if "AdamW" in row)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert leading_number(html.unescape(cells[2])) == pytest.approx(mean, rel=5e-3)
    assert "2 diverged" in page
    assert "benchopt run benchmark_muon" in page


def test_hostile_texts_are_text_on_the_page_and_one_line_on_the_screen(tmp_path):
    found = read_results(write(tmp_path, {"training/here/quick.parquet": training()}))[0]
    assert HOSTILE not in single(found, "A run")
    assert html.escape("</script><script>alert(1)") in single(found, "A run")
    assert all("\n" not in line and "\x1b" not in line for line in screen(found, 80))
    rows = training_frame(seeds=1, solvers=(ADAMW, TURBO)).replace({"solver_name": {TURBO: "Red\x1b\n"}})
    found = read_results(write(tmp_path / "names", {"training/here/quick.parquet": provenance(rows)}))[0]
    assert any("Red" in line for line in screen(found, 80))
    assert all("\n" not in line and "\x1b" not in line for line in screen(found, 80))
    assert EVIL


def run(monkeypatch, tmp_path, frames, codes):
    made = iter(zip(frames, codes, strict=True))

    def fake(folder, name, title, file, log):
        frame, code = next(made)
        path = tmp_path / folder / "quick.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if frame is not None:
            frame.to_parquet(path)
        return path, code

    monkeypatch.setattr(quick, "_run", fake)
    monkeypatch.setattr(quick, "_configurations", lambda folder: ["quick"])
    return quick.run(["benchmark_muon", "benchmark_lipschitz"], tmp_path / "out")


def test_a_quick_run_ends_with_its_page_and_says_what_failed(monkeypatch, tmp_path, capsys):
    good, other = provenance(training_frame(seeds=2)), provenance(robustness_frame(seeds=2))
    assert run(monkeypatch, tmp_path, [good, other], [0, 0]) == 0
    assert capsys.readouterr().out.splitlines()[-2] == f"Page: {tmp_path / 'out' / 'quick.html'}"
    assert "Training" in (tmp_path / "out" / "quick.html").read_text()
    assert run(monkeypatch, tmp_path, [fail(good, SGD, (0,)), other], [0, 0]) == 1
    assert "! diverged: SGD" in capsys.readouterr().out
    assert run(monkeypatch, tmp_path, [good, None], [0, 3]) == 1
    assert "! benchmark_lipschitz ended with exit code 3: see the log." in capsys.readouterr().out
    for bad, told in (
        (None, "benchmark_lipschitz has no rows"),
        (other.iloc[:0], "benchmark_lipschitz has no rows"),
        (other.assign(objective_accuracy=7.0), "objective_accuracy is outside of 0 to 1"),
    ):
        assert run(monkeypatch, tmp_path, [good, bad], [0, 0]) == 1
        printed = capsys.readouterr().out
        assert told in printed
        assert "How fast does an optimizer train a network?" in printed


def test_a_benchmark_is_named_as_a_shell_completes_it(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(quick, "_run", lambda folder, *_: (ran.append(folder), (tmp_path / "none", 0))[1])
    quick.run(["benchmark_muon/", "./benchmark_dp", "benchmark_muon", "./"], tmp_path)
    assert ran == ["benchmark_muon", "benchmark_dp", "."]


def test_a_benchmark_that_is_not_there_is_named(capsys):
    assert cli.main(["quick", "benchmark_moon"]) == 2
    assert "benchmark_moon" in capsys.readouterr().err


def test_progress_counts_the_solvers_that_benchopt_is_through_with():
    log = (
        b"  |--Private training[audit=False]\r\n"
        b"\x1b[1;34m    |--SGD[rate=0.1]:\x1b[0m initialization (1 / 1 reps)\r"
        b"\x1b[1;34m    |--SGD[rate=0.1]:\x1b[0m  40.0% (1 / 1 reps)\r"
        b"\x1b[1;34m    |--SGD[rate=0.1]:\x1b[0m \x1b[1;32mdone\x1b[0m\r\n"
        b"\x1b[1;34m    |--AdamW:\x1b[0m \x1b[1;33mskip\x1b[0m\r\n"
    )
    assert len(quick._THROUGH.findall(log)) == 2
