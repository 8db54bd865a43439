"""The loop of private training: learns, is paired, records what happened, and what is asked again of its sums."""

import math
from functools import partial
from types import SimpleNamespace

import privacy_toys as toys
import pytest
import torch
from conftest import ROOT, SmallBenchmark

from orthobench.harness.privacy.cell import PrivateCell
from orthobench.harness.privacy.evaluation import certificates, examine
from orthobench.harness.privacy.loop import read_state, read_sums, read_weights
from orthobench.harness.privacy.objective import PrivacyObjective
from orthobench.harness.stand import bench
from orthobench.harness.stand.bench import Answer
from orthobench.harness.status import Diverged, InvalidResult, Refuted
from orthobench.lipschitz.losses import CrossEntropy
from orthobench.models.evaluation import outputs_of
from orthobench.optim.learning_rate import warmup_stable_decay
from orthobench.privacy.accounting import epsilon
from orthobench.privacy.audit import Canaries
from orthobench.privacy.losses import loss_constant
from orthobench.privacy.mechanisms import ClipFree, Clipping, tight_constant
from orthobench.privacy.release import Block


def accuracy(name, run):
    part = run.task.parts.held_out
    outputs = outputs_of(toys.model_of(name, run), part.inputs, toys.CPU)
    return float((outputs.argmax(1) == part.targets).double().mean())


@pytest.mark.parametrize(("name", "rate"), [("clipping", 5.0), ("clip_free", 0.5), ("not_private", 1.0)])
def test_it_learns_and_records_each_step(name, rate):
    private = name != "not_private"
    run = toys.trained(name, task=toys.make_task(steps=60), noise=0.5 if private else 0.0, rate=rate)
    assert accuracy(name, run) > 0.9
    assert run.done == len(run.loader.sizes) == 60
    assert math.isfinite(run.take_loss())
    assert math.isnan(run.take_loss())
    assert run.transcript.events == (((30 / 120, 0.5, 60),) if private else ())
    if private:
        assert epsilon(run.transcript, 1e-5, "rdp") > 1


def test_the_same_seed_is_the_same_run_and_batches_are_those_of_every_method():
    one, other, different = (toys.trained(seed=seed) for seed in (3, 3, 4))
    weights = [list(each.question.weights.values()) for each in (one, other, different)]
    assert all(map(torch.equal, weights[0], weights[1]))
    assert not all(map(torch.equal, weights[0], weights[2]))
    assert one.loader.sizes == toys.trained("clipping", rate=1.0).loader.sizes
    assert one.loader.sizes != different.loader.sizes


def test_rates_follow_the_schedule():
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step()

    toys.trained(optimizer=lambda parameters: Watched(parameters, lr=0.5))
    assert seen == pytest.approx([0.5 * warmup_stable_decay(step, 20) for step in range(20)])


def test_the_process_with_the_examples_has_the_weights_of_the_question_whatever_it_did_to_its_own():
    run = toys.make_run()
    run.step()
    for each in run.summing._parameters:
        each.data.fill_(7)
    run.step()
    assert all(map(torch.equal, run.stepping._parameters, run.question.weights.values()))
    assert not any(bool((each == 7).any()) for each in run.question.weights.values())


def test_the_weights_of_a_clip_free_run_stay_1_lipschitz_and_certify():
    run = toys.trained(task=toys.make_task(steps=40), rate=5.0)
    part, model = run.task.parts.held_out, toys.model_of("clip_free", run)
    outputs = outputs_of(model, part.inputs, toys.CPU)
    found = certificates(model, outputs, part, run.task.shape)
    assert 0 < found["lipschitz_upper"] <= 1 + 1e-4
    margins = outputs.gather(1, part.targets[:, None]).squeeze(1)
    others = outputs.scatter(1, part.targets[:, None], -math.inf).amax(1)
    radii = (margins - others) / math.sqrt(2) / found["lipschitz_upper"]
    for radius in (1, 16, 32):
        expected = float((radii > radius / 255).double().mean())
        assert found[f"certified_accuracy_{radius}"] == pytest.approx(expected, abs=1 / len(part))


def test_a_network_of_zeros_is_evaluated():
    task = toys.make_task()
    model = task.model_factory("lipschitz")(0)
    part = task.parts.held_out
    found = certificates(model, outputs_of(model, part.inputs, toys.CPU), part, task.shape)
    assert found["lipschitz_upper"] == 0
    assert found["certified_accuracy_32"] == 0


def test_weights_and_sums_that_are_not_finite_are_a_divergence():
    with pytest.raises(Diverged, match="try a lower learning rate"):
        toys.trained("not_private", rate=1e38, noise=0.0)


