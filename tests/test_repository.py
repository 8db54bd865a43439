"""What the documents promise is there, and the layers keep apart."""

import ast
import itertools
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from benchopt.cli.main import run as benchopt_run
from benchopt.results import read_results
from conftest import ROOT, SmallBenchmark

from orthobench import cli
from orthobench.report import history, sweep
from orthobench.report.command import _parsed as report_options
from orthobench.report.names import normalised
from orthobench.runs import options as run_options
from orthobench.runs.planned import planned_cells

BENCHMARKS = [ROOT, *sorted(path.parent for path in ROOT.glob("benchmark_*/objective.py"))]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "scaling.md",
    *ROOT.glob("benchmark_*/README.md"),
]
PACKAGE = ROOT / "src" / "orthobench"


def code_blocks(language=""):
    """Return the fenced blocks of the documents in one language."""
    return [
        block
        for document in DOCUMENTS
        for block in re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    ]


STARTS = (["make"], ["benchopt"])


def commands():
    """Return every shell command of the documents: lines of plain blocks and inline code."""
    inline = [code for document in DOCUMENTS for code in re.findall(r"`([^`\n]+)`", document.read_text())]
    lines = [line for block in code_blocks() for line in block.splitlines()]
    return sorted({line for line in lines + inline if line.split()[:1] in STARTS})


def test_the_two_commands_are_documented():
    assert {"make run", "make test"} <= set(commands())


@pytest.mark.parametrize("command", [each for each in commands() if each.startswith("make ")])
def test_documented_make_targets_exist(command):
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [each for each in commands() if each.startswith("benchopt ")])
def test_documented_benchopt_commands_name_what_exists(command):
    from benchopt.benchmark import Benchmark

    words = shlex.split(command)
    assert words[1] in ("run", "test")
    benchmark = Benchmark(ROOT / next(iter(words[2:]), "."))
    for option, value in itertools.pairwise(words):
        if option == "--config":
            assert set(yaml.safe_load((ROOT / value).read_text())) <= {
                "n-repetitions", "no-timeout", "dataset", "objective", "solver"
            }  # fmt: skip
        elif option == "-d":
            assert benchmark.check_dataset_patterns([value])
        elif option == "-s" and value not in ("Three steps", "Adam"):  # the solvers that a README shows how to write
            assert benchmark.check_solver_patterns([value])


def told_commands():
    """Return each command line of `orthobench` that a document, the source or a configuration tells, as words."""
    patterns = ("*.md", "docs/*.md", "benchmark_*/*.md", "src/**/*.py", "**/configs/**/*.yml", "**/claims.toml")
    texts = [path.read_text() for pattern in patterns for path in ROOT.glob(pattern)]
    variables = r"(?:[A-Z_]+=\S+ )*"
    inline = {code for text in texts for code in re.findall(rf"`{variables}(orthobench [^`\n]+)`", text)}
    lines = {line for text in texts for line in re.findall(rf"^{variables}(orthobench .+)$", text, re.MULTILINE)}
    return sorted(shlex.split(line)[1:] for line in inline | lines if "{" not in line)


def check_command(words):
    """Parse a command line of `orthobench`, one that is told by its name alone with ``--help``."""
    others = {"report": lambda options: report_options(options[1:]), "run": parse_run}
    parse = others.get(words[0], cli._parser().parse_args)
    if not all(re.fullmatch("[a-z-]+", word) for word in words):
        return parse(words)
    with pytest.raises(SystemExit) as end:
        parse([*words, "--help"])
    assert end.value.code == 0


def parse_run(words):
    """Parse what `orthobench run` gets: its own options, and those of `benchopt run`."""
    _, options = run_options.parser().parse_known_args(words[1:])
    benchopt_run.make_context("run", options)


@pytest.mark.parametrize("words", told_commands(), ids=" ".join)
def test_every_command_line_that_is_told_can_be_given(words):
    check_command(words[:-1] if words[-1] == "NAME" else words)


def test_what_is_told_of_the_command_is_found():
    assert ["speed", "orthogonaliser"] in told_commands()
    assert ["study", "killed-runs", "--kills", "50"] in told_commands()
    assert {"run", "report", "site", "publish", "verify"} <= {words[0] for words in told_commands()}


