"""What the command `sweep` does: find the points, have them trained, show what came of them."""

import csv
import io
import json
import os
import shlex
import threading
from collections import Counter
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from dae._files import atomic_write
from dae.commands._console import StoppedError
from dae.commands._engines import Engine, call_until_done
from dae.commands._reading import check_batch_size, read_for_training
from dae.commands._run_page import describe_cost
from dae.commands._sweep_page import write_sweep_page
from dae.commands._sweep_points import LOCK, SETTINGS, make_points, train_point
from dae.datasets import DataError
from dae.training.settings import Settings

LOOK_SECONDS = 0.2
"""How often the command looks how far the workers have got."""

LOCK_SECONDS = 5
"""How long it waits for the lock, which workers of a sweep that was stopped may look at."""


def train_sweep(options, session):
    """Train all points of a sweep, and write a table and a page.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.sweep.make_parser`.
    session : Session
        The console.
    """
    directory = Path(options.output_dir or datetime.now().strftime("sweeps/%Y%m%d-%H%M%S-%f"))
    directory = directory.absolute()  # workers may be elsewhere
    given = vars(options)
    # An option without values is a flag.
    values = {name: given[name] or [True] for name in SETTINGS if name in given}
    points = make_points(directory, values)
    names = [field.name for field in fields(Settings) if field.name in given]
    data = {name: given[name] for name in names}
    if data.get("data", Settings.data) not in (Settings.data, "mnist"):
        data["data"] = os.path.abspath(data["data"])
    check_data(points, data, options, session)
    lock = open_directory(directory, data)
    try:
        n_left = prepare_points(points)
        varying = [name for name, several in values.items() if len(set(several)) > 1]
        session.say(f"{len(points)} points in {directory}, {n_left} of them to train")
        if n_left:
            train_what_is_left(points, n_left, data, directory, options, lock, session)
        save_sweep(directory, points, varying, command_to_repeat(options.words, directory))
    finally:
        lock.release()
    counts = Counter(point.outcome.state for point in points)
    session.say(", ".join(f"{n} {state}" for state, n in sorted(counts.items())))
    session.say(f"results: {directory / 'sweep.csv'}, {directory / 'sweep.html'}")
    if counts["failed"]:
        failed = next(point for point in points if point.outcome.state == "failed")
        raise StoppedError(
            1,
            f"{counts['failed']} of {len(points)} points failed, such as {failed.directory.name}: "
            f"{failed.outcome.message}",
        )


def train_what_is_left(points, n_left, data, directory, options, lock, session):
    """Start the workers, and wait for them to train.

    Parameters
    ----------
    points : list of Point
    n_left : int
        How many of them are not over.
    data : dict
        The settings of the data.
    directory : pathlib.Path
        That of the sweep.
    options : argparse.Namespace
    lock : filelock.FileLock
        See `train_points`.
    session : Session

    Raises
    ------
    StoppedError
        As `train_points` does; its message says how to go on.
    """
    engine = Engine(options.backend, options.address, options.jobs, options.threads, n_left)
    with engine:
        jobs = "all" if engine.jobs == -1 else engine.jobs
        session.say(f"{options.backend}: {jobs} processes, {engine.threads} threads each")
        how = {
            "threads": engine.threads,
            "cache_dir": options.cache_dir and os.path.abspath(options.cache_dir),
            "checkpoint_every": options.checkpoint_every,
            "report": options.report,
        }
        try:
            train_points(points, data, how, engine, lock, session)
        except StoppedError as error:
            n_over = sum(point.outcome is not None for point in points)
            raise StoppedError(
                error.status,
                f"{error} when {n_over} of {len(points)} points were over; go on with: "
                f"{command_to_repeat(options.words, directory)}",
            ) from error


def check_data(points, data, options, session):
    """Read the data once before anybody else does, and refuse settings that do not fit them.

    Parameters
    ----------
    points : list of Point
    data : dict
        The settings of the data.
    options : argparse.Namespace
    session : Session

    Raises
    ------
    DataError
    """
    settings = Settings(**data)
    configs = [point.config for point in points]
    is_bounded = any(config.cost == "cross-entropy" for config in configs)
    dataset = read_for_training(session, settings, options.cache_dir, is_bounded)
    largest = max(config.batch_size for config in configs)
    check_batch_size(largest, dataset.train[0], "training", settings.data)
    if not len(dataset.valid[0]) and any(config.patience for config in configs):
        raise DataError(
            f"--patience is given, but {settings.data} has no validation images to judge by; "
            "expected data that has such, or --validation-fraction"
        )


