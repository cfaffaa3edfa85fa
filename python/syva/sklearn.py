"""scikit-learn estimators."""

from __future__ import annotations

import contextlib
import numbers as _numbers
import warnings
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:
    # Before scikit-learn 1.9.
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


from . import _columns, _native, _settings
from .model import Model
from .run import Callback, Run, _run, is_true

# The settings of `syva train` that are parameters of both estimators, under the same names.
_SETTINGS = (
    "activation",
    "head",
    "init",
    "bias_init",
    "zero_last",
    "parametrization",
    "optimizer",
    "lr",
    "schedule",
    "loss",
    "dropout",
    "dropout_schedule",
    "input_dropout",
    "input_noise",
    "l1",
    "l2",
    "clip_norm",
    "clip_value",
    "max_norm",
    "ema",
    "lr_factors",
    "decay_factors",
    "decay_schedule",
    "accumulate",
    "batch_size",
    "drop_last",
    "scaling",
    "embedding",
    "embed_above",
    "embedding_size",
    "input_factors",
    "frequency_spread",
    "keep",
    "stop",
    "exact",
    "precision",
)

# What a setting is if neither a parameter nor a preset says it.
_DEFAULTS = {"hidden": [256], "activation": "relu", "optimizer": "adam", "epochs": 200, "scaling": "robust"}

# The names of what is no feature, in the tables that the native module gets.
_TARGET, _WEIGHT = "target", "sample_weight"

# From so many rows on, "auto" stops early, as scikit-learn's gradient boosting does.
_EARLY = 10_000

_WHOLE = Interval(_numbers.Integral, 1, None, closed="left")
_POSITIVE = Interval(_numbers.Real, 0, None, closed="neither")
_FROM_ZERO = Interval(_numbers.Real, 0, None, closed="left")
_SHARE = Interval(_numbers.Real, 0, 1, closed="left")