def test_the_readmes_solver_runs_as_it_stands(root_copy):
    source = next(block for block in code_blocks("python") if "class Solver" in block)
    root_copy.write({"solvers/three_steps.py": source})
    rows = root_copy.run(dataset_names=["gaussian[rows=16,columns=24]"], solver_names=["Three steps"])
    assert rows["objective_status"].eq("ok").all()
    assert set(rows["solver_name"]) == {"Three steps"}
    assert len(rows) == 2 * 3


def test_the_training_readmes_solver_runs_as_it_stands(tmp_path, contained):
    folder = ROOT / "benchmark_muon"
    source = next(block for block in code_blocks("python") if "class Solver(TrainingSolver)" in block)
    small = SmallBenchmark(tmp_path / "small")
    files = {name: (folder / name).read_text() for name in ("objective.py", "datasets/digits.py")}
    rows = small.write({**files, "solvers/adam.py": source}).run(dataset_names=["digits[steps=20,width=8]"])
    assert rows["objective_status"].eq("ok").all()
    assert set(rows["solver_name"]) == {"Adam[learning_rate=0.003]"}


def test_the_columns_of_the_training_readme_are_those_of_a_run(tmp_path, contained):
    folder = ROOT / "benchmark_muon"
    table = (folder / "README.md").read_text().split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    small = SmallBenchmark(tmp_path / "small")
    names = ("objective.py", "datasets/digits.py", "solvers/sgd.py")
    small.write({name: (folder / name).read_text() for name in names})
    rows = small.run(dataset_names=["digits[steps=1,width=8]"])
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name"}
    produced -= {"part", "autocast", "compile"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


LIPSCHITZ_FILES = ("objective.py", "datasets/digits.py")


def test_the_lipschitz_readmes_solver_runs_as_it_stands(tmp_path, contained):
    folder = ROOT / "benchmark_lipschitz"
    source = next(block for block in code_blocks("python") if "class Solver(LipschitzSolver)" in block)
    small = SmallBenchmark(tmp_path / "small")
    small.write({name: (folder / name).read_text() for name in LIPSCHITZ_FILES} | {"solvers/aoc_qr.py": source})
    data, objective = ["digits[steps=2,width=4]"], ["Robustness[task=classification]"]
    rows = small.run(dataset_names=data, objective_filters=objective)
    assert rows["objective_status"].eq("ok").all()
    assert {name.partition("[")[0] for name in rows["solver_name"]} == {"AOC by QR"}


def test_the_columns_of_the_lipschitz_readme_are_those_of_a_run(tmp_path, contained):
    folder = ROOT / "benchmark_lipschitz"
    table = (folder / "README.md").read_text().split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    small = SmallBenchmark(tmp_path / "small")
    small.write(
        {name: (folder / name).read_text() for name in ("objective.py", "datasets/digit_pair.py", "solvers/plain.py")}
    )
    data, tasks = ["digit_pair[steps=1,width=4,explained=3]"], ["Robustness[task=[classification,explanation]]"]
    rows = small.run(dataset_names=data, objective_filters=tasks)
    assert rows["objective_status"].eq("ok").all()
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name"}
    produced -= {"part", "task"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


PRIVACY_FILES = ("objective.py", "datasets/digits.py")


def test_the_privacy_readmes_solver_runs_and_its_columns_are_documented(tmp_path, contained):
    folder = ROOT / "benchmark_dp"
    text = (folder / "README.md").read_text()
    source = next(block for block in code_blocks("python") if "class Solver(PrivateSolver)" in block)
    table = text.split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    small = SmallBenchmark(tmp_path / "small")
    small.write({name: (folder / name).read_text() for name in PRIVACY_FILES} | {"solvers/hooks.py": source})
    rows = small.run(dataset_names=["digits[steps=2]"], objective_filters=["Private training[epsilon=2]"])
    assert rows["objective_status"].eq("ok").all()
    assert {name.partition("[")[0] for name in rows["solver_name"]} == {"Hooks"}
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name"}
    produced -= {"part", "audit", "epsilon"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


SEGMENTATION_FILES = ("objective.py", "datasets/digit_scenes.py")


def test_the_segmentation_readmes_solver_runs_and_its_columns_are_documented(tmp_path, contained):
    folder = ROOT / "benchmark_segmentation"
    text = (folder / "README.md").read_text()
    source = next(block for block in code_blocks("python") if "class Solver(SegmentationSolver)" in block)
    table = text.split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    small = SmallBenchmark(tmp_path / "small")
    small.write({name: (folder / name).read_text() for name in SEGMENTATION_FILES} | {"solvers/segments.py": source})
    rows = small.run(dataset_names=["digit_scenes[steps=1,width=4,labels=foreground,attacked=1,smoothed=1]"])
    assert rows["objective_status"].eq("ok").all()
    assert {name.partition("[")[0] for name in rows["solver_name"]} == {"Cayley for segments"}
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name", "part"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


def test_the_detection_readmes_solver_runs_and_its_columns_are_documented(tmp_path, contained):
    folder = ROOT / "benchmark_crc"
    text = (folder / "README.md").read_text()
    source = next(block for block in code_blocks("python") if "class Solver(DetectionSolver)" in block)
    table = text.split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    small = SmallBenchmark(tmp_path / "small")
    files = {name: (folder / name).read_text() for name in ("objective.py", "datasets/digit_boxes.py")}
    small.write({**files, "solvers/seqcrc_by_width.py": source})
    rows = small.run(dataset_names=["digit_boxes[splits=2,calibration=200,pool=300,train=64,epochs=1]"])
    assert rows["objective_status"].eq("ok").all()
    assert {name.partition("[")[0] for name in rows["solver_name"]} == {"SeqCRC by width"}
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name"}
    produced -= {"alphas", "confidence", "localisation", "match"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


def test_the_readmes_example_runs_as_it_stands():
    example = next(block for block in code_blocks("python") if "newton_schulz(gradients" in block)
    namespace = {}
    exec(example, namespace)  # noqa: S102 - code of the README
    for update, exact in zip(namespace["updates"], namespace["exact"], strict=True):
        assert update.shape == exact.shape
        assert float((update - exact).norm() / exact.norm()) < 0.5


def test_the_columns_of_the_readme_are_those_of_a_run(root_copy):
    table = (ROOT / "README.md").read_text().split("| column | meaning |")[1].split("\n\n")[0]
    documented = {
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1]) if name
    }
    rows = root_copy.run(dataset_names=["gaussian[rows=16,columns=24]"], solver_names=["Muon"])
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda path: path.name)
def test_every_configuration_is_one_that_benchopt_takes(folder):
    from benchopt.benchmark import Benchmark

    benchmark = Benchmark(folder)
    for path in (folder / "configs").glob("*.yml"):
        config = yaml.safe_load(path.read_text())
        assert config["no-timeout"] is True
        assert benchmark.check_dataset_patterns(config["dataset"])
        assert benchmark.check_objective_filters(config.get("objective", [benchmark.get_benchmark_objective().name]))
        assert benchmark.check_solver_patterns(config.get("solver", ["all"]))


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda path: path.name)
def test_every_parameter_reaches_what_declares_it(folder):
    """Benchopt leaves a parameter at the value that a class has under the same name."""
    from benchopt.benchmark import Benchmark

    benchmark = Benchmark(folder)
    for declared in (*benchmark.get_datasets(), benchmark.get_benchmark_objective()):
        for name in declared.parameters:
            asked = object()
            assert getattr(declared.get_instance(**{name: asked}), name) is asked, (declared.name, name)


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda path: path.name)
def test_the_configuration_for_a_gpu_has_five_seeds_and_says_that_its_time_is_an_estimate(folder):
    text = (folder / "configs" / "gpu.yml").read_text()
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert "about ten minutes (an estimate: nobody has measured it yet)" in comment
    name = "." if folder == ROOT else folder.name
    prefix = "" if folder == ROOT else f"{folder.name}/"
    assert re.search(
        rf"ORTHOBENCH_DEVICE=cuda .*benchopt run {re.escape(name)} --config {prefix}configs/gpu.yml", comment
    )
    cells = planned_cells(folder, folder / "configs" / "gpu.yml")
    assert len(cells) >= 3
    assert all(len(each.seeds) >= 5 for each in cells)


