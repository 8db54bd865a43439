"""Real runs of `benchmark_lipschitz`'s objective on a small problem: rows, metrics, statuses, seeds, tasks."""

import json
import shutil

import pandas as pd
import pytest
import torch
from conftest import ROOT, SmallBenchmark

from orthobench.harness.lipschitz.explanation import FIGURES

RADII = (36, 72, 108, 255)
EPS = 1e-4

DATASET = """
import sys
sys.path.append({tests!r})
from lipschitz_toys import make_task
from orthobench.harness.lipschitz import RobustnessDataset

class Dataset(RobustnessDataset):
    name = "toy"
    parameters = {{"steps": [20], "padding": ["circular"], "missing": [False]}}

    def task(self, seed):
        if self.missing:
            raise ConnectionError("no such file")
        return make_task(steps=self.steps, padding_mode=self.padding)
"""

SOLVER = """
from orthobench.harness.lipschitz import LOSS, LipschitzSolver

class Solver(LipschitzSolver):
    name = {name!r}
    parameters = {{"learning_rate": [{rate}], **LOSS}}
    layer = {layer!r}
    {body}
"""
TASKS = ("classification", "one_class", "explanation")
CLASSIFICATION, ONE_CLASS, EXPLANATION = (f"Robustness[task={task}]" for task in TASKS)


@pytest.fixture
def robustness(tmp_path, contained):
    """Make a benchmark with solvers of given layer, rate and body; return how to run it."""

    def make(name="benchmark_small", **solvers):
        small = SmallBenchmark(tmp_path / name)
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "benchmark_lipschitz" / "objective.py", tmp_path / name)
        small.write({"datasets/toy.py": DATASET.format(tests=str(ROOT / "tests" / "harness" / "lipschitz"))})
        for solver, (layer, rate, *body) in solvers.items():
            text = SOLVER.format(name=solver, layer=layer, rate=rate, body="".join(body))
            small.write({f"solvers/{solver}.py": text})

        def run(task=CLASSIFICATION, **options):
            rows = small.run(objective_filters=[task], **options)
            return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0])

        return run

    return make


def test_a_good_run_has_a_row_at_each_evaluation_with_every_metric(robustness):
    rows = robustness(cayley=("cayley", 0.05))(repetitions=2)
    assert rows["objective_status"].eq("ok").all()
    assert rows["stop_val"].tolist() == 2 * [0, 10, 20]
    first, before, last = (rows[rows["stop_val"] == step] for step in (0, 10, 20))
    assert rows["objective_value"].to_numpy() == pytest.approx(1 - rows["objective_certified_accuracy_36"])
    assert (last["objective_value"].to_numpy() < first["objective_value"].to_numpy()).all()
    assert rows["objective_lipschitz_claimed"].eq(1.0).all()
    for larger, smaller in zip(("accuracy", *RADII), RADII, strict=False):
        larger = larger if larger == "accuracy" else f"certified_accuracy_{larger}"
        assert (rows[f"objective_{larger}"] >= rows[f"objective_certified_accuracy_{smaller}"]).all()
    assert rows[[f"objective_certified_auroc_{radius}" for radius in (0, *RADII)]].isna().all(axis=None)
    late = ["attacked_accuracy", "lipschitz_lower", "orthogonality_error", "inference_time_ms"]
    assert before[[f"objective_{name}" for name in late]].isna().all(axis=None)
    assert last[[f"objective_{name}" for name in late]].notna().all(axis=None)
    assert (last["objective_certified_accuracy_36"] <= last["objective_attacked_accuracy"]).all()
    assert (last["objective_attacked_accuracy"] <= last["objective_accuracy"]).all()
    assert last["objective_lipschitz_lower"].between(0.3, 1 + EPS).all()
    assert rows["objective_lipschitz_upper"].between(1 - EPS, 1 + EPS).all()
    assert rows["objective_proved_accuracy_36"].ge(rows["objective_certified_accuracy_36"]).all()
    assert last["objective_orthogonality_error"].between(0, EPS).all()
    assert last["objective_step_time_ms"].gt(0).all()
    assert first["objective_step_time_ms"].isna().all()
    layers = json.loads(last["objective_layers"].iloc[0])
    assert [each["name"] for each in layers] == ["1", "3.0", "5"]
    assert before["objective_layers"].eq("").all()
    assert len(set(rows["objective_parameters"])) == 1


def test_a_plain_network_claims_its_true_constant_which_certifies_less_than_it_seems(robustness):
    run = robustness(plain=("plain", 0.05))
    last = run()[lambda rows: rows["stop_val"] == 20].iloc[0]
    assert last["objective_status"] == "ok"
    assert last["objective_lipschitz_claimed"] >= last["objective_lipschitz_upper"] * (1 - EPS)
    assert last["objective_lipschitz_lower"] <= last["objective_lipschitz_claimed"]


