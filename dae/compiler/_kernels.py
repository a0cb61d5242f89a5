"""The inner loops of the training step, in Numba: what the ops of `ops` run when compiled.

They are plain loops over arrays that LLVM turns into vector instructions. Those with an exponential
function for each element are divided among threads where there is much to do. A product and a sum
may be fused, which only makes them more accurate; sums are not reordered, since that would undo the
roundings which `exp` relies on. A division by zero is infinite: raising an error there would keep
LLVM from making vectors.
"""

import math
from contextlib import contextmanager
from decimal import Decimal
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import unpack_tuple
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from pytensor.link.numba.dispatch.basic import numba_njit

from dae._machine_code import empty

VERSION = 11
"""See `dae._machine_code.cache_key`."""

njit = numba_njit(fastmath={"contract"}, error_model="numpy")

ROWS = 64
"""Rows whose sum is made in the dtype of a matrix: so few that it is as good as one in float64."""

SIGMOID, CROSS_ENTROPY = 8, 19
"""Nanoseconds for each vector register of a matrix, in one thread, about."""


@cache
def elementary(dtype):
    """Return exp and log1p for a floating-point type, made of arithmetic alone.

    The library's functions take one value at a time; these become vector instructions. Both are
    Taylor series of a length that leaves the error to the roundings.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    exp : callable
        Of x <= 0, and of the terms of its series.
    log1p : callable
        Of 0 <= e <= 1, and of the terms of its series.
    exp_series, log_series : tuple of numpy.floating
        Those terms: their factors, the one of the highest power first.
    """
    Float = np.dtype(dtype).type
    Int = {4: np.int32, 8: np.int64}[Float(0).itemsize]
    limits = np.finfo(Float)
    digits = Int(limits.nmant)
    exp_terms, log_terms = {23: (8, 7), 52: (13, 15)}[limits.nmant]

    # Adding 1.5 * 2**digits leaves no digits after the point: it rounds to an integer, which then
    # stands in the last bits.
    shift = Float(1.5 * 2.0**limits.nmant)
    shift_bits = shift.view(Int)
    # ln 2 in two parts, the first so short that its product with an exponent is exact.
    ln2 = Decimal(2).ln()
    short = 2 ** (limits.nmant - 11)
    ln2_high = Float(int(ln2 * short) / short)
    ln2_low = Float(ln2 - Decimal(float(ln2_high)))
    log2_e = Float(1 / ln2)
    vanishing = Float(ln2 * int(limits.minexp - limits.nmant - 2))
    bias = Int(limits.maxexp - 1)
    two = Float(2)
    exp_series = tuple(Float(1 / math.factorial(k)) for k in range(exp_terms, -1, -1))
    log_series = tuple(Float(2 / (2 * k + 1)) for k in range(log_terms, -1, -1))

    @njit
    def exp(x, series):
        x = vanishing if x < vanishing else x  # keeps NaN
        shifted = x * log2_e + shift
        n = shifted - shift
        r = (x - n * ln2_high) - n * ln2_low
        p = series[0]
        for coefficient in series[1:]:
            p = p * r + coefficient
        # e**x = 2**n e**r, in two steps for what is below the normal range.
        exponent = Int(Float(shifted).view(Int) - shift_bits)
        first = Int(exponent >> Int(1))
        second = Int(exponent - first)
        p *= Int((first + bias) << digits).view(Float)
        return p * Int((second + bias) << digits).view(Float)

    @njit
    def log1p(e, series):
        # 2 artanh(s) = log((1 + s) / (1 - s))
        s = e / (two + e)
        square = s * s
        p = series[0]
        for coefficient in series[1:]:
            p = p * square + coefficient
        return s * p

    return exp, log1p, exp_series, log_series


@intrinsic
def kept(_, numbers):
    """Return some numbers, a tuple, as if LLVM could not know them.

    Where it knows more than there are registers for, it makes each of them anew for every vector,
    which takes more instructions than to multiply and add. These it keeps in memory.
    """

    def write(context, builder, signature, args):
        bits = ir.IntType(numbers.dtype.bitwidth)
        values = []
        for value in unpack_tuple(builder, args[0]):
            same = [builder.bitcast(value, bits)]
            same = builder.asm(ir.FunctionType(bits, [bits]), "", "=r,0", same, side_effect=False)
            values.append(builder.bitcast(same, value.type))
        return context.make_tuple(builder, numbers, values)

    return numbers(numbers), write


@cache
def sigmoid(dtype):
    """Return the function that computes s(a) into y, both vectors, from one index to another."""
    exp, _, series, _ = elementary(dtype)
    one = np.dtype(dtype).type(1)

    @njit
    def sigmoid(start, stop, a, y):
        for i in range(start, stop):
            e = exp(-abs(a[i]), series)
            y[i] = (e if a[i] < 0 else one) / (one + e)

    return sigmoid


