"""A solver's file in the bench: it is read by its syntax tree and never run.

`stub` makes the class that Benchopt sees of a file's constants. A file that breaks a rule gets a class too, with the
`problem` that its rows state: an error here would make Benchopt call the solver "not installed", without a row.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import math
import operator
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, NoneType
from typing import NamedTuple

from benchopt.utils import dynamic_modules

from .roles import resolve

REFUSED = "orthobench.harness.stand.cells:RefusedCell"
LOADER = ["module_filename", "benchmark_dir", "subpkg"]

# Those whose modules the bench imports where a solver's file does. A benchmark with halves of its own, outside of this
# package, adds its own in its objective.py, which Benchopt loads first in every process.
packages = {"orthobench"}

# What Benchopt asks of a class, and of which types it may be.
METADATA = {
    "name": str,
    "parameters": dict,
    "parameter_template": str,
    "requirements": (list, tuple, dict),
    "references": (list, tuple, str),
    "test_config": dict,
    "slurm_params": dict,
    "install_cmd": str,
    "install_script": str,
    "support_sparse": bool,
}
# The harness's in every benchmark, whether the bench's class or the stand's has them as attributes of the class.
OWNED = (
    *("receive", "prepare", "result", "compute", "step", "advance", "state", "evaluation_points", "planned_points"),
    *("owned", "stopwatch", "timed", "device", "failure", "budget_s", "remaining_s", "set_budget", "trainer"),
    *("_trainer", "_task", "_objective", "problem", "file", "imports", "cell", "yours", "base", "role"),
)
# By these a class could stand between the harness and its attributes.
SPECIAL = (
    *("__init__", "__new__", "__init_subclass__", "__getattribute__", "__getattr__", "__setattr__", "__delattr__"),
    *("__class__", "__dict__", "__slots__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__del__"),
)
DECORATORS = ("property", "staticmethod", "classmethod")
IMPORTED_DECORATORS = ("functools.cached_property", "torch.no_grad()", "torch.inference_mode()")

LARGEST_FILE = 2**16  # bytes; for some files of 1 MiB the parser takes a minute
LARGEST_WORK = 100_000  # values and characters of all metadata together
LARGEST_BITS = 512  # of a whole number
MOST_CELLS = 10_000

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
STATEMENTS = FUNCTIONS | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Pass
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
RUNS = ast.Call | ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | COMPREHENSIONS
SEQUENCES = str | bytes | list | tuple
UNARY = {ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_}
BINARY = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.BitOr: operator.or_},
    **{ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_, ast.BitXor: operator.xor},
}


class Imported(NamedTuple):
    """What an import binds: where that is from, and the object itself if it is in one of `packages`."""

    origin: str
    value: object = NotImplemented  # neither plain data nor a class


def stub(path, module_name):
    """Return a module with the bench's class ``Solver`` for a solver's file, which is read and not run.

    Parameters
    ----------
    path : str or pathlib.Path
    module_name : str

    Returns
    -------
    types.ModuleType

    Raises
    ------
    ModuleNotFoundError
        If a library that the file imports isn't installed.
    """
    path = Path(path)
    try:
        return _stub(SolverFile(path), module_name)
    except (RecursionError, MemoryError):
        return _stub(SolverFile(path, "is nested too deeply"), module_name)


def _stub(file, module_name):
    file.find_libraries()
    cell = resolve(REFUSED if file.base is None else file.base.cell)
    module = ModuleType(module_name)
    module.__file__ = str(file.path)
    attributes = file.attributes(owned_names(cell, file.base))
    module.Solver = type("Solver", (cell,), {**attributes, "__module__": module_name})
    return module


def owned_names(cell, base, yours=None):
    """Return the names that a solver must not define, since the harness has them in the bench or in the stand.

    Parameters
    ----------
    cell : type
        The bench's class.
    base : type or None
        The stand's.
    yours : iterable of str, optional
        Those that a solver may define; by default what ``base`` says.

    Returns
    -------
    set of str
    """
    yours = getattr(base, "yours", ()) if yours is None else yours
    names = {*OWNED, *dir(cell), *(() if base is None else dir(base))}
    every_class_has = {*dir(type("Empty", (), {})), "__annotations__"}
    return (names - every_class_has | {*SPECIAL}) - {*METADATA, *yours}


class SolverFile:
    """A solver's file as a syntax tree: what it binds, from what its solver derives, and the problems found.

    Attributes
    ----------
    path : pathlib.Path
    base : type or None
        The harness's class that the solver derives from; None if that can't be told.
    """

    def __init__(self, path, unreadable=None):
        self.path, self.base = path, None
        self._lines, self._body, self._problems, self._libraries, self._scopes, self._work = [], [], [], [], {}, 0
        unreadable = unreadable or self._parse()
        self._scope = self._bind(self._body)
        found = [node for node in self._body if isinstance(node, ast.ClassDef) and node.name == "Solver"]
        self._solver = found[0] if found else None
        self._lineage = []
        bases = self._ancestry(self._solver) if found else []
        for node in self._lineage:
            self._names(node)  # for the libraries that it imports
        if unreadable:
            self._report(None, f"the file {unreadable}")
        elif not found:
            self._report(None, "there is no class `Solver`: a solver's file holds one (see CONTRIBUTING.md)")
        elif not bases or not all(issubclass(bases[0], each) for each in bases):
            text = "`Solver` must derive from one base class of `orthobench.harness` (see CONTRIBUTING.md)"
            self._report(_position(self._solver), text)
        else:
            self.base = bases[0]

    def _parse(self):
        try:
            if not self.path.is_file():
                return "is none that can be read"
            with self.path.open("rb") as file:
                source = file.read(LARGEST_FILE + 1)
            if len(source) > LARGEST_FILE:
                return f"has more than {LARGEST_FILE} bytes: move what it holds into the package (see CONTRIBUTING.md)"
            self._body = ast.parse(source).body
        except SyntaxError as error:
            return f"is no Python: {error.msg}" + (f" in line {error.lineno}" if error.lineno else "")
        except (OSError, ValueError) as error:
            return f"can't be read: {error}"
        self._lines = source.decode(errors="replace").split("\n")
        return None

    @property
    def problem(self):
        """Why the file is refused, in one line: the first problem in reading order, "" if there is none."""
        if not self._problems:
            return ""
        _, _, line, text = min(self._problems, key=lambda each: each[:2])
        where = f"{self.path.parent.name}/{self.path.name}" + (f", line {line}" if line else "")
        return " ".join(f"{where}: {text}".split())

    def _report(self, position, text, rank=1, line=None):
        """Note a problem of the statement at a position; None is the file. Of one statement's, the least rank wins."""
        line = line or (position[0] if position else None)
        self._problems.append((position or (math.inf, 0), rank, line, text))

    # --- names -------------------------------------------------------------------------------------------------------

    def find_libraries(self):
        """Raise ModuleNotFoundError if a library that the file imports isn't installed."""
        for top in dict.fromkeys(module.partition(".")[0] for module in self._libraries):
            try:
                found = importlib.util.find_spec(top)
            except ValueError:  # imported, by no finder
                continue
            if found is None:
                raise ModuleNotFoundError(f"No module named {top!r}, which {self.path} imports: install it", name=top)

    def _bind(self, body):
        """Return what a scope's statements bind: for each name the list of (position, what).

        ``what`` is a class, a function, an expression or an `Imported`, and None for all else.
        """
        scope = {}
        for statement in body:
            plain = {}
            if isinstance(statement, ast.Import | ast.ImportFrom):
                plain = self._imports(statement)
            elif isinstance(statement, ast.Assign):
                plain = {name: what for target in statement.targets for name, what in _pairs(target, statement.value)}
            elif isinstance(statement, ast.AnnAssign):
                plain = dict(_pairs(statement.target, statement.value))
            for node in _at_import(statement):
                if isinstance(node, FUNCTIONS | ast.ClassDef):
                    name, what = node.name, node
                elif isinstance(node, ast.alias) or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)):
                    name = node.id if isinstance(node, ast.Name) else node.asname or node.name.partition(".")[0]
                    what = plain.get(name)
                else:
                    continue
                scope.setdefault(name, []).append((_position(statement), what))
        return scope

    def _imports(self, statement):
        found, whole = {}, isinstance(statement, ast.Import)
        for alias in statement.names:
            module = alias.name if whole else statement.module or ""
            name = alias.asname or alias.name.partition(".")[0]
            if alias.name == "*" or getattr(statement, "level", 0):
                what = "all names of a module" if alias.name == "*" else "a neighbour"
                text = f"it imports {what}: import from `orthobench` or a library, name by name (see CONTRIBUTING.md)"
                self._report(_position(statement), text)
            elif _is_ours(module):
                try:
                    value = _from_package(module, None if whole else alias.name)
                except Exception as error:  # whatever it is, the file's rows say it
                    if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name or ""):
                        raise  # a library that our module needs
                    self._report(_position(statement), f"it imports what OrthoBench doesn't have: {error}")
                else:
                    value = sys.modules[name] if whole and not alias.asname else value
                    found[name] = Imported(module, value)
            else:
                self._libraries.append(module)
                origin = module if alias.asname else name
                found[name] = Imported(origin if whole else f"{module}.{alias.name}")
        return found

    def _resolve(self, expression, before):
        """Return the class or function of the file, or the `Imported`, that an expression names; None for all else."""
        if isinstance(expression, ast.Name):
            position, what = _latest(self._scope, expression.id, before)
            return self._resolve(what, position) if isinstance(what, ast.expr) else what
        if isinstance(expression, ast.Attribute):
            module = getattr(self._resolve(expression.value, before), "value", None)
            if isinstance(module, ModuleType) and _is_ours(module.__name__):
                return Imported(module.__name__, getattr(module, expression.attr, NotImplemented))
        return None

    def _ancestry(self, node):
        """Note the class and those of the file that it derives from; return the harness's, where each line ends."""
        self._lineage.append(node)
        bases = []
        for expression in node.bases:
            base = self._resolve(expression, _position(node))
            if isinstance(base, ast.ClassDef):
                bases += self._ancestry(base) if base not in self._lineage else []
            elif isinstance(base, Imported) and _is_harness(base.value):
                bases.append(base.value)
            elif not (isinstance(expression, ast.Name) and expression.id == "object"):
                text = f"`{_text(expression)}` is no base class of `orthobench.harness`, nor a class of this file"
                self._report(_position(node), f"{text}: derive from those alone (see CONTRIBUTING.md)")
        return bases

    def _names(self, node):
        if node not in self._scopes:
            self._scopes[node] = self._bind(node.body)
        return self._scopes[node]

    def _binding(self, name):
        """Return position, what and the class's scope where the solver, or an ancestor in the file, binds a name."""
        for node in self._lineage:
            if name in self._names(node):
                return *self._names(node)[name][-1], self._names(node)
        return None, None, None

    # --- rules -------------------------------------------------------------------------------------------------------

    def attributes(self, owned):
        """Check the rules and return the attributes of the bench's class.

        Parameters
        ----------
        owned : set of str
            The names that the solver must not define.

        Returns
        -------
        dict
            Benchopt's metadata, ``__doc__``, ``problem``, ``file``, ``imports`` (the libraries that are imported with
            the file, torch aside) and ``base``.
        """
        for statement in self._body:
            self._check(statement, {})
        for position, what in self._scope.get("Solver", ()):
            if self._solver is not None and what is not self._solver:
                self._report(position, "`Solver` is bound again: a file holds one solver (see CONTRIBUTING.md)")
        values = {key: value for key in METADATA if (value := self._metadatum(key)) is not None}
        name = values["name"] = self._checked_name(values.get("name"))
        for node in self._lineage:
            for bound in owned.intersection(self._names(node)):
                for position, what in self._names(node)[bound]:
                    verb = "overrides" if isinstance(what, FUNCTIONS) else "sets"
                    text = f"{name} {verb} `{bound}`, which the harness owns: implement the method that its base class"
                    self._report(position, f"{text} names instead (see CONTRIBUTING.md)", rank=0)
        if not self._parameters_fit(values, owned):
            values = {key: value for key, value in values.items() if not key.startswith("parameter")}
        standard = {*sys.stdlib_module_names, "torch"}
        imports = [module for module in self._libraries if module.partition(".")[0] not in standard]
        return {
            **values,
            "__doc__": ast.get_docstring(self._solver, clean=False) if self._solver else None,
            "problem": self.problem,
            "file": str(self.path),
            "imports": tuple(dict.fromkeys(imports)),
            "base": self.base,
        }

    def _check(self, statement, scope):
        """Report what a statement, of the module or of a class with ``scope``, runs at import."""
        constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        runs = [] if constant or isinstance(statement, STATEMENTS) else [statement]
        for node in _at_import(statement):
            stored = isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
            if isinstance(node, RUNS) or (stored and isinstance(node, ast.Attribute | ast.Subscript)):
                runs.append(node)
        if isinstance(statement, ast.ClassDef):
            runs += statement.keywords
            for each in statement.body:
                self._check(each, self._names(statement))
        rule = "move it into a method; outside of functions a solver's file holds a docstring, imports, constants, "
        rule += "functions and classes alone"
        for node in runs:
            line = self._lines[node.lineno - 1].strip()[:60] if node.lineno <= len(self._lines) else ""
            text = f"`{line}` runs at import: {rule} (see CONTRIBUTING.md)"
            self._report(_position(statement), text, line=node.lineno)
        for decorator in getattr(statement, "decorator_list", ()):
            if not self._is_allowed(decorator, statement, scope):
                allowed = ", ".join((*DECORATORS, *IMPORTED_DECORATORS))
                text = f"`@{_text(decorator)}` runs at import: decorators are only {allowed} and a property's "
                self._report(_position(statement), f"{text}setter (see CONTRIBUTING.md)", line=decorator.lineno)

    def _is_allowed(self, decorator, statement, scope):
        text = ast.unparse(decorator)
        root = re.match(r"\w*", text)[0]
        rest = text.removeprefix(root)
        if isinstance(statement, ast.ClassDef):
            return False
        if root in scope:  # a property of the same class
            before = _latest(scope, root, _position(statement))[1]
            return isinstance(before, FUNCTIONS) and rest in (".setter", ".getter", ".deleter")
        if root not in self._scope:
            return text in DECORATORS
        origins = {f"{getattr(what, 'origin', '')}{rest}" for _, what in self._scope[root]}
        return origins <= {*IMPORTED_DECORATORS}

    def _checked_name(self, name):
        position = self._binding("name")[0]
        for other in _named_alike(self.path, name) if name is not None else ():
            self._report(position, f"{other} has the name {name!r} too: rename one, or their rows are taken for one's")
        if name is not None and re.fullmatch(r"(?! )[A-Za-z0-9 _+.()\[\]-]{1,80}(?<! )", name) and name.strip("."):
            return name
        if self._solver is not None and (name is not None or position is None):
            found = "name " + ("is missing" if name is None else f"{name[:100]!r} can't name files and columns")
            rule = "use letters, digits, spaces and _-+.()[], 80 at most (see CONTRIBUTING.md)"
            self._report(position or _position(self._solver), f"{found}: {rule}")
        return re.sub(r"[^A-Za-z0-9_+-]", "_", self.path.stem)[:80]

    def _parameters_fit(self, values, owned):
        name, template = values["name"], values.get("parameter_template", "")
        position, found, names, cells = self._binding("parameters")[0], [], [], 1
        for key, choices in values.get("parameters", {}).items():
            own = [each.strip() for each in key.split(",")] if isinstance(key, str) else [""]
            choices = choices if isinstance(choices, list | tuple) else [choices]
            names, cells = names + own, cells * len(choices)
            fits = len(own) == 1 or all(isinstance(each, list | tuple) and len(each) == len(own) for each in choices)
            if not fits or not all(re.fullmatch(r"[A-Za-z]\w*", each) for each in own):
                found.append(f"parameter {str(key)[:80]!r} must be a name, or several with a tuple for each value")
        if _holds_complex(values.get("parameters", {})):
            found.append("`parameters` hold a complex number, which no file of results can: give two real ones")
        if not 1 <= cells <= MOST_CELLS:
            found.append(f"`parameters` make {cells} cells: expected 1 to {MOST_CELLS}")
        for each in names:
            if self._binding(each)[0] or each in owned.intersection(dir(self.base) if self.base else ()):
                found.append(
                    f"the class attribute `{each}` of {name} hides the parameter of that name, so that every value "
                    "would run as the same one: rename or remove the attribute"
                )
            elif each in owned or each in METADATA:
                found.append(f"{name} has a parameter `{each}`, which the harness owns: rename it")
        if re.search("[{}]", re.sub(r"\{(\w+)\}", lambda match: "" if match[1] in names else match[0], template)):
            found.append("`parameter_template` may hold parameters in braces alone, without a format")
            position = self._binding("parameter_template")[0]
        for text in found:
            self._report(position, text, rank=2)
        return not found

    # --- constants ---------------------------------------------------------------------------------------------------

    def _metadatum(self, key):
        position, what, scope = self._binding(key)
        if position is None:
            return None
        try:
            if not isinstance(what, ast.expr):
                raise ValueError("it is bound by another statement than an assignment")
            value = self._value(what, (scope, self._scope), position)
            if (value is not None or key == "name") and not isinstance(value, METADATA[key]):
                raise ValueError(f"it is of type {type(value).__name__}")
        except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
            text = f"`{key}` is no constant that can be read ({error}): write it out (see CONTRIBUTING.md)"
            self._report(position, text)
            return None
        return value

    def _value(self, node, scopes, before):
        """Return the value of a constant expression; raise ValueError, TypeError or ArithmeticError if it is none."""
        self._spend(1)
        value = functools.partial(self._value, scopes=scopes, before=before)
        if isinstance(node, ast.Constant):
            return self._plain(node.value)
        if isinstance(node, ast.Name | ast.Attribute):
            for depth, scope in enumerate(scopes if isinstance(node, ast.Name) else ()):
                position, what = _latest(scope, node.id, before)
                if isinstance(what, ast.expr):
                    return self._value(what, scopes[depth:], position)
                if position:
                    return self._plain(getattr(what, "value", what or NotImplemented), node)
            return self._plain(getattr(self._resolve(node, before), "value", NotImplemented), node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = [value(each.value) if isinstance(each, ast.Starred) else [value(each)] for each in node.elts]
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind([each for part in parts for each in part])
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            made = {}
            for key, each in pairs:
                made.update(value(each) if key is None else {value(key): value(each)})
            return made
        if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
            return self._plain(UNARY[type(node.op)](value(node.operand)))
        if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            return self._combined(type(node.op), value(node.left), value(node.right))
        return self._plain(NotImplemented, node)

    def _combined(self, operation, left, right):
        numbers = isinstance(left, int | float | complex) and isinstance(right, int | float | complex)
        if numbers and operation in (ast.Pow, ast.LShift) and isinstance(left, int) and isinstance(right, int):
            if (left.bit_length() * right if operation is ast.Pow else right) > LARGEST_BITS:
                raise ValueError("a number is too large")
        elif operation is ast.Mult and not numbers:
            times, sequence = (left, right) if isinstance(left, int) else (right, left)
            if not isinstance(times, int) or not isinstance(sequence, SEQUENCES):
                raise TypeError("only numbers and sequences can be multiplied")
            before = self._work
            self._plain(sequence)
            self._spend((self._work - before) * max(times, 0))
        elif not numbers:
            kinds = {ast.Add: SEQUENCES, ast.BitOr: dict | set | frozenset}.get(operation, ())
            if type(left) is not type(right) or not isinstance(left, kinds):
                raise TypeError(f"{type(left).__name__} and {type(right).__name__} can't be combined")
        return self._plain(BINARY[operation](left, right))

    def _plain(self, value, node=None):
        """Return a copy of plain data: nothing of the package can be reached through it."""
        kind = type(value)
        self._spend(len(value) if kind in (str, bytes, list, tuple, set, frozenset, dict) else 1)
        if kind is int and value.bit_length() > LARGEST_BITS:
            raise ValueError("a number is too large")
        if kind is dict:
            return {self._plain(key, node): self._plain(each, node) for key, each in value.items()}
        if kind in (list, tuple, set, frozenset):
            return kind([self._plain(each, node) for each in value])
        if kind not in (NoneType, bool, int, float, complex, str, bytes):
            raise ValueError(f"`{_text(node)}` is no plain data" if node else f"{kind.__name__} is no plain data")
        return value

    def _spend(self, work):
        self._work += work
        if self._work > LARGEST_WORK:
            raise ValueError("it is too large")


def _from_package(module, name):
    """Return a module of ours, or what it has under a name, which may be a module as well."""
    if any(part.startswith("__") for part in (*module.split("."), name or "")):
        raise ImportError(f"{module} {name or ''} is not for import")  # a `__main__` would run
    found = importlib.import_module(module)
    if name is None:
        return found
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def _named_alike(path, name):
    """Return which other files of a solver's folder name their solver like it, as Benchopt's ``-s`` tells names."""
    # As Benchopt lists them: an editor's hidden copy is no solver, nor is a template.
    listed = (each for each in path.parent.glob("[!.]*.py") if not each.name.startswith("template_"))
    others = sorted(each for each in listed if each.name != path.name and each.is_file())
    return [each.name for each in others if (_own_name(each, each.stat().st_mtime_ns) or "").lower() == name.lower()]


@functools.lru_cache(maxsize=1024)
def _own_name(path, _):
    """Return the name that a file's solver has as a plain string, None if it has none that can be read as easily."""
    with contextlib.suppress(OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        if path.stat().st_size > LARGEST_FILE:
            return None
        for node in ast.parse(path.read_bytes()).body:
            for each in node.body if isinstance(node, ast.ClassDef) and node.name == "Solver" else ():
                match each:
                    case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(name))):
                        return name
    return None


