"""Stands start fresh, end with all that they started, and outlive neither their server nor their bench."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from orthobench.harness.stand import bench
from orthobench.harness.stand.server import children
from orthobench.harness.status import StandFailed

PLANTED = "planted_role:Planted"
GONE_S = 60  # 5 s are promised, and some milliseconds needed; this machine may be busy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked at through /proc")


@pytest.fixture
def stand():
    made = bench.Stand(PLANTED)
    yield made
    made.end()


def do(stand, code, *tensors, **options):
    return stand.ask("do", *tensors, code=code, **options)


def alive(pid):
    """Whether a process runs; a zombie, which waits for its parent to look, doesn't."""
    return not bench.has_ended(pid)


def left_after(pids, seconds=GONE_S):
    """Return those of some processes that are there still, at the latest after some seconds."""
    give_up = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < give_up:
        time.sleep(0.02)
    return left


# --- one stand --------------------------------------------------------------------------------------------------------


def test_a_stand_is_another_process_that_answers_and_ends(stand):
    answer = do(stand, "answer['pid'] = os.getpid(); answer['parent'] = os.getppid(); send = True", torch.arange(3))
    assert answer.fields == {"pid": stand.pid, "parent": bench.server().process.pid}
    assert answer.tensors[0].tolist() == [0, 1, 2]
    assert answer.cost.wall_s > 0
    pid = stand.pid
    assert alive(pid)
    assert stand.end() == 0
    assert not alive(pid)
    assert stand.end() == 0  # once more does nothing


def test_a_process_has_one_server(stand):
    server = bench.server()
    with_another = bench.Stand(PLANTED)
    assert bench.server() is server
    assert with_another.pid != stand.pid
    with_another.end()
    assert do(stand, "").fields == {}


def test_an_error_in_a_stand_is_an_answer_and_the_stand_goes_on(stand):
    with pytest.raises(StandFailed, match=r"ZeroDivisionError: division by zero"):
        do(stand, "1 / 0")
    with pytest.raises(StandFailed, match="has no attribute 'unknown'"):
        stand.ask("unknown")
    assert do(stand, "answer['x'] = 1").number("x") == 1


def test_no_stand_holds_what_another_did(stand):
    code = "import builtins, gc; builtins.planted = 1; sys.planted = 2; os.environ['PLANTED'] = '3'; torch.planted = 4"
    do(stand, code)
    other = bench.Stand(PLANTED)
    look = "import builtins; answer['found'] = [hasattr(builtins, 'planted'), hasattr(sys, 'planted'), "
    look += "'PLANTED' in os.environ, hasattr(torch, 'planted')]"
    found = do(other, look).fields["found"]
    other.end()
    assert found == [False] * 4


def test_a_stand_holds_one_channel_and_no_way_to_the_server(stand):
    other = bench.Stand(PLANTED)
    assert len(do(other, "answer['open'] = channels()").fields["open"]) == 1
    other.end()


def test_a_stand_has_the_environment_and_the_path_of_its_bench(monkeypatch):
    monkeypatch.setenv("PLANTED", "by the bench")
    monkeypatch.setattr(sys, "path", [*sys.path, "/planted"])
    stand = bench.Stand(PLANTED)
    found = do(stand, "answer['it'] = [dict(os.environ), sys.path]").fields["it"]
    stand.end()
    assert found == [dict(os.environ), sys.path]


def test_the_server_has_one_thread(stand):
    """A fork takes one thread along: what the others hold stays locked. (jemalloc's lets go before a fork.)"""
    tasks = Path(f"/proc/{bench.server().process.pid}/task").iterdir()
    threads = [(each / "comm").read_text().strip() for each in tasks]
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1


def test_the_bench_reads_the_processors_clock_and_the_peak_of_memory(stand):
    before = stand.processor_s()
    do(stand, "end = time.process_time() + 0.2\nwhile time.process_time() < end: pass")
    assert 0.2 <= stand.processor_s() - before < 0.3
    stand.reset_peak_memory()
    before = stand.peak_memory_bytes()
    do(stand, "torch.ones(2**27, dtype=torch.uint8)")
    assert 0.9 * 2**27 < stand.peak_memory_bytes() - before < 1.5 * 2**27


