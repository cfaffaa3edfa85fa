"""Curves of trainings in notebooks, while they train: in Jupyter, marimo, VS Code and Colab, through anywidget."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(
        "live curves need the package anywidget; install it with: pip install anywidget", name="anywidget"
    ) from error

from .run import read_epoch

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

__all__ = ["Live", "watch"]

# What is drawn of an epoch.
_NUMBERS = ("train_loss", "val_loss", "train_acc", "val_acc")

# As many points as a curve has at most; a longer one is thinned.
_POINTS = 1000

# Seconds between two updates at least.
_INTERVAL = 0.1

# Seconds between two looks at a folder that is trained elsewhere.
_LOOK = 0.5

# Seconds without a new epoch after which a folder whose lock cannot be asked counts as finished.
_PATIENCE = 60.0

_WORDS = {
    "en": {
        "locale": "en",
        "loss": "Loss",
        "accuracy": "Accuracy",
        "train": "training",
        "val": "validation",
        "epoch": "epoch",
        "log": "logarithmic",
        "table": "Numbers",
        "progress": "Progress of the training",
        "train_loss": "training loss",
        "val_loss": "validation loss",
        "train_acc": "training accuracy",
        "val_acc": "validation accuracy",
        "waiting": "No epoch has been trained yet.",
        "training": "Epoch {epoch} of {epochs}: {numbers}.",
        "training_on": "Epoch {epoch}: {numbers}.",
        "done": "Trained for {epoch} epochs: {numbers}.",
        "stopped": "Stopped after {epoch} of {epochs} epochs: {numbers}.",
    },
    "fi": {
        "locale": "fi",
        "loss": "Häviö",
        "accuracy": "Tarkkuus",
        "train": "koulutus",
        "val": "validaatio",
        "epoch": "epookki",
        "log": "logaritminen",
        "table": "Luvut",
        "progress": "Koulutuksen edistyminen",
        "train_loss": "koulutushäviö",
        "val_loss": "validaatiohäviö",
        "train_acc": "koulutustarkkuus",
        "val_acc": "validaatiotarkkuus",
        "waiting": "Yhtään epookkia ei ole vielä koulutettu.",
        "training": "Epookki {epoch}/{epochs}: {numbers}.",
        "training_on": "Epookki {epoch}: {numbers}.",
        "done": "Koulutettu, epookkeja {epoch}: {numbers}.",
        "stopped": "Pysähtyi epookkiin {epoch}/{epochs}: {numbers}.",
    },
}


class Live(anywidget.AnyWidget):
    """Curves of loss and accuracy, which grow while `syva.train(…, callback=live)` or an estimator's `fit` runs.

    Show it first, then train: in Jupyter in one cell (`display(live)`), in marimo in a cell before. It can be used
    again, and then begins anew. Below the curves is the same in words, which screen readers say now and then.

    `epochs` is the number of planned epochs, which a training says by itself. `language` is `"en"` or `"fi"`.

    >>> import syva
    >>> live = syva.widgets.Live()
    >>> run = syva.train({"x": [0.1, 1.7, 2.2, 3.1] * 10, "y": [1.0, 3.0, 5.0, 7.0] * 10}, "y", epochs=3, callback=live)
    >>> live.state, live.epoch, sorted(live.points)
    ('done', 3, ['epoch', 'train_acc', 'train_loss', 'val_acc', 'val_loss'])
    """

    _esm = Path(__file__).with_name("widgets.js")

    #: The curves: a list for each number, as long as that of `epoch`. Long ones are thinned.
    points = traitlets.Dict().tag(sync=True)
    #: The last epoch.
    epoch = traitlets.Int(0).tag(sync=True)
    #: The planned epochs, or 0 if they are not known.
    epochs = traitlets.Int(0).tag(sync=True)
    #: `waiting`, `training`, `done`, or `stopped` before its end.
    state = traitlets.Unicode("waiting").tag(sync=True)
    #: What is being trained.
    title = traitlets.Unicode("").tag(sync=True)
    #: The last epoch in a sentence.
    summary = traitlets.Unicode("").tag(sync=True)
    #: The words of the language.
    words = traitlets.Dict().tag(sync=True)

    def __init__(self, epochs: int | None = None, *, title: str = "", language: str = "en") -> None:
        if language not in _WORDS:
            raise ValueError(f"language: '{language}' is none of {', '.join(_WORDS)}")
        super().__init__(epochs=epochs or 0, title=title, words=_WORDS[language])
        self._has_title = bool(title)
        self._planned = epochs or 0
        self._task: asyncio.Task[None] | None = None
        self._restart()

    def __copy__(self) -> Live:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Live:
        # The copies of an estimator, in a cross-validation, draw where it draws.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # What is drawn stays in its notebook: a pickled estimator, or one in another process, has no callback.
        return type(None), ()

    def _restart(self) -> None:
        self._all: dict[str, list[Any]] = {name: [] for name in ("epoch", *_NUMBERS)}
        self._sent = -math.inf
        self._publish("waiting")

    def begin(self, known: Mapping[str, Any]) -> None:
        """Begins anew. A training calls it with what is known of it: the data, the network and the number of epochs."""
        self._planned = int(known.get("epochs", 0))
        if not self._has_title and "network" in known:
            self.title = f"{known.get('data', '')} {known['network']}".strip()
        self._restart()

    def __call__(self, epoch: Mapping[str, Any]) -> None:
        """Takes the numbers of an epoch. A training calls it after each."""
        self._take(epoch)
        if time.monotonic() - self._sent >= _INTERVAL:
            self._publish("training")

    def end(self) -> None:
        """Draws what is left. A training calls it when it is over, or was stopped."""
        done = self._all["epoch"]
        if done:
            self._publish("stopped" if done[-1] < self._planned else "done")

    def _take(self, epoch: Mapping[str, Any]) -> None:
        number = int(epoch["epoch"])
        # A training that begins anew says so by its epochs.
        if self._all["epoch"] and number <= self._all["epoch"][-1]:
            self._restart()
        self._all["epoch"].append(number)
        for name in _NUMBERS:
            value = epoch.get(name)
            self._all[name].append(float(value) if value is not None and math.isfinite(value) else None)

    def _publish(self, state: str) -> None:
        self._sent = time.monotonic()
        done = self._all["epoch"]
        with self.hold_sync():
            self.points = {name: _thinned(values) for name, values in self._all.items()}
            self.epoch = done[-1] if done else 0
            self.epochs = self._planned
            self.state = state
            self.summary = self._sentence(state)

    def _sentence(self, state: str) -> str:
        done = self._all["epoch"]
        if not done:
            return self.words["waiting"]
        if state == "training" and not self._planned:
            state = "training_on"
        numbers = []
        for name in _NUMBERS:
            value = self._all[name][-1]
            if value is not None:
                text = f"{value:.2%}".replace("%", " %") if name.endswith("acc") else f"{value:.4g}"
                numbers.append(f"{self.words[name]} {text.replace('.', ',') if self.words['locale'] == 'fi' else text}")
        return self.words[state].format(epoch=done[-1], epochs=self._planned, numbers=", ".join(numbers))

    def _fill(self, epochs: Mapping[str, Sequence[Any]], planned: int) -> None:
        """Draws a training that is over."""
        self._planned = planned
        for k in range(len(epochs.get("epoch", []))):
            self._take({name: values[k] for name, values in epochs.items()})
        self.end()

    def stop_watching(self) -> None:
        """Ends the looks at a folder that `watch` began. The training itself goes on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self, folder: _Folder) -> None:
        while self._look(folder):
            await asyncio.sleep(_LOOK)

    def _look(self, folder: _Folder) -> bool:
        """Draws what is new in a folder, and says whether it still trains."""
        # In this order: what is written after the lock was asked is not missed.
        is_training = folder.is_training()
        self._planned = folder.planned()
        if not self._has_title:
            self.title = str(folder.path)
        epochs = folder.new_epochs()
        for epoch in epochs:
            self._take(epoch)
        if not is_training:
            self.end()
        elif epochs:
            self._publish("training")
        return is_training


