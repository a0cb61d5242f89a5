"""Who does the work of a command: processes of this machine, or a cluster, all through joblib."""

import contextlib
import importlib
import logging
import signal
import threading

from dae.commands._console import StoppedError

PACKAGES = {"loky": ["joblib"], "dask": ["joblib", "distributed"], "ray": ["joblib", "ray"]}

MAX_DEATHS = 3
"""So many times in a row workers may die without anything having been done."""

one_at_a_time = threading.Lock()
"""What a worker does, it does with this lock: an engine may call from several threads of a process,
whose settings of PyTensor they share."""


def share_cores(n_tasks, n_cores, jobs, threads):
    """Return how the cores of this machine are divided among processes.

    Parameters
    ----------
    n_tasks, n_cores : int
    jobs, threads : int or None
        The numbers of processes, and of threads of each, as far as they are given.

    Returns
    -------
    jobs, threads : int
        Together they take all cores and no more, unless what is given says otherwise.

    Examples
    --------
    >>> share_cores(n_tasks=36, n_cores=8, jobs=None, threads=None)
    (8, 1)
    >>> share_cores(n_tasks=2, n_cores=8, jobs=None, threads=None)
    (2, 4)
    """
    if jobs is None:
        jobs = max(1, min(n_tasks, n_cores // (threads or 1)))
    return jobs, threads or max(1, n_cores // jobs)


class Engine:
    """Processes that call functions; as a context manager it lets go of them.

    Parameters
    ----------
    backend : {'loky', 'dask', 'ray'}
    address : str or None
        That of a cluster; without one it is started on this machine.
    jobs, threads : int or None
        How many processes work at once, and how many threads each of them has, if that is given.
    n_tasks : int
        How much there is to do at once.

    Attributes
    ----------
    jobs : int
        -1 for all that a cluster has.
    threads : int

    Raises
    ------
    StoppedError
        If a package is missing, or the cluster cannot be reached.
    """

    def __init__(self, backend, address, jobs, threads, n_tasks):
        for package in PACKAGES[backend]:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise StoppedError(
                    2, f"--backend {backend} needs {package}: pip install 'dae[sweep]' ({error})"
                ) from None
        if address is not None and backend == "loky":
            raise StoppedError(2, "--address is that of a cluster; give --backend dask or ray")
        import joblib

        if address is None:
            jobs, threads = share_cores(n_tasks, joblib.cpu_count(), jobs, threads)
        self.jobs, self.threads = jobs or -1, threads or 1
        self._stack = contextlib.ExitStack()
        self._settings = {"backend": backend}
        try:
            if backend == "loky":
                self._settings["inner_max_num_threads"] = self.threads
            elif backend == "dask":
                self._connect_to_dask(address)
            else:
                self._connect_to_ray(address)
        except (OSError, ConnectionError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            where = "start a cluster" if address is None else f"reach the cluster at {address}"
            raise StoppedError(2, f"cannot {where}: {reason}") from error

    def _connect_to_dask(self, address):
        from distributed import Client

        how = {"address": address, "timeout": 20}
        if address is None:
            # One thread each, since PyTensor's settings are those of a process.
            how = {"n_workers": self.jobs, "threads_per_worker": 1, "dashboard_address": ":0"}
        # Who loses a worker is told so by this package.
        for name in ("distributed", "distributed.nanny", "distributed.scheduler"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._stack.enter_context(Client(**how, set_as_default=True))

    def _connect_to_ray(self, address):
        import ray
        from ray.util.joblib import register_ray

        own = {"num_cpus": self.jobs} if address is None else {}
        before = signal.getsignal(signal.SIGTERM)
        ray.init(
            address or "local",
            include_dashboard=None if address else False,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            **own,
        )
        signal.signal(signal.SIGTERM, before)  # Ray has set another one
        self._stack.callback(ray.shutdown)
        register_ray()

    def __enter__(self):
        """Return the engine itself."""
        return self

    def __exit__(self, *exception):
        """Let go of the processes."""
        self._stack.close()

    def call(self, function, arguments):
        """Call a function with each of several arguments.

        Parameters
        ----------
        function : callable
            One that can be imported.
        arguments : list of tuple

        Returns
        -------
        list
            What it returned.

        Raises
        ------
        Exception
            What it raised, or what the engine says when a process has died.
        """
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(**self._settings, n_jobs=self.jobs):
            # One at a time: what is in the hands of a process that dies is done again.
            parallel = Parallel(batch_size=1, pre_dispatch="all")
            return parallel(delayed(function)(*each) for each in arguments)


def call_until_done(engine, function, find_arguments, complain):
    """Call a function with each of several arguments, again where a process has died.

    Parameters
    ----------
    engine : Engine
    function : callable
        See `Engine.call`.
    find_arguments : callable
        It returns the arguments that are left, a list of tuple.
    complain : callable
        Called with a line about each death.

    Returns
    -------
    list
        What the function returned for the arguments that were left the last time.

    Raises
    ------
    StoppedError
        If processes die again and again.
    """
    deaths, n_before = 0, None
    while arguments := find_arguments():
        try:
            return engine.call(function, arguments)
        except Exception as error:
            deaths = deaths + 1 if len(arguments) == n_before else 1
            n_before = len(arguments)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            if deaths == MAX_DEATHS:
                message = f"workers died {MAX_DEATHS} times in a row; the last time: {reason}"
                raise StoppedError(1, message) from error
            complain(f"a worker died; going on ({reason})")
    return []
