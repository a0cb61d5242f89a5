"""Theano's seeded random streams on PyTensor: the same draws, to the last bit."""

import copy
from collections.abc import Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import graph_inputs

from dae.random.ops import STATE_SIZE, RandomFunction, pack, unpack


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
