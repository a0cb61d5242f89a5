"""Sweeps: the same table from all engines, whatever dies; what is refused; what the page says."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState

import dae
from dae import Config
from dae.commands._console import StoppedError
from dae.commands._engines import MAX_DEATHS, call_until_done, share_cores
from dae.commands._sweep_page import write_sweep_page
from dae.commands._sweep_points import Outcome, Point, make_points
from dae.encode import main as encode
from dae.sweep import main

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(dae.__file__).parents[1]),
    "RAY_worker_niceness": "0",
}
COMMAND = [sys.executable, "-m", "dae.sweep"]
SECONDS = 300
"""After so long a test has failed: much longer than anything takes."""
SETTINGS = ["--batch-size=1", "--training-epochs=200", "--floatX=float32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data: 60 images for training, 40 for validation, in three classes."""
    folder = tmp_path_factory.mktemp("sweeps")
    x = RandomState(1).randint(256, size=(100, 4, 4)).astype("uint8")
    y = x.reshape(100, 16).argmax(axis=1) % 3
    np.savez(folder / "x.npz", train_x=x[:60], train_y=y[:60], valid_x=x[60:], valid_y=y[60:])
    return folder


@pytest.fixture(scope="module")
def sweep(folder):
    """What starts a sweep of four points, two of which diverge; the others take some seconds."""

    processes = []

    def start(name, *options):
        process = subprocess.Popen(
            [
                *COMMAND, f"--data={folder / 'x.npz'}", "--n-hidden=2", "--seed", "1", "2",
                "--learning-rate", "0.1", "1e38", *SETTINGS, "--no-report",
                "--checkpoint-every=20", f"--output-dir={folder / name}", "--jobs=2", *options,
            ],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process):
    """The exit status of a process, and what it wrote."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def point(folder):
    """A point of the sweep, trained by the command.

    It comes first, so that two workers do not compile the same machine code at the same time; and
    in a process of its own, since what the tests' process compiles is not kept on disk.
    """
    subprocess.run(
        [
            sys.executable, "-m", "dae.train", f"--data={folder / 'x.npz'}", "--n-hidden=2",
            "--seed=1", *SETTINGS, "--no-report", "--quiet", f"--output-dir={folder / 'point'}",
        ],
        env=ENVIRONMENT,
        timeout=SECONDS,
        check=True,
    )  # fmt: skip
    return folder / "point"


@pytest.fixture(scope="module")
def table(point, sweep, folder):
    """The table of the sweep, from processes of this machine."""
    status, _, err = ended(sweep("loky"))
    assert (status, err) == (0, "")
    return (folder / "loky" / "sweep.csv").read_bytes()


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not (result := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return result


def is_under_way(directory):
    """Whether a point is past its first checkpoint, but not done."""
    for costs in directory.glob("*/costs.csv"):
        if not (costs.parent / "point.json").exists() and costs.read_bytes().count(b"\n") > 60:
            return True
    return False


def workers_of(process):
    """The processes that a command has started to work, and that have loaded PyTensor."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if "numba" in Path(f"/proc/{pid}/maps").read_text()]


# The engines


def test_the_table_has_a_row_for_each_point(table, folder):
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [(row["learning_rate"], row["seed"], row["state"]) for row in rows] == [
        ("0.1", "1", "done"),
        ("0.1", "2", "done"),
        ("1e+38", "1", "diverged"),
        ("1e+38", "2", "diverged"),
    ]
    for row in rows[:2]:
        directory = folder / "loky" / row["run"]
        config = json.loads((directory / "config.json").read_text())
        assert (config["seed"], config["n_hidden"]) == (int(row["seed"]), 2)
        costs = list(csv.DictReader(io.StringIO((directory / "costs.csv").read_text())))
        assert row["epochs"] == str(len(costs)) == "200"
        assert row["cost"] == costs[-1]["cost"]
        assert row["validation_cost"] == costs[-1]["validation_loss"]
        model = dae.load_model(directory)
        assert 0 < float(row["validation_error"]) < 1
        assert model.n_hidden == 2
    assert rows[2]["cost"] == rows[2]["validation_error"] == ""
    page = (folder / "loky" / "sweep.html").read_text()
    assert "try a smaller learning rate" in page


def test_a_point_is_the_run_of_the_command(table, folder, point):
    [directory] = (
        path.parent
        for path in (folder / "loky").glob("*/model.npz")
        if json.loads((path.parent / "config.json").read_text())["seed"] == 1
    )
    for name in ("model.npz", "filters.png"):
        assert (directory / name).read_bytes() == (point / name).read_bytes()


