"""MNIST's four files, downloaded once, verified, and kept in the user's cache."""

import contextlib
import hashlib
import http.client
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from dae.datasets._formats import BLOCK, DataError, faults_of, one_line, open_stream


class PackedFile(NamedTuple):
    """A gzipped file as it was published, and what it unpacks to."""

    name: str
    size: int  # bytes
    sha256: str
    unpacked_size: int  # bytes
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
STALE = 3600  # seconds after which an unfinished file has no writer any more


def cache_folder(cache_dir=None):
    """Return the folder where downloads are kept.

    Parameters
    ----------
    cache_dir : str or Path, optional
        Without it, the environment variable ``DAE_CACHE_DIR`` says; without that, it is ``dae``
        in the platform's folder for caches.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If none of these is known.
    """
    given = cache_dir or os.environ.get("DAE_CACHE_DIR")
    with faults_of("no cache folder; set DAE_CACHE_DIR", RuntimeError):
        if given:
            return Path(given).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "dae"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/dae"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dae"


def fetch(files, mirrors, folder, progress=None, timeout=TIMEOUT):
    """Make sure that a folder holds the right files; download those that are missing.

    A file appears under its name only when it is whole and verified. One that is there already
    may be gzipped differently, or not at all, if its content is right; it is never replaced.

    Parameters
    ----------
    files : sequence of PackedFile
    mirrors : sequence of str
        Addresses ending in ``/``, tried in turn.
    folder : Path
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file arrives, sizes in bytes; `done`
        starts again when the next mirror is tried.
    timeout : float
        Seconds that a mirror may stay silent.

    Raises
    ------
    DataError
        If no mirror has the right file, or the folder holds a wrong one or cannot be written.
    """
    with faults_of(folder, OSError):
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
                _write(path, data)


def fetch_mnist(cache_dir=None, progress=None):
    """Return the folder of the cache that holds MNIST's four files, downloading what it lacks.

    Parameters and errors are those of `cache_folder` and `fetch`.
    """
    folder = cache_folder(cache_dir) / "mnist"
    fetch(MNIST, MIRRORS, folder, progress)
    return folder


def _check(path, file):
    """Make sure that a file unpacks to the right content, however it is packed."""
    try:
        with open_stream(path) as stream:
            content = stream.read(file.unpacked_size)
            stream.finish()
            if hashlib.sha256(content).hexdigest() != file.unpacked_sha256:
                raise stream.fault("its SHA-256 is not that of the published file")
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


def _write(path, data):
    """Write a file such that at any moment there is the whole of it or nothing."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if part.stat().st_mtime < time.time() - STALE:
                part.unlink()
    part = folder / f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
