"""When to stop a training, and what to keep of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dae.training._state import named
from dae.training.callbacks import Callback

if TYPE_CHECKING:
    from dae.training.fitting import Training


class EarlyStopping:
    """A training goes on as long as its validation error improves: the tutorial's patience.

    It may run for `patience` minibatches. An improvement that is large enough extends this to
    `patience_increase` times the minibatches that it took. Iterations are minibatches, counted from
    0 over all epochs.

    Parameters
    ----------
    n_train_batches : int
        Number of minibatches in an epoch.
    patience : int, default=5000
        The number of minibatches to run at the least; 2 or more.
    patience_increase : float or None, default=2
        By how much an improvement extends that; None to go on for `patience` minibatches after
        each improvement, with a validation after each epoch.
    improvement_threshold : float, default=0.995
        An improvement is large enough if it is below this part of the least error before.

    Attributes
    ----------
    validation_frequency : int
        The number of minibatches between validations: an epoch, or half of the initial patience if
        that is less and multiplied by improvements.
    patience : float
        The number of minibatches to run, as far as it is known.
    best_validation_loss : float
        The least validation error so far; infinite before the first one.
    best_iter : int or None
        The iteration it belongs to.

    Raises
    ------
    ValueError
        If `n_train_batches` is below 1 or `patience` below 2.

    Examples
    --------
    >>> stopping = EarlyStopping(n_train_batches=10, patience=40)
    >>> for iter in range(1000):
    ...     # Train with minibatch iter % 10 here.
    ...     if stopping.is_validation_due(iter):
    ...         is_best = stopping.update(iter, max(0.1, 1 - iter / 100))
    ...     if stopping.is_over(iter):
    ...         break
    >>> iter, stopping.best_iter, stopping.best_validation_loss
    (198, 99, 0.1)
    """

    def __init__(
        self,
        n_train_batches: int,
        patience: int = 5000,
        patience_increase: float | None = 2,
        improvement_threshold: float = 0.995,
    ):
        if n_train_batches < 1 or patience < 2:
            raise ValueError(
                f"n_train_batches is {n_train_batches} and patience {patience}; expected at least "
                "1 and 2: to validate after whole minibatches, before it is over"
            )
        self.validation_frequency = n_train_batches
        if patience_increase is not None:
            self.validation_frequency = min(n_train_batches, patience // 2)
        self.patience: float = patience
        self._initial_patience = patience
        self.patience_increase = patience_increase
        self.improvement_threshold = improvement_threshold
        self.best_validation_loss = math.inf
        self.best_iter: int | None = None

    def is_validation_due(self, iter: int) -> bool:
        """Return whether to validate after an iteration.

        Parameters
        ----------
        iter : int

        Returns
        -------
        bool
        """
        return (iter + 1) % self.validation_frequency == 0

    def update(self, iter: int, validation_loss: float) -> bool:
        """Record a validation error.

        Parameters
        ----------
        iter : int
            The iteration after which it was computed.
        validation_loss : float

        Returns
        -------
        bool
            Whether it is the least so far.
        """
        if not validation_loss < self.best_validation_loss:
            return False
        if validation_loss < self.best_validation_loss * self.improvement_threshold:
            if self.patience_increase is None:
                self.patience = iter + self._initial_patience
            else:
                self.patience = max(self.patience, iter * self.patience_increase)
        self.best_validation_loss = validation_loss
        self.best_iter = iter
        return True

    def is_over(self, iter: int) -> bool:
        """Return whether to stop after an iteration, validated if it was due.

        Parameters
        ----------
        iter : int

        Returns
        -------
        bool
        """
        return iter >= self.patience

    def get_state(self) -> NDArray:
        """Return where the rule has got to.

        Returns
        -------
        ndarray of float64, shape (3,)
            Patience, least validation error, and its iteration; 0 and -1 if there is none.
        """
        best = (0, -1) if self.best_iter is None else (self.best_validation_loss, self.best_iter)
        return np.array([self.patience, *best], float)

    def set_state(self, state: NDArray) -> None:
        """Set the rule to where `get_state` was called.

        Parameters
        ----------
        state : ndarray of float64, shape (3,)
            What it returned.
        """
        self.patience, best_validation_loss, best_iter = state.tolist()
        if best_iter >= 0:
            self.best_validation_loss, self.best_iter = best_validation_loss, int(best_iter)


class BestModel(Callback):
    """Keep the best parameters of a training, and finish it when the rule says so.

    It needs validation data. Its state is a part of the checkpoints.

    Parameters
    ----------
    stopping : EarlyStopping
        The rule.

    Attributes
    ----------
    stopping : EarlyStopping
    params : dict of ndarray
        The parameters of the least validation loss so far, under their names in a checkpoint; at
        first those that the training begins with.

    Examples
    --------
    >>> import dae
    >>> train, valid, test = dae.load_data()
    >>> best = BestModel(EarlyStopping(n_train_batches=250, patience=500, patience_increase=None))
    >>> config = dae.Config(n_hidden=20, learning_rate=2.0, training_epochs=9)
    >>> fitted = dae.fit(config, train, validation=valid, callbacks=[best])
    >>> losses = [epoch.validation_loss for epoch in fitted.history]
    >>> min(losses) == best.stopping.best_validation_loss
    True
    """

    def __init__(self, stopping: EarlyStopping):
        self.stopping = stopping
        self.params: dict[str, NDArray] = {}

    def on_begin(self, training: Training) -> None:
        """Keep the first parameters.

        Parameters
        ----------
        training : Training
            The training.
        """
        self._keep(training)

    def on_compiled(self, training: Training) -> None:
        """Check whether a training that is resumed was over already.

        Parameters
        ----------
        training : Training
            The training.
        """
        self._finish_if_over(training)

    def on_minibatch(self, training: Training) -> None:
        """Validate, if that is due.

        Parameters
        ----------
        training : Training
            The training.
        """
        iter = training.n_iterations - 1
        if self.stopping.is_validation_due(iter) and self.stopping.update(
            iter, training.validation_loss()
        ):
            self._keep(training)
        self._finish_if_over(training)

    def on_end(self, training: Training) -> None:
        """Write ``best_model.npz``, if the training is finished and there is a directory.

        Parameters
        ----------
        training : Training
            The training.
        """
        if training.run is None or not training.is_finished:
            return
        with self.applied(training.model):
            training.run.save_model(training.model, "best_model.npz")

    @contextmanager
    def applied(self, model: Any) -> Iterator[None]:
        """Set the model to the best parameters for a while.

        Parameters
        ----------
        model : object
            What was trained; it has its last parameters again after the ``with`` statement.

        Yields
        ------
        None
        """
        params = named(model.params)
        last = {name: param.get_value() for name, param in params.items()}
        try:
            for name, param in params.items():
                param.set_value(self.params[name])
            yield
        finally:
            for name, param in params.items():
                param.set_value(last[name])

    def _keep(self, training):
        self.params = {
            name: param.get_value() for name, param in named(training.model.params).items()
        }

    def _finish_if_over(self, training):
        if self.stopping.is_over(training.n_iterations - 1):
            training.finish()

    def get_state(self) -> dict[str, NDArray]:
        """Return the rule's state and the best parameters.

        Returns
        -------
        dict of ndarray
        """
        return {"stopping": self.stopping.get_state(), **self.params}

    def set_state(self, state: dict[str, NDArray]) -> None:
        """Set the rule's state and the best parameters.

        Parameters
        ----------
        state : dict of ndarray
            What `get_state` returned.
        """
        self.params = dict(state)
        self.stopping.set_state(self.params.pop("stopping"))
