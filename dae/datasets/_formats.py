"""IDX, npy and npz files, read with suspicion.

A header's word about sizes is compared with the bytes there can be, and with the memory there is,
before memory is taken; what follows after the declared data is never unpacked. Whatever is wrong
with a file, it ends as a `DataError` that names the file and the fault.
"""

import gzip
import math
import os
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np

from dae.datasets._memory import available_memory

MAX_GROWTH = 1032  # bytes that one byte can unpack to: deflate has no shorter code

# A line does not declare its length. One that unpacks to more than RATIO times the size of the
# whole file, and GRACE bytes, is taken for a bomb; a MNIST written so does not grow half as much.
RATIO = 100
GRACE = 64 * 2**20  # bytes

BLOCK = 2**20  # bytes; what is unpacked at a time
MAX_SIDE = 2**20  # pixels; beyond it a header is damaged, not an image large
MAX_NPY_HEADER = 1_000  # bytes; NumPy's own for an array of numbers have about 120

NUMPYS_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

CODE_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)

GZIP_DAMAGE = (OSError, EOFError, zlib.error)
# RuntimeError: encrypted; ValueError: names, offsets.
ZIP_DAMAGE = (*GZIP_DAMAGE, RuntimeError, ValueError, struct.error, zipfile.BadZipFile)

NPY_HEADER = re.compile(
    rb"""\s*+\{\s*+(?:(?:
        'descr'\s*+:\s*+'(?P<dtype>[^']*+)'
        | 'fortran_order'\s*+:\s*+(?P<fortran>True|False)
        | 'shape'\s*+:\s*+\((?P<shape>[\d,\s]*+)\)
    )\s*+,?+\s*+){3}\}\s*+""",
    re.VERBOSE,
)


class DataError(ValueError):
    """The one exception for anything wrong with a data set.

    Its message is one line that names the file, the fault and, where there is one, the remedy.
    """


@contextmanager
def faults_of(name, exceptions):
    """Turn `exceptions`, as what is called `name` makes others raise them, into a `DataError`.

    Warnings about code, which Python can be told to raise as well, are no fault of the data.
    """
    try:
        yield
    except (DataError, *CODE_WARNINGS):
        raise
    except exceptions as error:
        raise DataError(f"{name}: {one_line(error)}") from error


