"""The stack through `fit`: both phases, in NumPy and in parts."""

from dataclasses import replace

import numpy as np
import pytensor
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import NumpyStack
from test_fitting import At, stop

import dae
from dae import Pretraining, Run, StackConfig, fit
from dae.training.epochs import Epoch

X = RandomState(1).randint(256, size=(45, 16)).astype("uint8")
Y = X[:, :3].argmax(axis=1).astype("int32")
VALID = (X[::-2], Y[::-2])
SMALL = StackConfig(
    hidden_layers_sizes=(7, 5, 4), corruption_levels=(0.1, 0.2, 0.3), pretraining_epochs=3,
    pretraining_learning_rate=0.5, learning_rate=0.7, training_epochs=4, batch_size=6,
)  # fmt: skip
N_BATCHES = 7


def build(config=SMALL):
    with pytensor.config.change_flags(floatX=config.floatX):
        return dae.StackedDenoisingAutoencoder(
            RandomState(config.seed), n_ins=16, hidden_layers_sizes=(7, 5, 4), n_outs=3
        )


def train(config=SMALL, run=None, in_layers=(), callbacks=()):
    callbacks = [Pretraining(in_layers), *callbacks]
    model = build(config)
    return fit(config, (X, Y), validation=VALID, model=model, run=run, callbacks=callbacks)


class Recorder(dae.Callback):
    def __init__(self):
        self.costs = []

    def on_minibatch(self, training):
        self.costs.append(training.costs[-1])


def minibatches(x, y):
    return [(x[i : i + 6], y[i : i + 6]) for i in range(0, 6 * N_BATCHES, 6)]


@pytest.mark.parametrize(("floatX", "rtol"), [("float64", 1e-9), ("float32", 1e-4)])
def test_both_phases_are_those_of_a_model_in_numpy(floatX, rtol):
    config = replace(SMALL, floatX=floatX)
    recorder = Recorder()
    model, history = train(config, in_layers=[recorder])
    expected = NumpyStack(RandomState(123), 16, (7, 5, 4), 3, floatX)
    x = X / 256
    costs = [
        float(expected.pretrain(i, batch, level, lr=0.5))
        for i, level in enumerate([0.1, 0.2, 0.3])
        for _ in range(3)
        for batch, _ in minibatches(x, Y)
    ]
    assert_allclose(recorder.costs, costs, rtol=rtol)
    for epoch in history:
        costs = [float(expected.finetune(*batch, lr=0.7)) for batch in minibatches(x, Y)]
        assert_allclose(epoch.cost, np.mean(costs), rtol=rtol)
        assert_allclose(epoch.validation_loss, expected.errors(x[::-2], Y[::-2]), rtol=1e-12)
    assert len(history) == 4
    for param, value in zip(model.params, expected.params, strict=True):
        assert_allclose(param.get_value(), value.astype(float), rtol=rtol, atol=rtol)


def test_without_epochs_of_it_there_is_no_pretraining():
    never = Recorder()
    found = train(replace(SMALL, pretraining_epochs=0), in_layers=[never])
    expected = fit(SMALL, (X, Y), validation=VALID, model=build())
    assert never.costs == []
    for param, other in zip(found.model.params, expected.model.params, strict=True):
        assert_array_equal(param.get_value(), other.get_value())


class AtLayer(dae.Callback):
    """Stops in a layer, after so many minibatches."""

    def __init__(self, layer, n_minibatches):
        self.layer, self.n_minibatches = layer, n_minibatches

    def on_minibatch(self, training):
        if (training.config.layer, training.n_iterations) == (self.layer, self.n_minibatches):
            training.stop()


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_a_stack_in_parts_ends_with_the_same_bytes(tmp_path, floatX):
    config = replace(SMALL, floatX=floatX)
    with Run(tmp_path / "whole") as run:
        train(config, run)
    with Run(tmp_path / "parts") as run:
        _, history = train(config, run, [AtLayer(1, 9)])
        assert (history, run.costs, run.state) == ([], [], {})
    for layer, n_minibatches in [(1, 14), (2, 1), (2, 21), (3, 20)]:
        with Run(tmp_path / "parts") as run:
            run.reopen()
            train(run.config, run, [AtLayer(layer, n_minibatches)])
        names = {path.name for path in (tmp_path / "parts").glob("layer_*")}
        # Stopped with its last minibatch, a layer is complete: so the next one has begun.
        assert names == {f"layer_{i + 1}" for i in range(layer + (n_minibatches == 21))}
    for n_done in [1, 7, 13]:
        with Run(tmp_path / "parts") as run:
            run.reopen()
            train(run.config, run, callbacks=[At(n_done, stop)])
    with Run(tmp_path / "parts") as run:
        run.reopen()
        train(run.config, run)
    files = ["model.npz", "best_model.npz", *(f"layer_{i}/model.npz" for i in (1, 2, 3))]
    for file in files:
        contents = [(tmp_path / name / file).read_bytes() for name in ("whole", "parts")]
        assert contents[0] == contents[1]


def test_a_layer_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    with Run(tmp_path / "run") as run:
        train(run=run, in_layers=[AtLayer(1, 1)])
    (tmp_path / "run" / "layer_1" / "model.npz").unlink(missing_ok=True)
    for name in ("checkpoint.npz", "checkpoint.previous.npz", "config.json", "costs.csv"):
        (tmp_path / "run" / "layer_1" / name).unlink()
    with Run(tmp_path / "run") as run:
        run.reopen()
        model, _ = train(run=run)
    for param, other in zip(model.params, train().model.params, strict=True):
        assert_array_equal(param.get_value(), other.get_value())


def test_a_layer_that_has_been_trained_on_something_else_is_refused(tmp_path):
    with Run(tmp_path / "run") as run:
        train(run=run, in_layers=[AtLayer(2, 1)])
    with Run(tmp_path / "run" / "layer_1") as run:
        run.reopen()
        state = dict(run.state) | {"b": run.state["b"] + 0.1}
        run.begin(run.config)
        run.save_checkpoint(state)
    with Run(tmp_path / "run") as run:
        run.reopen()
        with pytest.raises(dae.RunError, match="layer_2: data_sha256 is "):
            train(run=run)


def test_a_layers_directory_holds_what_a_runs_does(tmp_path):
    with Run(tmp_path / "run") as run:
        train(run=run)
    model = dae.load_model(tmp_path / "run" / "layer_2")
    assert (type(model), model.n_visible, model.n_hidden) == (dae.DenoisingAutoencoder, 7, 5)
    with Run(tmp_path / "run" / "layer_2") as run:
        run.reopen()
        assert run.config == replace(SMALL.layer(2), data_sha256=run.config.data_sha256)
        assert [epoch.epoch for epoch in run.history] == [0, 1, 2]
        assert all(isinstance(epoch, Epoch) for epoch in run.history)
