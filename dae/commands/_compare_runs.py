"""What the command `compare` does: read the runs, compare what can be compared, show it."""

import csv
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dae.commands._comparison_page import write_comparison
from dae.commands._model_and_images import check_output, written
from dae.commands._reading import IMAGE_SETTINGS, read_for
from dae.commands._run_page import describe_cost, describe_setting
from dae.commands._views import compile_view, standardize
from dae.datasets import DataError, to_floatX
from dae.training.baselines import image_costs
from dae.training.config import Config
from dae.training.model_file import ModelError, load_autoencoder
from dae.training.run_directory import RunError

N_JUDGED = 1000
"""So many images all models are judged by."""


class ComparedRun(NamedTuple):
    """A run as a comparison sees it.

    Attributes
    ----------
    name : str
        A letter, and the last part of the directory's name.
    directory : pathlib.Path
    config : dict
        The settings; those that it lacks, for it is older, have their defaults.
    versions : dict
        Of the software.
    costs, losses : list of (int, float)
        Numbers of epochs and costs, of the training and of the validation data.
    seconds : float
        How long the epochs took.
    model : Autoencoder or None
        None if it cannot be had.
    image_shape : tuple of int or None
        None if that is unknown.
    """

    name: str
    directory: Path
    config: dict
    versions: dict
    costs: list
    losses: list
    seconds: float
    model: object
    image_shape: tuple

    @property
    def unit(self):
        """What the costs are measured in: the name of the cost, and of what."""
        return self.config["cost"], self.image_shape, self.config["standardize"]


class Comparison(NamedTuple):
    """What can be compared.

    Attributes
    ----------
    runs : list of ComparedRun
    header : list of str
        The columns of the table.
    rows : list of list of str
        A row for each run, which begins with its name.
    notes : list of str
        What could not be compared, and why.
    plotted : list of ComparedRun
        The runs whose costs are of the same kind.
    images : list of (str, ndarray, shape (n_images, n_visible))
        Names of the rows, and the rows: images, and what the models make of them.
    """

    runs: list
    header: list
    rows: list
    notes: list
    plotted: list
    images: list


def compare_runs(options, session):
    """Compare runs, on the console and in a page.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.compare.make_parser`.
    session : Session
        The console.
    """
    check_output(options.output, options.force)
    notes = []
    runs = [
        read_run(directory, f"{letter_of(i)} {directory.resolve().name}", notes)
        for i, directory in enumerate(options.runs)
    ]
    plotted = [run for run in runs if run.unit == runs[0].unit]
    notes += describe_differences(runs)
    judged, images = {}, []
    x = read_images(options, runs[0], session, notes)
    if x is not None:
        judged, images = judge(runs, x)
    columns = {"run": [run.name for run in runs]}
    columns |= settings_that_differ(runs) | results_of(runs) | judged
    header, *rows = map(
        list, zip(*([name, *cells] for name, cells in columns.items()), strict=True)
    )
    comparison = Comparison(runs, header, rows, notes, plotted, images)
    for line in format_table(header, rows):
        session.say(line)
    for note in notes:
        session.say(f"note: {note}")
    with written(options.output, options.force, session) as file:
        write_comparison(file, comparison)
    session.say(f"comparison: {options.output}")


