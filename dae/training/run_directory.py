"""A run directory: what was asked for, how it went, what came out, and where to go on from."""

from __future__ import annotations

import errno
import inspect
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

import dae
from dae._files import atomic_write
from dae.training._checkpoints import Checkpoint, from_bytes, to_bytes
from dae.training._costs_file import CostsFile
from dae.training.callbacks import Callback
from dae.training.config import AnyConfig, settings_from_record
from dae.training.epochs import Epoch
from dae.training.model_file import save_model
from dae.training.settings import POSITIVE, ConfigError

if TYPE_CHECKING:
    from dae.training.fitting import Training

CHECKPOINT_SECONDS = 60
"""How much work may be lost, where `checkpoint_every` does not say."""


class RunError(Exception):
    """A directory cannot be used as asked; the message is one line.

    Examples
    --------
    >>> Run("none").reopen()
    Traceback (most recent call last):
        ...
    dae.training.run_directory.RunError: none holds no run to go on with: it has no checkpoint.npz
    """


class NotEmptyError(RunError):
    """A directory for a new run holds something already."""


class Run(Callback):
    """A training and the directory that it is kept in, locked against other processes.

    The directory holds ``config.json`` (settings and versions), ``costs.csv`` (a row for every
    epoch as it ends), ``checkpoint.npz`` and the one before, ``checkpoint.previous.npz`` (see
    `_checkpoints`), at the end ``model.npz``, and what else is `written` there. All but the rows
    of costs.csv appear whole or not at all.

    One file more, ``run.lock``, is always empty. The process that is about to write anything to
    the directory locks it first, and keeps it locked until `close` or until it ends, however it
    ends: so the lock covers all of the directory, whatever happens to the other files, and
    run.lock itself, which stays, means nothing while no process has it locked. Removing it from
    under a run takes the protection away.

    As a context manager it closes itself. An object is for one training: to go on, reopen another.

    Parameters
    ----------
    directory : path-like, optional
        By default one under ``runs/``, named after the time.
    checkpoint_every : int, optional
        Number of epochs between checkpoints; by default there is one a minute, also within an
        epoch.

    Attributes
    ----------
    directory, newest, previous : pathlib.Path
        The directory, and its two checkpoints.
    config : Settings or None
        None until it is known.
    fault : str or None
        Of a run that was reopened, what is wrong with its newest checkpoint: see `reopen`.
    history : list of Epoch
        The epochs that are done.
    costs : list of float
        The costs of the minibatches that are done of the epoch after.
    state : dict
        What the training was taken up with: see `Checkpoint`.
    columns : dict
        Further columns of costs.csv: from their names to functions, which return the value of an
        `Epoch`, a number or None. `fit` adds ``validation_loss``, if there are validation data.

    Raises
    ------
    ConfigError
        If `checkpoint_every` is impossible.

    Examples
    --------
    Train in a new directory:

    >>> import dae
    >>> images = dae.load_data()[0][0]
    >>> with Run("runs/mine", checkpoint_every=1) as run:
    ...     model, history = dae.fit(dae.Config(n_hidden=5, training_epochs=1), images, run=run)

    Go on there, later:

    >>> from dataclasses import replace
    >>> with Run("runs/mine") as run:
    ...     fault = run.reopen()
    ...     config = replace(run.config, training_epochs=2)
    ...     model, history = dae.fit(config, images, run=run)
    >>> [epoch.epoch for epoch in history]
    [0, 1]
    """

    config: Any
    fault: str | None
    history: list[Epoch]
    costs: list[float]
    state: dict[str, NDArray]
    columns: dict[str, Callable]
    _saved_at: Any

    def __init__(
        self, directory: str | PathLike | None = None, checkpoint_every: int | None = None
    ):
        expected, is_valid = POSITIVE
        if checkpoint_every is not None and not is_valid(checkpoint_every):
            raise ConfigError("checkpoint_every", checkpoint_every, expected)
        if directory is None:
            directory = datetime.now().strftime("runs/%Y%m%d-%H%M%S-%f")
        self.directory = Path(directory)
        self.newest = self.directory / "checkpoint.npz"
        self.previous = self.directory / "checkpoint.previous.npz"
        self.checkpoint_every = checkpoint_every
        self.config, self.history, self.costs, self.state = None, [], [], {}
        self.columns = {}
        self._costs_file = CostsFile(self.directory / "costs.csv")
        self.fault = None
        self._has_begun = False
        self._saved_at = None
        # A lock that is a mere file, which some file systems would have in place of a real one,
        # would outlive a run that is killed.
        self._lock = FileLock(
            self.directory / "run.lock", blocking=False, thread_local=False, fallback_to_soft=False
        )

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Unlock the directory for other processes."""
        self._lock.release()

    def check_is_new(self) -> None:
        """Refuse, without making anything, a directory that cannot hold a new run.

        Raises
        ------
        RunError
            If it is not empty (a `NotEmptyError`), is no directory, or cannot be written to.
        """
        with _usage_errors("write to", self.directory):
            names = os.listdir(self.directory) if os.path.lexists(self.directory) else []
            # A run that was killed before its first checkpoint is none.
            if any(name != "run.lock" and not name.startswith("unfinished-") for name in names):
                raise NotEmptyError(
                    f"{self.directory} is not empty; give a new or an empty directory, or reopen "
                    "the run that it holds"
                )
            there = self.directory
            while not there.exists():
                there = there.parent
            if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
                raise RunError(
                    f"cannot write to {self.directory}: {there} is not a directory, or read-only"
                )

    def reopen(self) -> str | None:
        """Read where the run in the directory has got to, and lock it.

        Returns
        -------
        str or None
            If the newest checkpoint is damaged, what is wrong with it; it is kept under another
            name, and the run is taken up from the one before.

        Raises
        ------
        RunError
            If there is no run, or it is in use, cannot be read or written to, has no whole
            checkpoint, or one with settings that this version does not know.
        """
        if not self.newest.exists() and not self.previous.exists():
            raise RunError(f"{self.directory} holds no run to go on with: it has no checkpoint.npz")
        self._lock_directory()
        with _usage_errors("write to", self.directory):
            if not self.newest.exists():  # a new one was about to take its name
                self.previous.replace(self.newest)
            try:
                checkpoint = _read_checkpoint(self.newest)
            except ValueError as error:
                self.fault = f"{self.newest}: {error}"
                try:
                    checkpoint = _read_checkpoint(self.previous)
                except (ValueError, RunError):
                    raise RunError(self.fault) from None
                self.newest.replace(self.directory / "checkpoint.damaged.npz")
                self.previous.replace(self.newest)
        config, history, self.costs, self.state = checkpoint
        self.history = [Epoch(number, *record) for number, record in enumerate(history)]
        try:
            self.config = settings_from_record(config)
        except ValueError as error:
            raise RunError(f"{self.newest}: {error}") from error
        return self.fault

    def check_config(self, config: AnyConfig) -> None:
        """Refuse settings under which the rest of a reopened run would not belong to its beginning.

        Parameters
        ----------
        config : Settings
            The settings to go on with.

        Raises
        ------
        RunError
            If there are such; it names them all.
        """
        if self.config is None:
            return
        if type(config) is not type(self.config):
            raise RunError(
                f"cannot go on with {self.directory}: the settings are a {type(config).__name__}, "
                f"were a {type(self.config).__name__}"
            )
        differences = [
            f"{name} is {value}, was {getattr(self.config, name)}"
            for name, value in asdict(config).items()
            if getattr(self.config, name) != value
            and name not in ("data", "training_epochs")
            and not (name in ("image_shape", "data_sha256") and getattr(self.config, name) is None)
        ]
        n_begun = len(self.history) + bool(self.costs)
        if config.training_epochs < n_begun:
            differences.append(f"training_epochs is {config.training_epochs}, {n_begun} are begun")
        if differences:
            raise RunError(f"cannot go on with {self.directory}: {'; '.join(differences)}")

    def begin(self, config: AnyConfig) -> None:
        """Write what there is before the next step: config.json, a checkpoint, and the costs.

        Parameters
        ----------
        config : Settings
            The settings.

        Raises
        ------
        RunError
            If the directory is new, as `check_is_new` does; else as `check_config` does.
        """
        if self._has_begun:
            raise RunError(f"{self.directory} was trained by this Run; reopen it with another one")
        self.check_config(config)
        self.config = config
        if not self._lock.is_locked:
            self.check_is_new()
            with _usage_errors("write to", self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
            self._lock_directory()
            self.check_is_new()  # still: until now another run might have begun in it
        self._has_begun = True
        versions = {
            "dae": dae.__version__,
            "pytensor": version("pytensor"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        }
        self.save_checkpoint(self.state)  # first: without one there is nothing to reopen
        with self.written("config.json") as path:
            record = asdict(config) | {"versions": versions}
            path.write_text(json.dumps(record, indent=2) + "\n", encoding="ascii")
        self._costs_file.write(self.history, self.columns)

    def _lock_directory(self):
        remedy = "; a run needs a directory that can be written to, on a file system with locks"
        with _usage_errors("lock", self._lock.lock_file, remedy):
            try:
                self._lock.acquire()
            except Timeout:
                raise RunError(f"{self.directory} is in use by another process") from None

    def save_epoch(self, epoch: Epoch) -> None:
        """Add an epoch to the history and to costs.csv.

        Parameters
        ----------
        epoch : Epoch
            The epoch that has ended.
        """
        self.history.append(epoch)
        self._costs_file.add_last(self.history, self.columns)

    def save_checkpoint(self, state: dict) -> None:
        """Write checkpoint.npz, and keep the one before.

        Parameters
        ----------
        state : dict
            What `dae.training._state.State.get` returned.

        Raises
        ------
        FloatingPointError
            If there is an infinity or a NaN in it: nobody wants to go on from there.
        """
        if not all(np.isfinite(array).all() for array in state.values()):
            raise FloatingPointError(
                f"the weights are not finite at epoch {len(self.history)}, minibatch "
                f"{len(self.costs)}; try a smaller learning rate"
            )
        history = [epoch[1:] for epoch in self.history]
        content = to_bytes(Checkpoint(asdict(self.config), history, self.costs, state))
        with atomic_write(self.newest, self.previous, exclusive=True) as path:
            path.write_bytes(content)
        self._costs_file.mend(self.history, self.columns)
        self._saved_at = time.monotonic()

    def save_model(self, model: Any, name: str = "model.npz") -> None:
        """Write a model, for `load_model`, with how images were read, and its corruption level.

        Parameters
        ----------
        model : object
            It has `params`, such as W, b and b_prime, `x` and `get_cost_updates`.
        name : str, default="model.npz"
            The file.
        """
        names = ("image_shape", "crop", "autocontrast", "background")
        about = {name: getattr(self.config, name) for name in names}
        if "corruption_level" in inspect.signature(model.get_cost_updates).parameters:
            about["corruption_level"] = float(self.config.corruption_level)
        with self.written(name) as path, path.open("wb") as file:
            save_model(file, model, about)

    def on_minibatch(self, training: Training) -> None:
        """Save a checkpoint if the last one is a minute old.

        Parameters
        ----------
        training : Training
            The training that is kept here.
        """
        if not self.checkpoint_every and time.monotonic() > self._saved_at + CHECKPOINT_SECONDS:
            training.save_checkpoint()

    def on_epoch(self, training: Training, epoch: Epoch) -> None:
        """Save a checkpoint every `checkpoint_every` epochs.

        Parameters
        ----------
        training : Training
            The training that is kept here.
        epoch : Epoch
            The epoch that has ended.
        """
        if self.checkpoint_every and len(self.history) % self.checkpoint_every == 0:
            training.save_checkpoint()

    def written(self, name: str) -> AbstractContextManager[Path]:
        """Write a file of the directory whole or not at all: see `dae._files.atomic_write`.

        Parameters
        ----------
        name : str
            The name of the file.

        Returns
        -------
        context manager
            It yields the path to write to.
        """
        return atomic_write(self.directory / name, exclusive=True)


def _read_checkpoint(path):
    """Read a `Checkpoint`; raise ValueError if it is damaged, `RunError` if it cannot be read."""
    with _usage_errors("read", path):
        content = path.read_bytes()
    return from_bytes(content)


@contextmanager
def _usage_errors(action, path, remedy=""):
    """Raise errors of the system about a path that was given as a `RunError`.

    Its message is "cannot <action> <path>", what the system says, and the remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"cannot {action} {path}: {error.strerror}{remedy}") from error