class _Estimator(CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": ["array-like", _WHOLE, str, None],
        "preset": [StrOptions({"today", "chapter-2026", "tabular", "tabular-small", "tabular-plain"}), None],
        "epochs": [_WHOLE, None],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(_numbers.Real, 0, 1, closed="neither"), None],
        "n_iter_no_change": [_WHOLE],
        "tol": [_FROM_ZERO],
        "categorical_features": ["array-like", None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [_numbers.Integral, None],
        "device": [str],
        "verbose": ["verbose"],
        "callback": [callable, None],
        "zero_last": ["boolean", None],
        "drop_last": ["boolean", None],
        "exact": ["boolean", None],
        "input_factors": ["boolean", None],
        "lr": [_POSITIVE, None],
        "dropout": [_SHARE, None],
        "input_dropout": [_SHARE, None],
        "ema": [_SHARE, None],
        "frequency_spread": [_POSITIVE, None],
        "accumulate": [_WHOLE, None],
        "batch_size": [_WHOLE, StrOptions({"auto"}), None],
        "embedding_size": [_WHOLE, None],
        "embed_above": [Interval(_numbers.Integral, 0, None, closed="left"), StrOptions({"none"}), None],
        **{name: [_FROM_ZERO, None] for name in ("input_noise", "l1", "l2", "clip_norm", "clip_value", "max_norm")},
        **{
            name: [str, None]
            for name in (
                "activation",
                "head",
                "init",
                "bias_init",
                "parametrization",
                "optimizer",
                "schedule",
                "loss",
                "dropout_schedule",
                "lr_factors",
                "decay_factors",
                "decay_schedule",
                "embedding",
                "keep",
                "stop",
            )
        },
        "scaling": [StrOptions({"standard", "robust", "quantile", "none"}), None],
        "precision": [StrOptions({"f32", "tf32", "bf16"}), None],
    }
    # Where scikit-learn's HTML view of an estimator links to.
    _doc_link_module = "syva"
    # The default dropout, which is another for classes than for numbers.
    _dropout: ClassVar[float] = 0.0
    _doc_link_template = "https://github.com/syva-ml/syva/blob/main/docs/PYTHON.md"

    # The parameters, which each estimator's `__init__` documents.
    hidden: Any
    activation: str | None
    preset: str | None
    optimizer: str | None
    lr: float | None
    schedule: str | None
    epochs: int | None
    batch_size: int | str | None
    loss: str | None
    head: str | None
    init: str | None
    bias_init: str | None
    zero_last: bool | None
    parametrization: str | None
    dropout: float | None
    dropout_schedule: str | None
    input_dropout: float | None
    input_noise: float | None
    l1: float | None
    l2: float | None
    clip_norm: float | None
    clip_value: float | None
    max_norm: float | None
    ema: float | None
    lr_factors: str | None
    decay_factors: str | None
    decay_schedule: str | None
    accumulate: int | None
    drop_last: bool | None
    scaling: str | None
    embedding: str | None
    embed_above: int | str | None
    embedding_size: int | None
    input_factors: bool | None
    frequency_spread: float | None
    keep: str | None
    stop: str | None
    early_stopping: bool | str
    validation_fraction: float | None
    n_iter_no_change: int
    tol: float
    categorical_features: Any
    warm_start: bool
    random_state: Any
    n_jobs: int | None
    device: str
    exact: bool | None
    precision: str | None
    verbose: int
    callback: Callback | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    # What the subclass knows of its target.

    def _targets(self, y: Any, *, classes: Any, is_first: bool) -> tuple[list[_columns.Cells], dict[str, Any]]:
        """The columns of the target, and settings that follow from it."""
        raise NotImplementedError

    # Fitting.

    def _read(self, X: Any, *, reset: bool) -> _columns.Columns:
        """The columns of X, checked against those of the fit."""
        if hasattr(X, "toarray") and getattr(getattr(X, "dtype", None), "kind", "") == "c":
            raise ValueError("Complex data not supported; give real numbers")
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(f"Found array with dim {X.ndim}. {type(self).__name__} expected <= 2.")
        if hasattr(X, "collect") and hasattr(X, "collect_schema"):
            X = X.collect()
        is_dictionary = isinstance(X, dict) and not hasattr(X, "toarray")
        if is_dictionary or getattr(getattr(X, "dtype", None), "names", None):
            what = "a dictionary" if is_dictionary else "a structured array"
            raise TypeError(f"scikit-learn does not take {what} for a table; give pandas.DataFrame(X)")
        columns = _columns.columns(X)
        if columns.matrix is not None:
            assert_all_finite_or_missing(columns.matrix)
        width = len(columns.names)
        if columns.rows == 0 or width == 0:
            what = "sample(s)" if columns.rows == 0 else "feature(s)"
            shape = (columns.rows, width)
            raise ValueError(f"Found array with 0 {what} (shape={shape}) while a minimum of 1 is required.")
        if columns.named:
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            validate_data(self, X if hasattr(X, "shape") else np.empty((1, width)), reset=reset, skip_check_array=True)
        if reset:
            self._column_names = columns.names
        elif not columns.named or not hasattr(self, "feature_names_in_"):
            # Columns without names go by their places. So do those whose names are no texts, which scikit-learn ignores.
            columns.categorical = [self._column_names[columns.names.index(name)] for name in columns.categorical]
            columns.names = self._column_names
        columns.name_categories(self._categorical(columns))
        return columns

    def _given(self, columns: _columns.Columns, extra: dict[str, Any], *, has_own: bool = False) -> dict[str, Any]:
        """The settings by their names, for a training that is judged by rows of its own, or not."""
        given = {name: getattr(self, name) for name in _SETTINGS}
        if isinstance(given["batch_size"], str):
            given["batch_size"] = None
        hidden = self.hidden
        given["hidden"] = hidden if hidden is None or isinstance(hidden, str) else [int(h) for h in np.atleast_1d(hidden)]
        if hidden is not None and not isinstance(hidden, str) and len(given["hidden"]) == 0:
            given["hidden"] = "none"
        given["epochs"] = self.epochs
        given["device"] = self.device
        given["threads"] = _settings.threads(self.n_jobs)
        given["seed"] = self._seed
        given["recipe"] = self.preset or "today"
        numeric = columns.numeric()
        categorical = self._categorical(columns)
        given["categorical"] = categorical or None
        given["numeric"] = [name for name in numeric if name not in categorical] or None
        if self.preset is None:
            defaults = {**_DEFAULTS, "batch_size": min(200, columns.rows)}
            # What a network without hidden layers has not.
            if given["hidden"] != "none":
                defaults["dropout"] = self._dropout
            given |= {name: value for name, value in defaults.items() if given[name] is None}
        if self._stops_early(columns.rows, has_own):
            if given["stop"] is None:
                given["stop"] = f"patience:epochs={self.n_iter_no_change},gain={self.tol},metric=val_loss"
        elif self.preset is None and given["stop"] is None and given["keep"] is None:
            given["stop"] = f"patience:epochs={self.n_iter_no_change},gain={self.tol},metric=train_loss"
            given["keep"] = "last"
        return given | extra

    def _categorical(self, columns: _columns.Columns) -> list[str]:
        """The names of the columns that are said to be categories."""
        given = self.categorical_features
        if given is None:
            return columns.categorical
        given = np.asarray(given)
        if given.size == 0:
            return []
        if given.dtype.kind == "b":
            if len(given) != len(columns.names):
                raise ValueError(f"categorical_features has {len(given)} entries for {len(columns.names)} columns")
            return [name for name, yes in zip(columns.names, given, strict=True) if yes]
        if given.dtype.kind in "iu":
            wrong = [k for k in given if not -len(columns.names) <= k < len(columns.names)]
            if wrong:
                raise ValueError(f"categorical_features: there is no column {wrong[0]}, only {len(columns.names)} columns")
            return [columns.names[k] for k in given]
        names = [str(name) for name in given]
        unknown = [name for name in names if name not in columns.names]
        if unknown:
            raise ValueError(f"categorical_features: there is no column '{unknown[0]}'")
        return names

    def _stops_early(self, rows: int, has_own: bool) -> bool:
        """Whether the training ends when rows that do not train are no longer predicted better."""
        if self.early_stopping == "auto":
            return self.preset is None and self.stop is None and (has_own or rows > _EARLY)
        return bool(self.early_stopping)

    def _validates(self, rows: int) -> bool:
        """Whether rows are set aside to judge the epochs."""
        wanted = self._stops_early(rows, False) or self.preset is not None or self.validation_fraction is not None
        return wanted or any(map(_asks_for_validation, (self.stop, self.keep, self.schedule)))

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any) -> None:
        self._validate_params()
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together; give both, or neither")
        columns = self._read(X, reset=True)
        if columns.rows == 1:
            raise ValueError(f"{type(self).__name__} cannot be trained on 1 sample; give more rows")
        targets, extra = self._targets(y, classes=None, is_first=True)
        check_consistent_length(_Rows(columns.rows), _Rows(_columns.length(targets[0])))
        weight = self._weight(sample_weight, columns.rows)
        if _is_constant(targets, extra):
            warnings.warn("a target is the same in all rows, and so will its predictions be", stacklevel=4)
        seed = getattr(self, "_seed", None)
        self._seed = self._draw_seed() if not (self.warm_start and seed is not None) else seed
        given = self._given(columns, extra, has_own=X_val is not None)
        others = self._others(columns, targets, weight, given)
        table = columns.table(others)
        if X_val is not None:
            held = self._read(X_val, reset=False)
            held_targets, _ = self._targets(y_val, classes=None, is_first=False)
            check_consistent_length(_Rows(held.rows), _Rows(_columns.length(held_targets[0])))
            validation = held.table(self._others(held, held_targets, None if weight is None else np.ones(held.rows), given))
        elif self._validates(columns.rows):
            validation = None
            share = self.validation_fraction or (0.1 if self.preset is None else None)
            given["validation"] = None if share is None else f"{share}:seed={self._seed}"
        else:
            # All rows train. The epochs are judged by their training loss, and a row stands in for those set aside.
            validation = _first(columns, others, given.get("weight"))
        start = None
        if self.warm_start and hasattr(self, "model_"):
            start = self.model_
        self._has_validation = X_val is not None or self._validates(columns.rows)
        tables = {"table": table} if validation is None else {"table": table, "validation": validation}
        try:
            with _Epochs(self, X, y) as epochs:
                callback, inspect = epochs.callback, epochs.inspect
                run = _run(
                    given,
                    tables,
                    start,
                    folder=False,
                    force=False,
                    tensorboard=False,
                    verbose=int(self.verbose),
                    callback=callback,
                    inspect=inspect,
                    is_judged=self._has_validation,
                )
        except BaseException as stopped:
            so_far = getattr(stopped, "run", None)
            if isinstance(so_far, Run):
                self._take(so_far)
            raise
        self._take(run)

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """After an error that leaves no new model, the estimator is what it was before."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            if vars(self).get("model_") is before.get("model_"):
                self.__dict__ = before
            raise

    def _draw_seed(self) -> int:
        if self.random_state is None:
            return 1
        if isinstance(self.random_state, _numbers.Integral):
            return int(self.random_state) % 2**32
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weight(self, sample_weight: Any, rows: int) -> np.ndarray | None:
        if sample_weight is None:
            return None
        weight: np.ndarray = _check_sample_weight(
            sample_weight, np.empty((rows, 1)), dtype=np.float64, ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError("Sample weights are all zero; give at least one weight above zero")
        return weight

    def _others(
        self, columns: _columns.Columns, targets: list[_columns.Cells], weight: np.ndarray | None, given: dict[str, Any]
    ) -> list[tuple[str, _columns.Cells]]:
        """The columns that are no features, by names that no feature has."""
        taken = set(columns.names)

        def free(name: str) -> str:
            while name in taken:
                name += "_"
            taken.add(name)
            return name

        several = len(targets) > 1
        names = [free(f"{_TARGET}_{k + 1}" if several else _TARGET) for k in range(len(targets))]
        given["target"] = names
        others = list(zip(names, targets, strict=True))
        if weight is not None:
            given["weight"] = free(_WEIGHT)
            others.append((given["weight"], weight))
        return others

    def _take(self, run: Run) -> None:
        """Takes over what a training came to."""
        epochs = run.epochs
        self.loss_curve_ = epochs["train_loss"]
        self.n_iter_ = len(self.loss_curve_)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else float("nan")
        if self._has_validation:
            self.validation_curve_ = epochs["val_loss"]
            self.best_epoch_ = run.best_epoch
        elif hasattr(self, "validation_curve_"):
            del self.validation_curve_, self.best_epoch_
        self.history_ = {name: values for name, values in epochs.items() if self._has_validation or "val" not in name}
        self.notes_ = run.notes
        self.__dict__.pop("_learner", None)
        self._set_model(run.model)

    def _set_model(self, model: Model) -> None:
        """Takes over a model."""
        self.model_ = model
        self.n_layers_ = len(model.widths.split("-"))
        self._bound = model._native.bind(self._column_names)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        # What the optimiser remembers is not in the model.
        for name in ("_bound", "_learner"):
            state.pop(name, None)
        return state

    # Updates one call at a time.

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> None:
        self._validate_params()
        is_first = not hasattr(self, "model_")
        if self.early_stopping is True:
            raise ValueError("partial_fit has no rows to stop by; use early_stopping=False")
        columns = self._read(X, reset=is_first)
        targets, extra = self._targets(y, classes=classes, is_first=is_first)
        check_consistent_length(_Rows(columns.rows), _Rows(_columns.length(targets[0])))
        if is_first and _is_constant(targets, extra):
            raise ValueError("y is the same in all rows of the first call, which says its scale; give rows that differ")
        weight = self._weight(sample_weight, columns.rows)
        # Every call has weights, because any may have some.
        weight = np.ones(columns.rows) if weight is None else weight
        if is_first:
            self._seed = self._draw_seed()
        given = self._given(columns, extra)
        given["epochs"] = given["stop"] = given["keep"] = None
        # What lies outside of the first rows' range must not be clipped.
        given["scaling"] = self.scaling or "standard"
        others = self._others(columns, targets, weight, given)
        if not hasattr(self, "_learner"):
            start = None if is_first else self.model_._native
            first = _first(columns, others, given["weight"])
            self._learner = _native.Learner(given, _twice(columns, others), first, start)
        if is_first:
            self.loss_curve_ = []
            self.n_iter_ = 0
        self.loss_ = self._learner.learn(columns.table(others))
        self.loss_curve_.append(self.loss_)
        self.n_iter_ += 1
        self._set_model(Model(self._learner.model()))

    # Predicting.

    def _found(self, X: Any, what: str = "predict") -> Any:
        """What the native module says of the rows."""
        try:
            model = self.model_
        except AttributeError:
            check_is_fitted(self)
            raise
        native = model._native
        find = getattr(native, what)
        # A matrix of numbers goes straight there.
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype.char in "df"
            and X.dtype.isnative
            and len(X)
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
            and self.categorical_features is None
        ):
            return find(X, self._bound_names())
        columns = self._read(X, reset=False)
        if columns.matrix is not None and all(is_number for _, is_number in native.columns or ()):
            return find(columns.matrix, self._bound_names())
        return find(columns.table())

    def _bound_names(self) -> _native.Names:
        """Where the columns that the model reads are among those of a matrix."""
        bound = self.__dict__.get("_bound")
        if bound is None:
            bound = self._bound = self.model_._native.bind(self._column_names)
        return bound

    @property
    def coefs_(self) -> list[np.ndarray]:
        """The weights of each layer `[inputs, units]`, as scikit-learn's networks have them."""
        check_is_fitted(self)
        return [layer.weight.T for layer in self.model_.layers]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """The biases of each layer."""
        check_is_fitted(self)
        return [layer.bias for layer in self.model_.layers]

    @property
    def model_bytes_(self) -> bytes:
        """The model file, as the command `syva` reads it."""
        check_is_fitted(self)
        return self.model_.to_bytes()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")


