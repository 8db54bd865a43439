"""A file is used only with the right content, is downloaded at most once, and failures say what to do."""

import gzip
import io
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from orthobench.data import download, fetch
from orthobench.studies.loopback import NOWHERE, serving, sha256, source_of

CONTENT = random.Random(0).randbytes(300_000)
FILES = {"file.bin": CONTENT}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files = {"good/file.bin": CONTENT, "bad/file.bin": CONTENT[::-1]}
        yield server


@pytest.fixture
def place(tmp_path):
    """Where the file of the source belongs; its folder exists."""
    (tmp_path / "made-up").mkdir()
    return tmp_path / "made-up" / "file.bin"


def ranges(server):
    return [wanted for _, wanted in server.asked]


def left_over(place):
    return {path.name for path in place.parent.iterdir()} - {place.name, f"{place.name}.lock"}


def test_a_local_copy_needs_neither_the_network_nor_a_place_to_write(place, tmp_path):
    place.write_bytes(CONTENT)
    assert fetch(source_of(FILES), "file.bin", tmp_path) == place
    assert [path.name for path in place.parent.iterdir()] == ["file.bin"]


def test_a_damaged_local_copy_is_refused_and_left_as_it_is(place, tmp_path, server):
    place.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="move it away") as caught:
        fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    for named in (str(place), sha256(b"damaged"), sha256(CONTENT)):
        assert named in str(caught.value)
    assert place.read_bytes() == b"damaged"
    assert not server.asked


def test_a_download_leaves_the_right_file_and_nothing_else(place, tmp_path, server):
    assert fetch(source_of(FILES, server.url("good")), "file.bin", str(tmp_path)) == place
    assert place.read_bytes() == CONTENT
    assert not left_over(place)
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert ranges(server) == [None]


def test_folders_are_made(tmp_path, server):
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "made-up" / "file.bin").read_bytes() == CONTENT


def test_the_final_name_appears_only_when_the_file_is_complete(place, tmp_path, server):
    seen = []
    server.before_the_end = lambda: seen.append(place.exists())
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert seen == [False]


@pytest.mark.parametrize("first", ["missing", "bad", "unreachable"])
def test_the_next_mirror_is_tried(first, place, tmp_path, server):
    urls = (NOWHERE if first == "unreachable" else server.url(first), server.url("good"))
    fetch(source_of(FILES, *urls), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT


def test_a_broken_download_goes_on_where_it_stopped(place, tmp_path, server):
    server.breaks = [100_000, 50_000]
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(place, tmp_path, server):
    server.breaks = [60_000, 0]
    with pytest.raises(ConnectionError):
        fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert not place.exists()
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=60000-"


def test_another_mirror_goes_on_with_what_the_first_gave(place, tmp_path, server):
    server.files["other/file.bin"] = CONTENT
    server.breaks = [60_000, 0]
    fetch(source_of(FILES, server.url("other"), server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert server.asked[-1] == ("good/file.bin", "bytes=60000-")


def test_a_server_without_ranges_starts_again(place, tmp_path, server):
    server.ranges, server.breaks = False, [100_000]
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_server_that_always_breaks_off_is_given_up(place, tmp_path, server):
    server.ranges, server.breaks = False, [100_000] * 50
    with pytest.raises(ConnectionError, match="100000"):
        fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert len(server.asked) == 2
    server.ranges, server.asked = True, []
    server.breaks = [1] * 50
    with pytest.raises(ConnectionError):
        fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert len(server.asked) == download.ATTEMPTS


@pytest.mark.parametrize("left", [CONTENT[1:1000], CONTENT + b"more", b"x" * len(CONTENT)])
def test_the_remains_of_another_file_are_not_kept(left, place, tmp_path, server):
    place.with_name("file.bin.part").write_bytes(left)
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(left)}-", None]
    assert not left_over(place)


def test_a_download_interrupted_at_its_very_end_is_not_repeated(place, tmp_path, server):
    place.with_name("file.bin.part").write_bytes(CONTENT)
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert place.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_content_everywhere_is_an_error_with_both_checksums(place, tmp_path, server):
    with pytest.raises(ConnectionError) as caught:
        fetch(source_of(FILES, server.url("bad")), "file.bin", tmp_path)
    for named in (sha256(CONTENT), sha256(CONTENT[::-1])):
        assert named in str(caught.value)
    assert not place.exists()
    assert not left_over(place)
    assert len(server.asked) == 1


def test_an_error_names_what_was_tried_and_where_to_put_the_file(place, tmp_path, server):
    urls = (server.url("missing"), NOWHERE)
    with pytest.raises(ConnectionError) as caught:
        fetch(source_of(FILES, *urls), "file.bin", tmp_path)
    for named in ("file.bin", *urls, "404", str(place.parent), "ORTHOBENCH_DATA"):
        assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_compressed_file_is_kept_compressed(tmp_path, server):
    compressed = gzip.compress(CONTENT)
    server.files["good/file.gz"] = compressed
    server.headers = {"Content-Encoding": "gzip"}  # as some servers say of any .gz
    path = fetch(source_of({"file.gz": compressed}, server.url("good")), "file.gz", tmp_path)
    assert path.read_bytes() == compressed


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path, server):
    (tmp_path / "made-up").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="ORTHOBENCH_DATA") as caught:
        fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert str(tmp_path / "made-up" / "file.bin") in str(caught.value)
    assert not server.asked


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_serves_what_it_has_and_refuses_the_rest(place, tmp_path, server):
    place.write_bytes(CONTENT)
    files = FILES | {"other.bin": b"other"}
    place.parent.chmod(0o555)
    try:
        assert fetch(source_of(files, server.url("good")), "file.bin", tmp_path) == place
        with pytest.raises(OSError, match="ORTHOBENCH_DATA"):
            fetch(source_of(files, server.url("good")), "other.bin", tmp_path)
    finally:
        place.parent.chmod(0o755)
    assert not server.asked


