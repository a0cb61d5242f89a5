"""The command: what it prints and writes, how it refuses, how it ends and how it goes on.

Where a process can be asked, it is one, or a fork of one; where only answers count, `main` is
called.
"""

import contextlib
import hashlib
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import textwrap
import threading
import time
import tracemalloc
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytensor
import pytest
from numpy.random import RandomState
from numpy.testing import assert_array_equal
from oracle import PUBLISHED, SAMPLE
from PIL import Image

import dae
from dae import Config, Run, datasets, fit
from dae.commands import _train_and_save
from dae.datasets import _downloads
from dae.train import main
from dae.training import fitting, run_directory

REPOSITORY = Path(dae.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}
COMMAND = [sys.executable, "-W", "error", "-m", "dae.train"]
ENDLESS = "--training-epochs=1000000"

ASLEEP = """
import sys, time
from dae import train
from dae.training import fitting

def compile_asleep(*args):
    if "compile" in sys.argv[1]:
        print("asleep", flush=True)
        time.sleep(60)
    _, updated = compile_step(*args)
    return train_da, updated

def train_da(index):
    print("asleep", flush=True)
    time.sleep(1 if "minibatch" in sys.argv[1] else 60)
    return 0.0

compile_step, fitting.compile_step = fitting.compile_step, compile_asleep
sys.exit(train.main(sys.argv[2:]))
"""
"""The command with a step, or compiling it, that takes its time; the first argument says which."""


@pytest.fixture(autouse=True, scope="module")
def sigint_heard():
    """Have SIGINT heard, here and in processes started from here, also in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def data(tmp_path):
    """A file of 60 images of 4x4 pixels, none of them for tests."""
    path = tmp_path / "data.npy"
    np.save(path, RandomState(1).randint(256, size=(60, 16)).astype("uint8"))
    return path


@pytest.fixture
def small(data):
    """Options of a short run on small data."""
    return [f"--data={data}", "--n-hidden=3", "--batch-size=12", "--training-epochs=5"]


@pytest.fixture
def command(capfd):
    """Call the command; give its exit status and what it wrote to stdout and to stderr."""

    def call(*options):
        try:
            status = main([str(option) for option in options])
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def popen(forks):
    """Start the command, or a program in its place, as a fork, with pipes."""

    def popen(*options, program=None, **settings):
        module = "dae.train" if program is None else None
        return forks.popen(*options, program=program, module=module, **settings)

    return popen


def popen_anew(*options, program=None, **settings):
    """The same in an interpreter of its own."""
    start = COMMAND if program is None else [sys.executable, "-W", "error", "-c", program]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.Popen(
        [*start, *map(str, options)], env=ENVIRONMENT, text=True, bufsize=1, **settings
    )


def read_until(process, text):
    """Read lines of a process until one holds the text."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"no {text!r}; stderr: {process.stderr.read()}")


def read_costs(directory):
    """The costs in costs.csv, as text."""
    header, *rows = (directory / "costs.csv").read_text().splitlines()
    assert header.startswith("epoch,cost,seconds")
    epochs, costs, *_ = zip(*(row.split(",") for row in rows), strict=True)
    assert epochs == tuple(map(str, range(len(rows))))
    return list(costs)


def read_model(directory):
    with np.load(directory / "model.npz", allow_pickle=False) as archive:
        return dict(archive)


# What it trains, prints and writes


