"""Trainings and what they leave behind."""

from __future__ import annotations

import json
import numbers
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _columns, _native, _progress, _settings
from .model import Model, load

if TYPE_CHECKING:
    import pandas

    from .widgets import Live

# What is called after each epoch with its numbers; True stops the training. Its methods `begin` (with what is known of the
# training) and `end`, if it has them, are called before the first epoch and after the last one.
Callback = Callable[[dict[str, Any]], bool | None]


class Device(NamedTuple):
    """A device that can train: its name for `device=`, what it is, and how it is used."""

    name: str
    model: str
    detail: str


def devices() -> list[Device]:
    """The devices that can train here.

    >>> import syva
    >>> syva.devices()[0].name
    'cpu'
    """
    return [Device(*device) for device in _native.devices()]


class Run:
    """A training that is over, or was stopped: its model, its epochs, and its folder if it has one."""

    def __init__(
        self,
        model: Model,
        epochs: dict[str, list[Any]],
        *,
        notes: Sequence[str] = (),
        folder: Path | None = None,
        best_epoch: int | None = None,
        data_digest: str = "",
        interrupted: bool = False,
    ) -> None:
        self.model = model
        #: A list for each number of an epoch, by the names of `metrics.jsonl`.
        self.epochs = epochs
        #: Sentences about what was found out of a table.
        self.notes = list(notes)
        #: The run folder, as the command `syva` reads it.
        self.folder = folder
        #: The epoch whose weights the model has, if these are the best ones.
        self.best_epoch = best_epoch
        #: The SHA-256 of the data.
        self.data_digest = data_digest
        #: Whether it was stopped before its end.
        self.interrupted = interrupted

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """The run in a folder that `syva train` or `syva.train(out=…)` made."""
        folder = Path(folder)
        model = load(folder)
        metrics = folder / "metrics.jsonl"
        lines = metrics.read_bytes().splitlines() if metrics.exists() else []
        read = [read_epoch(line, f"{metrics}, line {number}") for number, line in enumerate(lines, 1)]
        names = dict.fromkeys(name for one in read for name in one)
        epochs = {name: [one.get(name) for one in read] for name in names}
        config = cls._read_config(folder)
        digest = config.get("data", {}).get("digest", "")
        return cls(model, epochs, folder=folder, data_digest=digest)

    @staticmethod
    def _read_config(folder: Path) -> dict[str, Any]:
        file = folder / "config.toml"
        try:
            return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except ValueError as error:
            raise ValueError(f"{file} is damaged ({error}); restore it from a backup, or train anew") from None

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run, as `config.toml` has them. Empty without a folder."""
        return self._read_config(self.folder) if self.folder else {}

    @property
    def history(self) -> pandas.DataFrame:
        """A row for each epoch. Needs pandas; `epochs` has the same without it."""
        import pandas as pd

        return pd.DataFrame(self.epochs).set_index("epoch")

    def watch(self, *, language: str = "en") -> Live:
        """Its curves as a widget, which grows if its folder is being trained further. Needs anywidget."""
        from . import widgets

        if self.folder is not None:
            return widgets.watch(self.folder, language=language)
        live = widgets.Live(title=self.model.widths, language=language)
        live._fill(self.epochs, len(self.epochs.get("epoch", [])))
        return live

    def __repr__(self) -> str:
        count = len(self.epochs.get("epoch", []))
        last = {name: values[-1] for name, values in self.epochs.items() if values}
        said = [f"{name} {last[name]:.4f}" for name in ("train_loss", "val_loss", "val_acc") if last.get(name) is not None]
        where = f", {self.folder}" if self.folder else ""
        epochs = "1 epoch" if count == 1 else f"{count} epochs"
        return f"Run({self.model.widths}, {epochs}, {', '.join(said)}{where})"

    def _repr_html_(self) -> str:
        from ._html import run

        return run(self)


def read_epoch(line: bytes, where: str) -> dict[str, Any]:
    """The epoch in a line of `metrics.jsonl`."""
    try:
        found = json.loads(line)
        if isinstance(found, dict) and isinstance(found.get("epoch"), int):
            return found
    except ValueError:
        pass
    raise ValueError(f"{where}: this is not an epoch; restore the file from a backup, or train anew")


def train(
    data: Any = "auto",
    target: str | Sequence[str] | None = None,
    *,
    validation: Any = None,
    test: Any = None,
    start: Model | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | bool | None = None,
    force: bool = False,
    tensorboard: bool = True,
    n_jobs: int | None = None,
    verbose: int = 0,
    callback: Callback | None = None,
    **settings: Any,
) -> Run:
    """Trains a network, as the command `syva train` does: the same settings and data give the same weights, to the bit.

    `data` is a named set (`"mnist"`), a file or a folder as for `--data`, a data frame or a dictionary of columns with the
    column `target`, or a pair of arrays `(X, y)`. `validation` and `test` are a share (0.1), a number of rows, or data of
    the same kind. `out` names the run folder, with TensorBoard's files unless `tensorboard` is False; True takes the next
    free one in `runs`; without it nothing is written. `start` is a model whose weights the training begins with.

    Of arrays, each column of numbers is used. Of frames and files, what was left out is said in the run's `notes`.

    `settings` are the flags of `syva train` by their names, with `_` for `-`: `hidden=(256, 128)`, `epochs=10`,
    `optimizer="adam"`, `preset="tabular"`.

    `callback` gets the numbers of each epoch, and stops the training by returning True; `syva.widgets.Live()` is one that
    draws curves in a notebook. Ctrl-C stops it, too: what was trained until then is the attribute `run` of the
    KeyboardInterrupt.

    >>> import syva
    >>> run = syva.train({"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": [1.0, 3.0, 5.0, 7.0] * 10}, "y", epochs=2)
    >>> run.model.widths, len(run.epochs["val_loss"])
    ('1-256-256-256-1', 2)
    """
    given = dict(settings)
    if target is not None:
        given["target"] = list(target) if isinstance(target, (list, tuple)) else target
    given.setdefault("threads", _settings.threads(n_jobs))
    tables: dict[str, _native.Table] = {}
    if isinstance(data, (str, os.PathLike)):
        given["data"] = os.fspath(data)
        for name, part in (("validation", validation), ("test", test)):
            given[name] = None if part is None else os.fspath(part) if isinstance(part, os.PathLike) else part
    else:
        tables["table"] = _table(data, given, is_training=True)
        for name, part in (("validation", validation), ("test", test)):
            if isinstance(part, numbers.Real):
                # A share of float32 is the one that it shows.
                given[name] = int(part) if isinstance(part, numbers.Integral) else float(str(part))
            elif part is None or isinstance(part, str):
                given[name] = part
            else:
                tables[name] = _table(part, given, is_training=False)
    if out is not None and not isinstance(out, bool):
        given["out"] = os.fspath(out)
    if start is not None and not isinstance(start, Model):
        start = load(start)
    return _run(given, tables, start, bool(out), force, tensorboard, verbose, callback)


def _run(
    given: dict[str, Any],
    tables: dict[str, _native.Table],
    start: Model | None,
    folder: bool,
    force: bool,
    tensorboard: bool,
    verbose: int,
    callback: Callback | None,
    inspect: Callable[[Model], bool] | None = None,
    is_judged: bool = True,
) -> Run:
    """Trains. If it is not judged, its validation rows stand in for none, and nobody hears of them."""
    shown: _progress.Lines | _progress.Bar | None = None

    def begin(known: dict[str, Any]) -> None:
        nonlocal shown
        if not is_judged:
            known["validation_samples"] = 0
        if verbose:
            for note in known["notes"]:
                print(note)
            also = f" and {known['validation_samples']:,} validation" if is_judged else ""
            epochs = "1 epoch" if known["epochs"] == 1 else f"{known['epochs']} epochs"
            print(
                f"{known['data']} {known['network']}, {known['train_samples']:,} training{also} samples; {epochs}, batch "
                f"{known['batch_size']}, lr {known['lr']:.6g}, seed {known['seed']}, on {known['device']}"
            )
        shown = _progress.progress(verbose, known["epochs"])
        if (begins := getattr(callback, "begin", None)) is not None:
            begins(known)

    def listen(epoch: dict[str, Any], model: _native.Model | None) -> bool:
        if not is_judged:
            epoch = {name: value for name, value in epoch.items() if not name.startswith("val_")}
        if shown is not None:
            shown.epoch(epoch)
        stops = callback is not None and is_true(callback(epoch))
        if inspect is not None and model is not None:
            stops |= inspect(Model(model))
        return stops

    has_listener = bool(verbose) or callback is not None or inspect is not None
    try:
        trained = _native.train(
            given,
            **tables,
            start=None if start is None else start._native,
            folder=folder,
            force=force,
            tensorboard=tensorboard,
            inspected=inspect is not None,
            begin=begin if has_listener else None,
            listener=listen if has_listener else None,
        )
    finally:
        if shown is not None:
            shown.end()
        if (ends := getattr(callback, "end", None)) is not None:
            ends()
    run = Run(
        Model(trained.model),
        trained.history,
        notes=trained.notes,
        folder=trained.folder,
        best_epoch=trained.best_epoch,
        data_digest=trained.data_digest,
        interrupted=trained.interrupted,
    )
    error = trained.error
    if error is None:
        return run
    # An error has its frames, so a frame that has the error would keep both, with all data, until the next collection.
    del trained
    try:
        error.run = run  # type: ignore[attr-defined]
        raise error
    finally:
        del error


def is_true(answer: Any) -> bool:
    """Whether a callback's answer is True, of Python or NumPy."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _table(data: Any, given: dict[str, Any], *, is_training: bool) -> _native.Table:
    """The table of a frame, or of a pair of arrays. Says in the settings what the data says of its columns."""
    if isinstance(data, tuple) and len(data) == 2:
        columns = _columns.columns(_flat(data[0]))
        targets = target_columns(data[1], columns.names)
        if is_training:
            given.setdefault("target", [name for name, _ in targets])
            if len(targets) == 1 and isinstance(targets[0][1], tuple):
                given.setdefault("task", "classification")
            # Rows to predict are as wide as those of the training, so each column is used.
            if not columns.named:
                other = {name for key in ("categorical", "ignore", "weight", "group") for name in _names(given.get(key))}
                given.setdefault("numeric", [name for name in columns.numeric() if name not in other] or None)
    else:
        columns, targets = _columns.columns(data), []
        if is_training and given.get("target") is None:
            raise ValueError("target: no column is named; give the one to predict, as in train(frame, 'price')")
    if is_training and columns.categorical and given.get("categorical") is None:
        other = {name for key in ("target", "numeric", "ignore") for name in _names(given.get(key))}
        given["categorical"] = [name for name in columns.categorical if name not in other]
    columns.name_categories(_names(given.get("categorical")))
    return columns.table(targets)


def _names(given: Any) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else list(given)


def _flat(rows: Any) -> Any:
    """Images as rows."""
    if isinstance(rows, (list, tuple)):
        rows = np.asarray(rows)
    if getattr(rows, "ndim", 2) > 2:
        return rows.reshape(len(rows), -1)
    return rows


def target_columns(y: Any, taken: Sequence[str]) -> list[tuple[str, _columns.Cells]]:
    """The columns of a target, by names that are not taken."""
    if _columns.is_frame(y):
        columns = _columns.columns(y)
        cells = [columns.matrix[:, k] for k in range(len(columns.names))] if columns.matrix is not None else columns.cells
        return list(zip(columns.names, cells, strict=True))
    name = getattr(y, "name", None)
    name = name if isinstance(name, str) and name not in taken else "target"
    while name in taken:
        name += "_"
    if getattr(y, "ndim", 1) == 2:
        y = np.asarray(y)
        if y.shape[1] == 1:
            return [(name, _columns.of_values(name, y[:, 0]))]
        return [(f"{name}_{k + 1}", _columns.of_values(name, np.ascontiguousarray(y[:, k]))) for k in range(y.shape[1])]
    return [(name, _columns.of_values(name, y))]
