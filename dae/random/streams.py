"""Theano's seeded random streams, bit for bit, on PyTensor.

A stream's state is one vector of 628 unsigned words: the 624 words and the position of the
Mersenne Twister (Matsumoto and Nishimura, 1998), then what `numpy.random.RandomState` keeps
for the next normal draw (a flag and a float64). So a state is an array like any other: it lives
in a shared variable, is copied in nanoseconds, and is saved without pickle.
"""

import copy
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
from numba.np.unsafe.ndarray import to_fixed_tuple
from numpy.random import RandomState
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
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

VERSION = 1
"""See `dae._machine_code.cache_key`."""

STATE_SIZE = GAUSS.stop


def pack(random_state):
    """Lay the state of a generator out as a vector.

    Parameters
    ----------
    random_state : numpy.random.RandomState

    Returns
    -------
    numpy.ndarray, shape (628,), uint32
    """
    _, key, position, has_gauss, gauss = random_state.get_state()
    state = np.empty(STATE_SIZE, np.uint32)
    state[:WORDS] = key
    state[POSITION] = position
    state[HAS_GAUSS] = has_gauss
    state[GAUSS] = np.array([gauss]).view(np.uint32)
    return state


def unpack(state):
    """Make the generator whose state a vector holds; the inverse of `pack`.

    Parameters
    ----------
    state : numpy.ndarray, shape (628,), uint32

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


class RandomFunction(Op):
    """What a method of `numpy.random.RandomState` returns, and the state that it leaves.

    The graph holds the state before and the state after as two variables, so that advancing a
    stream is an update like any other.

    Parameters
    ----------
    method : str
        A name among the methods of `numpy.random.RandomState`.
    dtype : str
        What the draws are cast to.
    """

    __props__ = ("method", "dtype")

    def __init__(self, method, dtype):
        self.method = method
        self.dtype = dtype

    def make_node(self, state, size, *params):
        """Apply to a state (628,), the shape of the draws and the parameters of the method.

        Numbers keep all their digits, as in NumPy, whatever floatX is.
        """
        with pytensor.config.change_flags(floatX="float64"):
            params = [pt.as_tensor(param) for param in params]
        if size is None:
            size = pt.broadcast_shape(*params)
        size = pt.as_tensor(size, ndim=1, dtype="int64") if size != () else np.zeros(0, "int64")
        draws = TensorType(self.dtype, shape=(None,) * pt.get_vector_length(size))
        return Apply(self, [state, pt.as_tensor(size), *params], [state.type(), draws()])

    def perform(self, node, inputs, output_storage):
        """Let NumPy itself draw."""
        state, size, *params = inputs
        random_state = unpack(state)
        draws = getattr(random_state, self.method)(*params, size=tuple(size))
        output_storage[0][0] = pack(random_state)
        output_storage[1][0] = np.asarray(draws, self.dtype)

    def infer_shape(self, *args):
        """Tell the shapes without drawing."""
        node = args[-2]  # the last two are the same in all versions of PyTensor
        size = node.inputs[1]
        return [(STATE_SIZE,), tuple(size[i] for i in range(node.outputs[1].ndim))]

    def connection_pattern(self, node):
        """Nothing is differentiated through a draw."""
        return [[False, False] for _ in node.inputs]

    def pullback(self, inputs, outputs, cotangents):
        """Nothing is differentiated through a draw."""
        return [disconnected_type() for _ in inputs]


class RandomStreams:
    """Theano's `RandomStreams`: random variables whose streams all come from one seed.

    Every random variable gets a stream of its own, `RandomState(gen.randint(2**30))` with
    `gen = RandomState(seed)`, and each evaluation advances it, provided that the function is
    compiled with `updates`; without them it draws the same numbers again and again.

    Parameters
    ----------
    seed : int or array_like of int, optional
        Seed of `numpy.random.RandomState`; None takes one from the operating system.

    Examples
    --------
    >>> import pytensor
    >>> theano_rng = RandomStreams(seed=1)
    >>> mask = theano_rng.binomial(size=(2, 8), n=1, p=0.7)
    >>> draw = pytensor.function([], mask, updates=theano_rng.updates())
    >>> draw()
    array([[1, 1, 0, 0, 0, 1, 0, 1],
           [0, 1, 0, 1, 1, 1, 0, 1]])
    """

    def __init__(self, seed=None):
        self.gen = RandomState(seed)
        self.state_updates = []

    def __deepcopy__(self, memo):
        """Return streams without random variables yet, whose next one draws as the next here."""
        other = RandomStreams()
        other.gen = copy.deepcopy(self.gen, memo)
        return other

    def updates(self, outputs=None):
        """Give the updates that advance the streams.

        Parameters
        ----------
        outputs : variable or list of variables, optional
            Only the streams that these expressions draw from; by default all of them.

        Returns
        -------
        dict
            From the shared state of each stream to its next state; for `pytensor.function`.
        """
        if outputs is None:
            return dict(self.state_updates)
        inputs = set(graph_inputs(outputs if isinstance(outputs, list | tuple) else [outputs]))
        return {state: after for state, after in self.state_updates if state in inputs}

    def seed(self, seed):
        """Start over from another seed, every existing stream in the order of its creation."""
        self.gen = RandomState(seed)
        for state, _ in self.state_updates:
            state.set_value(self._new_state(), borrow=True)

    def get_state(self):
        """Give all that future draws depend on.

        Returns
        -------
        numpy.ndarray, shape (1 + streams, 628), uint32
            First the state of the generator of seeds, then those of the streams.
        """
        streams = [state.get_value(borrow=True) for state, _ in self.state_updates]
        return np.stack([pack(self.gen), *streams])

    def set_state(self, value):
        """Go on from what `get_state` gave.

        Parameters
        ----------
        value : array_like, shape (1 + streams, 628), uint32

        Raises
        ------
        ValueError
            If it is not the state of as many streams as there are here.
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

    def binomial(self, size=None, n=1, p=0.5, dtype="int64"):
        """Draw the number of successes among `n` trials.

        Parameters
        ----------
        size : sequence of int or of integer scalars, or integer vector, optional
            Shape of the draws; by default that of the parameters.
        n : int
            Number of trials; 1 gives a mask.
        p : float or scalar
            Probability of a success, in [0, 1].
        dtype : str
            What the draws are cast to.

        Returns
        -------
        TensorVariable
            Its `rng` is the shared state of its stream, its `update` the pair that advances it.
        """
        return self._draw("binomial", dtype, size, n, p)

    def uniform(self, size=None, low=0.0, high=1.0, dtype=None):
        """Draw evenly from [low, high); parameters and result as for `binomial`, dtype floatX."""
        return self._draw("uniform", dtype or pytensor.config.floatX, size, low, high)

    def normal(self, size=None, avg=0.0, std=1.0, dtype=None):
        """Draw from N(avg, std²); parameters and result as for `binomial`, dtype floatX."""
        return self._draw("normal", dtype or pytensor.config.floatX, size, avg, std)

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
    """Draw in blocks where the parameters are scalars; elsewhere let NumPy draw."""
    _, _, *params = node.inputs
    is_many_trials = op.method == "binomial" and getattr(params[0], "data", None) != 1
    if is_many_trials or any(param.ndim for param in params):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            return generate_fallback_impl(op, node, **kwargs), None

    draw = {"uniform": _twister.uniform, "binomial": _twister.mask, "normal": _twister.normal}[
        op.method
    ]
    dtype, ndim = np.dtype(op.dtype), node.outputs[1].ndim

    @numba_njit(fastmath=False)
    def random_function(state, size, a, b):
        state = state.copy()
        out = np.empty(to_fixed_tuple(size, ndim), dtype)
        draw(state, out.ravel(), np.float64(a.item()), np.float64(b.item()))
        return state, out

    return random_function, cache_key(op, _twister, ndim=ndim)
