import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import NumpyStack

from dae import DenoisingAutoencoder, RandomStreams, StackedDenoisingAutoencoder, compile_train_da

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
N_INS, SIZES, N_OUTS = 9, (7, 5, 4), 3
BATCH_SIZE = 6


@pytest.fixture(params=["float32", "float64"])
def floatX(request):
    with pytensor.config.change_flags(floatX=request.param):
        yield request.param


def make(**arguments):
    options = {"n_ins": N_INS, "hidden_layers_sizes": SIZES, "n_outs": N_OUTS, **arguments}
    return StackedDenoisingAutoencoder(RandomState(123), **options)


def arrays(n, seed=0):
    """Images and their classes, which depend on each other, so that there is something to learn."""
    rng = RandomState(seed)
    x = rng.uniform(size=(n, N_INS)).astype(pytensor.config.floatX)
    return x, (x[:, :3].argmax(axis=1)).astype("int32")


def shared(x, y):
    return pytensor.shared(x, borrow=True), pytensor.shared(y, borrow=True)


def numpy_stack():
    return NumpyStack(RandomState(123), N_INS, SIZES, N_OUTS, pytensor.config.floatX)


def minibatches(*parts):
    for start in range(0, len(parts[0]) - BATCH_SIZE + 1, BATCH_SIZE):
        yield [part[start : start + BATCH_SIZE] for part in parts]


def assert_same_parameters(model, expected, floatX):
    options = {"rtol": TOLERANCE[floatX], "atol": TOLERANCE[floatX]}
    for param, value in zip(model.params, expected.params, strict=True):
        assert param.get_value().dtype == floatX
        assert_allclose(param.get_value(), value.astype(float), **options)
    for dA, (_, _, b_prime) in zip(model.dA_layers, expected.layers, strict=True):
        assert_allclose(dA.b_prime.get_value(), b_prime.astype(float), **options)


# Building


def test_initial_parameters_are_the_tutorials(floatX):
    assert_same_parameters(make(), numpy_stack(), floatX)


def test_given_random_streams_leave_the_weights_the_first_draw():
    theano_rng = RandomStreams(1)
    model = make(theano_rng=theano_rng)
    assert model.theano_rng is theano_rng
    da = DenoisingAutoencoder(RandomState(123), theano_rng, n_visible=N_INS, n_hidden=SIZES[0])
    assert_array_equal(model.params[0].get_value(), da.W.get_value())


def test_default_sizes_are_the_tutorials():
    shapes = [
        param.get_value(borrow=True).shape
        for param in StackedDenoisingAutoencoder(RandomState(1)).params
    ]
    assert shapes == [(784, 500), (500,), (500, 500), (500,), (500, 10), (10,)]


def test_layers_share_what_the_tutorials_share():
    model = make()
    layer_input = model.x
    for layer, dA in zip(model.sigmoid_layers, model.dA_layers, strict=True):
        assert layer.input is dA.x is layer_input
        assert dA.W is layer.W
        assert dA.b is layer.b
        assert dA.theano_rng is model.theano_rng
        assert dA.b_prime not in model.params
        layer_input = layer.output
    assert model.logLayer.input is layer_input
    expected = [param for layer in model.sigmoid_layers for param in (layer.W, layer.b)]
    assert model.params == [*expected, model.logLayer.W, model.logLayer.b]
    assert (model.x.type, model.y.type) == (pt.matrix().type, pt.ivector().type)


def test_a_stack_without_layers_is_refused():
    with pytest.raises(ValueError, match="hidden_layers_sizes is empty; expected at least one"):
        make(hidden_layers_sizes=[])


# Pre-training


@pytest.mark.parametrize("mode", ["constant", "symbolic"])
def test_the_first_layer_is_trained_as_an_autoencoder_alone(mode, floatX):
    x, _ = arrays(20)
    model = make()
    step = model.pretraining_functions(pytensor.shared(x), BATCH_SIZE)[0]
    da = DenoisingAutoencoder(RandomState(123), n_visible=N_INS, n_hidden=SIZES[0])
    settings = {"corruption_level": 0.3, "learning_rate": 0.1}
    if mode == "symbolic":
        settings = {"corruption_level": pt.dscalar(), "learning_rate": pt.dscalar()}
    values = () if mode == "constant" else (0.3, 0.1)
    train_da = compile_train_da(da, pytensor.shared(x), batch_size=BATCH_SIZE, **settings)
    for _ in range(5):
        for index in range(3):
            assert step(index=index, corruption=0.3, lr=0.1) == train_da(index, *values)
    for param, expected in zip(model.dA_layers[0].params, da.params, strict=True):
        assert_array_equal(param.get_value(), expected.get_value())


