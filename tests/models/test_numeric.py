"""The methods of a model on arrays: the numbers, what they take, what they refuse."""

import copy
import pickle
import re
import tracemalloc

import numpy as np
import pytensor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import sigmoid

from dae import Autoencoder, DenoisingAutoencoder, compile_train_da
from dae.models._numeric import BATCH_SIZE

N_VISIBLE, N_HIDDEN = 12, 5
N_IMAGES = 4 * BATCH_SIZE + 7
BYTES = RandomState(1).randint(256, size=(N_IMAGES, N_VISIBLE)).astype(np.uint8)
TOLERANCE = {"float64": 1e-14, "float32": 2e-6}


def new_model(
    kind=DenoisingAutoencoder, dtype="float64", n_visible=N_VISIBLE, n_hidden=N_HIDDEN, **settings
):
    """A model whose biases are not zero, of the dtype."""
    rng = RandomState(2)
    with pytensor.config.change_flags(floatX=dtype):
        model = kind(rng, n_visible=n_visible, n_hidden=n_hidden, **settings)
    for bias in model.b, model.b_prime:
        bias.set_value(rng.normal(size=bias.get_value().shape).astype(dtype))
    return model


def expected_codes(model, images):
    W, b, *_ = (np.asarray(param.get_value(), np.longdouble) for param in model.params)
    return sigmoid(images @ W + b)


def expected_images(model, codes):
    W, _, b_prime, *W_prime = (
        np.asarray(param.get_value(), np.longdouble) for param in model.params
    )
    a = codes @ (W_prime[0] if W_prime else W.T) + b_prime
    return a if model.cost == "squared-error" else sigmoid(a)


@pytest.fixture(params=["float64", "float32"])
def model(request):
    return new_model(dtype=request.param)


@pytest.fixture(params=["tied", "linear and not tied"])
def any_model(request, model):
    """A model of either dtype, with either decoder."""
    if request.param == "tied":
        return model
    return new_model(dtype=model.x.dtype, cost="squared-error", tied_weights=False)


# What they compute


@pytest.mark.parametrize("n", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, N_IMAGES])
def test_codes_and_reconstructions_are_those_of_numpy(any_model, n):
    model = any_model
    images, dtype = BYTES[:n], model.x.dtype
    x = images.astype(np.longdouble) / 256
    y = expected_codes(model, x)
    for found, expected in [
        (model.encode(images), y),
        (model.decode(y.astype(dtype)), expected_images(model, y)),
        (model.reconstruct(images), expected_images(model, y)),
    ]:
        assert found.dtype == dtype
        assert found.shape == expected.shape
        atol = 0 if model.cost == "cross-entropy" else TOLERANCE[dtype]
        assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=atol)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x,
        lambda x: x.astype("float32"),
        lambda x: x.astype(">f8"),
        lambda x: x.astype("float16"),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.tolist(),
    ],
)
def test_floats_of_any_kind_are_taken_and_the_dtype_of_the_model_comes_back(model, convert):
    x = BYTES / 256  # which all of the types can represent
    images = convert(x)
    before = np.array(images)
    for method in model.encode, model.reconstruct, lambda x: model.corrupt(x, 0.3, seed=1):
        found = method(images)
        assert found.dtype == model.x.dtype
        assert_array_equal(found, method(BYTES))
    assert_array_equal(images, before)


def test_one_call_gives_what_many_give(model):
    rows = [model.encode(BYTES[i : i + 1]) for i in range(0, N_IMAGES, 50)]
    assert_allclose(np.concatenate(rows), model.encode(BYTES)[::50], rtol=TOLERANCE[model.x.dtype])


def test_standardized_models_take_and_return_pixels(any_model):
    model = any_model
    dtype = model.x.dtype
    mean, scale = RandomState(3).uniform(0.1, 2, size=(2, N_VISIBLE))
    plain = copy.copy(model)
    model.mean, model.scale = mean, scale
    x = BYTES / 256
    standardized = (x - mean) / scale
    y = expected_codes(model, standardized)
    tolerance = {"rtol": 50 * TOLERANCE[dtype], "atol": 50 * TOLERANCE[dtype]}
    z = expected_images(model, y) * scale + mean
    assert_allclose(model.encode(BYTES), y, **tolerance)
    assert_allclose(model.reconstruct(x), z, **tolerance)
    assert_allclose(model.decode(y.astype(dtype)), z, **tolerance)
    tilde_x = model.corrupt(BYTES, 0.4, seed=5)
    hidden = plain.corrupt(np.ones_like(x), 0.4, seed=5) == 0
    assert_allclose(tilde_x, np.where(hidden, mean, x), **tolerance)
    for found in model.encode(BYTES), model.reconstruct(BYTES), tilde_x:
        assert found.dtype == dtype


