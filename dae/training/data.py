"""The data of a training: what `fit` makes of what it is given, and what it computes from them."""

import hashlib
import os

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable

from dae.datasets import FileRows, read_data, to_floatX
from dae.training._minibatches import rows_in_window


def to_pair(data, name, floatX):
    """Return data as rows and labels.

    Parameters
    ----------
    data : array_like, shared variable or FileRows, or pair of it and labels, or str or path-like
        See `fit`.
    name : str
        What messages call them.
    floatX : {'float64', 'float32'}
        What is not bytes is converted to it, but for the value of a shared variable.

    Returns
    -------
    x : ndarray or FileRows, shape (n, n_visible)
        Bytes or floats.
    y : ndarray of int32, shape (n,), or None
        The labels, if there are any.

    Raises
    ------
    ValueError
        If `x` is no matrix, or empty.
    DataError
        If a data set cannot be read.
    """
    if isinstance(data, str | os.PathLike):
        data = read_data(data, lazy=True).train
    x, y = data if isinstance(data, tuple) else (data, None)
    if isinstance(x, SharedVariable):
        x = x.get_value(borrow=True)
    elif isinstance(x, FileRows):
        x = x if x.dtype == np.uint8 else x.astype(floatX)
    else:
        x = np.asarray(x)
        x = np.ascontiguousarray(x, np.uint8 if x.dtype == np.uint8 else floatX)
    if isinstance(y, SharedVariable):
        y = y.get_value(borrow=True)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} has the shape {x.shape}; expected (n_train, n_visible)")
    return x, None if y is None else np.ascontiguousarray(y, np.int32)


def select_for(model, pair, name, floatX):
    """Return what a model learns from: the rows, and the labels if it has a `y`.

    Parameters
    ----------
    model : object
        See `fit`.
    pair : (ndarray or FileRows, ndarray or None)
        What `to_pair` returned.
    name : str
        What messages call the data.
    floatX : {'float64', 'float32'}
        The dtype that a step makes of bytes.

    Returns
    -------
    x : ndarray or FileRows, shape (n, n_visible)
    y : ndarray of int32, shape (n,), or None

    Raises
    ------
    ValueError
        If `x` is not of the dtype of the model's `x`, or there are not as many labels as rows.
    """
    x, y = pair
    dtype = floatX if x.dtype == np.uint8 else x.dtype
    if model.x.dtype != dtype:
        raise ValueError(
            f"{name} is {dtype}, floatX {floatX}, and the model's x {model.x.dtype}; expected the "
            "same"
        )
    if not hasattr(model, "y"):
        return x, None
    if y is None:
        raise ValueError(f"{name} has no labels, and the model learns from them; expected (x, y)")
    if len(x) != len(y):
        raise ValueError(f"{name} has {len(x)} rows and {len(y)} labels; expected as many")
    return x, y


def mean_and_scale(x, floatX):
    """Return what standardizes pixels.

    Parameters
    ----------
    x : ndarray or FileRows, shape (n, n_visible)
        The training data: bytes, which are divided by 256, or floats.
    floatX : {'float64', 'float32'}

    Returns
    -------
    mean, scale : ndarray of floatX, shape (n_visible,)
        Mean and standard deviation of each pixel, of the latter 1 where it is 0.
    """
    n, total, squares = 0, 0.0, 0.0
    for block in _blocks(x):
        block = to_floatX(block, "float64")
        # Chan, Golub and LeVeque, 1979: the squares stay those of deviations from the mean.
        mean = block.mean(axis=0)
        squares = squares + ((block - mean) ** 2).sum(axis=0)
        if n:
            squares += (total / n - mean) ** 2 * (n * len(block) / (n + len(block)))
        n, total = n + len(block), total + block.sum(axis=0)
    scale = np.sqrt(squares / n)
    return (total / n).astype(floatX), np.where(scale == 0, 1, scale).astype(floatX)


def read_through(train_set, valid_set, floatX, progress=None):
    """Read all data, which checks what is in files, and return their checksum.

    Parameters
    ----------
    train_set : (ndarray or FileRows, ndarray or None)
        The training data: rows and labels.
    valid_set : (ndarray or FileRows, ndarray or None) or None
        The validation data.
    floatX : {'float64', 'float32'}
    progress : callable, optional
        See `fit`.

    Returns
    -------
    str
        The SHA-256 of the training data, with their rows as floatX, in hexadecimal.

    Raises
    ------
    DataError
        If floats in a file are not in [0, 1].
    OSError
        If a file cannot be read, or is changed meanwhile.
    """
    x, y = train_set
    digest = hashlib.sha256()
    for block in _blocks(x, "training data", progress):
        digest.update(to_floatX(block, floatX))
    if y is not None:
        digest.update(y)
    if valid_set is not None:
        for _ in _blocks(valid_set[0], "validation data", progress):
            pass
    return digest.hexdigest()


def _blocks(x, name="", progress=None):
    """Yield the rows of data, some at a time, and report how far that has got."""
    n_rows = rows_in_window(x)
    for start in range(0, len(x), n_rows):
        yield np.asarray(x[start : start + n_rows])
        if progress is not None:
            done = min(start + n_rows, len(x))
            progress(name, x.nbytes * done // len(x), x.nbytes)
