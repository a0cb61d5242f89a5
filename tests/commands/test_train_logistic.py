"""The command `train_logistic`: the tutorial's training, and what is particular to a classifier."""

import re
import signal

import numpy as np
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose
from PIL import Image
from test_train import stop_at

from dae import datasets, load_model
from dae.compare import main as compare
from dae.encode import main as encode
from dae.train import main as train
from dae.train_logistic import main


def write_labelled(path):
    """Write a file of 60, 25 and 31 images of 4x4 pixels in 3 classes; return its path."""
    rng = RandomState(1)
    arrays = {}
    for part, n in (("train", 60), ("valid", 25), ("test", 31)):
        x = rng.randint(256, size=(n, 4, 4)).astype("uint8")
        arrays |= {f"{part}_x": x, f"{part}_y": x[:, 0, :3].argmax(axis=1)}
    np.savez(path, **arrays)
    return path


@pytest.fixture
def data(tmp_path):
    return write_labelled(tmp_path / "data.npz")


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


def tutorial(dataset, batch_size, learning_rate, n_epochs, patience):
    """The whole of the tutorial's ``logistic_sgd`` in NumPy: its errors, and the best W and b."""
    train, valid, test = ((x / 256, y) for x, y in (dataset.train, dataset.valid, dataset.test))
    n_out = train[1].max() + 1
    W, b = np.zeros((train[0].shape[1], n_out)), np.zeros(n_out)

    def minibatches(x, y):
        n_batches = len(x) // batch_size
        return [
            (x[i * batch_size : (i + 1) * batch_size], y[i * batch_size : (i + 1) * batch_size])
            for i in range(n_batches)
        ]

    def error(part):
        return np.mean([np.mean(np.argmax(x @ W + b, axis=1) != y) for x, y in minibatches(*part)])

    batches = minibatches(*train)
    frequency = min(len(batches), patience // 2)
    best_error, test_error, best_params = np.inf, None, None
    errors = []
    for epoch in range(n_epochs):
        for index, (x, y) in enumerate(batches):
            p = np.exp(x @ W + b)
            delta = (p / p.sum(axis=1, keepdims=True) - np.eye(n_out)[y]) / batch_size
            W, b = W - learning_rate * x.T @ delta, b - learning_rate * delta.sum(axis=0)
            iteration = epoch * len(batches) + index
            if (iteration + 1) % frequency == 0:
                this_error = error(valid)
                if this_error < best_error:
                    if this_error < best_error * 0.995:
                        patience = max(patience, iteration * 2)
                    best_error, test_error, best_params = this_error, error(test), (W, b)
            if patience <= iteration:
                if index + 1 == len(batches):
                    errors.append(error(valid))
                return errors, best_error, test_error, epoch + 1, best_params
        errors.append(error(valid))
    return errors, best_error, test_error, n_epochs, best_params


def check(stdout, directory, expected):
    errors, best_error, test_error, n_epochs, (W, b) = expected
    printed = re.findall(r"^Training epoch (\d+), cost .*, validation error (\S+) %$", stdout, re.M)
    assert printed == [(str(i), f"{100 * error:f}") for i, error in enumerate(errors)]
    assert stdout.splitlines()[-4:-2] == [
        f"best validation error {100 * best_error:f} %, with test error {100 * test_error:f} %",
        f"epochs: {n_epochs}",
    ]
    with np.load(directory / "best_model.npz") as best:
        assert_allclose(best["W"], W, rtol=1e-9, atol=1e-12)
        assert_allclose(best["b"], b, rtol=1e-9, atol=1e-12)


def test_it_is_the_tutorials_training_of_mini_mnist(command, tmp_path):
    out = tmp_path / "out"
    status, stdout, stderr = command("--batch-size=60", "--output-dir", out)
    assert (status, stderr) == (0, "")
    assert stdout.splitlines()[:2] == [
        "LogisticRegression with 784 inputs and 10 units, learning rate 0.13",
        "mini-mnist: 5000 images of 28x28, 83 minibatches of 60, at most 1000 epochs",
    ]
    assert "with test error 11.041667 %" in stdout
    expected = tutorial(datasets.read_data(), 60, 0.13, 1000, 5000)
    assert expected[3] < 1000
    check(stdout, out, expected)
    with Image.open(out / "filters.png") as picture:
        picture.load()
        assert min(picture.size) > 28 * 3
    assert (out / "errors.png").exists()


@pytest.mark.parametrize(
    ("batch_size", "rate", "epochs", "patience"),
    [(12, 0.5, 40, 30), (12, 0.5, 7, 5000), (7, 2.0, 60, 5), (25, 1.0, 50, 9)],
)
def test_options_are_heeded(command, data, tmp_path, batch_size, rate, epochs, patience):
    out = tmp_path / "out"
    status, stdout, stderr = command(
        f"--data={data}", f"--batch-size={batch_size}", f"--learning-rate={rate}",
        f"--training-epochs={epochs}", f"--patience={patience}", "--output-dir", out,
    )  # fmt: skip
    assert (status, stderr) == (0, "")
    expected = tutorial(datasets.read_data(data), batch_size, rate, epochs, patience)
    check(stdout, out, expected)


def test_a_run_in_parts_ends_with_the_same_bytes(command, data, tmp_path, monkeypatch):
    options = [f"--data={data}", "--batch-size=12", "--patience=40", "--learning-rate=0.5"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, stdout, _ = command(*options, "--output-dir", whole)
    stop_at(monkeypatch, 7, lambda: signal.raise_signal(signal.SIGINT))
    status, _, stderr = command(*options, "--output-dir", parts)
    assert status == 130
    assert "stopped by SIGINT at epoch 1, minibatch 3; go on with: " in stderr
    assert f"-m dae.train_logistic --resume {parts}\n" in stderr
    status, rest, stderr = command("--resume", parts)
    assert (status, stderr) == (0, "")
    assert rest.splitlines()[-4:-2] == stdout.splitlines()[-4:-2]
    for name in ("model.npz", "best_model.npz"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    again = command("--resume", parts)  # it is over
    assert again[1].splitlines()[-4:-2] == stdout.splitlines()[-4:-2]


def test_data_without_test_images_have_no_test_error(command, data, tmp_path):
    with np.load(data) as archive:
        arrays = {name: array for name, array in archive.items() if "test" not in name}
    np.savez(tmp_path / "two.npz", **arrays)
    status, stdout, stderr = command(
        f"--data={tmp_path / 'two.npz'}", "--batch-size=5", "--training-epochs=2",
        "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert (status, stderr) == (0, "")
    assert re.search(r"^best validation error \d+\.\d{6} %$", stdout, re.M)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data={folder}/unlabelled.npy"], "unlabelled.npy has no training labels; expected im"),
        (["--data={folder}/one.npz"], "one.npz has no validation images; expected images and"),
        (["--batch-size=26"], "--batch-size is 26, but {data} has 25 validation images; expected "),
        (["--batch-size=61"], "--batch-size is 61, but {data} has 60 training images; expected 60"),
        (["--patience=1"], "--patience: '1' is not a whole number of minibatches above 1"),
        (["--corruption-level=0"], "unrecognized arguments: --corruption-level=0"),
        (["--seed=1"], "unrecognized arguments: --seed=1"),
    ],
)
def test_wrong_usage_is_told_in_one_line_before_anything_is_done(
    command, data, tmp_path, options, words
):
    with np.load(data) as archive:
        x, y = archive["train_x"], archive["train_y"]
    np.save(tmp_path / "unlabelled.npy", x)
    np.savez(tmp_path / "one.npz", train_x=x, train_y=y)
    options = [option.format(folder=tmp_path) for option in options]
    status, stdout, stderr = command(
        f"--data={data}", "--batch-size=5", *options, f"--output-dir={tmp_path / 'out'}"
    )
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert stderr.startswith("dae-train-logistic: ")
    assert words.format(data=data) in stderr
    assert not (tmp_path / "out").exists()


def test_runs_of_the_other_commands_are_theirs_to_go_on_with(command, data, tmp_path, capfd):
    train([f"--data={data}", "--n-hidden=2", "--training-epochs=1", f"--output-dir={tmp_path}/da"])
    command(
        f"--data={data}", "--batch-size=5", "--training-epochs=1", f"--output-dir={tmp_path}/lr"
    )
    capfd.readouterr()
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    status, stdout, stderr = command("--resume", tmp_path / "da")
    assert (status, stdout) == (2, "")
    assert stderr == (
        f"dae-train-logistic: {tmp_path}/da holds a run of another command; go on with: "
        f"python -m dae.train --resume {tmp_path}/da\n"
    )
    assert train(["--resume", f"{tmp_path}/lr"]) == 2
    assert capfd.readouterr().err == (
        f"dae-train: {tmp_path}/lr holds a run of another command; go on with: "
        f"python -m dae.train_logistic --resume {tmp_path}/lr\n"
    )
    assert {path: path.read_bytes() for path in tmp_path.glob("*/*")} == before


def test_help_shows_every_default(command):
    status, stdout, _stderr = command("--help")
    assert status == 0
    text = " ".join(stdout.split())
    for default in ("mini-mnist", "0.13", "1000", "600", "5000", "float64", "1"):
        assert f"(default: {default})" in text


def test_a_classifier_is_not_taken_for_an_autoencoder(command, data, tmp_path, capfd):
    out = tmp_path / "lr"
    command(f"--data={data}", "--batch-size=5", "--training-epochs=1", "--output-dir", out)
    assert type(load_model(out)).__name__ == "LogisticRegression"
    capfd.readouterr()
    for other, options, words in [
        (
            encode,
            [out, data, "-o", tmp_path / "x.npy"],
            f"{out} holds a LogisticRegression; expected",
        ),
        (compare, [out, out], f"{out} holds a LogisticRegression; expected runs of dae-train"),
    ]:
        assert other(list(map(str, options))) == 2
        stdout, stderr = capfd.readouterr()
        assert (stdout, stderr.count("\n")) == ("", 1)
        assert words in stderr
