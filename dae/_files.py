"""Files that other processes, full disks and power cuts leave whole."""

import os
from contextlib import contextmanager


@contextmanager
def written_whole(path, previous=None):
    """Let a file appear whole or not at all, even when the power fails.

    Parameters
    ----------
    path : pathlib.Path
        Where the file shall be.
    previous : pathlib.Path, optional
        What becomes of the file that is there now; by default it is replaced.

    Yields
    ------
    pathlib.Path
        Where to write it; the extension is the same.

    Raises
    ------
    OSError
        If it cannot be written; what was at `path` is still there.
    """
    temporary = path.with_name(f"unfinished-{path.name}")
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
    """Wait until a file, or the names in a directory, are on the disk."""
    if os.name == "posix":  # elsewhere neither can be opened for this
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming(path):
    """Let errors of writing name the file, which the system does not when the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