def letter_of(i):
    """Return a short name: A to Z, then numbers."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i] if i < 26 else str(i + 1)


def read_run(directory, name, notes):
    """Read what a run directory says.

    Parameters
    ----------
    directory : pathlib.Path
    name : str
    notes : list of str
        What is missing is added to it.

    Returns
    -------
    ComparedRun

    Raises
    ------
    RunError
        If it holds no run.
    """
    try:
        record = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        versions = record.pop("versions", {})
        kind = record.get("kind", "layer")
        with (directory / "costs.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        costs = [(int(row["epoch"]), float(row["cost"])) for row in rows]
        losses = [
            (int(row["epoch"]), float(row["validation_loss"]))
            for row in rows
            if row.get("validation_loss")
        ]
        seconds = math.fsum(float(row["seconds"]) for row in rows)
    except FileNotFoundError as error:
        raise RunError(
            f"{directory} holds no run: it has no {Path(error.filename).name}"
        ) from error
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{directory} holds no run: its config.json or its costs.csv is damaged"
        ) from error
    if kind != "layer":
        raise RunError(f"{directory} holds a {kind}; expected runs of dae-train")
    try:
        model = load_autoencoder(directory)
    except ModelError as error:
        notes.append(f"{name}: {error}; its filters and reconstructions are left out")
        model = None
    shape = record.get("image_shape")
    if shape is None and model is not None:
        side = math.isqrt(model.n_visible)
        shape = (side, side) if side**2 == model.n_visible else (1, model.n_visible)
    shape = None if shape is None else tuple(shape)
    defaults = {field.name: field.default for field in fields(Config)}
    config = {"cost": "cross-entropy", "standardize": False} | defaults | record
    return ComparedRun(name, directory, config, versions, costs, losses, seconds, model, shape)


def describe_differences(runs):
    """Return what keeps runs from being compared with the first.

    Parameters
    ----------
    runs : list of ComparedRun

    Returns
    -------
    list of str
    """
    first, notes = runs[0], []
    for run in runs[1:]:
        if run.image_shape != first.image_shape:
            shapes = [describe_shape(run.image_shape), describe_shape(first.image_shape)]
            notes.append(
                f"{run.name}: its images are {shapes[0]}, those of {first.name} {shapes[1]}; its "
                "curves and reconstructions are left out"
            )
        elif run.unit != first.unit:
            notes.append(
                f"{run.name}: its cost is not measured as that of {first.name} is; its curves are "
                "left out"
            )
        # The checksum is that of the floats.
        same_floats = run.config["floatX"] == first.config["floatX"]
        what = "data_sha256" if same_floats else "data"
        if run.config[what] != first.config[what]:
            notes.append(
                f"{run.name}: was trained on other data than {first.name}; its costs are those of "
                "other images"
            )
    return notes


def describe_shape(shape):
    """Return the shape of an image as text."""
    return "of unknown shape" if shape is None else "x".join(map(str, shape))


def settings_that_differ(runs):
    """Return the settings and versions that are not the same in all runs.

    Parameters
    ----------
    runs : list of ComparedRun

    Returns
    -------
    dict
        From names to lists of str, a value of each run.
    """
    settings = [
        {name: describe_setting(value) for name, value in run.config.items()}
        | {f"version of {name}": number for name, number in run.versions.items()}
        for run in runs
    ]
    names = dict.fromkeys(name for values in settings for name in values)
    columns = {name: [values.get(name, "–") for values in settings] for name in names}
    return {
        name: column
        for name, column in columns.items()
        if len(set(column)) > 1 and name != "data_sha256"
    }


def results_of(runs):
    """Return how the trainings went.

    Parameters
    ----------
    runs : list of ComparedRun

    Returns
    -------
    dict
        From names to lists of str, a value of each run.
    """
    columns = {
        name: [] for name in ("epochs", "training cost", "validation cost", "best epoch", "time")
    }
    for run in runs:
        best, _ = min(run.losses, key=lambda pair: pair[1], default=("–", None))
        values = [
            str(len(run.costs)),
            describe_cost(run.costs[-1][1]) if run.costs else "–",
            describe_cost(run.losses[-1][1]) if run.losses else "–",
            str(best),
            f"{run.seconds:.0f} s",
        ]
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def read_images(options, first, session, notes):
    """Read images to judge all models by.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.compare.make_parser`.
    first : ComparedRun
        The run whose images are taken, if the options do not say which.
    session : Session
        The console.
    notes : list of str
        If there are no images, it is added why.

    Returns
    -------
    ndarray or None, shape (n_images, n_visible)
        Test, validation or training images: the first of these that there are.

    Raises
    ------
    DataError
        If the images that the options name cannot be read.
    """
    source = first.config["data"] if options.data is None else options.data
    image_settings = {name: first.config[name] for name in IMAGE_SETTINGS}
    bounded = first.config["cost"] == "cross-entropy"
    try:
        dataset = read_for(
            session,
            source,
            first.image_shape,
            options.cache_dir,
            bounded=bounded,
            **image_settings,
        )
    except DataError as error:
        if options.data is not None:
            raise
        notes.append(f"{error}; reconstructions are left out: --data says where images lie")
        return None
    x = next(x for x, _ in (dataset.test, dataset.valid, dataset.train) if len(x))
    return x[:N_JUDGED]


def judge(runs, x):
    """Compute what the models make of the same images, without noise and with the same noise.

    Parameters
    ----------
    runs : list of ComparedRun
        Models of other images than the first run's are left out.
    x : ndarray, shape (n_images, n_visible)
        The images.

    Returns
    -------
    columns : dict
        From names to lists of str: what the reconstructions cost, a value of each run.
    rows : list of (str, ndarray, shape (n_images, n_visible))
        The images and the reconstructions, under their names.
    """
    able = [run for run in runs if run.model is not None and run.model.n_visible == x.shape[1]]
    able = [run for run in able if run.image_shape == runs[0].image_shape]
    if not able:
        return {}, []
    inputs = {"same images": x}
    noisy = next((run for run in able if run.config["corruption_level"]), None)
    if noisy is not None:
        config = noisy.config
        view = compile_view(noisy.model, config["corruption_level"], config["seed"])
        views = view(to_floatX(x, noisy.model.x.dtype))
        inputs["corrupted"] = views.corrupted
    judged, rows = {}, []
    for name, given in inputs.items():
        judged[name] = [None for _ in runs]
        rows.append(("original" if given is x else "corrupted", to_floatX(given, "float64")))
        for i, run in enumerate(runs):
            if run not in able:
                continue
            view = compile_view(run.model, 0, 0)
            z = view(to_floatX(given, run.model.x.dtype)).reconstructed
            rows.append((run.name, z))
            if run.unit == runs[0].unit:
                expected = standardize(run.model, to_floatX(x, z.dtype))
                costs = image_costs(expected, standardize(run.model, z), run.config["cost"])
                judged[name][i] = float(np.mean(costs))
    n_pixels = math.prod(runs[0].image_shape[:2])
    judged["per pixel"] = [cost and cost / n_pixels for cost in judged["same images"]]
    columns = {
        name: ["–" if cost is None else describe_cost(cost) for cost in costs]
        for name, costs in judged.items()
    }
    return columns, rows


def format_table(header, rows):
    """Return a table as lines of text: the first column begins on the left, others end alike.

    Parameters
    ----------
    header : list of str
    rows : list of list of str

    Returns
    -------
    list of str
    """
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in table
    ]
