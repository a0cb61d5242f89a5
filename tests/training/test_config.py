"""Settings: what they may be, and how they are refused."""

import json
import pickle
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

from dae import Config, LogisticRegressionConfig, StackConfig
from dae.training.config import LayerConfig, settings_from_record
from dae.training.settings import ConfigError


def test_the_defaults_are_the_worksheets():
    assert asdict(Config()) == {
        "data": "mini-mnist",
        "image_shape": None,
        "color": False,
        "crop": False,
        "autocontrast": False,
        "background": "black",
        "skip_bad_images": False,
        "validation_fraction": None,
        "data_sha256": None,
        "standardize": False,
        "corruption": "masking",
        "corruption_level": 0.3,
        "cost": "cross-entropy",
        "n_hidden": 100,
        "learning_rate": 0.1,
        "training_epochs": 200,
        "batch_size": 20,
        "shuffle": False,
        "patience": None,
        "validate_every": None,
        "seed": 123,
        "floatX": "float64",
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"data": None}, "data is None; expected a name or a path"),
        ({"image_shape": (28,)}, "image_shape is [28]; expected a height and a width"),
        ({"image_shape": (28, 0)}, "image_shape is [28, 0]; expected a height and a width"),
        ({"image_shape": (28, 28, 4)}, "image_shape is [28, 28, 4]; expected a height and a width"),
        ({"color": 1}, "color is 1; expected true or false"),
        ({"background": None}, "background is None; expected a colour"),
        ({"data_sha256": 1}, "data_sha256 is 1; expected a checksum"),
        ({"corruption_level": 1.5}, "corruption_level is 1.5; expected a number from 0 to 1"),
        ({"corruption_level": "0"}, "corruption_level is '0'; expected a number from 0 to 1"),
        ({"n_hidden": 0}, "n_hidden is 0; expected a whole number above 0"),
        ({"n_hidden": 2.0}, "n_hidden is 2.0; expected a whole number above 0"),
        ({"n_hidden": np.float64(2)}, "n_hidden is 2.0; expected a whole number above 0"),
        ({"batch_size": True}, "batch_size is True; expected a whole number above 0"),
        ({"training_epochs": -1}, "training_epochs is -1; expected a whole number above 0"),
        ({"learning_rate": 0}, "learning_rate is 0; expected a number above 0, at most 1e38"),
        ({"learning_rate": np.inf}, "learning_rate is inf; expected a number above 0, at mos"),
        ({"learning_rate": np.nan}, "learning_rate is nan; expected a number above 0, at mos"),
        ({"seed": 2**32}, "seed is 4294967296; expected a whole number from 0 to 2**32 - 1"),
        ({"floatX": "float16"}, "floatX is 'float16'; expected float64 or float32"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ConfigError) as caught:
        Config(**setting)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)
    assert caught.value.name == next(iter(setting))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(TypeError, match="n_hiden"):
        Config(n_hiden=5)
    with pytest.raises(ValueError, match="does not know: momentum, n_hiden; go on with"):
        Config.from_record({"n_hiden": 5, "momentum": 0.9, "seed": 1})


def test_settings_stay_as_they_are():
    with pytest.raises(FrozenInstanceError):
        Config().seed = 1


def test_what_numpy_and_tuples_give_is_stored_as_json_has_it():
    config = Config(
        n_hidden=np.int64(5),
        corruption_level=np.linspace(0, 1, 5)[1],
        learning_rate=np.float32(0.5),
        image_shape=(2, 8),
        floatX=np.str_("float32"),
    )
    record = json.loads(json.dumps(asdict(config)))
    assert record["image_shape"] == [2, 8]
    assert Config.from_record(record) == config
    assert config == Config(
        n_hidden=5,
        corruption_level=0.25,
        learning_rate=0.5,
        image_shape=[2, 8],
        floatX="float32",
    )


# Other kinds of training


