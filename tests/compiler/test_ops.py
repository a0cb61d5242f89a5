import re
import sys
from functools import cache

import numba
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.core.runtime import _nrt_python, rtsys
from numpy.testing import assert_allclose, assert_array_equal

from dae._machine_code import array_type
from dae.compiler import _kernels, ops

MODES = ["NUMBA", "FAST_COMPILE", "CVM"]
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}
LIMITS = {"float32": 88, "float64": 708}  # where exp(-a) leaves the normal range


@pytest.fixture(scope="module")
def functions():
    """Compiled once for each dtype: s(a), L and z - x."""
    compiled = {}
    for dtype in DTYPES:
        x, a = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
        compiled[dtype] = pytensor.function(
            [x, a], [ops.sigmoid(a), *ops.cross_entropy(x, a)], on_unused_input="ignore"
        )
    return compiled


def reference(x, a):
    """Give s(a), L and z - x in long double, where nothing cancels."""
    x, a = x.astype(np.longdouble), a.astype(np.longdouble)
    e = np.exp(-np.abs(a))
    z = np.where(a > 0, 1, e) / (1 + e)
    terms = np.where(a > 0, a * (1 - x), -a * x) + np.log1p(e)
    residual = np.where(a > 0, (1 - x) - e * x, e * (1 - x) - x) / (1 + e)
    return z, terms.sum(axis=1), residual


def check(functions, x, a):
    dtype = a.dtype.name
    z, L, residual = functions[dtype](x, a)
    expected_z, expected_L, expected_residual = reference(x, a)
    # Below the normal range digits get lost in any way of computing.
    smallest = np.finfo(dtype).tiny
    options = {"rtol": TOLERANCE[dtype], "atol": 8 * smallest}
    assert_allclose(z, expected_z.astype(dtype), **options)
    assert_allclose(L, expected_L.astype(dtype), **options)
    # Where x and z are about equal, nothing is left but the rounding of the larger of them.
    scale = np.where(np.isin(x, [0, 1]), np.abs(expected_residual), np.maximum(x, expected_z))
    assert np.all(np.abs(residual - expected_residual) <= TOLERANCE[dtype] * scale + 8 * smallest)


@pytest.mark.parametrize("loop", ["sigmoid", "cross_entropy", "column_sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_a_vector_are_not_looked_for_one_by_one(loop, dtype):
    dimensions = {"sigmoid": [1, 1], "cross_entropy": [2, 2, 1, 2], "column_sum": [2, 1]}[loop]
    indices = [] if loop == "column_sum" else [numba.types.uint64] * 2
    signature = (*indices, *(array_type(dtype, ndim) for ndim in dimensions))
    function = getattr(_kernels, loop)(dtype)
    function.compile(signature)
    code = function.inspect_llvm(signature)
    assert re.search(r"<\d+ x (float|double)>", code)
    assert not re.search(r"gather|scatter", code)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), shape=st.tuples(*[st.integers(1, 40)] * 2))
