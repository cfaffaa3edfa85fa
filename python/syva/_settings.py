"""Threads, and other settings that depend on the process."""

from __future__ import annotations

import os

from . import _native


def threads(n_jobs: int | None) -> int | None:
    """The number of threads: as scikit-learn counts jobs, or as the environment has it, or one per core.

    joblib tells its workers their share of the cores in OMP_NUM_THREADS.
    """
    if n_jobs is not None:
        if n_jobs == 0:
            raise ValueError("n_jobs: 0 threads cannot work; give 1 or more, or -1 for one per core")
        return n_jobs if n_jobs > 0 else max(1, _native.cores() + 1 + n_jobs)
    for name in ("SYVA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return min(int(text), _native.cores())
    return None
