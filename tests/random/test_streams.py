import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import SAMPLE, normal_pairs, short_uniform

from dae import RandomStreams
from dae.random import _twister
from dae.random.ops import pack, unpack

SEEDS = st.integers(0, 2**32 - 1)
MODES = ["NUMBA", "FAST_COMPILE"]


def stream(seed, number=0):
    """The generator behind the random variable with that number, as Theano seeds it."""
    gen = RandomState(seed)
    for _ in range(number):
        gen.randint(2**30)
    return RandomState(int(gen.randint(2**30)))


@pytest.fixture(scope="module")
def draw_mask():
    """Compiled once: a mask of any length, from any state, with any probability."""
    theano_rng = RandomStreams(0)
    n, p = pt.lscalar(), pt.dscalar()
    mask = theano_rng.binomial(size=(n,), n=1, p=p)
    function = pytensor.function([n, p], mask, updates=theano_rng.updates())

    def draw(seed, *args):
        theano_rng.seed(seed)
        return [function(*arg) for arg in args]

    return draw


@pytest.mark.parametrize("mode", MODES)
def test_published_sample(mode):
    rng = RandomState(123)
    theano_rng = RandomStreams(rng.randint(2**30))
    sample = theano_rng.binomial(size=(10, 10), n=1, p=1 - 0.3)
    assert_array_equal(pytensor.function([], sample, mode=mode)(), SAMPLE)


@settings(deadline=None, max_examples=300)
@given(
    seed=SEEDS,
    calls=st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 1)), min_size=1, max_size=3),
)
def test_mask_is_the_binomial_of_random_state(draw_mask, seed, calls):
    expected = stream(seed)
    for (n, p), mask in zip(calls, draw_mask(seed, *calls), strict=True):
        assert_array_equal(mask, expected.binomial(1, p, n))


@pytest.mark.parametrize("p", [0.0, 2.0**-60, 0.3, 0.5, np.nextafter(0.5, 1), 0.7, 1.0])
def test_mask_at_special_probabilities(draw_mask, p):
    expected = stream(5)
    for mask in draw_mask(5, (1001, p), (7, 0.4), (1001, p)):
        assert_array_equal(mask, expected.binomial(1, 0.4 if len(mask) == 7 else p, len(mask)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("binomial", (1, 0.7)),
        ("binomial", (12, 0.3)),
        ("binomial", (1, [0.0, 0.5, 1.0])),
        ("uniform", (0.0, 1.0)),
        ("uniform", (-0.1, 7.3)),
        ("uniform", ([0.0, 1.0, 2.0], 5.0)),
        ("normal", (0.0, 1.0)),
        ("normal", (-4.2, 0.3)),
        ("normal", (0.0, [1.0, 2.0, 3.0])),
    ],
)
def test_draws_are_those_of_random_state(mode, name, params):
    theano_rng = RandomStreams(42)
    first = getattr(theano_rng, name)((5, 3), *params, dtype="float64")
    second = getattr(theano_rng, name)((3,), *params, dtype="float64")
    draw = pytensor.function([], [first, second], updates=theano_rng.updates(), mode=mode)
    expected = stream(42, 0), stream(42, 1)
    for _ in range(50):  # of an odd number of draws, so that blocks and pairs are split
        for value, rng, size in zip(draw(), expected, [(5, 3), (3,)], strict=True):
            assert_array_equal(value, getattr(rng, name)(*params, size))


@pytest.mark.parametrize("mode", [*MODES, "CVM"])
@pytest.mark.parametrize("floatX", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("uniform", (-0.1, 7.3)),
        ("uniform", (np.float32(-0.1), np.float64(7.3))),
        ("uniform", ([-0.1, 0.2], 7.3)),
        ("normal", (-4.2, 0.3)),
        ("normal", (1, [0.1, 0.7])),
        ("binomial", (1, 1 - 0.3)),
        ("binomial", (9, 0.3)),
    ],
)
def test_numbers_keep_their_digits_and_draws_are_cast_at_the_end(mode, floatX, name, params):
    with pytensor.config.change_flags(floatX=floatX):
        theano_rng = RandomStreams(42)
        draws = getattr(theano_rng, name)((1000, 2), *params)
        values = pytensor.function([], draws, mode=mode)()
    assert values.dtype == ("int64" if name == "binomial" else floatX)
    expected = getattr(stream(42), name)(*params, (1000, 2))
    assert_array_equal(values, expected.astype(values.dtype))


