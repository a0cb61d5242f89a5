"""What a training can do beside the worksheet's: judge, stop early, keep the best, shuffle."""

from dataclasses import replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import cost_and_gradients
from test_fitting import SMALL, At, X, assert_same, costs_of, in_one_go, stop, values_of

import dae
from dae import Callback, Run, RunError, fit
from dae.training import step
from dae.training.early_stopping import BestModel, EarlyStopping
from dae.training.fitting import Fitted, build_model
from dae.training.settings import ConfigError

VALID = RandomState(2).randint(256, size=(25, 16)).astype("uint8")
Y = RandomState(3).randint(3, size=60)
RESTLESS = replace(SMALL, learning_rate=12.0, training_epochs=40, patience=3)
"""Its validation loss goes up and down."""


class Values(Callback):
    """Keeps the parameters after each epoch."""

    def __init__(self):
        self.values = []

    def on_epoch(self, training, epoch):
        self.values.append(values_of(training.model))


class Classifier:
    """Learns from labels: a logistic regression, which knows how often it is wrong."""

    def __init__(self):
        self.x, self.y = pt.matrix("x"), pt.ivector("y")
        self.regression = dae.LogisticRegression(self.x, 16, 3)
        self.params = self.regression.params

    def get_cost_updates(self, learning_rate):
        cost = self.regression.negative_log_likelihood(self.y)
        gparams = pytensor.grad(cost, self.params)
        return cost, {
            param: param - pt.cast(learning_rate, param.dtype) * gparam
            for param, gparam in zip(self.params, gparams, strict=True)
        }

    def get_validation_loss(self):
        return self.regression.errors(self.y)


# The loss on validation data


@pytest.mark.parametrize("floatX", ["float64", "float32"])
@pytest.mark.parametrize("rows", [1, 7, 25, 500])
def test_the_loss_is_the_cost_without_noise_over_all_rows(monkeypatch, rows, floatX):
    monkeypatch.setattr(step, "VALIDATION_ROWS", rows)
    recorder = Values()
    config = replace(SMALL, floatX=floatX, validate_every=1)
    _, history = fit(config, X, validation=VALID, callbacks=[recorder])
    for epoch, values in zip(history, recorder.values, strict=True):
        cost, _ = cost_and_gradients(VALID / 256, VALID / 256, *values)
        rtol = 1e-12 if floatX == "float64" else 1e-5
        assert_allclose(epoch.validation_loss, float(cost), rtol=rtol)


def test_validations_come_as_often_as_asked_and_by_default_so_that_they_are_cheap():
    def validated(**settings):
        config = replace(SMALL, training_epochs=12, **settings)
        _, history = fit(config, X, validation=VALID)
        return [epoch.epoch for epoch in history if epoch.validation_loss is not None]

    assert validated(validate_every=5) == [4, 9, 11]
    assert validated(validate_every=1) == list(range(12))
    assert validated(patience=12) == list(range(12))
    # Half of the work of a step for 25 rows, after each 60 rows: every tenth makes it a fiftieth.
    assert validated() == [9, 11]


def test_judging_changes_nothing_of_the_training():
    judged, expected = fit(SMALL, X, validation=VALID), in_one_go()
    assert_same(judged, expected)
    assert [epoch.validation_loss for epoch in expected.history] == [None] * 4


def test_labels_reach_the_models_that_learn_from_them():
    pair, validation = (X, Y), (X[::-1], Y[::-1])
    shared = tuple(pytensor.shared(a) for a in (X / 256, Y.astype("int32")))
    config = replace(SMALL, validate_every=2)
    model, history = fit(config, pair, validation=validation, model=Classifier())
    again = fit(SMALL, shared, validation=shared, model=Classifier())
    assert costs_of(again.history) == costs_of(history)
    W, b = values_of(model)
    wrong = np.argmax(X / 256 @ W + b, axis=1) != Y
    assert_allclose(history[-1].validation_loss, wrong.mean(), rtol=1e-15)

    W, b = np.zeros((16, 3)), np.zeros(3)  # the same in NumPy
    for _ in range(4):
        for i in range(5):
            x, y = X[12 * i : 12 * i + 12] / 256, Y[12 * i : 12 * i + 12]
            p = np.exp(x @ W + b)
            delta = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]) / 12
            W, b = W - 0.1 * x.T @ delta, b - 0.1 * delta.sum(axis=0)
    assert_allclose(values_of(model)[0], W, rtol=1e-11)
    assert_allclose(values_of(model)[1], b, rtol=1e-11)