def test_the_folder_is_the_argument_or_else_the_variable(place, tmp_path, monkeypatch):
    source = source_of(FILES)
    monkeypatch.setenv("ORTHOBENCH_DATA", str(tmp_path))
    assert download.data_folder(source) == place.parent
    assert download.data_folder(source, tmp_path / "elsewhere") == tmp_path / "elsewhere" / "made-up"
    monkeypatch.delenv("ORTHOBENCH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.data_folder(source) == tmp_path / ".cache" / "orthobench" / "data" / "made-up"


def test_an_unknown_file_is_an_error_that_lists_the_known(tmp_path):
    with pytest.raises(ValueError, match=r"'other\.bin': give one of file\.bin"):
        fetch(source_of(FILES), "other.bin", tmp_path)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_on_a_terminal_alone(terminal, tmp_path, server, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", screen)
    fetch(source_of(FILES, server.url("good")), "file.bin", tmp_path)
    assert ("file.bin: 100%" in screen.getvalue()) is terminal


FETCHER = """
import sys, time
from pathlib import Path
from orthobench.data import Source, fetch

url, digest, folder, name = sys.argv[1:]
Path(folder, name).touch()
while not Path(folder, "go").exists():
    time.sleep(0.01)
fetch(Source("made-up", (url,), {"file.bin": digest}, "none"), "file.bin", folder)
"""


def test_two_processes_download_a_file_once(place, tmp_path, server):
    second_request = threading.Event()

    def wait_for_the_other():
        if len(server.asked) > 1:
            second_request.set()
        second_request.wait(1)

    server.before_the_end = wait_for_the_other
    arguments = [sys.executable, "-c", FETCHER, server.url("good"), sha256(CONTENT), str(tmp_path)]
    processes = [subprocess.Popen([*arguments, name]) for name in ("one", "two")]
    while not all((tmp_path / name).exists() for name in ("one", "two")):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.wait(600) for process in processes] == [0, 0]
    assert place.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert not left_over(place)


def test_nothing_is_downloaded_where_that_is_forbidden(place, tmp_path, server, monkeypatch):
    source = source_of(FILES, server.url("good"))
    monkeypatch.setenv("ORTHOBENCH_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="ORTHOBENCH_OFFLINE forbids") as caught:
        fetch(source, "file.bin", tmp_path)
    assert str(place) in str(caught.value)
    assert not server.asked
    monkeypatch.setenv("ORTHOBENCH_OFFLINE", "0")
    assert fetch(source, "file.bin", tmp_path).read_bytes() == CONTENT
