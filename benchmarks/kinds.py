"""Time one training step of each kind of autoencoder against that of the worksheet's.

    python benchmarks/kinds.py

The kinds are those of noise, of cost and of weights, all 784-100-784 units and 20 images of mini
MNIST. Nobody should pay much for them: with noise of any kind, a step may take 1.3 times as long as
the worksheet's autoencoder, without noise.

In every round, in random order, each kind trains `STEPS` minibatches; ratios are taken within each
round. Where arrays lie in memory makes a difference of ten percent between two equal functions, so
all of it is done in several processes, and all rounds count alike.
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
from contestants import BATCH_SIZE, CORRUPTION_LEVEL, N_HIDDEN, N_VISIBLE, SEED

LEARNING_RATE = 0.001
"""Small enough for the squared error."""

STEPS = 25

REFERENCE = "autoencoder"

KINDS = {
    REFERENCE: {},
    "autoencoder, squared error": {"cost": "squared-error"},
    "autoencoder, not tied": {"tied_weights": False},
    "masking": {"corruption": "masking"},
    "salt-and-pepper": {"corruption": "salt-and-pepper"},
    "gaussian": {"corruption": "gaussian"},
    "masking, squared error": {"corruption": "masking", "cost": "squared-error"},
    "salt-and-pepper, squared error": {"corruption": "salt-and-pepper", "cost": "squared-error"},
    "gaussian, squared error": {"corruption": "gaussian", "cost": "squared-error"},
}
"""The arguments of the models; those with a corruption are denoising autoencoders."""


def measure(dtype, rounds):
    """Time the steps of all kinds in turn.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        The floatX.
    rounds : int
        Measurements of each.

    Returns
    -------
    dict from str to ndarray of float, shape (rounds,)
        Microseconds per step, by kind.
    """
    import pytensor

    import dae
    from dae.datasets import read_data, to_floatX

    pytensor.config.floatX = dtype
    train_x = pytensor.shared(to_floatX(read_data().train[0], dtype))
    steps = {}
    for name, kind in KINDS.items():
        model = dae.DenoisingAutoencoder if "corruption" in kind else dae.Autoencoder
        steps[name] = dae.compile_train_da(
            model(np.random.RandomState(SEED), n_visible=N_VISIBLE, n_hidden=N_HIDDEN, **kind),
            train_x,
            batch_size=BATCH_SIZE,
            corruption_level=CORRUPTION_LEVEL,
            learning_rate=LEARNING_RATE,
        )
    microseconds = {name: np.empty(rounds) for name in KINDS}
    order = random.Random(0)
    for i in range(rounds):
        for name in order.sample(list(KINDS), len(KINDS)):
            begin = time.perf_counter()
            for index in range(STEPS):
                steps[name](index)
            microseconds[name][i] = 1e6 * (time.perf_counter() - begin) / STEPS
    return microseconds


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = argparse.ArgumentParser(
        description="Time the steps of all kinds of autoencoders.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=positive_int, default=200, help="in a process")
    parser.add_argument("--processes", type=positive_int, default=5, help="one after another")
    parser.add_argument("--output", type=new_file, default="kinds.json", help="a new file")
    options = parser.parse_args(argv)

    machine = describe_machine()
    limit_threads(1)
    results = {}
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh, max_tasks_per_child=1) as pool:
        for dtype in ("float32", "float64"):
            say(dtype)
            parts = [
                pool.submit(measure, dtype, options.rounds).result()
                for _ in range(options.processes)
            ]
            results[dtype] = {name: np.hstack([part[name] for part in parts]) for name in KINDS}

    print_machine(machine)
    print("Microseconds per step, and the ratio to the autoencoder's: medians (quartiles).\n")
    print_table(
        ["kind", *results],
        [
            [
                name,
                *(
                    f"{np.median(times[name]):.0f} {spread(times[name] / times[REFERENCE], 2)}"
                    for times in results.values()
                ),
            ]
            for name in KINDS
        ],
    )
    microseconds = {
        dtype: {name: list(values) for name, values in times.items()}
        for dtype, times in results.items()
    }
    write_json(options.output, {"machine": machine, "microseconds_per_step": microseconds})


if __name__ == "__main__":
    main()
