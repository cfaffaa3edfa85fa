"""Columns of every kind and library: what the model gets of them is right, or there is a clear error."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pytest

import syva
from syva import SyvaClassifier, SyvaRegressor, _columns

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def _rows(count: int = 40) -> dict[str, list]:
    """Columns of all kinds, with something missing in each."""
    rng = np.random.default_rng(0)
    day = datetime.date(2024, 1, 1)
    return {
        "whole": [None if k == 3 else int(k % 7) for k in range(count)],
        "real": [None if k == 4 else float(x) for k, x in enumerate(rng.normal(size=count))],
        "flag": [None if k == 5 else bool(k % 2) for k in range(count)],
        "text": [None if k == 6 else "abc"[k % 3] for k in range(count)],
        "date": [None if k == 7 else day + datetime.timedelta(days=11 * k) for k in range(count)],
        "target": [k % 3 + 0.25 * (k % 7) for k in range(count)],
    }


def _trained(frame) -> syva.Run:
    return syva.train(frame, "target", preset="today", hidden=(8,), epochs=2)


def test_every_library_gives_the_same_weights(tmp_path):
    rows = _rows()
    # Without types that only some libraries have.
    file = tmp_path / "rows.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    wanted = syva.train(str(file), "target", preset="today", hidden=(8,), epochs=2)
    polars = pl.DataFrame(rows)
    frames = {
        "dictionary": rows,
        "pandas": pd.DataFrame(rows),
        "pandas with its own types": pd.DataFrame(rows).convert_dtypes(),
        "pandas with categories": pd.DataFrame(rows).astype({"text": "category"}),
        "pandas with dates": pd.DataFrame(rows).assign(date=pd.to_datetime(rows["date"])),
        "polars": polars,
        "polars, lazy": polars.lazy(),
        "polars with categories": polars.with_columns(pl.col("text").cast(pl.Enum(["c", "b", "a"]))),
        "arrow": polars.to_arrow(),
    }
    for name, frame in frames.items():
        run = _trained(frame)
        assert run.model.digest == wanted.model.digest, name
        assert run.data_digest == wanted.data_digest, name
    # And of each, the same predictions, in any order of the columns.
    found = wanted.model.predict(rows)
    for name, frame in frames.items():
        np.testing.assert_array_equal(wanted.model.predict(frame), found, err_msg=name)
    np.testing.assert_array_equal(wanted.model.predict(pd.DataFrame(rows).iloc[:, ::-1]), found)


def test_numbers_of_every_type_are_the_same():
    x = np.arange(60).reshape(20, 3) % 11
    y = np.arange(20) % 2
    wanted = SyvaClassifier(epochs=2).fit(x, y).model_.digest
    for dtype in ("i1", "u1", "i4", "u8", "f2", "f4", "f8", ">f8", ">i4", object, bool):
        given = x.astype(dtype)
        fitted = SyvaClassifier(epochs=2).fit(given, y)
        if dtype is not bool:
            assert fitted.model_.digest == wanted, dtype
        assert np.isfinite(fitted.predict_proba(given)).all()
    strided = np.asfortranarray(np.repeat(x, 2, axis=0))[::2]
    assert not strided.flags.c_contiguous
    assert SyvaClassifier(epochs=2).fit(strided, y).model_.digest == wanted
    fixed = x.astype(float)
    fixed.flags.writeable = False
    assert SyvaClassifier(epochs=2).fit(fixed, y).model_.digest == wanted
    masked = np.ma.MaskedArray(x, mask=x == 3)
    missing = np.where(x == 3, np.nan, x)
    assert SyvaClassifier(epochs=2).fit(masked, y).model_.digest == SyvaClassifier(epochs=2).fit(missing, y).model_.digest


def test_missing_values_of_every_kind_are_missing():
    for nothing in (None, float("nan"), np.nan, pd.NA, pd.NaT, np.float32("nan")):
        cells = _columns.of_values("x", [1, nothing, 3])
        np.testing.assert_array_equal(cells, [1, np.nan, 3])
        texts, places = _columns.of_values("x", ["a", nothing, "b"])
        assert texts == ["a", "b"]
        assert places.tolist() == [0, -1, 1]


def test_values_are_the_texts_that_a_file_would_have():
    cells = [True, np.bool_(False), 3, np.int8(4), 2.0, 2.5, "x", decimal.Decimal("1.5"), datetime.date(2024, 5, 1)]
    texts, _ = _columns.of_values("x", cells)
    assert texts == ["true", "false", "3", "4", "2", "2.5", "x", "1.5", "2024-05-01"]


def test_categories_are_what_they_are_called_whatever_their_codes():
    x = pd.DataFrame({"c": pd.Categorical(["u", "v", "w"] * 20, categories=["w", "v", "u", "never"])})
    y = [0.0, 1.0, 2.0] * 20
    model = SyvaRegressor(epochs=50, lr=0.05).fit(x, y)
    again = pd.DataFrame({"c": pd.Categorical(["u", "v", "w"], categories=["u", "v", "w"])})
    np.testing.assert_allclose(model.predict(again), [0, 1, 2], atol=0.3)
    # What was never there, and what is missing, is answered.
    for unknown in ("other", None):
        assert np.isfinite(model.predict(pd.DataFrame({"c": ["u", unknown]}))).all()


def test_numbers_can_be_categories():
    x = np.array([[1.0], [2.0], [3.0]] * 30)
    y = [0.0, 5.0, 0.0] * 30
    for given in ([0], [True], np.array([0])):
        model = SyvaRegressor(hidden=(), epochs=200, lr=0.05, categorical_features=given).fit(x, y)
        # A straight line cannot do this.
        assert model.score(x, y) > 0.95
        assert model.predict(x.astype("f4")).shape == (90,)


def test_what_cannot_be_read_is_named():
    x, y = np.zeros((20, 2)), [0, 1] * 10
    for data, kind, says in [
        (np.zeros((20, 2), complex), ValueError, "Complex data not supported"),
        (np.array([[1.0, np.inf]] * 20), ValueError, "infinity"),
        (np.zeros(20), ValueError, "Reshape your data"),
        (np.zeros((20, 2, 2)), ValueError, "dim 3"),
        (np.zeros((0, 2)), ValueError, r"0 sample\(s\)"),
        (np.zeros((20, 0)), ValueError, r"0 feature\(s\)"),
        (pd.DataFrame({"a": [{}] * 20}), TypeError, "column 'a': argument must be a string or a number, not 'dict'"),
        (pd.DataFrame([[0, 1]] * 20, columns=["a", "a"]), ValueError, "unique column names|both named 'a'"),
        (pd.DataFrame(index=range(20)), ValueError, r"0 feature\(s\)"),
        (pd.DataFrame({"a": [1.0, np.inf] * 10}), ValueError, "inf"),
    ]:
        with pytest.raises(kind, match=says):
            SyvaClassifier(epochs=1).fit(data, y)
    model = SyvaClassifier(epochs=1).fit(x + np.arange(20)[:, None], y)
    with pytest.raises(ValueError, match="is inf"):
        model.predict(np.array([[np.inf, 0.0]]))
    with pytest.raises(ValueError, match="features"):
        model.predict(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(np.zeros((0, 2)))
    frame = pd.DataFrame({"a": np.arange(20) * 0.5, "b": ["u", "v"] * 10})
    model = SyvaClassifier(epochs=1).fit(frame, y)
    with pytest.raises(ValueError, match="should match those"):
        model.predict(frame.rename(columns={"a": "c"}))
    with pytest.raises(ValueError, match="column 'a'"):
        model.predict(frame.assign(a="text"))
    run = syva.train(frame.assign(y=y), "y", epochs=1)
    with pytest.raises(ValueError, match="no column 'a'"):
        run.model.predict(frame.drop(columns="a"))


def test_names_of_features_do_not_get_in_each_others_way():
    x = pd.DataFrame({"target": [0.0, 1.0] * 20, "sample_weight": [1.0, 0.0] * 20})
    model = SyvaClassifier(epochs=30).fit(x, [0, 1] * 20, sample_weight=np.ones(40))
    assert model.score(x, [0, 1] * 20) == 1.0
    assert sorted(model.model_.columns) == ["sample_weight", "target"]


def test_real_tables_are_read_as_the_program_reads_them(tables):
    for file, target, options in [
        ("penguins.csv", "species", {}),
        ("auto.csv", "mpg", {"na_values": "?"}),
        ("credit.csv", "Status", {}),
    ]:
        frame = pd.read_csv(tables / file, **options)
        wanted = syva.train(tables / file, target, epochs=1)
        for given in (frame, pl.from_pandas(frame)):
            run = syva.train(given, target, epochs=1)
            assert (run.data_digest, run.model.digest) == (wanted.data_digest, wanted.model.digest), file
