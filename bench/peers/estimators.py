"""Syvä's scikit-learn estimators beside scikit-learn's own network: scores, times to fit, and the time of a prediction.

    pip install ./python scikit-learn pandas pyarrow
    python bench/peers/estimators.py --tables DIR --mnist DIR

Both have their defaults, and the same rows: a fifth, drawn by scikit-learn with seed 0, tests. scikit-learn's network gets
its numbers standardised and its categories one-hot; Syvä's estimator gets the data frame as it is. Each fit is timed alone, one
after the other, and the mean of three seeds is shown. The small tables are 500 rows of each of the real ones, and of scikit-learn's digits.
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


def compare(name, x, y, seeds):
    """A row of the table."""
    classes = not is_number(y) or y.nunique() <= 20
    rows = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y if classes else None)
    x_train, x_test, y_train, y_test = rows
    numbers = {"syva": ([], []), "theirs": ([], [])}
    for seed in seeds:
        ours = SyvaClassifier if classes else SyvaRegressor
        for which, model in (("theirs", theirs(x, classes, seed)), ("syva", ours(random_state=seed + 1))):
            texts = {c: x_train[c].where(x_train[c].notna(), None) for c in x if not is_number(x[c])}
            given = x_train.assign(**texts) if which == "theirs" else x_train
            tested = x_test.assign(**{c: x_test[c].where(x_test[c].notna(), None) for c in texts}) if texts else x_test
            begin = time.perf_counter()
            model.fit(given, y_train)
            numbers[which][1].append(time.perf_counter() - begin)
            numbers[which][0].append(model.score(tested if which == "theirs" else x_test, y_test))
    score = {which: np.mean(scores) for which, (scores, _) in numbers.items()}
    deviation = max(np.std(scores, ddof=1) if len(scores) > 1 else 0.0 for scores, _ in numbers.values())
    seconds = {which: np.mean(times) for which, (_, times) in numbers.items()}
    ratio = seconds["syva"] / seconds["theirs"]
    verdict = "+" if score["syva"] > score["theirs"] else "~" if score["syva"] >= score["theirs"] - deviation else "-"
    print(
        f"| {name} | {len(x_train):,} | {'accuracy' if classes else 'R²'} | {score['syva']:.4f} | {score['theirs']:.4f} "
        f"| {verdict} | {seconds['syva']:.2f} | {seconds['theirs']:.2f} | {ratio:.2f} |",
        flush=True,
    )
    return verdict, ratio


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
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(f"syva {syva.__version__}, {syva.devices()[0]}", file=sys.stderr)
    latency()
    print("| data | rows | score | Syvä | scikit-learn | | Syvä s | scikit-learn s | ratio |\n" + "|---" * 9 + "|")
    for name in filter(None, args.large.split(",")):
        if name == "mnist":
            parts = syva.data.mnist(args.mnist)
            images = np.concatenate([part.images for part in parts]).reshape(70_000, 784) / 255.0
            labels = pd.Series(np.concatenate([part.labels for part in parts]))
            compare("mnist", pd.DataFrame(images, columns=[f"p{k}" for k in range(784)]), labels, range(1))
        else:
            compare(name, *load(args.tables, name), range(args.seeds))
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
        found.append(compare(f"500 of {name}", x, y, range(args.seeds)))
    same = sum(verdict != "-" for verdict, _ in found)
    ratios = [ratio for _, ratio in found]
    print(f"\n{same} of {len(found)} small tables as good or better; median ratio {np.median(ratios):.2f}, largest {max(ratios):.2f}")


if __name__ == "__main__":
    main()
