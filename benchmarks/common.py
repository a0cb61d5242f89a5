"""Functions of the benchmarks: options, processes, times, tables, a description of the machine."""

import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("pytensor", "numpy", "scipy", "numba", "llvmlite", "torch", "jax", "jaxlib")


def make_parser(description, results):
    """Return the parser of a benchmark's arguments, with the option ``--output``.

    Parameters
    ----------
    description : str
    results : str
        The file that results are written to, if no other is given.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output", type=new_file, default=results, help="a new file")
    return parser


def limit_threads(threads):
    """Set the number of threads of matrix products, by environment variables.

    NumPy's and SciPy's BLAS, PyTorch and XLA read them when they are imported, so they hold for
    processes started later, and for what has not been imported yet.

    Parameters
    ----------
    threads : int
    """
    for name in ("OPENBLAS", "MKL", "OMP", "BLIS", "VECLIB", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    os.environ["NPROC"] = str(threads)  # XLA's thread pool
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"


def fresh_processes():
    """Return a pool that makes each call in a new process, one after another.

    Returns
    -------
    ProcessPoolExecutor
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1)


def time_in_turn(tasks, rounds):
    """Time functions, which take turns in every round, in random order.

    Parameters
    ----------
    tasks : dict from name to callable
        Called without arguments.
    rounds : int
        Measurements of each.

    Returns
    -------
    dict from name to ndarray of float, shape (rounds,)
        Seconds.
    """
    import numpy as np

    seconds = {name: np.empty(rounds) for name in tasks}
    order = random.Random(0)
    for i in range(rounds):
        for name in order.sample(list(tasks), len(tasks)):
            begin = time.perf_counter()
            tasks[name]()
            seconds[name][i] = time.perf_counter() - begin
    return seconds


def describe_machine():
    """Return what the measurements depend on.

    Returns
    -------
    dict from str to str, number, tuple or dict
        Processor, number of cores, load of the machine so far, operating system, and the versions
        of Python, of the packages and of NumPy's and SciPy's BLAS.
    """
    import numpy as np
    import scipy

    try:
        processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):  # no such file, or no such line in it
        processor = platform.processor()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    for module in (np, scipy):
        blas = module.show_config(mode="dicts")["Build Dependencies"]["blas"]
        versions[f"{module.__name__}'s BLAS"] = f"{blas['name']} {blas['version']}"
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "versions": versions,
    }


def megabytes(usage):
    """Return the peak memory of a process.

    Parameters
    ----------
    usage : resource.struct_rusage
        What `resource.getrusage` or `os.wait4` returned about it.

    Returns
    -------
    float
        The largest resident set, in units of 2**20 bytes.
    """
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def new_file(text):
    """Parse a command-line argument: the path of a file that does not exist yet.

    Parameters
    ----------
    text : str

    Returns
    -------
    Path

    Raises
    ------
    argparse.ArgumentTypeError
        If there is such a file, or no directory for it.
    """
    path = Path(text)
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} exists; give another name or move it away")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is not a directory")
    return path


def positive_int(text):
    """Parse a command-line argument: a whole number above 0.

    Parameters
    ----------
    text : str

    Returns
    -------
    int

    Raises
    ------
    argparse.ArgumentTypeError
        If it is something else.
    """
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def write_json(path, results):
    """Write results as JSON to a new file.

    Parameters
    ----------
    path : Path
    results : dict
        Anything that JSON can hold, and arrays.

    Raises
    ------
    FileExistsError
        If the file exists.
    """
    with path.open("x") as file:
        json.dump(results, file, indent=1, default=lambda array: array.tolist())
        file.write("\n")


def spread(values, digits):
    """Return a sample as text.

    Parameters
    ----------
    values : array_like of float
        The sample.
    digits : int
        Digits after the decimal point.

    Returns
    -------
    str
        Its median and, in parentheses, its quartiles.
    """
    import numpy as np

    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{median:.{digits}f} ({first:.{digits}f}-{third:.{digits}f})"


def say(line):
    """Print a line about the progress to standard error.

    Parameters
    ----------
    line : str
    """
    print(line, file=sys.stderr, flush=True)


def print_machine(machine):
    """Print the description of a machine.

    Parameters
    ----------
    machine : dict
        The result of `describe_machine`.
    """
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"{machine['processor']}, {machine['cores']} cores; {versions}\n")


def column_title(dtype, threads):
    """Return the title of a column of times.

    Parameters
    ----------
    dtype : str
    threads : int

    Returns
    -------
    str
    """
    return f"{dtype}, {threads} thread{'s' if threads > 1 else ''}"


def print_ratios(title, results, references, digits):
    """Print times, and their ratios to other times, as a table.

    Parameters
    ----------
    title : str
        That of the first column.
    results : dict from str to dict from str to ndarray of float, shape (rounds,)
        Times, by column, then by name.
    references : dict from str to str
        The names to print, a row each, and the names of the times that theirs are divided by.
    digits : int
        Digits of a time after the decimal point.
    """
    import numpy as np

    def cell(times, name):
        ratio = times[name] / times[references[name]]
        return f"{np.median(times[name]):.{digits}f} {spread(ratio, 2)}"

    rows = [[name, *(cell(times, name) for times in results.values())] for name in references]
    print_table([title, *results], rows)


def print_table(header, rows):
    """Print a table in Markdown.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
    """
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")
    print()