@pytest.mark.parametrize("name", ["clipping", "clip_free"])
def test_an_honest_run_passes_all_tests(name):
    run = toys.trained(name)
    state = torch.get_rng_state()
    found = examine(run.task, toys.kind_of(name), run, run.ask)
    assert {each.test for each in found["findings"]} == {"sensitivity", "sum", "noise"}
    assert len(found["findings"]) == 2 + 2 * len(run.kept)
    assert len(run.kept) >= 8
    assert all(each.passed for each in found["findings"]), found
    assert 0.5 < found["findings"][0].figure <= 1 + 1e-3
    assert torch.equal(torch.get_rng_state(), state)
    assert found["layers"].count('"bound"') == len(run.question.weights)


@pytest.mark.parametrize("claimed", [4.0, 0.5])
def test_where_prv_fails_pld_alone_judges_and_the_row_says_so(monkeypatch, claimed):
    """PRV raises where its grid is too coarse: a claim that holds stays, and one that doesn't is still refuted."""
    from opacus.accountants import PRVAccountant

    def fails(*_, **__):
        raise RuntimeError("Discrete mean differs significantly from continuous mean.")

    monkeypatch.setattr(PRVAccountant, "get_epsilon", fails)
    run = toys.trained("clipping", task=toys.make_task(steps=3), noise=1.23)
    own = SimpleNamespace(part="tuning", _task=run.task)
    own._judged, own.part_of = (partial(getattr(PrivacyObjective, name), own) for name in ("_judged", "part_of"))
    result = {"state": run.question.weights, "kind": toys.kind_of("clipping"), "steps": 3, "elapsed_s": 1.0}
    result |= {"train_loss": 1.0, "transcript": run.transcript, "noise_multiplier": 1.23, "claimed": claimed}
    row = PrivacyObjective.evaluate(own, **result, examined=examine(run.task, result["kind"], run, run.ask))
    assert math.isnan(row["epsilon_prv"])
    assert 0.5 < row["epsilon_pld"] < 4
    assert row["message"].endswith("accounting: PRV failed, so that the claim is judged by PLD alone")
    assert row.get("status", "ok") == ("ok" if claimed == 4 else "refuted")
    assert ("claims an epsilon of 0.5" in row["message"]) == (claimed == 0.5)


def test_steps_are_asked_again_that_no_seed_tells():
    drawn = {frozenset(toys.make_run(task=toys.make_task(steps=200))._drawn) for _ in range(3)}
    assert len(drawn) == 3
    assert all(199 in each and len(each) in (8, 9) for each in drawn)


def test_the_ratio_of_gradient_and_noise_is_that_of_clipping_written_out():
    run = toys.trained("clipping")
    found = examine(run.task, "unconstrained", run, run.ask)["gradient_to_noise"]
    task, model = run.task, toys.model_of("clipping", run)
    total = [torch.zeros_like(each) for each in model.parameters()]
    for inputs, target in zip(*(each[:30] for each in vars(task.parts.train).values()), strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[None]), target[None]).backward()
        norm = math.sqrt(sum(float(each.grad.square().sum()) for each in model.parameters()))
        total = [own + each.grad * min(1, 0.1 / norm) for own, each in zip(total, model.parameters(), strict=True)]
    signal = math.sqrt(sum(float(each.square().sum()) for each in total))
    noise = 0.1 * math.sqrt(sum(each.numel() for each in model.parameters()))
    assert found == pytest.approx(signal / noise, rel=1e-3)


def test_canaries_are_scored_in_a_run_and_what_is_known_is_taken_off():
    task, sizes = toys.make_task(network="linear"), []

    def make_canaries(blocks):
        sizes.append([each.names for each in blocks])
        return Canaries(20, task.sampling_rate, 0)

    run = toys.trained(task=task, make_canaries=make_canaries, rate=0.0)
    assert sizes == [[("1.weight",)]]
    scores, included = run.canaries.scores, run.canaries.included
    # An included canary's score grows by 1 / s^2 for each of its samples, on average.
    assert scores[included].mean() > 2 + scores[~included].mean()


def test_the_probability_that_a_bound_fails_comes_to_the_transcript(monkeypatch):
    make = lambda *given: ClipFree(*given, temperature=0.25, projection="probabilistic")  # noqa: E731
    monkeypatch.setitem(toys.MAKES, "random", make)
    run = toys.trained("random")
    # Of two weights, at first and after each step.
    assert run.transcript.extra_delta == pytest.approx(2 * 21 * 1e-12)
    assert epsilon(run.transcript, 1e-5, "rdp") > 0