def test_accuracy(functions, data, dtype, shape):
    width = {"float32": 32, "float64": 64}[dtype]
    sizes = st.one_of(
        st.floats(-1000, 1000, width=width),
        st.floats(-LIMITS[dtype] - 20, 20 - LIMITS[dtype], width=width),
        st.floats(-1, 1, width=width),
    )
    a = data.draw(arrays(dtype, shape, elements=sizes))
    x = data.draw(arrays(dtype, shape, elements=st.floats(0, 1, width=width)))
    check(functions, x, a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x", [0, 0.5, 1])
def test_accuracy_over_the_whole_range(functions, dtype, x):
    limit = LIMITS[dtype] + 50
    a = np.concatenate([np.linspace(-limit, limit, 100_001), np.geomspace(1e-30, 1, 1000)])
    a = a.astype(dtype).reshape(-1, 1)
    check(functions, np.full_like(a, x), a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_tiny_terms_keeps_its_digits(functions, dtype):
    a = np.full((2, 784), -40, dtype)
    check(functions, np.zeros_like(a), a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_infinity_and_nan_come_out(mode, dtype):
    x, a = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    f = pytensor.function([x, a], [ops.sigmoid(a), *ops.cross_entropy(x, a)], mode=mode)
    a_value = np.array([[np.inf], [-np.inf], [np.nan], [1], [1e30]], dtype)
    x_value = np.array([[0.5], [0.5], [0.5], [np.nan], [0.5]], dtype)
    z, L, residual = f(x_value, a_value)
    assert_array_equal(z[:3], [[1], [0], [np.nan]])
    assert_array_equal(L, np.array([np.inf, np.inf, np.nan, np.nan, 5e29], dtype))
    assert_array_equal(residual[:4], [[0.5], [-0.5], [np.nan], [np.nan]])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (7, 13)])
@pytest.mark.parametrize("mode", MODES)
def test_shapes(mode, shape):
    x, a = np.random.default_rng(0).uniform(size=(2, *shape))
    x_var, a_var = pt.dmatrix(), pt.dmatrix()
    outputs = [ops.sigmoid(a_var), *ops.cross_entropy(x_var, a_var), ops.column_sum(a_var)]
    values = pytensor.function([x_var, a_var], outputs, mode=mode)(x, a)
    for value, expected in zip(values, [*reference(x, a), a.sum(axis=0)], strict=True):
        assert value.shape == expected.shape
        assert_allclose(value, expected.astype(float), rtol=1e-13)


@pytest.fixture(scope="module")
def log_likelihoods():
    """Compiled once for each dtype and mode: log P at the classes, and its gradient."""
    compiled = {}
    for dtype in DTYPES:
        for mode in ["NUMBA", "FAST_COMPILE"]:
            a, y, n = pt.matrix(dtype=dtype), pt.ivector(), pt.lscalar()
            outputs = ops.log_likelihood(a, y, n)
            compiled[dtype, mode] = pytensor.function([a, y, n], outputs, mode=mode)
    return compiled


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 50, 1000, 1e30])
def test_log_likelihood(log_likelihoods, scale, dtype, mode):
    rng = np.random.default_rng(1)
    a = (scale * rng.uniform(-1, 1, size=(40, 7))).astype(dtype)
    a[:3] = [[-scale], [0], [scale]]  # with several largest ones
    y = rng.integers(-7, 7, size=37, dtype="int32")
    log_p, gradient = log_likelihoods[dtype, mode](a, y, 37)
    exact, rows = a[:37].astype(np.longdouble), np.arange(37)
    e = np.exp(exact - exact.max(axis=1, keepdims=True))
    expected = exact[rows, y] - exact.max(axis=1) - np.log(e.sum(axis=1))
    P = e / e.sum(axis=1, keepdims=True)
    P[rows, y] -= 1
    assert (log_p.dtype, gradient.dtype) == (dtype, dtype)
    eps = np.finfo(dtype).eps
    assert_allclose(log_p, expected.astype(dtype), rtol=50 * eps, atol=eps)
    assert_allclose(gradient[:37], -P.astype(dtype), atol=4 * eps)
    assert_array_equal(gradient[37:], 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_probabilities_keep_their_digits(log_likelihoods, dtype):
    a = np.array([[20, 0, -1], [0, 30, 1]], dtype)
    log_p, gradient = log_likelihoods[dtype, "NUMBA"](a, [0, 1], 2)
    exact = a.astype(np.longdouble)
    rest = np.array([np.exp(exact[0, 1:] - 20).sum(), np.exp(exact[1, ::2] - 30).sum()])
    assert_allclose(log_p, (-np.log1p(rest)).astype(dtype), rtol=TOLERANCE[dtype])
    assert_allclose(gradient[[0, 1], [0, 1]], (rest / (1 + rest)).astype(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
def test_classes_that_do_not_fit_are_refused(log_likelihoods, mode):
    function = log_likelihoods["float64", mode]
    a = np.zeros((3, 4))
    for y in ([0, 1, 4], [0, -5, 1]):
        with pytest.raises(IndexError):
            function(a, y, 3)
    for y, n in [([0, 1], 3), ([0, 1, 2], 2), ([0, 1, 2, 3], 4)]:
        with pytest.raises(ValueError, match="not as many classes as rows"):
            function(a, y, n)
    log_p, gradient = function(a[:0], [], 0)
    assert (log_p.shape, gradient.shape) == ((0,), (0, 4))


@pytest.mark.parametrize(
    ("y", "n"), [(pt.dvector(), 1), (pt.lmatrix(), 1), (pt.lvector(), pt.dscalar())]
)
def test_classes_are_integers(y, n):
    with pytest.raises(TypeError, match="takes a vector of integers and an integer; given: "):
        ops.log_likelihood(pt.dmatrix(), y, n)


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_row_argmax(dtype, mode):
    a = pt.matrix(dtype=dtype)
    row_argmax = pytensor.function([a], ops.row_argmax(a), mode=mode)
    nan, inf = np.nan, np.inf
    rows = [[1, 3, 2], [3, 3, 1], [-inf] * 3, [1, nan, inf], [nan, 1, nan], [0, -0.0, 0], [2, 1, 3]]
    columns = row_argmax(np.array(rows, dtype))
    assert columns.dtype == "int64"
    assert_array_equal(columns, [1, 0, 0, 1, 0, 0, 2])
    # A transpose, and every other column.
    assert_array_equal(row_argmax(np.array(rows, dtype).T[:, ::2]), [2, 0, 2])
    assert row_argmax(np.zeros((0, 3), dtype)).shape == (0,)
    with pytest.raises(ValueError, match="argmax of an empty sequence"):
        row_argmax(np.zeros((3, 0), dtype))


def test_sigmoid_of_any_number_of_dimensions():
    for ndim in range(4):
        a = np.linspace(-3, 3, 2**ndim).reshape((2,) * ndim)
        variable = pt.tensor(dtype="float64", shape=(None,) * ndim)
        actual = pytensor.function([variable], ops.sigmoid(variable))(a)
        assert_allclose(actual, 1 / (1 + np.exp(-a)), rtol=1e-14)


TRANSPOSES = list(np.ndindex(2, 2))


@pytest.fixture(scope="module")
def all_products():
    """What compiles products of all kinds, of matrices or their transposes, once for each."""

    @cache
    def compile_all(dtype, mode, a_t, b_t):
        A, B, C = (pt.matrix(dtype=dtype) for _ in range(3))
        bias = pt.vector(dtype=dtype)
        gemm = ops.Gemm(bool(a_t), bool(b_t))
        outputs = [
            gemm(0, 1, A, B),
            gemm(bias, 2.5, A, B),
            gemm(gemm(C, -0.5, A, B), -0.5, A, B),
            gemm(C, -0.5, A, B, A, B),
            gemm(bias, 1, A, B, -A, B),
            ops.column_sum(A),
        ]
        return pytensor.function([A, B, C, bias], outputs, mode=mode)

    return compile_all


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(3, 5, 4), (1, 1, 1), (0, 5, 4), (3, 0, 4), (3, 5, 0)])
def test_products_of_transposes(all_products, mode, dtype, sizes):
    m, k, n = sizes
    rng = np.random.default_rng(1)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in [(m, k), (k, n), (m, n)])
    bias = rng.normal(size=n).astype(dtype)
    for a_t, b_t in TRANSPOSES:
        left, right = np.ascontiguousarray(a.T if a_t else a), b.T.copy() if b_t else b
        f = all_products(dtype, mode, a_t, b_t)
        before = c.copy()
        product, row, descent, both, nothing, sums = f(left, right, c, bias)
        assert product.dtype == row.dtype == descent.dtype == dtype
        assert product.shape == (m, n)
        assert_allclose(product, a @ b, rtol=1e-5, atol=1e-5)
        assert_allclose(row, bias + 2.5 * (a @ b), rtol=1e-5, atol=1e-5)
        assert_allclose(descent, c - a @ b, rtol=1e-5, atol=1e-5)
        assert_array_equal(both, descent)
        assert_allclose(nothing, np.broadcast_to(bias, (m, n)), rtol=1e-5, atol=1e-5)
        assert_allclose(sums, left.sum(axis=0), rtol=1e-5, atol=1e-5)
        assert_array_equal(c, before)


