"""What once went wrong. Each test is named by it."""

from __future__ import annotations

import copy
import datetime
import decimal
import gc
import inspect
import pickle
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPRegressor

import syva
from syva import SyvaClassifier, SyvaRegressor, _columns

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

_QUICK = {"preset": "today", "hidden": (4,), "epochs": 1}


def _rows(count: int = 60):
    x = np.random.default_rng(0).normal(size=(count, 3))
    return x, (x[:, 0] > 0).astype(int)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited in another way there")
def test_too_little_memory_ended_the_process():
    done = python(
        """
        import resource
        import numpy as np
        import syva
        from syva import SyvaClassifier
        x = np.zeros((20_000_000, 1), np.float32)
        x[1::2] = 1
        few, y = x[:2000], np.arange(2000) % 1000
        model = SyvaClassifier(epochs=1, hidden=(2,), n_jobs=1).fit(few, y)
        run = syva.train((few, y % 2), preset="today", epochs=1, hidden=(2,), n_jobs=1)
        tall = np.zeros((3_000_000, 20), np.float32)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
        def refuses(call):
            try:
                call()
            except MemoryError as error:
                return True
            raise SystemExit(f"{call} had enough memory")
        refuses(lambda: model.predict_proba(x))
        refuses(lambda: model.model_.predict(x))
        refuses(lambda: syva.train((tall, np.zeros(3_000_000)), preset="today", epochs=1, hidden=(2,)))
        refuses(lambda: SyvaClassifier(epochs=1).fit(tall, np.arange(3_000_000) % 2))
        assert model.predict_proba(few).shape == (2000, 1000)
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_list_in_itself_overflowed_the_stack():
    endless: list = []
    endless.append(endless)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for hidden in (endless, deep, [[8], 8]):
        with pytest.raises(ValueError, match="hidden: a list has a list in it"):
            syva.train("digits", hidden=hidden)
    # A list so deep is freed level by level.
    while deep:
        deep = deep.pop()


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_fork_in_a_callback_could_not_go_on():
    done = python(
        """
        import os
        import numpy as np
        import syva
        x = np.random.default_rng(0).normal(size=(20_000, 50))
        given = {"preset": "today", "hidden": (64, 64), "epochs": 3, "n_jobs": 2}
        wanted = syva.train((x, x[:, 0]), **given).model.digest
        child = None
        def forks(epoch):
            global child
            if child is None:
                child = os.fork()
        found = syva.train((x, x[:, 0]), callback=forks, **given).model.digest
        if child == 0:
            os._exit(0 if found == wanted else 3)
        assert found == wanted
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert done.returncode == 0, done.stderr


def test_sequentials_of_torch_lost_activations():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    first, last, relu = nn.Linear(4, 6), nn.Linear(6, 3), nn.ReLU()
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    same = nn.Sequential(nn.Flatten(), first, relu, nn.Sequential(nn.Linear(6, 6), relu, nn.Dropout()), last).eval()
    np.testing.assert_allclose(syva.from_torch(same).outputs(x.numpy()), same(x).detach().numpy(), atol=1e-5)
    ended = nn.Sequential(first, relu, last, nn.Softmax(dim=1))
    np.testing.assert_allclose(syva.from_torch(ended).predict_proba(x.numpy()), ended(x).detach().numpy(), atol=1e-5)
    one = nn.Sequential(first, relu, nn.Linear(6, 1), nn.Sigmoid())
    found = syva.from_torch(one, head="binary").predict_proba(x.numpy())[:, 1]
    np.testing.assert_allclose(found, one(x).detach().numpy()[:, 0], atol=1e-5)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.two(torch.relu(self.one(x)))

    class Twice(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    for network, says in [
        (nn.Sequential(first, relu, nn.Tanh(), last), "'2' is a Tanh after another activation"),
        (nn.Sequential(relu, first, relu, last), "'0' is a ReLU before the first linear layer"),
        (nn.Sequential(first, relu, last, relu), "'3' is a ReLU after the last linear layer, which the head logits has not"),
        (nn.Sequential(first, nn.Softmax(dim=1), last), "'1' is a Softmax"),
        (nn.Sequential(first, relu, nn.Linear(6, 1), nn.Sigmoid()), "give head='binary'"),
        (nn.Sequential(first, nn.Softplus(threshold=1), last), "'1' is a Softplus"),
        (Net(), r"Net is not a torch.nn.Sequential, .* give network.state_dict\(\) with the activation"),
        (Twice(first, relu, last), "Twice is not a torch.nn.Sequential"),
        (nn.Sequential(Net(), last), "'0' is a Net, and what its forward does is not known"),
        (nn.Sequential(nn.Linear(2, 2), nn.ModuleList([relu])), "'1' is a ModuleList"),
    ]:
        with pytest.raises(ValueError, match=says):
            syva.from_torch(network)
    with pytest.raises(ValueError, match=r"activation: a torch\.nn\.Sequential says it itself"):
        syva.from_torch(same, activation="tanh")
    with pytest.raises(TypeError, match="a list is not a network"):
        syva.from_torch([first, last])
    net = Net()
    again = syva.from_torch(net.state_dict(), activation="relu")
    np.testing.assert_allclose(again.outputs(x.numpy()), net(x).detach().numpy(), atol=1e-5)


def test_networks_of_scikit_learn_became_others():
    x, _ = _rows()
    if "loss" in inspect.signature(MLPRegressor).parameters:
        theirs = MLPRegressor(loss="poisson", hidden_layer_sizes=(5,), max_iter=20, random_state=0)
        with pytest.warns():
            theirs.fit(x, np.exp(x[:, 0]))
        ours = syva.from_sklearn(theirs)
        assert ours.head == "poisson"
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-4)
    with pytest.raises(TypeError, match="a RandomForestClassifier is not a network"):
        syva.from_sklearn(RandomForestClassifier())


def test_a_fit_that_failed_left_half_of_itself():
    x, y = _rows()
    model = SyvaClassifier(epochs=1).fit(x, y)
    before = pickle.dumps(model)
    model.set_params(optimizer="sgd", lr=1e30)
    with pytest.raises(FloatingPointError):
        model.fit(x[:, :2], np.where(y, "a", "b"))
    with pytest.raises(FloatingPointError):
        SyvaClassifier(optimizer="sgd", lr=1e30).fit(x, y).predict(x)
    model.set_params(optimizer=None, lr=None)
    assert pickle.dumps(model) == before
    fresh = SyvaClassifier(optimizer="adamm")
    for fit in (fresh.fit, lambda *given: fresh.partial_fit(*given, classes=[0, 1])):
        with pytest.raises(ValueError, match="adamm"):
            fit(x, y)
        assert not [name for name in vars(fresh) if name.endswith("_") or name.startswith("_")]


def test_models_saw_what_is_masked():
    x, y = _rows()
    masked, missing = np.ma.MaskedArray(x, mask=x > 1), np.where(x > 1, np.nan, x)
    model = syva.train((missing, y), **_QUICK).model
    np.testing.assert_array_equal(model.predict_proba(masked), model.predict_proba(missing))
    with pytest.raises(ValueError, match="y has missing values"):
        SyvaClassifier().fit(x, np.ma.MaskedArray(y, mask=y == 1))


def test_lengths_of_time_had_the_units_of_their_library():
    lengths = np.array([1500, "NaT", 2000], dtype="m8[ms]")
    wanted = [1.5, np.nan, 2.0]
    frames = {
        "nanoseconds": {"d": lengths.astype("m8[ns]")},
        "milliseconds": {"d": lengths},
        "objects": {"d": [datetime.timedelta(seconds=1.5), None, np.timedelta64(2, "s")]},
        "pandas": pd.DataFrame({"d": lengths}),
        "pandas with objects": pd.DataFrame({"d": lengths}).astype(object),
        "polars": pl.DataFrame({"d": lengths}),
        "arrow": pa.table({"d": pa.array(lengths)}),
    }
    for name, frame in frames.items():
        np.testing.assert_array_equal(_columns.columns(frame).cells[0], wanted, err_msg=name)
    np.testing.assert_array_equal(_columns.columns(np.column_stack([lengths, lengths])).matrix[:, 1], wanted)
    np.testing.assert_array_equal(_columns.of_values("d", np.ma.MaskedArray(lengths, mask=[1, 0, 0]))[0], np.nan)
    with pytest.raises(ValueError, match="column 'd': months and years have no fixed length"):
        _columns.of_values("d", np.array([1], dtype="m8[M]"))


def test_moments_were_cut_to_milliseconds_by_some():
    moments = np.array(["2024-05-01T10:00:00.123456789", "2024-05-02", "NaT"] * 20, dtype="M8[ns]")
    moments[::3] += np.arange(20) * np.timedelta64(3, "us")
    frames = {
        "numpy": {"t": moments},
        "objects": {"t": [None if np.isnat(t) else t for t in moments]},
        "pandas": pd.DataFrame({"t": moments}),
        "pandas with objects": pd.DataFrame({"t": moments}).astype(object),
        "polars": pl.DataFrame({"t": moments}),
        "arrow": pa.table({"t": pa.array(moments)}),
    }
    for name, frame in frames.items():
        ((texts, places),) = _columns.columns(frame).cells
        read = [None if place < 0 else np.datetime64(texts[place].replace(" ", "T"), "us") for place in places]
        assert read == [None if np.isnat(t) else t.astype("M8[us]") for t in moments], name


def test_settings_without_effect_were_ignored():
    x, y = _rows()
    with pytest.raises(ValueError, match="class_weight: a row with several labels"):
        SyvaClassifier(class_weight="balanced").fit(x, np.column_stack([y, 1 - y]))
    for own in ({"X_val": x}, {"y_val": y}):
        with pytest.raises(ValueError, match="X_val and y_val belong together"):
            SyvaClassifier().fit(x, y, **own)


def test_different_categories_became_one():
    _, y = _rows()
    for cells, says in [
        ([b"\xff", b"\xfe"], "is not a text in UTF-8"),
        ([1 + 2j, 2j], "Complex data not supported"),
        ([np.complex128(1 + 2j), np.complex128(2j)], "Complex data not supported"),
    ]:
        x = np.empty((60, 1), object)
        x[:, 0] = cells * 30
        with pytest.raises(ValueError, match=says):
            SyvaClassifier().fit(x, y)
    large = np.array([[2**60], [2**60 + 1]] * 30)
    for train in (
        lambda: SyvaClassifier(categorical_features=[0]).fit(large, y),
        lambda: syva.train((large, y), categorical=["x0"], **_QUICK),
    ):
        with pytest.raises(ValueError, match="column 'x0' has categories from 2\\*\\*53 on"):
            train()
    # As numbers, they are what float64 makes of them.
    SyvaClassifier(epochs=1).fit(np.concatenate([large[:30], -large[30:]]), y)


def test_categories_of_float32_were_others_in_float64():
    x, y = np.array([[0.1], [0.2], [0.3]] * 20), [0.0, 5.0, 0.0] * 20
    wanted = SyvaRegressor(categorical_features=[0], epochs=20).fit(x, y)
    model = SyvaRegressor(categorical_features=[0], epochs=20).fit(x.astype(np.float32), y)
    assert model.model_bytes_ == wanted.model_bytes_
    for given in (x, x.astype(np.float32)):
        np.testing.assert_array_equal(model.model_.predict(given), wanted.predict(x))
        np.testing.assert_array_equal(wanted.predict(given), wanted.predict(x))
    frame = pd.DataFrame({"c": x[:, 0].astype(np.float32)})
    run = syva.train((frame, y), categorical=["c"], **_QUICK)
    np.testing.assert_array_equal(run.model.predict(frame), run.model.predict({"c": x[:, 0]}))


def test_arrays_of_the_training_were_too_wide_to_predict():
    x, y = _rows()
    wide = np.column_stack([np.arange(60), x, np.ones(60)])
    model = syva.train((wide, y), **_QUICK).model
    assert model.columns == ["x0", "x1", "x2", "x3", "x4"]
    assert model.predict(wide).shape == (60,)
    assert syva.train((wide, y), ignore=["x0"], **_QUICK).model.columns == ["x1", "x2", "x3", "x4"]
    # Texts come behind numbers in the network, wherever they are in the array.
    mixed = np.array([["ab"[k % 2], value, "same"] for k, value in enumerate(x[:, 0])], dtype=object)
    model = syva.train((mixed, y), **_QUICK).model
    assert model.columns == ["x1", "x0"]
    found = model.predict_proba({"x0": mixed[:, 0], "x1": mixed[:, 1]})
    np.testing.assert_array_equal(model.predict_proba(mixed), found)
    model = syva.train((wide, y), **_QUICK).model
    for wrong in (wide[:, :2], np.column_stack([wide, wide])):
        with pytest.raises(ValueError, match=f"{wrong.shape[1]} columns, and the model reads 5"):
            model.predict(wrong)
    # What is left out may be among the others.
    left = syva.train((wide, y), ignore=["x0", "x2"], **_QUICK).model
    other = wide.copy()
    other[:, [0, 2]] = 7
    np.testing.assert_array_equal(left.predict_proba(other), left.predict_proba(wide))


def test_defaults_that_do_not_apply_were_refused():
    x, y = _rows()
    assert SyvaClassifier(hidden=(), epochs=1).fit(x, y).model_.widths == "3-2"
    for preset in ("tabular", "tabular-small", "tabular-plain"):
        for values in (y, x[:, 0]):
            run = syva.train((x, values), hidden=(), preset=preset, epochs=1)
            assert len(run.model.layers) == 1
    with pytest.raises(ValueError, match="dropout: there is no hidden layer"):
        SyvaClassifier(hidden=(), dropout=0.2).fit(x, y)
    with pytest.raises(ValueError, match="lr_factors: there are no gains"):
        syva.train((x, y), hidden=(), lr_factors="gains=0.1")


class _Array(np.ndarray):
    """An array that can be watched."""


@pytest.mark.parametrize("is_estimator", [True, False])
def test_errors_in_trainings_kept_the_data(is_estimator):
    x, y = _rows()
    x = x.view(_Array)
    watched = weakref.ref(x)
    gc.collect()
    gc.disable()
    try:
        try:
            if is_estimator:
                SyvaClassifier(epochs=2, callback=lambda epoch: 1 / 0).fit(x, y)
            else:
                syva.train((x, y), callback=lambda epoch: 1 / 0, **_QUICK)
        except ZeroDivisionError as error:
            assert len(error.run.epochs["epoch"]) == 1
        del x
        assert watched() is None
    finally:
        gc.enable()


def test_names_of_classes_lost_a_training():
    x, y = _rows()
    for names in (["--1", "2"], ["9" * 5000, "2"], ["-0", "1"], ["\u0663", "1"], ["9" * 19, "1"]):
        model = syva.train((x, np.where(y, *names)), **_QUICK).model
        assert set(model.classes) == set(names)
        assert set(model.predict(x)) <= set(names)
    model = syva.train((x, np.where(y, "-12", "0")), **_QUICK).model
    assert set(model.predict(x).tolist()) <= {-12, 0}


def test_own_rows_did_not_judge():
    x, y = _rows(300)
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2, 300)
    model = SyvaClassifier(hidden=(64,), lr=0.02, epochs=60, n_iter_no_change=5).fit(x, noise, X_val=x, y_val=y)
    best = int(np.argmin(model.validation_curve_)) + 1
    assert model.best_epoch_ == best < model.n_iter_ < 60
    # Who says otherwise is heard.
    last = SyvaClassifier(epochs=3, early_stopping=False).fit(x, noise, X_val=x, y_val=y)
    assert last.n_iter_ == 3 and last.best_epoch_ is None


