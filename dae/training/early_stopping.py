"""When to stop a training: the rule of the tutorial, which knows nothing of models and data."""

import math


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
    patience_increase : float, default=2
        By how much an improvement extends that.
    improvement_threshold : float, default=0.995
        An improvement is large enough if it is below this part of the least error before.

    Attributes
    ----------
    validation_frequency : int
        The number of minibatches between validations: an epoch, or half of the initial patience if
        that is less.
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
        self, n_train_batches, patience=5000, patience_increase=2, improvement_threshold=0.995
    ):
        if n_train_batches < 1 or patience < 2:
            raise ValueError(
                f"n_train_batches is {n_train_batches} and patience {patience}; expected at least "
                "1 and 2: to validate after whole minibatches, before it is over"
            )
        self.validation_frequency = min(n_train_batches, patience // 2)
        self.patience = patience
        self.patience_increase = patience_increase
        self.improvement_threshold = improvement_threshold
        self.best_validation_loss = math.inf
        self.best_iter = None

    def is_validation_due(self, iter):
        """Return whether to validate after an iteration.

        Parameters
        ----------
        iter : int

        Returns
        -------
        bool
        """
        return (iter + 1) % self.validation_frequency == 0

    def update(self, iter, validation_loss):
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
            self.patience = max(self.patience, iter * self.patience_increase)
        self.best_validation_loss = validation_loss
        self.best_iter = iter
        return True

    def is_over(self, iter):
        """Return whether to stop after an iteration, validated if it was due.

        Parameters
        ----------
        iter : int

        Returns
        -------
        bool
        """
        return iter >= self.patience
