"""Trains a tiny network in PyTorch with every loss and writes down what comes of it.

    python crates/syva/tests/golden/losses.py

Writes losses.json beside this file. A test trains the same network with our engines and compares. The numbers are drawn,
written and doubted as in optimizers.py.

torch, hidden, steps, lr     PyTorch's version, the widths before the outputs, the number of steps, and the learning rate
                             of SGD.
inputs, sample_weights       What every case reads. The test reads them and draws nothing.
cases                        The text of our flag for the loss ("loss"), the head ("head") and the classes' weights
                             ("class_weights"), whether samples are weighted ("weighted"), the targets ("targets"), all
                             weights at the beginning ("initial") and after the last step ("weights"), the loss before each
                             step ("losses"), and what a prediction gives at last ("predictions").

Samples with weights are not in PyTorch: the loss is that with reduction="none", and its mean is taken here.
"""

import json

import numpy as np
import torch
from optimizers import HERE, SAMPLES, STEADY, STEPS, short
from torch import nn
from torch.nn import functional as F

HIDDEN = [5, 6]
LR = 0.1

# Loss, head, classes' weights, whether samples are weighted.
CASES = [
    ("mse", "regression", None, False),
    ("mse", "regression", None, True),
    ("mae", "regression", None, False),
    ("huber", "regression", None, False),
    ("huber:delta=0.4", "regression", None, True),
    ("smooth-l1", "regression", None, False),
    ("smooth-l1:beta=0.4", "regression", None, False),
    ("quantile:q=0.9", "regression", None, False),
    ("quantile", "regression", None, True),
    ("poisson", "poisson", None, False),
    ("poisson", "poisson", None, True),
    ("gaussian", "gaussian", None, False),
    ("gaussian", "gaussian", None, True),
    ("binary-cross-entropy", "binary", None, False),
    ("binary-cross-entropy:pos_weight=3", "binary", None, True),
    ("binary-cross-entropy", "binary", [2.0, 0.5], False),
    ("binary-cross-entropy", "multi-label", None, False),
    ("binary-cross-entropy:pos_weight=0.25", "multi-label", None, True),
    ("cross-entropy", "logits", None, True),
    ("cross-entropy:smoothing=0.1", "logits", None, False),
    ("cross-entropy:smoothing=0.3", "log-softmax", None, True),
    ("cross-entropy", "logits", [1.0, 4.0, 0.5], False),
    ("cross-entropy", "log-softmax", [1.0, 4.0, 0.5], True),
]


