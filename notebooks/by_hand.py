# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "marimo",
#     "matplotlib",
#     "numpy",
#     "pandas",
#     "syva-ml",
# ]
#
# [tool.uv.sources]
# syva-ml = { path = "../python" }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A training step by hand")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # A training step by hand

    A network with two inputs, two hidden units and one output is small enough to calculate on
    paper. This notebook does one step of its training in NumPy, number by number: forward, the
    loss, backward, and the new weights. Then Syvä does the same step, and the numbers are
    compared. After that the network learns XOR, or does not, depending on the seed.
    """)
    return


@app.cell
def _():
    import os

    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    import syva

    np.set_printoptions(precision=6, suppress=True)
    return np, os, pd, plt, syva


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The network and the data

    The hidden layer is $h = \sigma(W_1 x + b_1)$ and the output layer $z = W_2 h + b_2$, with the
    sigmoid $\sigma(t) = 1 / (1 + e^{-t})$. The output is the probability $p = \sigma(z)$ that the
    answer is 1. The four rows of data are XOR: the answer is 1 if exactly one input is.
    """)
    return


@app.cell
def _(np):
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([0.0, 1.0, 1.0, 0.0])

    W1 = np.array([[0.5, -0.3], [0.2, 0.8]])
    b1 = np.array([0.1, -0.2])
    W2 = np.array([[0.7, -0.6]])
    b2 = np.array([0.05])
    LR = 0.5

    def sigmoid(t):
        """The logistic function."""
        return 1 / (1 + np.exp(-t))

    return LR, W1, W2, X, b1, b2, sigmoid, y


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Forward

    Each row goes through the layers on its own. $z_1$ and $h_1$ are here the inputs and the
    outputs of the hidden units, in a row for each row of data. The loss is the mean of the binary
    cross-entropies $-y \ln p - (1 - y) \ln(1 - p)$.
    """)
    return


@app.cell
def _(W1, W2, X, b1, b2, np, pd, sigmoid, y):
    z1 = X @ W1.T + b1
    h1 = sigmoid(z1)
    z2 = h1 @ W2.T + b2
    p = sigmoid(z2)[:, 0]
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    loss = losses.mean()

    print(f"loss: {loss:.6f}")
    forward = pd.DataFrame(
        {
            "x1": X[:, 0],
            "x2": X[:, 1],
            "z1": z1[:, 0],
            "z2": z1[:, 1],
            "h1": h1[:, 0],
            "h2": h1[:, 1],
            "z": z2[:, 0],
            "p": p,
            "y": y,
            "loss": losses,
        }
    )
    forward.round(6)
    return h1, loss, p


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    One of these numbers on paper: for $x = (1, 0)$ the first hidden unit gets $0.5 \cdot 1 - 0.3
    \cdot 0 + 0.1 = 0.6$, and returns $\sigma(0.6) = 0.645656$.

    ## Backward

    The chain rule goes through the same layers from the end. For the sigmoid with cross-entropy
    the derivative is simple: $\delta_2 = (p - y) / n$, with $n = 4$ rows. The rest follows:

    | | |
    |---|---|
    | output layer | $\partial W_2 = \delta_2^T h_1$, $\partial b_2 = \sum \delta_2$ |
    | back through the weights | $\delta_2 W_2$ |
    | back through the sigmoid (slope $h(1 - h)$) | $\delta_1 = \delta_2 W_2 \odot h_1 (1 - h_1)$ |
    | hidden layer | $\partial W_1 = \delta_1^T X$, $\partial b_1 = \sum \delta_1$ |
    """)
    return


@app.cell
def _(W2, X, h1, p, y):
    d2 = ((p - y) / len(y))[:, None]
    dW2, db2 = d2.T @ h1, d2.sum(axis=0)
    d1 = (d2 @ W2) * h1 * (1 - h1)
    dW1, db1 = d1.T @ X, d1.sum(axis=0)

    print("δ2 =", d2[:, 0])
    print("dW2 =", dW2, " db2 =", db2)
    print("δ1 =\n", d1)
    print("dW1 =\n", dW1)
    print("db1 =", db1)
    return dW1, dW2, db1, db2


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A derivative can be checked without the chain rule: the loss at $w + \varepsilon$ less that at
    $w - \varepsilon$, divided by $2 \varepsilon$, is nearly the same number. This is done here for
    all nine parameters.
    """)
    return


@app.cell
def _(W1, W2, X, b1, b2, dW1, dW2, db1, db2, np, pd, sigmoid, y):
    def loss_at(parameters):
        """The loss with the nine parameters in a row."""
        w1, c1, w2, c2 = (
            parameters[:4].reshape(2, 2),
            parameters[4:6],
            parameters[6:8],
            parameters[8],
        )
        q = sigmoid(sigmoid(X @ w1.T + c1) @ w2 + c2)
        return -(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()

    names = ["W1[1,1]", "W1[1,2]", "W1[2,1]", "W1[2,2]", "b1[1]", "b1[2]", "W2[1]", "W2[2]", "b2"]
    before = np.concatenate([W1.ravel(), b1, W2.ravel(), b2])
    gradient = np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])
    EPSILON = 1e-5
    numeric = np.array(
        [
            (loss_at(before + EPSILON * e) - loss_at(before - EPSILON * e)) / (2 * EPSILON)
            for e in np.eye(len(before))
        ]
    )
    assert np.allclose(gradient, numeric, atol=1e-9)
    pd.DataFrame({"chain rule": gradient, "two losses": numeric}, index=names).round(9)
    return before, gradient, loss_at, names


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The step, by hand and by Syvä

    Gradient descent takes $w - \eta \, \partial w$ with the learning rate $\eta = 0.5$. Syvä
    begins with the same weights: `from_torch` makes a model of arrays that are named as PyTorch
    names them, and `start=` begins a training with it. An epoch with a batch of all four rows is
    one step. Syvä calculates with 32-bit numbers, which have about seven decimal digits, and NumPy
    here with 64 bits.
    """)
    return


