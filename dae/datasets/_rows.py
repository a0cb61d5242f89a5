"""The rows of an array that stay in their file until they are used."""

import errno
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dae._files import naming
from dae.datasets._errors import DataError
from dae.datasets._memory import check_memory

BLOCK = 2**20  # bytes; before more are read, the memory that is free is looked at


@dataclass(frozen=True, eq=False)
class FileRows:
    """The rows of an array in a file, read whenever they are used.

    Of ``rows[start:stop]``, which are such rows again, nothing is read yet. What is read is
    ``rows[indices]``, an array of the rows that an integer vector names, and ``np.asarray(rows)``,
    an array of all of them. It is checked, too.

    The file is not mapped into memory, since a process dies by SIGBUS where a mapped file is cut
    off. Here this is an error like any other change of the file after `FileRows` was made.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where in it the first row begins, in bytes.
    stored : numpy.dtype
        The dtype in the file, in any byte order: uint8 or float.
    dtype : numpy.dtype
        The dtype of the arrays that are read.
    shape : tuple of int
        The number of rows, and the sides of one.
    stamp : tuple
        `stamp_of` the file, when its header was read.
    bounded : bool, default=True
        Whether floats must be in [0, 1]: see `check_pixels`.

    Examples
    --------
    >>> from dae.datasets import read_data
    >>> np.save("images.npy", np.arange(4000).astype("uint8").reshape(1000, 4))
    >>> rows = read_data("images.npy", lazy=True).train[0]
    >>> len(rows), len(rows[:20])  # nothing is read yet
    (1000, 20)
    >>> rows[[0, 999]]
    array([[  0,   1,   2,   3],
           [156, 157, 158, 159]], dtype=uint8)
    """

    path: Path
    offset: int
    stored: np.dtype
    dtype: np.dtype
    shape: tuple
    stamp: tuple
    bounded: bool = True

    @property
    def ndim(self):
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self):
        """The number of bytes in the file."""
        return len(self) * self._row_size

    @property
    def _row_size(self):
        return math.prod(self.shape[1:]) * self.stored.itemsize

    def __len__(self):
        """Return the number of rows."""
        return self.shape[0]

    def reshape(self, *shape):
        """Return the same rows with other sides.

        Parameters
        ----------
        *shape : int
            The number of rows, which stays, and the sides of one.

        Returns
        -------
        FileRows
        """
        return replace(self, shape=shape)

    def astype(self, dtype, copy=False):
        """Return the same rows, to be read as another dtype.

        Parameters
        ----------
        dtype : str or numpy.dtype
        copy : bool, optional
            Without effect: nothing is read.

        Returns
        -------
        FileRows
        """
        return replace(self, dtype=np.dtype(dtype))

    def __getitem__(self, index):
        """Return the rows of a slice, still in the file, or an array of those with these indices.

        Parameters
        ----------
        index : slice or array_like of int, shape (n,)
            A slice, of which the rows are read if it has a step, or numbers of rows, from 0.

        Returns
        -------
        FileRows or ndarray

        Raises
        ------
        IndexError
            If it is neither, or there are no such rows.
        DataError, OSError
            As when all rows are read: see `__array__`.
        """
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                offset = self.offset + start * self._row_size
                return replace(self, offset=offset, shape=(max(0, stop - start), *self.shape[1:]))
            index = np.arange(start, stop, step)
        indices = np.asarray(index)
        if isinstance(index, tuple) or indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise IndexError(f"{index!r}: expected a slice, or a vector of integers")
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"there are {len(self)} rows; expected indices from 0, and below that")
        content = self._room(len(indices))
        places = [self.offset + row * self._row_size for row in indices.tolist()]
        with self._opened() as file:
            for place in places:  # the disk can look for all of them at once
                _read_ahead(file, place, self._row_size)
            for place, row in zip(places, content, strict=True):
                self._fill(row, file, place)
        return self._as_rows(content)

    def __array__(self, dtype=None, copy=None):
        """Read all rows.

        Parameters
        ----------
        dtype : numpy.dtype, optional
            By default `self.dtype`.
        copy : bool, optional
            Whatever it is, the array is a new one.

        Returns
        -------
        ndarray

        Raises
        ------
        DataError
            If floats are not in [0, 1], or there is too little memory.
        OSError
            If the file cannot be read, or has changed.
        """
        content = self._room(len(self))
        with self._opened() as file:
            self._fill(content.reshape(-1), file, self.offset)
            # Whoever walks through the file reads as much again.
            _read_ahead(file, self.offset + self.nbytes, self.nbytes)
        x = self._as_rows(content)
        return x if dtype is None else x.astype(dtype, copy=False)

    def _room(self, n_rows):
        """Return an array for the bytes of rows, if there is the memory for it."""
        size = n_rows * self._row_size
        if size > BLOCK:
            check_memory(self.path, size)
        return np.empty((n_rows, self._row_size), np.uint8)

    @contextmanager
    def _opened(self):
        """Open the file to read from; raise an OSError if it is not what it was, then or after."""
        with naming(self.path), self.path.open("rb", buffering=0) as file:
            yield file
            if stamp_of(file) != self.stamp:
                raise self._change()

    def _fill(self, content, file, place):
        """Fill a vector with the bytes from a place of the file on."""
        file.seek(place)
        while content.size:  # a system reads 2 GB at the most
            n_read = file.readinto(content)
            if n_read == 0:
                raise self._change()
            content = content[n_read:]

    def _change(self):
        return OSError(errno.EIO, "cut off or changed while it is in use")

    def _as_rows(self, content):
        """Return what bytes mean, and check it."""
        x = content.view(self.stored).reshape(len(content), *self.shape[1:])
        check_pixels(x, self.path, self.bounded)
        return x.astype(self.dtype, copy=False)


def check_pixels(x, name, bounded=True):
    """Check that pixels are bytes, or floats in [0, 1].

    Parameters
    ----------
    x : ndarray
    name : str or path-like
        What the message says first.
    bounded : bool, default=True
        Whether floats must be in [0, 1]; otherwise they may be any but infinity and NaN.

    Raises
    ------
    DataError
        If they are not.
    """
    if x.dtype == np.uint8:
        return
    largest = 1 if bounded else np.finfo(np.float32).max
    smallest = 0 if bounded else -largest
    with np.errstate(invalid="ignore"):
        # False for NaN, too.
        in_range = x.min(initial=0) >= smallest and x.max(initial=0) <= largest
    if x.dtype.kind != "f" or not in_range:
        raise DataError(
            f"{name}: images must be bytes (uint8), or floats in [0, 1]"
            if bounded
            else f"{name}: images must be bytes (uint8), or finite floats"
        )


def stamp_of(file):
    """Return what tells an open file from another one, and from itself after a change.

    Parameters
    ----------
    file : file object

    Returns
    -------
    tuple of int
    """
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_ahead(file, place, size):
    """Tell the system what will be read soon, so that the disk need not wait for the question."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), place, size, os.POSIX_FADV_WILLNEED)
