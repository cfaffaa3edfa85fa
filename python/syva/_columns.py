"""Columns from arrays and data frames: pandas and NumPy directly, Polars, Arrow and others through narwhals."""

from __future__ import annotations

import datetime
import decimal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _native

# The texts that occur and, for each row, the place of its text, which is -1 if it is missing.
Texts = tuple[list[str], np.ndarray]
Cells = np.ndarray | Texts


class Columns:
    """Named columns: those of a matrix of numbers, or cells of one kind each."""

    __slots__ = ("categorical", "cells", "matrix", "named", "names", "rows")

    def __init__(
        self,
        names: list[str],
        *,
        matrix: np.ndarray | None = None,
        cells: Sequence[Cells] = (),
        named: bool = True,
        categorical: Sequence[str] = (),
        rows: int = 0,
    ) -> None:
        self.names = names
        # The columns whose type says that they are categories.
        self.categorical = list(categorical)
        self.matrix = matrix
        self.cells = list(cells)
        # Whether the names are the data's own.
        self.named = named
        self.rows = len(matrix) if matrix is not None else length(self.cells[0]) if self.cells else rows

    def numeric(self) -> list[str]:
        """The names of the columns of numbers."""
        if self.matrix is not None:
            return self.names
        return [name for name, cells in zip(self.names, self.cells, strict=True) if isinstance(cells, np.ndarray)]

    def numbers(self) -> np.ndarray:
        """A matrix of these columns, all of which are numbers."""
        if self.matrix is not None:
            return self.matrix
        numbers = [cells for cells in self.cells if isinstance(cells, np.ndarray)]
        if len(numbers) < len(self.cells):
            text = next(name for name, cells in zip(self.names, self.cells, strict=True) if isinstance(cells, tuple))
            raise ValueError(f"column '{text}' has texts, and the model reads numbers; give columns of numbers")
        return np.column_stack(numbers)

    def name_categories(self, names: Iterable[str]) -> None:
        """Gives the numbers of these columns the values by which categories are known.

        A float32 has the value of its shortest text, so that 0.1 is the same category as the 0.1 of float64.

        Raises ValueError if numbers are so large that float64 does not tell them apart.
        """
        wanted = set(names)
        for k, name in enumerate(self.names):
            numbers = self.matrix[:, k] if self.matrix is not None else self.cells[k]
            if name not in wanted or not isinstance(numbers, np.ndarray):
                continue
            values, places = np.unique(numbers, return_inverse=True)
            if (np.abs(values) >= 2.0**53).any():
                raise ValueError(
                    f"column '{name}' has categories from 2**53 on, and such large numbers are not told apart; "
                    "give them as texts"
                )
            with np.errstate(over="ignore"):
                short = values.astype(np.float32)
            known = [float(str(s)) if s == v else float(v) for s, v in zip(short, values, strict=True)]
            if (named := np.array(known, dtype=np.float64)).tolist() != values.tolist():
                named = named[places]
                if self.matrix is None:
                    self.cells[k] = named
                else:
                    self.matrix = self.matrix.astype(np.float64)
                    self.matrix[:, k] = named

    def table(self, others: Iterable[tuple[str, Cells]] = ()) -> _native.Table:
        """A table of these columns and others."""
        if self.matrix is not None:
            return _native.Table.of_matrix(self.names, self.matrix, list(others))
        return _native.Table([*zip(self.names, self.cells, strict=True), *others])


def length(cells: Cells) -> int:
    """The number of cells."""
    return len(cells) if isinstance(cells, np.ndarray) else len(cells[1])


def is_frame(data: Any) -> bool:
    """Whether data has columns with names."""
    if isinstance(data, np.ndarray):
        return False
    # A series is a stream of Arrow's as well.
    is_stream = hasattr(data, "__arrow_c_stream__") and not (hasattr(data, "to_list") or hasattr(data, "to_pylist"))
    # A lazy frame would compute its columns.
    return is_stream or any(hasattr(type(data), name) for name in ("columns", "column_names"))


def refused(data: Any) -> TypeError:
    """The error for what is not a table."""
    kind = "None" if data is None else f"a {type(data).__name__}"
    return TypeError(f"{kind} is neither an array nor a data frame; give one of them")


