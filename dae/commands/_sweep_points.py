"""The points of a sweep: what they are called, how a worker trains one, and what came of it."""

import argparse
import itertools
import json
import signal
import threading
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytensor
import pytensor.tensor as pt
from filelock import FileLock, Timeout

from dae._files import atomic_write
from dae.commands._console import Session, StoppedError
from dae.commands._engines import one_at_a_time
from dae.commands._train_and_save import train_and_save
from dae.datasets import DataError
from dae.models import LogisticRegression
from dae.training.config import Config, LogisticRegressionConfig
from dae.training.fitting import fit
from dae.training.model_file import ModelError, load_autoencoder
from dae.training.run_directory import RunError
from dae.training.settings import Settings

LOCK = "sweep.lock"
"""The file that the command has locked for as long as workers are to train."""

LOOK_SECONDS = 0.5
"""How often a worker looks whether the sweep is still going on."""

SETTINGS = [
    field.name for field in fields(Config) if field.name not in {f.name for f in fields(Settings)}
]
"""What may vary in a sweep: all settings but those of the data."""


class Outcome(NamedTuple):
    """What came of a point.

    Attributes
    ----------
    state : {'done', 'diverged', 'failed'}
    message : str
        What went wrong.
    epochs : int or None
        The number of epochs.
    cost : float or None
        The cost of the last epoch.
    validation_cost : float or None
        That of the validation images without noise: of the last epoch, or with a patience of the
        best.
    validation_error : float or None
        The share of validation images that a logistic regression on the codes gets wrong; None
        without labels.
    """

    state: str
    message: str = ""
    epochs: int | None = None
    cost: float | None = None
    validation_cost: float | None = None
    validation_error: float | None = None


class Point(NamedTuple):
    """A point of a sweep.

    Attributes
    ----------
    directory : pathlib.Path
        Its run directory, named after the settings that are not the default.
    config : Config
    """

    directory: Path
    config: Config

    @property
    def outcome(self):
        """What came of it, an `Outcome`; None until it is over."""
        try:
            record = json.loads((self.directory / "point.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Outcome(**record)

    @property
    def epochs_done(self):
        """The number of epochs that its table of costs has."""
        try:
            return (self.directory / "costs.csv").read_bytes().count(b"\n") - 1
        except FileNotFoundError:
            return 0


def make_points(directory, values):
    """Return all combinations of settings.

    Parameters
    ----------
    directory : pathlib.Path
        The directory of the sweep.
    values : dict
        From names of settings to lists of values.

    Returns
    -------
    list of Point
        The last setting varies fastest; each combination occurs once.

    Raises
    ------
    ConfigError
        If a combination is impossible.
    """
    points = {}
    for combination in itertools.product(*values.values()):
        config = Config(**dict(zip(values, combination, strict=True)))
        changed = [
            f"{name}={getattr(config, name)}"
            for name in SETTINGS
            if getattr(config, name) != getattr(Config, name)
        ]
        name = "-".join(changed) or "defaults"
        points[name] = Point(directory / name, config)
    return list(points.values())


def train_point(directory, settings, how):
    """Train a point, or what is left of it, and record what came of it; called in a worker.

    Parameters
    ----------
    directory : str
        Its run directory, in that of the sweep.
    settings : dict
        Of `Config`.
    how : dict
        The other options of the command `train` that matter.
    """
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C in a terminal is for the command, which lets a minibatch end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    directory = Path(directory)
    lock = directory.parent / LOCK
    point = Point(directory, None)
    with one_at_a_time:
        if point.outcome is not None or is_free(lock):
            return
        has_begun = any(
            (directory / name).exists() for name in ("checkpoint.npz", "checkpoint.previous.npz")
        )
        options = argparse.Namespace(
            resume=directory if has_begun else None,
            output_dir=directory,
            report_every=1,
            snapshots=None,
            sort_filters=False,
            **how,
            **settings,
        )
        session = UnseenSession()
        is_over = threading.Event()
        watch = threading.Thread(target=stop_when_free, args=(lock, session, is_over), daemon=True)
        watch.start()
        try:
            outcome = judge_point(directory, *train_and_save(options, session))
        except StoppedError:
            return
        except FloatingPointError as error:
            outcome = Outcome("diverged", str(error))
        except (DataError, ModelError, RunError, ValueError, OSError, MemoryError) as error:
            outcome = Outcome("failed", " ".join(str(error).split()) or type(error).__name__)
        finally:
            is_over.set()
            watch.join()
        directory.mkdir(parents=True, exist_ok=True)
        with atomic_write(directory / "point.json") as path:
            path.write_text(json.dumps(outcome._asdict(), indent=2) + "\n", encoding="utf-8")


class UnseenSession(Session):
    """The console of a worker: nobody sees it, and the command has said everything already."""

    def __init__(self):
        super().__init__("dae-sweep", quiet=True)

    def complain(self, message):
        """Show nothing.

        Parameters
        ----------
        message : str
        """


def is_free(lock):
    """Return whether no process has a file locked.

    Parameters
    ----------
    lock : pathlib.Path

    Returns
    -------
    bool
    """
    try:
        with FileLock(lock, blocking=False, thread_local=False, fallback_to_soft=False):
            return True
    except Timeout:
        return False


def stop_when_free(lock, session, is_over):
    """Stop a training when the command lets go of a lock, however it ended.

    Parameters
    ----------
    lock : pathlib.Path
    session : Session
        That of the training.
    is_over : threading.Event
        It says that the training is over.
    """
    while not is_over.wait(LOOK_SECONDS):
        if is_free(lock):
            session.stopped = StoppedError(1, "the sweep was stopped")
            return


def judge_point(directory, history, dataset):
    """Return what came of a point that was trained to its end.

    Parameters
    ----------
    directory : pathlib.Path
    history : list of Epoch
    dataset : Dataset

    Returns
    -------
    Outcome
    """
    losses = [epoch.validation_loss for epoch in history if epoch.validation_loss is not None]
    best = directory / "best_model.npz"
    is_best = best.exists()
    model = load_autoencoder(best if is_best else directory)
    return Outcome(
        "done",
        epochs=len(history),
        cost=history[-1].cost,
        validation_cost=None if not losses else min(losses) if is_best else losses[-1],
        validation_error=classify_codes(model, dataset),
    )


def classify_codes(model, dataset):
    """Train a logistic regression on the codes of images, as the tutorial trains one on pixels.

    Parameters
    ----------
    model : Autoencoder
    dataset : Dataset

    Returns
    -------
    float or None
        The least share of wrong predictions for the validation images; None without labels.
    """
    (x, y), (valid_x, valid_y), _ = dataset[:3]
    if y is None or valid_y is None or not len(valid_x):
        return None
    floatX = model.x.dtype
    config = LogisticRegressionConfig(batch_size=min(60, len(x)), floatX=floatX)
    with pytensor.config.change_flags(floatX=floatX):
        classifier = LogisticRegression(
            pt.matrix("x"), model.n_hidden, 1 + max(int(y.max()), int(valid_y.max()))
        )
    _, history = fit(
        config,
        (model.encode(x), y),
        validation=(model.encode(valid_x), valid_y),
        model=classifier,
    )
    return min(epoch.validation_loss for epoch in history)
