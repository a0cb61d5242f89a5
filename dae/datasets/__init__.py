"""Data sets: bytes on disk become NumPy arrays, and those become shared variables."""

from dae.datasets._errors import DataError, DataWarning
from dae.datasets._loading import MINI_MNIST, PARTS, Dataset, load_data, read_data, to_floatX
from dae.datasets._rows import FileRows
from dae.datasets._splitting import split_validation

__all__ = [
    "MINI_MNIST",
    "PARTS",
    "DataError",
    "DataWarning",
    "Dataset",
    "FileRows",
    "load_data",
    "read_data",
    "split_validation",
    "to_floatX",
]