def test_a_sweep_whose_worker_is_killed_and_that_is_stopped_goes_on(sweep, table, folder):
    directory = folder / "killed"
    process = sweep("killed")
    wait_for(lambda: is_under_way(directory))
    os.kill(workers_of(process)[0], signal.SIGKILL)
    assert "a worker died; going on" in process.stderr.readline()
    wait_for(lambda: any(directory.glob("*/point.json")) or is_under_way(directory))
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    if status == 0:  # it was about to be done
        assert err == ""
    else:
        assert status == 130
        assert re.search(r"stopped by SIGINT when \d of 4 points were over; go on with: ", err)
        done = {path: path.stat().st_mtime_ns for path in directory.glob("*/point.json")}
        status, out, err = ended(sweep("killed"))
        assert (status, err) == (0, "")
        assert f"4 points in {directory}, {4 - len(done)} of them to train" in out
        assert done == {path: path.stat().st_mtime_ns for path in done}
    assert (directory / "sweep.csv").read_bytes() == table


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


def test_a_cluster_of_dask_loses_a_worker_and_nothing_else(sweep, table, folder, cluster):
    directory = folder / "dask"
    process = sweep("dask", "--backend=dask", f"--address={cluster.scheduler_address}")
    wait_for(lambda: is_under_way(directory))
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    status, _, err = ended(process)
    assert (status, err) == (0, "")
    assert (directory / "sweep.csv").read_bytes() == table


def test_ray_gives_the_same_table(sweep, table, folder):
    pytest.importorskip("ray", reason="Ray has no wheel for this version of Python")
    status, out, _ = ended(sweep("ray", "--backend=ray"))
    assert status == 0, out
    assert (folder / "ray" / "sweep.csv").read_bytes() == table


# What the oldest Dask does for joblib.
@pytest.mark.filterwarnings("ignore:`apply_async` is deprecated")
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_codes_are_the_same_from_all_engines(table, folder, tmp_path, backend, request):
    directory = next(path.parent for path in (folder / "loky").glob("*/model.npz"))
    np.save(tmp_path / "x.npy", RandomState(2).randint(256, size=(5000, 4, 4)).astype("uint8"))
    options = [str(directory), str(tmp_path / "x.npy"), "--quiet"]
    workers = [f"--backend={backend}", "--jobs=1"]
    if backend == "dask":
        address = request.getfixturevalue("cluster").scheduler_address
        workers = [f"--backend={backend}", f"--address={address}"]
    assert encode([*options, "-o", str(tmp_path / "here.npy")]) == 0
    assert encode([*options, "-o", str(tmp_path / "there.npy"), *workers]) == 0
    assert np.load(tmp_path / "here.npy").shape == (5000, 2)
    assert (tmp_path / "there.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()


# What happens to whom


def test_what_dies_is_called_again_until_it_is_hopeless():
    class Dying:
        def __init__(self, *n_done):
            self.left, self.n_done = [1, 2, 3, 4], iter(n_done)

        def call(self, function, arguments):
            assert arguments == self.left
            n_done = next(self.n_done)
            self.left = self.left[n_done:]
            if self.left:
                raise OSError("gone\naway")
            return "done"

    def call(*n_done):
        engine = Dying(*n_done)
        return call_until_done(engine, None, lambda: engine.left, complaints.append)

    complaints = []
    assert call(0, 1, 0, 0, 3) == "done"
    assert complaints == ["a worker died; going on (OSError: gone away)"] * 4
    with pytest.raises(StoppedError, match=f"died {MAX_DEATHS} times in a row.*OSError: gone away"):
        call(1, *[0] * MAX_DEATHS)


@pytest.mark.parametrize(
    ("n_tasks", "n_cores", "jobs", "threads", "expected"),
    [
        (36, 8, None, None, (8, 1)),
        (3, 8, None, None, (3, 2)),
        (36, 8, None, 4, (2, 4)),
        (36, 8, 2, None, (2, 4)),
        (36, 2, None, 8, (1, 8)),
        (36, 2, 5, None, (5, 1)),
        (36, 2, 3, 3, (3, 3)),
    ],
)
def test_cores_are_shared(n_tasks, n_cores, jobs, threads, expected):
    assert share_cores(n_tasks, n_cores, jobs, threads) == expected


def test_points_are_the_combinations_named_after_what_is_not_the_default(tmp_path):
    values = {"n_hidden": [100, 5], "shuffle": [True, False], "seed": [1, 123, 1]}
    points = make_points(tmp_path, values)
    assert [point.directory.name for point in points] == [
        "shuffle=True-seed=1", "shuffle=True", "seed=1", "defaults",
        "n_hidden=5-shuffle=True-seed=1", "n_hidden=5-shuffle=True", "n_hidden=5-seed=1",
        "n_hidden=5",
    ]  # fmt: skip
    assert points[4].config == Config(n_hidden=5, shuffle=True, seed=1)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "5", "61"], "--batch-size is 61, but .* has 60 training images"),
        (["--corruption-level", "0.5", "1.5"], "--corruption-level is 1.5; expected a number from"),
        (["--address=tcp://localhost:1"], "--address is that of a cluster"),
        (["--shuffle", "perhaps"], "'perhaps' is not yes or no"),
        (["--standardize"], "--cost is cross-entropy; expected squared-error"),
    ],
)
def test_impossible_options_are_told_in_one_line(folder, tmp_path, capfd, options, message):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        try:
            status = main([f"--data={folder / 'x.npz'}", *options])
        except SystemExit as end:
            status = end.code
    assert status == 2
    assert re.fullmatch(rf"dae-sweep: .*{message}.*\n", capfd.readouterr().err)


