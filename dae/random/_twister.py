"""The Mersenne Twister and the draws of `numpy.random.RandomState`, compiled by Numba.

The draws are the same to the last bit, but for `short_uniform` and `box_muller`, which are not
NumPy's. They are computed in blocks, which LLVM compiles to vector instructions; fast mathematics
stays off, since it would change last digits. The state is a vector of 628 words, described in
`dae.random.ops`.
"""

import math
from functools import cache

import numpy as np
from numba.extending import register_jitable
from pytensor.link.numba.dispatch.basic import numba_njit

from dae._machine_code import empty

VERSION = 6
"""See `dae._machine_code.cache_key`."""

WORDS, POSITION, HAS_GAUSS, GAUSS = 624, 624, 625, slice(626, 628)

BLOCK = 1024
"""How many uniform numbers are drawn at a time: so few that they stay in the fastest cache."""


@numba_njit(fastmath=False)
def temper(word):
    """Return the output that one word of the state gives (uint32)."""
    word ^= word >> np.uint32(11)
    word ^= (word << np.uint32(7)) & np.uint32(0x9D2C5680)
    word ^= (word << np.uint32(15)) & np.uint32(0xEFC60000)
    return word ^ (word >> np.uint32(18))


@numba_njit(fastmath=False)
def twist(upper, lower, other):
    """Return the next value of a word, from two adjacent words and one 397 places on (uint32)."""
    mixed = (upper & np.uint32(0x80000000)) | (lower & np.uint32(0x7FFFFFFF))
    return other ^ (mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF))


@numba_njit(fastmath=False)
def refill(key):
    """Replace all 624 words by their next values, in place."""
    # Split where the word read from afar becomes a new one, so that each run can be vectorised.
    for i in range(227):
        key[i] = twist(key[i], key[i + 1], key[i + 397])
    for i in range(227, 623):
        key[i] = twist(key[i], key[i + 1], key[i - 227])
    key[623] = twist(key[623], key[0], key[396])


@numba_njit(fastmath=False)
def to_double(first, second):
    """Return a float64 in [0, 1) made of 53 bits of two words."""
    high, low = temper(first) >> np.uint32(5), temper(second) >> np.uint32(6)
    return (high * 67108864.0 + low) / 9007199254740992.0


