"""In the bench a solver's file is read, never run, and a file that breaks a rule says so."""

import importlib.util
import runpy
import sys
import textwrap
import time
from types import ModuleType

import pytest
from benchopt import BaseSolver
from benchopt.utils import dynamic_modules
from conftest import ROOT

from orthobench.harness.stand import thin
from orthobench.harness.stand.roles import resolve

PUBLISHED = sorted([*ROOT.glob("solvers/*.py"), *ROOT.glob("benchmark_*/solvers/*.py")])


class ToyCell(BaseSolver):
    """The bench's half of a toy benchmark."""

    problem, file, imports = "", "", ()
    sampling_strategy = "run_once"

    def set_objective(self, **problem):
        pass

    def run(self, _):
        pass

    def get_result(self):
        return {"problem": self.problem}


class RefusedCell(ToyCell):
    """Of a file whose base can't be told."""


class Toy:
    """The stand's half."""

    cell = "orthobench.toy_bases:ToyCell"
    yours = frozenset({"method", "steps", "recipe"})
    steps = 1
    patience = 3

    def prepare(self):
        pass

    def method(self):
        pass


class Other(Toy):
    """Another base."""

    cell = "orthobench.toy_bases:OtherCell"


class OtherCell(ToyCell):
    """Its half in the bench."""


@pytest.fixture(autouse=True)
def toy_bases(monkeypatch):
    """A module of the package with bases that name their cells."""
    module = ModuleType("orthobench.toy_bases")
    for each in (Toy, ToyCell, Other, OtherCell, RefusedCell):
        setattr(module, each.__name__, each)
    module.LOSS = {"margin": [0.5], "nested": [(1, [2])]}
    module.OBJECT = {"margin": [object()]}
    module.EMPTY = []
    monkeypatch.setitem(sys.modules, "orthobench.toy_bases", module)
    monkeypatch.setattr(thin, "REFUSED", "orthobench.toy_bases:RefusedCell")
    return module