def test_the_tight_constant_is_never_below_that_of_the_loss_and_hardly_above():
    criterion = CrossEntropy(temperature=0.25, margin=0.0)
    constant = tight_constant(0.25, toys.make_plan(toys.make_task()))
    for norm in (0.0, 0.3, 0.9999, 1.0, 1.00001, 1.0005):
        exact = loss_constant(criterion, toys.CLASSES, norm)
        assert exact <= constant(norm) <= 1.03 * exact
    assert constant(0.1) < constant(1.0) < constant(1.01) == loss_constant(criterion, toys.CLASSES)


@pytest.mark.parametrize(("network", "gain"), [("linear", 0.85), ("mlp-8", 0.85), ("mlp-8-8-8", 0.85)])
def test_layers_on_the_constraint_keep_the_tight_constant(network, gain):
    """Norms of 1 are bounded by a little more, for rounding: the constant was that for any outputs then."""
    task = toys.make_task(network=network)
    bounds = []
    for tight in (True, False):
        model = task.model_factory("lipschitz")(0)
        with torch.no_grad():
            for each in model.parameters():
                torch.nn.init.orthogonal_(each)
        mechanism = ClipFree(
            toys.sgd(0.1)(model.parameters()), model, toys.make_plan(task), temperature=1.0, tight=tight
        )
        bounds.append([block.bound for block in mechanism.blocks()])
    for found, most in zip(*bounds, strict=True):
        assert found <= gain * most


# ----- what a stand may answer -----


class Named(Clipping):
    """Names a sum by the batch: what comes to the optimizer must not depend on examples."""

    def blocks(self):
        return [*super().blocks(), Block((self.last,), 0.0, 1.0)]

    last = "0"

    def sum_gradients(self, inputs, targets):
        self.last = str(float(inputs.sum()))
        total, sums = super().sum_gradients(inputs, targets)
        return total, sums | {self.last: torch.zeros(())}


class Shaped(Clipping):
    """Returns a sum with an entry for each example."""

    def blocks(self):
        return [*super().blocks(), Block(("more",), 0.0, 1.0)]

    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        return total, sums | {"more": torch.zeros(len(inputs))}


class Offset(Clipping):
    """Adds a number in which the noise would be lost by rounding."""

    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        return total, {name: each + 1e9 for name, each in sums.items()}


@pytest.mark.parametrize(
    ("cheat", "error", "message"),
    [
        (Named, InvalidResult, "expected each sum in one"),
        (Shaped, InvalidResult, "other names, shapes or types than those over no example"),
        (Offset, Refuted, r"sum: that of 1\.weight over no example isn't 0"),
    ],
)
def test_sums_have_the_form_of_those_over_no_example_which_are_zero(monkeypatch, cheat, error, message):
    monkeypatch.setitem(toys.MAKES, "cheat", lambda *given: cheat(*given, clip_norm=0.1))
    with pytest.raises(error, match=message):
        toys.trained("cheat")


WEIGHTS = {"a": torch.zeros(2, 3), "b": torch.zeros(3)}


def answered(tensors=None, **changes):
    tensors = [torch.ones(2, 3), torch.ones(3), torch.ones(())] if tensors is None else tensors
    blocks = [{"names": ["a", "b"], "bound": 1.0, "std": 2.0}, {"names": ["count"], "bound": 0.5, "std": 1.0}]
    return Answer({"names": ["a", "b", "count"], "blocks": blocks, "loss": 1.5} | changes, tensors)


def test_sums_are_read_with_their_blocks():
    loss, (sums, blocks) = read_sums(answered(), WEIGHTS, private=True)
    assert (loss, list(sums)) == (1.5, ["a", "b", "count"])
    assert blocks == [(("a", "b"), 1.0, 2.0), (("count",), 0.5, 1.0)]
    assert read_sums(answered(blocks=None), WEIGHTS, private=False)[1].blocks == []


