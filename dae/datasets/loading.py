"""Data sets: bytes on disk become NumPy arrays, and those become shared variables."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dae.datasets._formats import DataError, faults_of, read_idx, read_npy, read_npz
from dae.datasets._image_folders import read_image_folder
from dae.datasets._pickles import read_pickle
from dae.datasets.downloads import fetch_mnist

__all__ = ["DataError", "Dataset", "load_data", "read_data", "to_floatX"]

PARTS = ("train", "valid", "test")

MINI_MNIST = Path(__file__).with_name("data") / "mini_mnist.npz"

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

KINDS = (
    "mini-mnist, mnist, a .npz, .npy or .pkl.gz file, a folder of images or a folder "
    "with MNIST's four IDX files"
)


class Dataset(NamedTuple):
    """Training, validation and test data as NumPy arrays.

    Attributes
    ----------
    train, valid, test : (ndarray, ndarray or None)
        ``x``, shape (n, n_visible), uint8 or float, C-contiguous; ``y``, shape (n,), int32, or
        None where there are no labels. `valid` and `test` may have no rows.
    image_shape : (int, int)
        Height and width of an image in pixels; their product is n_visible.
    """

    train: tuple
    valid: tuple
    test: tuple
    image_shape: tuple


def load_data(source="mini-mnist", image_shape=None, cache_dir=None, progress=None):
    """Load a data set as shared variables, as the tutorial's ``load_data`` does.

    Parameters
    ----------
    source, image_shape, cache_dir, progress
        As for `read_data`.

    Returns
    -------
    [(train_set_x, train_set_y), (valid_set_x, valid_set_y), (test_set_x, test_set_y)]
        ``x`` is a shared matrix of floatX in [0, 1], shape (n, n_visible); ``y`` a shared vector
        of int32, shape (n,), or None where there are no labels.

    Raises
    ------
    DataError
        As `read_data` does.

    Examples
    --------
    >>> train_set, valid_set, test_set = load_data()
    >>> train_set_x, train_set_y = train_set
    >>> train_set_x.get_value(borrow=True).shape
    (5000, 784)
    """
    import pytensor  # here, so that reading arrays does not wait for it

    def shared(array):
        return None if array is None else pytensor.shared(array, borrow=True)

    dataset = read_data(source, image_shape, cache_dir, progress)
    return [
        (shared(to_floatX(x, pytensor.config.floatX)), shared(y))
        for x, y in (dataset.train, dataset.valid, dataset.test)
    ]


def to_floatX(x, dtype):
    """Return pixels as floats in [0, 1].

    Bytes are divided by 256, as in the tutorial's ``mnist.pkl.gz``; floats are taken as they
    are, without a copy where the dtype is the wanted one already.

    Parameters
    ----------
    x : ndarray of uint8 or float
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    ndarray of `dtype`, C-contiguous
    """
    if x.dtype == np.uint8:
        return np.multiply(x, 1 / 256, dtype=dtype, order="C")
    return np.ascontiguousarray(x, dtype)


def read_data(source="mini-mnist", image_shape=None, cache_dir=None, progress=None):
    """Read a data set as NumPy arrays.

    Parameters
    ----------
    source : str or Path
        What to read:

        - ``mini-mnist``: the tenth of MNIST that comes with this package.
        - ``mnist``: the whole of it, downloaded into the cache when it is not there yet.
        - A folder with MNIST's four IDX files, plain or gzipped.
        - A folder of images, all of them training data without labels: see
          `dae.datasets._image_folders.read_image_folder`.
        - A ``.pkl`` or ``.pickle`` file, also with ``.gz``: a pickle of three pairs of arrays
          like the tutorial's. It is never unpickled: see `dae.datasets._pickles`.
        - A ``.npz`` file with arrays named ``train_x``, ``train_y``, ``valid_x``, ``valid_y``,
          ``test_x``, ``test_y``, or ``x_train`` and so on as in Keras' ``mnist.npz``; all but
          the first may be missing.
        - A ``.npy`` file with one matrix, all of it training data without labels.

        Images are arrays (n, n_visible) or (n, height, width), either of bytes or of floats in
        [0, 1]; labels are integers (n,). Where there is test but no validation data, the last
        sixth of the training data is set aside for validation: MNIST's 60,000 images become the
        tutorial's 50,000 and 10,000.
    image_shape : (int, int), optional
        Height and width of an image in pixels. Images of a folder are resized to it; elsewhere
        it only says how n_visible pixels lie. Without it they lie as in the file or, if that has
        a matrix, as a square or else in one row.
    cache_dir : str or Path, optional
        Where ``mnist`` is kept, in a folder ``mnist``. Without it the environment variable
        ``DAE_CACHE_DIR`` says, and without that it is the platform's folder for caches.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file is downloaded, sizes in bytes;
        `done` starts again when another mirror is tried.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If anything is wrong with the data: no such file, a damaged one, one of the wrong kind.
    """
    if source == "mini-mnist":
        path = MINI_MNIST
    elif source == "mnist":
        path = fetch_mnist(cache_dir, progress)
    else:
        path = Path(source)
    with faults_of(path, (MemoryError, OSError)):
        pairs = _read_pairs(path, image_shape)
        train, valid, test = (
            _checked_pair(x, y, pairs[0], f"{path}, {part}")
            for part, (x, y) in zip(PARTS, pairs, strict=True)
        )
    if len(valid[0]) == 0 < len(test[0]):
        train, valid = _set_aside(*train)
    if len(train[0]) == 0:
        raise DataError(f"{path}: has no training images")
    return Dataset(train, valid, test, _image_shape(image_shape, pairs[0][0], path))


def _read_pairs(path, image_shape):
    """Read (x, y) of train, valid and test as the file has them; None is what it lacks."""
    nothing = (None, None)
    if path.is_dir():
        idx_paths = [_find_idx(path, name) for name in IDX_FILES]
        if all(idx_paths):
            train_x, train_y, test_x, test_y = map(read_idx, idx_paths)
            return (train_x, train_y), nothing, (test_x, test_y)
        if any(idx_paths):
            missing = IDX_FILES[idx_paths.index(None)]
            raise DataError(f"{path}: has no {missing}, plain or gzipped, beside the other files")
        return (read_image_folder(path, image_shape), None), nothing, nothing
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; expected {KINDS}")
    name = path.name.lower()
    if name.endswith(".npy"):
        return (read_npy(path), None), nothing, nothing
    if name.endswith(".npz"):
        return _named_pairs(read_npz(path), path)
    if name.endswith((".pkl", ".pickle", ".pkl.gz", ".pickle.gz")):
        return read_pickle(path)
    raise DataError(f"{path}: unknown kind of file; expected {KINDS}")


def _find_idx(folder, name):
    """Return the path of one of MNIST's files in one of its usual spellings, or None."""
    dotted = name.replace("-idx", ".idx")
    for spelling in (f"{name}.gz", name, f"{dotted}.gz", dotted):
        if (folder / spelling).is_file():
            return folder / spelling
    return None


