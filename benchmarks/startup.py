"""Measure the command `python -m dae.train`: its start-up, the whole of it, and its memory.

    python benchmarks/startup.py
    python benchmarks/startup.py --mnist FOLDER

- Start-up: seconds from the call of the default command, of 200 epochs, to the line with the first
  epoch's cost, without and with the machine code in PyTensor's cache (for the former, the cache is
  an empty directory). The command is stopped at that line.
- The whole default command, 200 epochs and pictures, with the machine code in the cache.
- With MNIST's four IDX files in FOLDER: the peak memory of training in float32, on its 50,000
  training images and on mini MNIST, two epochs each, with the machine code in the cache.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import (
    describe_machine,
    limit_threads,
    make_parser,
    megabytes,
    positive_int,
    print_machine,
    print_table,
    say,
    write_json,
)


def run(directory, *arguments, only_start=False):
    """Run the command and discard its results.

    Parameters
    ----------
    directory : Path
        PyTensor's cache of machine code.
    *arguments : str
        Options of the command.
    only_start : bool, default=False
        Whether to stop it when the cost of the first epoch is printed.

    Returns
    -------
    dict
        ``first_cost``, seconds until the cost of the first epoch is printed; ``seconds`` in all;
        ``megabytes``, the peak memory.
    """
    say(f"python -m dae.train {' '.join(arguments)}")
    flags = [os.environ.get("PYTENSOR_FLAGS"), f"base_compiledir={directory}"]
    environment = os.environ | {"PYTENSOR_FLAGS": ",".join(filter(None, flags))}
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "dae.train", "--output-dir", results, *arguments]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        first_cost = None
        for line in process.stdout:
            if line.startswith("Training epoch 0, cost"):
                first_cost = time.perf_counter() - begin
                if only_start:
                    process.kill()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)  # as Popen.wait, with the usage
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
    is_stopped = only_start and process.returncode == -signal.SIGKILL
    if first_cost is None or (process.returncode and not is_stopped):
        sys.exit(f"the command failed with status {process.returncode}")
    return {"first_cost": first_cost, "seconds": seconds, "megabytes": megabytes(usage)}


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser(
        "Measure python -m dae.train: start-up, the whole of it, memory.", "startup.json"
    )
    parser.add_argument("--rounds", type=positive_int, default=3, help="start-ups of each kind")
    parser.add_argument(
        "--threads", type=positive_int, default=os.cpu_count(), help="of the matrix products"
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="a folder with MNIST's four IDX files")
    options = parser.parse_args(argv)

    limit_threads(options.threads)
    machine = describe_machine()
    small = ["--training-epochs", "2", "--floatX", "float32"]
    with tempfile.TemporaryDirectory() as root:
        directories = [Path(root, str(number)) for number in range(options.rounds)]
        compiled = directories[0]
        results = {"first start": [run(path, only_start=True) for path in directories]}
        run(compiled, "--training-epochs", "1")  # which compiles what comes at the end
        results["later start"] = [run(compiled, only_start=True) for _ in directories]
        results["whole command"] = run(compiled)
        if options.mnist:
            run(compiled, *small)
            results["mini MNIST, float32"] = run(compiled, *small)
            results["MNIST, float32"] = run(compiled, *small, "--data", options.mnist)

    def seconds(name):
        values = sorted(run["first_cost"] for run in results[name])
        return f"{statistics.median(values):.1f} s ({values[0]:.1f}-{values[-1]:.1f})"

    def memory(name):
        return f"{results[name]['megabytes']:.0f} MB"

    rows = [
        ["first cost, nothing compiled: median (extremes)", seconds("first start")],
        ["first cost, all compiled: median (extremes)", seconds("later start")],
        ["the whole command", f"{results['whole command']['seconds']:.1f} s"],
    ]
    if options.mnist:
        rows += [[f"memory, {name}", memory(name)] for name in results if "MNIST" in name]
    print_machine(machine)
    print_table([f"python -m dae.train, threads: {options.threads}", ""], rows)
    write_json(options.output, {"machine": machine, "threads": options.threads, **results})


if __name__ == "__main__":
    main()