def queued_commands():
    """Return the commands of the list of what is to be run on a GPU, as words, without variables before them."""
    text = (ROOT / "docs" / "gpu-queue.md").read_text()
    found = []
    for code in re.findall(r"`([^`\n]+)`", text):
        words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), shlex.split(code)))
        if len(words) > 1 and (words[0] in ("make", "pytest", "orthobench") or words[:2] == ["benchopt", "run"]):
            found.append(words)
    return [words for words in found if words != ["benchopt", "run"]]


@pytest.mark.parametrize("words", queued_commands(), ids=" ".join)
def test_what_is_to_be_run_on_a_gpu_names_what_exists(words):
    from benchopt.benchmark import Benchmark

    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if not word.startswith("-") and word != "0")
    elif words[0] == "orthobench":
        check_command(words[1:])
    else:
        benchmark = Benchmark(ROOT / words[2])
        checks = {
            "-d": benchmark.check_dataset_patterns,
            "-s": benchmark.check_solver_patterns,
            "-o": benchmark.check_objective_filters,
        }
        for option, value in itertools.pairwise(words):
            if option in checks:
                assert checks[option]([value])
            elif option == "--config":
                assert (ROOT / value).parent.parent == ROOT / words[2]
                assert (ROOT / value).is_file()
            elif option == "--output":
                folder = re.fullmatch(r"results/(\w+)/h200/\w+\.parquet", value)[1]
                assert (ROOT / "results" / folder).is_dir()


