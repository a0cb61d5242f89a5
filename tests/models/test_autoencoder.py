import base64
import copy
import itertools
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import corrupted, cost_and_gradients, sigmoid

from dae import Autoencoder, DenoisingAutoencoder, RandomStreams
from dae.random.ops import pack

MODES = ["NUMBA", "FAST_COMPILE"]
COSTS = ["cross-entropy", "squared-error"]
NOISES = ["masking", "salt-and-pepper", "gaussian"]
KINDS = list(itertools.product(COSTS, NOISES, [True, False]))
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


def make_kind(cost, noise, tied):
    return make(DenoisingAutoencoder, cost=cost, corruption=noise, tied_weights=tied)


# The cost and the weights make a graph together; the noise is made by itself, before all the rest,
# so that it is enough that each kind meets each cost, each kind of weights and each dtype.
@pytest.mark.parametrize(
    ("cost", "noise", "tied", "floatX"),
    [
        ("cross-entropy", "masking", True, "float32"),
        ("cross-entropy", "gaussian", True, "float64"),
        ("cross-entropy", "salt-and-pepper", False, "float32"),
        ("cross-entropy", "masking", False, "float64"),
        ("squared-error", "gaussian", True, "float32"),
        ("squared-error", "salt-and-pepper", True, "float64"),
        ("squared-error", "masking", False, "float32"),
        ("squared-error", "gaussian", False, "float64"),
    ],
    indirect=["floatX"],
)
def test_steps_of_all_kinds(cost, noise, tied, floatX):
    da, x = make_kind(cost, noise, tied)
    expected = [param.get_value().astype("longdouble") for param in da.params]
    symbolic_cost, updates = da.get_cost_updates(corruption_level=0.4, learning_rate=0.1)
    step = pytensor.function([da.x], symbolic_cost, updates=updates)
    da.theano_rng.seed(3)
    noise_rng = RandomState(int(RandomState(3).randint(2**30)))
    assert len(expected) == 3 + (not tied)
    for _ in range(4):
        tilde_x = corrupted(noise, 0.4, x, noise_rng)
        expected_cost, gradients = cost_and_gradients(tilde_x, x, *expected, cost=cost)
        expected = [p - 0.1 * g for p, g in zip(expected, gradients, strict=True)]
        assert_allclose(step(x), float(expected_cost), rtol=5 * TOLERANCE[floatX])
    for param, value in zip(da.params, expected, strict=True):
        assert param.get_value().dtype == floatX
        tolerance = 5 * TOLERANCE[floatX]
        assert_allclose(param.get_value(), value.astype("float64"), tolerance, tolerance)


@pytest.mark.parametrize(("cost", "noise", "tied"), KINDS)
def test_gradients_are_differences(cost, noise, tied):
    da, x = make_kind(cost, noise, tied)
    symbolic_cost, _ = da.get_cost_updates(corruption_level=0.4, learning_rate=0.1)
    gradients = pytensor.grad(symbolic_cost, da.params)
    # Without updates, so that the noise is the same each time.
    compute = pytensor.function([da.x], [symbolic_cost, *gradients], mode="FAST_COMPILE")
    _, *gradients = compute(x)
    for param, gradient in zip(da.params, gradients, strict=True):
        value = param.get_value()
        for index in np.ndindex(value.shape):
            around = []
            for h in (-1e-5, 1e-5):
                moved = value.copy()
                moved[index] += h
                param.set_value(moved)
                around.append(compute(x)[0])
            difference = (around[1] - around[0]) / 2e-5
            assert_allclose(gradient[index], difference, rtol=1e-6, atol=1e-7)
        param.set_value(value)


@pytest.mark.parametrize("mode", MODES)
def test_the_squared_error_has_a_linear_decoder(mode, floatX):
    da, x = make(cost="squared-error")
    W, b, b_prime = (param.get_value() for param in da.params)
    x = 10 * x - 5
    z = sigmoid(x @ W + b) @ W.T + b_prime
    actual = da.feedforward().eval({da.x: x}, mode=mode)
    assert actual.dtype == floatX
    assert_allclose(actual, z, rtol=TOLERANCE[floatX], atol=TOLERANCE[floatX])
    assert z.min() < 0 < 1 < z.max()


@pytest.mark.parametrize("noise", [None, *NOISES])
@pytest.mark.parametrize("cost", COSTS)
def test_the_validation_loss_is_the_cost_without_noise(cost, noise, floatX):
    da, x = make(cost=cost) if noise is None else make_kind(cost, noise, tied=False)
    loss = da.get_validation_loss()
    assert loss.ndim == 0
    assert not da.theano_rng.updates(loss)
    expected, _ = cost_and_gradients(x, x, *(p.get_value() for p in da.params), cost=cost)
    actual = loss.eval({da.x: x})
    assert actual.dtype == floatX
    assert_allclose(actual, float(expected), rtol=TOLERANCE[floatX])