@pytest.mark.parametrize("mode", MODES)
def test_a_product_is_added_in_the_memory_of_the_parameter(mode):
    A, B = pt.fmatrix(), pt.fmatrix()
    W = pytensor.shared(np.ones((30, 20), "float32"))
    update = ops.Gemm()(W, -0.5, A, B)
    f = pytensor.function([A, B], [], updates={W: update}, mode=mode)
    before = W.get_value(borrow=True)
    f(np.ones((30, 7), "float32"), np.ones((7, 20), "float32"))
    assert_array_equal(W.get_value(), np.full((30, 20), 1 - 0.5 * 7))
    if mode != "FAST_COMPILE":
        assert W.get_value(borrow=True) is before


def test_operands_that_are_not_contiguous():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 8)), rng.normal(size=(4, 10))
    A, B = pt.dmatrix(), pt.dmatrix()
    f = pytensor.function(
        [A, B], [ops.Gemm()(0, 1, A[::2, ::2], B[:, ::-1]), ops.sigmoid(A[:, 1::3].T)]
    )
    product, z = f(a, b)
    assert_allclose(product, a[::2, ::2] @ b[:, ::-1])
    assert_allclose(z, 1 / (1 + np.exp(-a[:, 1::3].T)))
    assert_allclose(f(np.asfortranarray(a), b)[0], product)


