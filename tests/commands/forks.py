"""Processes that need not import anything: forks of one that has trained a model already.

A command takes some seconds to be imported, and to do things for the first time. Where a test is
about a process, but not about a new interpreter, what it starts is a fork. All else is as ever: its
memory, its signals, its way to end, its exit status, and that warnings are errors.

As a program, this is the process that forks: ``python -W error forks.py SOCKET``.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

IMPORTED = [
    "dae.commands._encode_and_save", "dae.commands._reconstruct_and_save",
    "dae.commands._train_classifier", "tqdm",
]  # fmt: skip
"""What the other commands import when they have something to do."""

RECORD = 20
"""The bytes that each number takes in the pipe that tells what becomes of a fork."""


class Forks:
    """The process that forks; it ends with the context, or with this process.

    Parameters
    ----------
    *start : str
        The command that is to start it, if any, such as ``unshare``.
    """

    def __init__(self, *start):
        import dae

        self._socket, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [*start, sys.executable, "-W", "error", __file__, str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": str(Path(dae.__file__).parents[1])},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()
        self._server.wait()

    def popen(self, *options, program=None, module=None, stdout=None, stderr=None, ignored=()):
        """Start ``python -c program`` or ``python -m module``, with options, in a fork.

        Its stdout and stderr are pipes, unless files are given; the signals so given are ignored.
        """
        request = {"program": program, "module": module, "options": list(map(str, options))}
        request |= {"ignored": list(ignored), "directory": os.getcwd()}
        ours, theirs, pipes = [], [], []
        for given in (stdout, stderr, None):
            if given is None:
                reading, writing = os.pipe()
                pipes.append(writing)
            else:
                reading, writing = None, given if isinstance(given, int) else given.fileno()
            ours.append(reading)
            theirs.append(writing)
        socket.send_fds(self._socket, [json.dumps(request).encode()], theirs)
        for writing in pipes:
            os.close(writing)
        return Fork(*ours)

    def run(self, *options, **settings):
        """Start such a process and wait for it; give its exit status, its stdout and its stderr."""
        with self.popen(*options, **settings) as process:
            output = process.communicate()
        return process.returncode, *output


class Fork:
    """A process, as one of `subprocess.Popen`."""

    def __init__(self, stdout, stderr, status):
        self.stdout, self.stderr = (pipe and os.fdopen(pipe) for pipe in (stdout, stderr))
        self.returncode = None
        self._status = status
        self.pid = int(os.read(status, RECORD))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for pipe in (self.stdout, self.stderr):
            if pipe:
                pipe.close()
        self.wait()
        os.close(self._status)

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout)
            self.returncode = int(os.read(self._status, RECORD))
        return self.returncode

    def communicate(self, timeout=60):
        """Give the rest of its stdout and of its stderr, which is not long, when it has ended."""
        timer = threading.Timer(timeout, self.kill)
        timer.start()
        output = tuple(pipe and pipe.read() for pipe in (self.stdout, self.stderr))
        self.wait()
        timer.cancel()
        return output


# The process that forks


def serve(connection):
    """Fork as is asked for; in a fork, return what it is to do."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that wait
    while True:
        message, files, *_ = socket.recv_fds(connection, 2**20, 3)
        if not message:
            return None
        if os.fork() == 0:
            connection.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *output, status = files
            pid = os.fork()
            if pid == 0:
                os.close(status)
                return json.loads(message), output
            for file in output:
                os.close(file)
            os.write(status, b"%*d" % (RECORD, pid))
            _, code = os.waitpid(pid, 0)
            os.write(status, b"%*d" % (RECORD, os.waitstatus_to_exitcode(code)))
            os._exit(0)
        for file in files:
            os.close(file)


def become(request, output):
    """Be the process that was asked for."""
    for file, name in zip(output, ("stdout", "stderr"), strict=True):
        before = getattr(sys, name)
        os.dup2(file, before.fileno())
        settings = {"encoding": before.encoding, "errors": before.errors, "closefd": False}
        buffering = 1 if name == "stderr" or os.isatty(file) else -1
        setattr(sys, name, os.fdopen(before.fileno(), "w", buffering, **settings))
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(request["directory"])
    if request["module"]:
        sys.argv = [request["module"], *request["options"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *request["options"]]
        exec(request["program"], {"__name__": "__main__"})


def prepare():
    """Import what forks will need, and train and draw a little."""
    import numpy as np

    from dae.commands.train import main

    for name in IMPORTED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", np.eye(4))
        options = ["--batch-size=2", "--n-hidden=2", "--training-epochs=1", "--quiet"]
        assert main([f"--data={folder}/x.npy", f"--output-dir={folder}/run", *options]) == 0


if __name__ == "__main__":
    prepare()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        task = serve(connection)
    if task is None:
        os._exit(0)  # at once: there is nothing to tidy up
    become(*task)