def test_a_pickle_knows_mean_and_scale(model):
    model.mean, model.scale = RandomState(3).uniform(0.1, 2, size=(2, N_VISIBLE))
    other = pickle.loads(pickle.dumps(model))
    for name in "mean", "scale":
        assert_array_equal(getattr(other, name), getattr(model, name))
    assert_array_equal(other.reconstruct(BYTES), model.reconstruct(BYTES))
    assert_array_equal(copy.deepcopy(model).reconstruct(BYTES), model.reconstruct(BYTES))


# Noise


@pytest.mark.parametrize("level", [0.25, np.float32(0.25)])
def test_the_noise_is_that_of_the_model_and_its_seed(model, level):
    tilde_x = model.corrupt(BYTES, level, seed=3)
    hidden = tilde_x == 0
    assert_array_equal(tilde_x[~hidden], (BYTES / 256)[~hidden])
    assert abs(hidden.mean() - 0.25) < 0.02
    assert not (hidden[:BATCH_SIZE] == hidden[BATCH_SIZE : 2 * BATCH_SIZE]).all()
    assert_array_equal(model.corrupt(BYTES, level, seed=3), tilde_x)
    assert_array_equal(model.reconstruct(BYTES, level, seed=3), model.reconstruct(tilde_x))
    assert (model.corrupt(BYTES, level, seed=4) != tilde_x).any()
    assert (model.corrupt(BYTES, level) != model.corrupt(BYTES, level)).any()


@pytest.mark.parametrize("corruption", ["salt-and-pepper", "gaussian"])
def test_the_other_kinds_of_noise(model, corruption):
    dtype = model.x.dtype
    noisy = new_model(dtype=dtype, corruption=corruption)
    tilde_x = noisy.corrupt(BYTES, 0.5, seed=3)
    assert tilde_x.dtype == dtype
    noise = tilde_x - BYTES / 256
    if corruption == "gaussian":
        assert abs(noise.std() - 0.5) < 0.01
    else:
        assert abs((np.isin(tilde_x, [0, 1]) & (abs(noise) > 0)).mean() - 0.5) < 0.02
    assert_array_equal(noisy.reconstruct(BYTES, 0.5, seed=3), model.reconstruct(tilde_x))


def test_without_noise_nothing_is_drawn(model):
    assert_array_equal(model.corrupt(BYTES, 0), BYTES / 256)
    clean = new_model(Autoencoder, model.x.dtype)
    assert_array_equal(clean.corrupt(BYTES, 0.5), BYTES / 256)
    assert_array_equal(clean.reconstruct(BYTES, 0.5), model.reconstruct(BYTES))


def test_a_training_does_not_notice():
    """The noise of a training is the same whether or not images were reconstructed meanwhile."""
    x = pytensor.shared(BYTES / 256)
    costs = []
    for looks in False, True:
        model = new_model()
        if looks:
            model.reconstruct(BYTES, 0.3)
        state = model.theano_rng.get_state()
        train_da = compile_train_da(
            model, x, batch_size=20, corruption_level=0.3, learning_rate=0.1
        )
        costs.append([])
        for i in range(5):
            costs[-1].append(train_da(i))
            if looks:
                model.reconstruct(BYTES, 0.3)
                model.corrupt(BYTES, 0.2)
        assert model.theano_rng.get_state().shape == (len(state) + 1, 628)
    assert costs[0] == costs[1]


# One compilation for each model, whatever becomes of it


@pytest.fixture
def n_compiled(monkeypatch):
    """Count the functions that are compiled."""
    calls = []
    function = pytensor.function
    monkeypatch.setattr(
        pytensor,
        "function",
        lambda *args, **settings: calls.append(0) or function(*args, **settings),
    )
    return lambda: len(calls)


