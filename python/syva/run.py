"""Trainings and what they leave behind."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
        epochs: dict[str, list[Any]] = {}
        metrics = folder / "metrics.jsonl"
        if metrics.exists():
            for text in metrics.read_text().splitlines():
                for name, value in json.loads(text).items():
                    epochs.setdefault(name, []).append(value)
        config = cls._read_config(folder)
        digest = config.get("data", {}).get("digest", "")
        return cls(model, epochs, folder=folder, data_digest=digest)

    @staticmethod
    def _read_config(folder: Path) -> dict[str, Any]:
        file = folder / "config.toml"
        return tomllib.loads(file.read_text()) if file.exists() else {}

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
        return f"Run({self.model.widths}, {count} epochs, {', '.join(said)}{where})"

    def _repr_html_(self) -> str:
        from ._html import run

        return run(self)


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
            if part is None or isinstance(part, (int, float, str)):
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
) -> Run:
    shown: _progress.Lines | _progress.Bar | None = None

    def begin(known: dict[str, Any]) -> None:
        nonlocal shown
        if verbose:
            for note in known["notes"]:
                print(note)
            print(
                f"{known['data']} {known['network']}, {known['train_samples']:,} training and "
                f"{known['validation_samples']:,} validation samples; {known['epochs']} epochs, batch "
                f"{known['batch_size']}, lr {known['lr']:.6g}, seed {known['seed']}, on {known['device']}"
            )
        shown = _progress.progress(verbose, known["epochs"])
        if (begins := getattr(callback, "begin", None)) is not None:
            begins(known)

    def listen(epoch: dict[str, Any], model: _native.Model | None) -> bool:
        if shown is not None:
            shown.epoch(epoch)
        stops = callback is not None and callback(epoch) is True
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
    if trained.error is not None:
        trained.error.run = run  # type: ignore[attr-defined]
        raise trained.error
    return run


def _table(data: Any, given: dict[str, Any], *, is_training: bool) -> _native.Table:
    """The table of a frame, or of a pair of arrays. Says in the settings what the data says of its columns."""
    if isinstance(data, tuple) and len(data) == 2:
        columns = _columns.columns(_flat(data[0]))
        targets = target_columns(data[1], columns.names)
        if is_training:
            given.setdefault("target", [name for name, _ in targets])
    else:
        columns, targets = _columns.columns(data), []
        if is_training and given.get("target") is None:
            raise ValueError("target: no column is named; give the one to predict, as in train(frame, 'price')")
    if is_training and columns.categorical and given.get("categorical") is None:
        other = {name for key in ("target", "numeric", "ignore") for name in _names(given.get(key))}
        given["categorical"] = [name for name in columns.categorical if name not in other]
    return columns.table(targets)


def _names(given: Any) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else list(given)


def _flat(rows: Any) -> Any:
    """Images as rows."""
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
    import numpy as np

    if getattr(y, "ndim", 1) == 2:
        y = np.asarray(y)
        if y.shape[1] == 1:
            return [(name, _columns.of_values(name, y[:, 0]))]
        return [(f"{name}_{k + 1}", _columns.of_values(name, np.ascontiguousarray(y[:, k]))) for k in range(y.shape[1])]
    return [(name, _columns.of_values(name, y))]