def test_the_defaults_of_logistic_regression_are_the_tutorials():
    assert asdict(LogisticRegressionConfig()) == {
        "data": "mini-mnist",
        "image_shape": None,
        "color": False,
        "crop": False,
        "autocontrast": False,
        "background": "black",
        "skip_bad_images": False,
        "validation_fraction": None,
        "data_sha256": None,
        "kind": "LogisticRegression",
        "learning_rate": 0.13,
        "training_epochs": 1000,
        "batch_size": 600,
        "patience": 5000,
        "floatX": "float64",
    }


def test_the_tutorials_stack():
    config = asdict(StackConfig(**StackConfig.TUTORIAL))
    assert (
        config.items()
        >= {
            "hidden_layers_sizes": [1000, 1000, 1000],
            "corruption_levels": [0.1, 0.2, 0.3],
            "pretraining_epochs": 15,
            "pretraining_learning_rate": 0.001,
            "learning_rate": 0.1,
            "training_epochs": 1000,
            "batch_size": 1,
            "patience": 10,
            "seed": 89677,
        }.items()
    )


@pytest.mark.parametrize(("levels", "expected"), [((0.2,), 0.2), ((0.2, 0.4), 0.4)])
def test_the_settings_of_a_layer_are_the_stacks(levels, expected):
    config = StackConfig(
        data="x.npz", image_shape=(4, 4), data_sha256="00", hidden_layers_sizes=(9, 8),
        corruption_levels=levels, pretraining_epochs=7, pretraining_learning_rate=0.7,
        learning_rate=0.3, training_epochs=5, batch_size=3, seed=2, floatX="float32",
    )  # fmt: skip
    assert config.layer(2) == LayerConfig(
        data="x.npz", layer=2, corruption_level=expected, n_hidden=8, learning_rate=0.7,
        training_epochs=7, batch_size=3, seed=2, floatX="float32",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (LogisticRegressionConfig, {"patience": 1}, "patience is 1; expected a whole number of mi"),
        (LogisticRegressionConfig, {"patience": None}, "patience is None; expected a whole number"),
        (LogisticRegressionConfig, {"kind": "x"}, "kind is 'x'; expected 'LogisticRegression'"),
        (StackConfig, {"patience": None}, "patience is None; expected a whole number of epochs"),
        (StackConfig, {"kind": "layer"}, "kind is 'layer'; expected 'StackedDenoisingAutoencoder'"),
        (StackConfig, {"hidden_layers_sizes": ()}, "hidden_layers_sizes is []; expected a list of"),
        (StackConfig, {"hidden_layers_sizes": 5}, "hidden_layers_sizes is 5; expected a list of"),
        (StackConfig, {"hidden_layers_sizes": (5, 0)}, "hidden_layers_sizes is [5, 0]; expected a"),
        (StackConfig, {"corruption_levels": (1.5,)}, "corruption_levels is [1.5]; expected a list"),
        (
            StackConfig,
            {"corruption_levels": (0.1, 0.2, 0.3)},
            "corruption_levels is [0.1, 0.2, 0.3]; expected one number, or one for each of the 2",
        ),
        (StackConfig, {"pretraining_epochs": -1}, "pretraining_epochs is -1; expected a whole num"),
        (StackConfig, {"pretraining_learning_rate": 0}, "pretraining_learning_rate is 0; expected"),
    ],
)
def test_impossible_settings_of_other_kinds_are_refused(kind, setting, message):
    with pytest.raises(ConfigError) as caught:
        kind(**setting)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "settings", [Config(), LogisticRegressionConfig(), StackConfig(), StackConfig().layer(1)]
)
def test_a_record_says_of_which_kind_it_is(settings):
    record = json.loads(json.dumps(asdict(settings)))
    assert settings_from_record(record) == settings
    assert type(settings_from_record(record)) is type(settings)


def test_a_kind_that_this_version_does_not_know_is_refused():
    with pytest.raises(ValueError, match="does not know: kind; go on with the version"):
        settings_from_record({"kind": "PerceptualHash"})
    with pytest.raises(ValueError, match="are not a dictionary"):
        settings_from_record([])
