"""What is forbidden to a process is forbidden in a child here, since it can't be taken back."""

import contextlib
import ctypes
import importlib
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orthobench.harness.stand import confine

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
MARK = b"the secret is "  # followed by 32 hexadecimal digits


def in_child(work, meanwhile=lambda: None):
    """Return what ``work`` returns in a forked process, which waits until ``meanwhile`` is through in this one."""
    (answer, answering), (start, starting) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(answer)
            os.close(starting)
            os.read(start, 1)
            try:
                result = (work(), None)
            except BaseException as error:
                result = (None, f"{type(error).__name__}: {error}")
            with os.fdopen(answering, "wb") as file:
                pickle.dump(result, file)
        finally:
            os._exit(0)
    os.close(answering)
    meanwhile()
    os.write(starting, b"x")
    with os.fdopen(answer, "rb") as file:
        text = file.read()
    os.waitpid(child, 0)
    os.close(start)
    os.close(starting)
    result, error = pickle.loads(text)  # noqa: S301 - a child of this process wrote it
    assert error is None, error
    return result


def has_landlock():
    return in_child(lambda: confine.deny_reading([]))


landlock = pytest.mark.skipif(not has_landlock(), reason="the system has no Landlock, or an old one")


# Signals


def signalled():
    """Return whether a process that is confined may signal its parent, and its child."""
    confine.deny_reading([])
    child = os.fork()
    if not child:
        time.sleep(1000)
    reached = []
    for pid in (os.getppid(), child):
        try:
            os.kill(pid, signal.SIGCONT)
        except PermissionError:
            reached.append(False)
        else:
            reached.append(True)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return reached


@linux
@pytest.mark.skipif(confine._syscall(confine.CREATE_RULESET, None, 0, 1) < 6, reason="the system's Landlock is older")
def test_only_its_own_children_can_be_signalled():
    assert in_child(signalled) == [False, True]


# Memory


def heap():
    """Return the ranges of this process's heap: its parent has the same, under the same addresses."""
    line = re.compile(r"^(\w+)-(\w+) rw\S+ \S+ \S+ \S+ *(?:\[heap\])?$", re.MULTILINE)
    return [(int(start, 16), int(end, 16)) for start, end in line.findall(Path("/proc/self/maps").read_text())]


def by_file(pid):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for start, end in heap():
            with contextlib.suppress(OSError):  # what only this process has
                file.seek(start)
                yield file.read(end - start)


def by_call(pid):
    class Span(ctypes.Structure):
        _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    libc = ctypes.CDLL(None, use_errno=True)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    for start, end in heap():
        here = ctypes.create_string_buffer(end - start)
        spans = [Span(ctypes.addressof(here), end - start), Span(start, end - start)]
        read = libc.process_vm_readv(pid, ctypes.byref(spans[0]), one, ctypes.byref(spans[1]), one, none)
        if read < 0 and ctypes.get_errno() == 1:
            raise PermissionError
        yield here


def secrets_in_memory(pid, route):
    """Return all secrets in the memory of a process; None if it may not be read."""
    try:
        return {found for part in route(pid) for found in re.findall(MARK + b"([0-9a-f]{32})", part)}
    except PermissionError:
        return None


def spied(route, user=None, bench=lambda: None, stand=lambda: None):
    """Return whether a process reads a secret that its parent made up after the fork; both are forked from this one."""

    def as_bench():
        if user is not None:
            os.setresuid(user, user, user)
            confine.open_memory()  # which a change of user closes
        place, secret = bytearray(64), os.urandom(16).hex().encode()

        def make_up():
            place[:46] = MARK + secret
            bench()

        pid = os.getpid()
        found = in_child(lambda: (stand(), secrets_in_memory(pid, route))[1], meanwhile=make_up)
        return found is not None and secret in found

    return in_child(as_bench)


routes = pytest.mark.parametrize("route", [by_file, by_call])


@linux
@routes
def test_a_stand_reads_no_memory_of_a_closed_bench(route):
    if not spied(route):
        pytest.skip("here no process reads the memory of its parent anyway")
    assert not spied(route, bench=confine.close_memory, stand=confine.drop_tracing)


@linux
@routes
def test_a_bench_that_gave_up_tracing_is_closed_too(route):
    if not spied(route, bench=confine.drop_tracing, stand=confine.drop_tracing):
        pytest.skip("here no process reads the memory of its parent without a right to trace")

    def close():
        confine.drop_tracing()
        confine.close_memory()

    assert not spied(route, bench=close, stand=confine.drop_tracing)


@landlock
@routes
def test_a_process_that_may_not_read_all_files_reads_no_memory_of_its_parent(route, tree):
    assert not spied(route, stand=lambda: confine.deny_reading([tree / "other"]))