def test_explanations_are_of_the_network_that_classification_trains(robustness):
    run = robustness(cayley=("cayley", 0.05))
    rows, classified = run(EXPLANATION, repetitions=2), run(CLASSIFICATION, repetitions=2)
    assert rows["objective_status"].eq("ok").all()
    assert rows["stop_val"].tolist() == 2 * [0, 10, 20]
    same = ["train_loss", "accuracy", "certified_accuracy_36", "lipschitz_upper", "layers", "orthogonality_error"]
    for name in same:
        pd.testing.assert_series_equal(rows[f"objective_{name}"], classified[f"objective_{name}"])
    assert rows["objective_value"].to_numpy() == pytest.approx(1 - rows["objective_mu_fidelity_uniform_saliency"])
    before, last = rows[rows["stop_val"] < 20], rows[rows["stop_val"] == 20]
    figures = [f"objective_{name}" for name in FIGURES]
    late = [name for name in figures if not name.endswith(("fidelity_uniform_saliency", "block_share_10"))]
    assert before[late].isna().all(axis=None)
    assert last[late].notna().all(axis=None)
    assert last["objective_explained"].to_numpy() == pytest.approx(48 * last["objective_accuracy"].to_numpy())
    assert last["objective_tightness"].between(0, 1).all()
    assert last["objective_saturation"].between(0.1, 1 + EPS).all()
    assert rows["objective_attacked_accuracy"].isna().all()
    assert not {f"objective_{name}" for name in FIGURES} & set(classified)


def test_what_the_gradient_disproves_is_refuted_with_the_reason(robustness):
    """At the first evaluation it claims enough, at the last too little."""
    body = """calls = 0

    def lipschitz_constant(self, model, input_shape):
        self.calls += 1
        return 1.0 if self.calls < 3 else 0.2
"""
    *before, last = robustness(liar=("cayley", 0.05, body))(EXPLANATION).to_dict("records")
    assert all(row["objective_status"] == "ok" for row in before)
    assert last["objective_status"] == "refuted"
    assert "claims a Lipschitz constant of 0.2, and" in last["objective_message"]
    assert "the gradient of a margin is" in last["objective_message"]
    assert "an attack broke the claim's certificates" in last["objective_message"]
    assert last["objective_saturation"] <= 1 + EPS


def test_one_class_has_aurocs_and_learns_each_class_in_its_turn(robustness):
    rows = robustness(cayley=("cayley", 0.05))(ONE_CLASS, repetitions=2)
    assert rows["objective_status"].eq("ok").all()
    last = rows[rows["stop_val"] == 20]
    aurocs = last[[f"objective_certified_auroc_{radius}" for radius in (0, *RADII)]].to_numpy()
    assert (aurocs[:, :-1] >= aurocs[:, 1:]).all()
    assert (aurocs[:, 0] > 0.5).all()
    assert last["objective_value"].to_numpy() == pytest.approx(1 - last["objective_certified_auroc_36"])
    assert rows[["objective_accuracy", "objective_attacked_accuracy"]].isna().all(axis=None)
    assert (last["objective_proved_auroc_36"] >= last["objective_certified_auroc_36"]).all()
    assert rows["objective_proved_accuracy_36"].isna().all()
    assert last["objective_lipschitz_lower"].le(1 + EPS).all()
    assert last["objective_layers"].str.contains("sigma_max").all()


def test_repetitions_differ_and_solvers_share_their_weights(robustness):
    run = robustness(one=("cayley", 0.05), other=("cayley", 0.01))
    start = run(repetitions=3)[lambda rows: rows["stop_val"] == 0]
    by_solver = start.pivot_table(index="idx_rep", columns="solver_name", values="objective_certified_accuracy_36")
    assert by_solver["one"].tolist() == by_solver["other"].tolist()
    assert len(set(start["objective_accuracy"])) > 1


def test_order_and_parallel_workers_change_no_bit(robustness):
    solvers = {"one": ("cayley", 0.05), "two": ("aoc_qr", 0.05)}
    figures = ["certified_accuracy_36", "attacked_accuracy", "lipschitz_lower", "train_loss", "layers"]
    columns = ["solver_name", "idx_rep", "stop_val", *(f"objective_{name}" for name in figures)]

    def sorted_rows(rows):
        return rows[columns].sort_values(columns[:3]).reset_index(drop=True)

    expected = sorted_rows(robustness("together", **solvers)())
    alone = sorted_rows(robustness("alone", two=solvers["two"])())
    two = expected[expected["solver_name"] == "two"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, two, check_exact=True, check_dtype=False)