class _Folder:
    """A run folder that another process may be training, or another cell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.read = 0
        self.heard = time.monotonic()

    def planned(self) -> int:
        # It is written anew when a run is resumed.
        with contextlib.suppress(OSError, tomllib.TOMLDecodeError):
            config = tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))
            return int(config.get("training", {}).get("epochs", 0))
        return 0

    def new_epochs(self) -> list[dict[str, Any]]:
        """The epochs whose lines are complete and were not there before; all of them if the file is another one."""
        try:
            with self.metrics.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self.read:
                    self.read = 0
                file.seek(self.read)
                found = file.read()
        except FileNotFoundError:
            return []
        whole = found[: found.rfind(b"\n") + 1]
        self.read += len(whole)
        if whole:
            self.heard = time.monotonic()
        return [read_epoch(line, str(self.metrics)) for line in whole.splitlines()]

    def is_training(self) -> bool:
        """Whether a process holds the folder's lock. Where locks cannot be asked, whether the last epoch is recent."""
        lock = self.path / ".lock"
        if not lock.is_file():
            return False
        if fcntl is None:
            return time.monotonic() - self.heard < _PATIENCE
        with lock.open("rb") as file:
            # A training's lock rules out a shared one, which is held for a moment only, so it keeps no one out.
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return time.monotonic() - self.heard < _PATIENCE
            fcntl.flock(file, fcntl.LOCK_UN)
        return False


def watch(folder: str | os.PathLike[str], *, title: str = "", language: str = "en") -> Live:
    """The curves of a run folder. They grow while another process trains it, such as `syva train` in a terminal.

    Outside of a notebook nothing can wait for new epochs, so only those are drawn that are there now.
    """
    path = Path(folder)
    if not (path / "config.toml").is_file() and not (path / ".lock").is_file():
        raise FileNotFoundError(f"{path}: this is no run folder; give one that `syva train` or syva.train(out=…) made")
    live = Live(title=title, language=language)
    found = _Folder(path)
    if live._look(found):
        with contextlib.suppress(RuntimeError):
            live._task = asyncio.get_running_loop().create_task(live._follow(found))
    return live


def _thinned(values: list[Any]) -> list[Any]:
    """As many values as a curve has at most, evenly chosen, with the last one."""
    step = -(-len(values) // _POINTS)
    if step <= 1:
        return list(values)
    return values[(len(values) - 1) % step :: step]
