"""A validation part for data that have none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae.datasets import DataError, Dataset, read_data, split_validation

NOTHING = (np.zeros((0, 1), "uint8"), None)


def dataset_of(n, names=False):
    x, y = np.arange(n).reshape(n, 1) / n, np.arange(n, dtype="int32") * 5 // max(n, 1)
    names = (tuple(f"{i}.png" for i in range(n)), (), ()) if names else None
    return Dataset((x, y), NOTHING, NOTHING, (1, 1), None, names)


@given(st.integers(2, 300), st.floats(0.001, 0.999), st.booleans())
def test_every_image_is_in_one_part_with_its_label_and_name(n, fraction, names):
    dataset = dataset_of(n, names)
    n_valid = round(n * fraction)
    if not 0 < n_valid < n:
        with pytest.raises(DataError, match="expected a fraction that leaves images to train on"):
            split_validation(dataset, fraction)
        return
    split = split_validation(dataset, fraction)
    (train_x, train_y), (valid_x, valid_y) = split.train, split.valid
    assert len(valid_x) == n_valid
    rows = [np.rint(x[:, 0] * n).astype(int) for x in (train_x, valid_x)]
    assert sorted([*rows[0], *rows[1]]) == list(range(n))
    for row, y in zip(rows, (train_y, valid_y), strict=True):
        assert (np.diff(row) > 0).all()
        assert (y == row * 5 // n).all()
    if names:
        assert split.names == (*(tuple(f"{i}.png" for i in row) for row in rows), ())
    else:
        assert split.names is None
        assert rows[1].tolist() == list(range(n - n_valid, n))


def test_images_of_all_classes_are_judged_by():
    split = split_validation(dataset_of(100, names=True), 0.1)
    assert sorted(split.valid[1].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_rows_of_a_file_stay_there(tmp_path):
    np.save(tmp_path / "data.npy", np.arange(40, dtype="uint8").reshape(10, 4))
    dataset = split_validation(read_data(tmp_path / "data.npy", lazy=True), 0.2)
    (train_x, _), (valid_x, _) = dataset.train, dataset.valid
    assert not isinstance(train_x, np.ndarray)
    assert np.asarray(valid_x)[:, 0].tolist() == [32, 36]


def test_data_with_a_part_of_their_own_keep_it():
    with pytest.raises(DataError, match=r"0\.1 was asked for, but the data have 1000 validation"):
        split_validation(read_data(), 0.1)
