"""Functions of all benchmarks: threads, a description of the machine, tables, results."""

import argparse
import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("pytensor", "numpy", "scipy", "numba", "llvmlite", "torch", "jax", "jaxlib")


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
        Anything that JSON can hold.

    Raises
    ------
    FileExistsError
        If the file exists.
    """
    with path.open("x") as file:
        json.dump(results, file, indent=1)
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
