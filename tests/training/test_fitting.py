"""A training called from Python: its numbers, its callbacks, how it ends and goes on."""

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal

import dae
from dae import Autoencoder, Callback, Config, DenoisingAutoencoder, Run, RunError, fit
from dae.train import main
from dae.training import run_directory
from dae.training._state import named
from dae.training.fitting import build_model
from dae.training.settings import ConfigError

X = RandomState(1).randint(256, size=(60, 16)).astype("uint8")
SMALL = Config(n_hidden=3, batch_size=12, training_epochs=4)  # an epoch has five minibatches
N_MINIBATCHES = 20
VERSION_0_1 = Path(__file__).with_name("data") / "run_of_version_0.1"


def costs_of(history):
    return [(epoch.epoch, epoch.cost) for epoch in history]


def values_of(model):
    return [param.get_value() for param in model.params]


def assert_same(fitted, expected):
    """Assert that two trainings ended with the same bits."""
    for value, expected_value in zip(
        values_of(fitted.model), values_of(expected.model), strict=True
    ):
        assert value.dtype == expected_value.dtype
        assert_array_equal(value, expected_value)
    assert costs_of(fitted.history) == costs_of(expected.history)


class At(Callback):
    """Calls something after so many minibatches."""

    def __init__(self, n_minibatches, function):
        self.minibatches = iter(range(1, n_minibatches + 1))
        self.n_minibatches = n_minibatches
        self.function = function

    def on_minibatch(self, training):
        if next(self.minibatches, None) == self.n_minibatches:
            self.function(training)


def interrupt(training):
    raise KeyboardInterrupt


def stop(training):
    training.stop()


class Momentum:
    """Learns the mean of its inputs, and their spread, with parameters and habits of its own.

    Two parameters have the same name and one has none; the velocities are called alike, too; the
    updates are pairs, as in Theano's days; the noise comes from streams that the training does
    not know as such; and a counter has no dimensions.
    """

    def __init__(self, seed=1, first_name="w"):
        rng = RandomState(seed)
        self.x = pt.matrix("x")
        self.params = [
            pytensor.shared(np.asarray(rng.uniform(size=shape), pytensor.config.floatX), name=name)
            for shape, name in [(16, first_name), (16, "w"), ((), None)]
        ]
        self.velocities = [
            pytensor.shared(np.zeros_like(param.get_value()), name="velocity")
            for param in self.params
        ]
        self.n_steps = pytensor.shared(0)
        self.noise = dae.RandomStreams(seed)

    def get_cost_updates(self, learning_rate):
        a, b, c = self.params
        draws = self.noise.normal(size=self.x.shape, std=0.1)
        cost = ((self.x - a - b * draws - c) ** 2).mean()
        updates = [(self.n_steps, self.n_steps + 1), *self.noise.updates(cost).items()]
        for param, velocity in zip(self.params, self.velocities, strict=True):
            step = 0.9 * velocity - learning_rate * pytensor.grad(cost, param)
            updates += [(velocity, step), (param, param + step)]
        return cost, updates


@cache
def in_one_go(kind=None):
    """What `fit` returns for the small training of a model of some kind; not to be changed."""
    return fit(SMALL, X, model=kind and kind())


# What it computes