def test_a_child_that_was_waited_for_counts(stand):
    before = stand.processor_s()
    burn = "import time\\nwhile time.process_time() < 0.3: pass"
    do(stand, f"import subprocess; subprocess.run([sys.executable, '-S', '-c', '{burn}'], check=True)")
    assert stand.processor_s() - before > 0.25


# --- what it starts ---------------------------------------------------------------------------------------------------

CHILD = """
pid = os.fork()
if not pid:
    while True:
        time.sleep(1)
answer["pids"] = [pid]
"""
GRANDCHILD = """
reading, writing = os.pipe()
child = os.fork()
if not child:
    os.setsid()
    grandchild = os.fork()
    if grandchild:
        os.write(writing, grandchild.to_bytes(8, "little"))
        os._exit(0)
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)
os.waitpid(child, 0)
answer["pids"] = [int.from_bytes(os.read(reading, 8), "little")]
"""
SLEEPER = """
import subprocess
answer["pids"] = [subprocess.Popen(["sleep", "1000"], start_new_session=True).pid for _ in range(3)]
"""


@pytest.mark.parametrize("code", [CHILD, GRANDCHILD, SLEEPER])
def test_what_a_stand_started_ends_with_it_and_is_noticed(stand, code):
    pids = do(stand, code).fields["pids"]
    assert all(map(alive, pids))
    assert stand.end() == len(pids)
    assert not left_after(pids)
    after = bench.Stand(PLANTED)
    assert after.end() == 0


def test_what_a_stand_started_ends_with_it_although_it_left(stand):
    pids = do(stand, GRANDCHILD).fields["pids"]
    with pytest.raises(StandFailed, match="left with exit code 5"):
        do(stand, "os._exit(5)")  # the channel stays open, for the grandchild has it
    assert not left_after(pids)


def test_a_stand_that_died_in_the_middle_of_an_answer_is_told_although_its_child_holds_the_channel(stand):
    pids = do(stand, GRANDCHILD).fields["pids"]
    with pytest.raises(StandFailed, match="left with exit code 5"):
        do(stand, "write(wire.PREFIX.pack(wire.MAGIC, 100, 0) + b'[')\nos._exit(5)")
    assert not left_after(pids)


# --- its server -------------------------------------------------------------------------------------------------------


def test_a_stand_that_kills_its_server_is_told_and_the_next_has_another():
    victim, bystander = bench.Stand(PLANTED), bench.Stand(PLANTED)
    pids = [bench.server().process.pid, victim.pid, bystander.pid]
    with pytest.raises(StandFailed, match="and the server that starts it are gone: it may have killed it"):
        do(victim, "os.kill(os.getppid(), signal.SIGKILL); hang()", budget_s=600)
    assert not left_after(pids)
    assert bystander.end() == 0
    after = bench.Stand(PLANTED)
    assert do(after, "answer['x'] = 1").number("x") == 1
    assert bench.server().process.pid not in pids
    after.end()


