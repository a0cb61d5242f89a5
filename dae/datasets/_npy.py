"""NumPy's own formats: npy, one array, and npz, a zip archive of them."""

import os
import re
import struct
import zipfile

from dae.datasets._errors import DataError, as_data_error
from dae.datasets._memory import check_memory
from dae.datasets._reader import GZIP_ERRORS, BoundedReader, open_reader

MAX_HEADER_SIZE = 1_000  # bytes; NumPy's own for an array of numbers have about 120

HEADER = re.compile(
    rb"""\s*+\{\s*+(?:(?:
        'descr'\s*+:\s*+'(?P<dtype>[^']*+)'
        | 'fortran_order'\s*+:\s*+(?P<fortran>True|False)
        | 'shape'\s*+:\s*+\((?P<shape>[\d,\s]*+)\)
    )\s*+,?+\s*+){3}\}\s*+""",
    re.VERBOSE,
)

NUMPYS_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# RuntimeError: encrypted; ValueError: names, offsets.
ZIP_ERRORS = (*GZIP_ERRORS, RuntimeError, ValueError, struct.error, zipfile.BadZipFile)


def read_npy(path, lazy=False):
    """Read an npy file of numbers, plain or gzipped.

    Parameters
    ----------
    path : Path
    lazy : bool, default=False
        Whether to leave the array in the file, if it is plain, and rows are what lies together.

    Returns
    -------
    ndarray or FileRows
        Of the shape and dtype in the file.

    Raises
    ------
    DataError
        If the file is damaged, or is not an npy file of images or labels.
    """
    with open_reader(path) as reader:
        return _read_npy(reader, lazy)


def read_npz(path):
    """Read an npz file of numbers.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict from str to ndarray
        The arrays by name, of the shapes and dtypes in the file.

    Raises
    ------
    DataError
        If the file is damaged, or has something in it that is not images or labels.
    """
    with as_data_error(path, ZIP_ERRORS), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_archive(file, members, path)
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as unpacked:
                reader = BoundedReader(unpacked, f"{path}, {name[:40]!r}", member.file_size)
                arrays[name] = _read_npy(reader)
    return arrays


def _read_npy(reader, lazy=False):
    magic, major = reader.read(6), reader.read(2)[0]
    if magic != b"\x93NUMPY" or major not in (1, 2, 3):
        raise reader.error("not an npy file of version 1, 2 or 3")
    header_size = int.from_bytes(reader.read(2 if major == 1 else 4), "little")
    # NumPy's own reader evaluates the header as a Python literal; a pattern has less to go wrong.
    header = header_size <= MAX_HEADER_SIZE and HEADER.fullmatch(reader.read(header_size))
    if not header or None in header.groups():
        raise reader.error("its npy header is not that of an array of numbers")
    dtype, fortran, shape = (group.decode("latin-1") for group in header.groups())
    shape = [int(side) for side in re.findall(r"\d+", shape)]
    if lazy and fortran == "False" and not reader.is_packed:
        array = reader.skip_array(dtype, shape)
    else:
        array = reader.read_array(dtype, shape, "F" if fortran == "True" else "C")
    reader.check_end()
    return array


def _check_archive(file, members, path):
    """Refuse what zipfile lets pass: too much of anything, and arrays that damage hides."""
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
