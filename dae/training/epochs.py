"""Iterate a step over minibatches and epochs."""

import math
import time
from typing import NamedTuple

import numpy as np


class Epoch(NamedTuple):
    """What one pass over the training data gave.

    Attributes
    ----------
    epoch : int
        Its number, from 0.
    cost : float
        The mean cost of its minibatches, each taken before its own update.
    seconds : float
        How long it took; of an epoch that was resumed, the last part.
    validation_loss : float or None
        The loss on the validation data after it; None without such data.

    Examples
    --------
    >>> history = [Epoch(0, cost=138.4, seconds=0.5), Epoch(1, cost=108.1, seconds=0.4)]
    >>> history[-1].cost
    108.1
    >>> min(history, key=lambda epoch: epoch.seconds).epoch
    1
    """

    epoch: int
    cost: float
    seconds: float
    validation_loss: float | None = None


def train_epochs(
    train_da, n_train_batches, training_epochs, first_epoch=0, costs=None, on_minibatch=None
):
    """Train in file order, an epoch at a time.

    Parameters
    ----------
    train_da : callable
        Takes the index of a minibatch, returns its cost.
    n_train_batches : int
        Number of minibatches in an epoch.
    training_epochs : int
        Number of epochs in all, those before `first_epoch` included.
    first_epoch : int, default=0
        The epoch to go on with.
    costs : list of float, optional
        The costs of the minibatches of that epoch which are done already. The list is kept up to
        date: whenever `train_da` is called, it holds the costs of the epoch so far, so that a
        training left there can go on from there.
    on_minibatch : callable, optional
        Called without arguments after each minibatch, when its cost is in the list. If it returns
        true before the epoch is complete, the training ends there.

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
            if on_minibatch is not None and on_minibatch() and len(costs) < n_train_batches:
                return
        record = Epoch(epoch, float(np.mean(costs)), time.perf_counter() - start)
        costs.clear()
        yield record
