"""What a training shows while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any


def line(epoch: dict[str, Any], epochs: int) -> str:
    """An epoch in a line."""
    parts = [f"epoch {epoch['epoch']:>{len(str(epochs))}} of {epochs}"]
    for name in ("train_loss", "train_acc", "val_loss", "val_acc"):
        value = epoch.get(name)
        if value is not None:
            parts.append(f"{name} {value:.4f}")
    return "  ".join(parts)


class Lines:
    """Lines of text: the first epoch, the last one, and otherwise one a second."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.said = 0.0

    def epoch(self, epoch: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self.said >= 1.0 or epoch["epoch"] in (1, self.epochs):
            self.said = now
            print(line(epoch, self.epochs), flush=True)

    def end(self) -> None:
        pass


class Bar:
    """A bar of tqdm's."""

    def __init__(self, epochs: int, tqdm: Any) -> None:
        self.bar = tqdm(total=epochs, unit="epoch", file=sys.stdout)

    def epoch(self, epoch: dict[str, Any]) -> None:
        shown = {name: f"{epoch[name]:.4f}" for name in ("train_loss", "val_loss", "val_acc") if epoch.get(name) is not None}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(1)

    def end(self) -> None:
        self.bar.close()


def progress(verbose: int, epochs: int) -> Lines | Bar | None:
    """What shows a training's progress: nothing for 0, tqdm's bar for 1 if there is tqdm, otherwise lines."""
    if not verbose:
        return None
    if verbose == 1:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            pass
        else:
            return Bar(epochs, tqdm)
    return Lines(epochs)
