"""A worker of loky's ends with its front process: imported first, for the front may be gone before the rest is here.

Loky sees to it only where the front lives to say so. The worker of a killed one waits for its next cell, for minutes
or for ever, with its server.
"""

import multiprocessing
import os
import threading
import time

LOOK_S = 0.5


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


end_with_front()
