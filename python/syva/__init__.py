"""Deep fully connected networks: fast, and to the same bits on every machine.

import syva
run = syva.train("mnist", hidden=(256, 128), epochs=10)
run.model.predict(images)

from syva import SyvaClassifier
SyvaClassifier(preset="tabular").fit(frame, labels)
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from . import data
from ._native import __version__
from ._regions import Regions, region_bounds, regions
from .model import Model, from_torch, load
from .run import Device, Run, devices, train

if TYPE_CHECKING:
    from . import widgets as widgets
    from .sklearn import SyvaClassifier, SyvaRegressor, from_sklearn

__all__ = [
    "Device",
    "Model",
    "Regions",
    "Run",
    "SyvaClassifier",
    "SyvaRegressor",
    "__version__",
    "data",
    "devices",
    "from_sklearn",
    "from_torch",
    "load",
    "region_bounds",
    "regions",
    "train",
]

_OF_SKLEARN = ("SyvaClassifier", "SyvaRegressor", "from_sklearn")


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import, and is not needed for the rest.
    if name in _OF_SKLEARN:
        from . import sklearn

        return getattr(sklearn, name)
    if name == "widgets":
        try:
            return importlib.import_module(".widgets", __name__)
        except ImportError as error:
            # `hasattr` says no, and `import syva.widgets` what is missing.
            raise AttributeError(f"module 'syva' has no attribute '{name}' here: {error}") from error
    raise AttributeError(f"module 'syva' has no attribute '{name}'")


def __dir__() -> list[str]:
    # What cannot be imported here is not listed, because `help` reads all that is.
    is_there = {name: importlib.util.find_spec(name) is not None for name in ("sklearn", "anywidget")}
    names = [name for name in __all__ if is_there["sklearn"] or name not in _OF_SKLEARN]
    return [*names, "widgets"] if is_there["anywidget"] else names
