"""An HTTP server on this machine, with files in memory, that misbehaves as it is told; and sources that point to it."""

import contextlib
import hashlib
import http.server
import re
import threading

from ..data.download import Source

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing answers


def sha256(content):
    """Return the checksum of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def source_of(files, *urls, name="made-up"):
    """Return a source of `files`, a dict of name to content."""
    return Source(name, urls or (NOWHERE,), {file: sha256(content) for file, content in files.items()}, "none")


class Loopback(http.server.ThreadingHTTPServer):
    """Serves `files`, a dict of path (such as "a/file") to content, and writes down what it is asked.

    `breaks` are numbers of bytes: as many of the next answers end after so many bytes of their body. Before each,
    and in the middle of it, `before_the_answer` and `before_the_end` are called.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.asked, self.breaks = {}, [], []
        self.ranges, self.headers = True, {}
        self.before_the_answer = self.before_the_end = lambda: None

    def url(self, folder):
        """Return the address of a folder."""
        return f"http://127.0.0.1:{self.server_port}/{folder}/"

    def handle_error(self, request, client_address):
        """Do nothing: a client may go away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, path, wanted = self.server, self.path.lstrip("/"), self.headers["Range"]
        server.asked.append((path, wanted))
        server.before_the_answer()
        if path not in server.files:
            return self.send_error(404)
        content = server.files[path]
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        sent = content[start:][: server.breaks.pop(0)] if server.breaks else content[start:]
        self.wfile.write(sent[: len(sent) // 2])
        self.wfile.flush()
        server.before_the_end()
        self.wfile.write(sent[len(sent) // 2 :])

    def log_message(self, *_):
        """Keep quiet."""


@contextlib.contextmanager
def serving():
    """Give a server that answers inside the block."""
    with Loopback() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
