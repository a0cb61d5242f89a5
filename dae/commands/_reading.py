"""How a command reads a data set: with a bar, and with warnings of one line."""

import re
import warnings

from dae.datasets import DataError, DataWarning, read_data, split_validation

IMAGE_SETTINGS = ("color", "crop", "autocontrast", "background", "skip_bad_images")
"""The settings that say how `read_data` reads images in files."""


def read_for(session, source, image_shape=None, cache_dir=None, **options):
    """Read a data set for a command.

    Parameters
    ----------
    session : Session
        The console.
    source, image_shape, cache_dir, **options
        See `dae.datasets.read_data`.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If anything is wrong with the data.
    """
    messages = []
    show_others = warnings.showwarning

    def show(message, category, *where):
        if issubclass(category, DataWarning):
            messages.append(message)
        else:
            show_others(message, category, *where)

    unit = "B" if source == "mnist" else "image"
    try:
        with (
            warnings.catch_warnings(),
            session.bar(unit=unit, unit_scale=True, delay=0.1, leave=False) as progress,
        ):
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = show
            return read_data(source, image_shape, cache_dir, progress, **options)
    except DataError as error:
        raise DataError(re.sub(r"the option (\w+)", name_option, str(error))) from error
    finally:
        for message in messages:  # not before the bar is gone
            session.complain(message)


def name_option(match):
    """Return the name that an option of `read_data` has on a command line."""
    return f"the option --{match[1].replace('_', '-')}"


def read_for_training(session, settings, cache_dir, is_bounded):
    """Read the data set that settings name, and split it as they say.

    Parameters
    ----------
    session : Session
        The console.
    settings : Settings
    cache_dir : str or None
        See `dae.datasets.read_data`.
    is_bounded : bool
        Whether values are to be in [0, 1].

    Returns
    -------
    Dataset
        Data of an ``.npy`` file stay in it.

    Raises
    ------
    DataError
        If anything is wrong with the data.
    """
    dataset = read_for(
        session,
        settings.data,
        settings.image_shape,
        cache_dir,
        lazy=True,
        bounded=is_bounded,
        **{name: getattr(settings, name) for name in IMAGE_SETTINGS},
    )
    if settings.validation_fraction is not None:
        dataset = split_validation(dataset, settings.validation_fraction)
    return dataset


def check_batch_size(batch_size, images, part, source):
    """Refuse minibatches that are larger than a part of the data.

    Parameters
    ----------
    batch_size : int
    images : ndarray or FileRows, shape (n, n_visible)
        The part.
    part : {'training', 'validation', 'test'}
        Its name.
    source : str
        What the user calls the data set.

    Raises
    ------
    DataError
    """
    n = len(images)
    if batch_size > n:
        raise DataError(
            f"--batch-size is {batch_size}, but {source} has {n} {part} images; expected {n} at "
            "the most"
        )