def open_directory(directory, data):
    """Lock the directory of a sweep, a new one or that of one to go on with.

    Parameters
    ----------
    directory : pathlib.Path
    data : dict
        The settings of the data, which all points share.

    Returns
    -------
    filelock.FileLock
        Workers train for as long as it is locked.

    Raises
    ------
    StoppedError
        If the directory is of no use.
    """
    record = directory / "sweep.json"
    try:
        others = directory.is_dir() and set(os.listdir(directory)) - {LOCK}
        if others and not record.exists():
            raise StoppedError(
                2, f"{directory} is not empty and holds no sweep; give a new or an empty directory"
            )
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, thread_local=False, fallback_to_soft=False)
        lock.acquire(timeout=LOCK_SECONDS)
        if not record.exists():
            with atomic_write(record) as path:
                path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except Timeout:
        raise StoppedError(2, f"{directory} is in use by another process") from None
    except OSError as error:
        raise StoppedError(2, f"cannot write to {directory}: {error.strerror}") from error
    before = json.loads(record.read_text(encoding="utf-8"))
    if before != json.loads(json.dumps(data)):
        lock.release()
        raise StoppedError(
            2, f"{directory} holds a sweep over other data: {before}; these are {data}"
        )
    return lock


def prepare_points(points):
    """Count the points that are left to train; what failed is forgotten, and tried again.

    Parameters
    ----------
    points : list of Point

    Returns
    -------
    int
    """
    n_left = 0
    for point in points:
        outcome = point.outcome
        if outcome is not None and outcome.state == "failed":
            (point.directory / "point.json").unlink()
        n_left += outcome is None or outcome.state == "failed"
    return n_left


def train_points(points, data, how, engine, lock, session):
    """Wait for the points to be trained, and show how far they have got.

    Parameters
    ----------
    points : list of Point
    data, how : dict
        The settings of the data, and what else `train_point` is told.
    engine : Engine
    lock : filelock.FileLock
        It is released when the training is to stop.
    session : Session

    Raises
    ------
    StoppedError
        If the user stops it, or workers die again and again.
    """
    unseen = [point for point in points if point.outcome is None]
    n_over = len(points) - len(unseen)
    complaints, errors = [], []

    def find_arguments():
        return [
            (str(point.directory), data | settings_of(point.config), how)
            for point in points
            if point.outcome is None and lock.is_locked
        ]

    def call():
        try:
            call_until_done(engine, train_point, find_arguments, complaints.append)
        except BaseException as error:  # for the other thread
            errors.append(error)

    total = sum(point.config.training_epochs for point in points)
    thread = threading.Thread(target=call, daemon=True)
    with session.stops_waiting(), session.bar(total=total, unit="epoch") as show:
        thread.start()
        is_alive = True
        while is_alive:
            thread.join(LOOK_SECONDS)
            is_alive = thread.is_alive()
            while complaints:
                session.complain(complaints.pop(0))
            for point in [point for point in unseen if point.outcome is not None]:
                unseen.remove(point)
                n_over += 1
                session.say(f"{n_over} of {len(points)}: {describe_point(point)}")
            epochs = (
                point.epochs_done if point in unseen else point.config.training_epochs
                for point in points
            )
            show(f"{n_over} of {len(points)} points", sum(epochs), total)
            if session.stopped and lock.is_locked:
                lock.release()
    if session.stopped:
        raise session.stopped
    for error in errors:
        raise error


def settings_of(config):
    """Return the settings of a point beside those of the data."""
    return {name: getattr(config, name) for name in SETTINGS}


def describe_point(point):
    """Return the line that says what came of a point."""
    outcome = point.outcome
    results = [f"{outcome.state}: {outcome.message}" if outcome.message else outcome.state]
    if outcome.state == "done":
        cost, error = outcome.validation_cost, outcome.validation_error
        results = [f"cost {describe_cost(outcome.cost)}"]
        results += [] if cost is None else [f"validation cost {describe_cost(cost)}"]
        results += [] if error is None else [f"error of a linear classifier {100 * error:.2f} %"]
    return f"{point.directory.name}: {', '.join(results)}"


def command_to_repeat(words, directory):
    """Return the command that goes on with the sweep.

    Parameters
    ----------
    words : list of str
        The arguments of the command.
    directory : pathlib.Path
        That of the sweep.

    Returns
    -------
    str
    """
    kept, words = [], iter(words)
    for word in words:
        if word == "--output-dir":
            next(words)
        elif not word.startswith("--output-dir="):
            kept.append(word)
    return shlex.join(["python", "-m", "dae.sweep", *kept, "--output-dir", str(directory)])


def save_sweep(directory, points, varying, command):
    """Write the table and the page of a sweep.

    Parameters
    ----------
    directory : pathlib.Path
    points : list of Point
        All of them are over.
    varying : list of str
        The settings that are not the same in all of them.
    command : str
        What makes the sweep.
    """
    outcomes = [point.outcome for point in points]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    results = ["state", "epochs", "cost", "validation_cost", "validation_error"]
    writer.writerow(["run", *varying, *results])
    for point, outcome in zip(points, outcomes, strict=True):
        row = [getattr(point.config, name) for name in varying]
        row += [getattr(outcome, name) for name in results]
        writer.writerow([point.directory.name, *("" if v is None else v for v in row)])
    with atomic_write(directory / "sweep.csv") as path:
        path.write_bytes(text.getvalue().encode("utf-8"))
    with atomic_write(directory / "sweep.html") as path, path.open("wb") as file:
        write_sweep_page(file, directory.name, points, outcomes, varying, command)
