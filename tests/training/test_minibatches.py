"""Data that are not floatX in memory: bytes stay bytes, and rows of a file stay in the file."""

import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_array_equal
from test_fitting import SMALL, At, Momentum, X, assert_same, stop
from test_validation import Classifier

import dae
from dae import DataError, Run, fit
from dae.datasets import FileRows, read_data
from dae.training import _minibatches
from dae.training._minibatches import Minibatches

Y = RandomState(3).randint(3, size=60)
FLOATS = X / 256


def rows_of(folder, x):
    np.save(folder / "data.npy", x)
    rows = read_data(folder / "data.npy", lazy=True).train[0]
    assert isinstance(rows, FileRows)
    return rows


@pytest.fixture(params=[1, 400, 2**20], ids="window of {} bytes".format)
def window(request, monkeypatch):
    """So much of a file is read at once: a minibatch, two of them (of bytes), all of it."""
    monkeypatch.setattr(_minibatches, "WINDOW", request.param)


# Minibatches


def minibatch(minibatches, index, batch_size):
    place = minibatches.find(index)
    rows = slice(place * batch_size, (place + 1) * batch_size)
    return [variable.get_value(borrow=True)[rows] for variable in minibatches.window]


@pytest.mark.parametrize("batch_size", [1, 7, 12, 60])
@pytest.mark.usefixtures("window")
def test_minibatches_are_the_rows_in_their_order(tmp_path, batch_size):
    n_batches = 60 // batch_size
    order = RandomState(4).permutation(60)
    for x in (X, rows_of(tmp_path, X)):
        minibatches = Minibatches(x, Y, batch_size)
        assert len(minibatches) == n_batches
        for numbers in (np.arange(60), order, np.arange(60)):
            minibatches.set_order(None if numbers[0] == 0 else numbers)
            for index in [*range(n_batches), *range(n_batches), n_batches - 1, 0]:
                chosen = numbers[index * batch_size : (index + 1) * batch_size]
                got_x, got_y = minibatch(minibatches, index, batch_size)
                assert_array_equal(got_x, X[chosen])
                assert_array_equal(got_y, Y[chosen])


def test_minibatches_in_memory_are_not_copied():
    minibatches = Minibatches(X, None, 12)
    assert minibatches.find(3) == 3
    assert np.shares_memory(minibatches.window[0].get_value(borrow=True), X)


# The step


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_the_step_divides_bytes_by_256(floatX):
    costs = []
    for data in (X, FLOATS.astype(floatX)):
        with pytensor.config.change_flags(floatX=floatX):
            model = dae.training.fitting.build_model(replace(SMALL, floatX=floatX), 16)
            train_da = dae.compile_train_da(
                model, pytensor.shared(data), batch_size=12, corruption_level=0.3, learning_rate=0.1
            )
        costs.append([float(train_da(index)) for index in range(5)])
    assert costs[0] == costs[1]


class Spy(Momentum):
    """Records what a model sees."""

    def __init__(self):
        super().__init__()
        self.seen = pytensor.shared(np.zeros((0, 16), pytensor.config.floatX), name="seen")

    def get_cost_updates(self, learning_rate):
        cost, updates = super().get_cost_updates(learning_rate)
        return cost, [*updates, (self.seen, pt.concatenate([self.seen, self.x]))]


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_a_model_sees_every_byte_divided_by_256(floatX):
    config = replace(SMALL, floatX=floatX, batch_size=4, training_epochs=1)
    x = np.arange(256, dtype="uint8").reshape(16, 16)
    with pytensor.config.change_flags(floatX=floatX):
        model = Spy()
    fit(config, x, model=model)
    assert_array_equal(model.seen.get_value(), x / 256)


# fit


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory):
    """By `shuffle`: a training whose rows are floats in memory, and the settings of its run."""
    trainings = {}
    for shuffle in (False, True):
        config = replace(SMALL, shuffle=shuffle, training_epochs=2)
        with Run(tmp_path_factory.mktemp("memory") / "run") as run:
            trainings[shuffle] = fit(config, FLOATS, validation=FLOATS[:7], run=run), run.config
    return trainings


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "<f2", ">f4", "<f4", "<f8"])
@pytest.mark.usefixtures("window")
def test_rows_in_a_file_give_the_bits_of_rows_in_memory(tmp_path, in_memory, dtype, shuffle):
    x = X if dtype == "u1" else FLOATS.astype(dtype)  # a byte over 256 has eight digits
    config = replace(SMALL, shuffle=shuffle, training_epochs=2)
    rows = rows_of(tmp_path, x)
    expected, expected_config = in_memory[shuffle]
    with Run(tmp_path / "run") as run:
        assert_same(fit(config, rows, validation=rows[:7], run=run), expected)
        assert run.config == expected_config
        assert [epoch.validation_loss for epoch in run.history] == [
            epoch.validation_loss for epoch in expected.history
        ]


