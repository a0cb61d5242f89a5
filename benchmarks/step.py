"""Time one training step of `dae` against its peers'.

    python benchmarks/step.py

The step is the worksheet's, 784-100-784 units and 20 images of mini MNIST, of the autoencoder
(AE) and of the denoising autoencoder (dA). Every contestant (see `contestants.py`) runs in a
process of its own, so that thread pools, allocators and compilers keep apart; one that is missing
or fails is named and left out.

First all train one epoch from the same start, and their costs are compared: those of the AE and
of the dA with given masks one by one, those of the dA with masks of one's own on average. That
also warms everything up. Then, in every round in another order, each trains one epoch of 250
minibatches while the others wait. Times are those of an epoch, divided by 250; ratios are taken
within each round. All of it is done for each number of threads.
"""

import argparse
import multiprocessing
import random
import sys
import time
from contextlib import suppress
from itertools import product

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
from contestants import AS_WRITTEN, CONTESTANTS, OURS, PASTED, PRODUCTS, make_start

MODELS = {"AE": "none", "dA": "drawn"}
"""The models that are timed, and their noise."""

TOLERANCES = {"float32": 1e-5, "float64": 1e-13}
"""Of a cost, relative; only roundings differ."""

MEAN_TOLERANCE = 5e-3
"""Of the mean cost of the epoch, where masks differ; AE and dA are 4 % apart."""

PAUSE = 0.05
"""Seconds in which the threads of one contestant stop spinning before the next is timed."""


def serve(connection, name):
    """Train an epoch for every (dtype, noise) received, until the connection is closed.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        Where the seconds and the costs of the epoch are sent to or, if it failed, the reason.
    name : str
        The name of the contestant.
    """
    starts, epochs = {}, {}
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            dtype, noise = key = connection.recv()
            try:
                if dtype not in starts:
                    starts[dtype] = make_start(dtype)
                if key not in epochs:
                    epochs[key] = CONTESTANTS[name](starts[dtype], noise)
                begin = time.perf_counter()
                costs = epochs[key]()
                connection.send((time.perf_counter() - begin, costs))
            except Exception as error:
                connection.send(f"{type(error).__name__}: {error}".splitlines()[0])