def _named_pairs(arrays, path):
    """Sort the arrays of an npz file into (x, y) of train, valid and test."""
    names = ", ".join(arrays)
    pairs = []
    for part in PARTS:
        x_name, y_name = f"{part}_x", f"{part}_y"
        if x_name not in arrays:
            x_name, y_name = f"x_{part}", f"y_{part}"
        x = arrays.pop(x_name, None)
        pairs.append((x, None if x is None else arrays.pop(y_name, None)))
    if arrays or pairs[0][0] is None:
        raise DataError(
            f"{path}: holds arrays named {names[:100]!r}; expected train_x and, as there are, "
            "train_y, valid_x, valid_y, test_x, test_y, or x_train, y_train and so on"
        )
    return pairs


def _checked_pair(x, y, train, name):
    """Return (x, y) as a `Dataset` has them; what is None becomes no rows of its like in train."""
    train_x, train_y = train
    if x is None:
        x, y = train_x[:0], None if train_y is None else train_y[:0]
    if x.ndim == 1 or x.shape[1:] != train_x.shape[1:]:
        raise DataError(
            f"{name}: images in an array of shape {x.shape}; expected (images, pixels) or "
            "(images, height, width), with images of the same size in every part"
        )
    if x.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            in_range = x.min(initial=0) >= 0 and x.max(initial=0) <= 1  # false for NaN too
        if x.dtype.kind != "f" or not in_range:
            raise DataError(f"{name}: images must be bytes (uint8), or floats in [0, 1]")
    x = x.reshape(len(x), math.prod(x.shape[1:]))
    x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    if y is not None:
        if y.dtype.kind == "f" or y.min(initial=0) < 0 or y.max(initial=0) >= 2**31:
            raise DataError(f"{name}: labels must be integers, 0 and up")
        if y.shape != (len(x),):
            raise DataError(f"{name}: {len(x)} images, but labels of shape {y.shape}")
        y = np.ascontiguousarray(y, np.int32)
    return x, y


def _set_aside(x, y):
    """Cut the last sixth off the training data, to validate with."""
    cut = len(x) - len(x) // 6
    if y is None:
        return (x[:cut], None), (x[cut:], None)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def _image_shape(given, x, path):
    """Return the height and width of the images `x`, as given, as they are or as a square."""
    n_visible = math.prod(x.shape[1:])
    side = math.isqrt(n_visible)
    if given is None and x.ndim == 3:
        given = x.shape[1:]
    elif given is None:
        given = (side, side) if side**2 == n_visible else (1, n_visible)
    if math.prod(given) != n_visible:
        raise DataError(f"{path}: images of {n_visible} pixels do not have the shape {given}")
    return tuple(given)
