"""Compile one step of a training."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import explicit_graph_inputs

import dae.compiler  # noqa: F401 (the step of any model is to be fast)
from dae.models import Autoencoder

VALIDATION_ROWS = 500
"""How many rows are judged at once: enough to be fast, few enough for the cache."""


def compile_train_da(
    model: Any, train_set_x: Variable, *, batch_size: int, **settings: Any
) -> Callable:
    """Compile `train_da(index)`: one step on one minibatch, which returns its cost.

    Parameters
    ----------
    model : object
        It has `x`, the symbolic minibatch, and `get_cost_updates`, which returns the cost and the
        updates of a step; such as `Autoencoder`.
    train_set_x : shared variable, shape (n_train, ...)
        The training data, such as a matrix (n_train, n_visible). Bytes are divided by 256.
    batch_size : int
        Number of rows in a minibatch.
    **settings
        Passed to ``model.get_cost_updates``; for an autoencoder `corruption_level` and
        `learning_rate`. Symbolic scalars without a value become arguments of the function, in the
        order of the settings: ``train_da(index, corruption_level, learning_rate)``; a shared
        variable is looked up at each call.

    Returns
    -------
    pytensor.compile.function.types.Function
        Ready: its machine code is there, too.

    Examples
    --------
    >>> import dae
    >>> from numpy.random import RandomState
    >>> [(train_set_x, _), _, _] = dae.load_data()
    >>> da = dae.Autoencoder(RandomState(123), n_hidden=5)
    >>> train_da = compile_train_da(
    ...     da, train_set_x, batch_size=20, corruption_level=0.0, learning_rate=0.1
    ... )
    >>> bool(train_da(0) > train_da(0))
    True
    """
    train_da, _ = compile_step(model, [train_set_x], batch_size, settings)
    return train_da


def compile_step(model, train_set, batch_size, settings):
    """Compile as `compile_train_da` does, and return what a step updates as well.

    Parameters
    ----------
    model : object
        As for `compile_train_da`.
    train_set : list of shared variables
        The training data: their x and, where the model learns from labels, their y.
    batch_size : int or shared variable
        Number of rows in a minibatch.
    settings : dict
        From the names of parameters of ``model.get_cost_updates`` to their values.

    Returns
    -------
    train_da : pytensor.compile.function.types.Function
        The step.
    updated : list of shared variables
        What it updates, in the order of the updates.
    """
    index = pt.lscalar("index")
    arguments = []
    for setting in settings.values():
        if isinstance(setting, Variable):
            arguments += explicit_graph_inputs(setting)
    arguments = list(dict.fromkeys(arguments))  # one that two settings depend on is one argument
    cost, updates = model.get_cost_updates(**settings)
    updates = dict(updates)  # Theano's own models return a list of pairs
    rows = slice(index * batch_size, (index + 1) * batch_size)
    train_da = pytensor.function(
        [index, *arguments],
        cost,
        updates=updates,
        givens=_givens(model, [variable[rows] for variable in train_set]),
        name="train_da",
    )
    # Numba compiles on the first call. So make one, and take back what it did.
    before = {shared: shared.get_value() for shared in updates}
    train_da(0, *(np.zeros((), argument.dtype) for argument in arguments))
    for shared, value in before.items():
        shared.set_value(value, borrow=True)
    return train_da, list(updates)


def compile_validation(model, valid_set):
    """Compile the loss of a model on validation data.

    Parameters
    ----------
    model : object
        It has `x`, for data with labels `y`, and `get_validation_loss`, which returns the mean loss
        of a minibatch.
    valid_set : (ndarray or FileRows, ndarray or None)
        The data ``x`` and their labels ``y``.

    Returns
    -------
    callable
        It returns the mean loss over all rows; of other data, if it is called with them.
    """
    parts = [part for part in valid_set if part is not None]
    minibatch = [pt.tensor(dtype=part.dtype, shape=(None,) * part.ndim) for part in parts]
    loss = pytensor.function(
        minibatch,
        model.get_validation_loss(),
        givens=_givens(model, minibatch),
        name="validation_loss",
    )

    def validation_loss(valid_set=valid_set):
        parts = [part for part in valid_set if part is not None]
        bounds = [*range(0, len(parts[0]), VALIDATION_ROWS), len(parts[0])]
        losses = [
            float(loss(*(np.asarray(part[start:stop]) for part in parts)))
            for start, stop in pairwise(bounds)
        ]
        return float(np.average(losses, weights=np.diff(bounds)))

    return validation_loss


def _givens(model, minibatch):
    """Return the substitutions that show a model rows of data: x, and y if there are labels."""
    x, *labels = minibatch
    if x.dtype == "uint8":
        x = pt.cast(x, model.x.dtype) * (1 / 256)
    if isinstance(model, Autoencoder) and model.mean is not None:
        # Shared, so that the machine code is the same for all data.
        mean, scale = (pytensor.shared(row.astype(x.dtype)) for row in (model.mean, model.scale))
        x = (x - mean) / scale
    variables = [model.x, model.y] if labels else [model.x]
    return dict(zip(variables, [x, *labels], strict=True))
