"""`dae._files`: a file is there whole or not at all, whoever else writes, fails or is killed."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from dae._files import atomic_write


def write(path, *parts, exclusive=False):
    """Write texts, or fail where there is an exception among them."""
    with atomic_write(path, exclusive=exclusive) as temporary:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            with temporary.open("a") as file:
                file.write(part)


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path):
    path = tmp_path / "file.txt"
    write(path, "old")
    with pytest.raises(ZeroDivisionError):
        write(path, "ne", ZeroDivisionError())
    assert path.read_text() == "old"
    write(path, "ne", "w")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_errors_of_writing_name_the_file(tmp_path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write(tmp_path / "file.txt", "new")
    assert caught.value.filename == str(tmp_path / "file.txt")
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_file_before_can_be_kept_under_another_name(tmp_path):
    path, previous = tmp_path / "file.txt", tmp_path / "previous.txt"
    for text in ("1", "2", "3"):
        with atomic_write(path, previous) as temporary:
            temporary.write_text(text)
    assert (path.read_text(), previous.read_text()) == ("3", "2")
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "previous.txt"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_it_goes_on(
    tmp_path, monkeypatch
):
    path = tmp_path / "file.txt"
    synced = []

    def fsync(descriptor):
        synced.append((os.path.samestat(os.fstat(descriptor), tmp_path.stat()), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write(path, "new")
    assert synced == [(False, False), (True, True)]


def test_many_can_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "file.txt"
    start = threading.Barrier(8)
    failures = []

    def write_often(text):
        start.wait()
        try:
            for _ in range(50):
                write(path, text, text)
                assert path.read_text() in {digit * 2000 for digit in "01234567"}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write_often, args=(f"{i}" * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(tmp_path) == ["file.txt"]


KILLED = """
import os, pathlib, signal, sys
from dae._files import atomic_write
with atomic_write(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_leave_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "file[1].txt"
    process = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert process.returncode == -signal.SIGKILL
    [leftover] = tmp_path.iterdir()
    users = [tmp_path / "unfinished-file[1].txt", tmp_path / "unfinished-notes-file[1].txt"]
    of_another = leftover.with_name(leftover.name.replace("[1]", "1"))
    for kept in (*users, of_another):
        kept.write_text("kept")
        os.utime(kept, (0, 0))
    others = {kept.name for kept in (*users, of_another)}

    write(path, "new")  # another process may still be writing
    assert set(os.listdir(tmp_path)) == {path.name, leftover.name, *others}
    write(path, "new", exclusive=True)
    assert set(os.listdir(tmp_path)) == {path.name, *others}
    leftover.write_text("half")
    os.utime(leftover, (0, 0))
    write(path, "new")
    assert set(os.listdir(tmp_path)) == {path.name, *others}