@linux
@routes
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone can be another user")
def test_a_plain_users_memory_is_closed_and_opened(route):
    if not spied(route, user=65534):
        pytest.skip("here no plain user's process reads the memory of its parent anyway")
    assert not spied(route, user=65534, bench=confine.close_memory)
    assert spied(route, user=65534, bench=lambda: (confine.close_memory(), confine.open_memory()))


@linux
def test_tracing_is_given_up_for_good():
    def executed():
        assert confine.drop_tracing()
        lines = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        masks = re.findall(r"Cap(?:Inh|Prm|Eff):\s(\w+)", lines)
        return [int(mask, 16) >> confine.CAP_SYS_PTRACE & 1 for mask in masks]

    assert in_child(executed) == [0, 0, 0]


@linux
def test_a_closed_process_that_opens_again_may_reset_its_peak():
    def reset():
        confine.close_memory()
        confine.open_memory()
        Path("/proc/self/clear_refs").write_text("5")

    in_child(reset)


# Files


@pytest.fixture
def tree(tmp_path):
    """Two folders to deny, a link to one, and what lies beside them."""
    secrets = ["home/cache/labels/secret", "other/references/secret"]
    for name in (*secrets, "home/cache/public", "home/beside", "else/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "home/link").symlink_to("cache/labels")
    (tmp_path / "else/link").symlink_to(tmp_path / "home/cache/labels/secret")
    return Path(os.path.realpath(tmp_path))


def allowed(tree, *names):
    paths = list(confine.allowed_beside([tree / name for name in names]))
    assert len(paths) == len(set(paths))
    return {os.path.relpath(path, tree) for path in paths if Path(path).is_relative_to(tree)}


def test_what_lies_beside_the_ways_is_allowed(tree):
    assert allowed(tree, "home/cache/labels") == {"home/cache/public", "home/beside", "other", "else"}
    both = {"home/cache/public", "home/beside", "else"}
    assert allowed(tree, "home/cache/labels", "other/references") == both
    assert allowed(tree, "home/link", "other/references/", "other/../other/references") == both
    # In a denied folder, or nowhere: nothing changes.
    assert allowed(tree, "home/cache", "home/cache/labels", "other/missing") == {"home/beside", "other", "else"}
    assert allowed(tree, "other/missing") == set()


@linux
def test_the_system_is_beside_the_ways(tree):
    paths = set(confine.allowed_beside([tree / "home/cache"]))
    assert {"/dev", "/etc", "/usr"} <= paths
    assert not paths & {"/", str(tree), str(tree / "home"), str(tree / "home/cache"), str(tree / "home/link")}


@pytest.mark.parametrize("needed", ["/", sys.prefix, sys.base_prefix, Path(confine.__file__).parent.parent.parent])
def test_what_a_process_needs_is_never_denied(needed, tree):
    for folder in {Path(needed), Path(os.path.realpath(needed)).parent}:
        real = os.path.realpath(folder)
        with pytest.raises(ValueError, match=f"reading {re.escape(real)} can't be denied"):
            confine.deny_reading([tree / "other", folder])
    (tree / "back").symlink_to(needed)
    with pytest.raises(ValueError, match="can't be denied"):
        confine.deny_reading([tree / "back"])


def test_the_working_directory_is_never_denied(tree, monkeypatch):
    monkeypatch.chdir(tree / "home/cache")
    for folder in (".", tree / "home", "labels/.."):
        with pytest.raises(ValueError, match=re.escape(f"{tree / 'home/cache'} is needed")):
            confine.deny_reading([folder])


def denying(tree, work, *names):
    """Return what ``work`` returns in a child that may not read the folders."""

    def denied():
        assert confine.deny_reading([tree / name for name in names or ("home/cache/labels", "other/references")])
        return work()

    return in_child(denied)


def fails(function, *arguments, error=PermissionError):
    with pytest.raises(error):
        function(*arguments)


@landlock
def test_denied_files_are_neither_read_nor_listed_nor_executed(tree):
    program = tree / "other/references/true"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    subprocess.run([program], check=True)

    def attempt():
        for folder in ("home/cache/labels", "home/link", "other/references", "other/../home/cache/labels"):
            fails((tree / folder / "secret").read_text)
            fails(os.listdir, tree / folder)
        fails((tree / "else/link").read_text)
        fails(Path(f"/proc/self/root{tree}/home/cache/labels/secret").read_text)
        os.chdir(tree / "home/cache/labels")
        fails(Path("secret").read_text)
        fails(os.listdir, ".")
        fails(subprocess.run, [program])
        assert subprocess.run(["cat", "secret"], capture_output=True).returncode != 0

    denying(tree, attempt)


@landlock
def test_denied_files_move_to_no_other_place(tree):
    def attempt():
        secret = tree / "home/cache/labels/secret"
        for move in (os.rename, os.link):
            fails(move, secret, tree / "else/stolen", error=OSError)
        fails(os.rename, tree / "home/cache/labels", tree / "else/labels", error=OSError)
        os.rename(tree / "home/cache/labels", tree / "home/cache/labelled")
        fails((tree / "home/cache/labelled/secret").read_text)

    denying(tree, attempt)


@landlock
def test_all_else_stays_as_it_was(tree):
    unknown = next(each for each in ("colorsys", "chunk", "wave", "this") if each not in sys.modules)

    def attempt():
        for name in ("home/cache/public", "home/beside", "else/file"):
            assert (tree / name).read_text() == name
        assert sorted(os.listdir(tree / "else")) == ["file", "link"]
        assert Path("/dev/null").read_bytes() == b""
        assert "Vm" in Path("/proc/self/status").read_text()
        assert os.listdir("/sys")
        Path("/proc/self/clear_refs").write_text("5")
        importlib.import_module(unknown)
        subprocess.run(["/bin/true"], check=True)
        assert subprocess.run(["cat"], input=b"piped", capture_output=True, check=True).stdout == b"piped"
        # New files and folders, and moves to a folder in which no more can be read.
        (tree / "else/new/deep").mkdir(parents=True)
        (tree / "else/new/deep/file").write_text("new")
        os.replace(tree / "else/new/deep/file", tree / "else/file")
        assert (tree / "else/file").read_text() == "new"
        os.link(tree / "else/file", tree / "home/cache/labels/file")
        # Written, but not read again.
        (tree / "other/references/new").write_text("written")
        fails((tree / "other/references/new").read_text)

    denying(tree, attempt)
    assert (tree / "other/references/new").read_text() == "written"


@landlock
def test_beside_a_way_what_comes_later_is_not_read(tree):
    def attempt():
        fails(os.listdir, tree / "home")
        (tree / "home/later").write_text("")
        fails((tree / "home/later").read_text)

    denying(tree, attempt)


@landlock
def test_a_file_that_is_open_stays_readable(tree):
    with open(tree / "home/cache/labels/secret") as file:
        assert denying(tree, file.read) == "home/cache/labels/secret"


@landlock
def test_a_missing_folder_denies_nothing(tree):
    assert denying(tree, (tree / "else/file").read_text, "missing") == "else/file"
    denying(tree, lambda: fails((tree / "other/references/secret").read_text), "missing", "other")
    assert not (tree / "missing").exists()


@landlock
def test_nothing_is_denied_where_a_way_cannot_be_listed(tree):
    def attempt():
        return confine.deny_reading([tree / "home"]), (tree / "home/beside").read_text()

    assert denying(tree, attempt, "other") == (False, "home/beside")


@landlock
def test_a_stand_starts_without_delay(tree):
    def seconds():
        started = time.process_time()
        confine.deny_reading([tree / "home/cache/labels", tree / "other/references"])
        return time.process_time() - started

    assert min(in_child(seconds) for _ in range(5)) < 0.05  # a tenth of that on an idle machine


def test_nothing_happens_elsewhere(monkeypatch, tree):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not any((confine.close_memory(), confine.open_memory(), confine.die_with_parent(), confine.adopt_orphans()))
    assert not confine.drop_tracing()
    assert not confine.deny_reading([tree / "other"])
    assert (tree / "other/references/secret").read_text()


# Processes


@linux
@pytest.mark.parametrize("bound", [True, False])
def test_a_process_dies_with_its_parent(bound):
    def grandparent():
        confine.adopt_orphans()  # to see the end of the child's child
        reading, writing = os.pipe()
        parent = os.fork()
        if parent == 0:
            child = os.fork()
            if child == 0:
                if bound:
                    confine.die_with_parent()
                os.write(writing, b"x")
                signal.alarm(20)  # if nothing else ends it
                signal.pause()
            os.read(reading, 1)
            os.write(writing, child.to_bytes(8, "little"))
            os._exit(0)
        os.waitpid(parent, 0)
        child = int.from_bytes(os.read(reading, 8), "little")
        if not bound:
            time.sleep(0.2)
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        return os.WTERMSIG(status)

    assert in_child(grandparent) == (signal.SIGKILL if bound else signal.SIGTERM)


@linux
def test_orphans_are_adopted():
    def grandparent():
        confine.adopt_orphans()
        reading, writing = os.pipe()
        parent = os.fork()
        if parent == 0:
            middle = os.getpid()
            if os.fork() == 0:
                while os.getppid() == middle:
                    time.sleep(0.01)
                os.write(writing, os.getppid().to_bytes(8, "little"))
            os._exit(0)
        os.waitpid(parent, 0)
        adopter = int.from_bytes(os.read(reading, 8), "little")
        os.wait()
        return adopter == os.getpid()

    assert in_child(grandparent)