BARE = [{"names": ["a", "b"], "bound": 1.0, "std": 2.0}]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"names": ["a", "a", "b"]}, InvalidResult, "expected a name of its own for each"),
        ({"names": ["a", "b"]}, InvalidResult, "expected a name of its own for each"),
        ({"names": None}, InvalidResult, "expected a name of its own for each"),
        ({"names": ["a", "c", "count"]}, InvalidResult, "the sum for b is missing"),
        (
            {"tensors": [torch.ones(3, 2), torch.ones(3), torch.ones(())]},
            InvalidResult,
            "the sum for a is torch.float32",
        ),
        ({"tensors": [torch.ones(2, 3), torch.ones(3), torch.ones((), dtype=torch.int64)]}, InvalidResult, "whole"),
        ({"tensors": [torch.ones(2, 3), torch.ones(3), torch.tensor(math.inf)]}, Diverged, "NaN or infinity"),
        ({"loss": None}, InvalidResult, "for loss: expected a number"),
        ({"loss": True}, InvalidResult, "for loss: expected a number"),
        ({"loss": math.nan}, Diverged, "the loss is nan"),
        ({"loss": math.inf}, Diverged, "the loss is inf"),
        ({"blocks": BARE}, Refuted, "noise: count has none, so that nothing is private"),
        ({"blocks": []}, Refuted, "noise: a has none"),
        ({"blocks": [*BARE, {"names": ["count"], "bound": 0.5, "std": 0.0}]}, Refuted, "noise: count has none"),
        ({"blocks": [*BARE, *BARE]}, InvalidResult, "expected each sum in one"),
        ({"blocks": [*BARE, {"names": ["d"], "bound": 0.5, "std": 1.0}]}, InvalidResult, "expected each sum in one"),
        ({"blocks": [{"names": ["a"], "bound": -1.0, "std": 1.0}]}, InvalidResult, "a finite bound and std"),
        *(
            ({"blocks": [{"names": ["a"], "bound": 1.0, "std": 1.0} | wrong]}, InvalidResult, "a finite bound and std")
            for name in ("bound", "std")
            for wrong in ({name: value} for value in (None, True, "1.0", math.nan, math.inf))
        ),
        ({"blocks": ["all"]}, InvalidResult, "a block is all"),
        ({"blocks": 3}, InvalidResult, "a block is 3"),
    ],
)
def test_sums_that_cannot_be_used_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        read_sums(answered(**changes), WEIGHTS, private=True)


def test_weights_of_other_shapes_and_states_that_are_none_are_refused():
    fields = {"state": {"clip_norm": 0.1}, "failure_probability": 0.0}
    weights, state, failure = read_weights(Answer(fields, list(WEIGHTS.values())), WEIGHTS)
    assert (list(weights), state, failure) == (["a", "b"], {"clip_norm": 0.1}, 0.0)
    with pytest.raises(InvalidResult, match="the model belongs to the harness"):
        read_weights(Answer(fields, [torch.zeros(2, 3)]), WEIGHTS)
    for wrong in (1.0, math.nan, math.inf, True):
        with pytest.raises(InvalidResult, match=rf"{wrong}.*: expected"):
            read_weights(Answer(fields | {"failure_probability": wrong}, list(WEIGHTS.values())), WEIGHTS)
    with pytest.raises(InvalidResult, match="expected a dict"):
        read_state(Answer({"state": [1.0]}, []))


# ----- whole cells -----


@pytest.mark.parametrize(
    ("said", "outside", "expected"),
    [
        (2.0, 2.5, 2.0 + 0.1),  # transport and a slow clock
        (2.0, 10.0, (10.0 - 50 * 0.01 - 0.025) / 1.25 + 0.1),  # work that its own clock doesn't show
        (0.0, 0.0, 0.1),
    ],
)
def test_the_clock_outside_counts_where_it_shows_more_than_the_stands_say(said, outside, expected):
    run = SimpleNamespace(own_s=0.1)
    cell = SimpleNamespace(_said_s=said, _outside_s=outside, _transport_s=0.01, _slack_s=0.025, _run=run)
    assert PrivateCell._steps_s(cell, 50) == pytest.approx(expected)


CLAIMS = """

CLAIMS = {
    "float64": lambda epsilon: np.float64(epsilon),
    "float32": lambda epsilon: np.float32(1.5 * epsilon),
    "tensor": lambda epsilon: torch.tensor(2 * epsilon),
    "int": lambda epsilon: 7,
    "bool": lambda epsilon: True,
    "text": lambda epsilon: "3",
    "nan": lambda epsilon: math.nan,
    "inf": lambda epsilon: math.inf,
    "huge": lambda epsilon: 10**400,
    "zero": lambda epsilon: 0.0,
    "two": lambda epsilon: torch.ones(2),
}


class Solver(PrivateSolver):
    parameters = {"learning_rate": [5.0], "how": HOW}

    def claim(self, epsilon):
        return CLAIMS[self.how](epsilon)

"""
WRONG_CLAIMS = {"bool": "True", "text": "'3'", "nan": "nan", "inf": "inf", "zero": "0.0", "two": "tensor([1., 1.])"}
WRONG_CLAIMS["huge"] = repr(10**400)[:80]


