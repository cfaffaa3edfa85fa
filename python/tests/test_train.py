"""Trainings: the same as the program's, to the bit, and what they leave behind."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import syva


def command(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """The command `syva` of this package."""
    return subprocess.run(
        [sys.executable, "-m", "syva", *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )


def _table(path) -> None:
    rng = np.random.default_rng(5)
    lines = ["size,colour,price"]
    for k in range(200):
        size, colour = rng.uniform(1, 9), ["red", "green", "blue"][k % 3]
        lines.append(f"{size:.2f},{colour},{3 * size + (k % 3):.2f}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "tabular-plain", "batch_size": 16},
        {"preset": "today", "hidden": (8, 4), "activation": "tanh", "optimizer": "adam", "lr": 0.003, "dropout": 0.1},
        {"preset": "today", "hidden": (), "target_transform": "log", "clip_norm": 1.5, "stop": "patience:epochs=2"},
    ],
)
def test_the_program_trains_the_same_weights(tmp_path, settings):
    file = tmp_path / "homes.csv"
    _table(file)
    ours = syva.train(file, "price", epochs=3, out=tmp_path / "ours", **settings)
    words = []
    for name, value in settings.items():
        text = ",".join(map(str, value)) or "none" if isinstance(value, tuple) else value
        words += [f"--{name.replace('_', '-')}", text]
    done = command("train", "--data", file, "--target", "price", "--epochs", 3, "--out", tmp_path / "theirs", *words)
    assert done.returncode == 0, done.stderr
    theirs = syva.Run.open(tmp_path / "theirs")
    assert theirs.model == ours.model
    assert (tmp_path / "ours" / "model.safetensors").read_bytes() == ours.model.to_bytes()
    assert theirs.data_digest == ours.data_digest
    assert theirs.epochs["val_loss"] == ours.epochs["val_loss"]
    assert theirs.config["training"] == syva.Run.open(tmp_path / "ours").config["training"]
    # The program goes on with the folder as with its own.
    more = command("resume", tmp_path / "ours", "--epochs", 5)
    assert more.returncode == 0, more.stderr


def test_images_by_name(tmp_path):
    run = syva.train("digits", hidden=(16,), epochs=1, batch_size=512)
    done = command(
        "train", "--data", "digits", "--hidden", 16, "--epochs", 1, "--batch-size", 512, "--out", "run", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert syva.load(tmp_path / "run") == run.model
    images = syva.data.digits().test
    predicted = run.model.predict(images.images)
    assert predicted.dtype.kind == "i"
    assert (predicted == images.labels).mean() == pytest.approx(run.epochs["val_acc"][-1])
    np.testing.assert_array_equal(run.model.predict(images.images.reshape(-1, 784)), predicted)


def test_mnist_has_the_digest_of_the_program(mnist):
    # The digest that the README's readers see, for one epoch of the chapter's network.
    run = syva.train("mnist", data_dir=mnist, epochs=1)
    assert run.model.widths == "784-256-128-10"
    train, test = syva.data.mnist(mnist)
    assert train.images.shape == (60_000, 28, 28) and test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_arrays_and_their_parts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x @ [1.0, -2.0, 0.5]
    run = syva.train((x, y), preset="today", hidden=(16,), activation="relu", optimizer="adam", lr=0.01, epochs=40)
    assert run.model.task == "numbers" and run.model.targets == ["target"]
    assert np.corrcoef(run.model.predict(x), y)[0, 1] > 0.99
    held = syva.train((x, y), validation=(x[:50], y[:50]), preset="today", epochs=2)
    assert len(held.epochs["val_loss"]) == 2
    labels = np.where(y > 0, "up", "down")
    run = syva.train((x, labels), preset="today", epochs=2, validation=0.5)
    assert run.model.classes == ["down", "up"]
    assert run.model.predict_proba(x).shape == (300, 2)
    both = syva.train((x, np.column_stack([y, -y])), preset="today", epochs=2)
    assert both.model.targets == ["target_1", "target_2"] and both.model.predict(x).shape == (300, 2)


def test_the_callback_hears_each_epoch_and_can_stop():
    heard = []
    run = syva.train(
        "digits", hidden=(8,), epochs=50, batch_size=4096, callback=lambda e: heard.append(e) or len(heard) == 3
    )
    assert [e["epoch"] for e in heard] == [1, 2, 3]
    assert run.interrupted and run.epochs["val_loss"] == [e["val_loss"] for e in heard]

    def fails(epoch):
        raise LookupError("the listener fails")

    with pytest.raises(LookupError, match="the listener fails") as stopped:
        syva.train("digits", hidden=(8,), epochs=50, batch_size=4096, callback=fails)
    assert len(stopped.value.run.epochs["epoch"]) == 1


def test_a_training_begins_with_a_model(tmp_path):
    first = syva.train("digits", hidden=(8,), epochs=1, batch_size=512)
    first.model.save(tmp_path / "m.safetensors")
    second = syva.train("digits", hidden=(8,), epochs=1, batch_size=512, start=first.model)
    assert second.epochs["train_loss"][0] < first.epochs["train_loss"][0]
    assert (
        syva.train("digits", hidden=(8,), epochs=1, batch_size=512, start=tmp_path / "m.safetensors").model == second.model
    )
    with pytest.raises(ValueError, match="784-8-10"):
        syva.train("digits", hidden=(9,), epochs=1, start=first.model)


def test_what_it_says(capsys):
    x = [[k * 0.5] for k in range(40)]
    syva.train((x, [k * 0.5 for k in range(40)]), preset="today", epochs=3, verbose=2)
    said = capsys.readouterr().out
    assert "1-256-128-1, 32 training and 8 validation samples; 3 epochs, batch 128, lr 0.01, seed 1, on cpu" in said
    assert "epoch 1 of 3  train_loss" in said and "epoch 3 of 3" in said


def test_runs_show_themselves(tmp_path):
    run = syva.train("digits", hidden=(8,), epochs=3, batch_size=4096, out=tmp_path / "run")
    page = run._repr_html_()
    assert page.count("<polyline") == 2 and "784-8-10" in page and str(tmp_path) in page
    assert "784-8-10" in repr(run) and "784-8-10" in repr(run.model)
    history = run.history
    assert list(history.index) == [1, 2, 3] and history["val_acc"].notna().all()
    opened = syva.Run.open(tmp_path / "run")
    assert opened.model == run.model and opened.epochs["val_acc"] == run.epochs["val_acc"]
    # As the program keeps them.
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.toml", "metrics.jsonl", "model.safetensors"} <= names
    assert [json.loads(line)["epoch"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    with pytest.raises(ValueError, match="already"):
        syva.train("digits", hidden=(8,), epochs=1, out=tmp_path / "run")
    syva.train("digits", hidden=(8,), epochs=1, batch_size=4096, out=tmp_path / "run", force=True)
    assert not (tmp_path / "other").exists()


def test_settings_are_checked_before_any_work():
    for given, kind, says in [
        ({"epoch": 3}, ValueError, r"epoch: there is no such setting; did you mean epochs\?"),
        ({"learning_rate": "fast"}, ValueError, "learning_rate: 'fast': it is not a number"),
        ({"epochs": 1.5}, ValueError, "epochs: '1.5': it is not a whole number; write 1 or 2"),
        ({"hidden": [8, "x"]}, ValueError, "hidden: .* is not a list of widths"),
        ({"seed": 2**70}, OverflowError, "seed: .* is out of range"),
        ({"lr": object()}, TypeError, "lr: a object is not a setting"),
        ({"device": "cuda:99"}, ValueError, "cuda:99"),
        ({"data": "mnist", "out": "x"}, TypeError, "multiple values"),
    ]:
        with pytest.raises(kind, match=says):
            syva.train("digits", **given)
    for data, target, kind, says in [
        ("nosuch.csv", "y", FileNotFoundError, "nosuch.csv"),
        ("mnits", None, ValueError, "did you mean"),
        ({"x": [1.0, 2.0], "y": [1.0, 2.0]}, None, ValueError, "no column is named"),
        ({"x": [1.0, 2.0], "yy": [1.0, 2.0]}, "y", ValueError, "no column 'y'"),
        ({"x": [1.0, 2.0], "y": [1.0]}, "y", ValueError, "1 rows"),
        (([[1.0]], [1.0]), None, ValueError, "1 row"),
        (3.5, "y", ValueError, "2D"),
    ]:
        with pytest.raises(kind, match=says):
            syva.train(data, target)


def test_models_from_elsewhere(tmp_path):
    run = syva.train("digits", hidden=(8,), epochs=1, batch_size=4096)
    run.model.export(tmp_path / "m.onnx")
    run.model.export(tmp_path / "m.py")
    assert (tmp_path / "m.onnx").stat().st_size > 20_000
    assert syva.load(tmp_path / "m.safetensors") == run.model
    with pytest.raises(ValueError, match="neither"):
        run.model.export(tmp_path / "m.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        syva.load(tmp_path / "nothing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(run.model.to_bytes()[:-1])
    with pytest.raises(ValueError, match="broken"):
        syva.load(tmp_path / "broken.safetensors")
    changed = bytearray(run.model.to_bytes())
    changed[-1] ^= 1
    with pytest.raises(ValueError):
        syva.Model.from_bytes(bytes(changed))


def test_to_and_from_torch():
    torch = pytest.importorskip("torch")
    run = syva.train("digits", hidden=(16, 8), activation="relu", epochs=1, batch_size=512)
    images = syva.data.digits().test.images[:50]
    network = run.model.to_torch()
    # The scale of the pixels is the model's; its layers are PyTorch's.
    x = (torch.from_numpy(images.reshape(50, -1)).float() / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(network(x).detach().numpy(), run.model.outputs(images), atol=1e-4)
    for given in (network, network.state_dict()):
        again = syva.from_torch(given, activation="relu" if isinstance(given, dict) else None)
        np.testing.assert_allclose(again.outputs(x.numpy()), run.model.outputs(images), atol=1e-4)
    nn = torch.nn
    for module in (nn.Tanh(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Softplus(2.0)):
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), module, nn.Dropout(0.5), nn.Linear(6, 3)).eval()
        x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
        ours = syva.from_torch(network)
        np.testing.assert_allclose(ours.outputs(x.numpy()), network(x).detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(ours.to_torch()(x).detach().numpy(), network(x).detach().numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="'1' is a Conv1d"):
        syva.from_torch(nn.Sequential(nn.Linear(4, 6), nn.Conv1d(1, 1, 3)))
    with pytest.raises(ValueError, match="activation"):
        syva.from_torch({"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)})


def test_the_command(tmp_path):
    assert command("--version").stdout.startswith("syva 0.")
    wrong = command("train", "--epocs", 3)
    assert wrong.returncode == 2 and "--epochs" in wrong.stderr
    assert "cpu" in command("devices").stdout


def test_models_are_evaluated_as_the_command_does(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    file = tmp_path / "homes.csv"
    _table(file)
    pd = pytest.importorskip("pandas")
    frame = pd.read_csv(file)
    for target, settings in [("colour", {}), ("price", {}), ("size", {"head": "gaussian"})]:
        run = syva.train(file, target, preset="today", epochs=3, out=tmp_path / target, **settings)
        found = run.model.evaluate(frame, frame[target])
        done = command("eval", tmp_path / target, "--data", file, "--json")
        wanted = json.loads(done.stdout)
        for name, value in found.items():
            if name == "report":
                assert list(value.values()) == wanted["report"]["classes"]
            elif name == "confusion":
                assert value.tolist() == wanted["confusion"]
            elif name == "targets":
                assert value[target] == pytest.approx(wanted["targets"][target])
            else:
                assert value == wanted[name], name
    model = syva.load(tmp_path / "colour")
    truth, predicted = frame["colour"], model.predict(frame)
    found = model.evaluate(frame, truth)
    assert found["accuracy"] == metrics.accuracy_score(truth, predicted)
    assert found["report"]["red"]["recall"] == metrics.recall_score(truth, predicted, labels=["red"], average=None)[0]
    np.testing.assert_array_equal(found["confusion"], metrics.confusion_matrix(truth, predicted, labels=model.classes))
    for y, says in [
        (truth.replace("red", "pink"), "y has 'pink', which is not one of blue, green, red"),
        (truth.where(truth != "red"), "y has missing values"),
        (truth[:-1], "y has 199 rows, and the data has 200"),
        (np.column_stack([truth, truth]), "y has 2 columns, and the model predicts 1"),
    ]:
        with pytest.raises(ValueError, match=says):
            model.evaluate(frame, y)
    with pytest.raises(ValueError, match="y has texts, such as 'red'"):
        syva.load(tmp_path / "price").evaluate(frame, truth)


def test_labels_are_evaluated():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = (x[:, :2] + rng.normal(size=(200, 2)) > 0).astype(int)
    model = syva.train((x, y), preset="today", epochs=5).model
    found, predicted = model.evaluate(x, y), model.predict(x)
    assert found["labels"] == ["target_1", "target_2"]
    assert found["label_accuracy"] == pytest.approx((predicted == y).mean())
    assert found["f1"] == pytest.approx(metrics.f1_score(y, predicted, average="micro"))
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(y, model.predict_proba(x), average=None).tolist())
    digits = syva.data.digits().test
    run = syva.train("digits", hidden=(8,), epochs=1, batch_size=4096)
    assert run.model.evaluate(digits.images, digits.labels)["accuracy"] == run.epochs["val_acc"][-1]