def test_the_whole_training_is_that_of_a_model_in_numpy(floatX):
    model, expected = make(), numpy_stack()
    parts = train, valid, test = arrays(45, seed=1), arrays(14, seed=2), arrays(18, seed=3)
    datasets = [shared(*part) for part in parts]

    functions = model.pretraining_functions(datasets[0][0], BATCH_SIZE)
    assert len(functions) == len(SIZES)
    corruptions = [0.1, 0.2, 0.3]
    for i, (step, corruption) in enumerate(zip(functions, corruptions, strict=True)):
        for _ in range(4):
            for index, (x,) in enumerate(minibatches(train[0])):
                cost = step(index=index, corruption=corruption, lr=0.5)
                assert_allclose(
                    cost,
                    float(expected.pretrain(i, x, corruption, lr=0.5)),
                    rtol=TOLERANCE[floatX],
                )
        assert_same_parameters(model, expected, floatX)

    train_fn, valid_score, test_score = model.build_finetune_functions(datasets, BATCH_SIZE, 0.7)
    all_errors = []
    for _ in range(6):
        for index, (x, y) in enumerate(minibatches(*train)):
            cost = train_fn(index)
            assert_allclose(cost, float(expected.finetune(x, y, lr=0.7)), rtol=TOLERANCE[floatX])
        assert_same_parameters(model, expected, floatX)
        for score, part in [(valid_score, valid), (test_score, test)]:
            errors = [expected.errors(x, y) for x, y in minibatches(*part)]
            assert_allclose(score(), errors, rtol=1e-15)
            all_errors.append(errors)
    assert [len(errors) for errors in all_errors[:2]] == [2, 3]
    assert len({error for errors in all_errors for error in errors}) > 1


def test_layers_trained_on_codes_have_the_bits_of_those_trained_in_the_stack(floatX):
    x, _ = arrays(20)
    stack, alone = make(), make()
    steps = stack.pretraining_functions(pytensor.shared(x), BATCH_SIZE)
    codes = x
    for step, da in zip(steps, alone.layer_models(), strict=True):
        settings = {"corruption_level": 0.3, "learning_rate": 0.5}
        train_da = compile_train_da(da, pytensor.shared(codes), batch_size=BATCH_SIZE, **settings)
        for _ in range(3):
            for index in range(3):
                assert step(index=index, corruption=0.3, lr=0.5) == train_da(index)
        codes = da.encode(codes)
    for dA, expected in zip(alone.dA_layers, stack.dA_layers, strict=True):
        for param, expected_param in zip(dA.params, expected.params, strict=True):
            assert_array_equal(param.get_value(), expected_param.get_value())
    assert alone.theano_rng.state_updates == []  # the streams are the layers' own


def test_default_corruption_and_learning_rate_are_the_tutorials():
    x, _ = arrays(BATCH_SIZE)
    costs = []
    for settings in [{}, {"corruption": 0.2, "lr": 0.1}]:
        step = make().pretraining_functions(pytensor.shared(x), BATCH_SIZE)[1]
        costs.append([float(step(index=0, **settings)) for _ in range(3)])
    assert costs[0] == costs[1]
    assert len(set(costs[0])) == 3


def test_pretraining_a_layer_leaves_the_others_and_their_noise_as_they_are():
    model = make()
    steps = model.pretraining_functions(pytensor.shared(arrays(BATCH_SIZE)[0]), BATCH_SIZE)
    others = [param for dA in (model.dA_layers[0], model.dA_layers[2]) for param in dA.params]
    others += model.logLayer.params
    others += [state for state, _ in model.theano_rng.state_updates[::2]]
    assert len(model.theano_rng.state_updates) == 3
    before = [other.get_value() for other in others]
    steps[1](index=0)
    for other, value in zip(others, before, strict=True):
        assert_array_equal(other.get_value(), value)


# What the compiler makes of it


def op_names(function):
    return [type(node.op).__name__ for node in function.maker.fgraph.toposort()]


def test_the_steps_are_made_of_our_ops(floatX):
    model = make()
    data = shared(*arrays(20))
    for i, step in enumerate(model.pretraining_functions(data[0], BATCH_SIZE)):
        names = op_names(step.func)
        # Encoding in each layer below, encoding and decoding, and the gradient by the hidden
        # values and by W, of which the latter is two products at once.
        assert names.count("Gemm") == i + 4
        assert names.count("Sigmoid") == i + 1
        assert names.count("CrossEntropy") == 1
        assert not {"Dot", "Dot22", "Dot22Scalar", "BatchedDot"} & set(names)
    train_fn, _, _ = model.build_finetune_functions([data] * 3, BATCH_SIZE, 0.1)
    names = op_names(train_fn)
    # Forward through all layers, the gradients of all weights, and back to all but the first.
    assert names.count("Gemm") == 4 + 4 + 3
    assert names.count("Sigmoid") == 3
    assert names.count("ColumnSum") == 4
    assert names.count("LogLikelihood") == 1
    assert not {"Dot", "Dot22", "Dot22Scalar", "BatchedDot"} & set(names)


# What a user can get wrong


@pytest.mark.parametrize(
    ("part", "rows", "has_classes", "message"),
    [
        (0, 20, False, "the training data have 20 rows and no classes"),
        (1, 5, True, "the validation data have 5 rows and classes; .* at least batch_size=6"),
        (2, 0, True, "the test data have 0 rows"),
    ],
)
def test_data_that_cannot_be_used_are_refused(part, rows, has_classes, message):
    datasets = [shared(*arrays(20)) for _ in range(3)]
    x, y = shared(*arrays(rows))
    datasets[part] = x, y if has_classes else None
    with pytest.raises(ValueError, match=message):
        make().build_finetune_functions(datasets, BATCH_SIZE, 0.1)


def test_the_learning_rate_may_be_symbolic():
    data = shared(*arrays(20))
    rate = pytensor.shared(0.0)
    model = make()
    train_fn, _, _ = model.build_finetune_functions([data] * 3, BATCH_SIZE, rate)
    before = model.params[0].get_value()
    train_fn(0)
    train_fn(0)
    assert_array_equal(model.params[0].get_value(), before)
    rate.set_value(0.5)
    costs = [train_fn(0), train_fn(0), train_fn(0)]
    assert costs[0] > costs[2]