def columns(data: Any, names: Sequence[str] | None = None) -> Columns:
    """The columns of a matrix, a sparse matrix, a data frame, a dictionary of arrays, or rows in lists."""
    if isinstance(data, np.ndarray):
        return of_array(data, names)
    if _is_pandas(data):
        import pandas as pd

        names = _named(data.columns)
        kinds = zip(names, data.dtypes, strict=True)
        categorical = [name for name, dtype in kinds if isinstance(dtype, pd.CategoricalDtype)]
        cells = [of_pandas(name, data.iloc[:, k]) for k, name in enumerate(names)]
        return Columns(names, cells=cells, categorical=categorical, rows=len(data))
    # Sparse matrices, of which one kind is a dictionary as well.
    if hasattr(data, "toarray"):
        return of_array(data.toarray(), names)
    if isinstance(data, dict):
        return Columns(_named(data), cells=[of_values(name, values) for name, values in data.items()])
    if is_frame(data):
        return _of_narwhals(data)
    if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
        data = np.from_dlpack(data)
    array = np.asarray(data)
    # What NumPy does not know is a single object to it.
    if array.ndim == 0 and array.dtype == object:
        raise refused(data)
    return of_array(array, names)


def _is_pandas(data: Any) -> bool:
    return _library(data) == "pandas" and hasattr(data, "iloc") and hasattr(data, "columns")


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _named(names: Iterable[Any]) -> list[str]:
    return [str(name) for name in names]


def of_array(array: np.ndarray, names: Sequence[str] | None = None) -> Columns:
    """The columns of a matrix, called x0, x1, … unless it has names of its own."""
    if array.dtype.names:
        return Columns(list(array.dtype.names), cells=[of_values(name, array[name]) for name in array.dtype.names])
    if array.ndim != 2:
        shape = "x".join(map(str, array.shape)) or "a single value"
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead ({shape}). Reshape your data with "
            "array.reshape(-1, 1) if it has a single column, or array.reshape(1, -1) if it is a single row"
        )
    own = list(names) if names is not None else [f"x{k}" for k in range(array.shape[1])]
    kind = array.dtype.kind
    if kind in "fiub":
        return Columns(own, matrix=_numbers(array), named=names is not None)
    if kind == "c":
        raise ValueError("Complex data not supported; give real numbers")
    cells = [of_values(name, array[:, k]) for k, name in enumerate(own)]
    # Objects that are numbers all are a matrix.
    numbers = [column for column in cells if isinstance(column, np.ndarray)]
    if cells and len(numbers) == len(cells):
        return Columns(own, matrix=np.column_stack(numbers), named=names is not None)
    return Columns(own, cells=cells, named=names is not None)