def _asks_for_validation(setting: str | None) -> bool:
    """Whether a setting is about the numbers of rows that are set aside, as it is unless it names others."""
    is_judging = setting is not None and setting.startswith(("patience", "best", "plateau"))
    return is_judging and "metric=train" not in str(setting)


class _Epochs:
    """The epochs of a fit, for the callbacks of scikit-learn and of the estimator."""

    def __init__(self, estimator: _Estimator, X: Any, y: Any) -> None:
        self.estimator, self.X, self.y = estimator, X, y
        theirs = getattr(estimator, "_skl_callbacks", [])
        self.context: Any = estimator._init_callback_context(max_subtasks=None) if theirs else None
        self.task: Any = None
        hooks = [hook for one in theirs for hook in (one.on_fit_task_begin, one.on_fit_task_end)]
        wants_model = any("fitted_estimator" in signature(hook).parameters for hook in hooks)
        self.callback: Any = self if self.context and not wants_model else estimator.callback
        self.inspect: Callable[[Model], bool] | None = self.model if wants_model else None

    def _known(self, model: Model | None = None) -> dict[str, Any]:
        fitted = None if model is None else {**self._fitted, "model_": model, "_bound": None}
        return {
            "estimator": self.estimator,
            "X": self.X,
            "y": self.y,
            "metadata": None,
            "reconstruction_attributes": fitted,
        }

    def __enter__(self) -> _Epochs:
        # What a fitted estimator has before its first epoch.
        names = ("n_features_in_", "feature_names_in_", "_column_names", "classes_", "_is_multilabel", "n_outputs_", "_seed")
        self._fitted = {name: value for name, value in vars(self.estimator).items() if name in names}
        if self.context is not None:
            self.context.call_on_fit_task_begin(**self._known())
            self._begin()
        return self

    def _begin(self) -> None:
        self.task = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(**self._known())

    def _end(self, model: Model | None) -> bool:
        stops = bool(self.task.call_on_fit_task_end(**self._known(model)))
        self._begin()
        return stops

    def __call__(self, numbers: dict[str, Any]) -> bool:
        """After an epoch: whether to stop."""
        own = self.estimator.callback
        stops = own is not None and is_true(own(numbers))
        return self._end(None) or stops

    def begin(self, known: dict[str, Any]) -> None:
        """Before the first epoch: what is known of the training."""
        begins = getattr(self.estimator.callback, "begin", None)
        if begins is not None:
            begins(known)

    def end(self) -> None:
        """After the last epoch."""
        ends = getattr(self.estimator.callback, "end", None)
        if ends is not None:
            ends()

    def model(self, model: Model) -> bool:
        """After an epoch with the network as it is: whether to stop."""
        return self._end(model)

    def __exit__(self, *error: object) -> None:
        if self.context is not None:
            # The epoch that did not come.
            self.task.call_on_fit_task_end(estimator=self.estimator)
            self.context.call_on_fit_task_end(**self._known())


