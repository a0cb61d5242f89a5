"""A data set by its name: as arrays, and as the tutorial's shared variables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dae.datasets._array_files import holds_image_files, read_pairs
from dae.datasets._checks import checked_pair, image_shape_of, warn_if_flat
from dae.datasets._downloads import fetch_mnist
from dae.datasets._errors import DataError, as_data_error
from dae.datasets._image_folder import PARTS, read_image_folder
from dae.datasets._picture import check_background, read_picture

if TYPE_CHECKING:
    from pytensor.tensor.sharedvar import TensorSharedVariable

MINI_MNIST = Path(__file__).with_name("data") / "mini_mnist.npz"


class Dataset(NamedTuple):
    """Training, validation and test data as NumPy arrays.

    Attributes
    ----------
    train, valid, test : (ndarray, ndarray or None)
        The images ``x``, shape (n, n_visible), uint8 or float, C-contiguous, and their labels
        ``y``, shape (n,), int32, or None if there are none. Of `valid` and `test`, n may be 0.
        Where `read_data` was `lazy`, the ``x`` of `train` may be `FileRows`.
    image_shape : (int, int) or (int, int, 3)
        Height and width of an image in pixels, and for colour images the number of channels; the
        product is n_visible.
    label_names : tuple of str, or None
        The class that each label stands for: in a folder of images the name of its folder.
    names : (tuple of str, tuple of str, tuple of str), or None
        Of a folder of images: the file of each training, validation and test image, relative to
        the folder, with "/" between folders.

    Examples
    --------
    >>> train, valid, test, image_shape, *_ = read_data("mini-mnist")
    >>> x, y = train
    >>> x.shape, y.shape, image_shape
    ((5000, 784), (5000,), (28, 28))
    """

    train: tuple
    valid: tuple
    test: tuple
    image_shape: tuple
    label_names: tuple | None = None
    names: tuple | None = None


def load_data(
    source: str | PathLike = "mini-mnist",
    image_shape: tuple[int, ...] | None = None,
    cache_dir: str | PathLike | None = None,
    progress: Callable | None = None,
    **options: Any,
) -> list[tuple[TensorSharedVariable, TensorSharedVariable | None]]:
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
        Called while files are downloaded or read: see `read_data`.
    **options
        How images in a folder are read: see `read_data`.

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

    dataset = read_data(source, image_shape, cache_dir, progress, **options)
    return [
        (shared(to_floatX(x, pytensor.config.floatX)), shared(y))
        for x, y in (dataset.train, dataset.valid, dataset.test)
    ]


def to_floatX(x: NDArray, dtype: str) -> NDArray:
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

    Examples
    --------
    >>> to_floatX(np.array([0, 64, 128], "uint8"), "float32")
    array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    if x.dtype == np.uint8:
        return np.multiply(x, 1 / 256, dtype=dtype, order="C")
    return np.ascontiguousarray(x, dtype)


def read_data(
    source: str | PathLike = "mini-mnist",
    image_shape: tuple[int, ...] | None = None,
    cache_dir: str | PathLike | None = None,
    progress: Callable | None = None,
    *,
    lazy: bool = False,
    bounded: bool = True,
    color: bool = False,
    crop: bool = False,
    resize: bool = True,
    autocontrast: bool = False,
    background: str = "black",
    skip_bad_images: bool = False,
) -> Dataset:
    """Read a data set as NumPy arrays.

    Parameters
    ----------
    source : str or Path, default='mini-mnist'
        What to read:

        - ``mini-mnist``: the tenth of MNIST that comes with this package.
        - ``mnist``: the whole of MNIST, downloaded into the cache when it is not there yet.
        - A folder with MNIST's four IDX files, plain or gzipped.
        - A folder of images in any format that Pillow reads, sorted by name, numbers in a name
          compared as numbers. Hidden files and files with other extensions are ignored.

          If the images lie in folders inside the folder, however deep, each folder of the first
          level is a class: the labels number these folders, sorted as `sorted` does, as
          torchvision's ``ImageFolder`` does. With images beside such folders there are no
          labels, and a warning says so. If the only folders are ``train`` and one or both of
          ``valid`` (or ``val``, ``validation``) and ``test``, they are the three parts of the
          data, with or without classes inside. Otherwise all images are training data.
        - An image in any such format, a data set of one.
        - A ``.pkl`` or ``.pickle`` file, plain or gzipped (``.pkl.gz``): a pickle of three pairs
          of arrays like the tutorial's. No pickle is ever run: the arrays are found by reading
          its opcodes, and whatever is not needed for arrays is refused.
        - A ``.npz`` file with arrays named ``train_x``, ``train_y``, ``valid_x``, ``valid_y``,
          ``test_x``, ``test_y``, or ``x_train`` and so on as in Keras' ``mnist.npz``; all but
          the first may be missing.
        - A ``.npy`` file with one array, all of it training data without labels.

        Arrays of images have the shape (n, n_visible), (n, height, width), or with colours
        (n, height, width, 3), either of uint8 or of floats in [0, 1]; labels are integers of
        shape (n,). If there are arrays of test data but none of validation data, the last sixth
        of the training data becomes validation data: MNIST's 60,000 images become the tutorial's
        50,000 and 10,000.
    image_shape : (int, int) or (int, int, 3), optional
        Height and width of an image in pixels; the third, the number of channels, is as good as
        `color`. Images of a folder are resized to it; otherwise the product must be n_visible. By
        default it is that of the file or, if the images are the rows of a matrix, a square if
        n_visible is one, else (1, n_visible).
    cache_dir : str or Path, optional
        The folder whose subfolder ``mnist`` holds the download. By default the value of the
        environment variable ``DAE_CACHE_DIR`` or, without it, ``dae`` in the platform's folder
        for caches.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file is downloaded, with the name of the
        file and two numbers of bytes; `done` starts again at 0 when another mirror is tried. While
        a folder is read, the name is that of an image, and the numbers are of images.
    lazy : bool, default=False
        Whether to leave the images of a ``.npy`` file in the file, as `FileRows`, which are read
        and checked when they are used: `dae.fit` trains on more of them than the memory can
        hold. Files that are gzipped, or in Fortran's order, are read as ever.
    bounded : bool, default=True
        Whether floats must be in [0, 1]; otherwise they may be any but infinity and NaN.
    color : bool, default=False
        Whether images have three channels, red, green and blue, each as n_visible / 3 of the
        visible units: units 0, 1 and 2 are those of the first pixel. By default images in files
        become grey, while arrays have channels if their shape says so.
    crop : bool, default=False
        Whether images in files, before they are resized, are cut to the proportions of
        `image_shape`, the same on both sides; by default they are stretched to it.
    resize : bool, default=True
        Whether images in files may have another size than `image_shape`.
    autocontrast : bool, default=False
        Whether the values of each image in a file are stretched to the whole range, all channels
        alike, so that the darkest becomes 0 and the brightest 255. Then images may have 32 bits.
    background : str, default='black'
        The colour behind the transparent pixels of images in files: a name, or as ``'#ff8800'``.
    skip_bad_images : bool, default=False
        Whether to leave out files that cannot be read as images, with a warning that names each.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If anything is wrong with the data: no such file, a damaged one, one of the wrong kind.

    Warns
    -----
    DataWarning
        If not all of a folder is read as its owner may expect, or if pixels hardly vary, less than
        an eighth of their range: those of an array, or of a tenth of the images in files.

    Notes
    -----
    Images in files are rotated as their EXIF data say. Of 16 bits the upper 8 are kept, so what
    has 12 bits needs `autocontrast`; a black drawing on a transparent ground needs a `background`.

    Examples
    --------
    >>> dataset = read_data("mini-mnist")
    >>> x, y = dataset.test
    >>> x.shape, x.dtype, y[:5]
    ((1000, 784), dtype('uint8'), array([7, 2, 1, 0, 4], dtype=int32))
    """
    if source == "mini-mnist":
        path = MINI_MNIST
    elif source == "mnist":
        path = fetch_mnist(cache_dir, progress)
    else:
        path = Path(source)
    sides = None
    if image_shape is not None:
        sides, color = tuple(image_shape[:2]), color or tuple(image_shape[2:]) == (3,)
    names = label_names = None
    with as_data_error(path, (MemoryError, OSError)):
        if holds_image_files(path):
            check_background(background)
            if crop and sides is None:
                raise DataError(f"{path}: the option crop needs an image shape, such as 28x28")
            read = partial(
                read_picture,
                sides=sides if resize else None,
                color=color,
                background=background,
                autocontrast=autocontrast,
                crop=crop,
            )
            pairs, names, label_names = read_image_folder(
                path, read, sides, skip_bad_images, progress
            )
        else:
            pairs = read_pairs(path, lazy)
        train, valid, test = (
            checked_pair(x, y, pairs[0], bounded, f"{path}, {part}")
            for part, (x, y) in zip(PARTS, pairs, strict=True)
        )
    if names is None and len(valid[0]) == 0 < len(test[0]):
        train, valid = _split_valid(*train)
    if len(train[0]) == 0:
        raise DataError(f"{path}: has no training images")
    image_shape = image_shape_of(sides, color, pairs[0][0], path)
    if bounded:
        warn_if_flat(train[0], path, names)
    return Dataset(train, valid, test, image_shape, label_names, names)


def _split_valid(x, y):
    """Split the last sixth off the training data, for validation."""
    cut = len(x) - len(x) // 6
    if y is None:
        return (x[:cut], None), (x[cut:], None)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])
