import copy
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import cost_and_gradients, sigmoid

from dae import Autoencoder, DenoisingAutoencoder, RandomStreams

MODES = ["NUMBA", "FAST_COMPILE"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@pytest.fixture(params=["float32", "float64"])
def floatX(request):
    with pytensor.config.change_flags(floatX=request.param):
        yield request.param


def make(kind=Autoencoder, scale=1.0, **sizes):
    """A model with biases that are not zero, and a minibatch for it."""
    rng = RandomState(7)
    da = kind(rng, **{"n_visible": 12, "n_hidden": 5, **sizes})
    for param in da.params:
        value = scale * rng.normal(size=param.get_value().shape)
        param.set_value(value.astype(pytensor.config.floatX))
    x = rng.uniform(size=(4, da.n_visible)).astype(pytensor.config.floatX)
    return da, x


def test_initial_parameters_are_the_tutorials(floatX):
    da = Autoencoder(RandomState(123), n_visible=6, n_hidden=4)
    rng = RandomState(123)
    rng.randint(2**30)
    bound = 4 * np.sqrt(6 / 10)
    assert_array_equal(
        da.W.get_value(), rng.uniform(low=-bound, high=bound, size=(6, 4)).astype(floatX)
    )
    assert_array_equal(da.b.get_value(), np.zeros(4))
    assert_array_equal(da.b_prime.get_value(), np.zeros(6))
    assert da.params == [da.W, da.b, da.b_prime]
    assert {param.dtype for param in da.params} == {da.x.dtype} == {floatX}
    assert (da.n_visible, da.n_hidden) == (6, 4)


def test_default_sizes_are_the_tutorials():
    assert Autoencoder(RandomState(1)).W.get_value(borrow=True).shape == (784, 500)


def test_given_random_streams_leave_the_weights_the_first_draw():
    theano_rng = RandomStreams(1)
    da = Autoencoder(RandomState(123), theano_rng, n_visible=6, n_hidden=4)
    bound = 4 * np.sqrt(6 / 10)
    assert da.theano_rng is theano_rng
    assert_array_equal(
        da.W.get_value(),
        RandomState(123).uniform(-bound, bound, (6, 4)).astype(pytensor.config.floatX),
    )


def test_without_random_streams_their_seed_is_drawn_first():
    da = DenoisingAutoencoder(RandomState(123), n_visible=6, n_hidden=4)
    mask = da.get_corrupted_input(pt.ones((3, 6)), 0.5).eval()
    seed = RandomState(int(RandomState(123).randint(2**30))).randint(2**30)
    assert_array_equal(mask, RandomState(int(seed)).binomial(1, 0.5, (3, 6)))


@pytest.mark.parametrize("mode", MODES)
def test_encode_and_decode(mode, floatX):
    da, x = make()
    W, b, b_prime = (param.get_value() for param in da.params)
    y = sigmoid(x @ W + b)
    z = sigmoid(y @ W.T + b_prime)
    assert_allclose(da.get_hidden_values(da.x).eval({da.x: x}, mode=mode), y, TOLERANCE[floatX])
    assert_allclose(da.feedforward().eval({da.x: x}, mode=mode), z, TOLERANCE[floatX])
    hidden = pt.matrix("hidden", dtype=floatX)
    decode = da.get_reconstructed_input(hidden).eval({hidden: y.astype(floatX)}, mode=mode)
    assert_allclose(decode, z, TOLERANCE[floatX])
    assert decode.dtype == floatX


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
@pytest.mark.parametrize("scale", [1.0, 400.0])  # the second one saturates all units
def test_one_update(mode, kind, scale, floatX):
    da, x = make(kind, scale)
    before = [param.get_value() for param in da.params]
    cost, updates = da.get_cost_updates(corruption_level=0.4, learning_rate=0.1)
    assert set(updates) >= set(da.params)
    step = pytensor.function([da.x], cost, updates=updates, mode=mode)
    tilde_x = x
    if kind is DenoisingAutoencoder:
        [(state, _)] = da.theano_rng.state_updates
        da.theano_rng.seed(3)
        mask = RandomState(int(RandomState(3).randint(2**30))).binomial(1, 1 - 0.4, x.shape)
        tilde_x = mask * x
        assert state in updates
    expected_cost, gradients = cost_and_gradients(tilde_x, x, *before)
    actual_cost = step(x)
    assert actual_cost.dtype == floatX
    assert_allclose(actual_cost, float(expected_cost), rtol=TOLERANCE[floatX])
    for param, value, gradient in zip(da.params, before, gradients, strict=True):
        assert param.get_value().dtype == floatX
        assert_allclose(
            param.get_value(),
            (value - 0.1 * gradient).astype("float64"),
            rtol=TOLERANCE[floatX],
            atol=TOLERANCE[floatX],
        )


def test_learning_rate_and_corruption_level_may_be_symbolic(floatX):
    da, x = make(DenoisingAutoencoder)
    rate, level = pt.dscalar("rate"), pt.dscalar("level")
    cost, updates = da.get_cost_updates(level, rate)
    step = pytensor.function([da.x, rate, level], cost, updates=updates)
    before = da.W.get_value()
    step(x, 0.0, 0.5)
    assert_array_equal(da.W.get_value(), before)
    step(x, 0.1, 0.5)
    assert np.any(da.W.get_value() != before)


def test_noise_is_new_for_every_minibatch():
    da, x = make(DenoisingAutoencoder)
    cost, updates = da.get_cost_updates(corruption_level=0.5, learning_rate=0.0)
    step = pytensor.function([da.x], cost, updates=updates)
    assert len({float(step(x)) for _ in range(5)}) == 5


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_impossible_corruption_level_is_refused(level):
    da, _ = make(DenoisingAutoencoder)
    with pytest.raises(ValueError, match=r"corruption_level is .*; expected a number in \[0, 1\]"):
        da.get_cost_updates(corruption_level=level, learning_rate=0.1)


def test_given_parameters_are_shared():
    first, x = make()
    x_var = pt.matrix("x")
    second = Autoencoder(
        RandomState(1), None, x_var, 12, 5, W=first.W, bhid=first.b, bvis=first.b_prime
    )
    assert second.x is x_var
    assert second.params == first.params
    cost, updates = second.get_cost_updates(0.0, 0.1)
    before = first.W.get_value()
    pytensor.function([x_var], cost, updates=updates)(x)
    assert np.any(first.W.get_value() != before)


@pytest.mark.parametrize(
    "duplicate",
    [lambda da: pickle.loads(pickle.dumps(da)), copy.deepcopy],
    ids=["pickle", "deepcopy"],
)
@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
def test_duplicates_have_weights_of_their_own(duplicate, kind, floatX):
    da, x = make(kind)
    other = duplicate(da)
    assert type(other) is kind
    assert (other.n_visible, other.n_hidden) == (12, 5)
    for param, other_param in zip(da.params, other.params, strict=True):
        assert other_param is not param
        assert_array_equal(other_param.get_value(), param.get_value())
    assert_array_equal(other.feedforward().eval({other.x: x}), da.feedforward().eval({da.x: x}))
    cost, updates = other.get_cost_updates(0.3, 0.1)
    before = da.W.get_value()
    pytensor.function([other.x], cost, updates=updates)(x)
    assert_array_equal(da.W.get_value(), before)
    assert np.any(other.W.get_value() != before)


@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
def test_a_copy_shares_everything(kind):
    da, x = make(kind)
    other = copy.copy(da)
    assert type(other) is kind
    assert vars(other) == vars(da)
    cost, updates = other.get_cost_updates(0.3, 0.1)
    before = da.W.get_value()
    pytensor.function([da.x], cost, updates=updates)(x)
    assert np.any(da.W.get_value() != before)


def test_a_deep_copy_has_the_same_noise_next():
    da, x = make(DenoisingAutoencoder)
    first, first_updates = da.get_cost_updates(0.5, 0.1)
    other = copy.deepcopy(da)
    steps = []
    for model in (da, other):
        cost, updates = model.get_cost_updates(0.5, 0.1)
        steps.append(pytensor.function([model.x], cost, updates=updates))
    for _ in range(3):
        costs = [step(x) for step in steps]
        assert costs[0] == costs[1]
    assert_array_equal(da.W.get_value(), other.W.get_value())
    pytensor.function([da.x], first, updates=first_updates)(x)
    assert np.any(da.W.get_value() != other.W.get_value())


def test_models_that_share_weights_do_so_when_copied_together():
    da, _ = make()
    W, other_W = (model.W for model in copy.deepcopy([da, Autoencoder(RandomState(1), W=da.W)]))
    assert W is other_W
    assert W is not da.W


def test_the_noise_of_an_unpickled_model_can_be_chosen():
    da, x = make(DenoisingAutoencoder)
    costs = []
    for _ in range(2):
        other = pickle.loads(pickle.dumps(da))
        cost, _ = other.get_cost_updates(0.5, 0.1)
        other.theano_rng.seed(3)
        costs.append(pytensor.function([other.x], cost)(x))
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ({"W": (12, 5)}, [(12, 5), (5,), (12,)]),
        ({"bhid": (7,)}, [(784, 7), (7,), (784,)]),
        ({"bvis": (7,)}, [(7, 500), (500,), (7,)]),
        ({"W": (12, 5), "bvis": (12,)}, [(12, 5), (5,), (12,)]),
        ({}, [(784, 500), (500,), (784,)]),
    ],
)
def test_sizes_are_those_of_what_is_given(given, shapes):
    params = {name: pytensor.shared(np.ones(shape)) for name, shape in given.items()}
    da = Autoencoder(RandomState(1), **params)
    assert [param.get_value().shape for param in da.params] == shapes
    assert (da.n_visible, da.n_hidden) == shapes[0]


