"""Compile a model's training step, and iterate it."""

import math
import time
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.traversal import explicit_graph_inputs


class Epoch(NamedTuple):
    """What one pass over the training data gave."""

    epoch: int
    """Its number, from 0."""
    cost: float
    """The mean cost of its minibatches, each taken before its own update."""
    seconds: float
    """How long it took."""


def compile_train_da(model, train_set_x, *, corruption_level, learning_rate, batch_size):
    """Compile `train_da(index)`: one step on one minibatch, which returns its cost.

    Parameters
    ----------
    model : Autoencoder
        Or anything else that has `x` and `get_cost_updates`.
    train_set_x : shared matrix, shape (n_train, n_visible)
    corruption_level, learning_rate : float or scalar
        See `Autoencoder.get_cost_updates`. Symbolic scalars without a value become arguments of
        the function, in this order: ``train_da(index, corruption_level, learning_rate)``; a
        shared variable is looked up at each call.
    batch_size : int

    Returns
    -------
    pytensor.compile.function.types.Function
        Ready: its machine code is there, too.
    """
    index = pt.lscalar("index")
    arguments = []
    for setting in (corruption_level, learning_rate):
        arguments += explicit_graph_inputs(pt.as_tensor(setting))
    arguments = list(dict.fromkeys(arguments))  # one that both depend on is one argument
    cost, updates = model.get_cost_updates(
        corruption_level=corruption_level, learning_rate=learning_rate
    )
    train_da = pytensor.function(
        [index, *arguments],
        cost,
        updates=updates,
        givens={model.x: train_set_x[index * batch_size : (index + 1) * batch_size]},
        name="train_da",
    )
    # Numba compiles on the first call. So make one, and take back what it did.
    before = {shared: shared.get_value() for shared in updates}
    train_da(0, *(np.zeros((), argument.dtype) for argument in arguments))
    for shared, value in before.items():
        shared.set_value(value, borrow=True)
    return train_da


def train(train_da, n_train_batches, training_epochs, first_epoch=0, costs=None):
    """Train in file order, an epoch at a time.

    Parameters
    ----------
    train_da : callable
        Takes the index of a minibatch, returns its cost.
    n_train_batches : int
        Minibatches in an epoch.
    training_epochs : int
        Epochs in all, those before `first_epoch` included.
    first_epoch : int
        The epoch to go on with.
    costs : list of float, optional
        The costs of the minibatches of that epoch which are done already. The list is kept up to
        date: whenever `train_da` is called, it holds the costs of the epoch so far, so that a
        training left there can go on from there.

    Yields
    ------
    Epoch

    Raises
    ------
    FloatingPointError
        If a cost is infinite or NaN.
    """
    costs = [] if costs is None else costs
    for epoch in range(first_epoch, training_epochs):
        start = time.perf_counter()
        for index in range(len(costs), n_train_batches):
            cost = float(train_da(index))
            if not math.isfinite(cost):
                raise FloatingPointError(
                    f"the cost is {cost} at epoch {epoch}, minibatch {index}; "
                    "try a smaller learning rate"
                )
            costs.append(cost)
        record = Epoch(epoch, float(np.mean(costs)), time.perf_counter() - start)
        costs.clear()
        yield record