def test_a_row_that_stands_in_was_shown(capsys):
    x, y = _rows()
    heard = []

    class Listens:
        def begin(self, known):
            heard.append(known["validation_samples"])

        def __call__(self, epoch):
            heard.append(sorted(name for name in epoch if "val" in name))

    SyvaClassifier(epochs=1, verbose=2, callback=Listens()).fit(x, y)
    assert heard == [0, ["eval_seconds"]]
    said = capsys.readouterr().out
    assert "60 training samples; 1 epoch," in said and "val" not in said
    SyvaClassifier(epochs=1, verbose=2, validation_fraction=0.2, callback=Listens()).fit(x, y)
    assert heard[2] == 12 and "val_loss" in heard[3]
    assert "48 training and 12 validation samples" in capsys.readouterr().out


def test_damaged_folders_of_runs_had_no_name(tmp_path):
    x, y = _rows()
    folder = tmp_path / "run"
    syva.train((x, y), out=folder, **_QUICK)
    metrics = folder / "metrics.jsonl"
    whole = metrics.read_bytes()
    for damaged in (b"[1]\n", b"{}\n", b"\xff\n", b"{\n"):
        metrics.write_bytes(whole + damaged)
        with pytest.raises(ValueError, match=r"metrics\.jsonl"):
            syva.Run.open(folder)