@pytest.fixture
def read(tmp_path):
    """Return a function that makes the bench's class of a file with this text."""

    def read(text, name="method.py"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        module = thin.stub(path, "benchopt_benchmarks.toy.solvers.method")
        return module and module.Solver

    return read


def solver(body="", top="", name="toy"):
    """Return the text of a solver on `Toy`; ``top`` comes before the class, ``body`` into it."""
    body = textwrap.indent(textwrap.dedent(body), "    ")
    imports = "import torch\nfrom orthobench.toy_bases import EMPTY, LOSS, OBJECT, Other, Toy"
    return f"{imports}\n{top}\nclass Solver(Toy):\n    name = {name!r}\n{body}"


# --- what is published ------------------------------------------------------------------------------------------------


def attributes_of(path):
    file = thin.SolverFile(path)
    return file.attributes(thin.owned_names(resolve(file.base.cell), file.base))


def test_all_published_solvers_are_looked_at():
    assert len(PUBLISHED) >= 64


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_published_solver_keeps_the_rules_and_reads_as_it_runs(path):
    attributes = attributes_of(path)
    assert attributes["problem"] == ""
    assert attributes["base"].__name__.endswith(("Solver", "Orthogonaliser", "NewtonSchulz"))
    assert attributes["file"] == str(path)
    libraries = [each.partition(".")[0] for each in attributes["imports"]]
    assert set(libraries) <= {"numpy", "orthogonium", "pytorch_optimizer"}
    if not all(importlib.util.find_spec(library) for library in libraries):
        pytest.skip("a library is missing")
    ran = runpy.run_path(str(path))["Solver"]
    own = {key for each in ran.__mro__ if each.__module__ == ran.__module__ for key in vars(each)}
    expected = {key: getattr(ran, key) for key in thin.METADATA if key in own}
    assert {key: attributes[key] for key in thin.METADATA if key in attributes} == expected
    assert attributes["__doc__"] == ran.__doc__


# --- what becomes of a file -------------------------------------------------------------------------------------------


def test_a_file_becomes_the_class_that_benchopt_sees(read, tmp_path):
    made = read('''
        """A file."""
        import math
        import torch.nn
        import pytest
        from pluggy import hooks, HookspecMarker
        from orthobench.toy_bases import LOSS, Toy as Base

        RATES = [1e-3, 1.0]

        class Solver(Base):
            """What it does."""

            name = "Toy-1.5 (a+b)[c]"
            WIDTHS: tuple = (8, -4)
            parameters = {"rate": RATES, "width": WIDTHS, "kind, size": [("a", 1), ("b", 2)], **LOSS}
            parameter_template = "rate {rate}"
            requirements = ["pip::toy"]
            test_config = {"dataset": {"name": "ax", "on": False}, "seed": 1}
            slurm_params = {"time": "1"}
            support_sparse = False
            method = lambda self: self.step()

            @property
            def steps(self):
                return 3

            @steps.setter
            def steps(self, value):
                raise ValueError

            @torch.no_grad()
            def recipe(self):
                return __import__("os")
    ''')
    assert made.problem == ""
    assert issubclass(made, ToyCell)
    assert (made.__name__, made.__module__) == ("Solver", "benchopt_benchmarks.toy.solvers.method")
    assert made.__doc__ == "What it does."
    assert made.name == "Toy-1.5 (a+b)[c]"
    assert made.parameters == {
        **{"rate": [1e-3, 1.0], "width": (8, -4), "kind, size": [("a", 1), ("b", 2)]},
        **{"margin": [0.5], "nested": [(1, [2])]},
    }
    assert (made.parameter_template, made.requirements) == ("rate {rate}", ["pip::toy"])
    assert made.test_config == {"dataset": {"name": "ax", "on": False}, "seed": 1}
    assert (made.slurm_params, made.support_sparse) == ({"time": "1"}, False)
    assert made.imports == ("pytest", "pluggy")
    assert made.file == str(tmp_path / "method.py")
    assert made.base is Toy
    assert not hasattr(made, "method")
    assert not hasattr(made, "steps")


def test_constants_have_the_values_of_where_they_are_used(read):
    made = read(solver("A = [2]\nparameters = {'a': A, 'b': B}", "A = [0]\nB = [1]"))
    assert (made.problem, made.parameters) == ("", {"a": [2], "b": [1]})


@pytest.mark.parametrize(
    "top", ["A = [0]\nA = [1]", "B = [0]\nA = B", "A, B = [0], [1]", "A = [0] + [1]", "A = [0, *[1]]"]
)
def test_a_constant_is_bound_once_to_a_literal(read, top):
    made = read(solver("parameters = {'a': A}", top))
    assert "`parameters` is no constant that can be read" in made.problem
    assert made.parameters == {}


def test_nothing_of_the_package_can_be_reached_through_a_solvers_constants(read, toy_bases):
    made = read(solver("parameters = {**LOSS}\nreferences = EMPTY"))
    made.parameters["nested"][0][1].append(3)
    made.references.append(1)
    assert toy_bases.LOSS["nested"] == [(1, [2])]
    assert toy_bases.EMPTY == []


def test_nothing_of_a_file_runs(read, tmp_path):
    marker = tmp_path / "marker"
    top = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    assert "runs at import" in read(solver(f"pathlib.Path({str(marker)!r}).touch()", top)).problem
    (tmp_path / "neighbour.py").write_text(top)
    sys.path.insert(0, str(tmp_path))
    try:
        assert read(solver(top="import neighbour")).imports == ("neighbour",)
    finally:
        sys.path.remove(str(tmp_path))
    assert not marker.exists()


def test_an_edited_file_is_read_anew(read):
    assert read(solver(name="first")).name == "first"
    assert read(solver(name="second")).name == "second"


ONE_BASE = "`Solver` must derive from one base class of `orthobench.harness`, imported by its name"


@pytest.mark.parametrize("how", ["Other", "Other as Base"])
def test_the_base_is_found(read, how):
    made = read(f"from orthobench.toy_bases import {how}\nclass Solver({how.split()[-1]}):\n name = 'toy'")
    assert (made.problem, made.base, made.name) == ("", Other, "toy")
    assert issubclass(made, OtherCell)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from benchopt import BaseSolver\nclass Solver(BaseSolver): pass", ONE_BASE),
        ("from orthobench.harness.solver import BaseSolver\nclass Solver(BaseSolver): pass", ONE_BASE),
        ("from orthobench.toy_bases import LOSS\nclass Solver(LOSS['a']): pass", ONE_BASE),
        ("import torch\nclass Solver(torch.nn.Module): pass", ONE_BASE),
        ("class Solver: pass", ONE_BASE),
        ("from orthobench.toy_bases import Toy\nclass Base(Toy): pass\nclass Solver(Base): pass", ONE_BASE),
        ("from orthobench.toy_bases import Toy\nBase = Toy\nclass Solver(Base): pass", ONE_BASE),
        ("import orthobench.toy_bases as bases\nclass Solver(bases.Toy): pass", ONE_BASE),
        ("class Base: pass\nclass Solver(Base):\n from orthobench.toy_bases import Toy as Base", ONE_BASE),
        ("class Other: pass", "there is no class `Solver`"),
        ("", "there is no class `Solver`"),
        ("def Solver(): pass", "there is no class `Solver`"),
        ("import missing\nclass Solver(:", "is no Python: invalid syntax in line 2"),
        (b"class Solver: x = '\xff'", "is no Python"),
        (b"# coding: none\nclass Solver: pass", "is no Python: unknown encoding"),
        (b"class Solver: pass\0", "null bytes"),
        (b"#" * (thin.LARGEST_FILE + 1), "has more than"),
    ],
)
def test_a_file_whose_base_cant_be_told_is_refused_and_still_has_a_class(read, text, found):
    made = read(text)
    assert found in made.problem
    assert made.problem.startswith(f"{made.file.split('/')[-2]}/method.py")
    assert issubclass(made, RefusedCell)
    assert (made.name, made.base) == ("method", None)


