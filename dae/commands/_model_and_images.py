"""What the commands that use a trained model have in common: its images, and their output."""

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from dae._files import atomic_write, naming
from dae.commands._console import StoppedError
from dae.commands._reading import IMAGE_SETTINGS, read_for
from dae.compiler import set_num_threads
from dae.datasets import PARTS, DataError
from dae.training.model_file import load_autoencoder

CHUNK = 960
"""Images between two looks at the console."""


class Images(NamedTuple):
    """The images that a command was given.

    Attributes
    ----------
    parts : list of ndarray or FileRows, shape (n, n_visible)
        All images together; joined they would take memory once more.
    image_shape : tuple of int
        Height and width of an image in pixels, and 3 if it has colours.
    names : ndarray of str, shape (n_images,), or None
        The files of the images.
    labels : ndarray of int, shape (n_images,), or None
    label_names : ndarray of str, or None
        The classes that the labels stand for.
    """

    parts: list
    image_shape: tuple
    names: np.ndarray | None
    labels: np.ndarray | None
    label_names: np.ndarray | None

    @property
    def n_images(self):
        """Number of images."""
        return sum(map(len, self.parts))

    def chunks(self):
        """Read the images, some at a time.

        Yields
        ------
        ndarray, shape (n, n_visible)
            At most `CHUNK` images.
        """
        for x in self.parts:
            for start in range(0, len(x), CHUNK):
                yield np.asarray(x[start : start + CHUNK])

    def first(self, n_images):
        """Return some of the images.

        Parameters
        ----------
        n_images : int
            How many; all, if there are fewer.

        Returns
        -------
        Images
        """
        parts, missing = [], n_images
        for part in self.parts:
            parts.append(part[:missing])
            missing -= len(parts[-1])
        return self._replace(
            parts=parts,
            names=None if self.names is None else self.names[:n_images],
            labels=None if self.labels is None else self.labels[:n_images],
        )

    def known(self):
        """Return what is known of the images, for a file of arrays.

        Returns
        -------
        dict
            From ``labels``, ``label_names`` and ``names``, as far as there are any, to the arrays.
        """
        columns = {"labels": self.labels, "label_names": self.label_names, "names": self.names}
        return {name: column for name, column in columns.items() if column is not None}


def load_model_and_images(options, session):
    """Read what a command is to work with.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands._arguments.add_model_and_data`.
    session : Session
        The console.

    Returns
    -------
    model : Autoencoder
    images : Images
        They fit the model.
    """
    set_num_threads(options.threads)
    model = load_autoencoder(options.run)
    given = {**model.about, **vars(options)}
    image_settings = {name: given[name] for name in IMAGE_SETTINGS if name in given}
    dataset = read_for(
        session,
        options.data,
        model.about.get("image_shape"),
        options.cache_dir,
        resize=options.resize,
        lazy=True,
        bounded=model.cost == "cross-entropy",
        **image_settings,
    )
    n_visible = dataset.train[0].shape[1]
    if n_visible != model.n_visible:
        raise DataError(
            f"{options.data}: images of {n_visible} values; the model in {options.run} expects "
            f"{model.n_visible}"
        )
    chosen = [i for i, part in enumerate(PARTS) if options.part in (part, "all")]
    xs, ys = zip(*(dataset[i] for i in chosen), strict=True)
    if not any(map(len, xs)):
        raise DataError(f"{options.data} has no {options.part} images; see --part")
    names, label_names = dataset.names, dataset.label_names
    images = Images(
        parts=list(xs),
        image_shape=dataset.image_shape,
        names=None if names is None else np.array([name for i in chosen for name in names[i]]),
        labels=None if any(y is None for y in ys) else np.concatenate(ys),
        label_names=None if label_names is None else np.array(label_names),
    )
    session.say(
        f"{type(model).__name__} with {model.n_visible} visible and {model.n_hidden} hidden units, "
        f"{model.x.dtype}: {options.run}"
    )
    sides = "x".join(map(str, images.image_shape))
    session.say(f"{options.data}: {images.n_images} images of {sides}")
    return model, images


def compute(method, images, session):
    """Apply a method of a model to some of the images at a time.

    Parameters
    ----------
    method : callable
        Called with an array of images and its number, from 0.
    images : Images
    session : Session
        The console; it shows a bar, and may have been told to stop.

    Yields
    ------
    ndarray
        What the method returned.
    """
    n_done = 0
    with session.bar(total=images.n_images, unit="image") as show:
        for i, chunk in enumerate(images.chunks()):
            yield method(chunk, i)
            n_done += len(chunk)
            show("", n_done, images.n_images)
            if session.stopped:
                raise session.stopped


def check_output(path, force):
    """Refuse a file that cannot be written, before there is anything to write.

    Parameters
    ----------
    path : pathlib.Path
    force : bool
        Whether it may replace a file.

    Raises
    ------
    StoppedError
    """
    folder = path.parent
    if os.path.lexists(path) and not (force and path.is_file()):
        remedy = ", or --force to replace it" if path.is_file() else ""
        raise StoppedError(2, f"{path} exists; give another name{remedy}")
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise StoppedError(2, f"cannot write {path}: {folder} is not a directory, or read-only")


@contextmanager
def written(path, force, session):
    """Write a file that appears whole or not at all, and not if the command is stopped.

    Parameters
    ----------
    path : pathlib.Path
    force : bool
        Whether it may replace a file, even one that appears meanwhile.
    session : Session
        The console, which waits with stopping.

    Yields
    ------
    binary file
        To write to.
    """
    session.advice = "; nothing was written"
    with session.stops_waiting(), atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            yield file
        if session.stopped:
            raise session.stopped
        check_output(path, force)
    session.advice = ""


def check_output_folder(folder):
    """Refuse a folder that cannot be written, before there is anything to write.

    Parameters
    ----------
    folder : pathlib.Path

    Raises
    ------
    StoppedError
    """
    if not os.path.lexists(folder):
        check_output(folder, force=False)
    elif not folder.is_dir() or os.listdir(folder):
        raise StoppedError(2, f"{folder} exists and is not an empty folder; give another name")


@contextmanager
def written_folder(folder, session):
    """Write a folder that appears whole or not at all, and not if the command is stopped.

    Parameters
    ----------
    folder : pathlib.Path
        It does not exist, or is empty.
    session : Session
        The console, which waits with stopping.

    Yields
    ------
    pathlib.Path
        An empty folder to write to.
    """
    session.advice = "; nothing was written"
    temporary = folder.with_name(f"unfinished-{secrets.token_hex(8)}-{folder.name}")
    with session.stops_waiting(), naming(folder):
        try:
            temporary.mkdir()
            yield temporary
            if session.stopped:
                raise session.stopped
            os.sync()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    session.advice = ""