class Contestant:
    """A process that serves one of the contestants.

    Parameters
    ----------
    name : str
        The name of the contestant.
    """

    def __init__(self, name):
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, name), daemon=True)
        self.process.start()
        theirs.close()

    def train(self, dtype, noise):
        """Train an epoch.

        Parameters
        ----------
        dtype : {'float32', 'float64'}
            What to compute in.
        noise : {'none', 'drawn', 'given'}
            The kind of noise.

        Returns
        -------
        seconds : float
            How long it took.
        costs : ndarray of float, shape (n_batches,)
            The costs of the minibatches.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        try:
            self.connection.send((dtype, noise))
            answer = self.connection.recv()
        except (EOFError, OSError):
            answer = "the process died"
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def stop(self):
        """Stop the process."""
        self.connection.close()
        self.process.join()


def start_all(dtypes):
    """Start the contestants, warm them up, and check that all compute the same costs.

    Parameters
    ----------
    dtypes : sequence of str
        What to compute in.

    Returns
    -------
    contestants : dict from str to Contestant
        The processes by name.
    missing : dict from str to str
        The reasons for leaving out, by name.
    """
    contestants, missing, ours = {}, {}, {}
    for name in CONTESTANTS:
        say(f"  {name}")
        contestant = Contestant(name)
        try:
            for dtype, noise in product(dtypes, ["none", "drawn", "given"]):
                _, costs = contestant.train(dtype, noise)
                if name != PRODUCTS:
                    check(name, dtype, noise, costs, ours.setdefault((dtype, noise), costs))
            contestants[name] = contestant
        except RuntimeError as error:
            if name == OURS:
                sys.exit(f"{name}: {error}")
            say(f"    left out: {error}")
            missing[name] = str(error)
            contestant.stop()
    return contestants, missing


def check(name, dtype, noise, costs, ours):
    """Stop the benchmark if costs are not ours.

    Parameters
    ----------
    name : str
        The contestant that computed them.
    dtype : {'float32', 'float64'}
        What they were computed in.
    noise : {'none', 'drawn', 'given'}
        The kind of noise.
    costs, ours : ndarray of float, shape (n_batches,)
        Its costs and ours.
    """
    tolerance = TOLERANCES[dtype]
    if noise == "drawn":
        costs, ours, tolerance = np.mean(costs), np.mean(ours), MEAN_TOLERANCE
    difference = np.max(np.abs(costs - ours) / ours)
    if not difference <= tolerance:
        sys.exit(
            f"{name}: the costs are not ours, {dtype}, noise {noise}: relative difference "
            f"{difference:.1e}, expected at most {tolerance:.1e}"
        )


def measure(contestants, dtypes, rounds):
    """Time all in turn.

    Parameters
    ----------
    contestants : dict from str to Contestant
        The processes by name.
    dtypes : sequence of str
        What to compute in.
    rounds : int
        Measurements of each.

    Returns
    -------
    dict from str to dict from (str, str) to ndarray of float, shape (rounds,)
        Microseconds per minibatch, by dtype, then by (model, name).
    """
    times = {
        dtype: {key: np.empty(rounds) for key in product(MODELS, contestants)} for dtype in dtypes
    }
    order = random.Random(0)
    for i in range(rounds):
        say(f"  round {i + 1} of {rounds}")
        for dtype, model in product(dtypes, MODELS):
            for name in order.sample(list(contestants), len(contestants)):
                time.sleep(PAUSE)
                seconds, costs = contestants[name].train(dtype, MODELS[model])
                times[dtype][model, name][i] = 1e6 * seconds / len(costs)
    return times


def print_results(columns):
    """Print the times of both models, and how ours compare.

    Parameters
    ----------
    columns : dict from (str, int) to dict from (str, str) to ndarray of float, shape (rounds,)
        Microseconds per minibatch, by (dtype, threads), then by (model, name).
    """
    titles = [f"{dtype}, {n} thread{'s' if n > 1 else ''}" for dtype, n in columns]

    def cell(times, model, name):
        if (model, name) not in times:
            return "missing"
        ratio = np.median(times[model, name] / times[model, OURS])
        return f"{spread(times[model, name], 0)} {ratio:.2f}"

    print("Microseconds per minibatch: median (quartiles), and the median ratio to ours.\n")
    for model in MODELS:
        rows = [[name, *(cell(t, model, name) for t in columns.values())] for name in CONTESTANTS]
        print_table([model, *titles], rows)

    def to_ours(times, model, name):
        return times.get((model, name), [np.nan]) / times[model, OURS]

    def fastest_peer(times, model):
        peers = [name for m, name in times if m == model and name not in (OURS, PASTED, PRODUCTS)]
        return min((to_ours(times, model, name) for name in peers), key=np.median, default=[np.nan])

    ratios = {
        "AE, ours to the five products": lambda t: 1 / to_ours(t, "AE", PRODUCTS),
        "ours, dA to AE": lambda t: t["dA", OURS] / t["AE", OURS],
        "AE, pasted to ours": lambda t: to_ours(t, "AE", PASTED),
        "dA, pasted to ours": lambda t: to_ours(t, "dA", PASTED),
        "AE, as written to ours": lambda t: to_ours(t, "AE", AS_WRITTEN),
        "dA, as written to ours": lambda t: to_ours(t, "dA", AS_WRITTEN),
        "AE, fastest peer to ours": lambda t: fastest_peer(t, "AE"),
        "dA, fastest peer to ours": lambda t: fastest_peer(t, "dA"),
    }
    rows = [
        [title, *(spread(ratio(t), 2) for t in columns.values())] for title, ratio in ratios.items()
    ]
    print_table(["Ratios: median (quartiles)", *titles], rows)


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = argparse.ArgumentParser(
        description="Time one training step of dae against its peers'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=positive_int, default=10, help="measurements of each")
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1, 2], help="to use")
    parser.add_argument(
        "--dtypes", choices=TOLERANCES, nargs="+", default=list(TOLERANCES), help="to compute in"
    )
    parser.add_argument("--output", type=new_file, default="step.json", help="a new file")
    options = parser.parse_args(argv)

    machine = describe_machine()
    columns, left_out = {}, {}
    for threads in options.threads:
        say(f"{threads} thread{'s' if threads > 1 else ''}: compile, warm up, compare costs")
        limit_threads(threads)
        contestants, left_out[threads] = start_all(options.dtypes)
        for dtype, times in measure(contestants, options.dtypes, options.rounds).items():
            columns[dtype, threads] = times
        for contestant in contestants.values():
            contestant.stop()

    print_machine(machine)
    print_results(columns)
    for threads, reasons in left_out.items():
        for name, reason in reasons.items():
            print(f"Left out (threads: {threads}): {name}: {reason}")
    write_json(
        options.output,
        {
            "machine": machine,
            "left_out": left_out,
            "microseconds_per_minibatch": [
                {
                    "dtype": dtype,
                    "threads": threads,
                    "model": model,
                    "name": name,
                    "rounds": list(values),
                }
                for (dtype, threads), times in columns.items()
                for (model, name), values in times.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
