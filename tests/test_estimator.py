"""The estimator: scikit-learn's own checks, the numbers of `dae.fit`, and where it is used."""

import importlib
import pickle
import sys

import joblib
import numpy as np
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import PUBLISHED
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import dae
from dae.estimator import DenoisingAutoencoderTransformer

X = RandomState(1).uniform(size=(60, 16))
LABELS = (X[:, :8].sum(axis=1) > 4).astype(int)


@pytest.fixture
def small():
    return DenoisingAutoencoderTransformer(3, batch_size=12, n_iter=4, random_state=1)


@pytest.fixture(scope="module")
def mini_mnist():
    (train, _), (valid, _), _ = dae.load_data()
    return train.get_value(), valid.get_value()


def bits_of(estimator):
    return [estimator.components_, estimator.intercept_hidden_, estimator.intercept_visible_]


def assert_same(estimator, expected):
    for value, expected_value in zip(bits_of(estimator), bits_of(expected), strict=True):
        assert value.dtype == expected_value.dtype
        assert_array_equal(value, expected_value)
    assert estimator.n_iter_ == expected.n_iter_


# A third of the checks give data that are not in [0, 1].
@pytest.mark.filterwarnings("ignore:X has values from")
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API is not set")
def test_scikit_learns_checks_pass():
    check_estimator(DenoisingAutoencoderTransformer(n_iter=5))


# The numbers


@pytest.mark.parametrize(
    ("floatX", "level", "shuffle"),
    [("float64", 0.3, False), ("float64", 0, True), ("float32", 0.5, True)],
)
def test_the_bits_are_those_of_fit(mini_mnist, floatX, level, shuffle):
    train, valid = (x.astype(floatX) for x in mini_mnist)
    config = dae.Config(
        n_hidden=30, corruption_level=level, learning_rate=0.2, batch_size=50, shuffle=shuffle,
        training_epochs=2, seed=7, floatX=floatX,
    )  # fmt: skip
    model, history = dae.fit(config, train, validation=valid)
    estimator = DenoisingAutoencoderTransformer(
        30, corruption_level=level, learning_rate=0.2, batch_size=50, shuffle=shuffle, n_iter=2,
        random_state=7,
    ).fit(train)  # fmt: skip
    for value, param in zip(bits_of(estimator), model.params, strict=True):
        assert value.dtype == floatX
        assert_array_equal(value.T, param.get_value())
    codes = estimator.transform(valid)
    assert_array_equal(codes, model.encode(valid))
    assert_array_equal(estimator.inverse_transform(codes), model.decode(codes))
    assert estimator.score(valid) == -history[-1].validation_loss


def test_the_bare_estimator_is_the_worksheets(mini_mnist, capsys):
    DenoisingAutoencoderTransformer(n_iter=1, random_state=123, verbose=1).fit(mini_mnist[0])
    line = f"[DenoisingAutoencoderTransformer] Iteration 1, cost = {PUBLISHED[0.3][0]}, time = "
    assert capsys.readouterr().out.startswith(line)


def test_codes_reconstructions_and_score_are_those_of_the_formulas(small):
    codes = small.fit_transform(X)
    W, b, b_prime = small.components_.T, small.intercept_hidden_, small.intercept_visible_
    y = 1 / (1 + np.exp(-(X @ W + b)))
    z = 1 / (1 + np.exp(-(y @ W.T + b_prime)))
    assert_allclose(codes, y, rtol=1e-12)
    assert_allclose(small.inverse_transform(codes), z, rtol=1e-12)
    cost = -np.sum(X * np.log(z) + (1 - X) * np.log(1 - z), axis=1)
    assert_allclose(small.score(X), -cost.mean(), rtol=1e-12)


def test_bytes_are_pixels(small):
    pixels = RandomState(2).randint(256, size=(60, 16)).astype("uint8")
    floats = clone(small).fit(pixels / 256)
    assert_same(small.fit(pixels), floats)
    assert_array_equal(small.transform(pixels), floats.transform(pixels / 256))


def test_a_minibatch_is_at_most_all_rows(small):
    expected = clone(small).set_params(batch_size=7).fit(X[:7])
    assert_same(small.fit(X[:7]), expected)


@pytest.mark.parametrize("kind", [int, RandomState, type(None)])
def test_the_random_state_decides(small, kind):
    def fitted():
        np.random.seed(3)  # noqa: NPY002 (the generator that None stands for)
        state = None if kind is type(None) else kind(3)
        return clone(small).set_params(random_state=state).fit(X)

    assert_same(fitted(), fitted())
    assert np.any(fitted().components_ != small.fit(X).components_)


