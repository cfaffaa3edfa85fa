"""Makes the Parquet and NumPy files that the tests read: `python make.py` in this folder, with pyarrow and numpy."""

import datetime
import decimal
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

day = datetime.date(2024, 5, 1)
moment = datetime.datetime(2024, 5, 1, 12, 0, 0)
types = pa.table(
    {
        "truth": pa.array([True, None, False]),
        "i8": pa.array([-1, 2, None], pa.int8()),
        "i64": pa.array([-(2**40), 2**53, None], pa.int64()),
        "u8": pa.array([255, 0, None], pa.uint8()),
        "u32": pa.array([2**32 - 1, 0, None], pa.uint32()),
        "u64": pa.array([2**63, 0, None], pa.uint64()),
        "f16": pa.array(np.array([0.5, -2, np.nan], np.float16)),
        "f32": pa.array([0.25, None, np.nan], pa.float32()),
        "f64": pa.array([0.1, None, -1e300]),
        "text": pa.array(["ä", None, "b"]),
        "large": pa.array(["x", "", None], pa.large_string()),
        "dictionary": pa.array(["r", "g", "r"]).dictionary_encode(),
        "decimal": pa.array([decimal.Decimal("123.45"), None, decimal.Decimal("-0.01")], pa.decimal128(9, 2)),
        "wide": pa.array([decimal.Decimal("12345678901234567890.5"), None, decimal.Decimal("-0.5")], pa.decimal128(30, 1)),
        "date": pa.array([day, None, datetime.date(1969, 12, 31)]),
        "time": pa.array([datetime.time(1, 2, 3, 500_000), None, datetime.time(0)], pa.time64("us")),
        "ms": pa.array([moment, None, moment], pa.timestamp("ms")),
        "ns": pa.array([moment, None, moment], pa.timestamp("ns", tz="UTC")),
        "uuid": pa.array([uuid.UUID(int=2**127 + 5).bytes, None, uuid.UUID(int=0).bytes], pa.uuid()),
    }
)
pq.write_table(types, "types.parquet", compression="none", write_statistics=False, store_schema=False)
int96 = pa.table({"int96": pa.array([moment, None], pa.timestamp("ns"))})
pq.write_table(int96, "int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)
codecs = pa.table({"x": pa.array(range(40), pa.float64()), "s": pa.array([f"t{i % 3}" for i in range(40)])})
for codec in ["snappy", "gzip", "brotli", "lz4", "zstd", "none"]:
    pq.write_table(codecs, f"{codec}.parquet", compression=codec, row_group_size=16, store_schema=False)
for encoding in ["DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"]:
    n = pa.table({"x": pa.array(range(40), pa.int32())})
    pq.write_table(n, f"{encoding.lower()}.parquet", use_dictionary=False, column_encoding={"x": encoding}, store_schema=False)
v2 = pa.table({"x": pa.array([1.5, None] * 20), "s": pa.array(["left", "leg"] * 20)})
pq.write_table(
    v2, "v2.parquet", data_page_version="2.0", use_dictionary=False, column_encoding={"s": "DELTA_BYTE_ARRAY"}, store_schema=False
)
pq.write_table(pa.table({"a": [1], "l": [[1, 2]]}), "nested.parquet", store_schema=False)
pq.write_table(pa.table({"a": [1], "r": [{"x": 1}]}), "record.parquet", store_schema=False)
pq.write_table(pa.table({"x": [1.0, np.inf]}), "infinite.parquet", store_schema=False)
pq.write_table(pa.table({"x": pa.array([], pa.float64())}), "empty.parquet", store_schema=False)

x = np.arange(6, dtype=np.float64).reshape(3, 2) / 4
np.save("matrix.npy", x)
np.save("fortran.npy", np.asfortranarray(x))
np.save("big-endian.npy", x.astype(">f4"))
np.save("vector.npy", np.array([-3, 4], np.int16))
np.save("cube.npy", np.zeros((2, 2, 2)))
np.save("complex.npy", np.zeros(2, complex))
np.save("records.npy", np.zeros(2, [("a", "f8")]))
np.save("objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
arrays = {"X": x, "y": np.array(["no", "yes", ""]), "b": np.array([b"p", b"qq", b""]), "t": np.array([True, False, True])}
arrays |= {"u": np.array([1, 2**64 - 1, 0], np.uint64), "h": np.array([0.5, np.nan, -1], np.float16)}
np.savez("plain.npz", **arrays)
np.savez_compressed("packed.npz", **arrays)
np.savez("ragged.npz", a=np.zeros(2), b=np.zeros(3))