def test_a_file_that_isnt_there_is_refused(tmp_path):
    for path in (tmp_path / "none.py", tmp_path):
        assert "is none that can be read" in thin.stub(path, "benchopt_benchmarks.toy").Solver.problem


@pytest.mark.parametrize("bases", ["Module, Toy", "Toy, Other"])
def test_two_bases_are_refused(read, bases):
    made = read("from torch.nn import Module\n" + solver().replace("(Toy)", f"({bases})"))
    assert ONE_BASE in made.problem
    assert made.base is None


# --- imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["import missing_library.part as m", "from missing_library import m"])
@pytest.mark.parametrize("where", ["top", "body"])
def test_a_missing_library_is_named_as_if_the_file_had_run(read, line, where):
    with pytest.raises(ModuleNotFoundError, match=r"'missing_library'.*method\.py") as caught:
        read(solver(**{where: line}))
    assert caught.value.name == "missing_library"


def test_a_library_that_is_imported_when_a_method_runs_may_be_missing(read):
    assert read(solver("def method(self):\n    import missing_library")).problem == ""


def test_a_library_that_the_package_lacks_counts_as_missing(read, monkeypatch):
    def fails(name):
        raise ModuleNotFoundError("No module named 'opacus'", name="opacus")

    text = solver()
    monkeypatch.setattr(thin.importlib, "import_module", fails)
    with pytest.raises(ModuleNotFoundError, match="opacus"):
        read(text)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from . import x", "a neighbour"),
        ("from .x import y", "a neighbour"),
        ("from torch import *", "all names of a module"),
        ("from orthobench.linalg import *", "all names of a module"),
        ("from orthobench.linalg import absent", "what OrthoBench doesn't have"),
        ("import orthobench.absent", "what OrthoBench doesn't have"),
        ("from orthobench.report import __main__", "not for import"),
        ("import orthobench.report.__main__", "not for import"),
    ],
)
def test_an_import_that_cant_be_followed_is_refused(read, line, found):
    made = read(solver(top=line))
    assert found in made.problem
    assert ", line 3: " in made.problem


# --- what runs at import ----------------------------------------------------------------------------------------------