@numba_njit(fastmath=False)
def random_sample(state, out):
    """Draw from the uniform distribution over [0, 1), as ``RandomState.random_sample``.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
        Advanced in place, here and in the functions below.
    out : ndarray of float64, shape (n,)
        Where the draws are written.
    """
    key, position = state[:WORDS], np.int64(state[POSITION])
    done = 0
    while done < out.size:
        pairs = min((WORDS - position) // 2, out.size - done)
        words, block = key[position:], out[done : done + pairs]
        for i in range(pairs):
            block[i] = to_double(words[2 * i], words[2 * i + 1])
        done += pairs
        position += 2 * pairs
        if done < out.size:
            last, is_split = key[WORDS - 1], position < WORDS
            refill(key)
            if is_split:
                out[done] = to_double(last, key[0])
                done += 1
            position = np.int64(is_split)
    state[POSITION] = position


@numba_njit(fastmath=False)
def random_sample_float32(state, out):
    """Draw multiples of 2**-24 in [0, 1): ``RandomState.randint(2**24) / 2**24``.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
    out : ndarray of float32, shape (n,)
    """
    key, position = state[:WORDS], np.int64(state[POSITION])
    done = 0
    while done < out.size:
        if position == WORDS:
            refill(key)
            position = 0
        length = min(WORDS - position, out.size - done)
        words, block = key[position:], out[done : done + length]
        for i in range(length):
            block[i] = np.int32(temper(words[i]) & np.uint32(0xFFFFFF)) * np.float32(2.0**-24)
        done += length
        position += length
    state[POSITION] = position


@numba_njit(fastmath=False)
def uniform(state, out, params):
    """Draw from the uniform distribution over [low, high), as ``RandomState.uniform``.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
    out : ndarray, shape (n,)
    params : ndarray of float64, shape (2,)
        low and high.
    """
    low, width = params[0], params[1] - params[0]
    u = empty((BLOCK,), np.float64)
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        random_sample(state, u[: block.size])
        for i in range(block.size):
            block[i] = low + width * u[i]


@numba_njit(fastmath=False)
def short_uniform(state, out, params):
    """Draw from the uniform distribution as `uniform`, from one word for a number, of two.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
    out : ndarray, shape (n,)
    params : ndarray of float64, shape (2,)
        low and high.
    """
    low, width = params[0], params[1] - params[0]
    u = empty((BLOCK,), np.float32)
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        random_sample_float32(state, u[: block.size])
        for i in range(block.size):
            block[i] = low + width * u[i]


@numba_njit(fastmath=False)
def bernoulli(state, out, params):
    """Draw 1 with probability p, else 0, as ``RandomState.binomial`` with n = 1.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
    out : ndarray, shape (n_draws,)
    params : ndarray of float64, shape (2,)
        n, which is 1, and p.
    """
    p = params[1]
    # NumPy inverts the distribution of the rarer outcome and takes its q to the n-th power.
    rarer = p if p <= 0.5 else 1 - p
    threshold = math.exp(math.log(1 - rarer))
    u = empty((BLOCK,), np.float64)
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        random_sample(state, u[: block.size])
        for i in range(block.size):
            block[i] = (u[i] > threshold) == (p <= 0.5)


@numba_njit(fastmath=False)
def normal(state, out, params):
    """Draw from the normal distribution by the polar method, as ``RandomState.normal``.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)
    out : ndarray, shape (n,)
    params : ndarray of float64, shape (2,)
        Mean and standard deviation.
    """
    kept, u = state[GAUSS].view(np.float64), empty((2,), np.float64)
    for i in range(out.size):
        if state[HAS_GAUSS]:
            gauss, kept[0], state[HAS_GAUSS] = kept[0], 0.0, 0
        else:
            square = 0.0
            while square >= 1.0 or square == 0.0:
                random_sample(state, u)
                x, y = 2.0 * u[0] - 1.0, 2.0 * u[1] - 1.0
                square = x * x + y * y
            radius = math.sqrt(-2.0 * math.log(square) / square)
            gauss, kept[0], state[HAS_GAUSS] = radius * y, radius * x, 1
        out[i] = params[0] + params[1] * gauss


@cache
def normal_pair(dtype):
    r"""Return the function of Box and Muller (1958), from two uniform numbers to two normal ones.

    .. math::
        \sqrt{-2 \log(1 - u)}\, (\cos \alpha, \sin \alpha), \qquad \alpha = 2 \pi (v - 1/2)

    Unlike the polar method, which draws until a point lies in the unit circle, it becomes vector
    instructions. It consists of arithmetic and square roots, whose results IEEE 754 prescribes to
    the last bit, so that compiled for numbers and in NumPy for arrays it returns the same. The
    series are Taylor's, of a length that leaves the error to the roundings.

    Parameters
    ----------
    dtype : {'float32', 'float64'}

    Returns
    -------
    callable
        Of u and v in [0, 1).
    """
    Float, Int = {"float32": (np.float32, np.int32), "float64": (np.float64, np.int64)}[dtype]
    artanh_terms, cos_terms, sin_terms = {"float32": (5, 6, 5), "float64": (10, 9, 8)}[dtype]
    # Of squares, from the highest power down.
    artanh = tuple(Float(1 / (2 * k + 1)) for k in reversed(range(artanh_terms)))
    cos = tuple(Float((-1) ** k / math.factorial(2 * k)) for k in reversed(range(cos_terms)))
    sin = tuple(Float((-1) ** k / math.factorial(2 * k + 1)) for k in reversed(range(sin_terms)))
    half, one, two = Float(0.5), Float(1), Float(2)
    half_pi, ln2 = Float(math.pi / 2), Float(math.log(2))
    digits, root_bits = Int(np.finfo(Float).nmant), np.sqrt(half).view(Int)

    @register_jitable(error_model="numpy")
    def polynomial(coefficients, x):
        p = coefficients[0]
        for coefficient in coefficients[1:]:
            p = p * x + coefficient
        return p

    @register_jitable(error_model="numpy")
    def pair(u, v):
        # 1 - u = 2**k m, with m between the roots of 1/2 and 2, and log m = 2 artanh(s).
        bits = Float(one - u).view(Int)
        k = Int(Int(bits - root_bits) >> digits)
        m = Int(bits - Int(k << digits)).view(Float)
        s = (m - one) / (m + one)
        log = Float(k) * ln2 + two * s * polynomial(artanh, s * s)
        radius = np.sqrt(-two * log)
        # A quarter of the angle, doubled twice.
        angle = (v - half) * half_pi
        square = angle * angle
        x, y = polynomial(cos, square), angle * polynomial(sin, square)
        x, y = (x - y) * (x + y), two * x * y
        x, y = (x - y) * (x + y), two * x * y
        return radius * x, radius * y

    return pair


@cache
def box_muller(dtype):
    """Return the loop that draws from the normal distribution by `normal_pair`.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        What is computed in.

    Returns
    -------
    callable
        With the parameters of `normal`.
    """
    Float = np.dtype(dtype).type
    sample = {"float32": random_sample_float32, "float64": random_sample}[dtype]
    pair = normal_pair(dtype)

    @numba_njit(fastmath=False)
    def box_muller(state, out, params):
        n_pairs = (out.size + 1) // 2
        numbers = empty((2 * n_pairs,), Float)
        sample(state, numbers)
        first, second = numbers[:n_pairs], numbers[n_pairs:]
        for i in range(n_pairs):
            first[i], second[i] = pair(first[i], second[i])
        for i in range(out.size):
            out[i] = Float(params[0]) + Float(params[1]) * numbers[i]

    return box_muller


# What is compiled once, and called by its name, raises nothing; so these are called before it.


@numba_njit(fastmath=False)
def check_probability(params):
    """Raise ValueError if the second number is not in [0, 1]."""
    if not 0 <= params[1] <= 1:
        raise ValueError("p < 0, p > 1 or p is NaN")


@numba_njit(fastmath=False)
def check_range(params):
    """Raise OverflowError if the second number minus the first is not finite."""
    if not math.isfinite(params[1] - params[0]):
        raise OverflowError("Range exceeds valid bounds")


@numba_njit(fastmath=False)
def check_deviation(params):
    """Raise ValueError if the second number is negative."""
    if math.copysign(1.0, params[1]) < 0 and not math.isnan(params[1]):
        raise ValueError("scale < 0")