@pytest.fixture(scope="module", params=sorted(PUBLISHED))
def published_run(request, tmp_path_factory):
    """The worksheet's two trainings; the one with noise is what the bare command does."""
    folder = tmp_path_factory.mktemp("worksheet")
    options = ["--corruption-level=0", "--output-dir=out"] if request.param == 0 else []
    process = subprocess.run(
        [*COMMAND, *options], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert process.stderr == ""
    assert process.returncode == 0
    directory = "out" if options else f"runs/{os.listdir(folder / 'runs')[0]}"
    return request.param, process.stdout, folder, directory


def test_the_published_costs_are_printed(published_run):
    level, stdout, _folder, directory = published_run
    lines = stdout.splitlines()
    costs = [f"Training epoch {10 * i}, cost {cost}" for i, cost in enumerate(PUBLISHED[level])]
    kind = "DenoisingAutoencoder" if level else "Autoencoder"
    assert lines[:4] == [
        f"{kind} with 784 visible and 100 hidden units, corruption level {level:g}, "
        "learning rate 0.1",
        "mini-mnist: 5000 images of 28x28, 250 minibatches of 20, 200 epochs",
        f"seed 123, float64, PyTensor {pytensor.__version__}, linker numba",
        "compiling ...",
    ]
    assert re.fullmatch(r"compiled in \d+\.\ds", lines[4])
    assert lines[5:25] == costs
    assert re.fullmatch(r"time: \d+s", lines[25])
    assert lines[26:] == [f"results: {directory}"]
    assert set(stdout) - {"\n"} == set(filter(str.isprintable, stdout))


def test_all_that_is_promised_is_written(published_run):
    level, _stdout, folder, directory = published_run
    directory = folder / directory
    names = {"config.json", "costs.csv", "costs.png", "filters.png", "reconstructions.png"}
    names |= {"report.html", "model.npz", "checkpoint.npz", "checkpoint.previous.npz", "run.lock"}
    assert set(os.listdir(directory)) == names | ({"noise.png"} if level else set())

    costs = read_costs(directory)
    assert [f"{float(cost):f}" for cost in costs[::10]] == PUBLISHED[level]
    assert all(repr(float(cost)) == cost for cost in costs)
    assert len(costs) == 200

    config = json.loads((directory / "config.json").read_text())
    train_x, _ = datasets.read_data().train
    assert config.pop("versions").keys() == {"dae", "pytensor", "numpy", "python"}
    assert config == {
        "data": "mini-mnist",
        "image_shape": [28, 28],
        "color": False,
        "crop": False,
        "autocontrast": False,
        "background": "black",
        "skip_bad_images": False,
        "data_sha256": hashlib.sha256((train_x / 256).tobytes()).hexdigest(),
        "standardize": False,
        "validation_fraction": None,
        "corruption": "masking",
        "corruption_level": level,
        "cost": "cross-entropy",
        "n_hidden": 100,
        "learning_rate": 0.1,
        "training_epochs": 200,
        "batch_size": 20,
        "shuffle": False,
        "patience": None,
        "validate_every": None,
        "seed": 123,
        "floatX": "float64",
    }

    model = read_model(directory)
    assert model.pop("format_version") == 1
    about = json.loads(str(model.pop("about")))
    assert about.pop("versions").keys() == {"dae", "pytensor", "numpy"}
    assert about == {
        "kind": "DenoisingAutoencoder" if level else "Autoencoder",
        "dtype": "float64",
        "pixels": "bytes / 256",
        "cost": "cross-entropy",
        **({"corruption": "masking"} if level else {}),
        "image_shape": [28, 28],
        "crop": False,
        "autocontrast": False,
        "background": "black",
        "corruption_level": level,
    }
    shapes = {name: (array.shape, array.dtype.name) for name, array in model.items()}
    assert shapes == {
        "W": ((784, 100), "float64"),
        "b": ((100,), "float64"),
        "b_prime": ((784,), "float64"),
    }


def test_the_pictures_show_what_they_should(published_run):
    level, _stdout, folder, directory = published_run
    sizes = {"filters.png": (289, 289), "reconstructions.png": (592, 289)}
    for name in ("filters.png", "reconstructions.png", "costs.png"):
        with Image.open(folder / directory / name) as picture:
            picture.load()
            assert picture.size == sizes.get(name, picture.size)
    with Image.open(folder / directory / "reconstructions.png") as picture:
        originals, reconstructions = np.hsplit(np.asarray(picture) / 255, [302])
        originals = originals[:, :289]
        error = np.abs(originals - reconstructions[:, -289:]).mean()
        assert 0.01 < error < 0.06  # alike, but not the same; an empty picture is off by 0.1
    if level:
        with Image.open(folder / directory / "noise.png") as picture:
            pixels = np.asarray(picture)
            assert_array_equal(pixels, np.kron(SAMPLE, np.full((24, 24), 255)))


def test_options_are_heeded(command, small, tmp_path):
    out = tmp_path / "out"
    status, stdout, stderr = command(
        *small,
        "--floatX=float32",
        "--corruption-level=0.5",
        "--image-shape=2x8",
        "--seed=7",
        "--learning-rate=0.5",
        "--report-every=2",
        "--output-dir",
        out,
    )
    assert (status, stderr) == (0, "")
    assert "with 16 visible and 3 hidden units, corruption level 0.5, learning rate 0.5" in stdout
    assert "60 images of 2x8, 5 minibatches of 12, 5 epochs" in stdout
    assert "seed 7, float32" in stdout
    assert re.findall(r"Training epoch (\d+), ", stdout) == ["0", "2", "4"]
    assert read_model(out)["W"].dtype == np.float32
    assert json.loads((out / "config.json").read_text())["image_shape"] == [2, 8]
    with Image.open(out / "filters.png") as picture:
        # 3 filters of 2x8 in a grid of 2x2, each pixel a square of 30x30
        assert picture.size == (30 * (2 * 8 + 1), 30 * (2 * 2 + 1))


def test_pixels_that_make_no_square_are_drawn_in_a_row(command, tmp_path):
    np.save(tmp_path / "data.npy", RandomState(1).uniform(size=(20, 6)))
    out = tmp_path / "out"
    status, stdout, stderr = command(
        "--data", tmp_path / "data.npy", "--n-hidden=2", "--training-epochs=1", "--output-dir", out
    )
    assert (status, stderr) == (0, "")
    assert "20 images of 1x6, 1 minibatches of 20" in stdout
    with Image.open(out / "filters.png") as picture:
        assert picture.size == (39 * (6 + 1 + 6), 39)


def test_quiet_prints_nothing(command, small, tmp_path):
    assert command(*small, "--quiet", "--output-dir", tmp_path / "out") == (0, "", "")
    assert len(read_costs(tmp_path / "out")) == 5


def test_help_and_usage_errors_do_not_wait_for_what_they_do_not_need():
    program = textwrap.dedent("""
        import sys
        from dae.train import main
        try:
            main(sys.argv[1:])
        except SystemExit as end:
            heavy = {"numpy", "pytensor", "matplotlib", "PIL", "tqdm"} & set(sys.modules)
            sys.exit(end.code if not heavy else f"imported: {heavy}")
        """)
    for options, status in (["--help"], 0), (["--version"], 0), (["--seed=-1"], 2):
        process = popen_anew(*options, program=program)
        stdout, stderr = process.communicate()
        assert (process.returncode, bool(stdout), stderr.count("\n")) == (
            status, status == 0, status // 2,
        )  # fmt: skip


def test_help_shows_every_default(command):
    status, stdout, _stderr = command("--help")
    assert status == 0
    text = " ".join(stdout.split())
    for default in ("mini-mnist", "0.3", "100", "0.1", "200", "20", "123", "float64", "10"):
        assert f"(default: {default})" in text
    assert command("--version") == (0, f"dae {dae.__version__}\n", "")


# How it refuses


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--n-hid=3"], "unrecognized arguments: --n-hid=3"),
        (["mini-mnist"], "unrecognized arguments: mini-mnist"),
        (["--seed"], "--seed: expected one argument"),
        (["--training-epochs=-1"], "--training-epochs: '-1' is not a whole number above 0"),
        (["--training-epochs", "-1"], "--training-epochs: '-1' is not a whole number above 0"),
        (["--training-epochs=1.5"], "'1.5' is not a whole number above 0"),
        (["--n-hidden=0"], "--n-hidden: '0' is not a whole number above 0"),
        (["--n-hidden=99999999999999999999"], "--n-hidden: '99999999999999999999' is not"),
        (["--batch-size=0"], "--batch-size: '0' is not a whole number above 0"),
        (["--corruption-level=1.5"], "--corruption-level is 1.5; expected a number from 0 to 1"),
        (["--corruption-level=-1"], "--corruption-level: '-1' is not a number from 0 to 1"),
        (["--standardize"], "--cost is cross-entropy; expected squared-error, since"),
        (["--validation-fraction=1"], "--validation-fraction: '1' is not a number between 0 and 1"),
        (
            ["--validation-fraction=0.001"],
            "a validation fraction of 0.001 of 60 images is 0; expec",
        ),
        (["--patience=3"], "--patience is 3, but {data} has no validation images to judge by"),
        (["--threads=0"], "--threads: '0' is not a whole number above 0"),
        (["--corruption-level=-0.1"], "'-0.1' is not a number from 0 to 1"),
        (["--corruption-level=nan"], "'nan' is not a number from 0 to 1"),
        (["--learning-rate=0"], "--learning-rate: '0' is not a number above 0"),
        (["--learning-rate=inf"], "'inf' is not a number above 0"),
        (["--seed=-1"], "--seed: '-1' is not a whole number from 0 to 2**32 - 1"),
        (["--seed=4294967296"], "'4294967296' is not a whole number from 0 to 2**32 - 1"),
        (["--floatX=float16"], "argument --floatX: invalid choice: 'float16'"),
        (["--image-shape=28"], "--image-shape: '28' is not HEIGHTxWIDTH in pixels"),
        (["--image-shape=0x28"], "--image-shape: '0x28' is not HEIGHTxWIDTH in pixels"),
        (["--report-every=0"], "--report-every: '0' is not a whole number above 0"),
        (["--checkpoint-every=0"], "--checkpoint-every: '0' is not a whole number above 0"),
        (["--resume=a", "--output-dir=b"], "--output-dir: not allowed with argument --resume"),
        (["--seed=two\nlines"], r"'two\nlines' is not a whole number"),
        (["two\nlines"], "unrecognized arguments: two lines"),
        (["--batch-size=61"], "data.npy has 60 training images; expected 60 at the most"),
        (["--data={folder}/none.npz"], "none.npz: no such file or folder; expected mini-mnist"),
        (["--data={folder}/truncated.npy"], "truncated.npy: declares more data"),
        (["--data={folder}/text.txt"], "text.txt: unknown kind of file"),
        (["--image-shape=3x5"], "images of 16 pixels do not have the shape"),
        (["--output-dir={folder}"], "is not empty; give a new or an empty directory"),
        (["--output-dir={folder}/text.txt"], "text.txt: Not a directory"),
        (["--output-dir={folder}/text.txt/x"], "text.txt is not a directory, or read-only"),
        (["--output-dir=/proc/none"], "cannot write to /proc/none"),
        (["--output-dir={folder}/" + 300 * "x"], "File name too long"),
        (["--resume={folder}/none"], "none holds no run to go on with: it has no checkpoint.npz"),
        (["--resume={folder}"], "holds no run to go on with: it has no checkpoint.npz"),
    ],
)
def test_wrong_usage_is_told_in_one_line_before_anything_is_done(
    command, small, data, tmp_path, options, words
):
    (tmp_path / "truncated.npy").write_bytes(data.read_bytes()[:-1])
    (tmp_path / "text.txt").write_text("no data")
    before = sorted(tmp_path.rglob("*"))
    where = [] if "--output-dir" in options[-1] or "--resume" in options[0] else ["--output-dir"]
    where += [tmp_path / "out"] if where else []
    options = [option.format(folder=tmp_path) for option in options]
    status, stdout, stderr = command(*small, *where, *options)
    assert words.format(data=data) in stderr
    assert stderr.startswith("dae-train: ")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_more_hidden_units_than_memory_holds(command, tmp_path):
    np.save(tmp_path / "wide.npy", np.tile(np.uint8([0, 255]), (20, 10**6 // 2)))
    status, stdout, stderr = command(
        "--data", tmp_path / "wide.npy", "--n-hidden=2000000000", "--output-dir", tmp_path / "out"
    )
    assert (status, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("dae-train: not enough memory: Unable to allocate")
    assert not (tmp_path / "out").exists()


def test_a_cost_that_is_not_finite_ends_the_run_and_keeps_the_good_checkpoint(
    command, small, tmp_path
):
    out = tmp_path / "out"
    options = ["--corruption-level=0", "--floatX=float32", "--learning-rate=1e37"]
    status, _stdout, stderr = command(
        *small, *options, "--training-epochs=100", "--checkpoint-every=1", "--output-dir", out
    )
    assert status == 1
    words = "dae-train: the cost is inf at epoch (.*), minibatch .; try a smaller learning rate\n"
    n_epochs = int(re.fullmatch(words, stderr)[1])
    assert 0 < n_epochs == len(read_costs(out))
    assert command("--resume", out)[::2] == (status, stderr)


# How it ends, and goes on


def stop_at(monkeypatch, n_minibatches, stop):
    """Let `stop` be called before so many minibatches, counted over all that follow."""
    compile_step = fitting.compile_step

    def compile_that_stops(*args):
        train_da, updated = compile_step(*args)
        counter = iter(range(n_minibatches))

        def train_da_that_stops(*minibatch):
            if next(counter, None) is None:
                monkeypatch.setattr(fitting, "compile_step", compile_step)
                stop()
            return train_da(*minibatch)

        return train_da_that_stops, updated

    monkeypatch.setattr(fitting, "compile_step", compile_that_stops)


class CrashError(Exception):
    pass


def crash():
    raise CrashError


@pytest.mark.parametrize("floatX", ["float64", "float32"])
@pytest.mark.parametrize("level", [0, 0.3])
def test_a_run_in_parts_gives_the_same_bits_as_one_in_one_go(
    command, small, tmp_path, monkeypatch, level, floatX
):
    monkeypatch.setattr(_train_and_save, "save_results", lambda *args: None)
    options = [*small, f"--corruption-level={level}", f"--floatX={floatX}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command(*options, "--output-dir", whole)[0] == 0

    # An epoch has five minibatches.
    stop_at(monkeypatch, 7, lambda: signal.raise_signal(signal.SIGINT))
    status, _stdout, stderr = command(*options, "--training-epochs=4", "--output-dir", parts)
    assert status == 130
    assert "stopped by SIGINT at epoch 1, minibatch 3; go on with: " in stderr
    stop_at(monkeypatch, 6, crash)
    monkeypatch.setattr(run_directory, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(CrashError):
        command("--resume", parts)
    status, stdout, _stderr = command("--resume", parts)
    assert status == 0
    assert "going on at epoch 2, minibatch 4\n" in stdout
    assert len(read_costs(parts)) == 4
    assert command("--resume", parts, "--training-epochs=5")[0] == 0

    assert (whole / "model.npz").read_bytes() == (parts / "model.npz").read_bytes()
    assert read_costs(whole) == read_costs(parts)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_saves_and_says_how_to_go_on(popen, small, tmp_path, number, status):
    process = popen(*small, ENDLESS, "--report-every=1", f"--output-dir={tmp_path / 'a run'}")
    with process:
        read_until(process, "Training epoch 3, ")
        process.send_signal(number)
        _stdout, stderr = process.communicate()
    assert process.returncode == status
    found = re.fullmatch(
        rf"dae-train: stopped by {number.name} at epoch (\d+), minibatch \d; go on with: (.*)\n",
        stderr,
    )
    n_epochs = int(found[1]) + 1
    assert n_epochs > 3
    assert len(read_costs(tmp_path / "a run")) == n_epochs - 1
    again = subprocess.run(
        [*shlex.split(found[2]), f"--training-epochs={n_epochs}"],
        env=ENVIRONMENT, capture_output=True, check=True,
    )  # fmt: skip
    assert again.stderr == b""
    assert len(read_costs(tmp_path / "a run")) == n_epochs


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
@pytest.mark.parametrize("where", ["in a step", "in compile"])
def test_a_signal_in_compiling_and_a_second_one_in_a_step_end_at_once(
    popen, small, tmp_path, number, status, where
):
    with popen(where, *small, f"--output-dir={tmp_path / 'out'}", program=ASLEEP) as process:
        read_until(process, "asleep")
        process.send_signal(number)
        if where == "in a step":
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(number)
        _stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert stderr.startswith(f"dae-train: stopped by {number.name}; go on with: ")
    assert stderr.count("\n") == 1


def test_a_signal_that_the_caller_ignores_is_ignored(popen, small, tmp_path):
    options = ["in a step", *small, f"--output-dir={tmp_path / 'out'}"]
    with popen(*options, program=ASLEEP, ignored=[signal.SIGINT]) as process:
        read_until(process, "asleep")
        for _ in range(3):
            process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()


def test_two_runs_at_once_in_a_directory(command, popen, small, tmp_path):
    out = tmp_path / "out"
    with popen("in a step", *small, f"--output-dir={out}", program=ASLEEP) as process:
        read_until(process, "asleep")
        status, stdout, stderr = command("--resume", out)
        assert (status, stdout) == (2, "")
        assert stderr == f"dae-train: {out} is in use by another process\n"
        status, stdout, stderr = command(*small, "--output-dir", out)
        assert (status, stdout) == (2, "")
        assert "is not empty" in stderr
        process.kill()
    assert command("--resume", out)[::2] == (0, "")
    assert command(*small, "--output-dir", tmp_path / "whole")[::2] == (0, "")
    model, whole = out / "model.npz", tmp_path / "whole" / "model.npz"
    assert model.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_costs_removed_from_under_a_run_let_nobody_in_and_are_not_lost(
    command, popen, small, tmp_path, change
):
    out, whole = tmp_path / "out", tmp_path / "whole"
    process = popen(*small, ENDLESS, "--report-every=1", f"--output-dir={out}")
    with process:
        read_until(process, "Training epoch 2, ")
        if change == "removed":
            (out / "costs.csv").unlink()
        else:  # as editors do
            (tmp_path / "costs.csv~").write_text("epoch,cost,seconds\n")
            (tmp_path / "costs.csv~").replace(out / "costs.csv")
        status, stdout, stderr = command("--resume", out)
        assert (status, stdout) == (2, "")
        assert stderr == f"dae-train: {out} is in use by another process\n"
        read_until(process, "Training epoch ")
        process.send_signal(signal.SIGINT)
        _stdout, stderr = process.communicate()
    assert process.returncode == 130
    n_epochs = int(re.match("dae-train: stopped by SIGINT at epoch ([0-9]+), ", stderr)[1]) + 1
    assert len(read_costs(out)) == n_epochs - 1
    epochs = f"--training-epochs={n_epochs}"
    assert command("--resume", out, epochs)[::2] == (0, "")
    assert command(*small, epochs, "--output-dir", whole)[::2] == (0, "")
    assert read_costs(out) == read_costs(whole)
    assert (out / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()


def test_a_run_on_a_disk_that_cannot_be_written_to_is_refused(
    forks_with_disks, mount, small, tmp_path
):
    def train(*options):
        return forks_with_disks.run(*options, module="dae.train")

    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "none", disk)
    assert train(*small, "--quiet", "--output-dir", disk / "run") == (0, "", "")
    mount("-o", "remount,ro", disk)
    status, _stdout, stderr = train("--resume", disk / "run")
    assert (status, stderr.count("\n")) == (2, 1)
    assert stderr.startswith(f"dae-train: cannot lock {disk}/run/run.lock: Read-only file system;")
    status, _stdout, stderr = train(*small, "--quiet", "--output-dir", disk / "new")
    assert (status, stderr.count("\n")) == (2, 1)
    assert stderr.startswith(f"dae-train: cannot write to {disk}/new: ")


def test_a_run_killed_at_fifty_random_moments_ends_with_the_same_bytes(data, tmp_path):
    program = Path(__file__).with_name("killed_runs.py")
    process = subprocess.run(
        [sys.executable, "-W", "error", program, tmp_path, data, "50"],
        env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert int(process.stdout) > 0  # the kills that came while a file was being written
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert (killed / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()
    assert read_costs(killed) == read_costs(whole)
    assert sorted(os.listdir(killed)) == sorted(os.listdir(whole))


def test_settings_that_would_change_the_result_are_refused(command, small, data, tmp_path):
    out = tmp_path / "out"
    assert command(*small, "--output-dir", out)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = tmp_path / "other.npy"
    np.save(other, np.load(data)[::-1])
    for options, words in [
        (["--seed=5", "--n-hidden=4"], "n_hidden is 4, was 3; seed is 5, was 123"),
        (["--corruption-level=0"], "corruption_level is 0.0, was 0.3"),
        (["--learning-rate=0.2"], "learning_rate is 0.2, was 0.1"),
        (["--batch-size=10"], "batch_size is 10, was 12"),
        (["--image-shape=2x8"], "image_shape is [2, 8], was [4, 4]"),
        (["--floatX=float32"], "floatX is float32, was float64"),
        (["--training-epochs=4"], "training_epochs is 4, 5 are begun"),
        ([f"--data={other}"], "data_sha256 is "),
    ]:
        status, stdout, stderr = command("--resume", out, *options)
        assert (status, stdout, stderr.count("\n")) == (2, "", 1)
        assert f"cannot go on with {out}: " in stderr
        assert words in stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_does_not_change_the_result_may_change(command, small, data, tmp_path):
    out = tmp_path / "out"
    assert command(*small, "--output-dir", out)[0] == 0
    model = (out / "model.npz").read_bytes()
    moved = data.rename(tmp_path / "moved.npy")
    status, stdout, stderr = command("--resume", out, "--data", moved, "--seed=123")
    assert (status, stderr) == (0, "")
    assert "going on at epoch 5, minibatch 0" in stdout
    assert "Training epoch" not in stdout
    assert (out / "model.npz").read_bytes() == model
    assert command("--resume", out)[0] == 0  # where the data are now has been noted


def test_a_run_that_python_began_goes_on(command, data, tmp_path):
    config = Config(data=str(data), n_hidden=3, batch_size=12, training_epochs=2)
    with Run(tmp_path / "out") as run:
        fit(config, np.load(data), run=run)
    status, stdout, stderr = command("--resume", tmp_path / "out", "--training-epochs=5")
    assert (status, stderr) == (0, "")
    assert "going on at epoch 2, minibatch 0" in stdout
    model, history = fit(replace(config, training_epochs=5), np.load(data))
    assert read_costs(tmp_path / "out") == [repr(epoch.cost) for epoch in history]
    assert_array_equal(read_model(tmp_path / "out")["W"], model.W.get_value())
    assert (tmp_path / "out" / "filters.png").exists()


def test_a_run_of_another_model_is_refused(command, data, tmp_path):
    class Mean:
        """Learns the mean of its inputs."""

        def __init__(self):
            self.x = pytensor.tensor.matrix()
            self.params = [pytensor.shared(np.zeros(16), name="mean")]

        def get_cost_updates(self, learning_rate):
            [mean] = self.params
            cost = ((self.x - mean) ** 2).mean()
            return cost, {mean: mean - learning_rate * pytensor.grad(cost, mean)}

    out = tmp_path / "out"
    with Run(out) as run:
        fit(Config(data=str(data), training_epochs=2), np.load(data), model=Mean(), run=run)
    status, _stdout, stderr = command("--resume", out, "--training-epochs=5")
    assert (status, stderr.count("\n")) == (2, 1)
    assert stderr.startswith(f"dae-train: cannot go on with {out}/checkpoint.npz: it holds mean fl")


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(command, small, tmp_path):
    out = tmp_path / "out"
    assert command(*small, "--checkpoint-every=2", "--output-dir", out)[0] == 0
    model = (out / "model.npz").read_bytes()
    (out / "checkpoint.npz").write_bytes(model)
    status, stdout, stderr = command("--resume", out)
    assert status == 0
    assert stderr == (
        f"dae-train: {out}/checkpoint.npz: damaged, or not a checkpoint: its checksum is wrong; "
        "going on from the checkpoint before it\n"
    )
    assert "going on at epoch 4, minibatch 0" in stdout
    assert (out / "model.npz").read_bytes() == model


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(forks_with_disks, mount, small, tmp_path):
    """A disk of 20 KB fills up in training, one of 64 KB when the pictures are drawn."""

    def train(*options):
        return forks_with_disks.run(*options, module="dae.train")

    disk, out, whole = (tmp_path / name for name in ("disk", "out", "whole"))
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=20k", "none", disk)
    advice = re.escape(f"{shlex.join([*COMMAND[:1], *COMMAND[3:]])} --resume {disk}/run")
    full = f"No space left on device; go on with: {advice}\n"
    start = [*small, "--quiet", "--checkpoint-every=1", "--output-dir", disk / "run"]
    status, _stdout, stderr = train(*start)
    assert status == 1
    assert re.fullmatch(f"dae-train: {disk}/run/checkpoint.npz: {full}", stderr)
    mount("-o", "remount,size=64k", disk)
    status, _stdout, stderr = train("--resume", disk / "run")
    assert status == 1
    assert re.fullmatch(f"dae-train: {disk}/run/[a-z]+.png: {full}", stderr)
    mount("-o", "remount,size=1m", disk)
    status, _stdout, stderr = train("--resume", disk / "run")
    assert (status, stderr) == (0, "")
    copy = "import shutil, sys; shutil.copytree(*sys.argv[1:])"
    assert forks_with_disks.run(disk / "run", out, program=copy)[0] == 0
    assert train(*small, "--quiet", "--output-dir", whole)[0] == 0
    assert (out / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()
    assert read_costs(out) == read_costs(whole)
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))


def test_a_closed_pipe_saves_and_ends(command, small, tmp_path):
    out = tmp_path / "out"
    process = popen_anew(*small, ENDLESS, "--report-every=1", f"--output-dir={out}")
    with process:
        read_until(process, "Training epoch 2, ")
        process.stdout.close()
        stderr = process.stderr.read()
    assert process.returncode == 1
    assert re.fullmatch(
        "dae-train: stopped, because standard output failed: Broken pipe at epoch .*, "
        "minibatch 0; go on with: .*\n",
        stderr,
    )
    assert command("--resume", out, f"--training-epochs={len(read_costs(out))}")[0] == 0


def test_a_full_disk_behind_stdout_saves_and_ends(small, tmp_path):
    with open("/dev/full", "w") as full:
        process = popen_anew(*small, f"--output-dir={tmp_path / 'out'}", stdout=full)
        _stdout, stderr = process.communicate()
        assert process.returncode == 1
        assert stderr.startswith("dae-train: stopped, because standard output failed: No space")
        assert stderr.count("\n") == 1
        process = popen_anew("--help", stdout=full)
        assert process.communicate() == (None, "")


# What a terminal shows


def output_on_a_terminal(popen, options, **settings):
    """Run the command on a terminal; give all that it wrote there, and the rest."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 80))
    process = popen(*options, **{"stdout": theirs, "stderr": theirs} | settings)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while block := os.read(ours, 10_000):
            written += block
    os.close(ours)
    with process:
        stdout, _stderr = process.communicate()
    assert process.returncode == 0
    return written.decode(), stdout


def test_a_bar_is_shown_on_a_terminal_and_tears_no_line(popen, small, tmp_path):
    options = [*small, "--report-every=1", "--training-epochs=300"]
    written, _stdout = output_on_a_terminal(popen, [*options, f"--output-dir={tmp_path / 'out'}"])
    lines = [line.rstrip("\r").split("\r")[-1].rstrip() for line in written.split("\n")]
    reports = [
        f"Training epoch {i}, cost {float(cost):f}"
        for i, cost in enumerate(read_costs(tmp_path / "out"))
    ]
    assert [line for line in lines if line.startswith("Training")] == reports
    assert re.search(r"100%\|█+\| 300/300 \[\d\d:\d\d<\d\d:\d\d, .*epoch/s, cost \d+", written)


def test_a_bar_on_stderr_leaves_a_piped_stdout_alone(popen, small, tmp_path):
    options = [*small, f"--output-dir={tmp_path / 'out'}"]
    written, stdout = output_on_a_terminal(popen, options, stdout=None)
    assert "100%|" in written
    assert set(stdout) - {"\n"} == set(filter(str.isprintable, stdout))
    assert "Training epoch 0, cost " in stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_quiet_shows_no_bar(command, small, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert command(*small, "--quiet", "--output-dir", tmp_path / "out")[:2] == (0, "")
    assert sys.stderr.getvalue() == ""


def test_a_bar_is_shown_while_data_is_downloaded(command, tmp_path, monkeypatch):
    images = RandomState(1).randint(256, size=(60, 4, 4)).astype("uint8")
    header = bytes([0, 0, 8, 3, *(side for n in images.shape for side in (0, 0, 0, n))])
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 60]) + bytes(60)
    contents = [header + images.tobytes(), labels] * 2
    files = [
        _downloads.PackedFile(file.name, *2 * (len(content), hashlib.sha256(content).hexdigest()))
        for file, content in zip(_downloads.MNIST, contents, strict=True)
    ]
    served = {f"/{file.name}": content for file, content in zip(files, contents, strict=True)}

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.2)  # a bar is not shown for what is there at once
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served[self.path])

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(_downloads, "MNIST", files)
        monkeypatch.setattr(_downloads, "MIRRORS", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(sys, "stderr", Terminal())
        status, _stdout, _stderr = command(
            "--data=mnist", "--cache-dir", tmp_path / "cache", "--batch-size=10", "--n-hidden=2",
            "--training-epochs=1", "--output-dir", tmp_path / "out",
        )  # fmt: skip
        server.shutdown()
        thread.join()
    assert status == 0
    for file in files:
        assert re.search(rf"100%[^\r]*B/s, {file.name}", sys.stderr.getvalue())


# What it holds in memory


@pytest.mark.parametrize(
    ("name", "dtype", "copies"),
    [("data.npz", "uint8", 1), ("data.npz", "float32", 4), ("data.npy", "uint8", 0),
     ("data.npy", "float64", 0)],
)  # fmt: skip
def test_the_training_data_is_held_once_or_stays_in_its_file(
    command, tmp_path, monkeypatch, name, dtype, copies
):
    class EnoughError(Exception):
        pass

    def stop(*args):
        held.append(tracemalloc.get_traced_memory())
        raise EnoughError

    monkeypatch.setattr(fitting, "compile_step", stop)
    x = RandomState(1).randint(256, size=(20_000, 400)).astype("uint8")
    pixels = x if dtype == "uint8" else (x / 256).astype(dtype)
    with (tmp_path / name).open("wb") as file:
        np.save(file, pixels) if name == "data.npy" else np.savez(file, train_x=pixels)
    held = []
    tracemalloc.start()
    try:
        with pytest.raises(EnoughError):
            command(
                f"--data={tmp_path / name}", "--floatX=float32", "--n-hidden=2", "--output-dir",
                tmp_path / "out",
            )  # fmt: skip
    finally:
        tracemalloc.stop()
    now, peak = held.pop()
    assert now < (copies + 0.5) * x.size
    assert peak < (copies + 1) * x.size


@pytest.mark.parametrize("cost", [[], ["--cost=squared-error", "--standardize"]])
def test_a_run_that_is_judged_goes_on_with_the_same_costs(command, tmp_path, cost):
    options = [*cost, "--learning-rate=0.001", "--n-hidden=3", "--validate-every=1", "--no-report"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for arguments in (
        [*options, "--training-epochs=3", "--output-dir", whole],
        [*options, "--training-epochs=2", "--output-dir", parts],
        ["--training-epochs=3", "--no-report", "--resume", parts],
    ):
        status, _, stderr = command(*arguments)
        assert (status, stderr) == (0, "")
    rows = [
        [row.split(",")[:2] + row.split(",")[3:] for row in path.read_text().splitlines()]
        for path in (whole / "costs.csv", parts / "costs.csv")
    ]
    assert rows[0] == rows[1]
    assert rows[0][0][2:] == ["validation_loss", "validation_loss_per_pixel", "mean_image", "pca"]
    assert all(float(value) > 0 for row in rows[0][1:] for value in row[1:])