@app.cell
def _(
    LR,
    W1,
    W2,
    X,
    b1,
    b2,
    before,
    gradient,
    loss,
    loss_at,
    names,
    np,
    pd,
    syva,
    y,
):
    begin = syva.from_torch(
        {"fc1.weight": W1, "fc1.bias": b1, "fc2.weight": W2, "fc2.bias": b2},
        activation="sigmoid",
        head="binary",
        classes=["0", "1"],
    )
    data = {"x1": X[:, 0], "x2": X[:, 1], "y": y.astype(int)}
    step = syva.train(
        data,
        "y",
        validation=data,
        start=begin,
        preset="today",
        numeric=["x1", "x2"],
        scaling="none",
        hidden=(2,),
        activation="sigmoid",
        head="binary",
        optimizer="sgd",
        lr=LR,
        batch_size=4,
        epochs=1,
    )

    by_hand = before - LR * gradient
    by_syva = np.concatenate(
        [part.ravel() for layer in step.model.layers for part in (layer.weight, layer.bias)]
    )
    print(f"loss before: {loss:.7f} by hand, {step.epochs['train_loss'][0]:.7f} by Syvä")
    print(f"loss after: {loss_at(by_hand):.7f} by hand, {step.epochs['val_loss'][0]:.7f} by Syvä")
    print(f"largest difference of a weight: {np.abs(by_hand - by_syva).max():.1e}")
    assert np.allclose(by_hand, by_syva, atol=1e-6)
    pd.DataFrame({"before": before, "by hand": by_hand, "by Syvä": by_syva}, index=names).round(8)
    return (data,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Many steps: XOR

    No straight line divides the answers of XOR, so a network without a hidden layer cannot learn
    it: at best three of four rows are right. Two hidden units are enough. They are not always
    found, though: gradient descent only goes down, and from some initial weights it ends where
    nothing goes further down, with one row or two wrong.

    How often does it succeed? Each seed draws other initial weights. Here the batches are single
    rows.
    """)
    return


@app.cell
def _(data, np, os, pd, syva):
    XOR_EPOCHS = 50 * int(os.environ.get("NOTEBOOK_EPOCHS", "100"))
    SEEDS = range(1, 51)

    def learn(hidden, seed, activation="tanh"):
        """A training on XOR."""
        return syva.train(
            data,
            "y",
            validation=data,
            preset="today",
            numeric=["x1", "x2"],
            scaling="none",
            hidden=hidden,
            activation=activation,
            head="binary",
            lr=0.1,
            batch_size=1,
            epochs=XOR_EPOCHS,
            seed=seed,
            n_jobs=1,
        )

    networks = {"no hidden layer": (), "2": (2,), "3": (3,), "4": (4,), "8": (8,), "4, 4": (4, 4)}
    finals = {
        name: np.array([learn(hidden, seed).epochs["val_acc"][-1] for seed in SEEDS])
        for name, hidden in networks.items()
    }
    success = pd.DataFrame(
        {
            "solved": {
                name: f"{(found == 1).sum()} of {len(found)}" for name, found in finals.items()
            },
            "mean accuracy": {name: found.mean().round(3) for name, found in finals.items()},
        }
    )
    success.index.name = "hidden units"
    success
    return SEEDS, finals, learn


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A solution is two lines, which the hidden units draw, and between them lies one of the two
    classes. The picture shows what a network with two hidden units says of every point, for a seed
    that found a solution and one that did not, if there are both.
    """)
    return


@app.cell
def _(SEEDS, X, finals, learn, np, plt, y):
    def surface(axis, model, title):
        """Draws what a model says of the square."""
        side = np.linspace(-0.5, 1.5, 81)
        points = np.array([(a, b) for b in side for a in side])
        probability = model.predict_proba({"x1": points[:, 0], "x2": points[:, 1]})[:, 1].reshape(
            81, 81
        )
        axis.contourf(
            side, side, probability, levels=np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.8
        )
        axis.contour(side, side, probability, levels=[0.5], colors="black")
        axis.scatter(*X[y == 0].T, marker="o", color="white", edgecolor="black", s=90, label="0")
        axis.scatter(*X[y == 1].T, marker="s", color="black", s=90, label="1")
        axis.set(title=title, xlabel="x1", ylabel="x2", aspect="equal")

    two = finals["2"]
    best, worst = SEEDS[int(two.argmax())], SEEDS[int(two.argmin())]
    squares, _axes = plt.subplots(1, 2, figsize=(9, 4.2))
    for _axis, _seed in zip(_axes, (best, worst), strict=True):
        _run = learn((2,), _seed)
        surface(
            _axis,
            _run.model,
            f"2 hidden units, seed {_seed}: {4 * _run.epochs['val_acc'][-1]:.0f} of 4 right",
        )
    _axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    squares.tight_layout()
    # Closed, it is shown once: where the cell ends with it.
    plt.close(squares)
    squares
    return


if __name__ == "__main__":
    app.run()
