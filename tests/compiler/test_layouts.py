"""Whatever the memory looks like, and whoever else reads it, every op is right."""

from functools import cache

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import cost_and_gradients, sigmoid

from dae import Autoencoder
from dae.compiler import ops

MODES = ["NUMBA", "FAST_COMPILE", "CVM"]
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

MARGIN = 3
"""How many NaNs there are before and behind a matrix, and its rows and columns."""


def inside(n, step=1):
    return slice(MARGIN, MARGIN + n * step, step)


VIEWS = {  # of m rows and n columns: the shape of a room, and where the matrix lies in it
    "C": lambda m, n: ((m * n + 2 * MARGIN,), lambda room: room[inside(m * n)].reshape(m, n)),
    "F": lambda m, n: ((m * n + 2 * MARGIN,), lambda room: room[inside(m * n)].reshape(n, m).T),
    "whole rows": lambda m, n: ((m + 2 * MARGIN, n), lambda room: room[inside(m)]),
    "slice": lambda m, n: (
        (m + 2 * MARGIN, n + 2 * MARGIN),
        lambda room: room[inside(m), inside(n)],
    ),
    "transposed": lambda m, n: (
        (n + 2 * MARGIN, m + 2 * MARGIN),
        lambda room: room[inside(n), inside(m)].T,
    ),
    "strided": lambda m, n: (
        (2 * m + 2 * MARGIN, 2 * n + 2 * MARGIN),
        lambda room: room[inside(m, 2), inside(n, 2)],
    ),
    "columns strided": lambda m, n: ((m, 2 * n), lambda room: room[:, ::2]),
    "reversed": lambda m, n: ((m + 2 * MARGIN, n), lambda room: room[inside(m)][::-1]),
    "columns reversed": lambda m, n: (
        (m + 2 * MARGIN, n),
        lambda room: room[inside(m)][:, ::-1],
    ),
}
LAYOUTS = [*VIEWS, "read-only"]
SIZES = st.sampled_from([0, 1, 2, 5, 33])


def lay(value, layout):
    """Put a matrix, or a vector as a row of one, into memory full of NaN.

    Returns
    -------
    view : numpy.ndarray
        With the values of `value`.
    intact : callable
        Tells whether all the rest is still NaN.
    """
    shape, select = VIEWS["C" if layout == "read-only" else layout](*np.atleast_2d(value).shape)
    room, is_guard = np.full(shape, np.nan, value.dtype), np.ones(shape, bool)
    view = select(room)
    view[...] = value
    select(is_guard)[...] = False
    view.flags.writeable = layout != "read-only"
    return view.reshape(value.shape), lambda: bool(np.all(np.isnan(room[is_guard])))


def kind_of(array):
    """What Numba tells apart, and compiles machine code for: C, F, any, or read-only."""
    if not array.flags.writeable:
        return "read-only"
    return "C" if array.flags.c_contiguous else "F" if array.flags.f_contiguous else "any"