@pytest.mark.parametrize("answer", [True, np.bool_(True)])
def test_numpys_true_did_not_stop(answer):
    x, y = _rows()
    assert SyvaClassifier(epochs=5, callback=lambda epoch: answer).fit(x, y).n_iter_ == 1
    assert syva.train((x, y), callback=lambda epoch: answer, epochs=5).interrupted


def test_looking_at_the_package_imported_what_is_not_there():
    done = python(
        """
        import inspect, pydoc, sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("sklearn", "anywidget"):
                    raise ModuleNotFoundError(name)
        import syva
        assert "SyvaClassifier" in dir(syva)
        import importlib.util
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name in ("sklearn", "anywidget") else find(name)
        sys.meta_path.insert(0, Refuse())
        assert not hasattr(syva, "widgets")
        assert "train" in dict(inspect.getmembers(syva))
        assert "train" in pydoc.render_doc(syva)
        for code in ("from syva import widgets", "import syva.widgets"):
            try:
                exec(code)
            except ImportError as error:
                assert "pip install anywidget" in str(error), error
        """
    )
    assert done.returncode == 0, done.stderr


def test_estimators_with_live_curves_could_not_be_copied():
    pytest.importorskip("anywidget")
    x, y = _rows()
    live = syva.widgets.Live()
    base = SyvaClassifier(epochs=2, callback=live)
    assert clone(base).callback is live and copy.copy(base).callback is live
    assert cross_val_score(base, x, y, cv=2).shape == (2,)
    assert live.state == "done" and live.epoch == 2
    assert set(live.points["val_loss"]) == {None}
    assert cross_val_score(base, x, y, cv=2, n_jobs=2).shape == (2,)
    assert pickle.loads(pickle.dumps(base.fit(x, y))).callback is None