RUNNING = [
    *("print()", "X = print()", "if torch.cuda: pass", "for x in (): pass", "while 0: pass", "with torch as t: pass"),
    *("try:\n    pass\nexcept ValueError:\n    pass", "del torch", "assert 1", "global x", "torch", "raise ValueError"),
    *("x = [y for y in ()]", "x = {y for y in ()}", "x = {y: y for y in ()}", "x = (y for y in ())", "x = (y := 1)"),
    *("x = 1\nx += 1", "torch.x = 1", "torch.x: int = 1", "torch['x'] = 1", "x, torch.x = 1, 2", "x: print() = 1"),
    *("def f(x=print()): pass", "def f(*, x=print()): pass", "def f(x: print()): pass", "def f() -> print(): pass"),
    *("f = lambda x=print(): x", "class A(print()): pass", "class A(metaclass=type): pass", "class A(x=print()): pass"),
    *("class A:\n    print()", "class A:\n    class B:\n        x = print()", "class A:\n    if 1: pass"),
    *("match 1:\n    case 1: pass", "return 1", "x = yield", "x = f'{print()}'", "x: print()"),
]


@pytest.mark.parametrize("text", RUNNING)
@pytest.mark.parametrize("where", ["top", "body"])
def test_what_runs_at_import_is_refused(read, text, where):
    made = read(solver(**{where: text}))
    assert "runs at import" in made.problem
    assert "(see CONTRIBUTING.md)" in made.problem
    assert len(made.problem) < 400  # or a row would cut it
    assert made.base is Toy


DECORATED = [
    *("@print", "@print()", "@torch.compile", "@torch.no_grad(1)", "@x.setter", "@torch.x.setter", "@functools.wraps"),
    *("@(lambda f: f)", "@property()"),
]


@pytest.mark.parametrize("decorator", DECORATED)
def test_other_decorators_are_refused(read, decorator):
    made = read(solver(f"{decorator}\ndef own(self): pass"))
    assert f"`{decorator}` runs at import" in made.problem or "`@lambda" in made.problem
    assert "decorators are only property" in made.problem


@pytest.mark.parametrize(
    ("top", "decorator"),
    [
        ("def property(f): return print()", "@property"),
        ("class torch:\n    no_grad = print", "@torch.no_grad()"),
        ("from os import system as property", "@property"),
        ("import os as torch", "@torch.no_grad()"),
        ("", "@cached_property"),
        ("from functools import cached_property", "@cached_property"),
        ("import torch as t", "@t.no_grad()"),
    ],
)
def test_a_decorator_is_what_its_name_says(read, top, decorator):
    made = read(solver(f"{decorator}\ndef own(self): pass", top))
    assert f"`{decorator}` runs at import" in made.problem


def test_a_class_is_not_decorated(read):
    assert "`@property` runs at import" in read(solver(top="@property\nclass A: pass")).problem


def test_the_decorators_of_values_and_of_torch_are_allowed(read):
    made = read(
        solver(
            """
            @property
            def a(self): pass
            @a.setter
            def a(self, value): pass
            @a.deleter
            def a(self): pass
            @staticmethod
            def b(): pass
            @classmethod
            def c(cls): pass
            @functools.cached_property
            def e(self): pass
            @torch.inference_mode()
            def f(self): pass
            @torch.no_grad()
            def h(self): pass
            """,
            "import functools",
        )
    )
    assert made.problem == ""


def test_constants_functions_and_classes_are_allowed(read):
    made = read(
        solver(
            """
            '''Of an attribute.'''
            a: int
            b = c = (1, *(2, 3))
            d = LOSS["margin"][0] if EMPTY else {**LOSS}
            e = lambda self, x=1: print(x)
            async def f(self): await self.g
            def g(self, *x: int, y: "print()" = 2, **z) -> torch.Tensor:
                with torch.no_grad():
                    return [print(each) for each in x]
            class Own(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                result = 1
            ...
            """,
            "X = torch.float32\nclass Helper(torch.optim.SGD):\n    def step(self): return print()\n    run = 1",
        )
    )
    assert made.problem == ""


