"""Checks that exported models compute what syva computes: in ONNX Runtime, and as PyTorch code.

    python exchange.py COMPARISONS.json

COMPARISONS is a list of {"what", "data", "onnx": [files], "pytorch": file, "weights": file}. "data" is {"table": what `syva
predict` wrote for a table: its columns, and the predictions}, or {"images": an IDX file, "predictions": what `syva predict
--json` wrote for it}.

An ONNX file whose arithmetic is exact must give the same 32-bit floats, and differ by no more than 10⁻⁶ of them in the few rows
where one of its sums is rounded twice. All others must agree by their scale.
"""

import csv
import gzip
import importlib.util
import json
import struct
import sys
from pathlib import Path

import numpy as np

MOST_ROWS = 3000
# Texts that stand for a missing cell, as docs/TABLES.md lists them.
MISSING = {"?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "-NaN", "-nan"}
# The most rows that may differ at all from what is exact.
ROUNDED_TWICE = 0.01
TOLERANCE = 1e-6
# Sums are rounded in other places, in networks of 256 units to a few 10⁻⁶ of a probability.
OF_SUMS = 5e-6
# PyTorch code normalises pixels before the first layer, whose sums of hundreds of them are then rounded in other places.
OF_PYTORCH_IMAGES = 2e-6


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    # Cells are written as they were read: with spaces at their ends, which do not count.
    clean = lambda cell: "" if cell.strip() in MISSING else cell.strip()
    return {name: [clean(row[k]) for row in rows[:MOST_ROWS]] for k, name in enumerate(header)}


def read_images(path):
    data = (gzip.open if str(path).endswith(".gz") else open)(path, "rb").read()
    _, count, height, width = struct.unpack(">4I", data[:16])
    pixels = np.frombuffer(data, np.uint8, offset=16).reshape(count, height, width)
    return pixels[:MOST_ROWS].astype(np.float32)


def differ(name, ours, theirs, tolerance):
    """Compares numbers by the scale of the column; without a tolerance as 32-bit floats, each by itself."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise SystemExit(f"{name}: shape {theirs.shape}, not {ours.shape}")
    if tolerance is None:
        ours = ours.astype(np.float32).astype(np.float64)
        is_other = (ours != theirs).reshape(len(ours), -1).any(axis=1)
        if not is_other.mean() <= ROUNDED_TWICE:
            raise SystemExit(f"{name}: {is_other.sum()} of {len(ours)} rows are not the same")
        # Probabilities are absolute.
        scale = 1.0 if name == "probabilities" else np.maximum(np.abs(ours), 1e-30)
    else:
        scale = max(1e-30, np.abs(ours).max())
    worst = (np.abs(ours - theirs) / scale).max()
    if not worst <= (tolerance or TOLERANCE):
        raise SystemExit(f"{name}: differs by {worst:.2e} of its scale")
    return worst


def compare(outputs, wanted, tolerance):
    """Compares the outputs by name with what syva predicted, by column. Returns the largest deviation."""
    worst = 0.0
    prediction = outputs["prediction"]
    classes = [name.split(":", 1)[1] for name in wanted if name.startswith("probability:")]
    if "prediction" in wanted and classes:
        ours = np.array([wanted[f"probability:{name}"] for name in classes], np.float64).T
        worst = max(worst, differ("probabilities", ours, outputs["probabilities"], tolerance))
        ranked = np.sort(ours, axis=1)
        is_clear = ranked[:, -1] - ranked[:, -2] > 1e-5
        wrong = [a for a, b, clear in zip(wanted["prediction"], prediction, is_clear) if clear and a != str(b)]
        if wrong:
            raise SystemExit(f"{len(wrong)} classes differ, such as '{wrong[0]}'")
    elif classes:
        ours = np.array([wanted[f"probability:{name}"] for name in classes], np.float64).T
        worst = max(worst, differ("probabilities", ours, outputs["probabilities"], tolerance))
        labels = np.array([wanted[f"prediction:{name}"] for name in classes], np.float64).T
        is_clear = np.abs(ours - 0.5) > 1e-5
        if (labels != prediction)[is_clear].any():
            raise SystemExit("labels differ")
    else:
        for what, values in [("prediction", prediction), ("deviation", outputs.get("deviation"))]:
            names = [name for name in wanted if name == what or name.startswith(f"{what}:")]
            for k, name in enumerate(names):
                worst = max(worst, differ(name, np.array(wanted[name], np.float64), np.asarray(values)[:, k], tolerance))
    return worst


def split(table):
    """The columns of the data, and those that syva added."""
    is_added = lambda name: name.split(":")[0] in ("prediction", "probability", "deviation")
    return (
        {name: cells for name, cells in table.items() if not is_added(name)},
        {name: cells for name, cells in table.items() if is_added(name)},
    )


def date_part(text, part):
    """A part of a date like 2024-05-31 12:30, as docs/EXCHANGE.md defines it."""
    from datetime import datetime

    if not text:
        return np.nan
    moment = datetime.fromisoformat(text)
    day = (moment - datetime(1970, 1, 1)).total_seconds() / 86400
    hour = moment.hour + moment.minute / 60 + moment.second / 3600
    parts = {"elapsed": day, "year": moment.year, "month": moment.month, "day": moment.day, "weekday": moment.weekday(), "hour": hour}
    return parts[part]


def run_onnx(model, columns=None, images=None):
    import onnx
    import onnxruntime

    onnx.checker.check_model(onnx.load(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {}
    for value in session.get_inputs():
        if images is not None:
            feeds[value.name] = images if len(value.shape) > 2 else images.reshape(len(images), -1)
            continue
        if value.type == "tensor(string)":
            array = np.array(columns[value.name], object)
        elif value.name in columns:
            array = np.array([float(cell) if cell else np.nan for cell in columns[value.name]], np.float64)
        else:
            name, part = value.name.rsplit(" ", 1)
            array = np.array([date_part(cell, part) for cell in columns[name]], np.float64)
        feeds[value.name] = array.reshape(-1, 1)
    names = [value.name for value in session.get_outputs()]
    arithmetic = session.get_modelmeta().custom_metadata_map["arithmetic"]
    return arithmetic, dict(zip(names, session.run(None, feeds)))


def run_pytorch(code, weights, columns=None, images=None):
    import pandas

    spec = importlib.util.spec_from_file_location("exported", code)
    exported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exported)
    model = exported.load(weights)
    if images is not None:
        return exported.predict(model, images.reshape(len(images), -1))
    frame = pandas.DataFrame({name: [cell or None for cell in cells] for name, cells in columns.items()})
    return exported.predict(model, frame)


def given(data):
    """What a model is to be run on, and what syva predicts for it."""
    if "table" in data:
        columns, wanted = split(read_table(data["table"]))
        return {"columns": columns}, wanted
    rows = [json.loads(line) for line in Path(data["predictions"]).read_text().splitlines()[:MOST_ROWS]]
    wanted = {"prediction": [str(row["class"]) for row in rows]}
    for k in range(len(rows[0]["probabilities"])):
        wanted[f"probability:{k}"] = [row["probabilities"][k] for row in rows]
    return {"images": read_images(data["images"])}, wanted


def check(comparison):
    inputs, wanted = given(comparison["data"])
    has_wide_sums = "preset" in comparison["what"] or any(
        mark in Path(comparison["pytorch"]).read_text() for mark in ("embed", "Factors", "factors")
    )
    of_sums = OF_SUMS if has_wide_sums else TOLERANCE
    found = []
    for model in comparison["onnx"]:
        arithmetic, outputs = run_onnx(model, **inputs)
        worst = compare(outputs, wanted, None if arithmetic == "exact" else of_sums)
        found.append(f"{arithmetic} {worst:.1e}")
    outputs = run_pytorch(comparison["pytorch"], comparison["weights"], **inputs)
    tolerance = max(of_sums, OF_PYTORCH_IMAGES) if "images" in inputs else of_sums
    found.append(f"PyTorch {compare(outputs, wanted, tolerance):.1e}")
    return ", ".join(found)


def main():
    for comparison in json.loads(Path(sys.argv[1]).read_text()):
        try:
            print(f"{comparison['what']}: {check(comparison)}", flush=True)
        except SystemExit as error:
            raise SystemExit(f"{comparison['what']}: {error}") from None


if __name__ == "__main__":
    main()
