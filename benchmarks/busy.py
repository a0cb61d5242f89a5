"""Measure what a step takes while other processes keep cores busy.

    python benchmarks/busy.py

The step of an autoencoder is timed with one thread and with one for each core, while no other
process, one, and as many as there are cores do nothing but count. In every round the numbers of
threads take turns, so that what else happens on the machine meets both.
"""

import multiprocessing
import time

import numpy as np
from common import (
    describe_machine,
    make_parser,
    positive_int,
    print_machine,
    print_table,
    say,
    spread,
    write_json,
)

SECONDS = 0.3
"""How long a number of threads is measured in a round."""


def count():
    """Keep a core busy."""
    while True:
        pass


def make_step(dtype, n_hidden, batch_size):
    """Return a function that trains an autoencoder on the same minibatch again and again.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    n_hidden, batch_size : int

    Returns
    -------
    callable
    """
    import pytensor

    import dae
    from dae.datasets import read_data, to_floatX

    pytensor.config.floatX = dtype
    da = dae.Autoencoder(np.random.RandomState(123), n_hidden=n_hidden)
    cost, updates = da.get_cost_updates(corruption_level=0.0, learning_rate=0.01)
    x = pytensor.shared(to_floatX(read_data().train[0][:batch_size], dtype))
    step = pytensor.function([], cost, updates=updates, givens={da.x: x})
    step()  # which compiles
    return step


def measure(step, threads):
    """Return the microseconds of a step, the mean over `SECONDS`.

    Parameters
    ----------
    step : callable
    threads : int

    Returns
    -------
    float
    """
    from dae.compiler import set_num_threads

    set_num_threads(threads)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        step()
        steps += 1
    return 1e6 * (time.perf_counter() - begin) / steps


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser(
        "Measure what a step takes while other processes keep cores busy.", "busy.json"
    )
    parser.add_argument("--rounds", type=positive_int, default=20, help="measurements of each")
    parser.add_argument("--n-hidden", type=positive_int, default=500, help="units")
    parser.add_argument("--batch-size", type=positive_int, default=20, help="images")
    options = parser.parse_args(argv)

    from dae.compiler import set_num_threads
    from dae.compiler._threads import usable_cores

    machine, cores, rows, results = describe_machine(), usable_cores(), [], []
    spawn = multiprocessing.get_context("spawn")
    for dtype in ("float32", "float64"):
        step = make_step(dtype, options.n_hidden, options.batch_size)
        for busy in sorted({0, 1, cores}):
            say(f"{dtype}, {busy} other processes")
            others = [spawn.Process(target=count, daemon=True) for _ in range(busy)]
            for other in others:
                other.start()
            time.sleep(1)
            times = np.array(
                [[measure(step, threads) for threads in (1, cores)] for _ in range(options.rounds)]
            ).T
            for other in others:
                other.kill()
                other.join()
            ratio = times[1] / times[0]
            rows.append([dtype, f"{busy}", *(spread(t, 0) for t in times), spread(ratio, 2)])
            results.append({"dtype": dtype, "others": busy, "microseconds": times})
    set_num_threads(None)

    print_machine(machine)
    print(f"Microseconds per step, {options.n_hidden} units, {options.batch_size} images: median")
    print("(quartiles).\n")
    print_table(["", "other processes", "1 thread", f"{cores} threads", "ratio"], rows)
    write_json(options.output, {"machine": machine, "cores": cores, "results": results})


if __name__ == "__main__":
    main()
