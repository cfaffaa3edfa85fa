"""Syvä's scikit-learn estimators beside scikit-learn's own network: scores, times to fit, and the time of a prediction.

    pip install ./python scikit-learn pandas pyarrow
    python bench/peers/estimators.py --tables DIR --mnist DIR

Both have their defaults, and the same rows: a fifth tests. scikit-learn's network gets its numbers standardised and its
categories one-hot; Syvä's estimator gets the data frame as it is. Each fit is timed alone, one after the other. The large
tables have one split and three seeds. The small ones are 500 rows of each of the real ones, and of scikit-learn's digits; they have ten
splits, each with a seed of its own. A difference is the mean over the runs, with its standard error; it counts as one if it is
above two of these.
"""

import argparse
import sys
import timeit
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import syva
from syva import SyvaClassifier, SyvaRegressor
from tables import TABLES, is_number, load

warnings.filterwarnings("ignore")


def theirs(x, classes, seed):
    """scikit-learn's network in the pipeline that it needs."""
    numbers = [column for column in x.columns if is_number(x[column])]
    texts = [column for column in x.columns if column not in numbers]
    missing = SimpleImputer(strategy="constant", fill_value="missing", missing_values=None)
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (make_pipeline(missing, OneHotEncoder(handle_unknown="ignore")), texts),
    )
    if classes:
        return make_pipeline(prepare, MLPClassifier(random_state=seed))
    network = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(prepare, network)


def compare(name, x, y, runs, splits=False):
    """A row of the table. Each run has a seed of its own, and with `splits` also rows of its own to test on."""
    classes = not is_number(y) or y.nunique() <= 20
    scores, times = {"syva": [], "theirs": []}, {"syva": [], "theirs": []}
    for run in range(runs):
        split = run if splits else 0
        x_train, x_test, y_train, y_test = train_test_split(
            x, y, test_size=0.2, random_state=split, stratify=y if classes else None
        )
        ours = SyvaClassifier if classes else SyvaRegressor
        texts = [column for column in x if not is_number(x[column])]

        def with_none(rows):
            # scikit-learn's imputer knows None as a missing text.
            return rows.assign(**{column: rows[column].where(rows[column].notna(), None) for column in texts})

        for which, model, prepare in (
            ("theirs", theirs(x, classes, run), with_none),
            ("syva", ours(random_state=run + 1), lambda rows: rows),
        ):
            given, tested = prepare(x_train), prepare(x_test)
            begin = time.perf_counter()
            model.fit(given, y_train)
            times[which].append(time.perf_counter() - begin)
            scores[which].append(model.score(tested, y_test))
    better = np.array(scores["syva"]) - np.array(scores["theirs"])
    error = np.std(better, ddof=1) / np.sqrt(runs) if runs > 1 else 0.0
    seconds = {which: np.mean(each) for which, each in times.items()}
    ratio = seconds["syva"] / seconds["theirs"]
    verdict = "+" if better.mean() > 2 * error else "-" if better.mean() < -2 * error else "="
    print(
        f"| {name} | {len(x) - len(x) // 5:,} | {'accuracy' if classes else 'R²'} | {np.mean(scores['syva']):.4f} "
        f"| {np.mean(scores['theirs']):.4f} | {verdict} {better.mean():+.4f} ± {error:.4f} "
        f"| {seconds['syva']:.2f} | {seconds['theirs']:.2f} | {ratio:.2f} |",
        flush=True,
    )
    return verdict, ratio, better.mean(), classes


def latency():
    """Microseconds of one call that predicts one row."""
    x, y = load_digits(return_X_y=True)
    one = x[:1].copy()
    for name, model in (("syva", SyvaClassifier(epochs=5)), ("scikit-learn", MLPClassifier(max_iter=5))):
        model.fit(x, y)
        times = timeit.repeat(lambda: model.predict(one), number=1000, repeat=7)
        print(f"predict of one row, {name}: {min(times) * 1e3:.1f} µs")
    native = SyvaClassifier(epochs=1).fit(x, y).model_._native
    print(f"a call into the module: {min(timeit.repeat(lambda: native.inputs, number=100_000, repeat=5)) * 10:.3f} µs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--large", default="letter,adult,mnist")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--splits", type=int, default=10, help="of the small tables")
    args = parser.parse_args()
    print(f"syva {syva.__version__}, {syva.devices()[0]}", file=sys.stderr)
    latency()
    print("| data | rows | score | Syvä | scikit-learn | difference | Syvä s | scikit-learn s | ratio |\n" + "|---" * 9 + "|")
    for name in filter(None, args.large.split(",")):
        if name == "mnist":
            parts = syva.data.mnist(args.mnist)
            images = np.concatenate([part.images for part in parts]).reshape(70_000, 784) / 255.0
            labels = pd.Series(np.concatenate([part.labels for part in parts]))
            compare("mnist", pd.DataFrame(images, columns=[f"p{k}" for k in range(784)]), labels, 1)
        else:
            compare(name, *load(args.tables, name), args.runs)
    found = []
    for name in [*TABLES, "digits"]:
        if name == "digits":
            x, y = load_digits(return_X_y=True)
            x, y = pd.DataFrame(x, columns=[f"p{k}" for k in range(64)]), pd.Series(y)
        else:
            x, y = load(args.tables, name)
        rows = np.random.default_rng(0).permutation(len(x))[:500]
        x, y = x.iloc[rows].reset_index(drop=True), y.iloc[rows].reset_index(drop=True)
        # A class of a single row cannot be in both parts.
        if not is_number(y) or y.nunique() <= 20:
            keep = y.isin(y.value_counts()[lambda count: count > 1].index)
            x, y = x[keep].reset_index(drop=True), y[keep].reset_index(drop=True)
        found.append(compare(f"500 of {name}", x, y, args.splits, splits=True))
    verdicts = [verdict for verdict, *_ in found]
    ratios = [ratio for _, ratio, *_ in found]
    points = 100 * np.mean([better for *_, better, classes in found if classes])
    print(
        f"\nsmall tables: {verdicts.count('+')} better, {verdicts.count('=')} the same within two standard errors, "
        f"{verdicts.count('-')} worse; accuracy {points:+.2f} points on average; time: median ratio {np.median(ratios):.2f}, "
        f"largest {max(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