def one_line(error):
    """Return what an exception says, printable, short and on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = "".join(c if c.isprintable() else " " for c in text or type(error).__name__)
    return " ".join(text.split())[:200]


def check_memory(name, size):
    """Refuse what would take `size` bytes of memory, if there are fewer."""
    available = available_memory()
    if size > available:
        raise DataError(
            f"{name}: would take {size / 1e6:,.0f} MB of memory, and {available / 1e6:,.0f} MB are "
            "free; expected fewer images, or more memory"
        )


class Stream:
    """The bytes of one file, read forwards, never more of them than its size allows.

    Parameters
    ----------
    file : binary file object
    name : str or Path
        What messages call the file.
    limit : int
        The most bytes that may be read, all told.
    longest_line : int
        The most bytes of a line.
    """

    def __init__(self, file, name, limit, longest_line=0):
        self._file = file
        self._name = name
        self._left = limit
        self._longest_line = longest_line

    def fault(self, text):
        """Return the `DataError` that says `text` about this file."""
        return DataError(f"{self._name}: {text}")

    def read(self, size):
        """Read exactly `size` bytes; the memory taken grows with the bytes that arrive."""
        self._left -= size
        if self._left < 0:
            raise self.fault("declares more data than a file of its size can hold; truncated?")
        if size > BLOCK:
            check_memory(self._name, size)
        data = bytearray()
        while len(data) < size:
            block = self._file.read(min(BLOCK, size - len(data)))
            if not block:
                raise self.fault("truncated: it ends before the data that it declares")
            data += block
        return data

    def read_line(self):
        """Read a line, without its newline."""
        line = self._file.readline(min(self._longest_line, self._left) + 1)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise self.fault("truncated, or a line in it is too long")
        return line[:-1]

    def read_array(self, dtype, shape, order="C"):
        """Read the values of an array whose dtype and shape the file has declared."""
        dtype = self.checked_dtype(dtype)
        data = self.read(self.checked_count(shape) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape, order=order)

    def checked_dtype(self, text):
        """Return the dtype that `text` names, if images or labels can have it."""
        if not re.fullmatch(r"[<>=|]?([iu][1248]|f[248])", text):
            raise self.fault(f"holds values of type {text[:20]!r}; expected bytes or floats")
        return np.dtype(text)

    def checked_count(self, shape):
        """Return how many values an array of `shape` has, if images or labels can have it."""
        possible = len(shape) in (1, 2, 3) and shape[0] >= 0
        if not possible or not all(1 <= side <= MAX_SIDE for side in shape[1:]):
            raise self.fault(
                f"declares an array of shape {str(tuple(shape))[:80]}; expected (images, pixels), "
                "(images, height, width) or, for labels, (images,)"
            )
        return math.prod(shape)

    def finish(self):
        """Make sure that nothing follows; the checksum of a packed file is compared here too."""
        if self._file.read(1):
            raise self.fault("bytes are left over after the data that it declares")


@contextmanager
def open_stream(path):
    """Open a file as a `Stream`; one that starts as gzip files do is unpacked."""
    with faults_of(path, GZIP_DAMAGE), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield Stream(unpacked, path, MAX_GROWTH * size, GRACE + RATIO * size)
        else:
            yield Stream(file, path, size, size)


def read_idx(path):
    """Read an IDX file of bytes, plain or gzipped: images (n, height, width) or labels (n,)."""
    with open_stream(path) as stream:
        magic, n_dimensions = stream.read(3), stream.read(1)[0]
        if magic != b"\0\0\x08" or n_dimensions not in (1, 3):
            raise stream.fault("not an IDX file of byte images or labels")
        shape = struct.unpack(f">{n_dimensions}I", stream.read(4 * n_dimensions))
        array = stream.read_array("u1", shape)
        stream.finish()
    return array


def read_npy(path):
    """Read an npy file of numbers."""
    with open_stream(path) as stream:
        return _read_npy(stream)


def _read_npy(stream):
    magic, major = stream.read(6), stream.read(2)[0]
    if magic != b"\x93NUMPY" or major not in (1, 2, 3):
        raise stream.fault("not an npy file of version 1, 2 or 3")
    header_size = int.from_bytes(stream.read(2 if major == 1 else 4), "little")
    # NumPy's own evaluates the header as a Python literal; a pattern has less to go wrong.
    header = header_size <= MAX_NPY_HEADER and NPY_HEADER.fullmatch(stream.read(header_size))
    if not header or None in header.groups():
        raise stream.fault("its npy header is not that of an array of numbers")
    dtype, fortran, shape = (group.decode("latin-1") for group in header.groups())
    shape = [int(side) for side in re.findall(r"\d+", shape)]
    array = stream.read_array(dtype, shape, "F" if fortran == "True" else "C")
    stream.finish()
    return array


def read_npz(path):
    """Read an npz file of numbers as a dictionary from names to arrays."""
    with faults_of(path, ZIP_DAMAGE), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_archive(file, members, path)
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as unpacked:
                stream = Stream(unpacked, f"{path}, {name[:40]!r}", member.file_size)
                arrays[name] = _read_npy(stream)
    return arrays


def _check_archive(file, members, path):
    """Refuse what zipfile puts up with: too much of anything, and arrays that damage hides."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 22)
    end_record = file.read()
    n_members = int.from_bytes(end_record[10:12], "little")
    if not end_record.startswith(b"PK\5\6") or n_members != len(members):
        raise DataError(f"{path}: its directory is damaged, or bytes follow the archive")
    if len({member.filename.removesuffix(".npy") for member in members}) != n_members:
        raise DataError(f"{path}: holds two arrays of the same name")
    if min((member.header_offset for member in members), default=0) != 0:
        raise DataError(f"{path}: bytes precede the archive")
    if any(member.compress_type not in NUMPYS_METHODS for member in members):
        raise DataError(f"{path}: packed by a method that NumPy does not use")
    check_memory(path, sum(member.file_size for member in members))
