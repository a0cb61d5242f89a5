"""The table of a run's costs: a row for every epoch, there as soon as it ends."""

import os

from dae._files import atomic_write, naming


class CostsFile:
    """A file ``costs.csv``, which is added to, and written anew if somebody else changed it.

    Its methods take the epochs that are done, and the columns after those of an `Epoch`: a dict
    from their names to functions, which return the value of an epoch, a number or None.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    """

    def __init__(self, path):
        self.path = path
        self._stamp = None

    def write(self, history, columns):
        """Write it anew, whole or not at all."""
        header = ",".join(["epoch,cost,seconds", *columns])
        rows = [row_of(epoch, columns) for epoch in history]
        with atomic_write(self.path, exclusive=True) as path:
            path.write_bytes("".join([f"{header}\n", *rows]).encode("ascii"))
            self._stamp = stamp_of(path)

    def add_last(self, history, columns):
        """Add the row of the last epoch; the others must be there, or it is written anew."""
        with naming(self.path), self.path.open("ab") as file:
            # All of this is about the file that is open, whoever may replace it meanwhile.
            if stamp_of(file.fileno()) != self._stamp:  # somebody has removed or changed it
                self.write(history, columns)
                return
            file.write(row_of(history[-1], columns).encode("ascii"))
            file.flush()
            self._stamp = stamp_of(file.fileno())

    def mend(self, history, columns):
        """Write it anew if somebody has removed or changed it."""
        if stamp_of(self.path) != self._stamp:
            self.write(history, columns)


def row_of(epoch, columns):
    """Return the row of an epoch; costs have all their digits."""
    values = [value(epoch) for value in columns.values()]
    texts = ["" if value is None else repr(value) for value in values]
    return ",".join([f"{epoch.epoch},{epoch.cost!r},{epoch.seconds:.6f}", *texts]) + "\n"


def stamp_of(file):
    """Return what changes when a file is written to or replaced; None where there is none.

    Parameters
    ----------
    file : path-like or int
        Its path, or the descriptor of an open one.
    """
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
