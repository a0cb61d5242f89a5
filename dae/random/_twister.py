"""The Mersenne Twister and the draws of `numpy.random.RandomState`, in Numba.

Bit for bit, but in blocks, which LLVM turns into vector instructions. Fast mathematics stays off:
it would change last digits. A state is a vector of 628 words, see `streams`.
"""

import math

import numpy as np
from pytensor.link.numba.dispatch.basic import numba_njit

VERSION = 1
"""See `dae._machine_code.cache_key`."""

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
    width = high - low
    if not math.isfinite(width):
        raise OverflowError("Range exceeds valid bounds")
    u = np.empty(out.size)
    doubles(state, u)
    for i in range(out.size):
        out[i] = low + width * u[i]


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
    if math.copysign(1.0, deviation) < 0 and not math.isnan(deviation):
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
