"""An experiment: a model is trained on data, as settings say, and may be kept in a directory."""

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

    Attributes
    ----------
    config : Config
    model : object
    train_set_x : shared variable, shape (n_train, n_visible)
        The training data.
    run : Run or None
        The directory that it is kept in.
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

    def __init__(self, config, model, train_set_x, run, callbacks):
        self.config = config
        self.model = model
        self.train_set_x = train_set_x
        self.run = run
        self.n_train_batches = len(train_set_x.get_value(borrow=True)) // config.batch_size
        self.train_da = None
        self.history = [] if run is None else run.history
        self.costs = [] if run is None else run.costs
        self.is_stopped = False
        self._callbacks = callbacks
        self._state = None

    def stop(self):
        """End the training after the present minibatch.

        If that completes an epoch, the epoch is still recorded and shown to the callbacks. Then
        `fit` saves a checkpoint, if there is a directory, and returns.
        """
        self.is_stopped = True

    def save_checkpoint(self):
        """Save a checkpoint now, if there is a directory."""
        if self.run is not None:
            self.run.save_checkpoint(self._state.get())

    def _compile(self):
        """Compile the step, and bring the model where the run had got to."""
        for callback in self._callbacks:
            callback.on_begin(self)
        self.train_da, updated = compile_step(
            self.model,
            self.train_set_x,
            self.config.batch_size,
            _settings_of_step(self.model, self.config),
        )
        self._state = State(self.model, updated)
        if self.run is not None and self.run.state:
            try:
                self._state.set(self.run.state)
            except ValueError as error:
                raise RunError(f"cannot go on with {self.run.newest}: {error}") from error
        else:  # the weights of a model that was given do not follow from the seed
            self.save_checkpoint()
        for callback in self._callbacks:
            callback.on_compiled(self)

    def _train(self):
        """Train the epochs that are left, or until `stop` is called."""
        epochs = train_epochs(
            self.train_da,
            self.n_train_batches,
            self.config.training_epochs,
            len(self.history),
            self.costs,
            self._on_minibatch,
        )
        for epoch in epochs:
            if self.run is None:
                self.history.append(epoch)
            else:
                self.run.save_epoch(epoch)
            for callback in self._callbacks:
                callback.on_epoch(self, epoch)
            if self.is_stopped:
                break
        self.save_checkpoint()

    def _on_minibatch(self):
        for callback in self._callbacks:
            callback.on_minibatch(self)
        return self.is_stopped


def fit(config, data, *, model=None, run=None, callbacks=()):
    """Train a model.

    Nothing is printed, and without `run` nothing is written. With it a training that ends before
    its time, however it ends, can go on from its last checkpoint, to the same bits: reopen the
    run and call `fit` again, with a model that is built in the same way.

    Parameters
    ----------
    config : Config
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
    The same bits take the same machine code. The operations of this package have it in every
    process; those of PyTensor itself, which another model may consist of, can differ in the last
    digit between the process that compiled them first and those that find them in its cache.

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
        train_set_x = data if isinstance(data, SharedVariable) else _shared(data, config.floatX)
        train_x = train_set_x.get_value(borrow=True)
        if train_x.ndim != 2:
            raise ValueError(f"data has the shape {train_x.shape}; expected (n_train, n_visible)")
        if config.batch_size > len(train_x):
            raise ConfigError(
                "batch_size", config.batch_size, f"at most {len(train_x)}, the rows of the data"
            )
        if run is not None:
            config = replace(config, data_sha256=_sha256(train_x))
            run.check_config(config)
        if model is None:
            model = build_model(config, train_x.shape[1])
        if model.x.dtype != train_x.dtype:
            raise ValueError(
                f"data is {train_x.dtype}, floatX {config.floatX}, and the model's x "
                f"{model.x.dtype}; expected the same"
            )
        if run is not None:
            run.begin(config)
            callbacks = [run, *callbacks]
        training = Training(config, model, train_set_x, run, callbacks)
        training._compile()
        training._train()
        if run is not None and len(training.history) == config.training_epochs:
            run.save_model(model)
    return Fitted(model, training.history)


def build_model(config, n_visible):
    """Build the worksheet's model: a `DenoisingAutoencoder`, or without noise an `Autoencoder`.

    Parameters
    ----------
    config : Config
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


def _shared(data, floatX):
    return pytensor.shared(to_floatX(np.asarray(data), floatX), borrow=True)


def _sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _settings_of_step(model, config):
    """Return the settings that `model.get_cost_updates` has parameters of the same names for."""
    settings = asdict(config)
    names = inspect.signature(model.get_cost_updates).parameters
    return {name: settings[name] for name in names if name in settings}
