"""What the kinds of noise are distributed as, with fixed seeds."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

from dae import RandomStreams, gaussian_noise, masking_noise, salt_and_pepper_noise
from dae.models.noise import MAX_LEVELS, NOISES

SHAPE = (50, 400)
N_BATCHES = 10
SURE = 1e-4
"""The p-value below which a hypothesis is given up; seeds are fixed, so that none is by chance."""


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def batches(noise, x, level, seed=11):
    """Some minibatches with noise, one after another from one stream."""
    theano_rng = RandomStreams(seed)
    input = pt.matrix("input", dtype=x.dtype)
    tilde_x = noise(theano_rng, input, level)
    assert (tilde_x.dtype, tilde_x.ndim) == (x.dtype, 2)
    corrupt = pytensor.function([input], tilde_x, updates=theano_rng.updates())
    return np.array([corrupt(x) for _ in range(N_BATCHES)])


def interior(dtype):
    """A minibatch with values that noise cannot be mistaken for."""
    return np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(dtype)


def assert_uncorrelated(noise):
    """Check that no value tells of others: in its row, in its column, in the next minibatch."""
    noise = (noise - noise.mean()) / noise.std()
    pairs = {
        "next value": (noise[:, :, 1:], noise[:, :, :-1]),
        "next row": (noise[:, 1:], noise[:, :-1]),
        "next minibatch": (noise[1:], noise[:-1]),
        "the other half": np.split(noise, 2, axis=1),
        "the other half of a row": np.split(noise, 2, axis=2),
    }
    for name, (first, second) in pairs.items():
        assert abs(np.mean(first * second)) * np.sqrt(first.size) < 4, name
    assert len(np.unique(noise.reshape(N_BATCHES, -1), axis=0)) == N_BATCHES


def assert_share(events, probability):
    assert stats.binomtest(int(events.sum()), events.size, probability).pvalue > SURE


@pytest.mark.parametrize("level", [0.05, 0.3, 0.8])
def test_masking(level, dtype):
    x = interior(dtype)
    values = batches(masking_noise, x, pytensor.shared(level))
    hidden = values == 0
    assert_array_equal(values, np.where(hidden, 0, x))
    assert_share(hidden, level)
    assert_uncorrelated(hidden)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.8])
def test_salt_and_pepper(level, dtype):
    x = interior(dtype)
    values = batches(salt_and_pepper_noise, x, pytensor.shared(level))
    salt, pepper = values == 1, values == 0
    assert_array_equal(values, np.where(salt, 1, np.where(pepper, 0, x)))
    assert_share(salt | pepper, level)
    assert_share(salt[salt | pepper], 0.5)
    assert_uncorrelated(salt | pepper)
    assert_uncorrelated(salt.astype(float) - pepper)


@pytest.mark.parametrize("level", [0.1, 2.5])
def test_gaussian(level, dtype):
    x = np.zeros(SHAPE, dtype)
    noise = batches(gaussian_noise, x, pytensor.shared(level)).astype("float64")
    assert stats.kstest(noise.ravel() / level, stats.norm.cdf).pvalue > SURE
    assert abs(np.mean(noise)) * np.sqrt(noise.size) < 4 * level
    # The variance of squares is 2.
    assert abs(np.mean((noise / level) ** 2) - 1) * np.sqrt(noise.size / 2) < 4
    assert_uncorrelated(noise)
    assert_uncorrelated(noise**2)  # which is not so for a pair from one radius and angle by halves
    for n_sigma in (3, 4):
        assert_share(np.abs(noise) > n_sigma * level, 2 * stats.norm.sf(n_sigma))


def test_gaussian_noise_is_added(dtype):
    x = interior(dtype)
    noise = batches(gaussian_noise, np.zeros(SHAPE, dtype), 0.7)
    assert_array_equal(batches(gaussian_noise, x, 0.7), x + noise)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_no_noise(noise, dtype):
    x = interior(dtype)
    for values in batches(noise, x, 0):
        assert_array_equal(values, x)


@pytest.mark.parametrize("level", [1, 1.0])
def test_nothing_but_noise(level, dtype):
    x = interior(dtype)
    assert not batches(masking_noise, x, level).any()
    assert set(np.unique(batches(salt_and_pepper_noise, x, level))) == {0, 1}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_a_symbolic_level(noise, dtype):
    x, level = pt.matrix(dtype=dtype), pt.dscalar()
    corrupt = pytensor.function([x, level], noise(RandomStreams(5), x, level))
    levels = (0.0, 0.25, 1.0)
    fixed = pytensor.function([x], [noise(RandomStreams(5), x, value) for value in levels])
    for value, expected in zip(levels, fixed(interior(dtype)), strict=True):
        assert_array_equal(corrupt(interior(dtype), value), expected)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("level", [-0.1, float("nan"), float("inf"), 1.1])
def test_impossible_levels(kind, level):
    if level == 1.1 and kind == "gaussian":
        level = 1.1e38
    message = rf"corruption_level is .*; expected a number in \[0, {MAX_LEVELS[kind]}\]"
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        NOISES[kind](RandomStreams(1), pt.matrix(), level)
