import math
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dae.training.early_stopping import EarlyStopping


def tutorial(losses, n_train_batches, n_epochs, patience=5000):
    """The loop of the tutorial's ``logistic_sgd``, without the training.

    Returns the iterations with a validation, those whose loss was the best, and the last one.
    """
    losses = cycle(losses)
    patience_increase = 2
    improvement_threshold = 0.995
    validation_frequency = min(n_train_batches, patience // 2)
    best_validation_loss = math.inf
    validated, best = [], []
    done_looping = False
    epoch = 0
    iteration = None
    while epoch < n_epochs and not done_looping:
        epoch = epoch + 1
        for minibatch_index in range(n_train_batches):
            iteration = (epoch - 1) * n_train_batches + minibatch_index
            if (iteration + 1) % validation_frequency == 0:
                validated.append(iteration)
                this_validation_loss = next(losses)
                if this_validation_loss < best_validation_loss:
                    if this_validation_loss < best_validation_loss * improvement_threshold:
                        patience = max(patience, iteration * patience_increase)
                    best_validation_loss = this_validation_loss
                    best.append(iteration)
            if patience <= iteration:
                done_looping = True
                break
    return validated, best, iteration


def ours(losses, n_train_batches, n_epochs, **settings):
    losses = cycle(losses)
    stopping = EarlyStopping(n_train_batches, **settings)
    validated, best = [], []
    iteration = None
    for iteration in range(n_train_batches * n_epochs):
        if stopping.is_validation_due(iteration):
            validated.append(iteration)
            if stopping.update(iteration, next(losses)):
                best.append(iteration)
                assert stopping.best_iter == iteration
        if stopping.is_over(iteration):
            break
    return validated, best, iteration


@settings(deadline=None)
@given(
    losses=st.lists(st.sampled_from([0.9, 0.5, 0.4999, 0.4975, 0.497, 0.1, 0.0]), min_size=1),
    n_train_batches=st.integers(1, 60),
    n_epochs=st.integers(1, 30),
    patience=st.integers(2, 200),
)
def test_it_is_the_tutorials_rule(losses, n_train_batches, n_epochs, patience):
    arguments = (losses, n_train_batches, n_epochs)
    assert ours(*arguments, patience=patience) == tutorial(*arguments, patience=patience)


def losses_that_improve_until(iteration, n_train_batches, n=1000):
    return [max(0.9**i, 0.9 ** (iteration // n_train_batches)) for i in range(n)]


@pytest.mark.parametrize("n_train_batches", [83, 833, 2500, 5000])
def test_it_is_the_tutorials_rule_with_its_own_settings(n_train_batches):
    losses = losses_that_improve_until(8000, n_train_batches)
    result = ours(losses, n_train_batches, 100)
    assert result == tutorial(losses, n_train_batches, 100)
    assert len(result[1]) > 1


# Worked out by hand


def test_without_any_improvement_it_is_over_after_the_patience():
    validated, best, last = ours([0.5] * 100, n_train_batches=100, n_epochs=100)
    assert validated == list(range(99, 5000, 100))
    assert best == [99]
    assert last == 5000


def test_the_patience_is_twice_the_minibatches_that_an_improvement_took():
    losses = [0.5] * 39 + [0.4] + [0.45] * 100
    _, best, last = ours(losses, n_train_batches=100, n_epochs=100)
    assert best == [99, 3999]
    assert last == 2 * 3999


@pytest.mark.parametrize(("loss", "last"), [(0.4974, 7998), (0.4976, 5000)])
def test_an_improvement_by_less_than_the_threshold_is_the_best_but_does_not_extend(loss, last):
    losses = [0.5] * 39 + [loss] * 100
    _, best, iteration = ours(losses, n_train_batches=100, n_epochs=100)
    assert best == [99, 3999]
    assert iteration == last


def test_long_epochs_are_interrupted_for_a_validation():
    assert EarlyStopping(n_train_batches=100_000).validation_frequency == 2500
    assert EarlyStopping(n_train_batches=2499).validation_frequency == 2499


def test_the_best_is_remembered():
    stopping = EarlyStopping(n_train_batches=10)
    assert (stopping.best_validation_loss, stopping.best_iter) == (math.inf, None)
    assert [stopping.update(i, loss) for i, loss in [(9, 0.5), (19, 0.6), (29, 0.5)]] == [
        True,
        False,
        False,
    ]
    assert (stopping.best_validation_loss, stopping.best_iter) == (0.5, 9)
    assert not stopping.update(39, math.nan)
    assert stopping.best_iter == 9


def test_other_factors():
    stopping = EarlyStopping(10, patience=20, patience_increase=3, improvement_threshold=0.5)
    stopping.update(9, 1.0)
    assert stopping.patience == 27
    stopping.update(19, 0.6)
    assert stopping.patience == 27
    stopping.update(29, 0.2)
    assert stopping.patience == 87
    assert not stopping.is_over(86)
    assert stopping.is_over(87)


@pytest.mark.parametrize(("n_train_batches", "patience"), [(0, 5000), (10, 1), (-1, 5000)])
def test_impossible_numbers_are_refused(n_train_batches, patience):
    with pytest.raises(ValueError, match=f"n_train_batches is {n_train_batches} and patience"):
        EarlyStopping(n_train_batches, patience)