@pytest.mark.parametrize("floatX", ["float64", "float32"])
@pytest.mark.parametrize("level", [0, 0.3])
def test_the_bits_are_those_of_the_command_and_of_the_worksheets_loop(tmp_path, level, floatX):
    config = replace(SMALL, image_shape=[4, 4], corruption_level=level, floatX=floatX)
    fitted = fit(config, X)
    with Run(tmp_path / "fitted") as run:
        assert_same(fit(config, X, run=run), fitted)

    np.save(tmp_path / "data.npy", X)
    assert main([
        f"--data={tmp_path / 'data.npy'}", f"--corruption-level={level}", f"--floatX={floatX}",
        "--n-hidden=3", "--batch-size=12", "--training-epochs=4", "--quiet",
        f"--output-dir={tmp_path / 'command'}",
    ]) == 0  # fmt: skip
    model, command_model = (
        (tmp_path / name / "model.npz").read_bytes() for name in ("fitted", "command")
    )
    assert model == command_model
    with Run(tmp_path / "command") as run:
        run.reopen()
        assert costs_of(run.history) == costs_of(fitted.history)

    with pytensor.config.change_flags(floatX=floatX):
        model = build_model(config, 16)
        train_set_x = pytensor.shared((X / 256).astype(floatX))
        train_da = dae.compile_train_da(
            model, train_set_x, corruption_level=level, learning_rate=0.1, batch_size=12
        )
    costs = [float(np.mean([float(train_da(i)) for i in range(5)])) for _ in range(4)]
    assert costs_of(fitted.history) == list(enumerate(costs))
    for value, expected in zip(values_of(fitted.model), values_of(model), strict=True):
        assert_array_equal(value, expected)


def test_without_a_run_nothing_is_written_or_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model, history = fit(SMALL, X)
    assert isinstance(model, DenoisingAutoencoder)
    assert len(history) == 4
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_data_may_be_bytes_floats_lists_or_a_shared_variable(floatX):
    config = replace(SMALL, floatX=floatX)
    expected = fit(config, X)
    floats = (X / 256).astype(floatX)
    for data in (X / 256, floats, floats.tolist(), np.asfortranarray(floats)):
        assert_same(fit(config, data), expected)
    assert_same(fit(config, pytensor.shared(floats)), expected)


def test_a_model_that_is_given_is_trained_further():
    model, history = fit(replace(SMALL, corruption_level=0), X)
    assert isinstance(model, Autoencoder)
    again, more = fit(replace(SMALL, corruption_level=0), X, model=model)
    assert again is model
    assert more[0].cost < history[-1].cost
    whole, _ = fit(replace(SMALL, corruption_level=0, training_epochs=8), X)
    for value, expected in zip(values_of(model), values_of(whole), strict=True):
        assert_array_equal(value, expected)


@pytest.mark.parametrize("level", [0, 0.3])
def test_other_numbers_need_no_other_machine_code(level):
    def machine_code():
        return sorted(Path(pytensor.config.base_compiledir).rglob("*.nb[ci]"))

    fit(replace(SMALL, corruption_level=level), X)
    before = machine_code()
    assert before
    other = {"corruption_level": level and 0.7, "learning_rate": 1, "batch_size": 10}
    fit(replace(SMALL, n_hidden=5, seed=1, **other), X)
    assert machine_code() == before


def test_only_the_settings_that_a_model_takes_are_passed_to_it():
    class Needy(Momentum):
        def get_cost_updates(self, batch_size, seed, momentum=0.5, *, learning_rate):
            given.append((batch_size, seed, momentum, learning_rate))
            return super().get_cost_updates(learning_rate)

    given = []
    fit(SMALL, X, model=Needy())
    assert given == [(12, 123, 0.5, 0.1)]


# Callbacks


def test_callbacks_are_called_in_order_with_the_training_as_it_is():
    class Recorder(Callback):
        def __init__(self, name):
            self.name = name

        def record(self, event, training):
            assert training.config == config
            assert training.n_train_batches == 5
            assert training.run is None
            assert (training.train_da is None) == (event == "begin")
            events.append((self.name, event, len(training.history), len(training.costs)))

        def on_begin(self, training):
            self.record("begin", training)
            initial.append(training.model.W.get_value())

        def on_compiled(self, training):
            self.record("compiled", training)
            assert_array_equal(training.model.W.get_value(), initial[0])

        def on_minibatch(self, training):
            self.record("minibatch", training)
            assert training.costs[-1] > 0

        def on_epoch(self, training, epoch):
            self.record("epoch", training)
            assert training.history[-1] == epoch

    events, initial, config = [], [], replace(SMALL, training_epochs=2)
    fit(config, X, callbacks=[Recorder("a"), Recorder("b")])
    of_a = [("begin", 0, 0), ("compiled", 0, 0)]
    for n_epochs in range(2):
        of_a += [("minibatch", n_epochs, n_minibatches) for n_minibatches in range(1, 6)]
        of_a.append(("epoch", n_epochs + 1, 0))
    assert events == [(name, *event) for event in of_a for name in ("a", "b")]