class Numbers:
    """A linear congruential generator, as in optimizers.py."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (1664525 * self.state + 1013904223) % 2**32
        # The low bits of such a generator repeat early.
        return (self.state >> 16) % bound

    def multiples(self, count):
        """Multiples of 2^-10 in [-1, 1], which float32 holds exactly."""
        return np.array([(self.below(2049) - 1024) / 1024 for _ in range(count)])


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}")
    numbers = Numbers(7)
    inputs = numbers.multiples(SAMPLES * HIDDEN[0]).reshape(SAMPLES, HIDDEN[0])
    # Some samples weigh nothing.
    sample_weights = np.array([numbers.below(9) / 4 for _ in range(SAMPLES)])
    assert (sample_weights == 0).any()
    record = {
        "torch": torch.__version__,
        "hidden": HIDDEN,
        "steps": STEPS,
        "lr": LR,
        "inputs": short(inputs.ravel()),
        "sample_weights": short(sample_weights),
        "cases": [train(numbers, inputs, sample_weights, *case) for case in CASES],
    }
    cases = ",\n".join(f"  {json.dumps(case)}" for case in record.pop("cases"))
    parts = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    file = HERE / "losses.json"
    file.write_text("{\n" + ",\n".join(parts) + ',\n "cases": [\n' + cases + "\n ]\n}\n")
    print(f"{file.name}: {file.stat().st_size} bytes")


def train(numbers, inputs, sample_weights, loss, head, class_weights, weighted):
    outputs = {"binary": 1, "gaussian": 4, "logits": 3, "log-softmax": 3, "multi-label": 3}.get(head, 2)
    targets = {
        "regression": lambda: numbers.multiples(SAMPLES * 2),
        "gaussian": lambda: numbers.multiples(SAMPLES * 2),
        "poisson": lambda: np.array([numbers.below(6) for _ in range(SAMPLES * 2)]),
        "multi-label": lambda: np.array([numbers.below(2) for _ in range(SAMPLES * 3)]),
        "binary": lambda: np.array([numbers.below(2) for _ in range(SAMPLES)]),
        "logits": lambda: np.array([numbers.below(3) for _ in range(SAMPLES)]),
        "log-softmax": lambda: np.array([numbers.below(3) for _ in range(SAMPLES)]),
    }[head]()
    layers = [*HIDDEN, outputs]
    initial = numbers.multiples(sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(layers, layers[1:])))
    weights = sample_weights if weighted else None
    results = {}
    for dtype in (torch.float32, torch.float64):
        results[dtype] = run(inputs, targets, weights, layers, initial, loss, head, class_weights, dtype)
    single, double = results[torch.float32], results[torch.float64]
    name = f"{loss} {head} {class_weights or ''} {'weighted' if weighted else ''}"
    losses = single["losses"]
    error = max(np.max(np.abs(single[key] - double[key])) / np.max(np.abs(double[key])) for key in single)
    print(f"{name}: loss {losses[0]:.4f} ... {losses[-1]:.4f}, off by {error:.0e}")
    assert losses[-1] < losses[0], "the loss does not fall"
    assert error <= STEADY, "float64 gives something else"
    case = {"loss": loss, "head": head, "weighted": weighted}
    if class_weights:
        case["class_weights"] = ",".join(str(weight) for weight in class_weights)
    case |= {"targets": short(targets), "initial": short(initial)}
    return case | {key: short(values) for key, values in single.items()}


def run(inputs, targets, sample_weights, layers, initial, loss, head, class_weights, dtype):
    net = nn.Sequential(
        nn.Linear(layers[0], layers[1], dtype=dtype), nn.Tanh(), nn.Linear(layers[1], layers[2], dtype=dtype)
    )
    nn.utils.vector_to_parameters(torch.tensor(initial, dtype=dtype), net.parameters())
    x, t = torch.from_numpy(inputs).to(dtype), torch.from_numpy(targets)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    criterion = make(loss, head, class_weights, sample_weights, t, dtype)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = criterion(net(x))
        value.backward()
        optimizer.step()
        losses.append(value.item())
    flat = np.concatenate([parameter.detach().numpy().ravel() for parameter in net.parameters()])
    return {"losses": np.array(losses), "weights": flat, "predictions": predictions(net(x), head)}


def make(text, head, class_weights, sample_weights, t, dtype):
    """The mean loss as a function of the outputs."""
    name, _, parameters = text.partition(":")
    options = {key: float(value) for key, value in (each.split("=") for each in filter(None, parameters.split(",")))}
    values = t.to(dtype)
    weights = None if sample_weights is None else torch.tensor(sample_weights, dtype=dtype)
    reduction = "mean" if weights is None else "none"
    classes = None if class_weights is None else torch.tensor(class_weights, dtype=dtype)

    def mean(each):
        """Of what PyTorch gives: its own mean, or that of the samples by their weights."""
        if weights is None:
            return each
        of_sample = each.reshape(SAMPLES, -1).mean(dim=1)
        return (weights * of_sample).sum() / weights.sum()

    if name == "cross-entropy":
        smoothing = options.get("smoothing", 0.0)
        if weights is not None and classes is not None:
            # PyTorch's reduction="none" has the classes' weights in it.
            each = nn.CrossEntropyLoss(weight=classes, reduction="none")
            return lambda z: (weights * each(z, t)).sum() / (weights * classes[t]).sum()
        if head == "log-softmax" and smoothing == 0.0:
            criterion = nn.NLLLoss(weight=classes, reduction=reduction)
            return lambda z: mean(criterion(F.log_softmax(z, dim=1), t))
        criterion = nn.CrossEntropyLoss(weight=classes, label_smoothing=smoothing, reduction=reduction)
        return lambda z: mean(criterion(z, t))
    if name == "binary-cross-entropy":
        pos_weight = torch.tensor(options["pos_weight"], dtype=dtype) if options else None
        if classes is not None:
            each = nn.BCEWithLogitsLoss(reduction="none")
            return lambda z: (classes[t] * each(z[:, 0], values)).sum() / classes[t].sum()
        criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight, reduction=reduction)
        values = values.reshape(SAMPLES, -1)
        return lambda z: mean(criterion(z, values))
    values = values.reshape(SAMPLES, -1)
    if name == "gaussian":
        criterion = nn.GaussianNLLLoss(reduction=reduction)
        return lambda z: mean(criterion(z[:, 0::2], values, variance(z)))
    if name == "quantile":
        q = options.get("q", 0.5)

        def pinball(z):
            error = values - z
            each = torch.maximum(q * error, (q - 1) * error)
            return mean(each.mean() if weights is None else each)

        return pinball
    criterion = {
        "mse": nn.MSELoss,
        "mae": nn.L1Loss,
        "huber": nn.HuberLoss,
        "smooth-l1": nn.SmoothL1Loss,
        "poisson": nn.PoissonNLLLoss,
    }[name](reduction=reduction, **options)
    return lambda z: mean(criterion(z, values))


def variance(z):
    return F.softplus(z[:, 1::2]) + 1e-6


def predictions(z, head):
    with torch.no_grad():
        z = z.clone()
        if head == "poisson":
            z = torch.exp(z)
        elif head == "gaussian":
            z[:, 1::2] = variance(z)
        elif head == "log-softmax":
            z = F.log_softmax(z, dim=1)
        return z.numpy().ravel()


if __name__ == "__main__":
    main()
