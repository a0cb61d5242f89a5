"""Run directories, checkpoints, files: what is on the disk is whole, and nobody else's."""

import errno
import fcntl
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.random import RandomState
from numpy.testing import assert_array_equal

from dae.training import _checkpoints
from dae.training._checkpoints import Checkpoint, from_bytes, to_bytes
from dae.training.config import Config, StackConfig
from dae.training.epochs import Epoch
from dae.training.run_directory import Run, RunError

STATE = {
    "W": RandomState(1).uniform(size=(3, 2)),
    "b": np.zeros(2),
    "b_prime": np.ones(3),
    "streams": RandomState(2).randint(2**32, size=(2, 628), dtype=np.uint32),
}
CHECKPOINT = Checkpoint({"seed": 1}, [(0.1, 2.0, None), (1 / 3, 2.5, 0.25)], [7.25], STATE)


def assert_same(found, expected):
    assert found[:3] == expected[:3]
    assert found.state.keys() == expected.state.keys()
    for name, array in expected.state.items():
        assert found.state[name].dtype == array.dtype
        assert_array_equal(found.state[name], array)


# Checkpoints

floats = st.floats(allow_nan=False, allow_infinity=False)
states = st.sampled_from(["float32", "float64"]).flatmap(
    lambda dtype: st.fixed_dictionaries(
        {
            "W": arrays(dtype, array_shapes(min_dims=2, max_dims=2)),
            "b": arrays(dtype, array_shapes(max_dims=1)),
            "b_prime": arrays(dtype, array_shapes(max_dims=1)),
            "streams": arrays("uint32", st.tuples(st.integers(1, 3), st.just(628))),
        }
    )
)
configs = st.dictionaries(st.text(), st.none() | st.text() | st.integers() | floats)


@given(
    configs,
    st.lists(st.tuples(floats, floats, st.none() | floats)),
    st.lists(floats),
    states | st.just({}),
)
@settings(max_examples=50)
def test_a_checkpoint_comes_back_to_the_bit(config, history, costs, state):
    checkpoint = Checkpoint(config, history, costs, state)
    assert_same(from_bytes(to_bytes(checkpoint)), checkpoint)


def test_a_checkpoint_is_an_npz_without_pickles_that_ends_with_its_checksum(tmp_path):
    content = to_bytes(CHECKPOINT)
    assert content[-64:].decode() == hashlib.sha256(content[:-64]).hexdigest()
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        assert archive["format_version"] == 2
        assert json.loads(str(archive["config"])) == {"seed": 1}
        assert_array_equal(archive["history"], [[0.1, 2.0, np.nan], [1 / 3, 2.5, 0.25]])
        assert archive["costs"].tolist() == [7.25]
        for name, array in STATE.items():
            assert_array_equal(archive[name], array)


def test_every_flipped_bit_of_a_checkpoint_is_noticed():
    content = bytearray(to_bytes(CHECKPOINT._replace(state={})))
    for i in range(len(content)):
        for bit in range(8):
            content[i] ^= 1 << bit
            with pytest.raises(ValueError, match="its checksum is wrong"):
                from_bytes(bytes(content))
            content[i] ^= 1 << bit
    assert from_bytes(bytes(content)).config == {"seed": 1}


def test_a_checkpoint_too_short_or_too_long_is_noticed():
    content = to_bytes(CHECKPOINT._replace(state={}))
    for damaged in (*(content[:size] for size in range(len(content))), content + b"\0"):
        with pytest.raises(ValueError, match="its checksum is wrong"):
            from_bytes(damaged)


@given(st.binary())
def test_what_is_no_checkpoint_is_refused(content):
    with pytest.raises(ValueError, match="not a checkpoint"):
        from_bytes(content)


def test_a_checkpoint_of_a_later_format_is_refused(monkeypatch):
    monkeypatch.setattr(_checkpoints, "FORMAT_VERSION", 3)
    content = to_bytes(CHECKPOINT)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="a checkpoint of format 3; this dae reads those up to 2"):
        from_bytes(content)


# Runs


@pytest.fixture
def run(tmp_path):
    """A run of three epochs, with a checkpoint after each of the first two."""
    run = Run(tmp_path / "run")
    run.begin(Config(seed=5))
    for i in range(3):
        run.save_epoch(Epoch(i, 1 / (3 + i), 0.5))
        if i < 2:
            run.save_checkpoint({name: array + np.uint32(i) for name, array in STATE.items()})
    run.close()
    return run


def reopened(run):
    again = Run(run.directory)
    try:
        return again.reopen(), again
    finally:
        again.close()


def costs_csv(run):
    return (run.directory / "costs.csv").read_text()


def test_a_run_is_taken_up_from_its_newest_checkpoint(run):
    fault, again = reopened(run)
    assert fault is None
    assert again.config == Config(seed=5)
    assert again.history == [Epoch(0, 1 / 3, 0.5), Epoch(1, 1 / 4, 0.5)]
    assert again.costs == []
    assert_array_equal(again.state["W"], STATE["W"] + 1)


