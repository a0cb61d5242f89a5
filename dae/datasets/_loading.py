"""From the name of a data set to its arrays: find the files, read them, check what they hold."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dae.datasets._downloads import fetch_mnist
from dae.datasets._errors import DataError, as_data_error
from dae.datasets._idx import read_idx
from dae.datasets._image_folder import read_image_folder
from dae.datasets._npy import read_npy, read_npz
from dae.datasets._pkl import read_pickle
from dae.datasets._rows import FileRows, check_pixels

PARTS = ("train", "valid", "test")

MINI_MNIST = Path(__file__).with_name("data") / "mini_mnist.npz"

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

SOURCES = (
    "mini-mnist, mnist, a .npz, .npy or .pkl.gz file, a folder of images or a folder "
    "with MNIST's four IDX files"
)


class Dataset(NamedTuple):
    """Training, validation and test data as NumPy arrays.

    Attributes
    ----------
    train, valid, test : (ndarray, ndarray or None)
        The images ``x``, shape (n, n_visible), uint8 or float, C-contiguous, and their labels
        ``y``, shape (n,), int32, or None if there are none. Of `valid` and `test`, n may be 0.
        Where `read_data` was `lazy`, the ``x`` of `train` may be `FileRows`.
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
    source : str or Path, default='mini-mnist'
        What to read: see `read_data`.
    image_shape : (int, int), optional
        Height and width of an image in pixels: see `read_data`.
    cache_dir : str or Path, optional
        Where downloads are kept: see `read_data`.
    progress : callable, optional
        Called while a file is downloaded: see `read_data`.

    Returns
    -------
    [(train_set_x, train_set_y), (valid_set_x, valid_set_y), (test_set_x, test_set_y)]
        ``x`` is a shared matrix of floatX in [0, 1], shape (n, n_visible); ``y`` is a shared
        vector of int32, shape (n,), or None if there are no labels.

    Raises
    ------
    DataError
        If anything is wrong with the data: no such file, a damaged one, one of the wrong kind.

    Examples
    --------
    >>> train_set, valid_set, test_set = load_data()
    >>> train_set_x, train_set_y = train_set
    >>> train_set_x.get_value(borrow=True).shape
    (5000, 784)
    """
    import pytensor  # here, since its import takes seconds that reading arrays need not

    def shared(array):
        return None if array is None else pytensor.shared(array, borrow=True)

    dataset = read_data(source, image_shape, cache_dir, progress)
    return [
        (shared(to_floatX(x, pytensor.config.floatX)), shared(y))
        for x, y in (dataset.train, dataset.valid, dataset.test)
    ]


def to_floatX(x, dtype):
    """Return pixels as floats in [0, 1].

    Bytes are divided by 256, as in the tutorial's ``mnist.pkl.gz``. Floats keep their values, and
    are not copied if they have the dtype already.

    Parameters
    ----------
    x : ndarray of uint8 or float
        Pixels, of any shape.
    dtype : {'float32', 'float64'}
        The floatX of the graph that they are for.

    Returns
    -------
    ndarray of `dtype`
        Of the shape of `x`, C-contiguous.
    """
    if x.dtype == np.uint8:
        return np.multiply(x, 1 / 256, dtype=dtype, order="C")
    return np.ascontiguousarray(x, dtype)


def read_data(source="mini-mnist", image_shape=None, cache_dir=None, progress=None, *, lazy=False):
    """Read a data set as NumPy arrays.

    Parameters
    ----------
    source : str or Path, default='mini-mnist'
        What to read:

        - ``mini-mnist``: the tenth of MNIST that comes with this package.
        - ``mnist``: the whole of MNIST, downloaded into the cache when it is not there yet.
        - A folder with MNIST's four IDX files, plain or gzipped.
        - A folder of images in any format that Pillow reads, all of them training data without
          labels. They are sorted by name, numbers in a name compared as numbers, and converted
          to grey values.
        - A ``.pkl`` or ``.pickle`` file, plain or gzipped (``.pkl.gz``): a pickle of three pairs
          of arrays like the tutorial's. No pickle is ever run: the arrays are found by reading
          its opcodes, and whatever is not needed for arrays is refused.
        - A ``.npz`` file with arrays named ``train_x``, ``train_y``, ``valid_x``, ``valid_y``,
          ``test_x``, ``test_y``, or ``x_train`` and so on as in Keras' ``mnist.npz``; all but
          the first may be missing.
        - A ``.npy`` file with one array, all of it training data without labels.

        Images are arrays of shape (n, n_visible) or (n, height, width), either of uint8 or of
        floats in [0, 1]; labels are integers of shape (n,). If there are test data but no
        validation data, the last sixth of the training data becomes validation data: MNIST's
        60,000 images become the tutorial's 50,000 and 10,000.
    image_shape : (int, int), optional
        Height and width of an image in pixels. Images of a folder are resized to it; otherwise
        height times width must be n_visible. By default it is that of the file or, if the images
        are the rows of a matrix, a square if n_visible is one, else (1, n_visible).
    cache_dir : str or Path, optional
        The folder whose subfolder ``mnist`` holds the download. By default the value of the
        environment variable ``DAE_CACHE_DIR`` or, without it, ``dae`` in the platform's folder
        for caches.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file is downloaded, with the name of the
        file and two numbers of bytes; `done` starts again at 0 when another mirror is tried.
    lazy : bool, default=False
        Whether to leave the images of a ``.npy`` file in the file, as `FileRows`, which are read
        and checked when they are used: `dae.fit` trains on more of them than the memory can
        hold. Files that are gzipped, or in Fortran's order, are read as ever.

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
    with as_data_error(path, (MemoryError, OSError)):
        pairs = _read_pairs(path, image_shape, lazy)
        train, valid, test = (
            _checked_pair(x, y, pairs[0], f"{path}, {part}")
            for part, (x, y) in zip(PARTS, pairs, strict=True)
        )
    if len(valid[0]) == 0 < len(test[0]):
        train, valid = _split_valid(*train)
    if len(train[0]) == 0:
        raise DataError(f"{path}: has no training images")
    return Dataset(train, valid, test, _image_shape(image_shape, pairs[0][0], path))


