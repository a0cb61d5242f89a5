"""How a command meets its user: lines and bars, signals, exit statuses."""

import contextlib
import io
import os
import signal
import sys


class StoppedError(Exception):
    """A command ends before its time; the message is one line.

    Parameters
    ----------
    status : int
        The exit status.
    message : str
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Session:
    """A command and its user.

    Parameters
    ----------
    prog : str
        The command's name.
    quiet : bool
        Show errors only.

    Attributes
    ----------
    advice : str
        How to go on after an early end, once that is possible.
    stopped : StoppedError or None
        What would have ended the command first, while `stops_waiting`.
    """

    def __init__(self, prog, quiet):
        self.advice = ""
        self.stopped = None
        self._prog = prog
        self._quiet = quiet
        self._bar = None
        self._stops_wait = False
        self._has_signal = False

    def run(self, command):
        """Call a command; turn whatever a user can cause into one line and an exit status.

        Parameters
        ----------
        command : callable

        Returns
        -------
        int
            0, 1 for a failure, 2 for wrong usage, 128 + n after signal n.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):
            # The name of a file may have characters that the terminal lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        with self._signals_handled():
            # NumPy comes with them, which --help need not wait for.
            from dae.datasets import DataError
            from dae.training.model_file import ModelError
            from dae.training.run_directory import RunError
            from dae.training.settings import ConfigError

            try:
                command()
                return 0
            except StoppedError as error:
                status, message = error.status, f"{error}{self.advice}"
            except (DataError, ModelError, RunError) as error:
                status, message = 2, error
            except ConfigError as error:
                option = f"--{error.name.replace('_', '-')}"
                status, message = 2, f"{option} is {error.value}; expected {error.expected}"
            except FloatingPointError as error:
                status, message = 1, error
            except MemoryError as error:
                status, message = 1, f"not enough memory: {error}"
            except OSError as error:
                place = f"{error.filename}: " if error.filename else ""
                status, message = 1, f"{place}{error.strerror or error}{self.advice}"
            self.complain(message)
            return status

    def say(self, line):
        """Show a line on stdout.

        Raises
        ------
        StoppedError
            If nobody reads it any more; but see `stops_waiting`.
        """
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.clear()
        try:
            print(line, flush=True)
        except OSError as error:
            message = f"stopped, because standard output failed: {error.strerror}"
            self._stop(StoppedError(1, message))
        if self._bar is not None:
            self._bar.refresh()

    def complain(self, message):
        """Show an error."""
        complain(self._prog, message)

    @contextlib.contextmanager
    def bar(self, **settings):
        """Show a bar on stderr, if that is a terminal.

        Parameters
        ----------
        **settings
            For `tqdm.tqdm`.

        Yields
        ------
        callable
            Called as ``show(text, done, total)``.
        """
        if self._quiet or sys.stderr is None or not sys.stderr.isatty():
            yield lambda text, done, total: None
            return
        from tqdm import tqdm

        def show(text, done, total):
            bar.total = total
            bar.set_postfix_str(text, refresh=False)
            bar.update(done - bar.n)

        with tqdm(file=sys.stderr, dynamic_ncols=True, miniters=0, **settings) as bar:
            self._bar = bar
            try:
                yield show
            finally:
                self._bar = None

    @contextlib.contextmanager
    def stops_waiting(self):
        """Store in `stopped` what would end the command: a first signal, a failing stdout."""
        self._stops_wait = True
        try:
            yield
        finally:
            self._stops_wait = False

    def _stop(self, error):
        if not self._stops_wait:
            raise error
        self.stopped = self.stopped or error

    @contextlib.contextmanager
    def _signals_handled(self):
        # Who starts a program may want it to ignore a signal: a shell does, in the background.
        handlers = {
            number: signal.signal(number, self._receive_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _receive_signal(self, number, frame):
        message = f"stopped by {signal.Signals(number).name}"
        if self._stops_wait and not self._has_signal:
            self._has_signal = True
            self._stop(StoppedError(128 + number, message))
            return
        # No exception: LLVM, which compiles, calls back to Python and loses what is raised there.
        self.complain(f"{message}{self.advice}")
        os._exit(128 + number)


def complain(prog, message):
    """Show an error: one line on stderr, whatever the message quotes."""
    line = "".join(c if c.isprintable() else " " for c in f"{prog}: {message}")
    with contextlib.suppress(OSError, RuntimeError):  # the latter if a signal interrupts a print
        print(line, file=sys.stderr, flush=True)


def run_command(prog, parse, command, argv):
    """Run a command, from its arguments to its exit status.

    Parameters
    ----------
    prog : str
        Its name.
    parse : callable
        From the arguments to the options, with `quiet` among them.
    command : callable
        Called as ``command(options, session)``. It imports what it needs itself: PyTensor comes
        with that, which ``--help`` need not wait for.
    argv : list of str or None
        The arguments; None for those of the process.

    Returns
    -------
    int
        As `Session.run` returns it.
    """
    try:
        options = parse(argv)
        session = Session(prog, options.quiet)
        return session.run(lambda: command(options, session))
    finally:
        close_stdout()


def close_stdout():
    """Write what stdout holds back; if that fails, keep the interpreter from trying it again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