def test_a_library_that_ends_the_server_as_it_is_imported_costs_one_stand(tmp_path, monkeypatch):
    (tmp_path / "fatal_library.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    bench.close_server()  # a new one has the path
    with pytest.raises(StandFailed, match="the server of the stands is gone"):
        bench.Stand(PLANTED, ["fatal_library"])
    after = bench.Stand(PLANTED)
    assert do(after, "").fields == {}
    after.end()


def test_a_library_that_cant_be_imported_fails_where_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise SystemExit('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    stand = bench.Stand(PLANTED, ["broken_library", "not_there"])
    with pytest.raises(StandFailed, match="SystemExit: broken"):
        do(stand, "import broken_library")
    stand.end()


# --- its bench --------------------------------------------------------------------------------------------------------


def _bench(writing):
    """Be a bench with an idle stand, a busy one, one that left a grandchild, and one that it waits for."""
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    idle, busy, daemon, waited = (bench.Stand(PLANTED) for _ in range(4))
    pids = [bench.server().process.pid, *(each.pid for each in (idle, busy, daemon, waited))]
    pids += do(daemon, GRANDCHILD).fields["pids"]
    bench.wire.send(busy._channel, "do", {"code": "while True: pass"})
    os.write(writing, b"".join(pid.to_bytes(8, "little") for pid in pids))
    do(waited, "hang()")


ENDS = {
    "killed": lambda pid: os.kill(pid, signal.SIGKILL),
    "terminated": lambda pid: os.kill(pid, signal.SIGTERM),
    "hung up": lambda pid: os.killpg(pid, signal.SIGHUP),
    "Ctrl-C": lambda pid: os.killpg(pid, signal.SIGINT),
}


@pytest.fixture(scope="module")
def benches():
    """Four benches, started at once: a server has much to import."""
    started = {}
    for end in ENDS:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                _bench(writing)
            finally:
                os._exit(1)
        os.close(writing)
        started[end] = pid, reading
    found = {}
    for end, (pid, reading) in started.items():
        content = os.read(reading, 8 * 6)
        found[end] = pid, [int.from_bytes(content[start : start + 8], "little") for start in range(0, len(content), 8)]
    yield found
    for pid, _ in started.values():
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.mark.parametrize("end", ENDS)
def test_a_bench_that_ends_leaves_no_process(benches, end):
    pid, pids = benches[end]
    assert len(pids) == 6
    assert all(map(alive, pids))
    ENDS[end](pid)
    assert not left_after(pids)
    os.waitpid(pid, 0)


def test_a_bench_that_leaves_by_itself_leaves_no_process():
    code = f"""
import sys
sys.path[:] = {sys.path!r}
from orthobench.harness.stand import bench
stand = bench.Stand({PLANTED!r})
print(bench.server().process.pid, stand.pid, *stand.ask("do", code={GRANDCHILD!r}).fields["pids"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pids = [int(each) for each in done.stdout.split()]
    assert len(pids) == 3
    assert not left_after(pids)
    assert done.stderr == ""


def test_a_stand_that_nobody_holds_any_more_ends():
    stand = bench.Stand(PLANTED)
    pid = stand.pid
    assert alive(pid)
    del stand
    assert not left_after([pid])


# --- where benches are ------------------------------------------------------------------------------------------------


def test_a_server_outlives_the_thread_that_started_it():
    bench.close_server()
    made = []
    thread = threading.Thread(target=lambda: made.append(bench.Stand(PLANTED)))
    thread.start()
    thread.join()
    (stand,) = made
    assert do(stand, "answer['x'] = 1").number("x") == 1
    stand.end()


def test_threads_share_a_server_and_each_gets_its_own_answers():
    answers, threads = {}, []

    def ask(number):
        stand = bench.Stand(PLANTED)
        answers[number] = [do(stand, f"answer['x'] = {number}").number("x") for _ in range(5)]
        stand.end()

    for number in range(4):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert answers == {number: [number] * 5 for number in range(4)}


def _echo(queue):
    stand = bench.Stand(PLANTED)
    queue.put((do(stand, "answer['x'] = os.getppid()").fields["x"], bench.server().process.pid))
    stand.end()
    bench.close_server()


def test_a_daemonic_process_forked_from_a_bench_has_a_server_of_its_own(stand):
    """Dask's workers are daemons, which may have no children by multiprocessing."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_echo, args=(queue,), daemon=True)
    process.start()
    parent, server = queue.get(timeout=300)
    process.join()
    assert parent == server != bench.server().process.pid
    assert not left_after([server])
    assert do(stand, "answer['x'] = 1").number("x") == 1  # ours is as it was


def test_a_process_forked_while_a_thread_asks_the_server_is_not_kept_waiting():
    held, over = threading.Event(), threading.Event()

    def hold():
        with bench._lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if not pid:
        os._exit(0 if bench._lock.acquire(blocking=False) and not bench._servers else 1)
    _, status = os.waitpid(pid, 0)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("listed", [True, False])
def test_the_children_of_a_process_are_known(listed, monkeypatch):
    if not listed:  # a system without such lists
        monkeypatch.setattr("builtins.open", _without_lists(open))
    before = children(os.getpid())
    with subprocess.Popen(["sleep", "1000"], executable="/bin/sleep") as child:
        try:
            assert set(children(os.getpid())) - set(before) == {child.pid}
            assert children(child.pid) == []
        finally:
            child.kill()
    assert children(child.pid) == []


def _without_lists(original):
    def opened(path, *arguments, **options):
        if str(path).endswith("/children"):
            raise FileNotFoundError(path)
        return original(path, *arguments, **options)

    return opened
