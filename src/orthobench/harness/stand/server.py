"""The fork server: it has imported torch and the package, and starts a stand in some milliseconds; it runs no solver.

``python -P -m orthobench.harness.stand.server FD``: a bench starts it, and it ends with its bench, and all below it.
multiprocessing's own does not serve: Dask's workers are daemons, which may have no children, and it would import the
front's main module again.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback

from . import confine, front

LINE = 2**20  # no request is longer


def main(descriptor):
    """Serve requests, one line of JSON each, until the bench is gone."""
    control = socket.socket(fileno=descriptor)
    confine.adopt_orphans()  # what a stand leaves behind becomes ours to end
    for ignored in (signal.SIGINT, signal.SIGHUP):  # they are for the front
        signal.signal(ignored, signal.SIG_IGN)
    from .. import namespaces  # after the harness, which sets the threads
    from . import roles

    namespaces.watch_shared()
    with contextlib.suppress(OSError):
        confine.close_memory()
    serve_stand = roles.serve
    # No tensor operation here: it would start threads, and no pool of threads survives a fork.
    gc.collect()
    gc.freeze()
    stands = set()
    front.be_asked(descriptor)
    _answer(control, {"ready": True})
    while True:
        line, descriptors = _request(control)
        if not line:
            _end_all(stands)
            os._exit(0)
        request = json.loads(line)
        if request["do"] == "start":
            if _import(request["imports"]):
                namespaces.watch_shared()
                gc.freeze()
            _answer(control, {"pid": _start(control, descriptors[0], request, serve_stand, stands)})
        else:
            _answer(control, _end(request["pid"], stands, request["gone"]))


def _request(control):
    parts, descriptors = [], []
    while not parts or not parts[-1].endswith(b"\n"):
        try:
            content, received, _, _ = socket.recv_fds(control, LINE, 1)
        except ConnectionError:
            content, received = b"", []
        if not content:
            return b"", []
        parts.append(content)
        descriptors += received
    return b"".join(parts), descriptors


def _answer(control, fields):
    with contextlib.suppress(OSError):  # a bench that is gone is noticed at the next request
        control.sendall(json.dumps(fields).encode() + b"\n")


def _import(names):
    """Import libraries once for all stands; one that can't be imported fails in the stand that needs it."""
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
    return bool(missing)


def _start(control, channel, request, serve_stand, stands):
    server = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid:
        os.close(channel)
        stands.add(pid)
        return pid
    try:
        confine.die_with_parent()
        if os.getppid() != server:  # it died before we asked
            os._exit(1)
        control.close()
        os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[:] = request["path"]
        confine.open_memory()
        confine.drop_tracing()
        serve_stand(socket.socket(fileno=channel), request["memory"])
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(0)


def _end(pid, stands, gone):
    """End a stand and all that it started; say how it ended, what it took, and what it left behind."""
    if pid not in stands:
        return {"status": None}
    give_up = time.monotonic() + (1.0 if gone else 0.0)
    while time.monotonic() < give_up and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.001)
    below = _descendants(pid)
    _kill([pid, *below])
    _, status, usage = os.wait4(pid, 0)
    stands.discard(pid)
    left = _orphans(stands)
    while orphans := _orphans(stands):
        _kill([each for orphan in orphans for each in (orphan, *_descendants(orphan))])
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
    return {"status": status, "cpu_s": usage.ru_utime + usage.ru_stime, "below": len({*below, *left})}


def _end_all(stands):
    """End every process below this one, again until there is none: a stand may be starting others."""
    for _ in range(100):
        below = _descendants(os.getpid())
        if not below:
            return
        _kill(below)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _orphans(stands):
    """Return the children that are no stand: what ended stands started."""
    return [pid for pid, parent in parents().items() if parent == os.getpid() and pid not in stands]


def _descendants(pid):
    children = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def parents():
    """Return the parent of each process of this machine that can be seen; nothing where there is no /proc."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                    # The name before may hold anything, brackets too.
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return found


def _kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
