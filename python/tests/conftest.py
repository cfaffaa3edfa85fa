"""What the tests share. Real data is not in the repository: its tests are skipped, and counted, where it is not at hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# A shell's background job begins with Ctrl-C ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _folder(variable: str) -> Path | None:
    given = os.environ.get(variable)
    return Path(given) if given else None


@pytest.fixture
def tables() -> Path:
    """The folder of real tables."""
    folder = _folder("SYVA_TABLES_DIR")
    if folder is None:
        pytest.skip("needs SYVA_TABLES_DIR")
    return folder


@pytest.fixture
def mnist() -> Path:
    """The folder of MNIST's files."""
    folder = _folder("SYVA_MNIST_DIR")
    if folder is None:
        pytest.skip("needs SYVA_MNIST_DIR")
    return folder