def test_the_part_that_hyper_parameters_are_chosen_on_is_another_one(robustness):
    run = robustness(cayley=("cayley", 0.02))
    held_out, tuning = (run(f"Robustness[part={part},task=classification]") for part in ("held_out", "tuning"))
    assert held_out["objective_status"].eq("ok").all()
    assert held_out["objective_train_loss"].iloc[1:].tolist() == tuning["objective_train_loss"].iloc[1:].tolist()
    assert held_out["objective_accuracy"].tolist() != tuning["objective_accuracy"].tolist()


@pytest.mark.parametrize(
    ("solver", "told"),
    [
        (("caley", 0.05), "the layer is 'caley': expected one of plain, "),
        *(
            (
                ("cayley", 0.05, f"def lipschitz_constant(self, model, shape): return {claim}"),
                f"constant is {told}: expected a positive finite number",
            )
            for claim, told in (
                ("0.0", "0.0"),
                ("'1'", "'1'"),
                ("True", "True"),
                ("float('inf')", "inf"),
                ("float('nan')", "nan"),
                ("10**400", repr(10**400)[:80]),
            )
        ),
    ],
)
def test_a_mistake_is_a_row_that_says_what_is_expected(robustness, solver, told):
    rows = robustness(wrong=solver)()
    assert rows["objective_status"].iloc[-1] == "error"
    assert told in rows["objective_message"].iloc[-1]


@pytest.mark.parametrize("claim", ["np.float32(1.5)", "np.float64(1.5)", "torch.tensor(1.5)"])
def test_a_claim_is_a_number_of_any_library(robustness, claim):
    body = f"def lipschitz_constant(self, model, shape):\n        import numpy as np, torch\n        return {claim}"
    rows = robustness(claims=("cayley", 0.05, body))()
    assert rows["objective_status"].eq("ok").all()
    assert rows["objective_lipschitz_claimed"].eq(1.5).all()


def test_a_claim_that_never_comes_is_ended_when_the_time_is_over(robustness):
    forever = "def lipschitz_constant(self, model, shape):\n        while True:\n            pass"
    rows = robustness(endless=("cayley", 0.05, forever))(timeout=2)
    assert rows["objective_status"].tolist() == ["timeout"]
    assert "the time budget of 2 s is spent" in rows["objective_message"].item()


def test_a_loss_that_does_not_exist_is_named(robustness):
    rows = robustness(cayley=("cayley", 0.05))(solver_names=["cayley[loss=nonsense]"])
    assert "loss='nonsense': expected one of cross_entropy, " in rows["objective_message"].iloc[-1]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("margin=1e999", "margin is inf: give a number >= 0"),
        ("temperature=-1e999", "temperature is -inf: give a number > 0"),
        ("margin=True", "margin=True: expected a number"),
        ("margin=None", "margin=None: expected a number"),
    ],
)
def test_a_number_of_the_loss_that_is_none_is_named(robustness, option, told):
    rows = robustness(cayley=("cayley", 0.05))(solver_names=[f"cayley[{option}]"])
    assert rows["objective_status"].eq("error").all()
    assert told in rows["objective_message"].iloc[-1]


def test_each_loss_takes_the_options_that_it_has(robustness):
    rows = robustness(cayley=("cayley", 0.05))(
        solver_names=["cayley[loss=[hkr, kr, categorical_hinge, cross_entropy]]"]
    )
    assert rows["objective_status"].eq("ok").all()
    assert len(rows) == 4 * 3
    assert len(set(rows[rows["stop_val"] == 20]["objective_train_loss"])) == 4


def test_a_training_that_explodes_is_diverged(robustness):
    rows = robustness(exploding=("plain", 1e20))()
    assert rows["objective_status"].iloc[-1] == "diverged"
    assert "try a lower learning rate" in rows["objective_message"].iloc[-1]


def test_a_padding_without_a_bound_is_skipped(robustness):
    run = robustness(cayley=("cayley", 0.05), plain=("plain", 0.05))
    rows = run(dataset_names=["toy[padding=zeros]"])
    assert set(rows["solver_name"]) == {"plain"}


@pytest.mark.parametrize("part", ["tuning", "held_out"])
def test_a_solver_gets_no_image_that_it_is_evaluated_on(robustness, part):
    body = f"""
    def lipschitz_constant(self, model, input_shape):
        return float(len(self._task.parts.{part}))
"""
    rows = robustness(curious=("cayley", 0.05, body))()
    assert rows["objective_status"].eq("error").all()
    assert "looked at a part that is evaluated on" in rows["objective_message"].iloc[-1]


def test_data_that_can_not_be_had_are_a_row_of_each_cell(robustness):
    run = robustness(cayley=("cayley", 0.05), plain=("plain", 0.05))
    rows = run(dataset_names=["toy[missing=True]"])
    assert set(rows["solver_name"]) == {"cayley", "plain"}
    assert rows["objective_status"].eq("error").all()
    assert rows["objective_message"].str.contains("no such file").all()


