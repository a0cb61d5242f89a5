"""Bytes of files that nobody vouches for, read within bounds.

What a header says about sizes is compared with the bytes there can be, and with the memory there
is, before memory is taken; what follows after the declared data is never unpacked.
"""

import gzip
import math
import os
import re
import zlib
from contextlib import contextmanager

import numpy as np

from dae.datasets._errors import DataError, as_data_error
from dae.datasets._memory import check_memory
from dae.datasets._rows import FileRows, stamp_of

MAX_GROWTH = 1032  # bytes that one byte can unpack to: deflate has no shorter code

# A line does not declare its length. One that unpacks to more than RATIO times the size of the
# whole file, and GRACE bytes, is taken for a bomb; a MNIST written so does not grow half as much.
RATIO = 100
GRACE = 64 * 2**20  # bytes

BLOCK = 2**20  # bytes; what is read at a time
CHANNELS = (), (1,), (3,)  # of images; grey ones may say so or not
MAX_SIDE = 2**20  # pixels; beyond it a header is damaged, not an image large

GZIP_ERRORS = (OSError, EOFError, zlib.error)


class BoundedReader:
    """The bytes of one file, read forwards, never more of them than its size allows.

    Parameters
    ----------
    file : binary file object
    name : str or path-like
        The name of the file in messages.
    limit : int
        The largest number of bytes that may be read in all.
    longest_line : int, default=0
        The largest number of bytes in a line.
    is_packed : bool, default=True
        Whether the bytes in the file are others than those that are read from it.
    """

    def __init__(self, file, name, limit, longest_line=0, is_packed=True):
        self.is_packed = is_packed
        self._file = file
        self._name = name
        self._left = limit
        self._longest_line = longest_line

    def error(self, message):
        """Return a `DataError` about this file.

        Parameters
        ----------
        message : str

        Returns
        -------
        DataError
            To be raised by the caller.
        """
        return DataError(f"{self._name}: {message}")

    def read(self, size):
        """Read exactly so many bytes; the memory taken grows with the bytes that arrive.

        Parameters
        ----------
        size : int

        Returns
        -------
        bytearray

        Raises
        ------
        DataError
            If the file or the memory has fewer.
        """
        self._count(size)
        if size > BLOCK:
            check_memory(self._name, size)
        data = bytearray()
        while len(data) < size:
            block = self._file.read(min(BLOCK, size - len(data)))
            if not block:
                raise self.error("truncated: it ends before the data that it declares")
            data += block
        return data

    def _count(self, size):
        """Count bytes that the file declares; raise a `DataError` if it cannot have so many."""
        self._left -= size
        if self._left < 0:
            raise self.error("declares more data than a file of its size can hold; truncated?")

    def read_line(self):
        """Read a line.

        Returns
        -------
        bytes
            Without the newline.

        Raises
        ------
        DataError
            If the line does not end, or is longer than `longest_line`.
        """
        line = self._file.readline(min(self._longest_line, self._left) + 1)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise self.error("truncated, or a line in it is too long")
        return line[:-1]

    def read_array(self, dtype, shape, order="C"):
        """Read the values of an array.

        Parameters
        ----------
        dtype : str
            As the file declares it, see `check_dtype`.
        shape : sequence of int
            As the file declares it, see `check_shape`.
        order : {'C', 'F'}, default='C'
            Whether the last or the first index changes fastest.

        Returns
        -------
        ndarray

        Raises
        ------
        DataError
            If images or labels cannot have the dtype or the shape, or the file ends too early.
        """
        dtype = self.check_dtype(dtype)
        data = self.read(self.check_shape(shape) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape, order=order)

    def skip_array(self, dtype, shape):
        """Return the rows of an array in a file that is not packed, without reading them.

        Parameters
        ----------
        dtype : str
            As the file declares it, see `check_dtype`.
        shape : sequence of int
            As the file declares it, see `check_shape`.

        Returns
        -------
        FileRows

        Raises
        ------
        DataError
            If images or labels cannot have the dtype or the shape, or the file ends too early.
        """
        dtype = self.check_dtype(dtype)
        size = self.check_shape(shape) * dtype.itemsize
        self._count(size)
        rows = FileRows(
            path=self._name,
            offset=self._file.tell(),
            stored=dtype,
            dtype=dtype.newbyteorder("="),
            shape=tuple(shape),
            stamp=stamp_of(self._file),
        )
        self._file.seek(size, os.SEEK_CUR)
        return rows

    def check_dtype(self, dtype):
        """Return a dtype that a file declares, if images or labels can have it.

        Parameters
        ----------
        dtype : str
            In NumPy's notation, such as ``"<f4"``.

        Returns
        -------
        numpy.dtype

        Raises
        ------
        DataError
            If it is not one of integers or floats.
        """
        if not re.fullmatch(r"[<>=|]?([iu][1248]|f[248])", dtype):
            raise self.error(f"holds values of type {dtype[:20]!r}; expected bytes or floats")
        return np.dtype(dtype)

    def check_shape(self, shape):
        """Return the number of values in an array that a file declares.

        Parameters
        ----------
        shape : sequence of int

        Returns
        -------
        int

        Raises
        ------
        DataError
            If images or labels cannot have this shape.
        """
        possible = len(shape) in (1, 2, 3, 4) and shape[0] >= 0 and tuple(shape[3:]) in CHANNELS
        if not possible or not all(1 <= side <= MAX_SIDE for side in shape[1:]):
            raise self.error(
                f"declares an array of shape {str(tuple(shape))[:80]}; expected (images, pixels), "
                "(images, height, width), (images, height, width, 3) or, for labels, (images,)"
            )
        return math.prod(shape)

    def check_end(self):
        """Check that the file ends here; of a packed file this compares the checksum, too.

        Raises
        ------
        DataError
            If bytes follow.
        """
        if self._file.read(1):
            raise self.error("bytes are left over after the data that it declares")


@contextmanager
def open_reader(path):
    """Open a file to read from; one that starts as gzip files do is unpacked.

    Parameters
    ----------
    path : Path

    Yields
    ------
    BoundedReader

    Raises
    ------
    DataError
        If the file cannot be read or is damaged.
    """
    with as_data_error(path, GZIP_ERRORS), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield BoundedReader(unpacked, path, MAX_GROWTH * size, GRACE + RATIO * size)
        else:
            yield BoundedReader(file, path, size, size, is_packed=False)
