"""MNIST's four files, downloaded once, verified, and kept in the user's cache."""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from dae._files import atomic_write
from dae.datasets._errors import DataError, as_data_error, one_line
from dae.datasets._reader import BLOCK, open_reader


class PackedFile(NamedTuple):
    """A gzipped file as it was published.

    Attributes
    ----------
    name : str
    size, unpacked_size : int
        The number of bytes in the file and in what it unpacks to.
    sha256, unpacked_sha256 : str
        The SHA-256 of both, in hexadecimal.
    """

    name: str
    size: int
    sha256: str
    unpacked_size: int
    unpacked_sha256: str


MNIST = (
    PackedFile(
        "train-images-idx3-ubyte.gz",
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        47040016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    PackedFile(
        "train-labels-idx1-ubyte.gz",
        28881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        60008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    PackedFile(
        "t10k-images-idx3-ubyte.gz",
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        7840016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    PackedFile(
        "t10k-labels-idx1-ubyte.gz",
        4542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        10008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

TIMEOUT = 30  # seconds without a byte


def cache_folder(cache_dir=None):
    """Return the folder where downloads are kept.

    Parameters
    ----------
    cache_dir : str or Path, optional
        By default the value of the environment variable ``DAE_CACHE_DIR`` or, without it, ``dae``
        in the platform's folder for caches.

    Returns
    -------
    Path
        The folder, which may not exist yet.

    Raises
    ------
    DataError
        If the user's home folder is needed for it and is not known.
    """
    given = cache_dir or os.environ.get("DAE_CACHE_DIR")
    with as_data_error("no cache folder; set DAE_CACHE_DIR", RuntimeError):
        if given:
            return Path(given).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "dae"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/dae"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dae"


def fetch(files, mirrors, folder, progress=None, timeout=TIMEOUT):
    """Download the files that a folder lacks, and verify all of them.

    A file appears under its name only when it is whole and verified. One that is there already
    may be gzipped differently, or not at all, if its content is right; it is never replaced.
    Several processes may download into the same folder at once.

    Parameters
    ----------
    files : sequence of PackedFile
    mirrors : sequence of str
        Addresses ending in ``/``, tried in turn.
    folder : Path
        Created if it does not exist and there is something to write to it.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file arrives, with the name of the file
        and two numbers of bytes; `done` starts again at 0 when the next mirror is tried.
    timeout : float, default=30
        Seconds that a mirror may stay silent.

    Raises
    ------
    DataError
        If no mirror has the right file, or the folder has a wrong one or cannot be written to.
    """
    with as_data_error(folder, OSError):
        for file in files:
            path = folder / file.name
            if path.exists():
                _check(path, file)
            else:
                try:
                    data = _download(file, mirrors, progress, timeout)
                except DataError as error:
                    names = ", ".join(file.name for file in files)
                    raise DataError(f"{error}; otherwise put {names} into {folder}") from error
                folder.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as temporary:
                    temporary.write_bytes(data)


def fetch_mnist(cache_dir=None, progress=None):
    """Download the files of MNIST that the cache lacks, and return their folder.

    Parameters
    ----------
    cache_dir : str or Path, optional
        See `cache_folder`.
    progress : callable, optional
        See `fetch`.

    Returns
    -------
    Path
        The folder that holds the four files.

    Raises
    ------
    DataError
        If there is no cache folder, or a file is wrong or cannot be downloaded or written.
    """
    folder = cache_folder(cache_dir) / "mnist"
    fetch(MNIST, MIRRORS, folder, progress)
    return folder


def _check(path, file):
    """Check that a file unpacks to the right content, however it is packed."""
    try:
        with open_reader(path) as reader:
            content = reader.read(file.unpacked_size)
            reader.check_end()
            if hashlib.sha256(content).hexdigest() != file.unpacked_sha256:
                raise reader.error("its SHA-256 is not that of the published file")
    except DataError as error:
        raise DataError(f"{error}; remove it to have it downloaded again") from error


def _download(file, mirrors, progress, timeout):
    """Return the verified bytes of a file from the first mirror that has them."""
    failures = []
    for mirror in mirrors:
        try:
            data = bytearray()
            with urllib.request.urlopen(mirror + file.name, timeout=timeout) as response:
                while len(data) <= file.size and (block := response.read1(BLOCK)):
                    data += block
                    if progress is not None:
                        progress(file.name, len(data), file.size)
            if len(data) == file.size and hashlib.sha256(data).hexdigest() == file.sha256:
                return data
            failures.append(f"{mirror} sent something else, or only a part")
        except urllib.error.HTTPError as error:
            failures.append(f"{mirror} answered with status {error.code}")
            error.close()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{mirror}: {one_line(getattr(error, 'reason', error))}")
    raise DataError(f"{file.name} could not be downloaded: {'; '.join(failures)}")
