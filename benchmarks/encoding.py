"""Time the methods of a model on arrays against the matrix products that they are made of.

    python benchmarks/encoding.py

`encode` is one product, `reconstruct` two; NumPy's BLAS computes the same products of floats at
once. All take turns in every round, in one thread, and ratios are taken within each round. Beside
the products there are the sigmoids, and of bytes the division by 256, which NumPy's are spared.
"""

import numpy as np
from common import (
    describe_machine,
    fresh_processes,
    limit_threads,
    make_parser,
    positive_int,
    print_machine,
    print_ratios,
    say,
    time_in_turn,
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
    model.reconstruct(model.decode(model.encode(x[:1])))  # which compiles
    return time_in_turn(tasks, rounds)


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser("Time encode and reconstruct against NumPy's products.", "encoding.json")
    parser.add_argument("--images", type=positive_int, default=60_000)
    parser.add_argument("--rounds", type=positive_int, default=7)
    options = parser.parse_args(argv)

    machine = describe_machine()
    limit_threads(1)
    results = {}
    with fresh_processes() as pool:
        for dtype in ("float32", "float64"):
            say(dtype)
            results[dtype] = pool.submit(measure, dtype, options.images, options.rounds).result()

    print_machine(machine)
    print("Seconds, and the ratio to NumPy's products: medians (quartiles).\n")
    products = {
        "encode": "one product",
        "encode bytes": "one product",
        "reconstruct": "two products",
        "reconstruct bytes": "two products",
    }
    print_ratios("", results, products, 2)
    write_json(options.output, {"machine": machine, "seconds": results})


if __name__ == "__main__":
    main()
