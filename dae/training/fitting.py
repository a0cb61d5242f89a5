"""Fit a model to data, as settings say; the training may be kept in a run directory."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import pytensor
from numpy.random import RandomState

from dae.models import (
    Autoencoder,
    DenoisingAutoencoder,
    LogisticRegression,
    StackedDenoisingAutoencoder,
)
from dae.random import RandomStreams
from dae.training._minibatches import Minibatches
from dae.training._state import State
from dae.training.callbacks import Callback
from dae.training.config import AnyConfig, Config
from dae.training.data import mean_and_scale, read_through, select_for, to_pair
from dae.training.early_stopping import BestModel, EarlyStopping
from dae.training.epochs import Epoch, train_epochs
from dae.training.run_directory import Run, RunError
from dae.training.settings import ConfigError
from dae.training.step import compile_step, compile_validation

VALIDATION_SHARE = 0.02
"""How much of the time validations may take, where `Config.validate_every` does not say."""

OWN_MODELS = (Autoencoder, DenoisingAutoencoder, LogisticRegression, StackedDenoisingAutoencoder)
"""The models whose formulas take variables for settings; one of a user's may need the numbers."""


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes
    ----------
    model : object
        The model, trained.
    history : list of Epoch
        Every epoch that is done, those before a run was resumed included.
    """

    model: Any
    history: list[Epoch]


class Training:
    """A training as its callbacks see it.

    Parameters
    ----------
    config : Settings
        The settings.
    model : object
        What is trained: see `fit`.
    train_set : (ndarray or FileRows, ndarray or None)
        The training data: ``x``, shape (n_train, n_visible), bytes or floatX, and their labels
        ``y``.
    valid_set : (ndarray or FileRows, ndarray or None) or None
        The validation data.
    run : Run or None
        The directory that it is kept in.

    Attributes
    ----------
    config, model, train_set, valid_set, run
        As above.
    n_train_batches : int
        Number of minibatches in an epoch.
    train_da : callable or None
        The compiled step, of which the argument is the index of a minibatch; None until it is
        compiled.
    best_model : BestModel or None
        What keeps the best parameters; None without early stopping.
    history : list of Epoch
        The epochs that are done.
    costs : list of float
        The costs of the minibatches that are done of the epoch after.
    is_stopped : bool
        Whether `stop` or `finish` was called.
    is_finished : bool
        Whether nothing is left to do: all epochs are done, or `finish` was called.

    Examples
    --------
    >>> import dae
    >>> import numpy as np
    >>> class Show(dae.Callback):
    ...     def on_epoch(self, training, epoch):
    ...         print(training.n_iterations, training.is_finished)
    >>> config = dae.Config(n_hidden=2, training_epochs=2)
    >>> fitted = dae.fit(config, np.full((60, 4), 0.5), callbacks=[Show()])
    3 False
    6 True
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        train_set: tuple[Any, Any],
        valid_set: tuple[Any, Any] | None,
        run: Run | None,
    ):
        self.config = config
        self.model = model
        self.train_set = train_set
        self.valid_set = valid_set
        self.run = run
        self._minibatches = Minibatches(*train_set, config.batch_size)
        self.n_train_batches = len(self._minibatches)
        self.train_da: Callable | None = None
        self.best_model: BestModel | None = None
        self.history = [] if run is None else run.history
        self.costs = [] if run is None else run.costs
        self.is_stopped = False
        self._is_finished = False
        self._state: Any = None
        self._validation: Callable | None = None
        self._validation_loss: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._is_finished or len(self.history) == self.config.training_epochs

    @property
    def n_iterations(self) -> int:
        """The number of minibatches that are done, over all epochs."""
        return len(self.history) * self.n_train_batches + len(self.costs)

    def stop(self) -> None:
        """Stop the training after the present minibatch.

        If that completes an epoch, the epoch is still recorded and shown to the callbacks. Then
        `fit` saves a checkpoint, if there is a directory, and returns. Called in `on_begin`, it
        has `fit` return at once.
        """
        self.is_stopped = True

    def finish(self) -> None:
        """Stop the training as `stop` does, but for good: `fit` also saves the model."""
        self.is_stopped = self._is_finished = True

    def save_checkpoint(self) -> None:
        """Save a checkpoint now, if there is a directory."""
        if self.run is not None:
            self.run.save_checkpoint(self._state.get())

    def validation_loss(self) -> float:
        """Return the loss of the model, as it is now, on the validation data.

        Returns
        -------
        float
            The mean over the rows; it is computed when it is first asked for after a minibatch.

        Raises
        ------
        ValueError
            If there are no validation data.
        """
        if self.valid_set is None:
            raise ValueError("there are no validation data; give fit some: validation=(x, y)")
        if self._validation is None:
            self._validation = compile_validation(self.model, self.valid_set)
        if self._validation_loss is None:
            self._validation_loss = self._validation()
        return self._validation_loss

    def _compile(self, callbacks):
        """Compile the step, and bring the model where the run had got to."""
        model, config, run = self.model, self.config, self.run
        names = inspect.signature(model.get_cost_updates).parameters
        settings = {name: value for name, value in asdict(config).items() if name in names}
        batch_size = config.batch_size
        if type(model) in OWN_MODELS:
            # The same graph, whatever the numbers are: its machine code is in PyTensor's cache.
            settings = {name: pytensor.shared(float(value)) for name, value in settings.items()}
            batch_size = pytensor.shared(batch_size)
        step, updated = compile_step(model, self._minibatches.window, batch_size, settings)
        self.train_da = lambda index: step(self._minibatches.find(index))
        self._state = State(model, updated, callbacks)
        if run is not None and run.state:
            try:
                self._state.set(run.state)
            except ValueError as error:
                raise RunError(f"cannot go on with {run.newest}: {error}") from error
        else:  # the weights of a model that was given do not follow from the seed
            self.save_checkpoint()

    def _train(self, callbacks):
        """Train the epochs that are left, or until the training is stopped."""

        def on_minibatch():
            self._validation_loss = None  # that of the weights before
            for callback in callbacks:
                callback.on_minibatch(self)
            return self.is_stopped

        epochs = train_epochs(
            self.train_da,
            self.n_train_batches,
            self.config.training_epochs,
            first_epoch=len(self.history),
            costs=self.costs,
            on_minibatch=on_minibatch,
        )
        while not self.is_stopped:
            self._shuffle()
            epoch = next(epochs, None)
            if epoch is None:
                break
            if self._is_validation_due(epoch):
                epoch = epoch._replace(validation_loss=self.validation_loss())
            if self.run is None:
                self.history.append(epoch)
            else:
                self.run.save_epoch(epoch)
            for callback in callbacks:
                callback.on_epoch(self, epoch)
        self.save_checkpoint()

    def _is_validation_due(self, epoch):
        """Return whether to validate after an epoch: if it is done already, it costs nothing."""
        if self.valid_set is None:
            return False
        is_last = self._is_finished or epoch.epoch + 1 == self.config.training_epochs
        is_done = self._validation_loss is not None
        return is_done or is_last or (epoch.epoch + 1) % self._validate_every == 0

    @property
    def _validate_every(self):
        """The number of epochs between validations."""
        if self.config.validate_every is not None:
            return self.config.validate_every
        # A validation is about half of the work of a step, for each row: no gradients, no updates.
        share = len(self.valid_set[0]) / (2 * len(self.train_set[0]))
        return max(1, round(share / VALIDATION_SHARE))

    def _shuffle(self):
        """Set the order of the epoch that is about to begin or to go on."""
        if self.config.shuffle:
            self._minibatches.shuffle(self.config.seed, len(self.history))


