"""What the command `encode` does with its options: read, compute the codes, write them."""

import contextlib
import os
from functools import lru_cache, partial
from itertools import islice

from dae.commands._arrays import Rows, write_csv, write_npy, write_npz
from dae.commands._console import StoppedError
from dae.commands._engines import Engine, call_until_done, one_at_a_time
from dae.commands._model_and_images import (
    CHUNK,
    check_output,
    compute,
    load_model_and_images,
    written,
)
from dae.compiler import set_num_threads
from dae.training.model_file import load_autoencoder

CHUNKS_PER_JOB = 4
"""So many chunks are given to each process at a time: more would only take memory."""

CHUNKS_OF_A_CLUSTER = 64
"""So many are given to a cluster, all of which is to work."""


def encode_and_save(options, session):
    """Write the codes of images to a file.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.encode.make_parser`.
    session : Session
        The console.
    """
    output = options.output
    check_output(output, options.force)
    if options.backend is None and (options.address or options.jobs):
        option = "--address" if options.address else "--jobs"
        raise StoppedError(2, f"{option} is for workers; give --backend as well")
    model, images = load_model_and_images(options, session)
    with contextlib.ExitStack() as stack:
        if options.backend is None:
            parts = compute(lambda x, i: model.encode(x), images, session)
        else:
            n_chunks = -(-images.n_images // CHUNK)
            engine = stack.enter_context(
                Engine(options.backend, options.address, options.jobs, options.threads, n_chunks)
            )
            parts = compute_with(engine, options.run, images, session)
        codes = Rows((images.n_images, model.n_hidden), model.x.dtype, parts)
        with written(output, options.force, session) as file:
            if output.suffix == ".npy":
                write_npy(file, codes)
            elif output.suffix == ".npz":
                write_npz(file, {"codes": codes} | images.known())
            else:
                write_csv(file, codes, table_columns(images))
    session.say(f"{images.n_images} codes of {model.n_hidden} values: {output}")


def compute_with(engine, run, images, session):
    """Compute codes in other processes, of some of the images at a time.

    Parameters
    ----------
    engine : Engine
    run : str
        The run directory, or the model file.
    images : Images
    session : Session
        The console; it shows a bar, and may have been told to stop.

    Yields
    ------
    ndarray
        Codes, those of `dae.commands._model_and_images.compute`.
    """
    path = os.path.abspath(run)
    n_chunks = CHUNKS_OF_A_CLUSTER if engine.jobs == -1 else CHUNKS_PER_JOB * engine.jobs
    chunks = images.chunks()
    n_done = 0
    with session.bar(total=images.n_images, unit="image") as show:
        while some := list(islice(chunks, n_chunks)):
            if session.stopped:
                raise session.stopped
            arguments = [(path, engine.threads, chunk) for chunk in some]
            yield from call_until_done(
                engine, encode_chunk, partial(list, arguments), session.complain
            )
            n_done += sum(map(len, some))
            show("", n_done, images.n_images)


_load_autoencoder = lru_cache(maxsize=1)(lambda path, stamp: load_autoencoder(path))


def encode_chunk(path, threads, images):
    """Compute codes in a worker, which keeps the model for the next call.

    Parameters
    ----------
    path : str
        The run directory, or the model file.
    threads : int
    images : ndarray of uint8 or float, shape (n, n_visible)

    Returns
    -------
    ndarray, shape (n, n_hidden)
    """
    with one_at_a_time:
        set_num_threads(threads)
        return _load_autoencoder(path, os.stat(path).st_mtime_ns).encode(images)


def table_columns(images):
    """Return what a table says of each image besides its code.

    Parameters
    ----------
    images : Images

    Returns
    -------
    dict
        From ``name`` and ``label``, as far as there are any, to an array of as many values as
        there are images; a label is the name of its class, if it has one.
    """
    columns = {}
    if images.names is not None:
        columns["name"] = images.names
    if images.labels is not None:
        named = images.label_names is not None
        columns["label"] = images.label_names[images.labels] if named else images.labels
    return columns
