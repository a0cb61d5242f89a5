"""Fit a model to data, as settings say; the training may be kept in a run directory."""

import hashlib
import inspect
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pytensor
from numpy.random import RandomState
from pytensor.compile.sharedvalue import SharedVariable

from dae.datasets import to_floatX
from dae.models import Autoencoder, DenoisingAutoencoder
from dae.random import RandomStreams
from dae.training._state import State
from dae.training.config import ConfigError
from dae.training.epochs import train_epochs
from dae.training.run_directory import RunError
from dae.training.step import compile_step


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes
    ----------
    model : object
        The model, trained.
    history : list of Epoch
        Every epoch that is done, those before a run was resumed included.
    """

    model: object
    history: list


class Training:
    """A training as its callbacks see it.

    Parameters
    ----------
    config : Config
        The settings.
    model : object
        What is trained: see `fit`.
    train_set_x : shared variable, shape (n_train, n_visible)
        The training data.
    run : Run or None
        The directory that it is kept in.

    Attributes
    ----------
    config, model, train_set_x, run
        As above.
    n_train_batches : int
        Number of minibatches in an epoch.
    train_da : callable or None
        The compiled step; None until it is compiled.
    history : list of Epoch
        The epochs that are done.
    costs : list of float
        The costs of the minibatches that are done of the epoch after.
    is_stopped : bool
        Whether `stop` was called.
    """

    def __init__(self, config, model, train_set_x, run):
        self.config = config
        self.model = model
        self.train_set_x = train_set_x
        self.run = run
        self.n_train_batches = len(train_set_x.get_value(borrow=True)) // config.batch_size
        self.train_da = None
        self.history = [] if run is None else run.history
        self.costs = [] if run is None else run.costs
        self.is_stopped = False
        self._state = None

    def stop(self):
        """Stop the training after the present minibatch.

        If that completes an epoch, the epoch is still recorded and shown to the callbacks. Then
        `fit` saves a checkpoint, if there is a directory, and returns.
        """
        self.is_stopped = True

    def save_checkpoint(self):
        """Save a checkpoint now, if there is a directory."""
        if self.run is not None:
            self.run.save_checkpoint(self._state.get())


def fit(config, data, *, model=None, run=None, callbacks=()):
    """Train a model.

    Nothing is printed, and without `run` nothing is written. With it a training that ends before
    its time, however it ends, can go on from its last checkpoint, to the same bits (see Notes):
    reopen the run and call `fit` again, with a model that is built in the same way.

    Parameters
    ----------
    config : Config
        The settings.
    data : array_like or shared variable, shape (n_train, n_visible)
        The training data: bytes, which are divided by 256, or floats. A shared variable, such as
        `load_data` returns, is taken as it is.
    model : object, optional
        What to train: any object that has

        - `params`, a list of shared variables;
        - `x`, the symbolic minibatch, of dtype `floatX`;
        - `get_cost_updates`, which returns the cost, a scalar, and the updates of a step. It is
          passed those settings of `config` that it has parameters of the same names for.

        Its noise, if any, comes from `theano_rng`, a `RandomStreams`. What is saved and resumed
        is `params`, whatever else the updates change, and the state of `theano_rng`. By default
        it is the worksheet's autoencoder: see `build_model`.
    run : Run, optional
        The directory to keep the training in: a new one, or one that was reopened. When all of
        the `training_epochs` are done it gets ``model.npz``; a training that a callback stopped
        for good gets it from ``run.save_model(model)``.
    callbacks : sequence of Callback, default=()
        Called in this order.

    Returns
    -------
    Fitted
        The model and its history.

    Raises
    ------
    ConfigError
        If `batch_size` is larger than the data.
    ValueError
        If the data are no matrix, or not of the dtype that the model expects.
    RunError
        If the directory cannot be used, or holds a training of other settings, data or models.
    TypeError
        If there is a directory, and the updates change what is no array.
    FloatingPointError
        If a cost or, when a checkpoint is due, a parameter is infinite or NaN.

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
        if isinstance(data, SharedVariable):
            train_set_x = data
        else:
            train_set_x = pytensor.shared(to_floatX(np.asarray(data), config.floatX), borrow=True)
        train_x = train_set_x.get_value(borrow=True)
        if train_x.ndim != 2:
            raise ValueError(f"data has the shape {train_x.shape}; expected (n_train, n_visible)")
        if config.batch_size > len(train_x):
            raise ConfigError(
                "batch_size", config.batch_size, f"at most {len(train_x)}, the rows of the data"
            )
        if run is not None:
            digest = hashlib.sha256(np.ascontiguousarray(train_x)).hexdigest()
            config = replace(config, data_sha256=digest)
            run.check_config(config)
        if model is None:
            model = build_model(config, train_x.shape[1])
        if model.x.dtype != train_x.dtype:
            raise ValueError(
                f"data is {train_x.dtype}, floatX {config.floatX}, and the model's x "
                f"{model.x.dtype}; expected the same"
            )
        training = Training(config, model, train_set_x, run)
        if run is not None:
            run.begin(config)
            callbacks = [run, *callbacks]
        for callback in callbacks:
            callback.on_begin(training)
        _compile(training)
        for callback in callbacks:
            callback.on_compiled(training)
        _train(training, callbacks)
        if run is not None and len(training.history) == config.training_epochs:
            run.save_model(model)
    return Fitted(model, training.history)


def _compile(training):
    """Compile the step, and bring the model where the run had got to."""
    model, config, run = training.model, training.config, training.run
    names = inspect.signature(model.get_cost_updates).parameters
    settings = {name: value for name, value in asdict(config).items() if name in names}
    training.train_da, updated = compile_step(
        model, training.train_set_x, config.batch_size, settings
    )
    training._state = State(model, updated)
    if run is not None and run.state:
        try:
            training._state.set(run.state)
        except ValueError as error:
            raise RunError(f"cannot go on with {run.newest}: {error}") from error
    else:  # the weights of a model that was given do not follow from the seed
        training.save_checkpoint()


def _train(training, callbacks):
    """Train the epochs that are left, or until the training is stopped."""

    def on_minibatch():
        for callback in callbacks:
            callback.on_minibatch(training)
        return training.is_stopped

    epochs = train_epochs(
        training.train_da,
        training.n_train_batches,
        training.config.training_epochs,
        first_epoch=len(training.history),
        costs=training.costs,
        on_minibatch=on_minibatch,
    )
    for epoch in epochs:
        if training.run is None:
            training.history.append(epoch)
        else:
            training.run.save_epoch(epoch)
        for callback in callbacks:
            callback.on_epoch(training, epoch)
        if training.is_stopped:
            break
    training.save_checkpoint()


def build_model(config, n_visible):
    """Build the worksheet's model: a `DenoisingAutoencoder`, or without noise an `Autoencoder`.

    Parameters
    ----------
    config : Config
        Of its settings corruption_level, n_hidden and seed count.
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
        kind = DenoisingAutoencoder
        # The worksheet draws a sample first, so it is the second stream that corrupts the data.
        theano_rng.binomial(size=(10, 10), n=1, p=1 - config.corruption_level)
    return kind(numpy_rng, theano_rng, n_visible=n_visible, n_hidden=config.n_hidden)