def fit(
    config: AnyConfig,
    data: Any,
    *,
    validation: Any = None,
    model: Any = None,
    run: Run | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Callable | None = None,
) -> Fitted:
    """Train a model.

    Nothing is printed, and without `run` nothing is written. With it a training that ends before
    its time, however it ends, can go on from its last checkpoint, to the same bits (see Notes):
    reopen the run and call `fit` again, with a model that is built in the same way.

    Parameters
    ----------
    config : Settings
        The settings: a `Config`, or those of another kind of training.
    data : array_like, shared variable or FileRows, or pair of it and labels, or str or path-like
        The training data, shape (n_train, n_visible): bytes, which are divided by 256, or floats; a
        model with labels needs the pair ``(x, y)``, with ``y`` of shape (n_train,), int32. Of a
        shared variable, such as `load_data` returns, the value is taken that it has now. `FileRows`
        are what `read_data` returns when it is `lazy`: data that are larger than the memory. A
        name or a path is that of a data set, read so.
    validation : like `data`, optional
        Validation data. With them epochs get the loss of the model on them, as often as
        ``config.validate_every`` says: see `get_validation_loss` below.
    model : object, optional
        What to train: any object that has

        - `params`, a list of shared variables;
        - `x`, the symbolic minibatch, of dtype `floatX`, and `y`, a vector of int32, if it learns
          from labels;
        - `get_cost_updates`, which returns the cost, a scalar, and the updates of a step. It is
          passed those settings of `config` that it has parameters of the same names for;
        - `get_validation_loss`, if there are validation data: it returns a scalar, the mean loss of
          the minibatch.

        Its noise, if any, comes from `theano_rng`, a `RandomStreams`. What is saved and resumed
        is `params`, whatever else the updates change, and the state of `theano_rng`. By default
        it is the worksheet's autoencoder: see `build_model`; settings of another kind need a model.
    run : Run, optional
        The directory to keep the training in: a new one, or one that was reopened. When all of
        the `training_epochs` are done, or a callback finishes the training, it gets ``model.npz``,
        and with a `patience` the best of the models as ``best_model.npz``.
    callbacks : sequence of Callback, default=()
        Called in this order.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while the data are read through for a `run`, before
        anything else: with what is being read, and two numbers of bytes.

    Returns
    -------
    Fitted
        The model and its history.

    Raises
    ------
    ConfigError
        If `batch_size` is larger than the data, there is a `patience` without validation data, or
        a model that is no `Autoencoder` is to be trained on standardized pixels.
    ValueError
        If the data are no matrix, or not of the dtype that the model expects, or their labels are
        missing; or if settings of another kind than `Config` come without a model.
    RunError
        If the directory cannot be used, or holds a training of other settings, data or models.
    TypeError
        If there is a directory, and the updates change what is no array.
    FloatingPointError
        If a cost or, when a checkpoint is due, a parameter is infinite or NaN.
    DataError
        If a data set cannot be read, or floats in a file are not in [0, 1].
    OSError
        If a file is cut off or changed while it is trained on, or a directory cannot be written to.

    Notes
    -----
    The same bits come from the same machine code. The operations of this package have the same in
    every process, so the worksheet's autoencoder does. Those of PyTensor itself, which other models
    are made of, may not: their last bits can differ between the process that compiles them first
    and later ones, which take the machine code from PyTensor's cache.

    Examples
    --------
    >>> import dae
    >>> config = dae.Config(n_hidden=20, learning_rate=0.5, training_epochs=2)
    >>> images = dae.load_data()[0][0]
    >>> model, history = fit(config, images)
    >>> for epoch in history:
    ...     print(f"epoch {epoch.epoch}: {epoch.cost:.1f}")
    epoch 0: 164.6
    epoch 1: 140.4
    >>> model.W.get_value().shape
    (784, 20)
    """
    with pytensor.config.change_flags(floatX=config.floatX):
        train_set = to_pair(data, "data", config.floatX)
        n_train, n_visible = train_set[0].shape
        if config.batch_size > n_train:
            raise ConfigError(
                "batch_size", config.batch_size, f"at most {n_train}, the rows of the data"
            )
        if config.patience is not None and validation is None:
            raise ConfigError(
                "patience", config.patience, "None, since no validation data are given"
            )
        if model is None:
            if not isinstance(config, Config):
                raise ValueError(f"model is None; expected what {type(config).__name__} is about")
            model = build_model(config, n_visible)
        train_set = select_for(model, train_set, "data", config.floatX)
        valid_set = None
        if validation is not None:
            valid_set = to_pair(validation, "validation", config.floatX)
            valid_set = select_for(model, valid_set, "validation", config.floatX)
        if config.standardize:
            if not isinstance(model, Autoencoder):
                raise ConfigError("standardize", True, "false, for a model of one's own")
            model.mean, model.scale = mean_and_scale(train_set[0], model.x.dtype)
        if run is not None:
            digest = read_through(train_set, valid_set, model.x.dtype, progress)
            config = replace(config, data_sha256=digest)
            run.check_config(config)
        training = Training(config, model, train_set, valid_set, run)
        rule = config.early_stopping(training.n_train_batches)
        if rule is not None:
            training.best_model = BestModel(EarlyStopping(training.n_train_batches, **rule))
            callbacks = [training.best_model, *callbacks]
        if run is not None:
            if valid_set is not None:
                run.columns["validation_loss"] = attrgetter("validation_loss")
            run.begin(config)
            callbacks = [run, *callbacks]
        for callback in callbacks:
            callback.on_begin(training)
            if training.is_stopped:
                return Fitted(model, training.history)
        training._compile(callbacks)
        for callback in callbacks:
            callback.on_compiled(training)
        training._train(callbacks)
        if run is not None and training.is_finished:
            run.save_model(model)
        for callback in callbacks:
            callback.on_end(training)
    return Fitted(model, training.history)


def build_model(config, n_visible):
    """Build the worksheet's model: a `DenoisingAutoencoder`, or without noise an `Autoencoder`.

    Parameters
    ----------
    config : Config
        Of its settings corruption, corruption_level, cost, n_hidden and seed count.
    n_visible : int
        Number of visible units.

    Returns
    -------
    Autoencoder
    """
    numpy_rng = RandomState(config.seed)
    theano_rng = RandomStreams(numpy_rng.randint(2**30))
    if config.corruption_level == 0:
        kind = Autoencoder
    else:
        # The worksheet draws a sample first, so it is the second stream that corrupts the data.
        if config.corruption == "masking":
            theano_rng.binomial(size=(10, 10), n=1, p=1 - config.corruption_level)
        kind = partial(DenoisingAutoencoder, corruption=config.corruption)
    return kind(
        numpy_rng, theano_rng, n_visible=n_visible, n_hidden=config.n_hidden, cost=config.cost
    )
