"""A folder of images: which files they are, their labels, and all of them in one array."""

import os
import re
import warnings
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from dae.datasets._errors import DataError, DataWarning, as_data_error
from dae.datasets._memory import check_memory
from dae.datasets._picture import picture_extensions

PARTS = ("train", "valid", "test")

PART_FOLDERS = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}

STACKLEVEL = 4  # of warnings: the caller of `read_data`

# Images to those who have them, but Pillow does not read them without a plugin.
FOREIGN_EXTENSIONS = {
    ".arw", ".avif", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".jxl", ".nef", ".svg",
}  # fmt: skip


class ImageFile(NamedTuple):
    """A file in a folder of images.

    Attributes
    ----------
    name : str
        Its path relative to the folder, with "/" between folders.
    part : {'train', 'valid', 'test'}
        The part of the data set that it belongs to.
    class_name : str or None
        Its class, if there are classes in this part.
    """

    name: str
    part: str
    class_name: str | None


def read_image_folder(path, read, sides=None, skip_bad_images=False, progress=None):
    """Read a folder of images, or one image.

    Parameters
    ----------
    path : Path
        See `find_images`.
    read, sides, skip_bad_images, progress
        See `read_images`.

    Returns
    -------
    pairs : list of (ndarray, ndarray or None)
        Images and labels of training, validation and test data.
    names : tuple of tuple of str
        The files of the images of each.
    label_names : tuple of str, or None
        The class of each label.

    Raises
    ------
    DataError
        If there is no image, or anything is wrong with one.
    """
    if path.is_dir():
        folder, files = path, find_images(path)
    else:
        folder, files = path.parent, [ImageFile(path.name, "train", None)]
    label_names = sorted({file.class_name for file in files} - {None})
    images, kept = read_images(
        folder, [file.name for file in files], read, sides, skip_bad_images, progress
    )
    files = [files[i] for i in kept]
    pairs, names = [], []
    for part in PARTS:
        of_part = [file for file in files if file.part == part]
        classes = [file.class_name for file in of_part]
        y = None
        if label_names and None not in classes:
            y = np.array([label_names.index(name) for name in classes], np.int32)
        pairs.append((images[: len(of_part)], y))
        images = images[len(of_part) :]
        names.append(tuple(file.name for file in of_part))
    return pairs, tuple(names), tuple(label_names) or None


def find_images(folder):
    """Find the images in a folder and in the folders inside it.

    An image is a file whose extension Pillow knows; hidden files and folders, other files, and
    folders without images are ignored. The images are sorted by name, numbers in a name compared
    as numbers: ``img2.png`` before ``img10.png``.

    Folders inside the folder are classes, sorted as `sorted` does, and what lies deeper inside
    belongs to them; if there are images beside them, there are no classes, and a `DataWarning`
    says so. But if there are only folders named train, valid (val, validation) and test, train
    among them, they are the parts of the data set, each with or without classes inside.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of ImageFile

    Raises
    ------
    DataError
        If there is no image, if images lie beside the folders of parts, if there are two folders
        for one part, or if a folder cannot be read.
    """
    known = picture_extensions()
    files = [(name, PurePosixPath(name).suffix.lower()) for name in _walk(folder)]
    foreign = [extension for _, extension in files if extension in FOREIGN_EXTENSIONS - known]
    if foreign:
        warnings.warn(
            f"{folder}: {len(foreign)} files are left out, because Pillow does not read "
            f"{', '.join(sorted(set(foreign)))}; convert them to PNG or JPEG",
            DataWarning,
            stacklevel=STACKLEVEL,
        )
    names = [name for name, extension in files if extension in known]
    if not names:
        raise DataError(f"{folder}: holds neither images nor MNIST's four IDX files")
    images = []
    for root, part in _parts(folder, names).items():
        inside = [name.removeprefix(root) for name in names if name.startswith(root)]
        inner, loose = _sorted_out(inside)
        if inner and loose:
            warnings.warn(
                f"{folder / root}: there are no labels, because it holds images ({loose[0]}) "
                f"beside folders of images ({inner[0]})",
                DataWarning,
                stacklevel=STACKLEVEL,
            )
        has_classes = inner and not loose
        found = [
            ImageFile(root + name, part, name.partition("/")[0] if has_classes else None)
            for name in inside
        ]
        images += sorted(found, key=lambda file: file.class_name or "")
    return images


