"""How a command reads a data set: with a bar, and with warnings of one line."""

import re
import warnings

from dae.datasets import DataError, DataWarning, read_data

IMAGE_SETTINGS = ("color", "crop", "autocontrast", "background", "skip_bad_images")
"""The settings of `Config` that say how `read_data` reads images in files."""


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