@pytest.mark.parametrize(
    "text",
    [
        "Solver = 1",
        "class Solver(Toy):\n    name = 'other'",
        "def Solver(): pass",
        "import torch as Solver",
        "from orthobench.toy_bases import Toy as Solver",
        "x, (Solver, y) = 1, (2, 3)",
        "Solver: type = Toy",
    ],
)
def test_a_file_holds_one_solver(read, text):
    for made in (read(solver(top=text)), read(solver() + text)):
        assert "`Solver` is bound again" in made.problem


# --- what the harness owns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["result", "prepare", "run", "get_result", "_trainer", "skip", "__init__", "__new__"])
@pytest.mark.parametrize("way", ["def {}(self): pass", "async def {}(self): pass", "@print\ndef {}(self): pass"])
def test_a_method_of_the_harness_is_not_overridden(read, name, way):
    made = read(solver(way.format(name)))
    owned = f"toy overrides `{name}`, which the harness owns: implement the method that its base class names instead"
    assert f"{owned} (see CONTRIBUTING.md)" in made.problem
    assert ", line 6: " in made.problem or ", line 7: " in made.problem
    assert len(made.problem) < 400


@pytest.mark.parametrize("name", ["evaluation_points", "patience", "cell", "yours", "stopping_criterion", "__class__"])
@pytest.mark.parametrize(
    "way",
    [
        *("{} = 1", "{}: int = 1", "{} += 1", "x = {} = 1", "x, ({}, *y) = 1, (2, 3)", "x, *{} = (1, 2)", "del {}"),
        *("import torch as {}", "from torch import nn as {}", "class {}: pass", "{} = property(lambda self: 1)"),
        *("if 1:\n    {} = 1", "for {} in (): pass"),
    ],
)
def test_an_attribute_of_the_harness_is_not_set(read, name, way):
    if name == "stopping_criterion":
        name = "sampling_strategy"
    made = read(solver(way.format(name)))
    assert f"toy sets `{name}`, which the harness owns: implement the method" in made.problem


def test_what_the_base_leaves_to_a_solver_may_be_defined(read):
    made = read(
        solver("steps = 3\nrecipe = 'a'\ndef method(self): pass\ndef __repr__(self): return ''\n__hash__ = None")
    )
    assert made.problem == ""


def test_an_annotation_alone_sets_nothing(read):
    assert read(solver("evaluation_points: tuple")).problem == ""


def test_the_first_problem_is_told(read):
    made = read(solver("own = print()\ndef result(self): pass", "X = 1"))
    assert "`own = print()` runs at import" in made.problem
    assert ", line 6: " in made.problem
    made = read(solver("def result(self, x=print()): pass\nown = print()"))
    assert "overrides `result`" in made.problem
    made = read(solver("own = {\n    'a': 1,\n    'b': print(),\n}"))
    assert ", line 8: `'b': print(),` runs at import" in made.problem


# --- parameters and metadata ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["lr", "a, lr"])
def test_an_attribute_doesnt_hide_a_parameter(read, key):
    value = 0.5 if key == "lr" else (1, 0.5)
    for body in ("lr = 0.1", "def lr(self): pass", "lr: float = 0.1"):
        made = read(solver(f"parameters = {{{key!r}: [{value}]}}\n{body}"))
        assert "the class attribute `lr` of toy hides the parameter of that name, so that every value" in made.problem
        assert "would run as the same one: rename or remove the attribute" in made.problem
        assert made.parameters == {}


def test_an_attribute_of_the_base_hides_a_parameter_unless_it_is_the_solvers(read):
    assert "`patience` of toy hides the parameter" in read(solver("parameters = {'patience': [1]}")).problem
    assert read(solver("parameters = {'steps': [1], 'recipe': ['a']}")).problem == ""
    assert "`steps` of toy hides" in read(solver("parameters = {'steps': [1]}\nsteps = 2")).problem