def test_categories_were_not_found_by_their_place():
    x, y = _rows()
    frame = pd.DataFrame({"a": x[:, 0], "c": pd.Categorical(["u", "v"] * 30)})
    model = SyvaClassifier(epochs=5).fit(frame, y)
    with pytest.warns(UserWarning, match="valid feature names"):
        found = model.predict_proba(frame.to_numpy())
    np.testing.assert_array_equal(found, model.predict_proba(frame))


def test_columns_whose_names_are_no_texts_were_not_found():
    x, y = _rows()
    for names in ([10, 20, 30], pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])):
        frame = pd.DataFrame(x, columns=names)
        model = SyvaClassifier(epochs=1).fit(frame, y)
        for given in (frame, x):
            np.testing.assert_array_equal(model.model_.predict_proba(given), model.predict_proba(frame))


def test_what_is_no_table_was_an_accident():
    x, y = _rows()
    model = SyvaClassifier(epochs=1).fit(x, y)
    structured = np.array([(1.0, 2.0, 3.0)] * 60, dtype=[("a", float), ("b", float), ("c", float)])
    calls = [
        lambda data: SyvaClassifier().fit(data, y),
        model.predict,
        model.model_.predict,
        lambda data: syva.train((data, y), **_QUICK),
    ]
    for data in (None, {1, 2}, object()):
        for call in calls:
            with pytest.raises(TypeError, match="is neither an array nor a data frame"):
                call(data)
    for data in (pd.Series(x[:, 0]), pl.Series(x[:, 0]), pa.array(x[:, 0]), pa.chunked_array([x[:, 0]])):
        for call in calls:
            with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
                call(data)
    for data in ({"a": x[:, 0]}, structured):
        for call in calls[:2]:
            with pytest.raises(TypeError, match=r"give pandas\.DataFrame"):
                call(data)
    for given, says in [({"x": x, "y": y}, "column 'x' .* 60x3"), ({"x": 3, "y": y}, "column 'x' .* a single value")]:
        with pytest.raises(ValueError, match=says):
            syva.train(given, "y")


