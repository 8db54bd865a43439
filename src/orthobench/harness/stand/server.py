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

import psutil

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
            _end_all()
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
    _kill([pid])
    _, status, usage = os.wait4(pid, 0)
    stands.discard(pid)
    below = 0
    # What it had started is ours now, and what that had started is when it ends.
    while orphans := set(children(os.getpid())) - stands:
        below += len(orphans)
        _kill(orphans)
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
    return {"status": status, "cpu_s": usage.ru_utime + usage.ru_stime, "below": below}


def _end_all():
    """End every process below this one, again until there is none: a stand may be starting others."""
    for _ in range(100):
        below = children(os.getpid())
        if not below:
            return
        _kill(below)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def children(pid):
    """Return the children of a process, those that have ended and that it hasn't waited for among them."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except OSError:  # it is gone, or its system keeps no such list
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
    return found


def _kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