def test_rows_of_epochs_that_are_done_again_are_cut_off(run):
    rows = ["epoch,cost,seconds", f"0,{1 / 3!r},0.500000", "1,0.25,0.500000", "2,0.2,0.500000"]
    assert costs_csv(run).split("\n") == [*rows, ""]
    again = Run(run.directory)
    again.reopen()
    again.begin(again.config)
    assert costs_csv(run).split("\n") == [*rows[:3], ""]
    again.save_epoch(Epoch(2, 0.125, 1.0))
    again.close()
    assert costs_csv(run).split("\n") == [*rows[:3], "2,0.125,1.000000", ""]


def test_the_costs_are_written_anew_when_they_are_lost(run):
    (run.directory / "costs.csv").unlink()
    again = Run(run.directory)
    again.reopen()
    again.begin(again.config)
    again.close()
    assert costs_csv(run).count("\n") == 3


@pytest.mark.parametrize("damage", [b"", b"PK\5\6" + bytes(18), b"cut"])
def test_a_damaged_checkpoint_is_told_and_kept_and_the_one_before_is_used(run, damage):
    content = run.newest.read_bytes()[:1000] if damage == b"cut" else damage
    run.newest.write_bytes(content)
    fault, again = reopened(run)
    assert fault == f"{run.newest}: damaged, or not a checkpoint: its checksum is wrong"
    assert len(again.history) == 1
    assert (run.directory / "checkpoint.damaged.npz").read_bytes() == content
    fault, again = reopened(run)
    assert fault is None
    assert len(again.history) == 1


def test_without_a_whole_checkpoint_a_run_is_refused_and_left_alone(run):
    run.newest.write_bytes(b"damaged")
    run.previous.write_bytes(b"damaged, too")
    before = {path.name: path.read_bytes() for path in run.directory.iterdir()}
    with pytest.raises(RunError, match=r"checkpoint\.npz: damaged, or not a checkpoint"):
        reopened(run)
    run.previous.unlink()
    with pytest.raises(RunError, match=r"checkpoint\.npz: damaged, or not a checkpoint"):
        reopened(run)
    del before["checkpoint.previous.npz"]
    assert {path.name: path.read_bytes() for path in run.directory.iterdir()} == before


def test_a_checkpoint_that_cannot_be_read_is_not_called_one_that_cannot_be_written(run):
    run.newest.unlink()
    run.newest.mkdir()
    with pytest.raises(RunError, match=r"cannot read .*checkpoint\.npz: Is a directory"):
        reopened(run)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"momentum": 0.9, "colour": 1}, r"does not know: colour, momentum; go on with the ver"),
        ({"n_hidden": 0}, "n_hidden is 0; expected a whole number above 0"),
        ({"n_hidden": True}, "n_hidden is True; expected a whole number above 0"),
        ({"seed": "1"}, "seed is '1'; expected a whole number from 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected a number above 0"),
        ({"corruption_level": None}, "corruption_level is None; expected a number from 0 to 1"),
        ({"image_shape": [28]}, r"image_shape is \[28\]; expected a height and a width"),
        ({"floatX": "float16"}, "floatX is 'float16'; expected float64 or float32"),
        ([], "its settings are not a dictionary"),
    ],
)
def test_settings_that_this_version_cannot_take_up_are_named(run, config, message):
    run.newest.write_bytes(to_bytes(CHECKPOINT._replace(config=config)))
    with pytest.raises(RunError, match=rf"checkpoint\.npz: .*{message}"):
        reopened(run)


def test_a_run_killed_between_the_two_renames_of_a_checkpoint_is_taken_up(run):
    run.newest.replace(run.previous)
    fault, again = reopened(run)
    assert fault is None
    assert len(again.history) == 2


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ["W", "b", "b_prime"])
def test_weights_that_are_not_finite_never_replace_a_checkpoint(run, name, value):
    again = Run(run.directory)
    again.reopen()
    again.begin(again.config)
    before = run.newest.read_bytes()
    array = STATE[name].copy()
    array.flat[-1] = value
    with pytest.raises(FloatingPointError, match="not finite at epoch 2, minibatch 0; try a sm"):
        again.save_checkpoint(STATE | {name: array})
    again.close()
    assert run.newest.read_bytes() == before


def test_a_directory_is_locked_until_the_process_that_has_it_ends(run):
    program = f"""if True:
        from dae.training.run_directory import Run
        run = Run({str(run.directory)!r})
        run.reopen()
        print("locked", flush=True)
        input()"""
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(RunError, match="is in use by another process"):
            reopened(run)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert reopened(run)[0] is None