# Going on


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_training_goes_on_to_the_same_bits(small, shuffle):
    expected = clone(small).set_params(shuffle=shuffle, n_iter=5).fit(X)
    parts = clone(small).set_params(shuffle=shuffle, n_iter=2, warm_start=True).fit(X).fit(X)
    other = clone(small).fit(X[:30])  # the compiled step is put to another use meanwhile
    assert other.n_iter_ == 4
    assert_same(pickle.loads(pickle.dumps(parts)).partial_fit(X), expected)
    single = clone(small).set_params(shuffle=shuffle)
    for _ in range(5):
        single.partial_fit(X)
    assert_same(single, expected)


def test_without_a_warm_start_a_training_begins_anew(small):
    expected = clone(small).fit(X)
    assert_same(small.fit(X[:30, :9]).fit(X), expected)


def test_noise_may_come_and_go(small):
    small.fit(X)
    for level in (0, 0.5, 0):
        small.set_params(corruption_level=level).partial_fit(X)
    assert small.n_iter_ == 7
    assert np.isfinite(small.score(X))


# In scikit-learn


def test_it_is_one_step_of_a_search(small):
    pipeline = make_pipeline(MinMaxScaler(), small, NearestCentroid())
    name = "denoisingautoencodertransformer"
    grid = {f"{name}__n_components": [2, 5], f"{name}__learning_rate": [0.1, np.float64(0.5)]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(10 * X - 5, LABELS)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    best = clone(pipeline).set_params(**search.best_params_).fit(10 * X - 5, LABELS)
    assert_same(search.best_estimator_[1], best[1])


def test_its_own_score_ranks_settings(small):
    search = GridSearchCV(small, {"learning_rate": [1e-6, 0.5]}, cv=2).fit(X)
    assert search.best_params_ == {"learning_rate": 0.5}


@pytest.mark.parametrize(
    ("backend", "dtypes"), [("loky", ["float64"] * 2), ("threading", ["float64", "float32"])]
)
def test_several_are_trained_at_once(small, backend, dtypes):
    settings = [
        ({"n_components": 3 + i, "learning_rate": 0.1 * (i + 1)}, X.astype(dtypes[i % 2]))
        for i in range(4)
    ]
    expected = [clone(small).set_params(**params).fit(x) for params, x in settings]
    trained = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(clone(small).set_params(**params).fit)(x) for params, x in settings
    )
    for estimator, expected_estimator in zip(trained, expected, strict=True):
        assert_same(estimator, expected_estimator)


def test_data_that_cannot_be_written_to_are_trained_on(small):
    expected = clone(small).fit(X)
    frozen = X.copy()
    frozen.setflags(write=False)
    assert_same(small.fit(frozen), expected)
    assert_array_equal(small.transform(frozen), expected.transform(X))


def test_the_output_may_be_a_table_with_names(small):
    table = small.set_output(transform="pandas").fit_transform(X)
    names = [f"denoisingautoencodertransformer{i}" for i in range(3)]
    assert list(table.columns) == list(small.get_feature_names_out()) == names
    assert_array_equal(table, small.set_output(transform="default").transform(X))


# What is refused


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_components", 0, "a whole number above 0"),
        ("corruption_level", 1.5, "a number from 0 to 1"),
        ("learning_rate", 0, "a number above 0, at most 1e38"),
        ("batch_size", 0, "a whole number above 0"),
        ("n_iter", "5", "a whole number above 0"),
        ("shuffle", 1, "true or false"),
        ("random_state", -1, "a whole number from 0 to 2**32 - 1"),
    ],
)
def test_impossible_parameters_are_named(small, name, value, expected):
    small.set_params(**{name: value})
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        small.fit(X)
    assert str(error.value) == f"{name} is {value!r}; expected {expected}"


def test_a_training_does_not_go_on_with_another_number_of_units(small):
    small.fit(X).set_params(n_components=4)
    with pytest.raises(ValueError, match="n_components is 4; expected 3, as before"):
        small.partial_fit(X)


@pytest.mark.parametrize(("shift", "range"), [(-0.25, "-0.25 to 0.75"), (0.5, "0.5 to 1.5")])
def test_values_outside_of_0_to_1_are_warned_of(small, shift, range):
    x = MinMaxScaler().fit_transform(X)
    with pytest.warns(UserWarning, match=rf"X has values from {range}; expected values in"):
        small.fit(x + shift)
    small.fit(x * (1 + 1e-9))


def test_a_training_that_diverges_is_an_error_and_leaves_the_next_one_alone(small):
    expected = clone(small).fit(X)
    with pytest.raises(FloatingPointError, match="try a smaller learning rate"):
        clone(small).set_params(learning_rate=1e38).fit(X.astype("float32"))
    assert_same(small.fit(X), expected)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "dae.estimator")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"^dae\.estimator needs scikit-learn.*'dae\[sklearn\]'"):
        importlib.import_module("dae.estimator")