def test_tables_of_some_libraries_were_refused():
    x, y = _rows()
    wanted = syva.train((x, y), **_QUICK)
    sparse = scipy.sparse.csr_array(x)
    np.testing.assert_array_equal(wanted.model.predict_proba(sparse), wanted.model.predict_proba(x))
    lazy = pl.DataFrame(x, schema=["a", "b", "c"]).lazy()
    model = SyvaClassifier(epochs=1).fit(lazy, y)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert model.predict(lazy).shape == (60,)
    for share in (np.float32(0.2), decimal.Decimal("0.2"), np.float64(0.2)):
        run = syva.train((x, y), validation=share if isinstance(share, np.generic) else float(share), **_QUICK)
        assert run.epochs["val_loss"] == syva.train((x, y), validation=0.2, **_QUICK).epochs["val_loss"]
    assert len(syva.train((x, y), validation=np.int64(12), **_QUICK).epochs["val_loss"]) == 1


def test_targets_of_some_libraries_were_refused():
    x, y = _rows()
    texts = ["ab"[k] for k in y]
    for given in (pa.array(texts), pa.chunked_array([texts]), pl.Series(texts), pd.array(texts)):
        assert SyvaClassifier(epochs=1).fit(x, given).classes_.tolist() == ["a", "b"]
        assert syva.train((x, given), **_QUICK).model.classes == ["a", "b"]
    missing = [None, *y[1:].tolist()]
    for given in (missing, [np.nan, *missing[1:]], pd.Series(missing, dtype="Int64"), [pd.NA, *missing[1:]]):
        for estimator in (SyvaClassifier(), SyvaRegressor()):
            with pytest.raises(ValueError, match="y has missing values"):
                estimator.fit(x, pd.Series(given, dtype=object) if isinstance(given, list) else given)