def test_the_lock_is_not_on_any_file_that_a_user_may_change(run):
    again = Run(run.directory)
    again.reopen()
    for name in ("costs.csv", "config.json", "checkpoint.previous.npz"):
        (run.directory / name).unlink()
        with pytest.raises(RunError, match="is in use by another process"):
            reopened(run)
    (run.directory / "costs.csv").write_text("epoch,cost,seconds\n")
    with pytest.raises(RunError, match="is in use by another process"):
        reopened(run)
    again.close()
    assert reopened(run)[0] is None


def test_a_lock_file_that_nobody_has_locked_is_in_nobodys_way(tmp_path):
    (tmp_path / "run.lock").touch()
    run = Run(tmp_path)
    run.begin(Config())
    with pytest.raises(RunError, match="is not empty"):
        Run(tmp_path).begin(Config())
    run.close()
    assert reopened(run)[0] is None


def test_two_new_runs_at_once_in_an_empty_directory(tmp_path):
    run, other = Run(tmp_path), Run(tmp_path)
    run.check_is_new()
    other.check_is_new()
    run.begin(Config())
    with pytest.raises(RunError, match=r"is not empty|is in use by another process"):
        other.begin(Config())
    run.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(run, monkeypatch, number):
    def flock(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for change in (Run.reopen, lambda run: run.begin(Config())):
        new = Run(run.directory if change == Run.reopen else run.directory.with_name("new"))
        with pytest.raises(
            RunError, match=rf"cannot lock .*run\.lock: {os.strerror(number)}; a run"
        ):
            change(new)


@pytest.mark.parametrize("change", ["removed", "replaced", "cut", "edited in place"])
def test_costs_that_somebody_changes_are_written_anew_with_the_next_epoch(run, change):
    again = Run(run.directory)
    again.reopen()
    again.begin(again.config)
    path = run.directory / "costs.csv"
    content = path.read_bytes()
    if change in ("removed", "replaced"):
        path.unlink()
    if change == "replaced":
        path.write_bytes(content)
    if change == "cut":
        os.truncate(path, 30)
    if change == "edited in place":
        path.write_bytes(content.replace(b"0.25", b"0.26"))
        os.utime(path, ns=(1, 1))  # clocks of file systems may be slow
    again.save_epoch(Epoch(2, 0.125, 1.0))
    again.save_epoch(Epoch(3, 0.0625, 1.0))
    again.close()
    assert path.read_bytes() == content + b"2,0.125,1.000000\n3,0.0625,1.000000\n"


def test_costs_that_are_replaced_at_any_moment_are_whole_with_the_next_checkpoint(run, tmp_path):
    again = Run(run.directory)
    again.reopen()
    again.begin(again.config)
    expected, path = costs_csv(run), run.directory / "costs.csv"
    finished = threading.Event()

    def replace():
        other = tmp_path / "costs.csv~"
        while not finished.is_set():
            other.write_text("epoch,cost,seconds\n")
            other.replace(path)

    thread = threading.Thread(target=replace)
    thread.start()
    for epoch in range(2, 200):
        again.save_epoch(Epoch(epoch, 0.5, 1.0))
        expected += f"{epoch},0.5,1.000000\n"
    finished.set()
    thread.join()
    again.save_checkpoint(STATE)
    again.close()
    assert costs_csv(run) == expected


def test_a_new_run_takes_an_empty_directory_and_no_other(tmp_path):
    (tmp_path / "empty").mkdir()
    run = Run(tmp_path / "empty")
    run.check_is_new()
    run.begin(Config())
    run.close()
    for used in ("empty", "empty/config.json", "empty/config.json/run"):
        run = Run(tmp_path / used)
        with pytest.raises(RunError, match=r"is not empty|cannot write to"):
            run.check_is_new()
        with pytest.raises(RunError, match=r"is not empty|cannot write to"):
            run.begin(Config())
    with pytest.raises(RunError, match=r"holds no run to go on with: it has no checkpoint\.npz"):
        reopened(Run(tmp_path))
    assert os.listdir(tmp_path) == ["empty"]


def test_a_directory_whose_run_was_killed_before_its_first_checkpoint_is_as_good_as_new(tmp_path):
    (tmp_path / "run.lock").touch()
    (tmp_path / f"unfinished-{16 * 'a'}-checkpoint.npz").write_bytes(b"half")
    with Run(tmp_path) as run:
        run.begin(Config())
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint.npz", "config.json", "costs.csv", "run.lock",
    ]  # fmt: skip
    (tmp_path / "config.json").unlink()  # as if it had been killed after that
    assert reopened(Run(tmp_path))[1].config == Config()


def test_settings_of_another_kind_are_refused(tmp_path):
    with Run(tmp_path) as run:
        run.begin(StackConfig())
    with Run(tmp_path) as run:
        run.reopen()
        assert run.config == StackConfig()
        with pytest.raises(RunError, match="the settings are a Config, were a StackConfig"):
            run.begin(Config())


def test_runs_without_a_name_are_named_after_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [Run(), Run()]
    for run in runs:
        run.begin(Config())
        run.close()
    names = sorted(os.listdir(tmp_path / "runs"))
    assert names == [run.directory.name for run in runs]
