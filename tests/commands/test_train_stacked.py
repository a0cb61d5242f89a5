"""The command `train_stacked`: two phases, one run that goes on to the same bytes."""

import json
import os
import random
import re
import shlex
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from test_train import CrashError, crash, stop_at
from test_train_logistic import write_labelled

from dae import StackConfig
from dae.commands import _train_classifier
from dae.train import main as train
from dae.train_stacked import main
from dae.training import run_directory

SETTINGS = [
    "--hidden-layers-sizes", "6", "5", "--batch-size=12", "--pretraining-epochs=2",
    "--training-epochs=3", "--learning-rate=0.5",
]  # fmt: skip
"""Five minibatches an epoch; 10 in each layer, then 15."""


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
def data(tmp_path):
    return write_labelled(tmp_path / "data.npz")


@pytest.fixture
def small(data):
    return [f"--data={data}", *SETTINGS]


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*model.npz")
    }


FILES = {"model.npz", "best_model.npz", "layer_1/model.npz", "layer_2/model.npz"}


def test_both_phases_are_shown_and_kept(command, small, data, tmp_path):
    out = tmp_path / "out"
    status, stdout, stderr = command(
        *small, "--corruption-levels", "0.2", "0.4", "--output-dir", out
    )
    assert (status, stderr) == (0, "")
    lines = [re.sub(r"\d+\.\d{6}|\d+\.\ds|\d+s$", "#", line) for line in stdout.splitlines()]
    assert [line for line in lines if "PyTensor" not in line] == [
        "layer 1: DenoisingAutoencoder with 16 visible and 6 hidden units, corruption level 0.2, "
        "learning rate 0.3",
        f"{data}: 60 images, 5 minibatches of 12, 2 epochs",
        "compiling ...",
        "compiled in #",
        "Pre-training layer 1, epoch 0, cost #",
        "Pre-training layer 1, epoch 1, cost #",
        "layer 2: DenoisingAutoencoder with 6 visible and 5 hidden units, corruption level 0.4, "
        "learning rate 0.3",
        f"{data}: 60 images, 5 minibatches of 12, 2 epochs",
        "compiling ...",
        "compiled in #",
        "Pre-training layer 2, epoch 0, cost #",
        "Pre-training layer 2, epoch 1, cost #",
        "StackedDenoisingAutoencoder with 16 inputs and 6, 5, 3 units, learning rate 0.5",
        f"{data}: 60 images of 4x4, 5 minibatches of 12, at most 3 epochs",
        "compiling ...",
        "compiled in #",
        *[f"Training epoch {i}, cost #, validation error # %" for i in range(3)],
        "best validation error # %, with test error # %",
        "epochs: 3",
        "time: #",
        f"results: {out}",
    ]
    assert files(out).keys() == FILES
    with Image.open(out / "filters.png") as picture:
        picture.load()
    header, *rows = (out / "costs.csv").read_text().splitlines()
    assert (header, len(rows)) == ("epoch,cost,seconds,validation_loss", 3)
    with np.load(out / "best_model.npz") as model:
        names = ["W", "b", "W_1", "b_1", "W_2", "b_2"]
        assert [model[name].shape for name in names] == [(16, 6), (6,), (6, 5), (5,), (5, 3), (3,)]


def test_the_defaults_err_a_quarter_less_than_logistic_regression_on_mini_mnist(command, tmp_path):
    status, stdout, stderr = command("--output-dir", tmp_path / "out")
    assert (status, stderr) == (0, "")
    [error] = re.findall("with test error (.*) %", stdout)
    assert float(error) < 0.75 * 11.041667  # what dae-train-logistic --batch-size=60 ends with


def test_without_pretraining(command, small, tmp_path):
    out = tmp_path / "out"
    small.remove("--pretraining-epochs=2")
    status, stdout, stderr = command(*small, "--no-pretraining", "--quiet", "--output-dir", out)
    assert (status, stdout, stderr) == (0, "", "")
    assert files(out).keys() == {"model.npz", "best_model.npz"}
    assert json.loads((out / "config.json").read_text())["pretraining_epochs"] == 0


