"""Data outside [0, 1]: the squared error, with pixels as they are or standardized."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from test_fitting import SMALL, At, Momentum, assert_same, stop, values_of

import dae
from dae import Config, Run, fit
from dae.training import _minibatches
from dae.training.settings import ConfigError

X = RandomState(5).normal([1e4, 3, -7, 4], [0.1, 2, 50, 4], size=(80, 4))
X[:, 3] = 2.5  # a pixel that does not vary
SQUARED = replace(SMALL, cost="squared-error", learning_rate=0.01, training_epochs=2)
STANDARDIZED = replace(SQUARED, standardize=True)


@pytest.mark.parametrize("window", [1, 700, 2**20])
@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_pixels_are_standardized_by_mean_and_deviation_of_the_training_data(
    monkeypatch, floatX, window
):
    monkeypatch.setattr(_minibatches, "WINDOW", window)
    model, history = fit(replace(STANDARDIZED, floatX=floatX), X, validation=X[:9])
    as_given = X.astype(floatX).astype("float64")
    mean, scale = as_given.mean(axis=0), as_given.std(axis=0)
    scale[3] = 1
    rtol = 1e-10 if floatX == "float64" else 1e-6  # a mean of 1e4, a deviation of 0.1
    assert_allclose(model.mean, mean, rtol=rtol)
    assert_allclose(model.scale, scale, rtol=rtol)
    assert model.mean.dtype == model.scale.dtype == floatX

    x = ((X.astype(floatX) - model.mean) / model.scale).astype(floatX)
    expected, expected_history = fit(replace(SQUARED, floatX=floatX), x, validation=x[:9])
    rtol = 1e-9 if floatX == "float64" else 1e-2  # in float32, 1e4 has four digits behind the point
    for value, expected_value in zip(values_of(model), values_of(expected), strict=True):
        assert_allclose(value, expected_value, rtol=rtol, atol=rtol)
    assert_allclose(history[-1].validation_loss, expected_history[-1].validation_loss, rtol=rtol)


def test_the_model_that_is_saved_knows_mean_and_scale(tmp_path):
    with Run(tmp_path / "run") as run:
        model, _ = fit(STANDARDIZED, X, run=run)
    again = dae.load_model(tmp_path / "run")
    assert_array_equal(again.mean, model.mean)
    assert_array_equal(again.scale, model.scale)
    codes, images = again.encode(X), again.reconstruct(X)
    W, b, b_prime = values_of(model)
    expected = 1 / (1 + np.exp(-((X - model.mean) / model.scale @ W + b)))
    assert_allclose(codes, expected, rtol=1e-9)
    assert_allclose(images, (expected @ W.T + b_prime) * model.scale + model.mean, rtol=1e-9)


@pytest.mark.parametrize("corruption", ["masking", "salt-and-pepper", "gaussian"])
@pytest.mark.parametrize("config", [SQUARED, STANDARDIZED], ids=["as is", "standardized"])
def test_a_training_goes_on_to_the_same_bits(tmp_path, config, corruption):
    config = replace(config, corruption=corruption, shuffle=True)
    x = X if config.standardize else X / 1e4
    expected = fit(config, x)
    with Run(tmp_path / "run") as run:
        fit(config, x, run=run, callbacks=[At(8, stop)])
    with Run(tmp_path / "run") as run:
        run.reopen()
        assert_same(fit(run.config, x, run=run), expected)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="cost is 'cross-entropy'; expected squared-error, since"):
        Config(standardize=True)
    with pytest.raises(ConfigError, match=r"corruption_level is 1\.5; expected a number from 0 to"):
        Config(corruption="salt-and-pepper", corruption_level=1.5)
    assert Config(corruption="gaussian", corruption_level=1.5).corruption_level == 1.5
    with pytest.raises(ConfigError, match="corruption is 'pepper'; expected masking or salt-and-p"):
        Config(corruption="pepper")
    with pytest.raises(
        ConfigError, match="standardize is True; expected false, for a model of one"
    ):
        fit(STANDARDIZED, X, model=Momentum())


def test_the_names_are_those_of_the_models():
    from dae.models.costs import COSTS
    from dae.models.noise import NOISES

    for name in NOISES:
        Config(corruption=name)
    for name in COSTS:
        Config(cost=name)
    assert [Config(corruption=name).corruption for name in NOISES] == list(NOISES)
