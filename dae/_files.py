"""Writing files that other processes, full disks and power cuts cannot leave half written."""

import glob
import os
import secrets
import time
from contextlib import contextmanager, suppress

STALE = 3600  # seconds after which a temporary file is taken to have no writer any more


@contextmanager
def atomic_write(path, previous=None, exclusive=False):
    """Write a file that appears under its name whole or not at all, even when the power fails.

    It is written under a temporary name of its own in the same directory, and renamed at the end:
    where several processes write the same file at once, the last one to finish replaces it.
    Temporary files that killed processes left behind are removed.

    Parameters
    ----------
    path : pathlib.Path
        The file to write, in a directory that exists.
    previous : pathlib.Path, optional
        The new name of the file that is at `path` already. By default that file is replaced.
    exclusive : bool, default=False
        Whether no other process can be writing this file. Then all temporary files of it are
        removed, otherwise those that have not changed for an hour.

    Yields
    ------
    pathlib.Path
        The temporary file, for the caller to create; it has the extension of `path`.

    Raises
    ------
    OSError
        If the file cannot be written. Its ``filename`` is `path`, and what was there is unchanged.
    """
    pattern = f"unfinished-{'[0-9a-f]' * 16}-{glob.escape(path.name)}"
    for leftover in path.parent.glob(pattern):
        with suppress(OSError):  # removed meanwhile, or another user's: no reason not to write
            if exclusive or leftover.stat().st_mtime < time.time() - STALE:
                leftover.unlink()
    temporary = path.with_name(f"unfinished-{secrets.token_hex(8)}-{path.name}")
    try:
        with naming(path):
            yield temporary
            sync(temporary)
            if previous is not None and path.exists():
                path.replace(previous)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path):
    """Wait until the content of a file, or the names in a directory, are on the disk.

    Parameters
    ----------
    path : path-like
    """
    if os.name == "posix":  # elsewhere neither can be opened for this
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path):
    """Set the file name of errors of writing, which the system leaves out when the disk is full.

    Parameters
    ----------
    path : path-like
        The file being written.

    Raises
    ------
    OSError
        Whenever the body of the ``with`` statement does, with `path` as its ``filename``.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