def test_a_claim_is_a_number_of_any_library_and_all_else_is_named(tmp_path, contained):
    folder = ROOT / "benchmark_dp"
    before, _, after = (ROOT / "tests/cheats/privacy/honest_own.py").read_text().partition("\n\nclass Solver(")
    after = after.partition("\n")[2].replace('    parameters = {"learning_rate": [5.0]}\n', "")
    source = before.replace("import torch\n", "import math\n\nimport numpy as np\nimport torch\n", 1) + CLAIMS + after
    source = source.replace("HOW", repr(["float64", "float32", "tensor", "int", *WRONG_CLAIMS]))
    files = {name: (folder / name).read_text() for name in ("objective.py", "datasets/digits.py")}
    small = SmallBenchmark(tmp_path / "small").write(files | {"solvers/claims.py": source})
    rows = small.run(dataset_names=["digits[steps=2]"], objective_filters=["Private training[epsilon=4]"])
    last = {how: own.iloc[-1] for how, own in rows.groupby("p_solver_how")}
    good = {how: row["objective_epsilon_claimed"] for how, row in last.items() if row["objective_status"] == "ok"}
    assert good == {"float64": 4.0, "float32": 6.0, "tensor": 8.0, "int": 7.0}
    for how, told in WRONG_CLAIMS.items():
        assert last[how]["objective_status"] == "error"
        assert f"the claimed epsilon is {told}: expected a positive number" in last[how]["objective_message"]


def test_work_before_the_stopwatch_is_on_the_row(tmp_path, contained):
    """A mechanism that works when it is told its state."""
    folder = ROOT / "benchmark_dp"
    source = (ROOT / "tests" / "cheats" / "privacy" / "honest_own.py").read_text()
    spin = """
    def load_state(self, state):
        import time
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    def apply("""
    names = ("objective.py", "datasets/digits.py")
    files = {name: (folder / name).read_text() for name in names}
    files |= {"solvers/plain.py": source, "solvers/spins.py": source.replace("\n    def apply(", spin)}
    files["solvers/spins.py"] = files["solvers/spins.py"].replace('"honest_own"', '"spins"')
    rows = (
        SmallBenchmark(tmp_path / "small")
        .write(files)
        .run(dataset_names=["digits[steps=8]"], objective_filters=["Private training[epsilon=2]"])
    )
    assert rows["objective_status"].eq("ok").all()
    time_s = rows.groupby(rows["solver_name"].str.startswith("spins"))["objective_time_s"].max()
    assert time_s[True] > 8 * 0.05


def test_a_cell_has_the_same_figures_in_the_bench_for_a_debugger(tmp_path, monkeypatch, contained):
    folder = ROOT / "benchmark_dp"
    names = ("objective.py", "datasets/digits.py", "solvers/clip_free.py", "solvers/adaptive_clipping.py")
    small = SmallBenchmark(tmp_path / "small").write({name: (folder / name).read_text() for name in names})
    options = {"dataset_names": ["digits[steps=3]"], "objective_filters": ["Private training[epsilon=2]"]}
    apart = small.run(**options)
    monkeypatch.setenv(bench.IN_PROCESS_VARIABLE, "1")
    together = small.run(output="in_process", forced_solvers=["Clipless", "Adaptive clipping"], **options)
    apart, together = (each.sort_values(["solver_name", "objective_steps"]) for each in (apart, together))
    assert apart["objective_env_stand"].eq(bench.Stand.kind).all()
    assert together["objective_env_stand"].eq("in process").all()
    assert apart["objective_status"].eq("ok").all()
    for column in ("value", "train_loss", "epsilon_pld", "sensitivity_ratio", "lipschitz_upper", "layers", "status"):
        name = f"objective_{column}"
        assert list(map(repr, apart[name])) == list(map(repr, together[name])), name


def test_a_row_has_the_time_of_sums_steps_and_noise_and_the_memory_of_the_processes(tmp_path, contained):
    folder = ROOT / "benchmark_dp"
    names = ("objective.py", "datasets/digits.py", "solvers/clip_free.py")
    small = SmallBenchmark(tmp_path / "small").write({name: (folder / name).read_text() for name in names})
    rows = small.run(dataset_names=["digits[steps=8]"], objective_filters=["Private training[epsilon=2]"])
    rows = rows[rows["solver_name"].str.contains("global")]
    times = rows["objective_time_s"].tolist()
    assert times[0] < times[1] < times[-1]
    assert rows["objective_peak_memory_bytes"].gt(1e7).all()