def _is_ours(module):
    return module.partition(".")[0] in packages


def _is_harness(value):
    return isinstance(value, type) and isinstance(getattr(value, "cell", None), str)


def _holds_complex(value):
    if isinstance(value, dict):
        return any(_holds_complex(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_complex, value))
    return isinstance(value, complex)


def _text(node):
    return " ".join(ast.unparse(node).split())[:60]


def _position(node):
    return node.lineno, node.col_offset


def _latest(scope, name, before):
    """Return position and what of the last binding of a name before a position, None twice if there is none."""
    found = [each for each in scope.get(name, ()) if each[0] < before]
    return found[-1] if found else (None, None)


def _pairs(target, value):
    """Return the names of an assignment's target with the expressions that they get, where those can be told."""
    if isinstance(target, ast.Name):
        return [(target.id, value)]
    pairs = zip(getattr(target, "elts", ()), getattr(value, "elts", ()), strict=False)
    starred = any(isinstance(each, ast.Starred) for each in (*getattr(target, "elts", ()), *getattr(value, "elts", ())))
    return [] if starred else [each for pair in pairs for each in _pairs(*pair)]


def _at_import(statement):
    """Yield the nodes of a statement that run at import: no decorators, no bodies of functions or classes."""
    todo = [statement]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.Lambda):
            todo.append(node.args)
        elif isinstance(node, FUNCTIONS):
            todo += [each for each in (node.args, node.returns) if each is not None]
        elif isinstance(node, ast.ClassDef):
            todo += [*node.bases, *node.keywords]
        elif isinstance(node, ast.AnnAssign) and node.value is None and isinstance(node.target, ast.Name):
            todo.append(node.annotation)  # it binds nothing
        else:
            todo += ast.iter_child_nodes(node)


