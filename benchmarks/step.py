"""Time one training step of `dae` against its peers'.

    python benchmarks/step.py
    python benchmarks/step.py --grid --plot grid.png

The step is the worksheet's, 784-100-784 units and 20 images of mini MNIST, or that of other sizes,
of the autoencoder (AE) and of the denoising autoencoder (dA). Every contestant (see
`contestants.py`) runs in a process of its own, so that thread pools, allocators and compilers keep
apart; one that is missing or fails is named and left out.

First all train one epoch from the same start, and their costs are compared: those of the AE and
of the dA with given masks one by one, those of the dA with masks of one's own on average. That
also warms everything up. Then, in every round in another order, each trains one epoch, of 4 to 250
minibatches, while the others wait. Times are those of an epoch, divided by the number of
minibatches; ratios are taken within each round. All of it is done for each size and each number of
threads; a process is bound to as many cores.
"""

import multiprocessing
import os
import random
import sys
import time
from contextlib import suppress
from itertools import product

import numpy as np
from common import (
    column_title,
    describe_machine,
    limit_threads,
    make_parser,
    new_file,
    positive_int,
    print_machine,
    print_table,
    say,
    spread,
    write_json,
)
from contestants import (
    AS_WRITTEN,
    BATCH_SIZE,
    CONTESTANTS,
    N_HIDDEN,
    OURS,
    PASTED,
    PEAK,
    PRODUCTS,
    WITHOUT_COSTS,
    make_start,
)

MODELS = {"AE": "none", "dA": "drawn"}
"""The models that are timed, and their noise."""

TOLERANCES = {"float32": 1e-5, "float64": 1e-13}
"""Of a cost, relative; only roundings differ."""

SINGLE = 10
"""Costs that are compared where each is of one image: there roundings soon grow."""

MEAN_TOLERANCE = 0.35
"""Of the mean cost of n images, times the root of n, where masks differ: 0.005 for the 5,000 images
of mini MNIST, of which AE and dA are 4 % apart."""

GRID = {"n_hidden": [100, 500, 1000, 2000], "batch_size": [1, 20, 100, 500]}
"""The sizes of ``--grid``."""

PEERS = ["JAX", "PyTorch", "NumPy", "PyTensor"]
"""What the names of contestants begin with, but for ours and `WITHOUT_COSTS`."""

PAUSE = 0.2
"""Seconds in which the threads of one contestant stop spinning before the next is timed.

After 0.05 those of OpenBLAS still kept a core busy, and who came next was up to twice as slow."""


def bind(cores):
    """Bind this process to so many of its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def serve(connection, name, n_hidden, batch_size, cores):
    """Train an epoch for every (dtype, noise) received, until the connection is closed.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        Where the seconds and the costs of the epoch are sent to or, if it failed, the reason.
    name : str
        The name of the contestant.
    n_hidden, batch_size : int
        The sizes.
    cores : int
        How many cores to use.
    """
    bind(cores)
    starts, epochs = {}, {}
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            dtype, noise = key = connection.recv()
            try:
                if dtype not in starts:
                    starts[dtype] = make_start(dtype, n_hidden, batch_size)
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
    *sizes : int
        Hidden units, images in a minibatch, cores.
    """

    def __init__(self, name, *sizes):
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, name, *sizes), daemon=True)
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


def start_all(names, dtypes, *sizes):
    """Start the contestants, warm them up, and check that all compute the same costs.

    Parameters
    ----------
    names : sequence of str
        Their names, ours first.
    dtypes : sequence of str
        What to compute in.
    *sizes : int
        Hidden units, images in a minibatch, cores.

    Returns
    -------
    contestants : dict from str to Contestant
        The processes by name.
    missing : dict from str to str
        The reasons for leaving out, by name.
    """
    contestants, missing, ours = {}, {}, {}
    for name in names:
        say(f"  {name}")
        contestant = Contestant(name, *sizes)
        try:
            for dtype, noise in product(dtypes, ["none", "drawn", "given"]):
                _, costs = contestant.train(dtype, noise)
                if name not in WITHOUT_COSTS:
                    reference = ours.setdefault((dtype, noise), costs)
                    check(name, dtype, noise, costs, reference, *sizes[:2])
            contestants[name] = contestant
        except RuntimeError as error:
            if name == OURS:
                sys.exit(f"{name}: {error}")
            say(f"    left out: {error}")
            missing[name] = str(error)
            contestant.stop()
    return contestants, missing


def check(name, dtype, noise, costs, ours, n_hidden, batch_size):
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
    n_hidden : int
        Hidden units: more terms have more roundings.
    batch_size : int
        Images in a minibatch: of fewer images the mean varies more, and of one only the first
        costs are alike.
    """
    tolerance = TOLERANCES[dtype] * max(1, n_hidden / N_HIDDEN)
    if noise == "drawn":
        tolerance = MEAN_TOLERANCE / np.sqrt(batch_size * len(costs))
        costs, ours = np.mean(costs, keepdims=True), np.mean(ours, keepdims=True)
    compared = SINGLE if batch_size == 1 else None
    difference = np.max((np.abs(costs - ours) / ours)[:compared])
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
    titles = [column_title(*key) for key in columns]
    present = {name for times in columns.values() for _, name in times}

    def cell(times, model, name):
        if (model, name) not in times:
            return "missing"
        ratio = np.median(times[model, name] / times[model, OURS])
        return f"{spread(times[model, name], 0)} {ratio:.2f}"

    print("Microseconds per minibatch: median (quartiles), and the median ratio to ours.\n")
    for model in MODELS:
        rows = [
            [name, *(cell(t, model, name) for t in columns.values())]
            for name in CONTESTANTS
            if name in present
        ]
        print_table([model, *titles], rows)

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


def to_ours(times, model, name):
    """Return the ratios of a contestant's times to ours, NaN if it is missing."""
    return times.get((model, name), [np.nan]) / times[model, OURS]