def test_a_task_that_does_not_exist_is_a_row(robustness):
    rows = robustness(cayley=("cayley", 0.05))("Robustness[task=regression]")
    assert rows["objective_status"].eq("error").all()
    assert "expected classification or one_class" in rows["objective_message"].iloc[-1]


def test_states_beyond_the_parameters_come_through(robustness):
    """Vectors of power iterations: of CPL as extra state, of spectral normalisation as buffers."""
    rows = robustness(cpl=("cpl", 0.05), spectral=("spectral", 0.05))()
    assert rows["objective_status"].eq("ok").all()
    last = rows[rows["stop_val"] == 20].set_index("solver_name")
    assert last.loc["cpl", "objective_lipschitz_upper"] == pytest.approx(1, rel=1e-6)
    assert last["objective_attacked_accuracy"].le(last["objective_accuracy"]).all()


def test_where_less_than_the_claim_is_proved_both_figures_are_there(robustness):
    rows = robustness(aol=("aol", 0.05))()
    last = rows.iloc[-1]
    assert last["objective_lipschitz_claimed"] == 1
    assert last["objective_lipschitz_upper"] < 1 - EPS
    assert last["objective_proved_accuracy_36"] >= last["objective_certified_accuracy_36"]


@pytest.mark.parametrize("task", [CLASSIFICATION, ONE_CLASS, EXPLANATION])
def test_in_one_process_all_figures_are_the_same(robustness, monkeypatch, task):
    apart = robustness("apart", cayley=("cayley", 0.05))(task)
    monkeypatch.setenv("ORTHOBENCH_IN_PROCESS", "1")
    together = robustness("together", cayley=("cayley", 0.05))(task)
    assert set(apart["objective_env_stand"]).isdisjoint({"in process", "none"})
    assert set(together["objective_env_stand"]) == {"in process"}
    figures = ["value", "train_loss", "lipschitz_upper", "lipschitz_lower", "layers", "status"]
    figures += ["removal_curves", "saturation", "tightness"] if task == EXPLANATION else []
    columns = [f"objective_{name}" for name in figures]
    assert str(apart[columns].to_numpy().tolist()) == str(together[columns].to_numpy().tolist())


def attack(model, claimed, radius, inputs):
    """Return what the attack of an objective finds, the labels being the model's own."""
    from lipschitz_toys import make_task

    from orthobench.data import Examples
    from orthobench.harness.lipschitz.objective import LipschitzObjective
    from orthobench.lipschitz.evaluation import frozen_copy, in_float64

    objective = LipschitzObjective()
    objective._task, objective.attacked_radius = make_task(), radius
    outputs = model(inputs).detach()
    plain = frozen_copy(model)
    exact = in_float64(plain, inputs.shape[1:])
    return objective._attack(model, plain, exact, Examples(inputs, outputs.argmax(1)), outputs, claimed)


class TwoSided(torch.nn.Module):
    """Logits s and -s of a score with a gradient of norm 1: a joint constant of sqrt(2)."""

    def forward(self, x):
        score = 2 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize(("claimed", "expected"), [(0.1, 5), (1.4, 0), (1.5, 0)])
def test_a_broken_certificate_is_counted_with_the_quotient_that_was_seen(claimed, expected):
    # At a distance of 0.12 and of 0.3 from where the class changes; the attack's radius is 0.141.
    inputs = torch.cat([torch.full((5, 1, 2, 2), 0.56), torch.full((3, 1, 2, 2), 0.65)])
    figures, broken, quotient = attack(TwoSided(), claimed, 36, inputs)
    assert figures["attacked_accuracy"] == 3 / 8
    assert broken == expected
    assert quotient == pytest.approx(2**0.5, rel=1e-3)
    assert quotient <= 2**0.5 * (1 + 1e-9)


@pytest.mark.parametrize("radius", [1e-4, 1e-3, 1e-2, 0.1, 1, 36])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_rounding_disproves_no_orthogonal_network_at_any_radius(radius, shift):
    """In float32 the activations, large beside the logits, are wrong by more than the radius."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), *(torch.nn.Linear(16, 16) for _ in range(2)))
    with torch.no_grad():
        for layer, bias in zip(model[1:], (shift, 0), strict=True):
            layer.weight.copy_(torch.linalg.qr(torch.randn(16, 16, generator=generator))[0])
            layer.bias.fill_(bias)
        model[2].bias -= model[2].weight @ model[1].bias
    inputs = torch.rand(40, 1, 4, 4, generator=generator)
    _, broken, quotient = attack(model, 1.0, radius, inputs)
    assert broken == 0
    assert quotient <= 1 + 1e-5
    if radius >= 0.1 and not shift:
        assert quotient > 0.9  # it has a say
