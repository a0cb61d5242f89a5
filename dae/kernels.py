"""The inner loops, in Numba: what the ops of `streams` and `ops` run when compiled.

They are plain loops over arrays that LLVM turns into vector instructions.
"""

import hashlib
import inspect
import math
import sys
from decimal import Decimal
from functools import cache

import numpy as np
from numba.np.linalg import _BLAS, ensure_blas
from numba.np.numpy_support import from_dtype
from pytensor.link.numba.dispatch.basic import default_hash_key_from_props, numba_njit


def cache_key(op, **facts):
    """Give the key under which PyTensor keeps the machine code of an op.

    It changes with the source of the op and of this file: what was compiled from others is stale.

    Parameters
    ----------
    op : Op
    **facts
        What else the code depends on, beside the dtypes of the arguments.
    """
    sources = [inspect.getsource(sys.modules[name]) for name in (__name__, type(op).__module__)]
    version = hashlib.sha256("".join(sources).encode()).hexdigest()
    return default_hash_key_from_props(op, version=version, **facts)


# Random numbers. Fast mathematics stays off: it would change last digits.

WORDS, POSITION, HAS_GAUSS, GAUSS = 624, 624, 625, slice(626, 628)


@numba_njit(fastmath=False)
def temper(word):
    """Scramble one word of the Mersenne Twister into an output."""
    word ^= word >> np.uint32(11)
    word ^= (word << np.uint32(7)) & np.uint32(0x9D2C5680)
    word ^= (word << np.uint32(15)) & np.uint32(0xEFC60000)
    return word ^ (word >> np.uint32(18))


@numba_njit(fastmath=False)
def twist(upper, lower, other):
    """Give the successor of a word of the Mersenne Twister."""
    mixed = (upper & np.uint32(0x80000000)) | (lower & np.uint32(0x7FFFFFFF))
    return other ^ (mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF))


@numba_njit(fastmath=False)
def refill(key):
    """Replace all 624 words by their successors."""
    # Split where the word read from afar becomes a new one, so that each run can be vectorised.
    for i in range(227):
        key[i] = twist(key[i], key[i + 1], key[i + 397])
    for i in range(227, 623):
        key[i] = twist(key[i], key[i + 1], key[i - 227])
    key[623] = twist(key[623], key[0], key[396])


@numba_njit(fastmath=False)
def double(first, second):
    """Make 53 bits of two outputs a double in [0, 1)."""
    high, low = temper(first) >> np.uint32(5), temper(second) >> np.uint32(6)
    return (high * 67108864.0 + low) / 9007199254740992.0


