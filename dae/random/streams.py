"""Theano's seeded random streams on PyTensor: the same draws, to the last bit.

The state of a stream is one vector of 628 words: the 624 words and the position of the Mersenne
Twister (Matsumoto and Nishimura, 1998), then what `numpy.random.RandomState` keeps for the next
normal draw (a flag, and a float64 in two words). As an array like any other it can be the value of
a shared variable, is copied in nanoseconds, and is saved without pickle.
"""

import copy
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from numba.np.unsafe.ndarray import to_fixed_tuple
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import graph_inputs
from pytensor.link.numba.dispatch.basic import (
    generate_fallback_impl,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.tensor.type import TensorType

from dae._machine_code import cache_key
from dae.random import _twister
from dae.random._twister import GAUSS, HAS_GAUSS, POSITION, WORDS

VERSION = 4
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
            Its outputs are the state after the draws, and the draws.
        """
        with pytensor.config.change_flags(floatX="float64"):
            params = [pt.as_tensor(param) for param in params]
        if size is None:
            size = pt.broadcast_shape(*params)
        size = pt.as_tensor(size, ndim=1, dtype="int64") if size != () else np.zeros(0, "int64")
        draws = TensorType(self.dtype, shape=(None,) * pt.get_vector_length(size))
        return Apply(self, [state, pt.as_tensor(size), *params], [state.type(), draws()])

    def perform(self, node, inputs, output_storage):
        """Compute the draws in NumPy."""
        state, size, *params = inputs
        random_state = unpack(state)
        if self.method == "short_uniform":
            draws = short_uniform(random_state, *params, tuple(size))
        elif self.method == "box_muller":
            draws = box_muller(random_state, *params, tuple(size), precision(self.dtype))
        else:
            draws = getattr(random_state, self.method)(*params, size=tuple(size))
        output_storage[0][0] = pack(random_state)
        output_storage[1][0] = np.asarray(draws, self.dtype)

    def infer_shape(self, *args):
        """Return the shapes of the outputs, without drawing."""
        node = args[-2]  # the last two are the same in all versions of PyTensor
        size = node.inputs[1]
        return [(STATE_SIZE,), tuple(size[i] for i in range(node.outputs[1].ndim))]

    def connection_pattern(self, node):
        """Return that no gradient passes from an output to an input."""
        return [[False, False] for _ in node.inputs]

    def pullback(self, inputs, outputs, cotangents):
        """Return a disconnected gradient for each input."""
        return [disconnected_type() for _ in inputs]


class RandomStreams:
    """Theano's `RandomStreams`: random variables whose streams all come from one seed.

    Every random variable has a stream of its own, ``RandomState(gen.randint(2**30))`` with
    ``gen = RandomState(seed)``. Each call of a compiled function advances it if the function was
    compiled with `updates`; otherwise every call draws the same numbers.

    Parameters
    ----------
    seed : int or array_like of int, optional
        Seed of `numpy.random.RandomState`. By default one from the operating system.

    Attributes
    ----------
    gen : numpy.random.RandomState
        The generator of the seeds of streams.
    state_updates : list of (shared variable, variable)
        The state of each stream and its state after the draws, in order of creation.

    Examples
    --------
    >>> import pytensor
    >>> theano_rng = RandomStreams(seed=1)
    >>> mask = theano_rng.binomial(size=(2, 8), n=1, p=0.7)
    >>> draw = pytensor.function([], mask, updates=theano_rng.updates())
    >>> draw()
    array([[0, 1, 1, 1, 0, 1, 1, 1],
           [1, 1, 1, 1, 1, 1, 0, 0]])
    """

    def __init__(self, seed: int | Sequence[int] | NDArray | None = None):
        self.gen = RandomState(seed)
        self.state_updates: list[tuple] = []

    def __deepcopy__(self, memo):
        """Return streams without random variables, whose next one draws as the next one here."""
        other = RandomStreams()
        other.gen = copy.deepcopy(self.gen, memo)
        return other

    def updates(self, outputs: Variable | Sequence[Variable] | None = None) -> dict:
        """Return the updates that advance the streams.

        Parameters
        ----------
        outputs : variable, or list or tuple of variables, optional
            Expressions, for the updates of the streams that they draw from. By default those of
            all streams.

        Returns
        -------
        dict from shared variable to variable
            The next state of each stream by its state, for `pytensor.function`.
        """
        if outputs is None:
            return dict(self.state_updates)
        inputs = set(graph_inputs(outputs if isinstance(outputs, list | tuple) else [outputs]))
        return {state: after for state, after in self.state_updates if state in inputs}

    def seed(self, seed: int | Sequence[int] | NDArray | None) -> None:
        """Seed all streams again, in the order of their creation.

        Parameters
        ----------
        seed : int or array_like of int or None
            Seed of `numpy.random.RandomState`; None takes one from the operating system.
        """
        self.gen = RandomState(seed)
        for state, _ in self.state_updates:
            state.set_value(self._new_state(), borrow=True)

    def get_state(self) -> NDArray:
        """Return the state that all future draws depend on.

        Returns
        -------
        ndarray of uint32, shape (1 + n_streams, 628)
            The state of the generator of seeds, then those of the streams.
        """
        streams = [state.get_value(borrow=True) for state, _ in self.state_updates]
        return np.stack([pack(self.gen), *streams])

    def set_state(self, value: ArrayLike) -> None:
        """Set the state that all future draws depend on.

        Parameters
        ----------
        value : array_like of uint32, shape (1 + n_streams, 628)
            A value returned by `get_state`.

        Raises
        ------
        ValueError
            If it is not the state of as many streams as there are.
        """
        value = np.asarray(value)
        expected = (1 + len(self.state_updates), STATE_SIZE)
        if value.shape != expected or value.dtype != np.uint32:
            raise ValueError(
                f"the state of the random streams is {value.dtype} {value.shape}; expected uint32 "
                f"{expected}: create the same random variables, in the same order, before it is set"
            )
        self.gen = unpack(value[0])
        for (state, _), row in zip(self.state_updates, value[1:], strict=True):
            state.set_value(row.copy(), borrow=True)

    def binomial(
        self,
        size: Sequence | Variable | None = None,
        n: int | Variable = 1,
        p: float | Variable = 0.5,
        dtype: str = "int64",
    ) -> pt.TensorVariable:
        """Return draws from the binomial distribution: numbers of successes among `n` trials.

        Parameters
        ----------
        size : sequence of int or of integer scalars, or integer vector, optional
            Shape of the draws. By default that of the parameters, broadcast.
        n : int or integer tensor, default=1
            Number of trials. Draws with ``n=1`` are fastest.
        p : float or tensor, default=0.5
            Probability of a success, in [0, 1].
        dtype : str, default='int64'
            The dtype that the draws are cast to.

        Returns
        -------
        TensorVariable
            Its attribute ``rng`` is the shared variable with the state of its stream, and
            ``update`` the pair of that and the state after the draws.
        """
        return self._draw("binomial", dtype, size, n, p)

    def uniform(
        self,
        size: Sequence | Variable | None = None,
        low: float | Variable = 0.0,
        high: float | Variable = 1.0,
        dtype: str | None = None,
        bits: int = 53,
    ) -> pt.TensorVariable:
        """Return draws from the uniform distribution over [low, high).

        By default they are Theano's and NumPy's, to the last bit, as those of all other random
        variables are. With 24 bits they are others from the same seed, three times as fast.

        Parameters
        ----------
        size : sequence of int or of integer scalars, or integer vector, optional
            Shape of the draws. By default that of the parameters, broadcast.
        low : float or tensor, default=0.0
            Lower bound, included.
        high : float or tensor, default=1.0
            Upper bound, excluded.
        dtype : str, optional
            The dtype that the draws are cast to. By default floatX.
        bits : {53, 24}, default=53
            The number of random bits of a draw; of 24, float32 holds all.

        Returns
        -------
        TensorVariable
            With ``rng`` and ``update`` as for `binomial`.

        Raises
        ------
        ValueError
            If `bits` is another number.
        """
        names = {53: "uniform", 24: "short_uniform"}
        if bits not in names:
            raise ValueError(f"bits is {bits!r}; expected 53 or 24")
        return self._draw(names[bits], dtype or pytensor.config.floatX, size, low, high)

    def normal(
        self,
        size: Sequence | Variable | None = None,
        avg: float | Variable = 0.0,
        std: float | Variable = 1.0,
        dtype: str | None = None,
        method: str = "polar",
    ) -> pt.TensorVariable:
        """Return draws from the normal distribution.

        By the polar method they are Theano's and NumPy's, to the last bit, as those of all other
        random variables are. The method of Box and Muller makes other numbers from the same seed,
        several times as fast: they depend on the dtype, but not on the machine.

        Parameters
        ----------
        size : sequence of int or of integer scalars, or integer vector, optional
            Shape of the draws. By default that of the parameters, broadcast.
        avg : float or tensor, default=0.0
            Mean.
        std : float or tensor, default=1.0
            Standard deviation, not negative.
        dtype : str, optional
            The dtype that the draws are cast to. By default floatX.
        method : {'polar', 'box-muller'}, default='polar'
            With 'box-muller', float32 is computed in float32, from 24 random bits for a number,
            and lies within 5.8 standard deviations; everything else in float64, from 53 bits, and
            lies within 8.6.

        Returns
        -------
        TensorVariable
            With ``rng`` and ``update`` as for `binomial`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        names = {"polar": "normal", "box-muller": "box_muller"}
        if method not in names:
            raise ValueError(f"method is {method!r}; expected 'polar' or 'box-muller'")
        return self._draw(names[method], dtype or pytensor.config.floatX, size, avg, std)

    def _new_state(self):
        return pack(RandomState(int(self.gen.randint(2**30))))

    def _draw(self, method, dtype, size, *params):
        state = pytensor.shared(self._new_state(), name=f"{method}_state", shape=(STATE_SIZE,))
        state_after, draws = RandomFunction(method, dtype)(state, size, *params)
        draws.rng, draws.update = state, (state, state_after)
        self.state_updates.append(draws.update)
        return draws


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
    _, _, *params = node.inputs
    is_many_trials = op.method == "binomial" and getattr(params[0], "data", None) != 1
    if is_many_trials or any(param.ndim for param in params):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            return generate_fallback_impl(op, node, **kwargs), None

    draw = {
        "binomial": _twister.bernoulli,
        "uniform": _twister.uniform,
        "normal": _twister.normal,
        "short_uniform": _twister.short_uniform,
        "box_muller": _twister.box_muller(precision(op.dtype)),
    }[op.method]
    dtype, ndim = np.dtype(op.dtype), node.outputs[1].ndim

    @numba_njit(fastmath=False)
    def random_function(state, size, a, b):
        state = state.copy()
        out = np.empty(to_fixed_tuple(size, ndim), dtype)
        draw(state, out.ravel(), np.float64(a.item()), np.float64(b.item()))
        return state, out

    return random_function, cache_key(op, _twister, ndim=ndim)
