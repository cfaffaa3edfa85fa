"""Syvä's presets for tables beside scikit-learn's and pytabkit's models: scores and times on the same rows.

    pip install "pytabkit[models]" scikit-learn pandas pyarrow
    python bench/peers/tables.py --tables DIR --syva target/release/syva [--models syva,hgb,mlp,realmlp] [--seeds 0,1,2]

DIR holds the tables that docs/TABLES.md names. A fifth of the rows, drawn by scikit-learn with seed 0 (stratified for
classes), tests all models. Each model has the rest, of which it sets a validation part aside itself if it wants one. The
score is the accuracy for classes, and the RMSE for numbers. Results are added to a file, one JSON object per line; what it
has already is not run again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

warnings.filterwarnings("ignore")

# File, target, how it is read, columns left out.
TABLES = {
    "adult": ("adult.csv.gz", "income", {"na_values": "?"}, []),
    "california": ("california.parquet", "MedHouseVal", {}, []),
    "telescope": ("telescope.tsv", "Class", {"sep": "\t"}, []),
    "bank": ("bank.csv", "y", {"sep": ";"}, []),
    "ames": ("ames.csv.gz", "Sale_Price", {}, []),
    "diamonds": ("diamonds.parquet", "price", {}, []),
    "credit": ("credit.csv", "Status", {}, []),
    "churn": ("churn.csv.gz", "churn", {}, []),
    "concrete": ("concrete.csv", "compressive_strength", {}, []),
    "letter": ("letter.csv.gz", "lettr", {}, []),
    "satellite": ("satellite.npz", "y", {}, []),
    "soybean": ("soybean.csv", "Class", {"na_values": "?"}, []),
    "votes": ("votes.csv", "Class", {}, []),
    "pima": ("pima.csv", "diabetes", {"sep": ";", "decimal": ","}, []),
    "spam": ("spam.parquet", "type", {}, []),
    "penguins": ("penguins.csv", "species", {}, []),
    "auto": ("auto.csv", "mpg", {"na_values": "?"}, ["name"]),
    "hitters": ("hitters.csv", "Salary", {}, []),
    "adult-raw": ("adult-raw-no-header.csv.gz", "column_15", {"header": None, "na_values": "?"}, []),
}
# Prices are compared by their logarithms.
LOGARITHMS = {"ames", "diamonds"}


def load(folder, name):
    """The features and the target of a table."""
    file, target, options, left_out = TABLES[name]
    path = folder / file
    if file.endswith(".parquet"):
        table = pd.read_parquet(path)
    elif file.endswith(".npz"):
        arrays = np.load(path, allow_pickle=False)
        table = pd.DataFrame(arrays["X"], columns=[f"X_{i + 1}" for i in range(arrays["X"].shape[1])])
        table["y"] = arrays["y"]
    else:
        table = pd.read_csv(path, skipinitialspace=True, **options)
    if options.get("header", 0) is None:
        table.columns = [f"column_{i + 1}" for i in range(table.shape[1])]
    table = table.drop(columns=left_out).dropna(subset=[target]).reset_index(drop=True)
    # Columns that number the rows, or are the same in all.
    for column in list(table.columns):
        values = table[column]
        if column != target and (values.nunique() < 2 or column.lower() in {"id", "rownames"}):
            table = table.drop(columns=column)
    y = table.pop(target)
    if name in LOGARITHMS:
        y = np.log(y.astype(float))
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]) or pd.api.types.is_bool_dtype(table[column]):
            texts = table[column].astype(object)
            table[column] = texts.where(texts.isna(), texts.astype(str))
    return table, y


def is_number(column):
    return pd.api.types.is_numeric_dtype(column)


def score(y, predicted, classes):
    if classes:
        return float(np.mean(np.asarray(y, dtype=str) == np.asarray(predicted, dtype=str)))
    return float(np.sqrt(np.mean((np.asarray(y, dtype=float) - np.asarray(predicted, dtype=float)) ** 2)))


def hgb(train, test, classes, seed, args):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    (x, y), (x_test, _) = [(table.copy(), y) for table, y in (train, test)]
    for column in x.columns:
        if not is_number(x[column]):
            known = pd.CategoricalDtype(sorted(x[column].dropna().unique()))
            x[column], x_test[column] = x[column].astype(known), x_test[column].astype(known)
    # More categories than it takes are numbers to it.
    for column in x.columns:
        if not is_number(x[column]) and x[column].nunique() > 254:
            x[column], x_test[column] = x[column].cat.codes, x_test[column].cat.codes
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(random_state=seed, categorical_features="from_dtype")
    begin = time.perf_counter()
    model.fit(x, y)
    return model.predict(x_test), time.perf_counter() - begin


def mlp(train, test, classes, seed, args):
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    (x, y), (x_test, _) = train, test
    numbers = [column for column in x.columns if is_number(x[column])]
    texts = [column for column in x.columns if column not in numbers]
    x, x_test = [table.assign(**{c: table[c].where(table[c].notna(), "missing") for c in texts}) for table in (x, x_test)]
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )
    settings = dict(hidden_layer_sizes=(256, 256, 256), early_stopping=True, max_iter=256, random_state=seed)
    if classes:
        model = make_pipeline(prepare, MLPClassifier(**settings))
    else:
        model = make_pipeline(prepare, TransformedTargetRegressor(MLPRegressor(**settings), transformer=StandardScaler()))
    begin = time.perf_counter()
    model.fit(x, y)
    return model.predict(x_test), time.perf_counter() - begin


def realmlp(train, test, classes, seed, args):
    import torch
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    torch.set_num_threads(args.threads)
    (x, y), (x_test, _) = [(table.copy(), y) for table, y in (train, test)]
    # It takes no missing numbers: the median, and an indicator as a category, as TabArena has it.
    for column in list(x.columns):
        if is_number(x[column]):
            if x[column].isna().any():
                median = x[column].median()
                for table in (x, x_test):
                    table[f"{column} missing"] = table[column].isna().map({True: "yes", False: "no"}).astype("category")
                    table[column] = table[column].fillna(median)
            else:
                x_test[column] = x_test[column].fillna(x[column].median())
        else:
            known = pd.CategoricalDtype(sorted(x[column].dropna().unique()))
            x[column], x_test[column] = x[column].astype(known), x_test[column].astype(known)
    kind = RealMLP_TD_Classifier if classes else RealMLP_TD_Regressor
    model = kind(device="cpu", random_state=seed, n_cv=1, n_refit=0, verbosity=0, n_threads=args.threads)
    begin = time.perf_counter()
    model.fit(x, np.asarray(y))
    seconds = time.perf_counter() - begin
    return model.predict(x_test), seconds


def syva(train, test, classes, seed, args, preset="tabular"):
    target = "target of all"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, (x, y) in (("train", train), ("test", test)):
            x.assign(**{target: np.asarray(y)}).to_csv(folder / f"{name}.csv", index=False)
        texts = [column for column in train[0].columns if not is_number(train[0][column])]
        numbers = [column for column in train[0].columns if column not in texts]
        (folder / "columns.toml").write_text(
            f"categorical = {json.dumps(texts)}\nnumeric = {json.dumps(numbers)}\n"
        )
        run, out = folder / "run", folder / "out.csv"
        begin = time.perf_counter()
        command = [args.syva, "train", "--preset", preset, "--data", folder / "train.csv", "--target", target]
        # The default share, and other rows for each seed.
        rows = len(train[0])
        share = 30 if 150 <= rows < 300 else 0.1 if 300 <= rows < 10_000 else 0.2
        command += ["--config", folder / "columns.toml", "--seed", seed + 1, "--validation", f"{share}:seed={seed + 1}"]
        command += ["--task", "classification" if classes else "regression", "--threads", args.threads]
        command += ["--out", run, "--quiet", *args.extra.split()]
        subprocess.run([str(part) for part in command], check=True)
        seconds = time.perf_counter() - begin
        command = [args.syva, "predict", run, folder / "test.csv", "--out", out]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return pd.read_csv(out, dtype={"prediction": str} if classes else None)["prediction"], seconds


MODELS = {
    "hgb": hgb,
    "mlp": mlp,
    "realmlp": realmlp,
    "syva": syva,
    "small": lambda *all: syva(*all, preset="tabular-small"),
    "plain": lambda *all: syva(*all, preset="tabular-plain"),
}


def show(results):
    """The mean score and the mean seconds of each model on each table."""
    models = [model for model in MODELS if any(result["model"] == model for result in results)]
    print("| table | rows | " + " | ".join(models) + " | " + " | ".join(f"{model} s" for model in models) + " |")
    print("|---" * (2 + 2 * len(models)) + "|")
    for name in TABLES:
        of = lambda model: [r for r in results if r["table"] == name and r["model"] == model]
        if not any(of(model) for model in models):
            continue
        cells, times = [], []
        for model in models:
            scores = [result["score"] for result in of(model)]
            deviation = np.std(scores, ddof=1) if len(scores) > 1 else 0.0
            cells.append(f"{np.mean(scores):.4g} ± {deviation:.2g}" if scores else "-")
            times.append(f"{np.mean([result['seconds'] for result in of(model)]):.1f}" if scores else "-")
        rows = next(result["rows"] for result in results if result["table"] == name)
        print(f"| {name} | {rows} | " + " | ".join(cells) + " | " + " | ".join(times) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--syva", default="target/release/syva")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--extra", default="", help="further flags of `syva train`")
    parser.add_argument("--out", type=Path, default=Path("tables.jsonl"))
    parser.add_argument("--show", action="store_true", help="only show what is there")
    args = parser.parse_args()
    results = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(result["table"], result["model"], result["seed"]) for result in results}
    for name in args.only.split(",") if not args.show else []:
        x, y = load(args.tables, name)
        classes = not is_number(y) or y.nunique() <= 20
        train_rows, test_rows = train_test_split(
            np.arange(len(x)), test_size=0.2, random_state=0, stratify=y if classes else None
        )
        part = lambda rows: (x.iloc[rows].reset_index(drop=True), y.iloc[rows].reset_index(drop=True))
        train, test = part(train_rows), part(test_rows)
        for model in args.models.split(","):
            for seed in map(int, args.seeds.split(",")):
                if (name, model, seed) in done:
                    continue
                predicted, seconds = MODELS[model](train, test, classes, seed, args)
                result = {
                    "table": name, "rows": len(x), "model": model, "seed": seed, "classes": bool(classes),
                    "score": score(test[1], predicted, classes), "seconds": seconds,
                }
                print(json.dumps(result), file=sys.stderr, flush=True)
                with args.out.open("a") as out:
                    out.write(json.dumps(result) + "\n")
                results.append(result)
    show(results)


if __name__ == "__main__":
    main()
