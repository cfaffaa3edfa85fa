"""Compares the scores of `syva eval` with those of scikit-learn and torchmetrics for the same predictions.

usage: scores.py PREDICTIONS.csv EVAL.json
"""

import importlib
import json
import sys

import numpy
import sklearn.metrics as metrics
import torch

TOLERANCE = 1e-6


# torchmetrics' public class sums 10,000 confidences in f32, which costs the fifth digit. The function that it calls
# also accepts f64. (An import statement would find a function of the package that has the same name as the module.)
calibration = importlib.import_module("torchmetrics.functional.classification.calibration_error")


def calibration_error(p, hit, bins):
    boundaries = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    confidence = torch.tensor(p.max(axis=1))
    return calibration._ce_compute(confidence, torch.tensor(hit), boundaries, norm="l1").item()


def main():
    table = numpy.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
    label, guess, p = table[:, 1].astype(int), table[:, 2].astype(int), table[:, 3:]
    with open(sys.argv[2]) as file:
        ours = json.load(file)
    classes = p.shape[1]
    wanted = {
        "accuracy": metrics.accuracy_score(label, guess),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, guess),
        "top_2_accuracy": metrics.top_k_accuracy_score(label, p, k=2),
        "log_loss": metrics.log_loss(label, p),
        "brier_score": metrics.brier_score_loss(label, p),
        "calibration_error": calibration_error(p, label == guess, 15),
        "auroc_macro": metrics.roc_auc_score(label, p, multi_class="ovr"),
    }
    pairs = [(name, ours[name], value) for name, value in wanted.items()]
    for k in range(classes):
        pairs.append((f"auroc {k}", ours["auroc"][k], metrics.roc_auc_score(label == k, p[:, k])))
        precision = metrics.average_precision_score(label == k, p[:, k])
        pairs.append((f"average precision {k}", ours["average_precision"][k], precision))
    report = metrics.classification_report(label, guess, output_dict=True)
    rows = [(str(k), row) for k, row in enumerate(ours["report"]["classes"])]
    rows += [("macro avg", ours["report"]["macro_average"]), ("weighted avg", ours["report"]["weighted"])]
    for name, row in rows:
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score"), ("support", "support")):
            pairs.append((f"{theirs} {name}", row[mine], report[name][theirs]))
    confusion = metrics.confusion_matrix(label, guess, labels=range(classes))
    pairs += [("confusion matrix", a, b) for a, b in zip(numpy.ravel(ours["confusion"]), confusion.ravel())]
    wrong = [pair for pair in pairs if not abs(pair[1] - pair[2]) <= TOLERANCE]
    for name, mine, theirs in wrong:
        print(f"{name}: syva {mine!r}, theirs {theirs!r}")
    worst = max(abs(mine - theirs) for _, mine, theirs in pairs)
    print(f"{len(pairs)} scores of {len(label)} predictions compared, largest difference {worst:.1e}")
    sys.exit(bool(wrong))


main()
