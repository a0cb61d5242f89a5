"""The op that draws from a stream: in NumPy, and as Numba compiles it.

The state of a stream is one vector of 628 words: the 624 words and the position of the Mersenne
Twister (Matsumoto and Nishimura, 1998), then what `numpy.random.RandomState` keeps for the next
normal draw (a flag, and a float64 in two words). As an array like any other it can be the value of
a shared variable, is copied in nanoseconds, and is saved without pickle.
"""

import math
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.random import RandomState
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import (
    generate_fallback_impl,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.tensor.type import TensorType

from dae._machine_code import array_type, cache_key, compiled_loop, empty, first_numbers, flat
from dae.random import _twister
from dae.random._twister import GAUSS, HAS_GAUSS, POSITION, WORDS

VERSION = 5
"""See `dae._machine_code.cache_key`."""

STATE_SIZE = GAUSS.stop


def pack(random_state):
    """Return the state of a generator as a vector.

    Parameters
    ----------
    random_state : numpy.random.RandomState

    Returns
    -------
    ndarray of uint32, shape (628,)
    """
    _, key, position, has_gauss, gauss = random_state.get_state()
    state = np.empty(STATE_SIZE, np.uint32)
    state[:WORDS] = key
    state[POSITION] = position
    state[HAS_GAUSS] = has_gauss
    state[GAUSS] = np.array([gauss]).view(np.uint32)
    return state


def unpack(state):
    """Return a generator in the state that a vector describes; the inverse of `pack`.

    Parameters
    ----------
    state : ndarray of uint32, shape (628,)

    Returns
    -------
    numpy.random.RandomState
    """
    random_state = RandomState(0)
    gauss = float(state[GAUSS].copy().view(np.float64)[0])
    random_state.set_state(
        ("MT19937", state[:WORDS], int(state[POSITION]), int(state[HAS_GAUSS]), gauss)
    )
    return random_state


def short_uniform(random_state, low, high, size):
    """Draw from the uniform distribution in NumPy, to the last bit as `_twister.short_uniform`.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    low, high : array_like
        Bounds.
    size : tuple of int

    Returns
    -------
    ndarray of float64, shape `size`

    Raises
    ------
    OverflowError
        If ``high - low`` is not finite.
    """
    width = np.subtract(high, low, dtype="float64")
    if not np.all(np.isfinite(width)):
        raise OverflowError("Range exceeds valid bounds")
    return low + width * (random_state.randint(2**24, size=size, dtype=np.uint32) / 2**24)


def box_muller(random_state, avg, std, size, dtype):
    """Draw from the normal distribution in NumPy, to the last bit as `_twister.box_muller`.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    avg, std : array_like
        Mean and standard deviation.
    size : tuple of int
    dtype : {'float32', 'float64'}
        What is computed in.

    Returns
    -------
    ndarray, shape `size`

    Raises
    ------
    ValueError
        If a standard deviation is negative.
    """
    if np.any(np.signbit(std)):
        raise ValueError("scale < 0")
    Float = np.dtype(dtype).type
    n = math.prod(size)
    halves = 2, (n + 1) // 2
    if dtype == "float32":
        words = random_state.randint(2**24, size=halves, dtype=np.uint32)
        u, v = Float(words) * Float(2**-24)
    else:
        u, v = random_state.random_sample(halves)
    numbers = np.concatenate(_twister.normal_pair(dtype)(u, v))[:n]
    return Float(avg) + Float(std) * numbers.reshape(size)


def precision(dtype):
    """Return what the method of Box and Muller computes in.

    Parameters
    ----------
    dtype : str
        The dtype that the draws are cast to.

    Returns
    -------
    {'float32', 'float64'}
    """
    return "float32" if dtype == "float32" else "float64"


class RandomFunction(Op):
    """The draws of a method of `numpy.random.RandomState`, and the state after them.

    The states before and after are two variables of the graph, so that advancing a stream is an
    update like any other.

    Parameters
    ----------
    method : {'binomial', 'uniform', 'normal', 'short_uniform', 'box_muller'}
        The name of the method; the last two are functions above, which NumPy does not have.
    dtype : str
        The dtype that the draws are cast to.
    """

    __props__ = ("method", "dtype")

    def __init__(self, method, dtype):
        self.method = method
        self.dtype = dtype

    def make_node(self, state, size, *params):
        """Apply to the state before the draws.

        Parameters
        ----------
        state : uint32 vector, shape (628,)
        size : sequence of int or of integer scalars, integer vector, or None
            Shape of the draws; None stands for that of the parameters, broadcast.
        *params : array_like or tensor
            The parameters of the method. Numbers keep all their digits, whatever floatX is.

        Returns
        -------
        Apply
            Its inputs are the state, each length of the shape, and the parameters; its outputs are
            the state after the draws, and the draws.
        """
        with pytensor.config.change_flags(floatX="float64"):
            params = [pt.as_tensor(param) for param in params]
        if size is None:
            size = pt.broadcast_shape(*params)
        size = pt.as_tensor(size, ndim=1, dtype="int64") if size != () else np.zeros(0, "int64")
        lengths = [size[i] for i in range(pt.get_vector_length(size))]
        draws = TensorType(self.dtype, shape=(None,) * len(lengths))
        return Apply(self, [state, *lengths, *params], [state.type(), draws()])

    def perform(self, node, inputs, output_storage):
        """Compute the draws in NumPy."""
        ndim = node.outputs[1].ndim
        state, size, params = inputs[0], tuple(map(int, inputs[1 : 1 + ndim])), inputs[1 + ndim :]
        random_state = unpack(state)
        if self.method == "short_uniform":
            draws = short_uniform(random_state, *params, size)
        elif self.method == "box_muller":
            draws = box_muller(random_state, *params, size, precision(self.dtype))
        else:
            draws = getattr(random_state, self.method)(*params, size=size)
        output_storage[0][0] = pack(random_state)
        output_storage[1][0] = np.asarray(draws, self.dtype)

    def infer_shape(self, *args):
        """Return the shapes of the outputs, without drawing."""
        node = args[-2]  # the last two are the same in all versions of PyTensor
        return [(STATE_SIZE,), tuple(node.inputs[1 : 1 + node.outputs[1].ndim])]

    def connection_pattern(self, node):
        """Return that no gradient passes from an output to an input."""
        return [[False, False] for _ in node.inputs]

    def pullback(self, inputs, outputs, cotangents):
        """Return a disconnected gradient for each input."""
        return [disconnected_type() for _ in inputs]


@register_funcify_and_cache_key(RandomFunction)
def numba_random_function(op, node, **kwargs):
    """Return the compiled draws: in blocks if the parameters are scalars, else by NumPy.

    Parameters
    ----------
    op : RandomFunction
    node : Apply
    **kwargs
        Passed on by PyTensor.

    Returns
    -------
    function : callable
    cache_key : str or None
        None if PyTensor cannot keep the machine code.
    """
    ndim = node.outputs[1].ndim
    params = node.inputs[1 + ndim :]
    is_many_trials = op.method == "binomial" and getattr(params[0], "data", None) != 1
    if is_many_trials or any(param.ndim for param in params):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            return generate_fallback_impl(op, node, **kwargs), None

    draw, check = {
        "binomial": (_twister.bernoulli, _twister.check_probability),
        "uniform": (_twister.uniform, _twister.check_range),
        "normal": (_twister.normal, _twister.check_deviation),
        "short_uniform": (_twister.short_uniform, _twister.check_range),
        "box_muller": (_twister.box_muller(precision(op.dtype)), _twister.check_deviation),
    }[op.method]
    kinds = [array_type(kind, 1) for kind in ("uint32", op.dtype, "float64")]
    loop = compiled_loop(f"dae_{op.method}_{op.dtype}", draw, kinds, _twister)
    dtype, first, second = np.dtype(op.dtype), ndim, ndim + 1

    @numba_njit(fastmath=False)
    def random_function(state, *args):
        params = empty((2,), np.float64)
        params[0], params[1] = args[first].item(), args[second].item()
        check(params)
        state = state.copy()
        out = empty(first_numbers(args, ndim), dtype)
        loop((state, flat(out), params))
        return state, out

    return random_function, cache_key(op, _twister, ndim=ndim)