def _read_pairs(path, image_shape, lazy):
    """Return (x, y) of train, valid and test as they are in the file, None for what it lacks."""
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
        raise DataError(f"{path}: no such file or folder; expected {SOURCES}")
    name = path.name.lower()
    if name.endswith(".npy"):
        return (read_npy(path, lazy), None), nothing, nothing
    if name.endswith(".npz"):
        return _named_pairs(read_npz(path), path)
    if name.endswith((".pkl", ".pickle", ".pkl.gz", ".pickle.gz")):
        return read_pickle(path)
    raise DataError(f"{path}: unknown kind of file; expected {SOURCES}")


def _find_idx(folder, name):
    """Return the path of one of MNIST's files under one of its usual names, or None."""
    dotted = name.replace("-idx", ".idx")
    for spelling in (f"{name}.gz", name, f"{dotted}.gz", dotted):
        if (folder / spelling).is_file():
            return folder / spelling
    return None


def _named_pairs(arrays, path):
    """Return (x, y) of train, valid and test from the arrays of an npz file."""
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
    """Return (x, y) as a `Dataset` has them; None becomes an array of 0 rows like that of train."""
    train_x, train_y = train
    if x is None:
        x, y = np.asarray(train_x[:0]), None if train_y is None else train_y[:0]
    if x.ndim == 1 or x.shape[1:] != train_x.shape[1:]:
        raise DataError(
            f"{name}: images in an array of shape {x.shape}; expected (images, pixels) or "
            "(images, height, width), with images of the same size in every part"
        )
    x = x.reshape(len(x), math.prod(x.shape[1:]))
    if isinstance(x, FileRows):
        check_pixels(np.empty(0, x.dtype), name)  # the values when they are read
    else:
        check_pixels(x, name)
        x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    if y is not None:
        if y.dtype.kind == "f" or y.min(initial=0) < 0 or y.max(initial=0) >= 2**31:
            raise DataError(f"{name}: labels must be integers, 0 and up")
        if y.shape != (len(x),):
            raise DataError(f"{name}: {len(x)} images, but labels of shape {y.shape}")
        y = np.ascontiguousarray(y, np.int32)
    return x, y


def _split_valid(x, y):
    """Split the last sixth off the training data, for validation."""
    cut = len(x) - len(x) // 6
    if y is None:
        return (x[:cut], None), (x[cut:], None)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def _image_shape(given, x, path):
    """Return the height and width of images: as given, as in the file, or of a square."""
    n_visible = math.prod(x.shape[1:])
    side = math.isqrt(n_visible)
    if given is None and x.ndim == 3:
        given = x.shape[1:]
    elif given is None:
        given = (side, side) if side**2 == n_visible else (1, n_visible)
    if math.prod(given) != n_visible:
        raise DataError(f"{path}: images of {n_visible} pixels do not have the shape {given}")
    return tuple(given)
