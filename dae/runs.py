"""A run directory: what was asked for, how it went, what came out, and where to go on from."""

import errno
import json
import os
import platform
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

import dae
from dae.checkpoints import Checkpoint, from_bytes, to_bytes
from dae.config import Config
from dae.files import lock, naming, written_whole


class RunError(Exception):
    """A directory cannot be used as asked; the message is one line."""


class Run:
    """A training and the directory that it is kept in, locked against other processes.

    The directory holds ``config.json`` (settings and versions), ``costs.csv`` (a row for every
    epoch as it ends), ``checkpoint.npz`` and the one before, ``checkpoint.previous.npz`` (see
    `dae.checkpoints`), at the end ``model.npz``, and the pictures. All but costs.csv appear
    whole or not at all.

    Parameters
    ----------
    directory : path-like, optional
        By default one under ``runs/``, named after the time.

    Attributes
    ----------
    directory, newest, previous : pathlib.Path
        The directory, and its two checkpoints.
    config : Config or None
        None until it is known.
    history, costs, state
        Where the training has got to, or was taken up again: see `dae.checkpoints.Checkpoint`.
    saved_at : float
        When the last checkpoint was saved, as `time.monotonic` tells.
    """

    def __init__(self, directory=None):
        if directory is None:
            directory = datetime.now().strftime("runs/%Y%m%d-%H%M%S-%f")
        self.directory = Path(directory)
        self.newest = self.directory / "checkpoint.npz"
        self.previous = self.directory / "checkpoint.previous.npz"
        self.config, self.history, self.costs, self.state = None, [], [], {}
        self._costs_file = None

    def close(self):
        """Let other processes have the directory."""
        if self._costs_file is not None:
            with suppress(OSError):  # every row was flushed, or has failed already
                self._costs_file.close()

    def check_is_new(self):
        """Refuse, without making anything, a directory that cannot hold a new run.

        Raises
        ------
        RunError
            If it is not empty, is no directory, or cannot be written to.
        """
        with usage_errors(self.directory):
            if os.path.lexists(self.directory) and any(self.directory.iterdir()):
                raise RunError(
                    f"{self.directory} is not empty; give a new or an empty directory, or "
                    "--resume to go on with the run that it holds"
                )
            there = self.directory
            while not there.exists():
                there = there.parent
            if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
                raise RunError(
                    f"cannot write to {self.directory}: {there} is not a directory, or read-only"
                )

    def reopen(self):
        """Take up the run that the directory holds.

        Returns
        -------
        str or None
            If the newest checkpoint is damaged, what is wrong with it; it is kept under another
            name, and the run is taken up from the one before.

        Raises
        ------
        RunError
            If there is no run, or it is in use, cannot be written to, or has no whole checkpoint.
        """
        if not self.newest.exists() and not self.previous.exists():
            raise RunError(f"{self.directory} holds no run to go on with: it has no checkpoint.npz")
        fault = None
        with usage_errors(self.directory):
            (self.directory / "costs.csv").touch()
            self._open_costs()
            if not self.newest.exists():  # a new one was about to take its name
                self.previous.replace(self.newest)
            try:
                checkpoint = from_bytes(self.newest.read_bytes())
            except ValueError as error:
                fault = f"{self.newest}: {error}"
                try:
                    checkpoint = from_bytes(self.previous.read_bytes())
                except (ValueError, FileNotFoundError):
                    raise RunError(fault) from None
                self.newest.replace(self.directory / "checkpoint.damaged.npz")
                self.previous.replace(self.newest)
        config, self.history, self.costs, self.state = checkpoint
        self.config = Config(**config)
        return fault

    def begin(self, config):
        """Write what there is before the next step: config.json, a checkpoint, and the costs.

        Parameters
        ----------
        config : Config

        Raises
        ------
        RunError
            If the directory is new, as `check_is_new` does.
        """
        self.config = config
        if self._costs_file is None:
            self.check_is_new()
            with usage_errors(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
                (self.directory / "costs.csv").touch(exist_ok=False)
                self._open_costs()
        versions = {
            "dae": dae.__version__,
            "pytensor": version("pytensor"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        }
        with self.written("config.json") as path:
            record = asdict(config) | {"versions": versions}
            path.write_text(json.dumps(record, indent=2) + "\n", encoding="ascii")
        self.save_checkpoint(self.state)
        # Written over what is there: the same, but for epochs that will be done again.
        rows = [csv_row(epoch, *record) for epoch, record in enumerate(self.history)]
        self._write_costs("epoch,cost,seconds\n", *rows)
        self._costs_file.truncate()

    def _open_costs(self):
        self._costs_file = (self.directory / "costs.csv").open("r+", encoding="ascii", newline="")
        try:
            lock(self._costs_file)
        except (BlockingIOError, PermissionError):
            raise RunError(f"{self.directory} is in use by another process") from None

    def _write_costs(self, *lines):
        with naming(self.directory / "costs.csv"):
            self._costs_file.writelines(lines)
            self._costs_file.flush()

    def save_epoch(self, epoch):
        """Add an `Epoch` to the history and to costs.csv."""
        self.history.append([epoch.cost, epoch.seconds])
        self._write_costs(csv_row(*epoch))

    def save_checkpoint(self, state):
        """Write checkpoint.npz, and keep the one before.

        Parameters
        ----------
        state : dict
            What `dae.checkpoints.get_state` gave.

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
        content = to_bytes(Checkpoint(asdict(self.config), self.history, self.costs, state))
        with written_whole(self.newest, self.previous) as path:
            path.write_bytes(content)
        self.saved_at = time.monotonic()

    def save_model(self, model):
        """Write model.npz: the arrays W, b and b_prime."""
        W, b, b_prime = (param.get_value(borrow=True) for param in model.params)
        with self.written("model.npz") as path:
            np.savez(path, W=W, b=b, b_prime=b_prime)

    def written(self, name):
        """Let a file of the directory appear whole or not at all: see `written_whole`."""
        return written_whole(self.directory / name)


def csv_row(epoch, cost, seconds):
    """Give a row of costs.csv; the cost has all its digits."""
    return f"{epoch},{cost!r},{seconds:.6f}\n"


@contextmanager
def usage_errors(directory):
    """Turn errors of the system about a directory that was given into a `RunError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"cannot write to {directory}: {error.strerror}") from error
