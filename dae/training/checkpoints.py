"""Checkpoints: all that a training needs to go on, to the same bits, as the bytes of one file.

The file is an .npz archive without pickles, which `numpy.load` reads as well. Its arrays:

- ``format_version``: 1;
- ``config``: the settings of the run, as JSON;
- ``history``: shape (epochs done, 2), float64, the cost and the seconds of each;
- ``costs``: shape (minibatches done,), float64, of the epoch that is not finished;
- ``W``, ``b``, ``b_prime`` and ``streams`` (see `get_state`), from the first step on.

The file ends with the archive's comment: the SHA-256 of everything before it, in hexadecimal.
"""

import hashlib
import io
import json
import zipfile
from typing import NamedTuple

import numpy as np

FORMAT_VERSION = 1
DIGEST_SIZE = 64


class Checkpoint(NamedTuple):
    """Where a training has got to."""

    config: dict
    """The settings, such as JSON can hold."""
    history: list
    """Cost and seconds of each epoch that is done."""
    costs: list
    """The costs of the minibatches that are done of the epoch after."""
    state: dict
    """What `get_state` gave; empty before the first step, when all follows from the seed."""


def get_state(model):
    """Give what a training changes: the parameters of a model, and its streams.

    Parameters
    ----------
    model : Autoencoder

    Returns
    -------
    dict
        From ``W``, ``b``, ``b_prime`` and ``streams`` to arrays, not to be written to.
    """
    W, b, b_prime = (param.get_value(borrow=True) for param in model.params)
    return {"W": W, "b": b, "b_prime": b_prime, "streams": model.theano_rng.get_state()}


def set_state(model, state):
    """Bring a model where `get_state` found it; the graph of its cost must be there already."""
    for param, name in zip(model.params, ["W", "b", "b_prime"], strict=True):
        param.set_value(state[name])
    model.theano_rng.set_state(state["streams"])


def to_bytes(checkpoint):
    """Make the content of a file.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    bytes
    """
    file = io.BytesIO()
    np.savez(
        file,
        format_version=FORMAT_VERSION,
        config=json.dumps(checkpoint.config),
        history=np.array(checkpoint.history, float).reshape(-1, 2),
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
    if version != FORMAT_VERSION:
        raise ValueError(f"a checkpoint of format {version}; this dae reads {FORMAT_VERSION}")
    return Checkpoint(
        config=json.loads(str(arrays.pop("config"))),
        history=arrays.pop("history").tolist(),
        costs=arrays.pop("costs").tolist(),
        state=arrays,
    )


def _digest(content):
    return hashlib.sha256(content[:-DIGEST_SIZE]).hexdigest().encode()
