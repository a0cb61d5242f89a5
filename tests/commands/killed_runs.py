"""Kill a real run at random moments: ``python killed_runs.py FOLDER DATA KILLS``.

The command is imported, and its step compiled, only once: each run is a fork of this process.
All else is the command's own: options, data, locks, signals, files. In the end FOLDER holds the
run that was killed and one that was not, ``killed`` and ``whole``; what is printed is how many of
the kills came while a file was being written.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from dae.commands import _train_and_save
from dae.train import main
from dae.training import _minibatches, fitting
from dae.training._checkpoints import from_bytes

ENDLESS = 10**6  # epochs


def once(function):
    """Call the function the first time only."""
    results = []

    def called_once(*args, **kwargs):
        if not results:
            results.append(function(*args, **kwargs))
        return results[0]

    return called_once


def start(data, epochs, *where):
    pid = os.fork()
    if pid == 0:
        settings = ["--n-hidden=5", "--floatX=float32", "--checkpoint-every=1", "--quiet"]
        os._exit(main([f"--data={data}", f"--training-epochs={epochs}", *settings, *where]))
    return pid


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_and_complete(folder, data, n_kills):
    _minibatches.WINDOW = 1  # byte: the file is read for every minibatch
    fitting.build_model = once(fitting.build_model)
    fitting.compile_step = once(fitting.compile_step)
    _train_and_save.save_results = lambda *args: None
    train_epochs, fitting.train_epochs = fitting.train_epochs, lambda *args, **kwargs: iter(())
    settings = ["--n-hidden=5", "--floatX=float32", "--quiet", f"--output-dir={folder}/compiled"]
    assert main([f"--data={data}", *settings]) == 0
    fitting.train_epochs = train_epochs

    killed = folder / "killed"
    moments = random.Random(1)
    n_in_writing = 0
    for _ in range(n_kills):
        if (killed / "checkpoint.npz").exists() or (killed / "checkpoint.previous.npz").exists():
            pid = start(data, ENDLESS, f"--resume={killed}")
        else:  # nothing has been trained
            shutil.rmtree(killed, ignore_errors=True)
            pid = start(data, ENDLESS, f"--output-dir={killed}")
        time.sleep(moments.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        assert status(pid) == -signal.SIGKILL
        n_in_writing += any(killed.glob("unfinished-*"))

    checkpoint = killed / "checkpoint.npz"
    if not checkpoint.exists():
        checkpoint = killed / "checkpoint.previous.npz"
    epochs = len(from_bytes(checkpoint.read_bytes()).history) + 5
    assert status(start(data, epochs, f"--resume={killed}")) == 0
    assert status(start(data, epochs, f"--output-dir={folder / 'whole'}")) == 0
    print(n_in_writing)


if __name__ == "__main__":
    kill_and_complete(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
