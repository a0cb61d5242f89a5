"""`dae.datasets._downloads`: real downloads, from servers on 127.0.0.1 that fail in every way."""

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dae.datasets import DataError, _downloads, read_data
from dae.datasets._downloads import PackedFile, cache_folder, fetch

CONTENTS = {
    "images.gz": bytes(range(256)) * 4_000,
    "labels.gz": b"0123456789" * 100,
}
PUBLISHED = {name: gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
FILES = [
    PackedFile(
        name,
        len(PUBLISHED[name]),
        hashlib.sha256(PUBLISHED[name]).hexdigest(),
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    for name, content in CONTENTS.items()
]
PAGE = b"<html><body>Please log in to this network.</body></html>"


class Mirror(BaseHTTPRequestHandler):
    """Serves ``/<behaviour>/<file>``."""

    def do_GET(self):
        behaviour, name = self.path.strip("/").split("/")
        self.server.requests.append(self.path)
        data = PUBLISHED[name]
        if behaviour == "good":
            self.answer(200, data)
        elif behaviour == "undeclared":
            self.answer(200, data, declared_size=None)
        elif behaviour == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
        elif behaviour == "circular":
            self.send_response(302)
            self.send_header("Location", f"/circular/{name}")
            self.end_headers()
        elif behaviour == "local":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif behaviour == "absent":
            self.answer(404, PAGE)
        elif behaviour == "broken":
            self.answer(503, PAGE)
        elif behaviour == "page":
            self.answer(200, PAGE)
        elif behaviour == "empty":
            self.answer(200, b"")
        elif behaviour == "truncated":
            self.answer(200, data[: len(data) // 2], declared_size=len(data))
        elif behaviour == "cut":
            self.answer(200, data[:-1])
        elif behaviour == "longer":
            self.answer(200, data + b"x")
        elif behaviour == "endless":
            self.answer(200, data + bytes(10**7), declared_size=10**15)
        elif behaviour == "wrong":
            self.answer(200, bytes(len(data)))
        elif behaviour == "one-bit":
            self.answer(200, data[:-1] + bytes([data[-1] ^ 1]))
        elif behaviour == "repacked":
            self.answer(200, gzip.compress(CONTENTS[name], 1))
        elif behaviour == "noise":
            self.wfile.write(b"\x1b[31m\xff\r\n\r\n")
        elif behaviour == "silent":
            self.server.released.wait(60)
        elif behaviour == "stalled":
            self.answer(200, data[: len(data) // 2], declared_size=len(data))
            self.server.released.wait(60)

    def answer(self, status, data, declared_size=-1):
        self.send_response(status)
        if declared_size is not None:
            self.send_header("Content-Length", len(data) if declared_size < 0 else declared_size)
        self.end_headers()
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            pass  # the client has had enough

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 32


@pytest.fixture(scope="module")
def server():
    server = Server(("127.0.0.1", 0), Mirror)
    server.released = threading.Event()
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def mirror(server, behaviour):
    return f"http://127.0.0.1:{server.server_address[1]}/{behaviour}/"


def assert_holds_the_published(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == PUBLISHED


BAD = ["absent", "broken", "page", "empty", "truncated", "cut", "longer", "endless", "wrong"]
BAD += ["one-bit", "repacked", "noise", "circular", "local", "silent", "stalled"]


@pytest.mark.parametrize("behaviour", ["good", "undeclared", "moved"])
def test_files_are_fetched_once_and_progress_is_told(behaviour, server, tmp_path):
    told = []
    folder = tmp_path / "new" / "cache"
    fetch(FILES, [mirror(server, behaviour)], folder, lambda *step: told.append(step))
    assert_holds_the_published(folder)
    for file in FILES:
        steps = [(done, size) for name, done, size in told if name == file.name]
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        assert steps[-1] == (file.size, file.size)
    server.requests.clear()
    fetch(FILES, [mirror(server, behaviour)], folder)
    assert server.requests == []


@pytest.mark.parametrize("behaviour", BAD)
def test_a_bad_mirror_is_passed_over_and_leaves_nothing(behaviour, server, tmp_path):
    bad, good = mirror(server, behaviour), mirror(server, "good")
    with pytest.raises(DataError, match=r"images\.gz could not be downloaded") as refusal:
        fetch(FILES, [bad, bad], tmp_path, timeout=0.3)
    message = str(refusal.value)
    assert message.count(bad) == 2
    assert f"put images.gz, labels.gz into {tmp_path}" in message
    assert message.isprintable()
    assert list(tmp_path.iterdir()) == []
    fetch(FILES, [bad, good], tmp_path, timeout=0.3)
    assert_holds_the_published(tmp_path)


def test_offline_the_message_says_which_files_to_put_where(tmp_path):
    with socket.socket() as unused:  # bound, but not listening: nobody else gets this port
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DataError, match="refused") as refusal:
            fetch(FILES, [address, "http://host.invalid/"], tmp_path / "cache")
    assert "host.invalid" in str(refusal.value)
    assert f"put images.gz, labels.gz into {tmp_path}/cache" in str(refusal.value)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_there_may_be_packed_otherwise_but_must_be_right(server, tmp_path):
    good = mirror(server, "good")
    content = CONTENTS["labels.gz"]
    for right in (gzip.compress(content, 1), gzip.compress(content, 9, mtime=7), content):
        (tmp_path / "labels.gz").write_bytes(right)
        fetch(FILES, [good], tmp_path)
        assert (tmp_path / "labels.gz").read_bytes() == right
    packed = PUBLISHED["labels.gz"]
    bomb = gzip.compress(bytes(2**20)) * 1_000
    for wrong in (b"", packed[:-1], packed + b"x", PAGE, gzip.compress(content[:-1] + b"x"), bomb):
        (tmp_path / "labels.gz").write_bytes(wrong)
        with pytest.raises(DataError, match=r"labels\.gz: .*remove it to have it downloaded"):
            fetch(FILES, [good], tmp_path)
        assert (tmp_path / "labels.gz").read_bytes() == wrong


def test_concurrent_first_uses_do_not_clash(server, tmp_path):
    start = threading.Barrier(8)
    failures = []

    def first_use():
        start.wait()
        try:
            fetch(FILES, [mirror(server, "good")], tmp_path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_holds_the_published(tmp_path)


FETCH = """
    import resource, sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    from test_downloads import FILES
    from dae.datasets import DataError
    from dae.datasets._downloads import fetch
    {limit}
    try:
        fetch(FILES, [{mirror!r}], Path({folder!r}))
    except DataError as error:
        print(error)
"""


def fetching_process(mirror, folder, limit="", **kwargs):
    path = [str(Path(__file__).parent), str(Path(_downloads.__file__).parents[2])]
    program = FETCH.format(path=path, limit=limit, mirror=mirror, folder=str(folder))
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    return subprocess.Popen(command, **kwargs)


def test_a_process_killed_in_the_middle_leaves_nothing_wrong(server, tmp_path):
    server.requests.clear()
    process = fetching_process(mirror(server, "stalled"), tmp_path)
    while not server.requests:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(tmp_path.iterdir()) == []
    fetch(FILES, [mirror(server, "good")], tmp_path)
    assert_holds_the_published(tmp_path)


def test_a_file_that_cannot_be_written_leaves_nothing(server, tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    process = fetching_process(
        mirror(server, "good"), tmp_path, limit, stdout=subprocess.PIPE, text=True
    )
    message, _ = process.communicate()
    assert message == f"{tmp_path}: File too large\n"
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_one_clear_error(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="file/cache: Not a directory"):
        fetch(FILES, [mirror(server, "good")], tmp_path / "file" / "cache")
    with pytest.raises(DataError, match="File name too long"):
        fetch(FILES, [mirror(server, "good")], tmp_path / ("a" * 300))


def test_what_a_dead_process_left_unfinished_is_removed_what_a_live_one_writes_is_not(
    server, tmp_path
):
    dead, live = (tmp_path / f"unfinished-{digit * 16}-images.gz" for digit in "01")
    users = tmp_path / "unfinished-notes"
    for path in (dead, live, users):
        path.write_bytes(b"half")
        os.utime(path, times=(0, 0) if path != live else None)
    fetch(FILES, [mirror(server, "good")], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*PUBLISHED, live.name, users.name}


# Where


def test_the_cache_is_where_the_argument_the_variable_or_the_platform_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DAE_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path("/home/someone/.cache/dae")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/dae")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path("/home/someone/Library/Caches/dae")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/dae")
    monkeypatch.setenv("DAE_CACHE_DIR", "~/mine")
    assert cache_folder() == Path("/home/someone/mine")
    assert cache_folder("/given") == cache_folder(Path("/given")) == Path("/given")
    with pytest.raises(DataError, match="no cache folder; set DAE_CACHE_DIR"):
        cache_folder("~nobody-of-this-name/cache")


def test_mnist_is_asked_of_the_cache_and_then_of_the_mirrors(server, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(_downloads, "MNIST", FILES)
    monkeypatch.setattr(_downloads, "MIRRORS", [mirror(server, "good")])
    with pytest.raises(DataError, match="neither images nor"):  # for these are not MNIST's files
        read_data("mnist", cache_dir=tmp_path, progress=lambda *step: told.append(step))
    assert_holds_the_published(tmp_path / "mnist")
    assert {name for name, _, _ in told} == set(PUBLISHED)


def test_the_published_files_are_pinned():
    assert [(file.name, file.size, file.unpacked_size) for file in _downloads.MNIST] == [
        ("train-images-idx3-ubyte.gz", 9_912_422, 16 + 60_000 * 28 * 28),
        ("train-labels-idx1-ubyte.gz", 28_881, 8 + 60_000),
        ("t10k-images-idx3-ubyte.gz", 1_648_877, 16 + 10_000 * 28 * 28),
        ("t10k-labels-idx1-ubyte.gz", 4_542, 8 + 10_000),
    ]
    provenance = (Path(_downloads.__file__).parent / "data" / "README.md").read_text()
    for file in _downloads.MNIST:
        assert f"{file.unpacked_sha256}  {file.name.removesuffix('.gz')}\n" in provenance
        assert len(bytes.fromhex(file.sha256)) == 32
    assert len(_downloads.MIRRORS) == 2
    assert all(
        mirror.startswith("https://") and mirror.endswith("/") for mirror in _downloads.MIRRORS
    )