def test_every_published_configuration_for_a_gpu_is_to_be_run():
    outputs = {words[words.index("--output") + 1] for words in queued_commands() if "--output" in words}
    configurations = {words[words.index("--config") + 1] for words in queued_commands() if "--config" in words}
    for folder in BENCHMARKS:
        for path in (folder / "configs").glob("*gpu*.yml"):
            assert path.relative_to(ROOT).as_posix() in configurations
            assert any(output.endswith(f"/{path.stem}.parquet") for output in outputs)


def pitfalls():
    """Return the cells of each row of the tables of pitfalls, without their headings and rules."""
    lines = [line for line in (ROOT / "docs" / "pitfalls.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] != "pitfall" and set(row[0]) != {"-"}]


def test_every_pitfall_is_told_with_its_severity_and_tests_that_there_are():
    rows = pitfalls()
    assert len({row[0] for row in rows}) == len(rows) >= 35
    for row in rows:
        assert len(row) == 4, row
        assert all(row), row
        assert row[1] in ("high", "medium", "low"), row
        named = row[3].split(", ")
        assert all(re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", each) for each in named), row
        for each in named:
            file, name = each.strip("`").split("::")
            body = ast.parse((ROOT / file).read_text()).body
            assert name in {node.name for node in body if isinstance(node, ast.FunctionDef)}, each


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda path: path.name)
def test_every_benchmark_has_what_a_user_expects(folder):
    for name in ("README.md", "claims.toml", "config.yml", "configs/quick.yml", "configs/cpu.yml", "test_config.py"):
        assert (folder / name).is_file(), name
    assert not (folder / "benchmark_utils").exists()


@pytest.mark.parametrize("folder", BENCHMARKS, ids=lambda path: path.name)
def test_every_name_selects_itself_and_nothing_else(folder):
    """Benchopt reads a name as a regular expression: "Muon+" would select Muon."""
    from benchopt.benchmark import Benchmark

    benchmark = Benchmark(folder)
    for names, check in (
        (benchmark.get_solver_names(), benchmark.check_solver_patterns),
        (benchmark.get_dataset_names(), benchmark.check_dataset_patterns),
    ):
        for name in names:
            assert {each.name for each in check([name], class_only=True)} == {name}


def import_statements(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(path):
    """Return the modules a file imports, relative ones resolved."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    found = set()
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            base = parts[: len(parts) - node.level] if node.level else ()
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


# What each layer may import from this package.
METHODS = {
    "linalg",
    "optim",
    "lipschitz",
    "conformal",
    "segmentation",
    "explanations",
    "privacy",
    "data",
    "models",
    "device",
}
LAYERS = {
    "data": {"data", "models"},
    "models": {"models"},
    "linalg": {"linalg", "device"},
    "optim": {"optim", "linalg"},
    "lipschitz": {"lipschitz", "linalg", "models", "device"},
    "conformal": {"conformal", "lipschitz", "linalg", "models"},
    "segmentation": {"segmentation", "conformal", "lipschitz", "models"},
    "explanations": {"explanations", "lipschitz", "models"},
    "privacy": {"privacy", "lipschitz", "linalg", "models", "device"},
    "report": {"report", "files"},
    "harness": {"harness", "provenance", *METHODS},
    "runs": {"runs", "harness", "provenance", "report", "data", "device", "files"},
    "studies": {"studies", "harness", "provenance", *METHODS},
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_point_down_only(layer):
    for path in (PACKAGE / layer).rglob("*.py"):
        for module in imports(path):
            if module.startswith("orthobench."):
                assert module.split(".")[1] in LAYERS[layer], f"{path} imports {module}"
            # Two of the report: what makes Benchopt's own page, and what its plots derive from.
            elif layer not in ("harness", "runs") and path.name not in ("benchopt_pages.py", "plots.py"):
                assert module.split(".")[0] != "benchopt", path
            if layer == "report":
                assert module.split(".")[0] != "torch", path


def test_every_package_has_its_layer():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LAYERS)


def test_nothing_but_a_study_imports_studies():
    """Running a cell needs none of them, so that the cache's hash of the package leaves them out."""
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "studies":
            found = {module for module in imports(path) if "studies" in module.split(".")}
            # Their names and options, of which no study is part.
            assert found <= ({"orthobench.studies.commands"} if path == PACKAGE / "cli.py" else set()), path
            named = {alias.name for node in import_statements(path) for alias in node.names}
            assert "studies" not in named, path  # from orthobench import studies
    for name in ("objective.py", "datasets/*.py", "solvers/*.py", "plots/*.py", "test_config.py"):
        for path in [*ROOT.glob(name), *ROOT.glob(f"benchmark_*/{name}")]:
            assert "orthobench.studies" not in path.read_text(), path


def test_the_methods_work_without_benchopt():
    layers = ("linalg", "optim", "lipschitz", "conformal", "segmentation", "explanations", "privacy", "data", "models")
    packages = ", ".join(f"orthobench.{name}" for name in layers)
    code = f"import sys; sys.modules['benchopt'] = None; import {packages}"
    subprocess.run([sys.executable, "-c", code], check=True)


# Of each published sweep, with equal budgets: benchmark, results, its configuration or two, and the one with its rates.
# Sweeps that complete one another are joined by "+".
TUNED = [
    ("benchmark_muon", "training", "tune", "cpu"),
    ("benchmark_muon", "training", "tune_later", "later"),
    ("benchmark_lipschitz", "robustness", "tune", "cpu cpu_plain"),
    ("benchmark_lipschitz", "robustness", "tune_fashion_mnist", "fashion_mnist"),
    (
        "benchmark_lipschitz",
        "robustness",
        "tune_explanations tune_explanations_plain",
        "explanations explanations_plain",
    ),
    ("benchmark_lipschitz", "robustness", "tune_explanations_blocks", "explanations_blocks"),
    ("benchmark_lipschitz", "robustness", "tune_explanations_dense", "explanations_dense"),
    (
        "benchmark_lipschitz",
        "robustness",
        "tune_explanations_fashion_mnist+tune_explanations_fashion_mnist_lower",
        "explanations_fashion_mnist",
    ),
    ("benchmark_dp", "privacy", "tune", "cpu"),
    ("benchmark_segmentation", "segmentation", "tune+tune_smoothing", "cpu"),
    ("benchmark_segmentation", "segmentation", "tune_fashion_scenes+tune_fashion_scenes_lower", "fashion_scenes"),
]
# The report names what differs within a sweep; this is the same in all of it, and one of several in the solver's file.
BJORCK = {"AOC": {"parametrisation=bjorck"}}
EXPLAINED = BJORCK | {"Plain": {"margin=0", "temperature=1"}}
ALSO_NAMED = {
    ("benchmark_lipschitz", "explanations explanations_plain"): EXPLAINED,
    ("benchmark_lipschitz", "explanations_blocks"): BJORCK,
    ("benchmark_lipschitz", "explanations_dense"): EXPLAINED,
    ("benchmark_lipschitz", "explanations_fashion_mnist"): BJORCK | {"Plain": {"margin=0", "temperature=0.25"}},
    ("benchmark_lipschitz", "fashion_mnist"): BJORCK,
    ("benchmark_segmentation", "cpu"): BJORCK,
    ("benchmark_segmentation", "fashion_scenes"): BJORCK,
}
# Nothing of it can be tuned.
UNTUNED = {"Constant"}


def tuned(benchmark, results, sweep_name):
    """Return the sweeps of learning rates of published files, as the report reads them: lists of `Method`."""
    found = []
    for joined in sweep_name.split():
        paths = [ROOT / "results" / results / "epyc_2_cores" / f"{each}.parquet" for each in joined.split("+")]
        frames = [history.current(history.beside(path).apply(read_results(path), benchmark)) for path in paths]
        frame = pd.concat(frames, ignore_index=True)
        found += [sweep.sweep(frame, objective) for objective in sweep.tuning_objectives(frame)]
    return found


def solvers_of(benchmark, configurations):
    files = [ROOT / benchmark / "configs" / f"{each}.yml" for each in re.split(r"[ +]", configurations)]
    return [line for file in files for line in yaml.safe_load(file.read_text())["solver"]]


def parameters_of(line):
    name, _, parameters = normalised(line).rstrip("]").partition("[")
    return name, set(filter(None, parameters.split(",")))


@pytest.mark.parametrize(("benchmark", "results", "sweep_name", "configuration"), TUNED)
def test_the_published_comparison_has_the_learning_rates_that_the_sweep_chose(
    benchmark, results, sweep_name, configuration
):
    found = tuned(benchmark, results, sweep_name)
    lines = [yaml.safe_load("\n".join(sweep.solver_lines(methods)))["solver"] for methods in found]
    chosen = [parameters_of(line) for each in lines for line in each]
    also = ALSO_NAMED.get((benchmark, configuration), {})
    configured = [parameters_of(line) for line in solvers_of(benchmark, configuration) if line not in UNTUNED]
    expected = [(name, own | also.get(name, set())) for name, own in chosen]
    assert all(each in configured for each in expected)
    assert len(configured) == len(expected)


@pytest.mark.parametrize(("benchmark", "results", "sweep_name", "configuration"), TUNED)
def test_the_published_sweep_is_that_of_its_configuration_and_no_choice_is_at_an_edge(
    benchmark, results, sweep_name, configuration
):
    swept = [swept_by(line) for line in solvers_of(benchmark, sweep_name)]
    methods = [method for methods in tuned(benchmark, results, sweep_name) for method in methods]
    assert {method.name.split("[")[0] for method in methods} == {name for name, _, _ in swept}
    for method in methods:
        name, own = parameters_of(method.name)
        lines = [(named, grid) for other, named, grid in swept if other == name and named <= own]
        most = max(len(named) for named, _ in lines)  # not those that are about the other values of a parameter
        rates = [each.rate for each in method.rates]
        assert rates == sorted({rate for named, grid in lines if len(named) == most for rate in grid})
        assert rates[0] < method.chosen.rate < rates[-1]


def swept_by(line):
    """Return a sweep's solver, the parameters that it names one value of, and the learning rates."""
    grid = yaml.safe_load(re.search(r"learning_rate=(\[.*?\])", line)[1])
    name, parameters = parameters_of(re.sub(r"\w+=\[.*?\],?", "", line))
    return name, parameters, grid


def test_solvers_are_thin():
    for path in [*ROOT.glob("solvers/*.py"), *ROOT.glob("benchmark_*/solvers/*.py")]:
        text = path.read_text()
        assert len(text.splitlines()) <= 35, path
    for name in ("svd", "qr", "muon", "turbo_muon"):
        text = (ROOT / "solvers" / f"{name}.py").read_text()
        (solver,) = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        assert solver.end_lineno - solver.lineno + 1 <= 15, name
