"""Data sets: bytes on disk become arrays, and those become shared variables."""

from dae.datasets._formats import DataError
from dae.datasets.loading import Dataset, load_data, read_data, to_floatX

__all__ = ["DataError", "Dataset", "load_data", "read_data", "to_floatX"]
