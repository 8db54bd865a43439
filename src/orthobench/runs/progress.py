"""What a run shows: one line on how far it is, and a log with everything else that its processes print."""

import contextlib
import os
import select
import sys
import threading
import time

from ..report.terminal import columns, cut

SELDOM_S = 60.0  # between two lines where there is no terminal


class Progress:
    """A line that counts cells as they end.

    Parameters
    ----------
    planned : int
        How many cells there are.
    file : file
        What shows it: the `screen` of a `Log`. In a terminal a line is written over the one before.
    """

    def __init__(self, planned, file):
        self.planned, self.file = planned, file
        self.done = self.failed = self.gone = self.computed = 0
        self.begin = self.shown = time.monotonic()

    def ended(self, failed, computed):
        """Count a cell with rows; `computed` unless it comes from the cache."""
        self.done += not failed
        self.failed += failed
        self.computed += computed
        self.show()

    def left_out(self):
        """Count a cell that needs none, such as one that does not apply."""
        self.gone += 1
        self.show()

    def show(self, end=False):
        """Write the line, if it is time to."""
        terminal, now = self.file.isatty(), time.monotonic()
        if end or terminal or now - self.shown >= SELDOM_S:
            self.shown = now
            text = cut(self.text(now, end), self.file.columns - 1)
            self.file.write(f"\r\033[K{text}" if terminal else f"{text}\n")
            if end and terminal:
                self.file.write("\n")
            self.file.flush()

    def text(self, now, end=False):
        """Return ``12 done, 1 failed, 27 left, 3 min to go``."""
        left = max(self.planned - self.done - self.failed - self.gone, 0)
        passed = now - self.begin
        if end:
            told = f"in {duration(passed)}"
        elif self.computed:
            told = f"{duration(passed / self.computed * left)} to go"
        else:
            told = f"for {duration(passed)}"
        return f"{self.done} done, {self.failed} failed, {left} left, {told}"


def duration(seconds):
    """Return ``40 s``, ``3 min`` or ``2 h 5 min``."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Log:
    """A file to which goes what this process and those that it starts print inside of the block.

    It goes through a pipe, so that a full disk stops no process that prints. `screen` writes to where it went before.
    """

    def __init__(self):
        self.path = self.problem = None
        self._held, self._file, self._lock = [], None, threading.Lock()

    def to(self, path):
        """Begin the file with what was printed so far; it takes the place of an earlier one."""
        self.path = path
        with self._lock, self._whole():
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed at the end of the block)
            self._file.write(b"".join(self._held))

    def __enter__(self):
        self._streams, self._saved = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2))
        for stream in self._streams:
            stream.flush()
        self.screen = _Screen(_writer(os.dup(1)))
        self._read, write = os.pipe()
        for number in (1, 2):
            os.dup2(write, number)
        os.close(write)
        sys.stdout = sys.stderr = _writer(os.dup(1))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="log", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        sys.stdout.close()
        sys.stdout, sys.stderr = self._streams
        for number, saved in enumerate(self._saved, start=1):
            os.dup2(saved, number)
            os.close(saved)
        self._over.set()
        self._thread.join()
        os.close(self._read)
        if self._file:
            self._file.close()

    def _copy(self):
        while True:
            ready = select.select([self._read], [], [], 0.1)[0]
            chunk = os.read(self._read, 1 << 16) if ready else b""
            if chunk:
                self._write(chunk)
            elif ready or self._over.is_set():  # a process that goes on may keep its end open
                return

    def _write(self, chunk):
        with self._lock, self._whole():
            self._file.write(chunk) if self._file else self._held.append(chunk)

    @contextlib.contextmanager
    def _whole(self):
        try:
            yield
        except OSError as error:
            self.problem = error.strerror


def _writer(number):
    return os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="replace")


class _Screen:
    """What shows a run to whoever looks: a run goes on when nobody does any more, or its file is full."""

    def __init__(self, file):
        self._file, self.columns = file, columns()  # of the terminal, as long as it is there

    def isatty(self):
        return self._file.isatty()

    def write(self, text):
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self):
        with contextlib.suppress(OSError):
            self._file.flush()
