"""A validation part for data that have none."""

import numpy as np

from dae.datasets._errors import DataError
from dae.datasets._loading import Dataset


def split_validation(dataset: Dataset, fraction: float) -> Dataset:
    """Move a part of the training data to the validation data.

    Images in files, which are sorted by their names and so by their classes, are taken at equal
    distances; the rows of an array from its end.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        The part of the training data to move, in (0, 1).

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If there are validation data already, or too few training data.

    Examples
    --------
    >>> import numpy as np
    >>> from dae.datasets import Dataset
    >>> nothing = np.zeros((0, 4), "uint8"), None
    >>> dataset = Dataset((np.zeros((20, 4), "uint8"), None), nothing, nothing, (2, 2))
    >>> train, valid, *_ = split_validation(dataset, 0.1)
    >>> len(train[0]), len(valid[0])
    (18, 2)
    """
    x, y = dataset.train
    n, n_valid = len(x), round(len(x) * fraction)
    if len(dataset.valid[0]):
        raise DataError(
            f"a validation fraction of {fraction:g} was asked for, but the data have "
            f"{len(dataset.valid[0])} validation images of their own; leave the fraction out"
        )
    if not 0 < n_valid < n:
        raise DataError(
            f"a validation fraction of {fraction:g} of {n} images is {n_valid}; expected a "
            "fraction that leaves images to train on and some to judge by"
        )
    if dataset.names is None:
        parts: tuple = slice(n - n_valid), slice(n - n_valid, n)
    else:
        is_valid = np.zeros(n, bool)
        is_valid[(np.arange(n_valid) * n + n // 2) // n_valid] = True
        parts = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
    train, valid = ((x[part], None if y is None else y[part]) for part in parts)
    names = dataset.names
    if names is not None:
        names = (*(tuple(np.array(names[0], object)[part]) for part in parts), names[2])
    return dataset._replace(train=train, valid=valid, names=names)
