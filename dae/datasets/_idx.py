"""IDX, the format of MNIST's own files."""

import struct

from dae.datasets._reader import open_reader


def read_idx(path):
    """Read an IDX file of bytes, plain or gzipped.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of uint8, shape (n, height, width) or (n,)
        Images or labels.

    Raises
    ------
    DataError
        If the file is damaged, or is not an IDX file of images or labels.
    """
    with open_reader(path) as reader:
        magic, n_dimensions = reader.read(3), reader.read(1)[0]
        if magic != b"\0\0\x08" or n_dimensions not in (1, 3):
            raise reader.error("not an IDX file of byte images or labels")
        shape = struct.unpack(f">{n_dimensions}I", reader.read(4 * n_dimensions))
        array = reader.read_array("u1", shape)
        reader.check_end()
    return array