def _numbers(array: np.ndarray) -> np.ndarray:
    """Numbers as the native module takes them. What is masked is missing."""
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.MaskedArray(array, dtype=np.float64).filled(np.nan)
    if array.dtype in (np.float64, np.float32) and array.dtype.isnative:
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def of_pandas(name: Any, series: Any) -> Cells:
    """The cells of a column of pandas."""
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return [_text(name, value) for value in dtype.categories], series.cat.codes.to_numpy().astype(np.int64)
    if pd.api.types.is_bool_dtype(dtype):
        return of_values(name, series.to_numpy(dtype=object, na_value=None))
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"column '{name}': Complex data not supported; give real numbers")
    if pd.api.types.is_numeric_dtype(dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return of_values(name, series.dt.tz_localize(None).to_numpy())
    if isinstance(dtype, pd.PeriodDtype):
        return of_values(name, series.dt.to_timestamp().to_numpy())
    if isinstance(dtype, pd.SparseDtype):
        return of_pandas(name, series.sparse.to_dense())
    if pd.api.types.is_timedelta64_dtype(dtype):
        return series.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(dtype, pd.StringDtype):
        places, texts = pd.factorize(series)
        return [str(text) for text in texts], places.astype(np.int64)
    return of_values(name, series.to_numpy(dtype=object, na_value=None))


def _of_narwhals(data: Any) -> Columns:
    try:
        import narwhals as nw
    except ImportError:
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise TypeError(f"reading a {kind} needs narwhals; install it with pip install narwhals") from None
    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        if not hasattr(data, "__arrow_c_stream__"):
            raise refused(data)
        try:
            import pyarrow
        except ImportError:
            kind = f"{type(data).__module__}.{type(data).__qualname__}"
            raise TypeError(f"reading a {kind} needs pyarrow; install it with pip install pyarrow") from None

        frame = nw.from_native(pyarrow.table(data), eager_only=True)
    series = list(frame.iter_columns())
    categorical = [one.name for one in series if isinstance(one.dtype, (nw.Categorical, nw.Enum))]
    cells = [_of_narwhals_series(nw, one) for one in series]
    return Columns(_named(frame.columns), cells=cells, categorical=categorical)


def _of_narwhals_series(nw: Any, series: Any) -> Cells:
    name, dtype = series.name, series.dtype
    if dtype.is_numeric():
        return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
    if isinstance(dtype, nw.Duration):
        return of_values(name, series.to_numpy())
    if isinstance(dtype, (nw.String, nw.Categorical, nw.Enum)):
        return _factorized([None if value is None else str(value) for value in series.to_list()])
    return of_values(name, series.to_list())


def of_values(name: Any, values: Any) -> Cells:
    """The cells of a column of any values: numbers if all of them are, otherwise texts."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            shape = "x".join(map(str, values.shape)) or "a single value"
            raise ValueError(f"column '{name}' is not a list of values but {shape}; give a value for each row")
        if values.dtype.kind in "fiu":
            return np.asarray(_numbers(values), dtype=np.float64)
        if values.dtype.kind == "c":
            raise ValueError(f"column '{name}': Complex data not supported; give real numbers")
        if values.dtype.kind == "M":
            moments = values.astype("datetime64[us]")
            missing = np.isnat(moments) | np.ma.getmaskarray(values)
            texts = np.datetime_as_string(np.asarray(moments))
            return _factorized([None if gone else text for text, gone in zip(texts, missing, strict=True)])
        if values.dtype.kind == "m":
            return np.where(np.ma.getmaskarray(values), np.nan, _seconds(name, np.asarray(values)))
        values = values.tolist()
    elif not isinstance(values, (list, tuple)):
        return columns_of_one(name, values)
    if all(_is_number(value) or _is_missing(value) for value in values):
        return np.array([np.nan if _is_missing(value) else _float(name, value) for value in values], dtype=np.float64)
    return _factorized([None if _is_missing(value) else _text(name, value) for value in values])


def columns_of_one(name: Any, values: Any) -> Cells:
    """The cells of a single column: a series, an array, a list."""
    if _library(values) == "pandas" and hasattr(values, "dtype") and hasattr(values, "to_numpy"):
        return of_pandas(name, values if hasattr(values, "iloc") else sys.modules["pandas"].Series(values))
    if "narwhals" in sys.modules or hasattr(values, "to_list"):
        to_list = getattr(values, "to_list", None)
        if to_list is not None:
            return of_values(name, to_list())
    if hasattr(values, "to_pylist"):
        return of_values(name, values.to_pylist())
    return of_values(name, np.asarray(values))


def _seconds(name: Any, lengths: Any) -> Any:
    """Lengths of time in seconds, as pandas counts them."""
    try:
        return lengths / np.timedelta64(1, "s")
    except TypeError:
        raise ValueError(f"column '{name}': months and years have no fixed length; give days or seconds") from None


def _float(name: Any, value: Any) -> float:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return float(_seconds(name, value) if isinstance(value, np.timedelta64) else value)


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, np.complexfloating)):
        return False
    return isinstance(value, (int, float, np.number, decimal.Decimal, datetime.timedelta))


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(value != value)
    # pandas' NA and NaT.
    return type(value).__name__ in ("NAType", "NaTType")


def _text(name: Any, value: Any) -> str:
    """A value as the text of a category, as a CSV file would have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        number = float(str(value)) if isinstance(value, np.float32) else float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(value, (int, np.integer, decimal.Decimal)):
        return str(value)
    if getattr(value, "nanosecond", 0):
        # Of pandas, and of no other library's moments.
        value = value.floor("us")
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value.astype("datetime64[us]")))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"column '{name}': {value!r} is not a text in UTF-8; decode it before") from None
    if isinstance(value, (complex, np.complexfloating)):
        raise ValueError(f"column '{name}': Complex data not supported; give real numbers")
    raise TypeError(f"column '{name}': argument must be a string or a number, not '{type(value).__name__}'")


def _factorized(values: list[str | None]) -> Texts:
    places: dict[str, int] = {}
    codes = [-1 if value is None else places.setdefault(value, len(places)) for value in values]
    return list(places), np.array(codes, dtype=np.int64)