def test_the_tutorials_settings_are_there_where_no_option_says_otherwise(
    command,
    data,
    tmp_path,
    monkeypatch,
):
    class EnoughError(Exception):
        pass

    def stop(config, *sizes):
        configs.append(config)
        raise EnoughError

    configs = []
    monkeypatch.setattr(_train_classifier, "_build_stack", stop)
    for options, changes in [
        ([], {}),
        (["--training-epochs=1", "--seed=5"], {"training_epochs": 1, "seed": 5}),
        (["--no-pretraining"], {"pretraining_epochs": 0}),
    ]:
        with pytest.raises(EnoughError):
            command(f"--data={data}", "--tutorial", *options, "--output-dir", tmp_path / "out")
        settings = {"data": str(data), "image_shape": [4, 4], **StackConfig.TUTORIAL, **changes}
        assert configs.pop() == StackConfig(**settings)


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_a_run_in_parts_ends_with_the_same_bytes(command, small, tmp_path, monkeypatch, floatX):
    options = [*small, f"--floatX={floatX}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, stdout, _ = command(*options, "--output-dir", whole)

    def interrupt():
        signal.raise_signal(signal.SIGINT)

    stop_at(monkeypatch, 7, interrupt)
    status, _, stderr = command(*options, "--output-dir", parts)
    assert status == 130
    assert f"stopped by SIGINT at epoch 1, minibatch 3; go on with: {sys.executable} " in stderr
    assert stderr.endswith(f" -m dae.train_stacked --resume {parts}\n")

    monkeypatch.setattr(run_directory, "CHECKPOINT_SECONDS", 0)
    stop_at(monkeypatch, 1, crash)
    with pytest.raises(CrashError):
        command("--resume", parts)
    for n_minibatches, place in [
        (0, "epoch 0, minibatch 0"),  # with the last one of layer 1: layer 2 has not begun
        (3, "epoch 0, minibatch 4"),
        (8, "epoch 1, minibatch 4"),  # that was all of layer 2, and 9 of both together
    ]:
        stop_at(monkeypatch, n_minibatches, interrupt)
        status, _, stderr = command("--resume", parts)
        assert status == 130
        assert f"stopped by SIGINT at {place}; go on with: " in stderr
    stop_at(monkeypatch, 2, crash)
    with pytest.raises(CrashError):
        command("--resume", parts)
    for _ in range(2):
        status, rest, stderr = command("--resume", parts)
        assert (status, stderr) == (0, "")
        assert rest.splitlines()[-4:-2] == stdout.splitlines()[-4:-2]
        assert files(parts) == files(whole)
        assert files(parts).keys() == FILES


def test_a_run_killed_in_every_phase_ends_with_the_same_bytes(forks, data, tmp_path):
    moments = random.Random(1)
    settings = [
        f"--data={data}", "--hidden-layers-sizes", "6", "5", "--batch-size=12", "--seed=1",
        "--pretraining-epochs=400", "--training-epochs=800", "--patience=400",
    ]  # fmt: skip
    output = ["--checkpoint-every=1", "--report-every=1"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for phase in ("Pre-training layer 1", "Pre-training layer 2", "Training"):
        for _ in range(2):
            where = (
                [f"--resume={killed}"] if killed.exists() else [*settings, f"--output-dir={killed}"]
            )
            with forks.popen(*where, *output, module="dae.train_stacked") as process:
                n_left = moments.randint(1, 60)
                for line in process.stdout:
                    n_left -= line.startswith(phase)
                    if n_left == 0:
                        process.kill()
                        break
            assert process.returncode == -signal.SIGKILL
    assert not (killed / "model.npz").exists()
    for where in ([f"--resume={killed}"], [*settings, f"--output-dir={whole}"]):
        assert forks.run(*where, "--quiet", module="dae.train_stacked") == (0, "", "")
    assert files(killed) == files(whole)
    assert files(killed).keys() == FILES
    assert sorted(os.listdir(killed)) == sorted(os.listdir(whole))


def test_a_damaged_checkpoint_of_a_layer_is_told_and_the_one_before_is_used(
    command, small, tmp_path, monkeypatch
):
    stop_at(monkeypatch, 7, lambda: signal.raise_signal(signal.SIGINT))
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert command(*small, "--checkpoint-every=1", "--output-dir", out)[0] == 130
    damaged = out / "layer_1" / "checkpoint.npz"
    damaged.write_bytes(b"damaged")
    status, _, stderr = command("--resume", out)
    assert (status, stderr) == (
        0,
        f"dae-train-stacked: {damaged}: damaged, or not a checkpoint: its checksum is wrong; "
        "going on from the checkpoint before it\n",
    )
    command(*small, "--output-dir", whole)
    assert files(out) == files(whole)


def test_settings_that_would_change_the_result_are_refused(command, small, tmp_path):
    out = tmp_path / "out"
    assert command(*small, "--output-dir", out)[0] == 0
    before = files(out)
    for options, words in [
        (["--hidden-layers-sizes", "6"], "hidden_layers_sizes is [6], was [6, 5]"),
        (["--no-pretraining"], "pretraining_epochs is 0, was 2"),
        (["--corruption-levels", "0.1", "0.2"], "corruption_levels is [0.1, 0.2], was ["),
        (["--pretraining-learning-rate=1"], "pretraining_learning_rate is 1.0, was 0."),
        (["--patience=3"], "patience is 3, was 10"),
        (["--training-epochs=2"], "training_epochs is 2, 3 are begun"),
    ]:
        status, stdout, stderr = command("--resume", out, *options)
        assert (status, stdout, stderr.count("\n")) == (2, "", 1)
        assert f"cannot go on with {out}: " in stderr
        assert words in stderr
    assert files(out) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden-layers-sizes", "0"], "--hidden-layers-sizes: '0' is not a whole number above"),
        (["--hidden-layers-sizes"], "--hidden-layers-sizes: expected at least one argument"),
        (["--corruption-levels", "2"], "--corruption-levels: '2' is not a number from 0 to 1"),
        (
            ["--corruption-levels", "0.1", "0.2", "0.3"],
            "--corruption-levels is [0.1, 0.2, 0.3]; expected one number, or one for each of th",
        ),
        (["--no-pretraining"], "--no-pretraining: not allowed with argument --pretraining-epochs"),
        (["--pretraining-epochs=0"], "--pretraining-epochs: '0' is not a whole number above 0"),
        (["--patience=0"], "--patience: '0' is not a whole number above 0"),
        (["--batch-size=26"], "has 25 validation images; expected 25 at the most"),
    ],
)
def test_wrong_usage_is_told_in_one_line_before_anything_is_done(
    command, small, tmp_path, options, words
):
    out = tmp_path / "out"
    status, stdout, stderr = command(*small, *options, f"--output-dir={out}")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith("dae-train-stacked: ")
    assert words in stderr
    assert not out.exists()


def test_a_layer_is_the_stacks_to_go_on_with(command, small, tmp_path, capfd):
    out = tmp_path / "a stack"
    assert command(*small, "--output-dir", out)[0] == 0
    for resume, prog in [(main, "dae-train-stacked"), (train, "dae-train")]:
        assert resume(["--resume", str(out / "layer_1")]) == 2
        assert capfd.readouterr().err == (
            f"{prog}: {out}/layer_1 holds a run of another command; go on with: "
            f"python -m dae.train_stacked --resume {shlex.quote(str(out))}\n"
        )


def test_help_shows_every_default(command):
    status, stdout, _stderr = command("--help")
    assert status == 0
    text = " ".join(stdout.split())
    config = StackConfig()
    for name in ("corruption_levels", "hidden_layers_sizes"):
        assert f"(default: {' '.join(map(str, getattr(config, name)))})" in text
    for name in (
        "data", "pretraining_epochs", "pretraining_learning_rate", "learning_rate",
        "training_epochs", "batch_size", "patience", "seed", "floatX",
    ):  # fmt: skip
        assert f"(default: {getattr(config, name)})" in text
