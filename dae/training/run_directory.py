"""A run directory: what was asked for, how it went, what came out, and where to go on from."""

import errno
import json
import os
import platform
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

import dae
from dae._files import atomic_write, naming
from dae.training.checkpoints import Checkpoint, from_bytes, to_bytes
from dae.training.config import Config


class RunError(Exception):
    """A directory cannot be used as asked; the message is one line."""


class Run:
    """A training and the directory that it is kept in, locked against other processes.

    The directory holds ``config.json`` (settings and versions), ``costs.csv`` (a row for every
    epoch as it ends), ``checkpoint.npz`` and the one before, ``checkpoint.previous.npz`` (see
    `checkpoints`), at the end ``model.npz``, and the pictures. All but the rows of costs.csv
    appear whole or not at all.

    One file more, ``run.lock``, is always empty. The process that is about to write anything to
    the directory locks it first, and keeps it locked until `close` or until it ends, however it
    ends: so the lock covers all of the directory, whatever happens to the other files, and
    run.lock itself, which stays, means nothing while no process has it locked. Removing it from
    under a run takes the protection away.

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
        Where the training has got to, or was taken up again: see `checkpoints.Checkpoint`.
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
        self._costs_stamp = None
        # A lock that is a mere file, which some file systems would have in place of a real one,
        # would outlive a run that is killed.
        self._lock = FileLock(
            self.directory / "run.lock", blocking=False, thread_local=False, fallback_to_soft=False
        )

    def close(self):
        """Let other processes have the directory."""
        self._lock.release()

    def check_is_new(self):
        """Refuse, without making anything, a directory that cannot hold a new run.

        Raises
        ------
        RunError
            If it is not empty, is no directory, or cannot be written to.
        """
        with usage_errors("write to", self.directory):
            names = os.listdir(self.directory) if os.path.lexists(self.directory) else []
            if set(names) - {"run.lock"}:
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
            If there is no run, or it is in use, cannot be read or written to, has no whole
            checkpoint, or one with settings that this version does not know.
        """
        if not self.newest.exists() and not self.previous.exists():
            raise RunError(f"{self.directory} holds no run to go on with: it has no checkpoint.npz")
        fault = None
        self._lock_directory()
        with usage_errors("write to", self.directory):
            if not self.newest.exists():  # a new one was about to take its name
                self.previous.replace(self.newest)
            try:
                checkpoint = read_checkpoint(self.newest)
            except ValueError as error:
                fault = f"{self.newest}: {error}"
                try:
                    checkpoint = read_checkpoint(self.previous)
                except (ValueError, RunError):
                    raise RunError(fault) from None
                self.newest.replace(self.directory / "checkpoint.damaged.npz")
                self.previous.replace(self.newest)
        config, self.history, self.costs, self.state = checkpoint
        try:
            self.config = Config.from_record(config)
        except ValueError as error:
            raise RunError(f"{self.newest}: {error}") from error
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
        if not self._lock.is_locked:
            self.check_is_new()
            with usage_errors("write to", self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
            self._lock_directory()
            self.check_is_new()  # still: until now another run might have begun in it
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
        self._write_costs()

    def _lock_directory(self):
        remedy = "; a run needs a directory that can be written to, on a file system with locks"
        with usage_errors("lock", self._lock.lock_file, remedy):
            try:
                self._lock.acquire()
            except Timeout:
                raise RunError(f"{self.directory} is in use by another process") from None

    def _write_costs(self):
        """Write costs.csv anew, from the history."""
        rows = [csv_row(epoch, *record) for epoch, record in enumerate(self.history)]
        with self.written("costs.csv") as path:
            path.write_bytes("".join(["epoch,cost,seconds\n", *rows]).encode("ascii"))
            self._costs_stamp = stamp(path)

    def save_epoch(self, epoch):
        """Add an `Epoch` to the history and to costs.csv."""
        self.history.append([epoch.cost, epoch.seconds])
        path = self.directory / "costs.csv"
        with naming(path), path.open("ab") as file:
            # All of this is about the file that is open, whoever may replace it meanwhile.
            if stamp(file.fileno()) != self._costs_stamp:  # somebody has removed or changed it
                self._write_costs()
                return
            file.write(csv_row(*epoch).encode("ascii"))
            file.flush()
            self._costs_stamp = stamp(file.fileno())

    def save_checkpoint(self, state):
        """Write checkpoint.npz, and keep the one before.

        Parameters
        ----------
        state : dict
            What `checkpoints.get_state` gave.

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
        with atomic_write(self.newest, self.previous, exclusive=True) as path:
            path.write_bytes(content)
        if stamp(self.directory / "costs.csv") != self._costs_stamp:
            self._write_costs()
        self.saved_at = time.monotonic()

    def save_model(self, model):
        """Write model.npz: the arrays W, b and b_prime."""
        W, b, b_prime = (param.get_value(borrow=True) for param in model.params)
        with self.written("model.npz") as path:
            np.savez(path, W=W, b=b, b_prime=b_prime)

    def written(self, name):
        """Let a file of the directory appear whole or not at all: see `atomic_write`."""
        return atomic_write(self.directory / name, exclusive=True)


def csv_row(epoch, cost, seconds):
    """Give a row of costs.csv; the cost has all its digits."""
    return f"{epoch},{cost!r},{seconds:.6f}\n"


def read_checkpoint(path):
    """Read a `Checkpoint`; raise ValueError if it is damaged, `RunError` if it cannot be read."""
    with usage_errors("read", path):
        content = path.read_bytes()
    return from_bytes(content)


def stamp(file):
    """Return what changes when a file is written to or replaced; None where there is none.

    Parameters
    ----------
    file : path-like or int
        Its path, or the descriptor of an open one.
    """
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def usage_errors(action, path, remedy=""):
    """Turn errors of the system about a path that was given into a `RunError`.

    Its message is "cannot <action> <path>", what the system says, and the remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"cannot {action} {path}: {error.strerror}{remedy}") from error
