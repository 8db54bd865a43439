"""A process ends with the one that it works for: imported first, for that may be gone before the rest is here.

The worker of a killed front process would wait for its next cell, for minutes or for ever, with its server: loky sees
to it only where the front lives to say so. A server that is asked nothing any more notices, once it has imported torch.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time

with contextlib.suppress(ImportError):  # not on Windows, where there is no server either
    import fcntl

LOOK_S = 0.5
SERVER = f"{__package__}.server"


def end_with_front():
    """Have this process end soon after the front process, if it is a worker of loky's; else do nothing."""
    process = multiprocessing.current_process()
    if getattr(process, "_start_method", None) in ("loky", "loky_init_main"):
        front = multiprocessing.parent_process().pid
        threading.Thread(target=_watch, args=(front,), name="watches the front", daemon=True).start()


def _watch(front):
    while os.getppid() == front:
        time.sleep(LOOK_S)
    os._exit(1)  # the server notices, and ends its stands


def end_with_bench():
    """Have this process end with its bench, if it is a server that is still importing; a thread would be in its way.

    Nothing comes from the bench before the server says that it is ready: a signal says that the channel is closed.
    """
    if sys.orig_argv[-3:-1] == ["-m", SERVER]:
        control = int(sys.orig_argv[-1])
        fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) | os.O_ASYNC)
        look = select.poll()
        look.register(control, 0)
        if look.poll(0):  # it was closed before
            signal.raise_signal(signal.SIGIO)


def be_asked(control):
    """Take back :func:`end_with_bench`, for questions are signalled too."""
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) & ~os.O_ASYNC)


end_with_front()
end_with_bench()