@pytest.mark.parametrize("name", ["run", "_task", "device", "problem", "requirements", "__class__"])
def test_a_parameter_has_no_name_of_the_harness(read, name):
    made = read(solver(f"parameters = {{{name!r}: [1]}}"))
    assert "which the harness owns: rename it" in made.problem or "must be a name" in made.problem


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("parameters = [1]", "it is of type list"),
        ("parameters = {1: [1]}", "must be a name"),
        ("parameters = {'a b': [1]}", "must be a name"),
        ("parameters = {'a,': [(1,)]}", "must be a name"),
        ("parameters = {'a, b': [(1,)]}", "several with a tuple for each value"),
        ("parameters = {'a, b': [3]}", "several with a tuple for each value"),
        ("parameters = {'a': []}", "make 0 cells"),
        (f"parameters = {{'a': {[0] * 1000}, 'b': {[0] * 1000}}}", "make 1000000 cells"),
        ("parameters = {'a': [1]}\nparameter_template = '{a:>999999999}'", "`parameter_template` may hold"),
        ("parameters = {'a': [1]}\nparameter_template = '{a.real}'", "`parameter_template` may hold"),
        ("parameters = {'a': [1]}\nparameter_template = '{b}'", "`parameter_template` may hold"),
        ("requirements = 'toy'", "it is of type str"),
        ("test_config = 1", "it is of type int"),
    ],
)
def test_metadata_that_benchopt_could_not_use_are_refused(read, line, found):
    made = read(solver(line))
    assert found in made.problem
    assert made.parameters == {}


def test_a_parameter_may_have_one_value_and_a_template(read):
    made = read(solver("parameters = {'a': 1, 'b, c': [[1, 2]]}\nparameter_template = '{a} and {c}'"))
    assert (made.problem, made.parameters) == ("", {"a": 1, "b, c": [[1, 2]]})


