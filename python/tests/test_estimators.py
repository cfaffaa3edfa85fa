"""scikit-learn's own checks, and what its users expect of its network (cases as in its tests, with our own numbers)."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_diabetes,
    load_digits,
    load_iris,
    make_moons,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import syva
from syva import SyvaClassifier, SyvaRegressor

_WEIGHTS = "a batch of rows that are there twice is another batch than one of rows with the weight 2"


@parametrize_with_checks(
    [SyvaClassifier(), SyvaRegressor()],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": _WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": _WEIGHTS,
    },
)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("estimator", [SyvaClassifier(), SyvaRegressor()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "check", ["check_dataframe_column_names_consistency", "check_param_validation", "check_inplace_ensure_writeable"]
)
def test_checks_that_check_estimator_leaves_out(estimator, check):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), test_size=0.25, random_state=0)


def test_digits_are_learned(digits):
    x, x_test, y, y_test = digits
    model = SyvaClassifier(hidden=(64,), epochs=100, random_state=1).fit(x, y)
    assert model.score(x, y) > 0.99
    assert model.score(x_test, y_test) > 0.95
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 10
    assert model.n_iter_ == len(model.loss_curve_) <= 100
    assert [w.shape for w in model.coefs_] == [(64, 64), (64, 10)]


def test_one_small_batch_is_overfitted():
    x, y = load_digits(return_X_y=True)
    x, y = x[:60], y[:60]
    model = SyvaClassifier(hidden=(50,), dropout=0.0, epochs=300, stop="never", lr=0.02).fit(x, y)
    assert model.score(x, y) == 1.0
    assert model.loss_ < 1e-3


def test_the_weights_are_those_of_the_network(digits):
    x, x_test, y, _ = digits
    model = SyvaClassifier(hidden=(16, 8), activation="tanh", epochs=5, scaling="none").fit(x, y)
    h = x_test
    for w, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        h = np.tanh(h @ w + b)
    logits = h @ model.coefs_[-1] + model.intercepts_[-1]
    np.testing.assert_allclose(model.decision_function(x_test), logits, rtol=1e-3, atol=1e-3)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(x_test), e / e.sum(axis=1, keepdims=True), atol=1e-4)


def test_early_stopping_keeps_the_best_epoch(digits):
    x, _, y, _ = digits
    model = SyvaClassifier(hidden=(64,), early_stopping=True, n_iter_no_change=5, epochs=500).fit(x, y)
    assert model.n_iter_ < 500
    best = int(np.argmin(model.validation_curve_)) + 1
    assert model.best_epoch_ == best
    assert len(model.validation_curve_) == model.n_iter_


def test_rows_of_ones_own_validate(digits):
    x, x_val, y, y_val = digits
    model = SyvaClassifier(hidden=(32,), epochs=10, early_stopping=True).fit(x, y, X_val=x_val, y_val=y_val)
    assert len(model.validation_curve_) == model.n_iter_
    # All other rows train: another number of them would be another training.
    again = SyvaClassifier(hidden=(32,), epochs=model.best_epoch_, stop="never").fit(x, y)
    np.testing.assert_array_equal(model.predict_proba(x_val), again.predict_proba(x_val))


def test_partial_fit_learns_and_begins_anew_where_it_must(digits):
    x, x_test, y, y_test = digits
    model = SyvaClassifier(hidden=(64,), batch_size=64, random_state=0)
    for epoch in range(20):
        order = np.random.default_rng(epoch).permutation(len(x))
        for part in np.array_split(order, 4):
            model.partial_fit(x[part], y[part], classes=np.arange(10))
    assert model.score(x_test, y_test) > 0.95
    assert model.n_iter_ == len(model.loss_curve_) == 80
    with pytest.raises(ValueError, match="is not one of"):
        model.partial_fit(x[:2], np.array([3, 77]))
    with pytest.raises(ValueError, match="first call"):
        model.partial_fit(x[:2], y[:2], classes=[1, 2, 3])
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(x[:, :3], y)


def test_partial_fit_knows_classes_that_it_has_not_seen():
    x, y = load_iris(return_X_y=True)
    model = SyvaClassifier().partial_fit(x[:50], y[:50], classes=[0, 1, 2])
    assert model.predict_proba(x).shape == (150, 3)
    for _ in range(200):
        model.partial_fit(x, y)
    assert model.score(x, y) > 0.95


def test_partial_fit_remembers_what_the_optimiser_does():
    x, y = make_regression(200, 5, random_state=0)
    y = (y - y.mean()) / y.std()
    # One epoch at a time on all rows in one batch, which has no order, is what fit does.
    fitted = SyvaRegressor(hidden=(8,), scaling="standard", batch_size=200, epochs=7, stop="never", random_state=3).fit(x, y)
    steps = SyvaRegressor(hidden=(8,), scaling="standard", batch_size=200, random_state=3)
    for _ in range(7):
        steps.partial_fit(x, y)
    np.testing.assert_allclose(fitted.predict(x), steps.predict(x), rtol=1e-4, atol=1e-5)


def test_warm_start_goes_on_from_the_weights(digits):
    x, _, y, _ = digits
    model = SyvaClassifier(hidden=(32,), epochs=3, warm_start=True).fit(x, y)
    first = model.loss_
    model.fit(x, y)
    assert model.loss_curve_[0] < first * 1.2
    assert model.loss_ < first
    cold = clone(model).set_params(warm_start=False).fit(x, y).fit(x, y)
    assert cold.loss_ == pytest.approx(first, rel=1e-12)


def test_several_labels_at_once():
    x, y = make_multilabel_classification(n_samples=400, n_features=10, n_classes=4, random_state=0)
    model = SyvaClassifier(hidden=(50,), dropout=0.0, epochs=400, lr=0.01).fit(x, y)
    assert model.predict(x).shape == y.shape
    assert model.predict_proba(x).shape == y.shape
    assert model.score(x, y) > 0.8
    assert set(np.unique(model.predict(x))) <= {0, 1}
    model.partial_fit(x, y)


def test_several_numbers_at_once():
    x, y = make_regression(300, 6, n_targets=3, random_state=1)
    model = SyvaRegressor(hidden=(64,), epochs=300).fit(x, y)
    assert model.predict(x).shape == (300, 3)
    assert model.score(x, y) > 0.95


def test_sparse_is_dense(digits):
    x, x_test, y, _ = digits
    dense = SyvaClassifier(epochs=3).fit(x, y).predict_proba(x_test)
    for kind in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia"):
        sparse = SyvaClassifier(epochs=3).fit(scipy.sparse.coo_array(x).asformat(kind), y)
        np.testing.assert_array_equal(sparse.predict_proba(scipy.sparse.csr_array(x_test)), dense)


def test_labels_keep_their_type():
    x, y = load_iris(return_X_y=True)
    for labels in (
        ["a", "b", "c"],
        [True, False, True],
        [-1.0, 0.0, 2.0],
        [10, -3, 7],
        [np.int8(1), np.int8(2), np.int8(3)],
    ):
        given = np.array(labels)[y]
        model = SyvaClassifier(epochs=2).fit(x, given)
        assert model.predict(x).dtype == given.dtype
        np.testing.assert_array_equal(model.classes_, np.unique(given))
        assert model.predict_proba(x).shape == (150, len(model.classes_))
    with pytest.raises(ValueError, match="Unknown label type"):
        SyvaClassifier().fit(x, x[:, 0])


def test_class_weights_and_sample_weights_count():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    y = (x[:, 0] + rng.normal(size=600) > 1.8).astype(int)
    plain = SyvaClassifier(epochs=30).fit(x, y).predict(x).mean()
    balanced = SyvaClassifier(epochs=30, class_weight="balanced").fit(x, y).predict(x).mean()
    by_class = SyvaClassifier(epochs=30, class_weight={0: 1.0, 1: 8.0}).fit(x, y).predict(x).mean()
    by_row = SyvaClassifier(epochs=30).fit(x, y, sample_weight=np.where(y, 8.0, 1.0)).predict(x).mean()
    assert plain < balanced and plain < by_class and plain < by_row
    # A row without weight is as if it were not there.
    flipped = np.concatenate([y, 1 - y])
    twice = np.concatenate([x, x])
    weight = np.concatenate([np.ones(600), np.zeros(600)])
    kept = SyvaClassifier(epochs=30).fit(twice, flipped, sample_weight=weight)
    assert kept.score(x, y) > 0.85
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        SyvaClassifier().fit(x, y, sample_weight=-np.ones(600))


def test_the_seed_and_nothing_else_decides():
    x, y = make_moons(300, noise=0.2, random_state=0)
    fit = lambda **given: SyvaClassifier(epochs=5, **given).fit(x, y).model_bytes_
    assert fit() == fit() == fit(n_jobs=1) == fit(n_jobs=2) == fit(random_state=1) == fit(random_state=np.int64(1))
    assert fit(random_state=2) != fit()
    assert fit(random_state=np.random.RandomState(0)) == fit(random_state=np.random.RandomState(0))
    before = np.random.get_state()[1].copy()
    fit()
    assert (np.random.get_state()[1] == before).all()


def test_it_is_pickled_as_its_model_file(digits):
    x, x_test, y, _ = digits
    model = SyvaClassifier(epochs=3).fit(x, y)
    for protocol in range(2, 6):
        again = pickle.loads(pickle.dumps(model, protocol))
        np.testing.assert_array_equal(again.predict_proba(x_test), model.predict_proba(x_test))
        assert again.model_bytes_ == model.model_bytes_
    # No data set inside.
    assert len(pickle.dumps(model)) < len(model.model_bytes_) + 10_000
    # What the optimiser remembers is not inside, but the weights are.
    again.partial_fit(x, y)


def test_it_works_where_estimators_work(digits):
    x, _, y, _ = digits
    x, y = x[:400], y[:400]
    base = SyvaClassifier(hidden=(32,), lr=0.01, epochs=40)
    assert cross_val_score(base, x, y, cv=3).mean() > 0.85
    search = GridSearchCV(base, {"lr": [1e-3, 1e-2], "hidden": [(16,), (32, 16)]}, cv=2, n_jobs=2).fit(x, y)
    assert search.best_score_ > 0.8
    # The same in this process as in the workers.
    assert search.score(x, y) == clone(base).set_params(**search.best_params_).fit(x, y).score(x, y)
    assert make_pipeline(StandardScaler(), base).fit(x, y).score(x, y) > 0.9
    assert CalibratedClassifierCV(base, cv=2).fit(x, y).predict_proba(x).shape == (400, 10)


def test_presets_for_tables():
    x, y = load_diabetes(return_X_y=True)
    model = SyvaRegressor(preset="tabular", epochs=64).fit(x, y)
    assert len(model.validation_curve_) == 64
    assert model.best_epoch_ is not None
    assert model.score(x, y) > 0.3
    assert SyvaRegressor(preset="tabular-plain", epochs=3, hidden=(8,)).fit(x, y).model_.widths == "10-8-1"


def test_distributions():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (800, 1))
    y = 2 * x[:, 0] + rng.normal(size=800) * np.where(x[:, 0] > 0, 1.0, 0.1)
    model = SyvaRegressor(head="gaussian", epochs=150).fit(x, y)
    std = model.predict_std(np.array([[-0.5], [0.5]]))
    assert std[0] < 0.5 * std[1]
    with pytest.raises(ValueError, match="head='gaussian'"):
        SyvaRegressor(epochs=1).fit(x, y).predict_std(x)


def test_bad_parameters_are_named():
    x, y = load_iris(return_X_y=True)
    for given, says in [
        ({"activation": "rellu"}, r"activation: unknown name 'rellu' \(did you mean 'relu'\?\)"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": "many"}, "not a list of widths"),
        ({"lr": -1.0}, "lr"),
        ({"dropout": 1.5}, "dropout"),
        ({"loss": "absolute"}, "loss"),
        ({"device": "abacus"}, "no device 'abacus'"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"categorical_features": [7]}, "categorical_features"),
        ({"schedule": "cosinus"}, "schedule"),
    ]:
        with pytest.raises(ValueError, match=says):
            SyvaClassifier(epochs=1, **given).fit(x, y)
    with pytest.raises(FloatingPointError, match="not finite at epoch 1"):
        SyvaRegressor(optimizer="sgd", lr=1e20, epochs=3).fit(x, y)
    with pytest.raises(NotFittedError):
        SyvaClassifier().predict(x)


def test_no_hidden_layer_is_a_linear_model():
    x, y = make_regression(200, 4, noise=0.0, random_state=0)
    model = SyvaRegressor(hidden=(), scaling="standard", lr=0.05, epochs=300, stop="never").fit(x, y)
    assert model.model_.widths == "4-1"
    assert model.score(x, y) > 0.999


def test_scikit_learns_network_comes_in_with_the_same_predictions(digits):
    from sklearn.neural_network import MLPClassifier

    x, x_test, y, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPClassifier((20, 10), activation="tanh", max_iter=20, random_state=0).fit(x, y)
    ours = syva.from_sklearn(theirs)
    np.testing.assert_allclose(ours.predict_proba(x_test), theirs.predict_proba(x_test), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(x_test), theirs.predict(x_test))


def test_scikit_learns_callbacks_hear_the_epochs(digits):
    callback = pytest.importorskip("sklearn.callback")
    x, _, y, _ = digits
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = SyvaClassifier(epochs=5, stop="never").set_callbacks(monitor).fit(x, y)
    log = monitor.get_logs().data_as_pandas
    assert len(log) == 5
    # The last score is that of the network that was kept.
    assert log["accuracy"].iloc[-1] == model.score(x, y)
    plain = SyvaClassifier(epochs=5, stop="never").fit(x, y)
    assert plain.model_.digest == model.model_.digest

    class Stops:
        def setup(self, estimator, context):
            self.begun = 0

        def teardown(self, estimator, context):
            self.is_over = True

        def on_fit_task_begin(self, estimator, context):
            self.begun += 1

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 2

    stops, heard = Stops(), []
    model = SyvaClassifier(epochs=50, stop="never", callback=heard.append).set_callbacks(stops).fit(x, y)
    assert model.n_iter_ == 3 == len(heard)
    assert stops.is_over and stops.begun == 5


def test_what_is_judged_by_other_rows_sets_some_aside(digits):
    x, _, y, _ = digits
    for given in (
        {"stop": "patience:epochs=3"},
        {"keep": "best:metric=val_acc"},
        {"schedule": "plateau:patience=2"},
        {"validation_fraction": 0.2},
    ):
        assert len(SyvaClassifier(epochs=4, **given).fit(x, y).validation_curve_) == 4
    for given in ({}, {"stop": "patience:epochs=3,metric=train_loss"}, {"keep": "best:metric=train_acc"}, {"keep": "last"}):
        assert not hasattr(SyvaClassifier(epochs=4, **given).fit(x, y), "validation_curve_")