def test_labels_are_left_alone_by_the_models_that_do_not():
    assert_same(fit(SMALL, (X, Y), validation=(VALID, None)), in_one_go())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": X}, ValueError, r"data has no labels, .*; expected \(x, y\)"),
        ({"data": (X, Y[:7])}, ValueError, "data has 60 rows and 7 labels; expected as many"),
        ({"data": (X, Y), "validation": X}, ValueError, "validation has no labels"),
        ({"data": (X, Y), "validation": (X[:0], Y[:0])}, ValueError, r"validation has the shape"),
        ({"data": (X, Y), "config": RESTLESS}, ConfigError, "patience is 3; expected None, since"),
    ],
)
def test_what_cannot_be_judged_is_refused(tmp_path, arguments, error, message):
    arguments = {"config": SMALL, "model": Classifier()} | arguments
    with pytest.raises(error, match=message):
        fit(**arguments, run=Run(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_without_validation_data_there_is_no_loss_to_ask_for():
    def ask(training):
        training.validation_loss()

    with pytest.raises(ValueError, match="there are no validation data; give fit some"):
        fit(SMALL, X, callbacks=[At(1, ask)])


# Early stopping


def test_patience_ends_a_training_and_the_best_model_is_kept(tmp_path):
    recorder = Values()
    with Run(tmp_path / "run") as run:
        model, history = fit(RESTLESS, X, validation=VALID, run=run, callbacks=[recorder])
    losses = [epoch.validation_loss for epoch in history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 40
    for name, values in (("best_model", recorder.values[best]), ("model", values_of(model))):
        with np.load(tmp_path / "run" / f"{name}.npz") as archive:
            for param, value in zip(["W", "b", "b_prime"], values, strict=True):
                assert_array_equal(archive[param], value)
    header, *rows = (tmp_path / "run" / "costs.csv").read_text().splitlines()
    assert header == "epoch,cost,seconds,validation_loss"
    assert [float(row.split(",")[3]) for row in rows] == losses

    with Run(tmp_path / "run") as run:  # it is over, and stays so
        run.reopen()
        assert_same(fit(run.config, X, validation=VALID, run=run), Fitted(model, history))


@pytest.mark.parametrize("n_done", [1, 5, 14, 15, 16, 23, 30])
def test_a_training_with_everything_goes_on_to_the_same_bits(tmp_path, n_done):
    config = replace(RESTLESS, shuffle=True)

    def run_in(directory, callbacks=()):
        with Run(directory) as run:
            if directory.exists():
                run.reopen()
            return fit(config, X, validation=VALID, run=run, callbacks=callbacks)

    expected = run_in(tmp_path / "whole")
    run_in(tmp_path / "cut", [At(n_done, stop)])
    assert not (tmp_path / "cut" / "best_model.npz").exists()
    found = run_in(tmp_path / "cut")
    assert_same(found, expected)
    assert [e.validation_loss for e in found.history] == [
        e.validation_loss for e in expected.history
    ]
    for name in ("model.npz", "best_model.npz"):
        contents = [(tmp_path / run / name).read_bytes() for run in ("whole", "cut")]
        assert contents[0] == contents[1]


def test_a_run_with_patience_goes_on_with_it_only(tmp_path):
    with Run(tmp_path / "run") as run:
        fit(RESTLESS, X, validation=VALID, run=run, callbacks=[At(7, stop)])
    for change, message in [({"patience": 4}, "patience is 4, was 3"), ({"shuffle": True}, "shuf")]:
        with Run(tmp_path / "run") as run:
            run.reopen()
            with pytest.raises(RunError, match=message):
                fit(replace(RESTLESS, **change), X, validation=VALID, run=run)


def test_the_tutorials_rule_stops_within_an_epoch():
    rule = EarlyStopping(n_train_batches=5, patience=8, patience_increase=2)
    best = BestModel(rule)
    _, history = fit(
        replace(SMALL, training_epochs=99), (X, Y), validation=(X, Y[::-1].copy()),
        model=Classifier(), callbacks=[best],
    )  # fmt: skip
    assert rule.validation_frequency == 4
    assert rule.is_over(5 * len(history) + 4)
    assert len(history) < 99
    assert best.params.keys() == {"W", "b"}


# Shuffling


def test_each_epoch_has_an_order_of_its_own_from_the_seed():
    config = replace(SMALL, shuffle=True, batch_size=13, corruption_level=0.3)
    shuffled = fit(config, X)
    with pytensor.config.change_flags(floatX="float64"):
        model = build_model(config, 16)
        train_set_x = pytensor.shared(X / 256)
        train_da = dae.compile_train_da(
            model, train_set_x, corruption_level=0.3, learning_rate=0.1, batch_size=13
        )
    for epoch in range(4):  # the last rows of each order are left out: others each time
        train_set_x.set_value((X / 256)[RandomState([123, epoch]).permutation(60)])
        for index in range(4):
            train_da(index)
    for value, expected in zip(values_of(shuffled.model), values_of(model), strict=True):
        assert_array_equal(value, expected)
    other = fit(replace(config, seed=124), X)
    assert costs_of(other.history) != costs_of(shuffled.history)


def test_labels_are_shuffled_with_their_rows():
    config = replace(SMALL, shuffle=True, training_epochs=1)
    model, _ = fit(config, (X, Y), model=Classifier())
    order = RandomState([123, 0]).permutation(60)
    in_order = replace(config, shuffle=False)
    expected, _ = fit(in_order, (X[order], Y[order]), model=Classifier())
    for value, expected_value in zip(values_of(model), values_of(expected), strict=True):
        assert_array_equal(value, expected_value)