def test_directories_that_hold_something_else_are_refused(folder, tmp_path, capfd):
    (tmp_path / "mine.txt").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sweep.json").write_text('{"data": "mnist"}')
    data = f"--data={folder / 'x.npz'}"
    assert main([data, f"--output-dir={tmp_path}"]) == 2
    assert "is not empty and holds no sweep" in capfd.readouterr().err
    assert main([data, f"--output-dir={tmp_path / 'other'}"]) == 2
    assert "holds a sweep over other data" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "other"]


@pytest.mark.parametrize(("backend", "package"), [("loky", "joblib"), ("dask", "distributed")])
def test_a_missing_package_is_named(folder, tmp_path, capfd, monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    options = [f"--data={folder / 'x.npz'}", f"--output-dir={tmp_path}", f"--backend={backend}"]
    assert main(options) == 2
    assert (
        f"--backend {backend} needs {package}: pip install 'dae[sweep]'" in capfd.readouterr().err
    )


def test_workers_need_a_backend(table, folder, tmp_path, capfd):
    directory = next(path.parent for path in (folder / "loky").glob("*/model.npz"))
    options = [str(directory), str(folder / "x.npz"), "-o", str(tmp_path / "y.npy"), "--jobs=2"]
    assert encode(options) == 2
    assert "--jobs is for workers; give --backend as well" in capfd.readouterr().err


# The page


def page_of(tmp_path, results, **settings):
    """The page of made-up points: from settings and seeds to results."""
    points, outcomes = [], []
    for i, (changes, outcome) in enumerate(results):
        config = replace(Config(**settings), **changes)
        directory = tmp_path / f"point{i}"
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps({"seed": config.seed}))
        (directory / "costs.csv").write_text(
            f"epoch,cost,seconds,validation_loss\n0,200.0,1,190.0\n1,{outcome.cost},1,100.0\n"
        )
        points.append(Point(directory, config))
        outcomes.append(outcome)
    file = io.BytesIO()
    varying = list(dict.fromkeys(name for changes, _ in results for name in changes))
    write_sweep_page(file, "mine", points, outcomes, varying, "python -m dae.sweep")
    return file.getvalue().decode()


def done(cost, error=None):
    return Outcome("done", epochs=2, cost=cost, validation_cost=cost, validation_error=error)


def cells(page, heading):
    """The rows of the first table below a heading."""
    section = page.split(f"<h2>{heading}</h2>")[1].split("</table>")[0]
    rows = re.findall("<tr.*?</tr>", section, flags=re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_settings_are_ranked_by_the_mean_over_seeds(tmp_path):
    page = page_of(tmp_path, [
        ({"n_hidden": 5, "seed": 1}, done(90.0, 0.4)),
        ({"n_hidden": 5, "seed": 2}, done(94.0, 0.2)),
        ({"n_hidden": 9, "seed": 1}, done(80.0, 0.5)),
        ({"n_hidden": 9, "seed": 2}, Outcome("diverged", "the cost is <inf>")),
    ])  # fmt: skip
    assert cells(page, "Ranked by validation cost")[1:] == [
        ["1", "9", "80.00", "50.00 %", "1"],
        ["2", "5", "92.00 ± 2.83", "30.00 ± 14.14 %", "2"],
    ]
    assert cells(page, "Ranked by error of a linear classifier")[1][:2] == ["1", "5"]
    assert cells(page, "What went wrong")[1] == ["diverged", "point3", "the cost is &lt;inf&gt;"]
    assert "point3" in page.split("<h2>All points</h2>")[1]


def test_the_heat_map_has_the_best_of_the_other_settings(tmp_path):
    page = page_of(tmp_path, [
        ({"n_hidden": n, "learning_rate": r, "shuffle": shuffle}, done(80.0 + n + r + shuffle))
        for n in (1, 2) for r in (0.1, 0.2) for shuffle in (False, True)
    ])  # fmt: skip
    heat = page.split('<table class="heat">')[1].split("</table>")[0]
    assert re.findall(r"<td[^>]*>(.*?)</td>", heat) == ["81.10", "82.10", "81.20", "82.20"]
    shares = [int(share) for share in re.findall(r"--share:(\d+)%", heat)]
    assert shares == [60, 20, 40, 0]
    assert "Of the other settings (shuffle) the best of each cell." in page


def test_costs_of_different_kinds_are_not_ranked(tmp_path):
    page = page_of(tmp_path, [
        ({"cost": "cross-entropy"}, done(90.0, 0.4)),
        ({"cost": "squared-error"}, done(5.0, 0.5)),
    ])  # fmt: skip
    assert "Ranked by validation cost" not in page
    assert cells(page, "Ranked by error of a linear classifier")[1][1] == "cross-entropy"


def test_a_sweep_without_any_result_has_a_page(tmp_path):
    page = page_of(tmp_path, [({"n_hidden": 5}, Outcome("diverged", "why"))])
    assert cells(page, "What went wrong")[1] == ["diverged", "point0", "why"]
