"""Checkpoints: all that a training needs to go on, to the same bits, as the bytes of one file.

The file is an .npz archive without pickles, which `numpy.load` reads as well. Its arrays:

- ``format_version``: 2;
- ``config``: the settings of the run, as JSON;
- ``history``: shape (epochs done, 3), float64, of each the cost, the seconds, and the loss on the
  validation data, NaN where there are none; format 1, of version 0.1, lacks the last;
- ``costs``: shape (minibatches done,), float64, of the epoch that is not finished;
- the state of the training, under the names that `_state` explains (``W``, ``b``, ``b_prime`` and
  ``streams``, for an autoencoder), from the first step on.

The file ends with the archive's comment: the SHA-256 of everything before it, in hexadecimal.
"""

import hashlib
import io
import json
import zipfile
from typing import NamedTuple

import numpy as np

FORMAT_VERSION = 2
DIGEST_SIZE = 64


class Checkpoint(NamedTuple):
    """Where a training has got to."""

    config: dict
    """The settings, such as JSON can hold."""
    history: list
    """Cost, seconds and validation loss, or None, of each epoch that is done."""
    costs: list
    """The costs of the minibatches that are done of the epoch after."""
    state: dict
    """From names to arrays: see `State.get`. Empty before the first step."""


def to_bytes(checkpoint):
    """Return the content of a file.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the training has got to.

    Returns
    -------
    bytes
    """
    file = io.BytesIO()
    np.savez(
        file,
        format_version=FORMAT_VERSION,
        config=json.dumps(checkpoint.config),
        history=np.array(checkpoint.history, float).reshape(-1, 3),
        costs=np.array(checkpoint.costs, float),
        **checkpoint.state,
    )
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = bytes(DIGEST_SIZE)
    content = file.getvalue()
    return content[:-DIGEST_SIZE] + _digest(content)


def from_bytes(content):
    """Read the content of a file.

    Parameters
    ----------
    content : bytes
        What `to_bytes` returned.

    Returns
    -------
    Checkpoint

    Raises
    ------
    ValueError
        If it is no checkpoint, a damaged one, or one of another format.
    """
    if content[-DIGEST_SIZE:] != _digest(content):
        raise ValueError("damaged, or not a checkpoint: its checksum is wrong")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    version = arrays.pop("format_version")
    if version not in (1, FORMAT_VERSION):
        raise ValueError(
            f"a checkpoint of format {version}; this dae reads those up to {FORMAT_VERSION}"
        )
    history = [
        (cost, seconds, *(None if np.isnan(loss) else loss for loss in losses))
        for cost, seconds, *losses in arrays.pop("history").tolist()
    ]
    return Checkpoint(
        config=json.loads(str(arrays.pop("config"))),
        history=history,
        costs=arrays.pop("costs").tolist(),
        state=arrays,
    )


def _digest(content):
    return hashlib.sha256(content[:-DIGEST_SIZE]).hexdigest().encode()
