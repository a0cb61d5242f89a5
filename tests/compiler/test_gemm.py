import os
import subprocess
import sys
from functools import cache

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dae.compiler import _block, _gemm, _matrix

REGISTERS = [(16, 5), (32, 5), (64, 10)]
"""Those of SSE and NEON, AVX, AVX-512; LLVM splits what is too wide for this machine."""

TRANSPOSES = [(False, False), (False, True), (True, False), (True, True)]


@cache
def product(registers, dtype, transposes, inplace, n_products=1):
    """The function for some registers, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_block, "registers", lambda: registers)
        patch.setattr(_gemm, "compile_products", _gemm.compile_products.__wrapped__)
        add_products = _gemm.add_products.__wrapped__(n_products, dtype, *transposes, inplace)

    @numba.njit
    def product(*args):
        return add_products(*args)

    return product


def guarded(values):
    """Copy a matrix to between NaNs; what reads beyond it gets them."""
    room = np.full(values.size + 200, np.nan, values.dtype)
    inside = room[100:-100].reshape(values.shape)
    inside[...] = values
    return inside, room


@settings(deadline=None, max_examples=200)
@given(
    m=st.one_of(st.just(1), st.integers(2, 9), st.integers(0, 45), st.integers(55, 75)),
    n=st.one_of(st.integers(0, 110), st.integers(250, 300)),
    k=st.one_of(st.integers(0, 45), st.integers(250, 600)),
    other_k=st.one_of(st.none(), st.integers(0, 3), st.integers(0, 300)),
    dtype=st.sampled_from(["float32", "float64"]),
    transposes=st.sampled_from(TRANSPOSES),
    ndim=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_products(m, n, k, other_k, dtype, transposes, ndim, seed):
    if transposes != (True, False):  # of a gradient; the others differ in one product already
        other_k = None
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(m, n)[2 - ndim :]).astype(dtype)
    c, alpha = np.broadcast_to(start, (m, n)), np.array(-0.3, dtype)
    matrices, exact, size = [], c.astype(np.longdouble), np.abs(c)
    for terms in [k] if other_k is None else [k, other_k]:
        a, b = (rng.normal(size=shape).astype(dtype) for shape in [(m, terms), (terms, n)])
        matrices += [a.T if transposes[0] else a, b.T if transposes[1] else b]
        exact = exact + alpha * (a.astype(np.longdouble) @ b)
        size = size + np.abs(alpha) * (np.abs(a) @ np.abs(b))
    # Every term may be rounded twice, as it is made and as it is added.
    bound = np.finfo(dtype).eps * (k + (other_k or 0) + 5) * size
    results = []
    for registers in REGISTERS:
        inside = [guarded(matrix)[0] for matrix in matrices]
        result, room = guarded(c)
        in_place, new = (
            product(registers, dtype, transposes, inplace, len(matrices) // 2)
            for inplace in (True, False)
        )
        in_place(result, alpha, *inside)
        assert np.all(np.abs(result - exact) <= bound)
        assert np.all(np.isnan(np.concatenate([room[:100], room[-100:]])))
        results.append(result)
        assert_array_equal(new(guarded(start)[0], alpha, *inside), result)
    # The digits do not depend on the size of the registers.
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])
    # Nor on whether two products are added at once.
    parts = c.copy()
    for pair in zip(matrices[::2], matrices[1::2], strict=True):
        pair = map(np.ascontiguousarray, pair)
        product(REGISTERS[0], dtype, transposes, True)(parts, alpha, *pair)
    assert_array_equal(results[0], parts)


@pytest.mark.parametrize("transposes", TRANSPOSES)
def test_nan_and_infinity_stay_in_their_rows_and_columns(transposes):
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
        product(registers, "float64", transposes, True)(c, np.array(1.0), left, right)
        assert_array_equal(c, expected)


@cache
def share(unit):
    """The function of Python that calls what `share_of` writes."""

    @numba.extending.intrinsic
    def write_share(_, length, index, shares):
        pair = numba.types.UniTuple(numba.types.intp, 2)

        def write(context, builder, signature, args):
            length, index, shares = args
            return context.make_tuple(
                builder, pair, _matrix.share_of(builder, length, unit, index, shares)
            )

        return pair(length, index, shares), write

    return numba.njit(lambda length, index, shares: write_share(length, index, shares))


@given(length=st.integers(1, 5000), unit=st.sampled_from([5, 16]), shares=st.integers(1, 300))
def test_shares_differ_by_one_unit_at_most(length, unit, shares):
    assume(shares <= -(-length // unit))
    parts = [share(unit)(length, i, shares) for i in range(shares)]
    ends = [0, *(start + n for start, n in parts)]
    assert [start for start, _ in parts] == ends[:-1]
    assert ends[-1] == length
    units = [-(-n // unit) for _, n in parts]
    assert min(units) > 0
    assert max(units) - min(units) <= 1
    assert all(n % unit == 0 for _, n in parts[:-1])


OPAQUE = """
import ctypes
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core.cgutils import intp_t
from dae.compiler import _block, _matrix

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
for dtype, element in [("float32", ir.FloatType()), ("float64", ir.DoubleType())]:
    for a_transposed, b_transposed in np.ndindex(2, 2):
        module = ir.Module()
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType()] * 4 + [intp_t] * 3)
        builder = ir.IRBuilder(ir.Function(module, kind, "product").append_basic_block())
        *pointers, m, n, k = builder.function.args
        steps = [n, 0, m if a_transposed else k, k if b_transposed else n]
        c, alpha, a, b = (
            _matrix.Matrix(builder, pointer, element, step)
            for pointer, step in zip(pointers, steps, strict=True)
        )
        a, b = a.T if a_transposed else a, b.T if b_transposed else b
        vector = 16 // _matrix.ITEMSIZES[element]
        _block.write_product(builder, vector, 5, m, n, k, c, c, alpha, a, b)
        builder.ret_void()
        assert "*" not in str(module).replace('asm sideeffect ""', ""), module
        target = llvm.Target.from_default_triple().create_target_machine()
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), target)
        address = engine.get_function_address("product")
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_ssize_t] * 3)(address)
        rng = np.random.default_rng(1)
        a, b, c = (rng.normal(size=s).astype(dtype) for s in [(7, 11), (11, 21), (7, 21)])
        expected = c + 0.5 * (a @ b)
        left, right = (a.T if a_transposed else a).copy(), (b.T if b_transposed else b).copy()
        alpha = np.array(0.5, dtype)
        call(*(array.ctypes.data for array in (c, alpha, left, right)), 7, 21, 11)
        np.testing.assert_allclose(c, expected, rtol=1e-5)
print("done")
"""


def test_products_through_pointers_that_do_not_tell_their_element():
    process = subprocess.run(
        [sys.executable, "-c", OPAQUE],
        env=os.environ | {"LLVMLITE_ENABLE_IR_LAYER_TYPED_POINTERS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "done\n", process.stderr