@pytest.mark.parametrize("dtype", ["u1", ">f4"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_may_be_given_by_its_name(tmp_path, in_memory, kind, dtype):
    np.save(tmp_path / "data.npy", X if dtype == "u1" else FLOATS.astype(dtype))
    config = replace(SMALL, training_epochs=2)
    assert_same(fit(config, kind(tmp_path / "data.npy")), in_memory[False][0])


def test_a_part_of_a_file_is_trained_on_and_another_one_judges(tmp_path):
    rows = rows_of(tmp_path, X)
    fitted = fit(SMALL, rows[:48], validation=rows[48:])
    expected = fit(SMALL, X[:48], validation=X[48:])
    assert_same(fitted, expected)
    assert fitted.history[-1].validation_loss == expected.history[-1].validation_loss


def test_rows_in_a_file_may_have_labels(tmp_path):
    rows = rows_of(tmp_path, X)
    assert_same(
        fit(SMALL, (rows, Y), validation=(rows[:7], Y[:7]), model=Classifier()),
        fit(SMALL, (X, Y), validation=(X[:7], Y[:7]), model=Classifier()),
    )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.usefixtures("window")
def test_a_training_goes_on_within_an_epoch_wherever_the_data_lie(tmp_path, shuffle):
    config = replace(SMALL, shuffle=shuffle)
    rows = rows_of(tmp_path, X)
    expected = fit(config, X)
    with Run(tmp_path / "run") as run:
        fit(config, rows, run=run, callbacks=[At(7, stop)])
    with Run(tmp_path / "run") as run:
        run.reopen()
        fit(run.config, X, run=run, callbacks=[At(5, stop)])
    with Run(tmp_path / "run") as run:
        run.reopen()
        assert_same(fit(run.config, rows, run=run), expected)


@pytest.mark.parametrize("floatX", ["float64", "float32"])
@pytest.mark.usefixtures("window")
def test_the_checksum_is_that_of_the_data_as_floatX(tmp_path, floatX):
    config = replace(SMALL, floatX=floatX, training_epochs=1)
    expected = hashlib.sha256((X / 256).astype(floatX)).hexdigest()
    for number, data in enumerate((X, FLOATS, rows_of(tmp_path, X))):
        with Run(tmp_path / f"run{number}") as run:
            fit(config, data, run=run)
            assert run.config.data_sha256 == expected


@pytest.mark.usefixtures("window")
def test_reading_through_shows_its_progress(tmp_path):
    def progress(name, done, size):
        shown.setdefault((name, size), []).append(done)

    rows, shown = rows_of(tmp_path, X), {}
    config = replace(SMALL, training_epochs=1)
    with Run(tmp_path / "run") as run:
        fit(config, rows[:50], validation=rows[50:], run=run, progress=progress)
    assert shown.keys() == {("training data", 800), ("validation data", 160)}
    for (_, size), done in shown.items():
        assert done == sorted(set(done))
        assert done[-1] == size


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_value_that_is_no_pixel_is_found_before_anything_is_written(tmp_path, part):
    x = np.resize(FLOATS, (3000, 16))
    x[2980 if part == "validation" else 20, 3] = 1.5  # read_data looks at every third row
    rows = rows_of(tmp_path, x)
    with Run(tmp_path / "run") as run, pytest.raises(DataError, match=r"data\.npy: images must be"):
        fit(SMALL, rows[:2900], validation=rows[2900:], run=run)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match=r"data\.npy: images must be"):
        fit(SMALL, rows)


# What it takes


def test_bytes_are_held_once_and_rows_in_a_file_not_at_all(tmp_path):
    def measure(training):
        held.append(tracemalloc.get_traced_memory()[0])
        training.stop()

    x = np.resize(np.arange(256, dtype="uint8"), (160_000, 400))  # compiling holds some MB, too
    config, held = replace(SMALL, batch_size=100, training_epochs=1), []
    for name, data in (("memory", x), ("file", rows_of(tmp_path, x))):
        tracemalloc.start()
        try:
            with Run(tmp_path / name) as run:
                fit(config, data, run=run, callbacks=[At(1, measure)])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert held.pop() < x.nbytes / 2
        assert peak < x.nbytes