def test_a_single_image_had_columns():
    run = syva.train("digits", hidden=(4,), epochs=1, batch_size=4096)
    images = syva.data.digits().test.images
    with pytest.raises(ValueError, match=r"this is one image of 28 x 28, and images are \[N, height, width\]"):
        run.model.predict(images[0])
    assert run.model.predict(images[:2].tolist()).shape == (2,)


def test_a_target_of_one_value_was_refused():
    x, _ = _rows()
    model = SyvaRegressor(epochs=1)
    with pytest.warns(UserWarning, match="a target is the same in all rows") as warned:
        model.fit(x, np.full(60, 2.3))
    assert warned[0].filename == __file__
    np.testing.assert_array_equal(model.predict(x + 5), np.full(60, 2.3))
    with pytest.warns(UserWarning, match="a target is the same in all rows"):
        model.fit(x, np.column_stack([np.full(60, 2.3), x[:, 0]]))
    assert (model.predict(x)[:, 0] == 2.3).all() and np.ptp(model.predict(x)[:, 1]) > 0
    with pytest.raises(ValueError, match="the same in all rows of the first call"):
        SyvaRegressor().partial_fit(x, np.full(60, 2.3))


def test_errors_spoke_of_flags():
    x, y = _rows()
    for given, says in [
        ({"random_state": 1}, "did you mean seed"),
        ({"alpha": 1}, "did you mean l2"),
        ({"max_iter": 1}, "did you mean epochs"),
        ({"hidden_layer_sizes": (8,)}, "did you mean hidden"),
        ({"loss": "squared_error"}, "did you mean 'mse'"),
        ({"dropout_schedule": "flat-cos"}, "^dropout_schedule: there is no dropout; give dropout or input_dropout too"),
        ({"lr": 0.5, "schedule": "one-cycle:max=0.2"}, 'leave lr out, or max: schedule="one-cycle" rises to lr'),
    ]:
        with pytest.raises(ValueError, match=says):
            syva.train((x, y), preset="today", **given)
    with pytest.raises(ValueError, match=r'^data_dir="/nonexistent": there is no such folder'):
        syva.train("mnist", data_dir="/nonexistent")
    frame = pd.DataFrame({"pay": [*map(str, range(40)), *["k.A."] * 20], "y": y, "x": x[:, 0]})
    notes = "; ".join(syva.train(frame, "y", **_QUICK).notes)
    assert 'numeric=["pay"], and missing=["k.A."] if' in notes
    with pytest.raises(ValueError, match=r"'k\.A\.', which is not a number; .* categorical=\[\"pay\"\]"):
        syva.train(frame, "y", numeric=["pay"], **_QUICK)


def test_the_package_doubted_its_own_target():
    x, y = _rows()
    texts = np.where(y, "1", "2")
    assert syva.train((x, texts), **_QUICK).notes == []
    assert SyvaClassifier(epochs=1).fit(x, texts).notes_ == []


def test_folders_that_are_there_are_replaced_by_a_keyword(tmp_path):
    x, y = _rows()
    syva.train((x, y), out=tmp_path, **_QUICK)
    with pytest.raises(ValueError, match="replace the run with force=True, or use `syva resume`"):
        syva.train((x, y), out=tmp_path, **_QUICK)


def test_classes_were_shown_as_numpy_shows_them():
    x, y = _rows()
    with pytest.raises(ValueError, match=r"y has the class 'awful', which is not one of \['a', 'b'\]"):
        SyvaClassifier(epochs=1).fit(x, np.where(y, "a", "b"), X_val=x, y_val=np.full(60, "awful"))