def test_weights_that_are_not_tied_are_drawn_last(floatX):
    da = Autoencoder(
        RandomState(123), RandomStreams(1), n_visible=6, n_hidden=4, tied_weights=False
    )
    rng, bound = RandomState(123), 4 * np.sqrt(6 / 10)
    for param, shape in [(da.W, (6, 4)), (da.W_prime, (4, 6))]:
        assert_array_equal(param.get_value(), rng.uniform(-bound, bound, shape).astype(floatX))
    assert da.params == [da.W, da.b, da.b_prime, da.W_prime]
    assert [param.name for param in da.params] == ["W", "b", "b_prime", "W_prime"]


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="cost is 'mse'; expected one of 'cross-entropy', 'squ"):
        Autoencoder(RandomState(1), cost="mse")
    with pytest.raises(ValueError, match="corruption is 'salt'; expected one of 'masking', 'salt-"):
        DenoisingAutoencoder(RandomState(1), corruption="salt")


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
@pytest.mark.parametrize("noise", ["masking", "salt-and-pepper"])
def test_impossible_corruption_level_is_refused(noise, level):
    da, _ = make(DenoisingAutoencoder, corruption=noise)
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
    cost, updates = other.get_cost_updates(0.4, 0.1)
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
    cost, updates = other.get_cost_updates(0.4, 0.1)
    before = da.W.get_value()
    pytensor.function([da.x], cost, updates=updates)(x)
    assert np.any(da.W.get_value() != before)


def test_a_deep_copy_has_the_same_noise_next():
    da, x = make(DenoisingAutoencoder)
    first, first_updates = da.get_cost_updates(0.4, 0.1)
    other = copy.deepcopy(da)
    steps = []
    for model in (da, other):
        cost, updates = model.get_cost_updates(0.4, 0.1)
        steps.append(pytensor.function([model.x], cost, updates=updates))
    for _ in range(3):
        costs = [step(x) for step in steps]
        assert costs[0] == costs[1]
    assert_array_equal(da.W.get_value(), other.W.get_value())
    pytensor.function([da.x], first, updates=first_updates)(x)
    assert np.any(da.W.get_value() != other.W.get_value())


@pytest.mark.parametrize(
    "duplicate",
    [lambda da: pickle.loads(pickle.dumps(da)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
@pytest.mark.parametrize(
    ("cost", "noise", "tied"),
    [
        ("squared-error", "gaussian", True),
        ("cross-entropy", "salt-and-pepper", False),
        ("squared-error", "masking", False),
    ],
)
def test_duplicates_are_of_the_same_kind(duplicate, cost, noise, tied):
    da, x = make_kind(cost, noise, tied)
    other = duplicate(da)
    assert (other.cost, other.corruption) == (cost, noise)
    assert len(other.params) == 3 + (not tied)
    before, results = [param.get_value() for param in da.params], []
    for model in (da, other):
        symbolic_cost, updates = model.get_cost_updates(0.4, 0.1)
        step = pytensor.function([model.x], symbolic_cost, updates=updates)
        [state] = model.theano_rng.updates(symbolic_cost)
        state.set_value(pack(RandomState(3)))
        for param, value in zip(model.params, before, strict=True):
            param.set_value(value)
        costs = [step(x) for _ in range(3)]
        results.append([*costs, *(param.get_value() for param in model.params)])
    for actual, expected in zip(*results, strict=True):
        assert_array_equal(actual, expected)


OLD_PICKLE = """
gASVEwEAAAAAAACMFmRhZS5tb2RlbHMuYXV0b2VuY29kZXKUjBREZW5vaXNpbmdBdXRvZW5jb2RlcpSTlCmBlIwWbnVt
cHkuX2NvcmUubXVsdGlhcnJheZSMDF9yZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMBYpSHlFKUKEsB
SwJLAYaUaAeMBWR0eXBllJOUjAJmNJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiiUMIAAAAPwAAgL6UdJRiaAZo
CUsAhZRoC4eUUpQoSwFLAYWUaBOJQwQAAIA/lHSUYmgGaAlLAIWUaAuHlFKUKEsBSwKFlGgTiUMIAAAAQAAAQECUdJRih5Ri
Lg=="""
"""Of a DenoisingAutoencoder of version 0.1, which knew one cost and one kind of noise."""


def test_an_old_pickle():
    da = pickle.loads(base64.b64decode(OLD_PICKLE))
    assert type(da) is DenoisingAutoencoder
    assert (da.cost, da.corruption) == ("cross-entropy", "masking")
    assert (da.n_visible, da.n_hidden) == (2, 1)
    for param, expected in zip(da.params, [[[0.5], [-0.25]], [1], [2, 3]], strict=True):
        assert_array_equal(param.get_value(), expected)
        assert param.dtype == da.x.dtype == "float32"


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
        cost, _ = other.get_cost_updates(0.4, 0.1)
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