def install():
    """Make Benchopt read the files of solvers with `stub`; all else is loaded as before.

    Raises
    ------
    RuntimeError
        If this Benchopt isn't one that the hook was written for.
    """
    version = metadata.version("benchopt")
    original, hash_of = (getattr(dynamic_modules, name, None) for name in ("_get_module_from_file", "get_file_hash"))
    known = None not in (original, hash_of) and list(inspect.signature(original).parameters) == LOADER
    if re.findall(r"\d+", version)[:2] != ["1", "10"] or not known:
        raise RuntimeError(
            f"Benchopt {version} was found, whose loader of solvers OrthoBench doesn't know: it needs Benchopt 1.10, "
            "which `pip install 'benchopt>=1.10,<1.11'` installs"
        )
    if getattr(original, "reads_solvers", False):
        return

    @functools.wraps(original)
    def load(module_filename, benchmark_dir, subpkg=None):
        if subpkg != "solvers":
            return original(module_filename, benchmark_dir, subpkg)
        return stub(module_filename, _module_name(module_filename, benchmark_dir))

    @functools.wraps(hash_of)
    def file_hash(filename):
        # A folder can't be read, and a pipe never ends: their rows say what they are.
        return hash_of(filename) if Path(filename).is_file() else "no file"

    load.reads_solvers = True
    dynamic_modules._get_module_from_file, dynamic_modules.get_file_hash = load, file_hash


def _module_name(module_filename, benchmark_dir):
    path, folder = Path(module_filename).resolve(), Path(benchmark_dir).resolve()
    try:
        parts = path.relative_to(folder).with_suffix("").parts
    except ValueError:  # from elsewhere, where a file may be called like one of the benchmark's
        parts = ("solvers", f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}")
    return ".".join(["benchopt_benchmarks", *(part.replace(".", "_") for part in (folder.name, *parts))])