@cache
def cross_entropy(dtype):
    """Return the function that computes L(x, s(a)) and s(a) - x, from one row to another.

    Both come from one exponential function.
    """
    exp, log1p, exp_series, log_series = elementary(dtype)
    Float = np.dtype(dtype).type
    one = Float(1)

    @njit
    def total(terms):
        # By halves: that is vectorised, and the roundings of a sum of n grow only as log n.
        n = terms.size
        while n > 1:
            rest = (n + 1) // 2
            for k in range(n - rest):
                terms[k] += terms[rest + k]
            n = rest
        return terms[0] if terms.size else Float(0)

    @njit
    def cross_entropy(start, stop, x, a, L, residual):
        terms = empty((a.shape[1],), Float)
        exp_terms, log_terms = kept(exp_series), kept(log_series)
        for i in range(start, stop):
            # In two loops, since each waits for the one before in it: the processor begins several
            # of a short one at a time.
            for k in range(terms.size):
                terms[k] = exp(-abs(a[i, k]), exp_terms)
            for k in range(terms.size):
                distance, e = abs(a[i, k]), terms[k]
                # What x lacks of the side that a is on, and what s(a) lacks of it.
                x_lack = one - x[i, k] if a[i, k] > 0 else x[i, k]
                z_lack = e / (one + e)
                terms[k] = distance * x_lack + log1p(e, log_terms)
                residual[i, k] = x_lack - z_lack if a[i, k] > 0 else z_lack - x_lack
            L[i] = total(terms)

    return cross_entropy


@cache
def column_sum(dtype):
    """Return the function that adds up the columns of a, into sums of its dtype."""
    Float = np.dtype(dtype).type

    @njit
    def column_sum(a, sums):
        n = a.shape[1]
        totals, parts = empty((n,), np.float64), empty((n,), Float)
        for k in range(n):
            totals[k] = 0
        for first in range(0, a.shape[0], ROWS):
            for k in range(n):
                parts[k] = 0
            for i in range(first, min(first + ROWS, a.shape[0])):
                for k in range(n):
                    parts[k] += a[i, k]
            for k in range(n):
                totals[k] += parts[k]
        for k in range(n):
            sums[k] = totals[k]

    return column_sum


@cache
def log_likelihood(dtype):
    """Return the function that computes log softmax(a)[y] by row, and its gradient by a."""
    exp, _, series, _ = elementary(dtype)
    Float = np.dtype(dtype).type

    @njit
    def log_likelihood(a, y, log_p, gradient):
        n_out = a.shape[1]
        for i in range(y.size):
            largest = a[i, 0]
            for k in range(n_out):
                largest = max(largest, a[i, k])
            for k in range(n_out):
                gradient[i, k] = exp(a[i, k] - largest, series)
            # All but the largest, and all but that of y: 1 minus the rest would lose their digits.
            others, wrong, is_found = 0.0, 0.0, False
            for k in range(n_out):
                if is_found or a[i, k] < largest:
                    others += gradient[i, k]
                else:
                    is_found = True
                if k != y[i]:
                    wrong += gradient[i, k]
            total = wrong + gradient[i, y[i]]
            log_p[i] = (a[i, y[i]] - largest) - Float(math.log1p(others))
            for k in range(n_out):
                gradient[i, k] = -gradient[i, k] / total
            gradient[i, y[i]] = wrong / total
        for i in range(y.size, a.shape[0]):
            for k in range(n_out):
                gradient[i, k] = 0

    return log_likelihood


@njit
def row_argmax(a, columns):
    """Find the column of the largest number of each row, or of the first NaN."""
    for i in range(a.shape[0]):
        best = 0
        for k in range(1, a.shape[1]):
            is_nan = math.isnan(a[i, k]) and not math.isnan(a[i, best])
            if is_nan or a[i, k] > a[i, best]:
                best = k
        columns[i] = best


@njit
def copied(a):
    """Return a copy of a matrix whose numbers lie side by side, row by row."""
    out = empty(a.shape, a.dtype)
    # Numba compiles ``out[:] = a`` for seconds, for the sake of its error message.
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] = a[i, k]
    return out


def write_writable(context, builder, kind, value):
    """Write code that returns a new reference to a matrix to write to.

    It is the given one if that is C-contiguous and not read-only, else a copy: the memory between
    the rows or columns of any other may be somebody else's.
    """
    result = types.Array(kind.dtype, kind.ndim, "C")
    if kind == result:
        return impl_ret_borrowed(context, builder, result, value)
    return context.compile_internal(builder, lambda a: copied(a), result(kind), [value])


@intrinsic
def known_to_be_contiguous(_, a):
    """Return an array of any layout as one that is C-contiguous, which it must be."""
    kind = a.copy(layout="C")

    def write(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, kind, args[0])

    return kind(a), write


def made_contiguous(a):
    """Return a matrix whose numbers lie side by side, row by row: itself, or a copy.

    `numpy.ascontiguousarray` would do as well, but for a matrix takes Numba a second to compile.
    """
    if a.strides == (a.shape[1] * a.itemsize, a.itemsize):
        return known_to_be_contiguous(a)
    return copied(a)


def write_contiguous(context, builder, kind, value):
    """Write code that returns a new reference to a C-contiguous array: the given one, or a copy."""
    result = kind.copy(layout="C")
    if kind.layout == "C" or kind.ndim == 0:
        return impl_ret_borrowed(context, builder, result, value)
    make = made_contiguous if kind.ndim == 2 else lambda a: np.ascontiguousarray(a)
    return context.compile_internal(builder, make, result(kind), [value])


@contextmanager
def contiguous_arrays(context, builder, kinds, values):
    """Yield C-contiguous arrays, those given or copies, which are freed behind."""
    references = [
        (kind.copy(layout="C"), write_contiguous(context, builder, kind, value))
        for kind, value in zip(kinds, values, strict=True)
    ]
    yield [context.make_array(kind)(context, builder, value) for kind, value in references]
    for kind, value in references:
        context.nrt.decref(builder, kind, value)


@intrinsic
def contiguous(_, a):
    """Return an array whose numbers lie side by side, row by row: itself, or a copy."""

    def write(context, builder, signature, args):
        return write_contiguous(context, builder, a, args[0])

    return a.copy(layout="C")(a), write
