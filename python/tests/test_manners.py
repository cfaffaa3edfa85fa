"""How the package behaves in a process that is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import syva
from syva import SyvaClassifier, SyvaRegressor

_LONG = {"hidden": (256, 256), "epochs": 100_000, "stop": "never"}


def _rows(count: int = 2000):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 20))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def python(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
def test_ctrl_c_stops_at_once_and_keeps_what_was_trained():
    x, y = _rows()
    model = SyvaClassifier(**_LONG)
    sent = []

    def interrupt():
        time.sleep(1.0)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y)
    took = time.monotonic() - sent[0]
    thread.join()
    # Ten times the aim, because machines may be busy.
    assert took < 1.0
    assert model.n_iter_ > 1 and model.score(x, y) > 0.6
    with pytest.raises(KeyboardInterrupt) as stopped:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        syva.train((x, y), preset="today", **_LONG)
    assert stopped.value.run.interrupted


def test_others_work_while_it_trains():
    x, y = _rows()
    counted = 0
    training = threading.Thread(
        target=lambda: SyvaClassifier(hidden=(256, 256), epochs=60, stop="never", n_jobs=1).fit(x, y)
    )
    training.start()
    while training.is_alive():
        counted += 1
        time.sleep(0.001)
    # A lock that is held would let this loop pass once or twice.
    assert counted > 20


def test_fits_in_threads_are_those_of_one():
    x, y = _rows(500)
    fit = lambda seed: SyvaClassifier(epochs=10, random_state=seed, n_jobs=1).fit(x, y).model_.digest
    alone = [fit(seed) for seed in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, range(1, 9))) == alone
    model = SyvaClassifier(epochs=10).fit(x, y)
    wanted = model.predict_proba(x)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.predict_proba(x), range(20)):
            np.testing.assert_array_equal(found, wanted)


def test_fits_in_workers_use_their_share_of_the_cores():
    joblib = pytest.importorskip("joblib")
    x, y = _rows(300)

    def fit(seed):
        from syva import _settings

        model = SyvaRegressor(epochs=5, random_state=seed).fit(x, y.astype(float))
        return (
            model.model_.digest,
            _settings.threads(None),
            len(os.listdir("/proc/self/task")) if os.path.isdir("/proc") else 0,
        )

    alone = [fit(seed)[0] for seed in (1, 2)]
    with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=1):
        found = joblib.Parallel()(joblib.delayed(fit)(seed) for seed in (1, 2))
    assert [digest for digest, _, _ in found] == alone
    assert all(threads == 1 for _, threads, _ in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_it_works_after_a_fork():
    done = python(
        """
        import os, sys
        import numpy as np
        from syva import SyvaClassifier
        x = np.random.default_rng(0).normal(size=(3000, 5)); y = (x[:, 0] > 0).astype(int)
        model = SyvaClassifier(epochs=3).fit(x, y)
        child = os.fork()
        if child == 0:
            again = SyvaClassifier(epochs=3).fit(x, y)
            same = again.model_bytes_ == model.model_bytes_ and (model.predict(x) == again.predict(x)).all()
            os._exit(0 if same else 3)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not say how much memory is used")
def test_a_thousand_fits_do_not_grow():
    x, y = _rows(200)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def some(count: int) -> None:
        for seed in range(count):
            model = SyvaClassifier(hidden=(16,), epochs=2, random_state=seed, n_jobs=1).fit(x, y)
            model.predict(x)

    some(100)
    before = resident()
    some(1000)
    assert resident() - before < 8 << 20


def test_importing_brings_no_library_that_is_not_needed():
    done = python(
        """
        import sys
        import syva
        heavy = {"sklearn", "pandas", "polars", "pyarrow", "narwhals", "scipy", "torch", "tqdm"} & set(sys.modules)
        raise SystemExit(", ".join(heavy) or None)
        """
    )
    assert done.returncode == 0, done.stderr


def test_it_needs_nothing_but_numpy():
    done = python(
        """
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("sklearn", "pandas", "polars", "pyarrow", "narwhals", "scipy", "tqdm", "torch"):
                    raise ImportError(name)
        sys.meta_path.insert(0, Refuse())
        import syva
        run = syva.train({"x": [0.0, 1.0, 2.0, 3.0] * 10, "y": ["a", "a", "b", "b"] * 10}, "y", epochs=2, verbose=1)
        assert run.model.predict({"x": [0.0]}).tolist()[0] in ("a", "b")
        try:
            syva.SyvaClassifier
        except ImportError:
            pass
        else:
            raise SystemExit("it came without scikit-learn")
        """
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 2" in done.stdout