def of_kinds(*kinds, ndims):
    """Layouts for arrays of so many dimensions, none of a length below two, of these kinds.

    For each combination of kinds a whole graph is compiled anew; for their layouts it is not.
    """
    return st.tuples(*(
        st.sampled_from([
            layout
            for layout in LAYOUTS
            if kind_of(lay(np.ones((2,) * ndim), layout)[0]) == kind
        ])
        for kind, ndim in zip(kinds, ndims, strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize("layout", VIEWS)
def test_the_guards_see_what_is_written_beside_a_matrix(layout):
    value = np.arange(6.0).reshape(2, 3)
    view, intact = lay(value, layout)
    assert_array_equal(view, value)
    view += 1
    assert intact()
    room = view
    while room.base is not None:
        room = room.base
    room[...] = 0
    assert not intact()


@cache
def product(dtype, mode, transposes, c_ndim, inplace):
    """Compiled once: c + alpha a b, as an expression, or as an update of a shared c."""
    a, b = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    alpha = pt.scalar(dtype=dtype)
    gemm = ops.Gemm(*transposes)
    if inplace:
        c = pytensor.shared(np.zeros((0, 0), dtype))
        return c, pytensor.function([alpha, a, b], updates={c: gemm(c, alpha, a, b)}, mode=mode)
    c = pt.tensor(dtype=dtype, shape=(None,) * c_ndim)
    return c, pytensor.function([c, alpha, a, b], gemm(c, alpha, a, b), mode=mode)


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=20)
@given(
    dtype=st.sampled_from(DTYPES),
    transposes=st.tuples(st.booleans(), st.booleans()),
    sizes=st.tuples(SIZES, SIZES, SIZES),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    c_kind=st.sampled_from(["row", "matrix", "in place"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_products(mode, dtype, transposes, sizes, layouts, c_kind, seed):
    m, k, n = sizes
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in [(m, k), (k, n), (m, n)])
    if c_kind == "row":
        c = rng.normal(size=n).astype(dtype)
    expected = c + 0.5 * (a.astype("float64") @ b)
    left, right = a.T if transposes[0] else a, b.T if transposes[1] else b
    (c_view, c_intact), (left_view, left_intact), (right_view, right_intact) = map(
        lay, (c, left, right), layouts
    )
    shared_c, function = product(dtype, mode, transposes, c.ndim, c_kind == "in place")
    if c_kind == "in place":
        shared_c.set_value(c_view, borrow=True)
        function(0.5, left_view, right_view)
        actual = shared_c.get_value()
        if not c_view.flags.writeable:
            assert_array_equal(c_view, c)
    else:
        actual = function(c_view, 0.5, left_view, right_view)
        assert_array_equal(c_view, c)
    assert actual.dtype == dtype
    assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_array_equal(left_view, left)
    assert_array_equal(right_view, right)
    assert c_intact()
    assert left_intact()
    assert right_intact()


@cache
def elementwise(dtype, mode):
    x, a = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    outputs = [ops.sigmoid(a), *ops.cross_entropy(x, a), ops.column_sum(a)]
    return pytensor.function([x, a], outputs, mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
# Of x and a, each of which is laid out anew by itself: each kind of either, not each pair.
@pytest.mark.parametrize(
    "kinds", [("C", "F"), ("F", "any"), ("any", "read-only"), ("read-only", "C"), ("C", "C")]
)
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_other_ops(mode, dtype, kinds, data, seed):
    size = SIZES if set(kinds) == {"C"} else SIZES.filter(lambda n: n > 1)
    shape = data.draw(st.tuples(size, size))
    layouts = data.draw(of_kinds(*kinds, ndims=(2, 2)))
    rng = np.random.default_rng(seed)
    x, a = rng.uniform(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    (x_view, x_intact), (a_view, a_intact) = map(lay, (x, a), layouts)
    z, L, residual, columns = elementwise(dtype, mode)(x_view, a_view)
    wide_x, wide_a = x.astype("float64"), a.astype("float64")
    options = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    assert_allclose(z, sigmoid(wide_a), **options)
    assert_allclose(L, np.sum(np.logaddexp(0, wide_a) - wide_x * wide_a, axis=1), **options)
    assert_allclose(residual, sigmoid(wide_a) - wide_x, **options)
    assert_allclose(columns, wide_a.sum(axis=0), **options)
    assert_array_equal(x_view, x)
    assert_array_equal(a_view, a)
    assert x_intact()
    assert a_intact()


@cache
def step(dtype, mode):
    with pytensor.config.change_flags(floatX=dtype):
        da = Autoencoder(RandomState(1), n_visible=6, n_hidden=3)
        cost, updates = da.get_cost_updates(corruption_level=0.0, learning_rate=0.1)
        return da, pytensor.function([da.x], cost, updates=updates, mode=mode)


@pytest.mark.parametrize("mode", MODES)
# Of x, W, b and b': each kind of each, not each combination, every one of which is compiled anew.
@pytest.mark.parametrize(
    ("dtype", "kinds"),
    [
        ("float64", ("C", "F", "any", "read-only")),
        ("float32", ("F", "any", "read-only", "C")),
        ("float64", ("any", "read-only", "C", "any")),
        ("float32", ("read-only", "C", "any", "C")),
        ("float64", ("C", "C", "C", "C")),  # where a length may be 1
    ],
)
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_whole_step(mode, dtype, kinds, data, seed):
    least = 1 if set(kinds) == {"C"} else 2
    n, n_visible, n_hidden = (
        data.draw(st.sampled_from([size for size in sizes if size >= least]))
        for sizes in [(1, 2, 20), (1, 7, 33), (1, 2, 5, 33)]
    )
    layouts = data.draw(of_kinds(*kinds, ndims=(2, 2, 1, 1)))
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, n_visible)).astype(dtype)
    params = [
        rng.normal(size=shape).astype(dtype)
        for shape in [(n_visible, n_hidden), (n_hidden,), (n_visible,)]
    ]
    views, guards = zip(*map(lay, [x, *params], layouts), strict=True)
    da, function = step(dtype, mode)
    for param, view in zip(da.params, views[1:], strict=True):
        param.set_value(view, borrow=True)
    for _ in range(2):  # the second time with what the first has left
        expected_cost, gradients = cost_and_gradients(x, x, *params)
        params = [p - 0.1 * g for p, g in zip(params, gradients, strict=True)]
        assert_allclose(function(views[0]), float(expected_cost), rtol=TOLERANCE[dtype])
        for param, value in zip(da.params, params, strict=True):
            assert_allclose(
                param.get_value(),
                value.astype("float64"),
                rtol=TOLERANCE[dtype],
                atol=TOLERANCE[dtype],
            )
    assert all(intact() for intact in guards)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def model():
    """A model in float64, a minibatch, and the oracle's gradients as a function of W, b, b'."""
    with pytensor.config.change_flags(floatX="float64"):
        da = Autoencoder(RandomState(1), n_visible=6, n_hidden=3)
    x = RandomState(2).uniform(size=(4, 6))

    def gradients(*params):
        return [g.astype("float64") for g in cost_and_gradients(x, x, *params)[1]]

    return da, x, gradients


def cost_of(da):
    return da.get_cost_updates(0.0, 0.0)[0]


def test_weights_read_beside_their_update(mode, model):
    da, x, gradients = model
    copy = pytensor.shared(np.zeros((6, 3)))
    cost, updates = da.get_cost_updates(0.0, 0.1)
    before = da.__getstate__()
    updates |= {copy: da.W + 1}
    function = pytensor.function(
        [da.x], [da.W, 2 * da.W, da.W.T, cost, updates[da.W]], updates=updates, mode=mode
    )
    old, double, transposed, _, new = function(x)
    expected = before[0] - 0.1 * gradients(*before)[0]
    assert_array_equal(old, before[0])
    assert_array_equal(double, 2 * before[0])
    assert_array_equal(transposed, before[0].T)
    assert_array_equal(copy.get_value(), before[0] + 1)
    assert_allclose(new, expected, rtol=1e-12)
    assert_allclose(da.W.get_value(), expected, rtol=1e-12)
    again, *_ = function(x)
    assert_array_equal(again, new)
    assert_array_equal(old, before[0])  # what was returned is the caller's


def test_two_models_with_one_w(mode, model):
    da, x, gradients = model
    other = Autoencoder(RandomState(3), W=da.W)
    other.b.set_value(np.array([1.0, -2.0, 0.5]))
    W, b, b_prime = da.__getstate__()
    other_b, other_b_prime = (param.get_value() for param in other.params[1:])
    cost = cost_of(da) + cost_of(other)
    updates = {da.W: da.W - 0.1 * pytensor.grad(cost, da.W)}
    pytensor.function([da.x, other.x], cost, updates=updates, mode=mode)(x, x)
    expected = W - 0.1 * (gradients(W, b, b_prime)[0] + gradients(W, other_b, other_b_prime)[0])
    assert_allclose(da.W.get_value(), expected, rtol=1e-12)
    assert_array_equal(other.W.get_value(), da.W.get_value())


def test_momentum(mode, model):
    da, x, gradients = model
    velocities = [pytensor.shared(np.ones_like(value)) for value in da.__getstate__()]
    updates = {}
    grads = pytensor.grad(cost_of(da), da.params)
    for param, velocity, grad in zip(da.params, velocities, grads, strict=True):
        updates[velocity] = 0.9 * velocity - 0.1 * grad
        updates[param] = param + updates[velocity]
    function = pytensor.function([da.x], [], updates=updates, mode=mode)
    params, moving = da.__getstate__(), [np.ones_like(value) for value in da.__getstate__()]
    for _ in range(3):
        function(x)
        moving = [0.9 * v - 0.1 * g for v, g in zip(moving, gradients(*params), strict=True)]
        params = [p + v for p, v in zip(params, moving, strict=True)]
    for param, value in zip(da.params, params, strict=True):
        assert_allclose(param.get_value(), value, rtol=1e-11, atol=1e-14)


def test_weight_decay(mode, model):
    da, x, gradients = model
    cost = cost_of(da) + 0.05 * pt.sum(pt.sqr(da.W))
    rate = pytensor.shared(0.1)
    updates = {da.W: da.W - rate * pytensor.grad(cost, da.W)}
    before = da.__getstate__()
    pytensor.function([da.x], cost, updates=updates, mode=mode)(x)
    expected = before[0] - 0.1 * (gradients(*before)[0] + 0.1 * before[0])
    assert_allclose(da.W.get_value(), expected, rtol=1e-12)


def test_a_product_with_itself(mode):
    W, V = pytensor.shared(np.arange(9.0).reshape(3, 3)), pytensor.shared(np.eye(3))
    before = W.get_value()
    gemm = ops.Gemm(b_transposed=True)
    updates = {W: gemm(W, 1, W, W), V: gemm(V, 1, W, W, V, V)}
    pytensor.function([], [], updates=updates, mode=mode)()
    assert_array_equal(W.get_value(), before + before @ before.T)
    assert_array_equal(V.get_value(), 2 * np.eye(3) + before @ before.T)


def test_what_is_added_may_be_an_expression(mode, model):
    da, x, _ = model
    W = da.W.get_value()
    da.b.set_value(np.array([1.0, 2.0, 3.0]))
    row, matrix = pt.dvector(), pt.dmatrix()
    y = ops.Gemm()(row * 2, 1, da.x, da.W)
    shifted = ops.Gemm()(matrix * 2, 1, da.x, da.W)
    constant = ops.Gemm()(pt.broadcast_to(row * 2, (4, 3)), 1, da.x, da.W)
    da.b = da.b * 2
    function = pytensor.function(
        [da.x, row, matrix], [y, shifted, constant, da.get_hidden_values(da.x)], mode=mode
    )
    row_value, matrix_value = np.array([4.0, 5.0, 6.0]), np.ones((4, 3))
    outputs = function(x, row_value, matrix_value)
    assert_allclose(outputs[0], x @ W + 2 * row_value)
    assert_allclose(outputs[1], x @ W + 2)
    assert_allclose(outputs[2], x @ W + 2 * row_value)
    assert_allclose(outputs[3], sigmoid(x @ W + [2.0, 4.0, 6.0]))


def test_a_length_of_one_is_repeated_only_where_its_type_says_so(mode):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    A, B = pt.dmatrix(), pt.dmatrix()
    kinds = [(1, None), (1, 1), (1,), (1, 4)]
    values = [np.ones((1, 4)), np.ones((1, 1)), np.ones(1), np.full((1, 4), 2.0)]
    for shape, value in zip(kinds, values, strict=True):
        c = pt.tensor(dtype="float64", shape=shape)
        variable = ops.Gemm()(c, 2, A, B)
        assert_array_equal(
            pytensor.function([c, A, B], variable, mode=mode)(value, a, b), value + 2 * (a @ b)
        )
    for value in [np.ones((1, 4)), np.ones((2, 1)), np.ones((1, 1)), np.ones(1)]:
        c = pt.tensor(dtype="float64", shape=(None,) * value.ndim)
        function = pytensor.function([c, A, B], ops.Gemm()(c, 2, A, B), mode=mode)
        with pytest.raises(ValueError, match="to be added to a product has another shape"):
            function(value, a, b)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda: ops.Sigmoid()(pt.lvector()), "given: int64 with 1 dim"),
        (lambda: ops.Sigmoid()(3), "given: int8 with 0 dim"),
        (lambda: ops.column_sum(pt.dvector()), "with 2 dimensions; given: float64 with 1"),
        (lambda: ops.cross_entropy(pt.dmatrix(), pt.fmatrix()), "float64 .* float32"),
        (lambda: ops.cross_entropy(pt.dvector(), pt.dvector()), "with 2 dimensions"),
        (lambda: ops.Gemm()(0, 1, pt.lmatrix(), pt.lmatrix()), "int64"),
        (lambda: ops.Gemm()(pt.fmatrix(), 1, pt.dmatrix(), pt.dmatrix()), "float32"),
        (lambda: ops.Gemm()(0, pt.lscalar(), pt.dmatrix(), pt.dmatrix()), "int64"),
        (lambda: ops.Gemm()(0, 1, pt.dmatrix(), pt.dvector()), "float64 with 1"),
        (lambda: ops.Gemm()(pt.dtensor3(), 1, pt.dmatrix(), pt.dmatrix()), "a row or a number"),
        (
            lambda: ops.Gemm()(np.ones((1, 1, 4)), 1, np.ones((2, 3)), np.ones((3, 4))),
            r"given: shape \(1, 1, 4\)",
        ),
        (lambda: ops.Gemm()(0, pt.dvector(), pt.dmatrix(), pt.dmatrix()), "of 1 dimensions"),
        (
            lambda: ops.Gemm()(np.ones((2, 1)), 1, np.ones((2, 3)), np.ones((3, 4))),
            r"shape \(2, 4\) to a matrix, a row or a number.* given: shape \(2, 1\)",
        ),
    ],
)
def test_what_an_op_cannot_take_is_refused_when_it_is_applied(apply, message):
    with pytest.raises(TypeError, match=message):
        apply()