@numba_njit(fastmath=False)
def doubles(state, out):
    """Draw doubles from [0, 1), as RandomState.random_sample, and advance the state."""
    key, position = state[:WORDS], np.int64(state[POSITION])
    done = 0
    while done < out.size:
        pairs = min((WORDS - position) // 2, out.size - done)
        words, block = key[position:], out[done : done + pairs]
        for i in range(pairs):
            block[i] = double(words[2 * i], words[2 * i + 1])
        done += pairs
        position += 2 * pairs
        if done < out.size:
            last, is_split = key[WORDS - 1], position < WORDS
            refill(key)
            if is_split:
                out[done] = double(last, key[0])
                done += 1
            position = np.int64(is_split)
    state[POSITION] = position


@numba_njit(fastmath=False)
def uniform(state, out, low, high):
    """Draw from [low, high), as RandomState.uniform."""
    u = np.empty(out.size)
    doubles(state, u)
    for i in range(out.size):
        out[i] = low + (high - low) * u[i]


@numba_njit(fastmath=False)
def mask(state, out, n, p):
    """Draw ones with probability p, as RandomState.binomial with n = 1."""
    if not 0 <= p <= 1:
        raise ValueError("p < 0, p > 1 or p is NaN")
    # NumPy inverts the distribution of the rarer outcome and takes its q to the n-th power.
    threshold = math.exp(math.log(1 - min(p, 1 - p)))
    u = np.empty(out.size)
    doubles(state, u)
    for i in range(out.size):
        out[i] = (u[i] > threshold) == (p <= 0.5)


@numba_njit(fastmath=False)
def normal(state, out, mean, deviation):
    """Draw from the normal distribution by the polar method, as RandomState.normal."""
    if deviation < 0:
        raise ValueError("scale < 0")
    kept, u = state[GAUSS].view(np.float64), np.empty(2)
    for i in range(out.size):
        if state[HAS_GAUSS]:
            gauss, kept[0], state[HAS_GAUSS] = kept[0], 0.0, 0
        else:
            square = 0.0
            while square >= 1.0 or square == 0.0:
                doubles(state, u)
                x, y = 2.0 * u[0] - 1.0, 2.0 * u[1] - 1.0
                square = x * x + y * y
            radius = math.sqrt(-2.0 * math.log(square) / square)
            gauss, kept[0], state[HAS_GAUSS] = radius * y, radius * x, 1
        out[i] = mean + deviation * gauss


# The training step. A product and a sum may be fused, which only makes them more accurate; sums
# are not reordered, since that would undo the roundings which `exp` relies on. A division by zero
# is infinite: raising an error there would keep LLVM from making vectors.

njit = numba_njit(fastmath={"contract"}, error_model="numpy")


@cache
def elementary(dtype):
    """Make exp and log1p for a floating-point type, of arithmetic alone.

    The library's functions take one value at a time; these become vector instructions. Both are
    Taylor series of a length that leaves the error to the roundings.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    exp : callable
        Of x <= 0.
    log1p : callable
        Of 0 <= e <= 1.
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
    half, two = Int(1), Float(2)
    exp_series = tuple(Float(1 / math.factorial(k)) for k in range(exp_terms, -1, -1))
    log_series = tuple(Float(2 / (2 * k + 1)) for k in range(log_terms, -1, -1))

    @njit
    def exp(x):
        x = vanishing if x < vanishing else x  # keeps NaN
        shifted = x * log2_e + shift
        n = shifted - shift
        r = (x - n * ln2_high) - n * ln2_low
        p = exp_series[0]
        for coefficient in exp_series[1:]:
            p = p * r + coefficient
        # e**x = 2**n e**r, in two steps for what is below the normal range.
        exponent = Int(Float(shifted).view(Int) - shift_bits)
        first = Int(exponent >> half)
        second = Int(exponent - first)
        return (
            p
            * Int((first + bias) << digits).view(Float)
            * Int((second + bias) << digits).view(Float)
        )

    @njit
    def log1p(e):
        # 2 artanh(s) = log((1 + s) / (1 - s))
        s = e / (two + e)
        square = s * s
        p = log_series[0]
        for coefficient in log_series[1:]:
            p = p * square + coefficient
        return s * p

    return exp, log1p


@cache
def sigmoid(dtype):
    """Make the loop that computes s(a)."""
    exp, _ = elementary(dtype)
    one = np.dtype(dtype).type(1)

    @njit
    def sigmoid(a, y):
        for i in range(a.size):
            e = exp(-abs(a[i]))
            y[i] = (e if a[i] < 0 else one) / (one + e)

    return sigmoid


@cache
def cross_entropy(dtype):
    """Make the loop that computes L(x, s(a)) and s(a) - x, of one exponential function."""
    exp, log1p = elementary(dtype)
    one = np.dtype(dtype).type(1)

    @njit
    def total(terms):
        # By halves: that is vectorised, and the roundings of a sum of n grow only as log n.
        n = terms.size
        while n > 1:
            rest = (n + 1) // 2
            for k in range(n - rest):
                terms[k] += terms[rest + k]
            n = rest
        return terms[0] if terms.size else terms.dtype.type(0)

    @njit
    def cross_entropy(x, a, L, residual):
        terms = np.empty(a.shape[1], a.dtype)
        for i in range(a.shape[0]):
            for k in range(terms.size):
                size = abs(a[i, k])
                e = exp(-size)
                # What x lacks of the side that a is on, and what s(a) lacks of it.
                x_lack = one - x[i, k] if a[i, k] > 0 else x[i, k]
                z_lack = e / (one + e)
                terms[k] = size * x_lack + log1p(e)
                residual[i, k] = x_lack - z_lack if a[i, k] > 0 else z_lack - x_lack
            L[i] = total(terms)

    return cross_entropy


@cache
def gemm(dtype):
    """Make the function that adds alpha times the product of two matrices to c.

    It calls the BLAS that Numba links to. All arrays are C-contiguous.
    """
    ensure_blas()
    Float = np.dtype(dtype).type
    kind = ord("s" if Float is np.float32 else "d")
    no, yes = ord("n"), ord("t")
    blas_gemm = _BLAS.numba_xxgemm(from_dtype(np.dtype(dtype)))

    @numba_njit
    def gemm(c, alpha, a, a_transposed, b, b_transposed):
        m, k = (a.shape[1], a.shape[0]) if a_transposed else a.shape
        k_of_b, n = (b.shape[1], b.shape[0]) if b_transposed else b.shape
        if k != k_of_b or c.shape != (m, n):
            raise ValueError("the shapes of the matrices of a product do not fit")
        alpha_, one = np.full(1, alpha, Float), np.ones(1, Float)
        # To BLAS, which goes by columns, c is its transpose: b' a'.
        blas_gemm(
            kind,
            yes if b_transposed else no,
            yes if a_transposed else no,
            n,
            m,
            k,
            alpha_.ctypes,
            b.ctypes,
            max(b.shape[1], 1),
            a.ctypes,
            max(a.shape[1], 1),
            one.ctypes,
            c.ctypes,
            max(n, 1),
        )

    return gemm
