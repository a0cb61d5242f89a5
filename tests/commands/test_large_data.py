"""The command on a file that does not fit into memory, and on one that changes under it."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState

import dae
from dae.commands._console import Session
from dae.train import main
from dae.training import _minibatches, fitting

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from dae.commands import _train_and_save
from dae.datasets import DataError, read_data
from dae.train import main

def status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])

def train(name):
    options = ["--n-hidden=2", "--batch-size=20", "--floatX=float32", "--corruption-level=0",
               "--training-epochs=2", "--quiet"]
    assert main([f"--data={name}.npy", f"--output-dir={name}", *options]) == 0

_train_and_save.save_results = lambda *args: None  # which judges a sample, of 130 MB here
train("small")
left = int(sys.argv[1])
limit = status("VmData:") + left
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = status("VmHWM:")
train("large")
print(status("VmHWM:") - before)
try:
    read_data("large.npy")
except DataError as error:
    print(error)
"""
"""Train on small data, which compiles the step, and then, with so much memory left, on large."""


def save_zeros(path, n_rows, n_visible):
    """Save images that are black, but for the first one, and take hardly any room on the disk."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (n_rows, n_visible)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + n_rows * n_visible
        file.write(bytes(range(1, 251)) * (n_visible // 250))
        file.truncate(end)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_several_times_as_large_as_the_memory_is_trained_on(tmp_path):
    left = 2**25
    save_zeros(tmp_path / "small.npy", 100, 10_000)
    save_zeros(tmp_path / "large.npy", 15_000, 10_000)
    assert (tmp_path / "large.npy").stat().st_size > 4 * left
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(left)],
        env=os.environ | {"PYTHONPATH": str(Path(dae.__file__).parents[1])},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    grown, refused = process.stdout.splitlines()
    assert int(grown) < left / 2
    assert refused.startswith("large.npy: would take 150 MB of memory, and ")
    _header, *rows = (tmp_path / "large" / "costs.csv").read_text().splitlines()
    first, second = (float(row.split(",")[1]) for row in rows)
    assert second < first


# A file that changes


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options of a short run that reads its file for every minibatch."""
    monkeypatch.setattr(_minibatches, "WINDOW", 1)
    np.save(tmp_path / "data.npy", RandomState(1).randint(256, size=(60, 16)).astype("uint8"))
    return [
        f"--data={tmp_path / 'data.npy'}", "--n-hidden=3", "--batch-size=12", "--training-epochs=3",
        "--checkpoint-every=1", "--quiet",
    ]  # fmt: skip


def cut_off(path):
    os.truncate(path, 500)


def overwrite(path):
    with path.open("r+b") as file:
        file.write(path.read_bytes())
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGED = "cut off or changed while it is in use"


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [(cut_off, CHANGED), (overwrite, CHANGED), (Path.unlink, "No such file or directory")],
)
def test_a_file_that_changes_in_training_ends_the_run_and_once_mended_lets_it_go_on(
    tmp_path, capfd, monkeypatch, options, change, message, shuffle
):
    def compile_that_changes(*args):
        step, updated = compile_step(*args)
        counter = iter(range(7))

        def step_that_changes(*minibatch):
            if next(counter, None) is None and data.exists():
                change(data)
            return step(*minibatch)

        return step_that_changes, updated

    options += ["--shuffle"] if shuffle else []
    data, copy = tmp_path / "data.npy", tmp_path / "copy.npy"
    shutil.copy(data, copy)
    assert main([*options, f"--output-dir={tmp_path / 'whole'}"]) == 0

    out, compile_step = tmp_path / "out", fitting.compile_step
    with monkeypatch.context() as context:
        context.setattr(fitting, "compile_step", compile_that_changes)
        assert main([*options, f"--output-dir={out}"]) == 1
    resume = shlex.join([sys.executable, "-m", "dae.train", "--resume", str(out)])
    assert capfd.readouterr() == ("", f"dae-train: {data}: {message}; go on with: {resume}\n")
    assert len((out / "costs.csv").read_text().splitlines()) == 2

    assert main([f"--resume={out}", f"--data={copy}", "--quiet"]) == 0
    assert (out / "model.npz").read_bytes() == (tmp_path / "whole" / "model.npz").read_bytes()


def test_a_file_with_other_rows_is_refused_when_the_run_goes_on(tmp_path, capfd, options):
    out = tmp_path / "out"
    assert main([*options, f"--output-dir={out}"]) == 0
    np.save(tmp_path / "data.npy", np.zeros((60, 16), "uint8"))
    assert main([f"--resume={out}", "--training-epochs=4", "--quiet"]) == 2
    assert "data_sha256 is " in capfd.readouterr().err


# What is seen of it


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_while_the_file_is_read_through(tmp_path, options, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar, at_once = Session.bar, {"delay": 0, "mininterval": 0}  # so small a file is soon read
    monkeypatch.setattr(Session, "bar", lambda self, **kwargs: bar(self, **kwargs | at_once))
    options.remove("--quiet")
    assert main([*options, f"--output-dir={tmp_path / 'out'}"]) == 0
    assert re.search(r"100%[^\r]* 960/960 [^\r]*B/s, training data", sys.stderr.getvalue())
