"""Arrays into files, a part of their rows at a time: npy, npz, csv."""

import csv
import io
import zipfile

import numpy as np


class Rows:
    """An array that is computed while it is written.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Its dtype.
    parts : iterable of ndarray
        Its rows, some at a time, in order.
    """

    def __init__(self, shape, dtype, parts):
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.parts = parts


def write_npy(file, rows):
    """Write rows as an array in NumPy's format.

    Parameters
    ----------
    file : binary file
    rows : Rows
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(rows.dtype),
        "fortran_order": False,
        "shape": rows.shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    for part in rows.parts:
        file.write(part.data.cast("B") if part.size else b"")


def write_npz(file, arrays):
    """Write arrays as `numpy.savez` does.

    Parameters
    ----------
    file : binary file
    arrays : dict
        From names to `Rows` or ndarrays.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A date as numpy.savez has it: the same arrays are the same file.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as unpacked:
                if isinstance(array, Rows):
                    write_npy(unpacked, array)
                else:
                    np.lib.format.write_array(unpacked, array, allow_pickle=False)


def write_csv(file, rows, columns):
    """Write rows as a table, with all digits that it takes to read the same numbers again.

    Parameters
    ----------
    file : binary file
    rows : Rows
        A matrix. Its columns are named ``code_0``, ``code_1`` and so on.
    columns : dict
        Columns before them: from names to sequences of as many values.
    """
    # Names of files may hold bytes that are no UTF-8; they are written as they are.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"code_{i}" for i in range(rows.shape[1]))])
    done = 0
    for part in rows.parts:
        here = slice(done, done + len(part))
        before = [values[here] for values in columns.values()]
        writer.writerows(
            [*values, *row] for *values, row in zip(*before, part.astype(str).tolist(), strict=True)
        )
        done += len(part)
    text.detach()  # flushed, and not closed
