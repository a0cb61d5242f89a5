"""Time the methods of a model on arrays against the matrix products that they are made of.

    python benchmarks/encoding.py

`encode` is one product, `reconstruct` two; NumPy's BLAS computes the same products of floats at
once. All take turns in every round, in one thread, and ratios are taken within each round. Beside
the products there are the sigmoids, and of bytes the division by 256, which NumPy's are spared.
"""

import argparse
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from common import (
    describe_machine,
    limit_threads,
    new_file,
    positive_int,
    print_machine,
    print_table,
    say,
    spread,
    write_json,
)
from contestants import N_HIDDEN, N_VISIBLE, SEED


def measure(dtype, n_images, rounds):
    """Time methods and products in turn.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        The floatX.
    n_images : int
    rounds : int
        Measurements of each.

    Returns
    -------
    dict from str to ndarray of float, shape (rounds,)
        Seconds, by what was done.
    """
    import pytensor

    import dae

    with pytensor.config.change_flags(floatX=dtype):
        model = dae.Autoencoder(np.random.RandomState(SEED), None, None, N_VISIBLE, N_HIDDEN)
    images = np.random.RandomState(SEED).randint(256, size=(n_images, N_VISIBLE)).astype(np.uint8)
    x = (images / 256).astype(dtype)
    W = model.W.get_value()
    tasks = {
        "encode": lambda: model.encode(x),
        "encode bytes": lambda: model.encode(images),
        "one product": lambda: x @ W,
        "reconstruct": lambda: model.reconstruct(x),
        "reconstruct bytes": lambda: model.reconstruct(images),
        "two products": lambda: (x @ W) @ W.T,
    }
    model.reconstruct(model.decode(model.encode(x[:1])))
    seconds = {name: np.empty(rounds) for name in tasks}
    order = random.Random(0)
    for i in range(rounds):
        for name in order.sample(list(tasks), len(tasks)):
            begin = time.perf_counter()
            tasks[name]()
            seconds[name][i] = time.perf_counter() - begin
    return seconds


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = argparse.ArgumentParser(
        description="Time encode and reconstruct against NumPy's products.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", type=positive_int, default=60_000)
    parser.add_argument("--rounds", type=positive_int, default=7)
    parser.add_argument("--output", type=new_file, default="encoding.json", help="a new file")
    options = parser.parse_args(argv)

    machine = describe_machine()
    limit_threads(1)
    results = {}
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh, max_tasks_per_child=1) as pool:
        for dtype in ("float32", "float64"):
            say(dtype)
            results[dtype] = pool.submit(measure, dtype, options.images, options.rounds).result()

    print_machine(machine)
    print("Seconds, and the ratio to NumPy's products: medians (quartiles).\n")
    print_table(
        ["", *results],
        [
            [
                name,
                *(
                    f"{np.median(times[name]):.2f} {spread(times[name] / times[products], 2)}"
                    for times in results.values()
                ),
            ]
            for name, products in [
                ("encode", "one product"),
                ("encode bytes", "one product"),
                ("reconstruct", "two products"),
                ("reconstruct bytes", "two products"),
            ]
        ],
    )
    seconds = {
        dtype: {name: list(values) for name, values in times.items()}
        for dtype, times in results.items()
    }
    write_json(options.output, {"machine": machine, "seconds": seconds})


if __name__ == "__main__":
    main()