@pytest.mark.parametrize("mode", [*MODES, "CVM"])
def test_symbolic_parameters_are_what_their_dtype_holds(mode):
    low, high = pt.fscalar(), pt.dscalar()
    draws = RandomStreams(42).uniform((1000,), low, high, dtype="float64")
    values = pytensor.function([low, high], draws, mode=mode)(np.float32(-0.1), 7.3)
    assert_array_equal(values, stream(42).uniform(float(np.float32(-0.1)), 7.3, 1000))


@pytest.mark.parametrize("mode", MODES)
def test_draws_with_an_odd_number_of_words_used(mode):
    theano_rng = RandomStreams(1)
    u = theano_rng.uniform((400,), dtype="float64")
    expected = RandomState(9)
    expected.bytes(4)
    u.rng.set_value(pack(expected))
    draw = pytensor.function([], u, updates=theano_rng.updates(), mode=mode)
    for _ in range(3):
        assert_array_equal(draw(), expected.random_sample(400))
    assert_array_equal(unpack(u.rng.get_value()).random_sample(5), expected.random_sample(5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_uniform_draws_of_24_bits(mode, dtype):
    theano_rng = RandomStreams(42)
    first = theano_rng.uniform((40, 25), dtype=dtype, bits=24)
    second = theano_rng.uniform((3,), -0.1, 7.3, dtype=dtype, bits=24)
    third = theano_rng.uniform((3,), [0.0, 1.0, 2.0], 5.0, dtype=dtype, bits=24)
    outputs = [first, second, third]
    draw = pytensor.function([], outputs, updates=theano_rng.updates(), mode=mode)
    rngs = [stream(42, i) for i in range(3)]
    for _ in range(20):
        u = [short_uniform(rng, n).astype(float) for rng, n in zip(rngs, (1000, 3, 3), strict=True)]
        low = np.array([0.0, 1.0, 2.0])
        expected = u[0].reshape(40, 25), -0.1 + (7.3 - -0.1) * u[1], low + (5 - low) * u[2]
        for value, numbers in zip(draw(), expected, strict=True):
            assert_array_equal(value, numbers.astype(dtype))


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(ValueError, match="bits is 32; expected 53 or 24"):
        RandomStreams(1).uniform((3,), bits=32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_box_muller_is_its_formula(dtype):
    theano_rng = RandomStreams(42)
    first = theano_rng.normal((40, 25), dtype=dtype, method="box-muller")
    second = theano_rng.normal((3,), -4.2, 0.3, dtype=dtype, method="box-muller")
    draw = pytensor.function([], [first, second], updates=theano_rng.updates())
    rngs = stream(42, 0), stream(42, 1)
    tolerance = {"float32": 2e-6, "float64": 5e-15}[dtype]
    for _ in range(50):
        values = draw()
        expected = normal_pairs(rngs[0], 1000, dtype), normal_pairs(rngs[1], 4, dtype)
        assert [value.dtype for value in values] == [dtype, dtype]
        assert_allclose(values[0].ravel(), expected[0].astype(float), tolerance, tolerance)
        assert_allclose(values[1], (-4.2 + 0.3 * expected[1][:3]).astype(float), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_box_muller_is_the_same_in_all_modes(dtype):
    results = []
    for mode in [*MODES, "CVM"]:
        theano_rng = RandomStreams(42)
        normals = [
            theano_rng.normal(size, 0.1, std, dtype, method="box-muller")
            for size, std in [((20, 784), 0.3), ((3,), 2), ((), 1.0), ((0, 2), 1.0)]
        ]
        draw = pytensor.function([], normals, updates=theano_rng.updates(), mode=mode)
        results.append([value for _ in range(20) for value in draw()] + [theano_rng.get_state()])
    for values in zip(*results, strict=True):
        for value in values[1:]:
            assert value.dtype == values[0].dtype
            assert_array_equal(value, values[0])


@pytest.mark.parametrize("mode", MODES)
def test_box_muller_with_a_deviation_for_each_column(mode):
    deviations = np.array([0.0, 1.0, 2.0])
    expected = RandomStreams(1).normal((4, 3), dtype="float64", method="box-muller").eval()
    normal = RandomStreams(1).normal((4, 3), 1, deviations, dtype="float64", method="box-muller")
    assert_array_equal(normal.eval(mode=mode), 1 + deviations * expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_box_muller_at_the_ends(dtype):
    pair = _twister.normal_pair(dtype)
    largest = {"float32": 1 - 2.0**-24, "float64": 1 - 2.0**-53}[dtype]
    u = np.array([0, 2.0**-24, 0.5, largest], dtype)
    for v in (0, 0.25, 0.5, largest):
        x, y = pair(u, np.full(4, v, dtype))
        radius = np.sqrt(-2 * np.log1p(-u.astype("longdouble")))
        angle = 2 * np.longdouble(np.pi) * (np.longdouble(v) - 0.5)
        tolerance = {"float32": 5e-6, "float64": 1e-14}[dtype]
        assert_allclose(x, (radius * np.cos(angle)).astype(float), tolerance, tolerance)
        assert_allclose(y, (radius * np.sin(angle)).astype(float), tolerance, tolerance)
        assert np.hypot(x, y).max() < {"float32": 5.8, "float64": 8.6}[dtype]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'ziggurat'; expected 'polar' or 'box-muller'"):
        RandomStreams(1).normal((3,), method="ziggurat")


def test_shape_and_dtype_follow_the_arguments():
    theano_rng = RandomStreams(3)
    assert theano_rng.uniform((2, 3)).dtype == pytensor.config.floatX
    assert theano_rng.binomial((2, 3)).dtype == "int64"
    assert theano_rng.binomial(dtype="float32").eval().shape == ()
    assert theano_rng.normal(avg=np.zeros((4, 1)), std=np.ones(3)).eval().shape == (4, 3)
    x = pt.matrix(dtype="float64")
    assert theano_rng.uniform(x.shape).eval({x: np.zeros((3, 0))}).shape == (3, 0)


def test_without_updates_the_same_numbers_come_again():
    u = RandomStreams(1).uniform((4,))
    frozen = pytensor.function([], u)
    assert_array_equal(frozen(), frozen())


def test_updates_of_an_expression_are_those_of_its_streams():
    theano_rng = RandomStreams(1)
    u, v = theano_rng.uniform((4,)), theano_rng.normal((4,))
    assert theano_rng.updates(2 * v) == dict([v.update])
    assert theano_rng.updates([u, v]) == theano_rng.updates() == dict([u.update, v.update])


def test_state_goes_on_where_it_was():
    def make():
        theano_rng = RandomStreams(8)
        outputs = [theano_rng.normal((3,)), theano_rng.binomial((5,))]
        return theano_rng, pytensor.function([], outputs, updates=theano_rng.updates())

    theano_rng, draw = make()
    draw()
    state = theano_rng.get_state()
    expected = draw(), draw(), theano_rng.uniform((2,)).eval()
    other_rng, draw_other = make()
    other_rng.set_state(state)
    for value, other in zip(
        expected, (draw_other(), draw_other(), other_rng.uniform((2,)).eval()), strict=True
    ):
        for array, other_array in zip(value, other, strict=True):
            assert_array_equal(array, other_array)


def test_state_of_other_streams_is_refused():
    theano_rng = RandomStreams(8)
    state = theano_rng.get_state()
    theano_rng.uniform((2,))
    with pytest.raises(ValueError, match=r"\(1, 628\); expected uint32 \(2, 628\)"):
        theano_rng.set_state(state)


@given(seed=SEEDS, normals=st.integers(0, 3), words=st.integers(0, 1300))
def test_pack_and_unpack_are_inverse(seed, normals, words):
    expected = RandomState(seed)
    expected.bytes(4 * words)
    expected.normal(size=normals)
    actual = unpack(pack(expected))
    assert_array_equal(actual.normal(size=3), expected.normal(size=3))
    assert actual.randint(2**30) == expected.randint(2**30)


@pytest.mark.parametrize("mode", MODES)
def test_impossible_parameters_raise(mode):
    p = pt.dscalar()
    with pytest.raises(ValueError, match="p < 0, p > 1 or p is"):
        RandomStreams(1).binomial((3,), p=p).eval({p: 1.5}, mode=mode)
    std = pt.dscalar()
    for value in [-1.0, -0.0]:
        for method in ["polar", "box-muller"]:
            with pytest.raises(ValueError, match="scale < 0"):
                RandomStreams(1).normal((3,), std=std, method=method).eval({std: value}, mode=mode)
    for bounds in [(-1e308, 1e308), (0.0, np.inf), (np.nan, 1.0)]:
        for bits in [53, 24]:
            with (
                pytest.raises(OverflowError, match="Range exceeds valid bounds"),
                np.errstate(all="ignore"),
            ):
                RandomStreams(1).uniform((3,), *bounds, bits=bits).eval(mode=mode)


def test_nothing_is_differentiated_through_a_draw():
    p = pt.dscalar()
    mask = RandomStreams(1).binomial((3,), p=p, dtype="float64")
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pytensor.grad(mask.sum(), p)