NAMES = ["../../outside", "a/b", "a\\\\b", ".", "..", "", " a", "a ", "a\\n", "a*", "a" * 81, "é", "a,b", "<b>"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_name_a_file(read, name):
    made = read(solver().replace("'toy'", f"'{name}'"))
    assert made.name == "method"
    assert "can't name files and columns: use letters, digits, spaces and _-+.()[], 80 at most" in made.problem
    assert ", line 5: name '" in made.problem


@pytest.mark.parametrize("line", ["", "name = None", "name = 3", "name = print", "def name(self): pass"])
def test_a_solver_without_a_name_is_called_like_its_file(read, line):
    made = read(solver().replace("name = 'toy'", line or "pass"), "own-file.py")
    assert made.name == "own-file"
    assert ("name is missing" if not line else "`name` is no constant") in made.problem


@pytest.mark.parametrize(
    "value",
    [
        *("torch.float32", "math.pi", "unknown", "OBJECT", "[*OBJECT['margin']]", "Toy", "{'a': LOSS.items}", "..."),
        *("[1 < 2]", "[f'{1}']", "{[]: 1}", "1 / 0", "10.0 ** 400", "'%999999999d' % 1", "[1] @ [2]", "[1] + (2,)"),
        *("-'a'", "{**[1]}", "[*1]", "f", "A", "{'a'} | [1]", "1 << -1", "2 * 3", "[x for x in ()]", "print()"),
    ],
)
def test_metadata_that_cant_be_evaluated_are_refused_with_their_line(read, value):
    top = "import math\ndef f(): pass\nclass A: pass"
    made = read(solver(f"requirements = {value}\nlater = []", top))  # in line 8
    assert "`requirements` is no constant that can be read" in made.problem
    assert ", line 8: " in made.problem
    assert made.requirements is None


def test_metadata_of_another_type_are_told_theirs(read):
    assert "it is of type str, not list or tuple or dict" in read(solver("requirements = 'numpy'")).problem


@pytest.mark.parametrize("name", ["requirements", "parameters"])
@pytest.mark.parametrize("way", ["def {}(self): pass", "class {}: pass", "import math as {}", "({}, x), y = (1, 2), 3"])
def test_metadata_are_constants(read, name, way):
    assert f"`{name}` is no constant that can be read" in read(solver(way.format(name))).problem


# --- bombs ------------------------------------------------------------------------------------------------------------


BOMBS = [
    *(
        "9**9**9",
        "1 << 10**9",
        "[0] * 10**9",
        "'a' * 10**9",
        "10**9 * [0]",
        "A1",
        "0x" + "f" * 50_000,
        "1" + "+1" * 500,
    ),
    *(str(2**63), str(-(2**63)), "not " * 900 + "1", "[" * 90 + "]" * 90 + " * 10**9"),
]


@pytest.mark.parametrize("value", BOMBS, ids=range(len(BOMBS)))
def test_metadata_cant_grow(read, value):
    made = read(solver(f"requirements = [{value}]", "A0 = [0, 0]\nA1 = [A0, A0]"))
    assert "`requirements` is no constant that can be read" in made.problem or "nested too deeply" in made.problem


DEEP = {
    "brackets": "(" * 50_000,
    "minus": "x = " + "-" * 60_000 + "1",
    "plus": "x = 1" + "+1" * 30_000,
    "attributes": "x = a" + ".b" * 30_000,
    "power": "x = 2" + "**2" * 20_000,
    "lambda": "x = " + "lambda:" * 9_000 + "1",
    "elif": "if 1: pass\n" + "elif 1: pass\n" * 4_500,
    "fields": "x = f'" + "{a}" * 20_000 + "'",
    "statements": "x=1\n" * 15_000,
    "names": "x0 = 1\n" + "".join(f"x{i} = x{i - 1}\n" for i in range(1, 4_000)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_a_file_cant_hang_the_bench(read, kind):
    start = time.process_time()
    made = read(solver("parameters = {'a': [x3999]}" if kind == "names" else "", DEEP[kind]))
    assert time.process_time() - start < 10
    assert made.problem or kind in ("statements", "fields")
    if kind in ("minus", "plus", "attributes", "power", "lambda", "elif"):
        assert "nested too deeply" in made.problem


# --- careless and dishonest solvers -----------------------------------------------------------------------------------


CHEATS = {
    "overrides_result": ("def result(self): return {**super().result(), 'elapsed_s': 1e-9}", "overrides `result`"),
    "overrides_prepare": ("def prepare(self): super().prepare()", "overrides `prepare`"),
    "owned_emptied": ("owned = ()\ndef get_result(self): return {}", "sets `owned`"),
    "points_changed": ("evaluation_points = (7,)", "sets `evaluation_points`"),
    "points_fewer": (
        "evaluation_points = property(lambda s: (0, 6), lambda s, v: None)",
        "sets `evaluation_points`, which the harness owns",
    ),
    "own_trainer": ("def _trainer(self, seed): return super()._trainer(seed)", "overrides `_trainer`"),
    "two_names": ("name = '../../../../outside'", "`name` is no constant that can be read (it is bound twice"),
    "patches_at_import": ("torch.linalg.norm = torch.linalg.det", "runs at import"),
    "patches_by_a_call": ("x = setattr(torch, 'norm', None)", "runs at import"),
    "patches_its_class": ("__getattribute__ = object.__getattr__", "sets `__getattribute__`"),
    "slots": ("__slots__ = ('result',)", "sets `__slots__`"),
    "says_it_is_fine": ("problem = ''", "sets `problem`"),
    "another_cell": ("cell = 'os:system'", "sets `cell`"),
    "takes_all": ("yours = ('result',)\ndef result(self): pass", "sets `yours`"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_that_breaks_a_rule_is_found(read, cheat):
    body, found = CHEATS[cheat]
    assert found in read(solver(body)).problem


# --- the hook ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hook(monkeypatch):
    """Benchopt with its own loader, and whatever a test does to it undone."""
    for name in ("_get_module_from_file", "get_file_hash"):
        found = getattr(dynamic_modules, name)
        monkeypatch.setattr(dynamic_modules, name, getattr(found, "__wrapped__", found))
    return monkeypatch


OBJECTIVE = """
from benchopt import BaseObjective

class Objective(BaseObjective):
    name = "toy"

    def set_data(self, x):
        pass

    def get_objective(self):
        return {}

    def evaluate_result(self, problem):
        return {"value": 1.0, "problem": problem}

    def get_one_result(self):
        return {"problem": ""}
"""
DATASET = """
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = str("toy")

    def get_data(self):
        return {"x": 1}
"""


def test_benchopt_reads_solvers_alone(hook, tmp_path):
    thin.install()
    for name, text in {"solvers/toy.py": solver("x = print()"), "datasets/toy.py": DATASET}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    made = dynamic_modules._load_class_from_module(tmp_path, tmp_path / "solvers/toy.py", "Solver")
    assert "runs at import" in made.problem
    assert made.__module__ == f"benchopt_benchmarks.{tmp_path.name}.solvers.toy"
    dataset = dynamic_modules._load_class_from_module(tmp_path, tmp_path / "datasets/toy.py", "Dataset")
    assert dataset.name == "toy"


def test_a_file_from_elsewhere_has_a_module_of_its_own(hook, tmp_path):
    thin.install()
    paths = [tmp_path / folder / "toy.py" for folder in ("bench/solvers", "other")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(solver())
    made = [dynamic_modules._load_class_from_module(tmp_path / "bench", path, "Solver") for path in paths]
    assert made[0].__module__ != made[1].__module__
    assert {each.benchmark for each in made} == {"bench"}


def test_a_missing_library_makes_a_solver_not_installed(hook, tmp_path):
    thin.install()
    path = tmp_path / "solvers" / "toy.py"
    path.parent.mkdir()
    path.write_text(solver("requirements = ['pip::missing']", "import missing_library"))
    made = dynamic_modules._load_class_from_module(tmp_path, path, "Solver")
    assert not made.is_installed(quiet=True)
    assert (made.name, made.requirements) == ("toy", ["pip::missing"])


def test_a_run_takes_stubs_and_a_refused_file_has_its_rows(hook, small_benchmark):
    thin.install()
    small_benchmark.write(
        {
            "objective.py": OBJECTIVE,
            "datasets/toy.py": DATASET,
            "solvers/fine.py": solver("parameters = {'a': [1, 2]}", name="fine"),
            "solvers/bad.py": solver("x = print()", name="bad"),
        }
    )
    rows = small_benchmark.run()
    problems = dict(zip(rows["solver_name"], rows["objective_problem"], strict=True))
    assert set(problems) == {"fine[a=1]", "fine[a=2]", "bad"}
    assert problems["fine[a=1]"] == problems["fine[a=2]"] == ""
    assert "runs at import" in problems["bad"]


def test_the_hook_is_installed_once(hook):
    thin.install()
    first = dynamic_modules._get_module_from_file
    thin.install()
    assert dynamic_modules._get_module_from_file is first


@pytest.mark.parametrize("version", ["1.9.2", "1.11", "2.0.0", "1.1"])
def test_another_benchopt_is_refused_in_words(hook, version):
    hook.setattr(thin.metadata, "version", lambda name: version)
    with pytest.raises(RuntimeError, match=rf"Benchopt {version} was found.*pip install 'benchopt>=1\.10,<1\.11'"):
        thin.install()


def test_a_benchopt_with_another_loader_is_refused_in_words(hook):
    hook.setattr(dynamic_modules, "_get_module_from_file", lambda path: None)
    with pytest.raises(RuntimeError, match=r"needs Benchopt 1\.10"):
        thin.install()
    hook.delattr(dynamic_modules, "_get_module_from_file")
    with pytest.raises(RuntimeError, match=r"needs Benchopt 1\.10"):
        thin.install()


@pytest.mark.parametrize("value", ["[1j]", "[(1, {'a': 2 - 1j})]", "{1j: [1]}"])
def test_complex_parameters_are_refused_for_no_file_holds_them(read, value):
    problem = read(solver(f"parameters = {{'a': [{value}]}}")).problem
    assert "hold a complex number" in problem or "no constant" in problem


def test_two_files_with_one_name_are_refused_both(read):
    assert read(solver(), "first.py").problem == ""
    assert "first.py has the name 'TOY' too: rename one" in read(solver(name="TOY"), "second.py").problem
    assert "second.py has the name 'toy' too: rename one" in read(solver(), "first.py").problem
    assert read(solver(name="another"), "third.py").problem == ""


@pytest.mark.parametrize("copy", [".method.py", "template_method.py"])
def test_a_copy_that_benchopt_doesnt_list_is_nobodys_double(read, copy):
    read(solver(), copy)
    assert read(solver()).problem == ""