@pytest.mark.parametrize("kind", [None, Momentum])
@pytest.mark.parametrize("n_done", [1, 4, 5, 6, 10, 19, 20])
def test_a_training_that_a_callback_stops_goes_on_to_the_same_bits(tmp_path, kind, n_done):
    def new_model():
        return None if kind is None else kind()

    expected = in_one_go(kind)
    with Run(tmp_path / "run") as run:
        _, history = fit(SMALL, X, model=new_model(), run=run, callbacks=[At(n_done, stop)])
        assert (len(history), len(run.costs)) == divmod(n_done, 5)
    assert (tmp_path / "run" / "model.npz").exists() == (n_done == N_MINIBATCHES)
    with Run(tmp_path / "run") as run:
        assert run.reopen() is None
        assert (len(run.history), len(run.costs)) == divmod(n_done, 5)
        assert_same(fit(run.config, X, model=new_model(), run=run), expected)
    with np.load(tmp_path / "run" / "model.npz") as archive:
        *names, _, _ = archive
        for name, expected_value in zip(names, values_of(expected.model), strict=True):
            assert_array_equal(archive[name], expected_value)


def test_stopping_before_the_step_is_compiled_leaves_the_run_at_its_beginning(tmp_path):
    class Never(Callback):
        def on_begin(self, training):
            training.stop()

        def on_compiled(self, training):
            pytest.fail("it was compiled")

    class Later(Callback):
        def on_begin(self, training):
            pytest.fail("a callback was called after the training was stopped")

    with Run(tmp_path / "run") as run:
        _, history = fit(SMALL, X, run=run, callbacks=[Never(), Later()])
    assert history == []
    with Run(tmp_path / "run") as run:
        assert run.reopen() is None
        assert run.state == {}
        assert_same(fit(run.config, X, run=run), in_one_go())


def test_without_a_run_a_callback_may_stop_a_training_too():
    _, history = fit(SMALL, X, callbacks=[At(7, stop)])
    assert costs_of(history) == costs_of(in_one_go().history[:1])


def test_stopping_in_on_epoch_ends_with_the_epoch(tmp_path):
    class Patience(Callback):
        def on_epoch(self, training, epoch):
            if epoch.epoch == 1:
                training.stop()
                training.save_checkpoint()

    with Run(tmp_path / "run") as run:
        _, history = fit(SMALL, X, run=run, callbacks=[Patience()])
        assert (len(history), run.costs) == (2, [])


# How it ends, and goes on


@pytest.mark.parametrize("kind", [None, Momentum])
def test_an_interrupted_training_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch, kind):
    def new_model(seed=1):
        return None if kind is None else kind(seed)

    expected = in_one_go(kind)
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "run") as run:
        fit(SMALL, X, model=new_model(), run=run, callbacks=[At(3, interrupt)])
    with Run(tmp_path / "run", checkpoint_every=1) as run:
        run.reopen()
        assert (run.history, run.costs) == ([], [])
        # What a model begins with is in the checkpoint, wherever it came from.
        model = new_model(seed=2)
        with pytest.raises(KeyboardInterrupt):
            fit(SMALL, X, model=model, run=run, callbacks=[At(13, interrupt)])
    monkeypatch.setattr(run_directory, "CHECKPOINT_SECONDS", 0)
    with Run(tmp_path / "run") as run:
        run.reopen()
        assert (len(run.history), run.costs) == (2, [])
        with pytest.raises(KeyboardInterrupt):
            fit(SMALL, X, model=new_model(), run=run, callbacks=[At(3, interrupt)])
    with Run(tmp_path / "run") as run:
        run.reopen()
        assert (len(run.history), len(run.costs)) == (2, 3)
        assert_same(fit(SMALL, X, model=new_model(), run=run), expected)