def test_the_size_of_a_symbolic_parameter_is_taken_from_its_type():
    da = Autoencoder(RandomState(1), W=pt.tensor(dtype="float64", shape=(6, None)), n_hidden=4)
    assert (da.n_visible, da.n_hidden) == (6, 4)
    assert da.b.get_value().shape == (4,)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"n_hidden": 500, "W": (12, 5)}, ValueError, "n_hidden is given as 500, W says 5"),
        ({"n_visible": 784, "bvis": (5,)}, ValueError, "784, W says None, and its bias 5"),
        ({"W": (12, 5), "bhid": (4,)}, ValueError, "n_hidden .* W says 5, and its bias 4"),
        ({"W": (12,)}, TypeError, "expected a shared variable with 2 dimensions"),
        ({"bhid": (12, 1)}, TypeError, "expected a shared variable with 1 dimension"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(given, error, message):
    params = {
        name: pytensor.shared(np.ones(value)) if isinstance(value, tuple) else value
        for name, value in given.items()
    }
    with pytest.raises(error, match=message):
        Autoencoder(RandomState(1), **params)


def test_an_array_is_no_parameter():
    with pytest.raises(TypeError, match="expected a shared variable"):
        Autoencoder(RandomState(1), W=np.ones((2, 3)))


def test_state_is_three_arrays():
    da, _ = make()
    W, b, b_prime = da.__getstate__()
    assert (W.shape, b.shape, b_prime.shape) == ((12, 5), (5,), (12,))