def test_a_formula_is_compiled_once(n_compiled):
    model = new_model()
    assert n_compiled() == 0
    for _ in range(3):
        model.encode(BYTES)
        model.decode(model.encode(BYTES))
        model.reconstruct(BYTES)
        model.reconstruct(BYTES, 0.5)
    assert n_compiled() == 4


def test_new_parameters_are_heeded(model):
    model.encode(BYTES)
    model.W.set_value(-model.W.get_value())
    expected = expected_codes(model, BYTES / np.longdouble(256))
    assert_allclose(model.encode(BYTES), expected, rtol=TOLERANCE[model.x.dtype])


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_have_weights_of_their_own_or_not(duplicate):
    model = new_model()
    codes = model.encode(BYTES)
    other = duplicate(model)
    assert_array_equal(other.encode(BYTES), codes)
    shares = duplicate is copy.copy
    other.W.set_value(-other.W.get_value())
    changed = other.encode(BYTES)
    assert (changed != codes).all()
    assert_array_equal(model.encode(BYTES), changed if shares else codes)
    other.W = pytensor.shared(np.zeros((N_VISIBLE, N_HIDDEN)))
    assert_array_equal(model.encode(BYTES), changed if shares else codes)


class Halved(DenoisingAutoencoder):
    def get_hidden_values(self, input):
        return super().get_hidden_values(input) / 2

    def get_corrupted_input(self, input, corruption_level):
        return input + self.theano_rng.normal(size=input.shape, std=corruption_level)


def test_methods_that_a_subclass_overrides_are_used():
    model, halved = new_model(), new_model(Halved)
    assert_array_equal(halved.encode(BYTES), model.encode(BYTES) / 2)
    assert_array_equal(halved.reconstruct(BYTES), model.decode(model.encode(BYTES) / 2))
    noise = halved.corrupt(BYTES, 0.5, seed=1) - BYTES / 256
    assert abs(noise.std() - 0.5) < 0.02


# How they refuse


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (BYTES[:, 1:], "images has the shape (967, 11); expected (n, 12), one in each row"),
        (BYTES[0], "images has the shape (12,); expected (n, 12)"),
        (BYTES.reshape(-1, 3, 4), "images has the shape (967, 3, 4); expected (n, 12)"),
        (0.5, "images has the shape (); expected (n, 12)"),
        (BYTES.astype(int), "images has the dtype int64; expected bytes (uint8) or floats"),
        (BYTES > 5, "images has the dtype bool; expected bytes (uint8) or floats"),
        (BYTES.astype(str), "expected bytes (uint8) or floats"),
        (BYTES + 1j, "images has the dtype complex128; expected bytes (uint8) or floats"),
    ],
)
def test_what_are_no_images_is_refused_in_one_line(images, words):
    model = new_model()
    for method in model.encode, model.reconstruct, lambda x: model.corrupt(x, 0.3):
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            method(images)
        assert "\n" not in str(caught.value)


def test_what_are_no_codes_is_refused():
    model = new_model()
    with pytest.raises(ValueError, match=r"codes has the shape \(3, 12\); expected \(n, 5\), one"):
        model.decode(BYTES[:3] / 256)
    with pytest.raises(ValueError, match="codes has the dtype uint8; expected floats"):
        model.decode(BYTES[:3, :N_HIDDEN])


@pytest.mark.parametrize("level", [-0.1, 1.5, np.float32(2)])
def test_an_impossible_corruption_level_is_refused(level):
    model = new_model()
    for method in model.reconstruct, model.corrupt:
        with pytest.raises(ValueError, match=r"corruption_level is .*; expected"):
            method(BYTES, level)


# What they cost


@given(st.integers(0, 3 * BATCH_SIZE), st.integers(0, 3 * BATCH_SIZE))
@settings(max_examples=20, deadline=None)
def test_any_number_of_images_is_split_and_joined_without_loss(n, start):
    x = BYTES[start : start + n]
    assert_array_equal(AGAIN.corrupt(x, 0), x / 256)


AGAIN = new_model()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_memory_is_that_of_the_result_and_of_a_batch(dtype):
    model = new_model(n_visible=784, n_hidden=10)
    images = RandomState(4).randint(2, size=(20_000, 784)).astype(dtype)
    for method in model.encode, model.reconstruct, lambda x: model.reconstruct(x, 0.3):
        method(images[:1])  # compiled
        tracemalloc.start()
        result = method(images)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < result.nbytes + 5 * BATCH_SIZE * 784 * 8
