"""Deep fully connected networks: fast, and to the same bits on every machine.

import syva
run = syva.train("mnist", hidden=(256, 128), epochs=10)
run.model.predict(images)

from syva import SyvaClassifier
SyvaClassifier(preset="tabular").fit(frame, labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import data
from ._native import __version__
from .model import Model, from_torch, load
from .run import Device, Run, devices, train

if TYPE_CHECKING:
    from . import widgets as widgets
    from .sklearn import SyvaClassifier, SyvaRegressor, from_sklearn

__all__ = [
    "Device",
    "Model",
    "Run",
    "SyvaClassifier",
    "SyvaRegressor",
    "__version__",
    "data",
    "devices",
    "from_sklearn",
    "from_torch",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import, and is not needed for the rest.
    if name in ("SyvaClassifier", "SyvaRegressor", "from_sklearn"):
        from . import sklearn

        return getattr(sklearn, name)
    if name == "widgets":
        import importlib

        return importlib.import_module(".widgets", __name__)
    raise AttributeError(f"module 'syva' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "widgets"]