@pytest.mark.parametrize("layout", ["C", "F", "neither"])
def test_memory_is_given_back(layout):
    a, b, c, y = pt.dmatrix(), pt.dmatrix(), pt.dmatrix(), pt.lvector()
    outputs = [
        *(ops.Gemm()(start, 1, a, b) for start in (0, c[0], c)),
        ops.Gemm(True)(c, 1, a, b, b, a),
        ops.Gemm(inplace=True)(c, 1, a, b),
        ops.sigmoid(a),
        *ops.cross_entropy(a, b),
        ops.column_sum(a),
        *ops.log_likelihood(a, y, 8),
        ops.row_argmax(a),
    ]
    inputs = [a, b, pytensor.In(c, borrow=True, mutable=True), y]
    f = pytensor.function(inputs, outputs, accept_inplace=True)
    matrices = [np.ones((16, 16))[::2, ::2] for _ in range(3)]
    if layout != "neither":
        matrices = [np.array(matrix, order=layout) for matrix in matrices]
    arguments = *matrices, np.zeros(8, np.int64)

    def held():
        stats = rtsys.get_allocation_stats()
        return stats.mi_alloc - stats.mi_free, *map(sys.getrefcount, arguments)

    _nrt_python.memsys_enable_stats()
    f(*arguments)
    before = held()
    for _ in range(20):
        f(*arguments)
    assert held() == before


@pytest.mark.parametrize("mode", MODES)
def test_shapes_that_do_not_fit_are_refused(mode):
    A, B, C = pt.dmatrix(), pt.dmatrix(), pt.dmatrix()
    product = ops.Gemm()(0, 1, A, B)
    with pytest.raises(ValueError, match=r"not fit|not aligned"):
        pytensor.function([A, B], product, mode=mode)(np.ones((2, 3)), np.ones((4, 5)))
    both = pytensor.function([A, B, C], ops.Gemm()(C, 1, A, B, A, B[:, 1:]), mode=mode)
    with pytest.raises(ValueError, match=r"not fit|could not be broadcast|another shape"):
        both(np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4)))
    descent = pytensor.function([A, B, C], ops.Gemm()(C, -1, A, B), mode=mode)
    with pytest.raises(ValueError, match=r"another shape|could not be broadcast"):
        descent(np.ones((2, 3)), np.ones((3, 4)), np.ones((3, 4)))
    cost = pytensor.function([A, B], ops.cross_entropy(A, B), mode=mode)
    with pytest.raises(ValueError, match="differ"):
        cost(np.ones((2, 3)), np.ones((1, 3)))
