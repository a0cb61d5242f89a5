import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dae import gemm

REGISTERS = [(16, 5), (32, 5), (64, 10)]
"""Those of SSE and NEON, AVX, AVX-512; LLVM splits what is too wide for this machine."""

TRANSPOSES = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture(scope="module")
def products():
    """One function for each size of registers, dtype and pair of transposes; compiled when used."""
    functions = {}
    with pytest.MonkeyPatch.context() as patch:
        for registers in REGISTERS:
            patch.setattr(gemm, "registers", lambda registers=registers: registers)
            for dtype in ["float32", "float64"]:
                for transposes in TRANSPOSES:
                    make = gemm.add_product.__wrapped__  # without its cache
                    loops = make(dtype, *transposes).py_func
                    options = {"fastmath": {"contract"}, "error_model": "numpy"}
                    functions[registers, dtype, transposes] = numba.njit(**options)(loops)
    return functions


def guarded(values):
    """Copy a matrix to between NaNs; what reads beyond it gets them."""
    room = np.full(values.size + 200, np.nan, values.dtype)
    inside = room[100:-100].reshape(values.shape)
    inside[:] = values
    return inside, room


@settings(deadline=None, max_examples=200)
@given(
    m=st.integers(0, 45),
    n=st.integers(0, 110),
    k=st.one_of(st.integers(0, 45), st.integers(250, 600)),
    dtype=st.sampled_from(["float32", "float64"]),
    transposes=st.sampled_from(TRANSPOSES),
    seed=st.integers(0, 2**32 - 1),
)
def test_products(products, m, n, k, dtype, transposes, seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in [(m, k), (k, n), (m, n)])
    alpha = np.array(-0.3, dtype)
    exact = c + alpha * (a.astype(np.longdouble) @ b)
    # Every term may be rounded twice, as it is made and as it is added.
    bound = np.finfo(dtype).eps * (k + 3) * (np.abs(c) + np.abs(alpha) * (np.abs(a) @ np.abs(b)))
    results = []
    for registers in REGISTERS:
        left, _ = guarded(a.T if transposes[0] else a)
        right, _ = guarded(b.T if transposes[1] else b)
        result, room = guarded(c)
        products[registers, dtype, transposes](result, alpha, left, right)
        assert np.all(np.abs(result - exact) <= bound)
        assert np.all(np.isnan(np.concatenate([room[:100], room[-100:]])))
        results.append(result)
    # The digits do not depend on the size of the registers.
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("transposes", TRANSPOSES)
def test_nan_and_infinity_stay_in_their_rows_and_columns(products, transposes):
    a, b = np.ones((23, 31)), np.ones((31, 37))
    a[3, 30], a[7, 0], b[11, 36] = np.nan, np.inf, np.nan
    expected = np.full((23, 37), 31.0)
    expected[7], expected[3], expected[:, 36] = np.inf, np.nan, np.nan
    left, right = (
        np.ascontiguousarray(matrix.T if transposed else matrix)
        for matrix, transposed in zip((a, b), transposes, strict=True)
    )
    for registers in REGISTERS:
        c = np.zeros((23, 37))
        products[registers, "float64", transposes](c, np.array(1.0), left, right)
        assert_array_equal(c, expected)
