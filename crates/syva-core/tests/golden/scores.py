"""Writes scores.json: predictions, and what scikit-learn 1.9.1 and SciPy 1.17.1 say of them. `../scores.rs` reads it.

    pip install scikit-learn==1.9.1 scipy==1.17.1 && python scores.py
"""

import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn import metrics

random = np.random.default_rng(7)


def temperature(logits, labels):
    loss = lambda log_t: -np.mean(log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels])
    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-12}).x))


def calibration_error(p, labels, bins=15):
    """Naeini et al. 2015; scikit-learn has none."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return sum(abs(confidence[place == b].sum() - right[place == b].sum()) for b in range(bins)) / len(labels)


def classes(count, samples):
    labels = random.integers(0, count, samples)
    logits = (random.normal(size=(samples, count)) * 1.5 + 2.5 * np.eye(count)[labels]).round(3)
    p = softmax(logits, axis=1)
    t = temperature(logits, labels)
    cooled = softmax(logits / t, axis=1)
    guess = p.argmax(axis=1)
    found = {
        "probabilities": p.ravel().tolist(), "labels": labels.tolist(),
        "accuracy": metrics.accuracy_score(labels, guess),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, guess),
        "f1_macro": metrics.f1_score(labels, guess, average="macro"),
        "log_loss": metrics.log_loss(labels, p),
        "brier": metrics.brier_score_loss(labels, p[:, 1]) if count == 2
        else np.mean(((p - np.eye(count)[labels]) ** 2).sum(axis=1)),
        "auroc": [metrics.roc_auc_score(labels == k, p[:, k]) for k in range(count)],
        "auroc_macro": metrics.roc_auc_score(labels, p[:, 1]) if count == 2
        else metrics.roc_auc_score(labels, p, multi_class="ovr", average="macro"),
        "average_precision": [metrics.average_precision_score(labels == k, p[:, k]) for k in range(count)],
        "calibration_error": calibration_error(p, labels),
        "temperature": t, "cooled_log_loss": metrics.log_loss(labels, cooled),
    }
    if count == 2:
        found |= thresholds(labels, p[:, 1])
    return found


def thresholds(labels, p):
    precision, recall, at = metrics.precision_recall_curve(labels, p)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    by_f1 = at[f1[:-1].argmax()]
    fpr, tpr, at = metrics.roc_curve(labels, p, drop_intermediate=False)
    cost = 1 * fpr * (labels == 0).sum() + 5 * (1 - tpr) * (labels == 1).sum()
    scores = []
    for threshold in [by_f1, 0.3]:
        guess = p >= threshold
        scores.append({
            "threshold": threshold, "accuracy": metrics.accuracy_score(labels, guess),
            "precision": metrics.precision_score(labels, guess), "recall": metrics.recall_score(labels, guess),
            "specificity": metrics.recall_score(labels, guess, pos_label=0), "f1": metrics.f1_score(labels, guess),
        })
    return {"by_f1": by_f1, "by_youden": at[(tpr - fpr).argmax()], "by_cost": at[cost.argmin()], "scores": scores}


def numbers(samples):
    truth = (random.gamma(2, 3, samples)).round(3)
    guess = (truth + random.normal(size=samples)).round(3)
    return {
        "truth": truth.tolist(), "predicted": guess.tolist(),
        "mse": metrics.mean_squared_error(truth, guess), "rmse": metrics.root_mean_squared_error(truth, guess),
        "mae": metrics.mean_absolute_error(truth, guess), "r2": metrics.r2_score(truth, guess),
        "median_absolute_error": metrics.median_absolute_error(truth, guess),
        "pinball_loss": metrics.mean_pinball_loss(truth, guess, alpha=0.9), "coverage": float(np.mean(truth <= guess)),
    }


def labels(count, samples):
    """Each sample has several labels, some of them rare, and there are equal probabilities."""
    truth = (random.random((samples, count)) < np.linspace(0.05, 0.6, count)).astype(int)
    p = (1 / (1 + np.exp(-random.normal(size=truth.shape) - 2 * truth + 1))).round(2).clip(0.01, 0.99)
    return {
        "probabilities": p.tolist(), "labels": truth.tolist(),
        "auroc": metrics.roc_auc_score(truth, p, average=None).tolist(),
        "average_precision": metrics.average_precision_score(truth, p, average=None).tolist(),
    }


found = {"two": classes(2, 120), "five": classes(5, 60), "numbers": numbers(90), "labels": labels(4, 150)}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(found, default=float) + "\n")