def test_a_killed_training_of_any_model_goes_on_to_the_same_bits(tmp_path):
    # One process and its fork: PyTensor's own ops differ in the last bits between a process that
    # compiles their machine code and one that finds it in the cache.
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_fitting import SMALL, At, Momentum, Run, X, assert_same, fit, run_directory

        expected = fit(SMALL, X, model=Momentum())
        pid = os.fork()
        if pid == 0:
            run_directory.CHECKPOINT_SECONDS = 0
            kill = At(8, lambda training: os.kill(os.getpid(), signal.SIGKILL))
            fit(SMALL, X, model=Momentum(), run=Run("run"), callbacks=[kill])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        with Run("run") as run:
            run.reopen()
            assert (len(run.history), len(run.costs)) == (1, 3)
            assert_same(fit(run.config, X, model=Momentum(), run=run), expected)
        """
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")


def test_a_run_of_version_0_1_goes_on_to_the_same_bits(tmp_path):
    shutil.copytree(VERSION_0_1, tmp_path / "run")
    (tmp_path / "run" / "expected.npz").unlink()

    # The worksheet's loop, from the arrays in the checkpoint.
    with np.load(VERSION_0_1 / "checkpoint.npz") as archive:
        state = dict(archive)
    model = build_model(SMALL, 16)
    train_da = dae.compile_train_da(
        model, pytensor.shared(X / 256), corruption_level=0.3, learning_rate=0.1, batch_size=12
    )
    for param, name in zip(model.params, ["W", "b", "b_prime"], strict=True):
        param.set_value(state[name])
    model.theano_rng.set_state(state["streams"])
    costs = list(state["costs"])
    history = [(0, state["history"][0, 0])]
    for epoch in range(1, 5):
        costs += [train_da(index) for index in range(len(costs), 5)]
        history.append((epoch, np.mean(costs)))
        costs.clear()

    with Run(tmp_path / "run") as run:
        assert run.reopen() is None
        assert (len(run.history), len(run.costs)) == (1, 3)
        fitted = fit(run.config, X, run=run)
    assert costs_of(fitted.history) == history
    for value, expected in zip(values_of(fitted.model), values_of(model), strict=True):
        assert_array_equal(value, expected)

    # What version 0.1 made of it, on another machine.
    with (
        np.load(VERSION_0_1 / "expected.npz") as expected,
        np.load(tmp_path / "run" / "model.npz") as found,
    ):
        assert list(found) == [*expected, "format_version", "about"]
        for name in expected:
            assert_allclose(found[name], expected[name], rtol=1e-11)
    with np.load(tmp_path / "run" / "checkpoint.npz") as archive:
        assert list(archive) == list(state)


# How it refuses


@pytest.mark.parametrize(
    ("config", "data", "error", "message"),
    [
        ({"batch_size": 61}, X, ConfigError, "batch_size is 61; expected at most 60, the rows"),
        ({}, X[:, 0], ValueError, r"data has the shape \(60,\); expected \(n_train, n_visible\)"),
        ({}, X.reshape(60, 4, 4), ValueError, r"data has the shape \(60, 4, 4\); expected"),
        ({"n_hidden": 2_000_000_000}, np.zeros((20, 10**6)), MemoryError, "Unable to allocate"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path, config, data, error, message
):
    for run in (None, Run(tmp_path / "run")):
        with pytest.raises(error, match=message):
            fit(replace(SMALL, **config), data, run=run)
    assert os.listdir(tmp_path) == []


def test_data_and_model_of_different_dtypes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="data is float32, floatX float32, and the model's x floa"):
        fit(replace(SMALL, floatX="float32"), X, model=Momentum(), run=Run(tmp_path / "run"))
    with pytest.raises(ValueError, match="data is float32, floatX float64, and the model's x floa"):
        fit(SMALL, pytensor.shared(X.astype("float32")))
    assert os.listdir(tmp_path) == []


def test_a_run_goes_on_with_its_own_settings_data_and_model_only(tmp_path):
    with Run(tmp_path / "run") as run:
        fit(SMALL, X, model=Momentum(), run=run, callbacks=[At(7, stop)])
    state = (tmp_path / "run" / "checkpoint.npz").read_bytes()
    for config, data, model, message in [
        ({"seed": 5}, X, Momentum(), "cannot go on with .*: seed is 5, was 123"),
        ({"training_epochs": 1}, X, Momentum(), "training_epochs is 1, 2 are begun"),
        ({}, X[::-1], Momentum(), "data_sha256 is "),
        ({}, X, None, r"it holds n.*; the model and its updates have W float64\[16, 3\], b float"),
        ({}, X, Momentum(first_name="v"), r"it holds n.*have .*, v float64\[16\],"),
    ]:
        with Run(tmp_path / "run") as run:
            run.reopen()
            with pytest.raises(RunError, match=message):
                fit(replace(run.config, **config), data, model=model, run=run)
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == state


def test_a_new_run_needs_an_empty_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is not empty; give a new or an empty directory, or reop"):
        fit(SMALL, X, run=Run(tmp_path))
    assert os.listdir(tmp_path) == ["file"]


def test_a_run_is_for_one_training(tmp_path):
    with Run(tmp_path / "run") as run:
        fit(SMALL, X, run=run)
        before = (tmp_path / "run" / "checkpoint.npz").read_bytes()
        with pytest.raises(RunError, match="was trained by this Run; reopen it with another one"):
            fit(replace(SMALL, training_epochs=9), X, run=run)
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == before


def test_a_wrong_interval_of_checkpoints_is_refused(tmp_path):
    for checkpoint_every in (0, 1.5, "1"):
        with pytest.raises(
            ConfigError, match=r"checkpoint_every is .*; expected a whole number ab"
        ):
            Run(tmp_path / "run", checkpoint_every=checkpoint_every)


def test_what_cannot_be_saved_is_refused_when_there_is_a_run(tmp_path):
    class Modern(Momentum):
        """Draws its noise as PyTensor does nowadays."""

        def get_cost_updates(self, learning_rate):
            rng = pytensor.shared(np.random.default_rng(1), name="rng")
            rng_after, draws = pt.random.normal(size=(16,), rng=rng, return_next_rng=True)
            a = self.params[0]
            cost = ((self.x - a - draws) ** 2).mean()
            return cost, {a: a - learning_rate * pytensor.grad(cost, a), rng: rng_after}

    assert len(fit(SMALL, X, model=Modern()).history) == 4
    with (
        Run(tmp_path / "run") as run,
        pytest.raises(TypeError, match="changes rng, a Generator, which a checkpoint cannot hold"),
    ):
        fit(SMALL, X, model=Modern(), run=run)


# The names of what is saved


def test_names_are_the_variables_own_and_say_which_one_it_is():
    names = ["W", "b", None, "W", "W_1", "W", None, "costs", "streams", "file", "unnamed"]
    variables = [pytensor.shared(np.zeros(1), name=name) for name in names]
    found = named([*variables, variables[0]])
    assert list(found) == [
        "W", "b", "unnamed", "W_1", "W_1_1", "W_2", "unnamed_1", "costs_1", "streams_1", "file_1",
        "unnamed_2",
    ]  # fmt: skip
    assert list(found.values()) == variables


def test_a_checkpoint_holds_all_that_the_updates_change(tmp_path):
    with Run(tmp_path / "run") as run:
        model, _ = fit(SMALL, X, model=Momentum(), run=run)
    with np.load(tmp_path / "run" / "model.npz", allow_pickle=False) as archive:
        assert list(archive) == ["w", "w_1", "unnamed", "format_version", "about"]
    with np.load(tmp_path / "run" / "checkpoint.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    expected = dict(zip(["w", "w_1", "unnamed"], model.params, strict=True))
    expected |= {"unnamed_1": model.n_steps, "normal_state": model.noise.state_updates[0][0]}
    expected |= zip(["velocity", "velocity_1", "velocity_2"], model.velocities, strict=True)
    assert arrays.keys() == {"format_version", "config", "history", "costs", *expected}
    for name, variable in expected.items():
        assert_array_equal(arrays[name], variable.get_value())
    assert arrays["unnamed_1"] == N_MINIBATCHES
