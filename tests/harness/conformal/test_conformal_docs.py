"""What benchmark_rcp's README says is what a run does."""

import re

import pytest
from conftest import ROOT, SmallBenchmark

FOLDER = ROOT / "benchmark_rcp"
README = (FOLDER / "README.md").read_text()
DATA = "digits[splits=2,calibration=100,evaluation=50,pool=250,steps=20,attack_steps=2,attacked=50]"


@pytest.fixture
def run(tmp_path, contained):
    def run(**solvers):
        small = SmallBenchmark(tmp_path / "small")
        files = {name: (FOLDER / name).read_text() for name in ("objective.py", "datasets/digits.py")}
        small.write(files | {f"solvers/{name}.py": text for name, text in solvers.items()})
        return small.run(dataset_names=[DATA], objective_filters=["Coverage[alpha=0.1]"])

    return run


def test_the_readmes_solver_runs_as_it_stands_and_the_columns_are_those_of_a_run(run):
    source = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    rows = run(by_ratios=source, aprcp=(FOLDER / "solvers" / "aprcp.py").read_text())
    assert rows["objective_status"].eq("ok").all(), rows["objective_message"].tolist()
    assert "lip-rcp by ratios" in {name.partition("[")[0] for name in rows["solver_name"]}
    table = README.split("| column | meaning |")[1].split("\n\n")[0]
    documented = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+\*?)`", row.split("|")[1])}
    produced = {name.removeprefix("objective_") for name in rows if name.startswith("objective_")} - {"name", "alpha"}
    assert {"env_*" if name.startswith("env_") else name for name in produced} == documented


def test_every_solver_data_set_and_configuration_is_in_the_readme():
    for solver in FOLDER.glob("solvers/*.py"):
        assert f"`{re.search(r'name = .(.*).', solver.read_text())[1]}`" in README, solver
    for dataset in FOLDER.glob("datasets/*.py"):
        assert f"`{dataset.stem}`" in README, dataset
    for configuration in FOLDER.glob("configs/*.yml"):
        assert f"`configs/{configuration.name}`" in README, configuration