def read_images(folder, names, read, sides=None, skip_bad_images=False, progress=None):
    """Read images into one array.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        The files, relative to the folder.
    read : callable
        From a path to an image: an ndarray of uint8, shape (height, width) or (height, width, 3).
        It raises a `DataError` if the file cannot be read.
    sides : (int, int), optional
        The height and width that all must have; by default those of the first.
    skip_bad_images : bool, default=False
        Whether to leave out files that cannot be read, with a `DataWarning` for each.
    progress : callable, optional
        Called as ``progress(name, done, size)`` after every image, with its name and two numbers
        of images.

    Returns
    -------
    images : ndarray of uint8, shape (n, height, width) or (n, height, width, 3)
    kept : list of int
        The numbers of the files that they were read from.

    Raises
    ------
    DataError
        If a file cannot be read and is not to be skipped, if none can, if the sizes differ, or if
        the images would take more memory than there is.
    """
    images, kept = None, []
    for i, name in enumerate(names):
        path = folder / name
        try:
            image = read(path)
        except DataError as error:
            if not skip_bad_images:
                advice = " (the option skip_bad_images leaves it out)" if len(names) > 1 else ""
                raise DataError(f"{error}{advice}") from error
            warnings.warn(f"{error}; left out", DataWarning, stacklevel=STACKLEVEL)
            continue
        size = f"{image.shape[0]}x{image.shape[1]}"
        if sides is not None and image.shape[:2] != sides:
            expected = f"{sides[0]}x{sides[1]}"
            raise DataError(f"{path}: {size} pixels; expected {expected}, or the option resize")
        if images is None:
            check_memory(folder, len(names) * image.size)
            images = np.empty((len(names), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise DataError(
                f"{path}: {size} pixels, but {names[kept[0]]} has "
                f"{images.shape[1]}x{images.shape[2]}; give an image shape to stretch all to"
            )
        images[len(kept)] = image
        kept.append(i)
        if progress is not None:
            progress(name, i + 1, len(names))
    if not kept:
        raise DataError(f"{folder}: none of {len(names)} images can be read")
    if len(kept) < len(names):
        warnings.warn(
            f"{folder}: {len(names) - len(kept)} of {len(names)} images cannot be read and are "
            "left out",
            DataWarning,
            stacklevel=STACKLEVEL,
        )
    return images[: len(kept)], kept


def _walk(folder, prefix="", around=()):
    """Yield the names of the files in a folder and in those inside it, none of them hidden."""
    here = folder.resolve()
    if here in around:  # a link that leads back
        return
    with as_data_error(folder, OSError), os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: _natural_order(entry.name))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", (*around, here))
        else:
            yield prefix + entry.name


def _natural_order(name):
    # Splitting at a group puts the numbers at the odd places, so that like meets like.
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _parts(folder, names):
    """Return the beginnings of the names of each part, and which part that is."""
    inner, loose = _sorted_out(names)
    parts = [PART_FOLDERS.get(name.lower()) for name in inner]
    if "train" not in parts or None in parts:
        return {"": "train"}
    if loose:
        raise DataError(
            f"{folder}: holds images ({loose[0]}) beside {' and '.join(inner)}; move them to where "
            "they belong"
        )
    if len(set(parts)) < len(parts):
        raise DataError(f"{folder}: two folders for one part: {', '.join(inner)}")
    folder_of = dict(zip(parts, inner, strict=True))
    return {f"{folder_of[part]}/": part for part in PARTS if part in folder_of}


def _sorted_out(names):
    """Return the folders of the first level, and the names without such a folder."""
    inner = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
    return list(inner), [name for name in names if "/" not in name]