def fastest_peer(times, model):
    """Return the ratios of the fastest other library's times to ours."""
    others = OURS, PASTED, *WITHOUT_COSTS
    peers = [name for m, name in times if m == model and name not in others]
    return min((to_ours(times, model, name) for name in peers), key=np.median, default=[np.nan])


def print_shares(points):
    """Print how all sizes compare with the fastest peer, and with what the cores can do.

    Parameters
    ----------
    points : dict from (int, int) to dict
        The times, by hidden units and images in a minibatch, then as in `print_results`.
    """
    keys = list(next(iter(points.values())))
    titles = [column_title(*key) for key in keys]
    for model in MODELS:
        rows = []
        for (n_hidden, batch_size), columns in points.items():
            row = [f"{n_hidden:,}", f"{batch_size}"]
            for key in keys:
                ratio = np.median(fastest_peer(columns[key], model))
                share = np.median(to_ours(columns[key], model, PEAK))
                row.append(f"{ratio:.2f}, {share:.0%}")
            rows.append(row)
        print(f"{model}: the fastest peer's time to ours, and the share of the cores' peak.\n")
        print_table(["hidden units", "images", *titles], rows)


def plot_ratios(points, path):
    """Plot the fastest peer's time to ours, over the sizes.

    Parameters
    ----------
    points : dict
        As for `print_shares`.
    path : Path
        The picture to write.
    """
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    n_hidden, batch_sizes = (list(dict.fromkeys(sizes)) for sizes in zip(*points, strict=True))
    keys = list(next(iter(points.values())))
    figure = Figure(figsize=(1 + 2.6 * len(keys), 5.6), layout="constrained")
    axes = figure.subplots(len(MODELS), len(keys), sharex=True, sharey=True, squeeze=False)
    # Twice as fast is as far from equal as half as fast.
    norm = TwoSlopeNorm(0, -1, 2)
    for row, model in zip(axes, MODELS, strict=True):
        for axis, key in zip(row, keys, strict=True):
            ratios = np.array(
                [
                    [
                        np.median(fastest_peer(points[hidden, images][key], model))
                        for images in batch_sizes
                    ]
                    for hidden in n_hidden
                ]
            )
            axis.imshow(np.log2(ratios), cmap="RdYlGn", norm=norm, origin="lower")
            for (i, j), ratio in np.ndenumerate(ratios):
                axis.text(j, i, f"{ratio:.2f}", ha="center", va="center")
            axis.set_title(f"{model}, {column_title(*key)}", fontsize=10)
            axis.set_xticks(range(len(batch_sizes)), batch_sizes)
            axis.set_yticks(range(len(n_hidden)), n_hidden)
    figure.supxlabel("images in a minibatch")
    figure.supylabel("hidden units")
    figure.savefig(path, dpi=110)


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser("Time one training step of dae against its peers'.", "step.json")
    parser.add_argument(
        "--n-hidden", type=positive_int, nargs="+", default=[N_HIDDEN], help="units"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, nargs="+", default=[BATCH_SIZE], help="images"
    )
    parser.add_argument("--grid", action="store_true", help="all sizes, whatever the two above say")
    parser.add_argument("--peers", choices=PEERS, nargs="+", default=PEERS, help="libraries")
    parser.add_argument("--plot", type=new_file, help="a new file for a picture of the ratios")
    parser.add_argument("--rounds", type=positive_int, default=10, help="measurements of each")
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1, 2], help="to use")
    parser.add_argument(
        "--dtypes", choices=TOLERANCES, nargs="+", default=list(TOLERANCES), help="to compute in"
    )
    options = parser.parse_args(argv)

    n_hidden, batch_size = options.n_hidden, options.batch_size
    others = [peer for peer in PEERS if peer not in options.peers]
    names = [name for name in CONTESTANTS if not name.startswith(tuple(others))]
    if options.grid:
        n_hidden, batch_size = GRID["n_hidden"], GRID["batch_size"]
        names.remove(PASTED)

    machine = describe_machine()
    points, left_out = {}, {}
    for threads in options.threads:
        limit_threads(threads)
        for point in product(n_hidden, batch_size):
            say(f"{point[0]} hidden units, {point[1]} images, threads: {threads}")
            key = (*point, threads)
            contestants, left_out[key] = start_all(names, options.dtypes, *key)
            for dtype, times in measure(contestants, options.dtypes, options.rounds).items():
                points.setdefault(point, {})[dtype, threads] = times
            for contestant in contestants.values():
                contestant.stop()

    print_machine(machine)
    for (hidden, images), columns in points.items():
        if len(points) > 1:
            print(f"{hidden} hidden units, {images} images in a minibatch.\n")
        print_results(columns)
    print_shares(points)
    if options.plot:
        plot_ratios(points, options.plot)
    for (*point, threads), reasons in left_out.items():
        for name, reason in reasons.items():
            print(f"Left out ({point}, threads: {threads}): {name}: {reason}")
    write_json(
        options.output,
        {
            "machine": machine,
            "left_out": [[*key, reasons] for key, reasons in left_out.items()],
            "microseconds_per_minibatch": [
                {
                    "n_hidden": hidden,
                    "batch_size": images,
                    "dtype": dtype,
                    "threads": threads,
                    "model": model,
                    "name": name,
                    "rounds": values,
                }
                for (hidden, images), columns in points.items()
                for (dtype, threads), times in columns.items()
                for (model, name), values in times.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