def _keep(given: dict[str, Any]) -> None:
    """Sets the parameters that an `__init__` was given as the attributes of its estimator, and nothing else."""
    estimator = given.pop("self")
    given.pop("__class__", None)
    for name, value in given.items():
        setattr(estimator, name, value)


class _Rows:
    """As many rows as something has, for checks of lengths."""

    def __init__(self, rows: int) -> None:
        self.shape = (rows,)

    def __len__(self) -> int:
        return self.shape[0]


def assert_all_finite_or_missing(matrix: np.ndarray) -> None:
    """Refuses infinite numbers, in scikit-learn's words."""
    assert_all_finite(matrix, allow_nan=True, input_name="X")


def _is_constant(targets: list[_columns.Cells], extra: dict[str, Any]) -> bool:
    """Whether a number to predict is the same in all rows."""
    numbers = [cells for cells in targets if isinstance(cells, np.ndarray)]
    return extra["task"] == "regression" and any(np.ptp(cells) == 0 for cells in numbers)


def _slice(cells: _columns.Cells, rows: slice | np.ndarray) -> _columns.Cells:
    return cells[rows] if isinstance(cells, np.ndarray) else (cells[0], cells[1][rows])


def _first(columns: _columns.Columns, others: list[tuple[str, _columns.Cells]], weight: str | None) -> _native.Table:
    """A table of the first row, with the weight 1 if rows have weights."""
    one = slice(0, 1)
    first = _columns.Columns(
        columns.names,
        matrix=None if columns.matrix is None else columns.matrix[one],
        cells=[_slice(cells, one) for cells in columns.cells],
    )
    return first.table([(name, np.ones(1) if name == weight else _slice(cells, one)) for name, cells in others])


