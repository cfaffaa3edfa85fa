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
app = marimo.App(width="medium", app_title="Linear regions")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Linear regions

    A ReLU network is made of flat pieces: between the places where a unit turns on or off, its
    output is a straight line or a plane. This notebook counts the pieces exactly, in networks that
    are built by hand, and in one that learns. The names are those of chapters 3 and 4 of
    *Understanding Deep Learning* (S. Prince, udlbook.github.io).
    """)
    return


@app.cell
def _():
    import os
    from itertools import pairwise

    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    import syva

    EPOCHS = int(os.environ.get("NOTEBOOK_EPOCHS", "200"))
    return EPOCHS, np, pairwise, pd, plt, syva


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## One input: a shallow network

    Three hidden units draw three joints. `syva.regions` finds them as fractions, without rounding.
    """)
    return


@app.cell
def _(np, plt, syva):
    def network(*layers):
        """A ReLU network with the given weights and biases of each layer."""
        state = {}
        for number, (weights, biases) in enumerate(layers, 1):
            state[f"fc{number}.weight"] = np.array(weights, dtype=np.float32)
            state[f"fc{number}.bias"] = np.array(biases, dtype=np.float32)
        return syva.from_torch(state, activation="relu", head="regression")

    theta = [[-1.0], [1.0], [1.0]], [0.25, 0.25, -0.5]
    phi = [[-1.0, -2.0, 3.0]], [0.5]
    shallow = syva.regions(network(theta, phi), [(-1, 1)])
    print(shallow)
    print("joints:", [str(end) for end in shallow.ends[1:-1]])
    print("slopes:", shallow.gradients[:, 0, 0])

    curve, _axis = plt.subplots(figsize=(5, 3.2))
    shallow.plot(_axis)
    _axis.set(xlabel="x", title=f"{shallow.linear_regions} linear regions")
    plt.close(curve)
    curve
    return (network,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Folding: one network after another

    A network that goes up, down and up again maps three different inputs to each output. What
    follows it is therefore drawn three times. Each further copy multiplies the pieces by three,
    while its parameters only add up.
    """)
    return


@app.cell
def _(network, pd, plt, syva):
    # From -1 to 1, this goes up, down and up again: its joints are at -1/3 and 1/3.
    FOLD = [[3.0], [6.0], [6.0]], [3.0, 2.0, -2.0]
    SUM = [[1.0, -1.0, 1.0]], [-1.0]

    def folded(copies):
        """The fold, so many times. A sum and the next fold's units are one layer."""
        layers = [FOLD]
        for _ in range(copies - 1):
            weights = [[w[0] * s for s in SUM[0][0]] for w in FOLD[0]]
            biases = [w[0] * SUM[1][0] + b for w, b in zip(*FOLD, strict=True)]
            layers.append((weights, biases))
        return network(*layers, SUM)

    found = [syva.regions(folded(copies), [(-1, 1)]) for copies in range(1, 7)]
    folds, _axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True)
    for _axis, _copies in zip(_axes, (1, 2, 3), strict=True):
        found[_copies - 1].plot(_axis)
        _count = found[_copies - 1].linear_regions
        _axis.set(title=f"fold × {_copies}: {_count} regions", xlabel="x")
    folds.tight_layout()
    plt.close(folds)

    assert [each.linear_regions for each in found] == [3**copies for copies in range(1, 7)]
    parameters = [3 * 2 + (copies - 1) * (3 * 3 + 3) + 4 for copies in range(1, 7)]
    counts = pd.DataFrame(
        {
            "copies": range(1, 7),
            "parameters": parameters,
            "linear regions": [each.linear_regions for each in found],
            "at most": [each.at_most for each in found],
        }
    )
    folds
    return (counts,)


@app.cell
def _(counts):
    counts
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    *At most* is what networks of these widths can have, with any weights: with one input it is the
    product of all $D_k + 1$, and some weights reach it.

    ## Deep or shallow?

    With the same number of parameters, a deep network *can* have many more regions than a shallow
    one. For several inputs only bounds are known: some weights reach the first number, none more
    than the second.
    """)
    return


@app.cell
def _(pairwise, pd, syva):
    def parameters_of(inputs, hidden):
        """The weights and biases of a network with one output."""
        widths = [inputs, *hidden, 1]
        return sum((a + 1) * b for a, b in pairwise(widths))

    shapes = {"shallow": (72,), "two layers": (15, 14), "four layers": (8, 9, 8, 8)}
    rows = {
        name: {
            "hidden": ", ".join(map(str, hidden)),
            "parameters": parameters_of(2, hidden),
            "some weights reach": f"{syva.region_bounds(2, hidden)[0]:,}",
            "at most": f"{syva.region_bounds(2, hidden)[1]:,}",
        }
        for name, hidden in shapes.items()
    }
    pd.DataFrame(rows).T
    return (shapes,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Two inputs: what training makes of it

    Do trained networks use all these regions? The three networks learn to tell the inside of a
    ring from its outside. Colours are classes, thin lines are the edges of linear regions, and the
    thick line is the decision boundary.
    """)
    return


@app.cell
def _(EPOCHS, np, pd, plt, shapes, syva):
    random = np.random.default_rng(1)
    points = random.uniform(-2, 2, (600, 2))
    radius = np.hypot(*points.T)
    inside = np.where((radius > 0.7) & (radius < 1.6), "in", "out")
    ring = pd.DataFrame({"x": points[:, 0], "y": points[:, 1], "ring": inside})

    def learn(hidden):
        """A ReLU network that was trained on the ring."""
        return syva.train(
            ring,
            "ring",
            preset="today",
            scaling="none",
            hidden=hidden,
            activation="relu",
            optimizer="adam",
            lr=0.01,
            batch_size=32,
            epochs=EPOCHS,
        )

    trained = {name: learn(hidden) for name, hidden in shapes.items()}
    maps = {name: syva.regions(run, [(-2, 2), (-2, 2)]) for name, run in trained.items()}
    pictures, _axes = plt.subplots(1, 3, figsize=(11, 3.9))
    for _axis, (_name, _map) in zip(_axes, maps.items(), strict=True):
        _map.plot(_axis)
        _axis.set(title=f"{_name}: {_map.linear_regions} linear regions", aspect="equal")
    pictures.tight_layout()
    plt.close(pictures)
    pictures
    return maps, trained


@app.cell
def _(maps, pd, trained):
    pd.DataFrame(
        {
            name: {
                "val accuracy": f"{max(trained[name].epochs['val_acc']):.3f}",
                "activation regions": f"{found.activation_regions:,}",
                "linear regions": f"{found.linear_regions:,}",
                "at most": f"{found.at_most:,}",
                "margin": f"{found.margin:.1e}",
            }
            for name, found in maps.items()
        }
    ).T
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Trained networks use little of what is possible, and depth does not make many more regions by
    itself: the number grows with the number of units (Hanin and Rolnick 2019). A margin is the
    smallest value whose sign decided about a region; it is far above rounding errors, so the counts
    are certain.
    """)
    return


if __name__ == "__main__":
    app.run()
