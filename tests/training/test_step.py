import os
import platform
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import cost_and_gradients

from dae import Autoencoder, DenoisingAutoencoder, compile_train_da
from dae.training.epochs import train_epochs

X = RandomState(0).uniform(size=(11, 6))

LARGE_STEPS = """
import resource
import numpy as np
import dae.compiler

for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    results = [np.ones(2**20) for _ in range(4)]
    del results
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
"""Count the pages that the system hands out for results of 8 MB, when they are needed again."""


def test_epochs_in_file_order_without_the_last_partial_minibatch():
    da = Autoencoder(RandomState(1), n_visible=6, n_hidden=3)
    params = [param.get_value() for param in da.params]
    train_da = compile_train_da(
        da, pytensor.shared(X), corruption_level=0.0, learning_rate=0.1, batch_size=4
    )
    epochs = list(train_epochs(train_da, n_train_batches=2, training_epochs=3))
    for i, epoch in enumerate(epochs):
        costs = []
        for batch in (X[:4], X[4:8]):
            cost, gradients = cost_and_gradients(batch, batch, *params)
            costs.append(cost)
            params = [p - 0.1 * g for p, g in zip(params, gradients, strict=True)]
        assert epoch.epoch == i
        assert epoch.seconds > 0
        assert_allclose(epoch.cost, float(np.mean(costs)), rtol=1e-12)
    for param, value in zip(da.params, params, strict=True):
        assert_allclose(param.get_value(), value.astype(float), rtol=1e-10)


def test_compiling_leaves_model_and_noise_as_they_were():
    da = DenoisingAutoencoder(RandomState(1), n_visible=6, n_hidden=3)
    before = da.__getstate__()
    train_da = compile_train_da(
        da, pytensor.shared(X), corruption_level=0.5, learning_rate=0.1, batch_size=4
    )
    for value, param in zip(before, da.params, strict=True):
        assert_array_equal(value, param.get_value())
    [(state, _)] = da.theano_rng.state_updates
    stream_before = state.get_value()
    assert_array_equal(
        stream_before[:624],
        RandomState(
            int(RandomState(int(RandomState(1).randint(2**30))).randint(2**30))
        ).get_state()[1],
    )
    train_da(0)
    assert np.any(state.get_value() != stream_before)


@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_symbolic_settings_become_arguments(floatX):
    with pytensor.config.change_flags(floatX=floatX):
        level, rate = pt.scalar("level"), pt.scalar("rate")
        da = DenoisingAutoencoder(RandomState(1), n_visible=6, n_hidden=3)
        da.theano_rng.seed(5)
        train_da = compile_train_da(
            da,
            pytensor.shared(X.astype(floatX)),
            corruption_level=level,
            learning_rate=rate / 2,
            batch_size=4,
        )
    before = da.__getstate__()
    mask = RandomState(int(RandomState(5).randint(2**30))).binomial(1, 1 - 0.25, (4, 6))
    cost, gradients = cost_and_gradients(mask * X[4:8], X[4:8], *before)
    assert_allclose(train_da(1, 0.25, 0.5), float(cost), rtol=1e-5)
    for param, value, gradient in zip(da.params, before, gradients, strict=True):
        expected = (value - 0.25 * gradient).astype(float)
        assert_allclose(param.get_value(), expected, rtol=1e-4, atol=1e-6)
    before = da.W.get_value()
    train_da(index=0, rate=0.0, level=0.5)
    assert_array_equal(da.W.get_value(), before)


def test_symbolic_settings_are_arguments_in_the_order_given():
    level, rate = pt.scalar("level"), pt.scalar("rate")
    da = DenoisingAutoencoder(RandomState(1), n_visible=6, n_hidden=3)
    train_da = compile_train_da(
        da, pytensor.shared(X), batch_size=4, learning_rate=rate / 2, corruption_level=level
    )
    names = [argument.name for argument in train_da.maker.fgraph.inputs[:3]]
    assert names == ["index", "rate", "level"]
    train_da = compile_train_da(
        da, pytensor.shared(X), batch_size=4, learning_rate=rate, corruption_level=0 * rate
    )
    before = da.W.get_value()
    train_da(0, 0.0)
    assert_array_equal(da.W.get_value(), before)


def test_settings_that_the_model_does_not_take_are_refused():
    da = Autoencoder(RandomState(1), n_visible=6, n_hidden=3)
    settings = {"corruption_level": 0.0, "learning_rate": 0.1, "momentum": 0.9}
    with pytest.raises(TypeError, match="momentum"):
        compile_train_da(da, pytensor.shared(X), batch_size=4, **settings)
    with pytest.raises(TypeError, match="learning_rate"):
        compile_train_da(da, pytensor.shared(X), batch_size=4, corruption_level=0.0)


def test_a_shared_setting_is_looked_up_at_each_call():
    rate = pytensor.shared(0.0)
    da = Autoencoder(RandomState(1), n_visible=6, n_hidden=3)
    train_da = compile_train_da(
        da, pytensor.shared(X), corruption_level=0.0, learning_rate=rate, batch_size=4
    )
    before = da.W.get_value()
    train_da(0)
    assert_array_equal(da.W.get_value(), before)
    rate.set_value(0.5)
    train_da(0)
    assert np.any(da.W.get_value() != before)


@pytest.mark.parametrize("cost", [np.inf, np.nan])
def test_a_cost_that_is_not_finite_stops_the_training(cost):
    costs = iter([1.0, 1.0, 1.0, cost])
    epochs = train_epochs(lambda index: next(costs), n_train_batches=2, training_epochs=9)
    assert next(epochs).cost == 1
    with pytest.raises(FloatingPointError, match="epoch 1, minibatch 1; try a smaller"):
        next(epochs)


def test_any_model_with_x_and_get_cost_updates_can_be_trained():
    class Mean:
        """Learns the mean of its inputs."""

        def __init__(self):
            self.x = pytensor.tensor.dmatrix()
            self.mean = pytensor.shared(np.zeros(6))

        def get_cost_updates(self, corruption_level, learning_rate):
            cost = ((self.x - self.mean) ** 2).mean()
            return cost, {self.mean: self.mean - learning_rate * pytensor.grad(cost, self.mean)}

    model = Mean()
    train_da = compile_train_da(
        model, pytensor.shared(X), corruption_level=0.0, learning_rate=1.0, batch_size=11
    )
    assert len(list(train_epochs(train_da, 1, 50))) == 50
    assert_allclose(model.mean.get_value(), X.mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize("n_done", range(12))
def test_a_training_left_between_two_minibatches_goes_on_there(n_done):
    class LeftError(Exception):
        pass

    minibatch_costs = [1 / (3 + i) for i in range(12)]
    whole = iter(minibatch_costs)
    expected = [epoch[:2] for epoch in train_epochs(lambda index: next(whole), 4, 3)]

    indices, costs, epochs = [], [], []

    def train_da(index):
        if len(indices) == n_done and not is_resumed:
            raise LeftError
        indices.append(index)
        return minibatch_costs[len(indices) - 1]

    is_resumed = False
    with pytest.raises(LeftError):
        epochs.extend(epoch[:2] for epoch in train_epochs(train_da, 4, 3, 0, costs))
    assert costs == minibatch_costs[n_done - n_done % 4 : n_done]
    is_resumed = True
    epochs.extend(epoch[:2] for epoch in train_epochs(train_da, 4, 3, n_done // 4, costs))
    assert indices == [0, 1, 2, 3] * 3
    assert epochs == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_the_memory_of_a_large_step_is_that_of_the_step_before():
    # Dask sets such variables for its workers; who does, has decided what glibc keeps.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    process = subprocess.run(
        [sys.executable, "-c", LARGE_STEPS], env=env, capture_output=True, text=True, check=True
    )
    assert int(process.stdout) < 100
