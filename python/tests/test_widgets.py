"""Live curves: what they send to the page, and when."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import syva

pytest.importorskip("anywidget", reason="needs anywidget")

SMALL = {"hidden": (8,), "batch_size": 4096}


def _epoch(number: int, **numbers: float | None) -> dict:
    return {"epoch": number, "train_loss": 1 / number, "val_loss": 2 / number, "train_acc": 0.5, "val_acc": 0.25, **numbers}


class _Channel:
    """Stands for the way to a page. Without one nothing is sent."""

    kernel, comm_id = "a kernel", "a channel"

    def __init__(self) -> None:
        self.messages: list[dict] = []

    def send(self, data=None, **_) -> None:
        if data["method"] == "update":
            self.messages.append(data["state"])

    def close(self, **_) -> None:
        pass


def _sent(live) -> list[dict]:
    """What is sent to the page from now on, an entry for each message."""
    live._trait_values["comm"] = channel = _Channel()
    return channel.messages


def test_a_training_fills_the_curves():
    live = syva.widgets.Live()
    assert (live.state, live.points["epoch"], live.summary) == ("waiting", [], "No epoch has been trained yet.")
    run = syva.train("digits", epochs=3, callback=live, **SMALL)
    assert live.points == {name: run.epochs[name] for name in live.points}
    assert list(live.points) == ["epoch", "train_loss", "val_loss", "train_acc", "val_acc"]
    assert (live.state, live.epoch, live.epochs) == ("done", 3, 3)
    assert live.title == "digits 784-8-10"
    last = {name: values[-1] for name, values in run.epochs.items()}
    assert live.summary == (
        f"Trained for 3 epochs: training loss {last['train_loss']:.4g}, validation loss {last['val_loss']:.4g}, "
        f"training accuracy {100 * last['train_acc']:.2f} %, validation accuracy {100 * last['val_acc']:.2f} %."
    )
    # The widget changes nothing of the training, and begins anew with the next one.
    again = syva.train("digits", epochs=2, callback=live, **SMALL)
    assert (live.points["epoch"], live.epochs) == ([1, 2], 2)
    assert again.model == syva.train("digits", epochs=2, **SMALL).model


def test_an_estimator_fills_the_curves():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 3))
    live = syva.widgets.Live()
    model = syva.SyvaClassifier(hidden=(8,), epochs=4, early_stopping=False, callback=live).fit(x, x[:, 0] > 0)
    assert live.points["train_loss"] == model.loss_curve_ and live.epoch == model.n_iter_


def test_numbers_have_no_accuracy():
    rng = np.random.default_rng(4)
    live = syva.widgets.Live(title="a line")
    syva.train((rng.normal(size=(50, 2)), rng.normal(size=50)), preset="today", epochs=2, callback=live)
    assert live.points["val_acc"] == [None, None] and "accuracy" not in live.summary and "loss" in live.summary
    assert live.title == "a line"


def test_updates_are_throttled(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    live = syva.widgets.Live()
    live.begin({"epochs": 1000, "data": "digits", "network": "784-8-10"})
    messages = _sent(live)
    for number in range(1, 1001):
        clock[0] += 0.01
        live(_epoch(number))
    # Ten seconds, at most ten updates in each.
    assert 80 <= len(messages) <= 100, len(messages)
    assert set(messages[0]) == {"points", "epoch", "state", "summary"} and messages[0]["state"] == "training"
    assert all(set(message) == {"points", "epoch", "summary"} for message in messages[1:])
    live(_epoch(1001))
    assert messages[-1]["epoch"] <= 1000
    live.end()
    assert messages[-1]["state"] == "done" and messages[-1]["points"]["epoch"][-1] == 1001


def test_long_trainings_are_thinned():
    live = syva.widgets.Live(epochs=20_000)
    for number in range(1, 20_000):
        live(_epoch(number))
    live.end()
    assert live.state == "stopped" and live.summary.startswith("Stopped after 19999 of 20000 epochs")
    epochs = live.points["epoch"]
    assert len(epochs) <= 1000 and epochs[-1] == 19_999 and set(np.diff(epochs)) == {20}
    assert live.points["val_loss"][-1] == 2 / 19_999
    assert len(json.dumps(live.points)) < 100_000


def test_what_is_not_finite_is_a_gap():
    live = syva.widgets.Live()
    live(_epoch(1))
    live(_epoch(2, train_loss=float("nan"), val_loss=float("inf")))
    live.end()
    assert live.points["train_loss"] == [1.0, None] and live.points["val_loss"] == [2.0, None]
    json.dumps(live.points, allow_nan=False)
    # Epochs that begin again are another training.
    live(_epoch(1))
    live.end()
    assert live.points["epoch"] == [1]


def test_finnish_and_unknown_languages():
    live = syva.widgets.Live(epochs=3, language="fi")
    live(_epoch(3))
    live.end()
    assert live.summary == (
        "Koulutettu, epookkeja 3: koulutushäviö 0,3333, validaatiohäviö 0,6667, koulutustarkkuus 50,00 %, "
        "validaatiotarkkuus 25,00 %."
    )
    with pytest.raises(ValueError, match="'sv' is none of en, fi"):
        syva.widgets.Live(language="sv")
    # All words are in all languages.
    words = syva.widgets._WORDS
    assert words["en"].keys() == words["fi"].keys()


def test_a_stop_by_an_exception_draws_the_last_epoch():
    live = syva.widgets.Live()

    class Stops:
        begin, end = live.begin, live.end

        def __call__(self, epoch):
            live(epoch)
            if epoch["epoch"] == 2:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        syva.train("digits", epochs=5, callback=Stops(), **SMALL)
    assert (live.state, live.points["epoch"]) == ("stopped", [1, 2])


def test_runs_are_watched_afterwards(tmp_path):
    run = syva.train("digits", epochs=3, out=tmp_path / "run", **SMALL)
    for live in (run.watch(), syva.Run.open(tmp_path / "run").watch(), syva.widgets.watch(tmp_path / "run")):
        assert live.points["val_loss"] == run.epochs["val_loss"] and live.state == "done" and live.epochs == 3
        assert live.title == str(tmp_path / "run")
    without = syva.train("digits", epochs=2, **SMALL)
    live = without.watch(language="fi")
    assert live.points["val_acc"] == without.epochs["val_acc"] and live.state == "done"
    assert live.title == "784-8-10" and live.summary.startswith("Koulutettu")
    with pytest.raises(FileNotFoundError, match="this is no run folder"):
        syva.widgets.watch(tmp_path)


def test_a_folder_is_watched_while_it_grows(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    run = syva.train("digits", epochs=3, out=tmp_path / "run", **SMALL)
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    # A line that is not yet complete is read when it is.
    metrics.write_text(lines[0] + lines[1][:20])

    async def watch() -> None:
        with (tmp_path / "run" / ".lock").open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            live = syva.widgets.watch(tmp_path / "run")
            assert (live.state, live.points["epoch"], live.epochs) == ("training", [1], 3)
            metrics.write_text("".join(lines))
            for _ in range(40):
                await asyncio.sleep(0.1)
                if live.epoch == 3:
                    break
            assert (live.state, live.points["epoch"]) == ("training", [1, 2, 3])
        for _ in range(40):
            await asyncio.sleep(0.1)
            if live.state == "done":
                break
        assert live.state == "done" and live.points["val_loss"] == run.epochs["val_loss"]
        # A folder that is trained anew has fewer lines.
        folder = syva.widgets._Folder(tmp_path / "run")
        assert len(folder.new_epochs()) == 3 and folder.new_epochs() == []
        metrics.write_text(lines[0])
        assert [epoch["epoch"] for epoch in folder.new_epochs()] == [1]

    asyncio.run(watch())


def test_the_lock_of_a_training_is_seen(tmp_path):
    folder = tmp_path / "run"
    states = []

    def look(epoch):
        states.append(syva.widgets.watch(folder).state)

    syva.train("digits", epochs=2, out=folder, callback=look, **SMALL)
    if sys.platform != "win32":
        assert set(states) <= {"training", "waiting"}
    assert syva.widgets.watch(folder).state == "done"


def test_the_module_is_one_file_without_addresses():
    text = (Path(syva.__file__).parent / "widgets.js").read_text()
    assert "export default" in text and "import " not in text.replace("// ", "")
    assert text.count("http") == 1 and '"http://www.w3.org/2000/svg"' in text


def test_without_anywidget_the_error_says_what_to_do():
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import syva\n"
        "run = syva.train('digits', hidden=(4,), epochs=1, batch_size=4096)\n"
        "for use in (lambda: syva.widgets.Live(), run.watch):\n"
        "    try: use()\n"
        "    except (AttributeError, ImportError) as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.endswith("live curves need the package anywidget; install it with: pip install anywidget")
