"""`DataError`, what turns other exceptions into it, and `DataWarning`."""

from contextlib import contextmanager

CODE_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)


class DataError(ValueError):
    """The one exception for anything wrong with a data set.

    Its message is one line that names the file, what is wrong and, where there is one, the remedy.

    Examples
    --------
    >>> import dae
    >>> dae.load_data("digits.txt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    dae.datasets._errors.DataError: digits.txt: no such file or folder; expected mini-mnist, ...
    """


class DataWarning(UserWarning):
    """What is read of a data set may not be what its owner expects; the message is one line.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from dae.datasets import read_data
    >>> np.save("dark.npy", np.zeros((9, 4), "uint8"))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     dataset = read_data("dark.npy")
    >>> print(caught[0].message)  # doctest: +ELLIPSIS
    dark.npy: its pixels hardly vary (values from 0 to 0 of 255); expected bytes to 255, ...
    """


@contextmanager
def as_data_error(name, exceptions):
    """Raise exceptions of the given types as a `DataError`.

    Warnings about code, which Python can be told to raise as well, pass: they are not about the
    data.

    Parameters
    ----------
    name : str or path-like
        What the message says first, such as the path of the file.
    exceptions : type or tuple of type

    Raises
    ------
    DataError
        If the body of the ``with`` statement raises one of them.
    """
    try:
        yield
    except (DataError, *CODE_WARNINGS):
        raise
    except exceptions as error:
        raise DataError(f"{name}: {one_line(error)}") from error


def one_line(error):
    """Return the message of an exception, printable, on one line and cut to 200 characters.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    str
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = "".join(c if c.isprintable() else " " for c in text or type(error).__name__)
    return " ".join(text.split())[:200]