def _twice(columns: _columns.Columns, others: list[tuple[str, _columns.Cells]]) -> _native.Table:
    """The table, or two of a single row: a table that is trained on has at least two."""
    if columns.rows > 1:
        return columns.table(others)
    both = np.array([0, 0])
    twice = _columns.Columns(
        columns.names,
        matrix=None if columns.matrix is None else columns.matrix[both],
        cells=[_slice(cells, both) for cells in columns.cells],
    )
    return twice.table([(name, _slice(cells, both)) for name, cells in others])


class SyvaClassifier(ClassifierMixin, _Estimator):
    """A deep fully connected network that classifies: two classes, several, or several labels at once.

    Columns of pandas, Polars and Arrow are found by their names. Missing values, categories, booleans and dates are taken
    as they are; numbers are scaled by their quartiles and clipped smoothly (`scaling`).

    All parameters that are None have the value of the preset. Without a preset, that is a layer of 256 units with ReLU
    and, for classes, a dropout of 0.2. Adam trains it until the loss no longer falls by `tol` in `n_iter_no_change` epochs,
    at most 200: the training loss, or that of the rows that `early_stopping` sets aside. With `preset="tabular"` it is
    RealMLP's recipe for tables.

    Parameters have the names of the flags of `syva train`, where they are described. Beside them:

    early_stopping : whether a part of the rows is set aside, and the epoch with the lowest loss on it is kept; "auto" does
        so above 10,000 rows. Presets set rows aside in any case.
    validation_fraction : that part: by default 0.1, and with a preset what `syva train` takes for so many rows.
    categorical_features : names, places or a mask of columns that are categories, whatever their values look like.
    class_weight : None, "balanced", or a weight for each class in a dictionary.
    random_state : the seed. None is the seed 1: fits are equal unless they are given different seeds.
    n_jobs : threads; by default $SYVA_NUM_THREADS, $OMP_NUM_THREADS (which joblib sets in its workers), or one per core.
        The result does not depend on them.

    Attributes: `classes_`, `n_features_in_`, `feature_names_in_`, `n_iter_`, `loss_`, `loss_curve_`, `validation_curve_`,
    `best_epoch_`, `history_`, `notes_` (what was found out of the columns), `model_` (a `syva.Model`), `model_bytes_`,
    `coefs_`, `intercepts_`.

    >>> from syva import SyvaClassifier
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 10, [0, 1, 1, 0] * 10
    >>> SyvaClassifier(random_state=1).fit(X, y).score(X, y)
    1.0
    """

    _dropout: ClassVar[float] = 0.2

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Estimator._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden: Any = None,
        activation: str | None = None,
        *,
        preset: str | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        epochs: int | None = None,
        batch_size: int | str | None = None,
        loss: str | None = None,
        head: str | None = None,
        class_weight: dict[Any, float] | str | None = None,
        init: str | None = None,
        bias_init: str | None = None,
        zero_last: bool | None = None,
        parametrization: str | None = None,
        dropout: float | None = None,
        dropout_schedule: str | None = None,
        input_dropout: float | None = None,
        input_noise: float | None = None,
        l1: float | None = None,
        l2: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        ema: float | None = None,
        lr_factors: str | None = None,
        decay_factors: str | None = None,
        decay_schedule: str | None = None,
        accumulate: int | None = None,
        drop_last: bool | None = None,
        scaling: str | None = None,
        embedding: str | None = None,
        embed_above: int | str | None = None,
        embedding_size: int | None = None,
        input_factors: bool | None = None,
        frequency_spread: float | None = None,
        keep: str | None = None,
        stop: str | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float | None = None,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        categorical_features: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str = "auto",
        exact: bool | None = None,
        precision: str | None = None,
        verbose: int = 0,
        callback: Callback | None = None,
    ) -> None:
        _keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> SyvaClassifier:
        """Trains on rows and their classes, or a matrix of 0 and 1 with a column for each label.

        With `X_val` and `y_val`, these rows judge the epochs instead of a part of the others.
        """
        with self._all_or_nothing():
            self._fit(X, y, sample_weight, X_val, y_val)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> SyvaClassifier:
        """Takes the rows once. The first call says all classes, and its rows the scale of the columns, which is then
        "standard" unless `scaling` says otherwise."""
        with self._all_or_nothing():
            self._partial_fit(X, y, sample_weight, classes)
        return self

    def _targets(self, y: Any, *, classes: Any, is_first: bool) -> tuple[list[_columns.Cells], dict[str, Any]]:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = _target_array(y)
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            y = np.asarray(y.toarray() if hasattr(y, "toarray") else y, dtype=np.float64)
            if self.class_weight is not None:
                raise ValueError("class_weight: a row with several labels has no class; use sample_weight")
            if is_first:
                self.classes_ = np.arange(y.shape[1])
                self._is_multilabel = True
            elif y.shape[1] != len(self.classes_):
                raise ValueError(f"y has {y.shape[1]} labels, and {len(self.classes_)} were trained")
            return [np.ascontiguousarray(y[:, k]) for k in range(y.shape[1])], {"task": "multi-label"}
        y = column_or_1d(y, warn=True)
        if is_first:
            self._is_multilabel = False
            self.classes_ = np.unique(y) if classes is None else np.unique(np.asarray(classes))
            if len(self.classes_) < 2:
                raise ValueError(f"The number of classes has to be greater than one; got {len(self.classes_)} class")
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError("classes: they are not those of the first call of partial_fit; give the same")
        places = np.searchsorted(self.classes_, y)
        known = np.minimum(places, len(self.classes_) - 1)
        if (unknown := self.classes_[known] != y).any():
            wrong = y[unknown].tolist()[0]
            raise ValueError(f"y has the class {wrong!r}, which is not one of {self.classes_.tolist()}")
        names = self._class_names()
        extra: dict[str, Any] = {"task": "classification", "classes": names}
        if self.class_weight is not None:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            extra["class_weights"] = ",".join(repr(float(np.float32(weight))) for weight in weights)
        return [(names, known.astype(np.int64))], extra

    def _class_names(self) -> list[str]:
        names = [_columns._text("y", label) for label in self.classes_.tolist()]
        return names if len(set(names)) == len(names) else [repr(label) for label in self.classes_.tolist()]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities `[rows, classes]`."""
        return self._found(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of the probabilities."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """The network's outputs: for two classes, the logarithm of the odds of the second `[rows]`."""
        found = self._found(X, "outputs")
        if self._is_multilabel or found.shape[1] > 2:
            return found
        return found[:, 0] if found.shape[1] == 1 else found[:, 1] - found[:, 0]

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, or a matrix of 0 and 1 for labels."""
        found = self._found(X)
        if self._is_multilabel:
            return (found > 0.5).astype(np.int64)
        return self.classes_[found.argmax(axis=1)]


class SyvaRegressor(RegressorMixin, _Estimator):
    """A deep fully connected network that predicts a number, or several.

    Targets are standardised in the training, and predictions have their units. See `SyvaClassifier` for the parameters that
    both have. Beside them:

    target_transform : "log" or "quantile", which targets go through before they are standardised.
    clamp : whether predictions are held to the range of the training targets.

    >>> from syva import SyvaRegressor
    >>> X = [[x / 10] for x in range(100)]
    >>> SyvaRegressor(random_state=1).fit(X, [3 * x + 1 for x, in X]).score(X, [3 * x + 1 for x, in X]) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Estimator._parameter_constraints,
        "target_transform": [StrOptions({"none", "log", "quantile"}), None],
        "clamp": ["boolean", None],
    }

    def __init__(
        self,
        hidden: Any = None,
        activation: str | None = None,
        *,
        preset: str | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        epochs: int | None = None,
        batch_size: int | str | None = None,
        loss: str | None = None,
        head: str | None = None,
        target_transform: str | None = None,
        clamp: bool | None = None,
        init: str | None = None,
        bias_init: str | None = None,
        zero_last: bool | None = None,
        parametrization: str | None = None,
        dropout: float | None = None,
        dropout_schedule: str | None = None,
        input_dropout: float | None = None,
        input_noise: float | None = None,
        l1: float | None = None,
        l2: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        ema: float | None = None,
        lr_factors: str | None = None,
        decay_factors: str | None = None,
        decay_schedule: str | None = None,
        accumulate: int | None = None,
        drop_last: bool | None = None,
        scaling: str | None = None,
        embedding: str | None = None,
        embed_above: int | str | None = None,
        embedding_size: int | None = None,
        input_factors: bool | None = None,
        frequency_spread: float | None = None,
        keep: str | None = None,
        stop: str | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float | None = None,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        categorical_features: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str = "auto",
        exact: bool | None = None,
        precision: str | None = None,
        verbose: int = 0,
        callback: Callback | None = None,
    ) -> None:
        _keep(locals())

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> SyvaRegressor:
        """Trains on rows and their targets `[rows]` or `[rows, targets]`.

        With `X_val` and `y_val`, these rows judge the epochs instead of a part of the others.
        """
        with self._all_or_nothing():
            self._fit(X, y, sample_weight, X_val, y_val)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SyvaRegressor:
        """Takes the rows once. The rows of the first call say the scales of columns and targets."""
        with self._all_or_nothing():
            self._partial_fit(X, y, sample_weight, None)
        return self

    def _given(self, columns: _columns.Columns, extra: dict[str, Any], *, has_own: bool = False) -> dict[str, Any]:
        given = super()._given(columns, extra, has_own=has_own)
        return given | {"target_transform": self.target_transform, "clamp": self.clamp}

    def _targets(self, y: Any, *, classes: Any, is_first: bool) -> tuple[list[_columns.Cells], dict[str, Any]]:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = _target_array(y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=0)
        if y.ndim == 2 and y.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
                "(n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=4,
            )
            y = y[:, 0]
        if is_first:
            self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        elif (1 if y.ndim == 1 else y.shape[1]) != self.n_outputs_:
            raise ValueError(f"y has {y.shape[1:]} targets, and {self.n_outputs_} were trained")
        cells = [y] if y.ndim == 1 else [np.ascontiguousarray(y[:, k]) for k in range(y.shape[1])]
        return cells, {"task": "regression"}

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers `[rows]`, or `[rows, targets]`."""
        found = self._found(X)
        return found[:, 0] if self.n_outputs_ == 1 else found

    def predict_std(self, X: Any) -> np.ndarray:
        """The standard deviations that a network with `head="gaussian"` predicts beside its numbers."""
        found = self._found(X, "deviations")
        if found is None:
            raise ValueError("this network predicts no deviations; use head='gaussian'")
        return found[:, 0] if self.n_outputs_ == 1 else found


def _target_array(y: Any) -> Any:
    """A target as an array, from a series or a frame of any library. Raises ValueError if a value is missing."""
    if hasattr(y, "toarray"):
        return y
    if hasattr(y, "to_pylist"):
        y = y.to_numpy(zero_copy_only=False)
    elif hasattr(y, "to_numpy") and not isinstance(y, np.ndarray):
        y = y.to_numpy()
    if isinstance(y, np.ma.MaskedArray):
        y = np.array(y.tolist(), dtype=object) if np.ma.is_masked(y) else y.data
    y = np.asarray(y)
    if y.dtype.kind in "fO" and any(map(_columns._is_missing, y.ravel().tolist())):
        raise ValueError("Input y contains NaN: y has missing values; leave these rows out")
    return y


def from_sklearn(network: Any) -> Model:
    """A model with the weights of a fitted `MLPClassifier` or `MLPRegressor`, rounded to float32.

    What its pipeline does before belongs there still: the model reads what the network read.
    """
    if not isinstance(network, BaseMultilayerPerceptron):
        raise TypeError(f"a {type(network).__name__} is not a network; give an MLPClassifier or an MLPRegressor")
    check_is_fitted(network, "coefs_")
    names = {"logistic": "sigmoid"}
    hidden = names.get(network.activation, network.activation)
    classes = getattr(network, "classes_", None)
    heads = {
        "softmax": "logits",
        "identity": "regression",
        "exp": "poisson",
        "logistic": "binary" if network.n_outputs_ == 1 else "multi-label",
    }
    head = heads.get(network.out_activation_)
    if head is None:
        raise ValueError(f"outputs with the activation {network.out_activation_} are not known here")
    layers = [
        (np.ascontiguousarray(weight.T, dtype=np.float32), bias.astype(np.float32), hidden)
        for weight, bias in zip(network.coefs_, network.intercepts_, strict=True)
    ]
    layers[-1] = (*layers[-1][:2], "identity")
    labels = None if classes is None or head == "multi-label" else [_columns._text("y", name) for name in classes.tolist()]
    return Model(_native.Model.of_layers(layers, head, labels))
