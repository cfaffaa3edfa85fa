# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "anywidget",
#     "marimo",
#     "matplotlib",
#     "numpy",
#     "pandas",
#     "scikit-learn",
#     "syva-ml",
#     "tensorboard",
# ]
#
# [tool.uv.sources]
# syva-ml = { path = "../python" }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A first model: an MLP on MNIST")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # A first model: an MLP on MNIST

    This notebook trains the network of the chapter *Syvät neuroverkot* (deep neural networks) of a
    Finnish deep-learning course: 784-256-128-10 with sigmoid activations, which learns to read
    handwritten digits. The settings, the names and the numbers are those of the chapter. The
    engine is [Syvä](https://github.com/syva-ml/syva) instead of PyTorch.

    1. **The case**: data, model, training, curves, TensorBoard, report, confusion matrix, single
       images.
    2. **The questions** that the chapter leaves open. Does the accuracy vary each time? Does it
       depend on the device? What do the batch size and the shape of the network do? When does the
       network overfit?

    The second part is possible because a training in Syvä has one result, to the bit. What differs
    between two trainings is then what was changed between them.

    A cell can be changed and run again. marimo also runs the cells that depend on it.
    """)
    return


@app.cell
def _():
    import os
    from datetime import datetime
    from itertools import pairwise
    from pathlib import Path

    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    from sklearn.metrics import classification_report, confusion_matrix

    import syva

    plt.style.use("ggplot")

    print("syva", syva.__version__)
    for device in syva.devices():
        print(f"{device.name}: {device.model} ({device.detail})")
    return (
        Path,
        classification_report,
        confusion_matrix,
        datetime,
        np,
        os,
        pairwise,
        pd,
        plt,
        syva,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Settings

    These are the chapter's: plain gradient descent with a learning rate of 0.01, batches of 128
    images, and 100 epochs. One setting is new. `SEED` decides the initial weights and the order of
    the images. The chapter's notebook sets none, so each of its trainings has another result.

    Set `USE_GPU` to train on a graphics card, if the list above has one. The result has the same
    bits on every device whose arithmetic is exact.
    """)
    return


@app.cell
def _(os, syva):
    USE_GPU = False
    LR = 0.01
    # The tests of this notebook train for fewer epochs.
    EPOCHS = int(os.environ.get("NOTEBOOK_EPOCHS", "100"))
    BATCH_SIZE = 128
    HIDDEN = (256, 128)
    SEED = 1

    gpus = [d.name for d in syva.devices() if d.name not in ("cpu", "reference")]
    DEVICE = gpus[0] if USE_GPU and gpus else "cpu"
    return BATCH_SIZE, DEVICE, EPOCHS, HIDDEN, LR, SEED


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Data

    MNIST has 60,000 images for training and 10,000 for validation, 28 × 28 grey pixels each. Syvä
    looks for the files in the folder `$SYVA_MNIST_DIR` and in its cache, and downloads them
    otherwise. Without a network it draws digits of its own. These are easier than MNIST, so all
    numbers below are then other ones.
    """)
    return


@app.cell
def _(BATCH_SIZE, DEVICE, datetime, np, syva):
    try:
        DATA, (train, validation) = "mnist", syva.data.mnist()
    except (OSError, ValueError) as problem:
        print(f"MNIST is not at hand ({problem}).")
        print("This notebook goes on with digits that Syvä draws itself.\n")
        DATA, (train, validation) = "digits", syva.data.digits()

    RUN_NAME = f"{DATA}_mlp_{DEVICE.replace(':', '')}_{datetime.now():%Y%m%d_%H%M%S}"
    steps = -(-len(train.labels) // BATCH_SIZE)
    classes = np.unique(train.labels)

    print("run:", RUN_NAME)
    print(f"training: {train.images.shape}, {train.images.dtype}")
    print(f"validation: {validation.images.shape}")
    print("classes:", classes)
    print(f"an epoch has {len(train.labels):,} / {BATCH_SIZE}, so {steps} steps")
    return DATA, RUN_NAME, train, validation


@app.cell
def _(plt, train):
    samples, _axes = plt.subplots(4, 12, figsize=(10, 3.8))
    for _axis, _image, _label in zip(_axes.flat, train.images, train.labels, strict=False):
        _axis.imshow(_image, cmap="gray_r")
        _axis.set_title(_label, fontsize=9)
        _axis.axis("off")
    samples.tight_layout()
    # Closed, it is shown once: where the cell ends with it.
    plt.close(samples)
    samples
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The network sees standardised pixels: $(x / 255 - 0.1307) / 0.3081$, with the mean and the
    deviation of MNIST's training images. Syvä does that by itself and stores it in the model, so a
    model always takes raw pixels.

    ## Model

    A fully connected layer computes $h = a(Wx + b)$. Its parameters are the weights $W$, one for
    each pair of an input and a unit, and the biases $b$, one for each unit. The activation $a$ of
    the hidden layers is the sigmoid. The last layer has none: its outputs are the *logits*.
    """)
    return


@app.cell
def _(HIDDEN, pairwise, pd):
    def layers_of(widths):
        """The layers of a network, and how many parameters each of them has."""
        pairs = list(pairwise(widths))
        return pd.DataFrame(
            {
                "inputs": [a for a, _ in pairs],
                "units": [b for _, b in pairs],
                "weights": [a * b for a, b in pairs],
                "biases": [b for _, b in pairs],
                "parameters": [(a + 1) * b for a, b in pairs],
            },
            index=[f"fc{k + 1}" for k in range(len(pairs))],
        )

    architecture = layers_of([784, *HIDDEN, 10])
    total = architecture["parameters"].sum()
    print(f"{total:,} parameters, {4 * total / 1024:,.0f} KiB as 32-bit numbers")
    architecture
    return (layers_of,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Training

    The curves grow while the next cell trains. They are a widget: `syva.widgets.Live` is called
    after each epoch.
    """)
    return


@app.cell
def _(EPOCHS, RUN_NAME, syva):
    live = syva.widgets.Live(EPOCHS, title=RUN_NAME, language="en")
    live
    return (live,)


@app.cell
def _(
    BATCH_SIZE,
    DATA,
    DEVICE,
    EPOCHS,
    HIDDEN,
    LR,
    RUN_NAME,
    SEED,
    live,
    syva,
):
    run = syva.train(
        DATA,
        hidden=HIDDEN,
        activation="sigmoid",
        optimizer="sgd",
        lr=LR,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        seed=SEED,
        device=DEVICE,
        out=f"runs/{RUN_NAME}",
        callback=live,
    )
    history = run.history
    seconds = history["train_seconds"] + history["eval_seconds"]

    print(f"{EPOCHS} epochs in {seconds.sum():.1f} s, {seconds.mean():.3f} s each")
    last = history.iloc[-1]
    print(f"training accuracy {last['train_acc']:.2%}, validation accuracy {last['val_acc']:.2%}")
    print("SHA-256 of the weights:", run.model.digest)
    shown = [1, *range(10, EPOCHS + 1, 10)] if EPOCHS >= 10 else history.index
    history.loc[shown, "train_loss":"val_acc"].round(4)
    return history, run, seconds


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The training numbers are gathered during the epoch, while the weights still change; the
    validation numbers come after it. So the validation can be ahead in the first epochs.
    """)
    return


@app.cell
def _(history, plt):
    curves, _axis = plt.subplots(figsize=(10, 6))
    for _name in ("train_loss", "val_loss", "train_acc", "val_acc"):
        _axis.plot(history.index, history[_name], label=_name)
    _axis.set_title("Training Loss and Accuracy")
    _axis.set_xlabel("Epoch")
    _axis.set_ylabel("Loss / Accuracy")
    _axis.legend()
    plt.close(curves)
    curves
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## TensorBoard

    The run's folder has event files as the chapter's notebook writes them, with the same tags:
    `Loss/train_batch` every 50 batches, and `Loss/train_vs_val` and `Accuracy/train_vs_val`, which
    are folders with a curve each. The tabs *Scalars*, *Graphs*, *HParams* and *Text* show them.
    """)
    return


@app.cell
def _(run):
    print(run.folder)
    for _file in sorted(
        path for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"
    ):
        print(f"{_file.stat().st_size:>9,} bytes  {_file.relative_to(run.folder)}")
    print(f"\ntensorboard --logdir {run.folder.parent.resolve()}")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Saving and loading

    `model.safetensors` holds the weights, how the layers are connected, and how pixels are
    standardised. PyTorch reads the same file: its keys are `fc1.weight`, `fc1.bias`, and so on.
    """)
    return


@app.cell
def _(Path, RUN_NAME, run, syva):
    Path("models").mkdir(exist_ok=True)
    file = Path("models") / f"{RUN_NAME}_model.safetensors"
    run.model.save(file)
    model = syva.load(file)
    print(f"{file}: {file.stat().st_size:,} bytes")
    print(model)
    print("the loaded weights are the trained ones:", model.digest == run.model.digest)
    return (model,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Evaluation

    *Precision*: of the images that the model calls a 3, which share is one? *Recall*: of all
    images of a 3, which share does it find? The matrix has a row for each true digit and a column
    for each predicted one, so what is off the diagonal is wrong.
    """)
    return


@app.cell
def _(classification_report, model, validation):
    predicted = model.predict(validation.images)
    print(classification_report(validation.labels, predicted, digits=4, zero_division=0))
    return (predicted,)


@app.cell
def _(confusion_matrix, np, plt, predicted, validation):
    matrix = confusion_matrix(validation.labels, predicted)
    confusion, _axis = plt.subplots(figsize=(6.4, 6))
    _axis.imshow(np.sqrt(matrix), cmap="Blues")
    for _true in range(10):
        for _said in range(10):
            _dark = matrix[_true, _said] > matrix.max() / 3
            _axis.text(
                _said,
                _true,
                matrix[_true, _said],
                ha="center",
                va="center",
                color="white" if _dark else "black",
            )
    _axis.set(xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true")
    _axis.set_title(
        f"{(predicted != validation.labels).sum()} of {len(predicted):,} images are misread"
    )
    _axis.grid(False)
    plt.close(confusion)
    confusion
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Single images

    The network returns logits. Their softmax, $p_k = e^{z_k} / \sum_j e^{z_j}$, makes ten
    probabilities of them. In training the loss does that: cross-entropy takes logits. In
    prediction `predict_proba` does it, and `outputs` returns the logits as they are. The largest
    logit is also the largest probability, so the predicted class needs no softmax at all.
    """)
    return


@app.cell
def _(model, np, pd, validation):
    z = model.outputs(validation.images[:1])[0]
    softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    single = pd.DataFrame(
        {
            "logit": z,
            "softmax": softmax,
            "predict_proba": model.predict_proba(validation.images[:1])[0],
        }
    )
    single.index.name = "digit"
    print("true digit:", validation.labels[0])
    single.round(4)
    return


@app.cell
def marimo_choice(mo, validation):
    choice = mo.ui.slider(
        0,
        len(validation.labels) - 1,
        value=0,
        label="validation image",
        show_value=True,
        full_width=True,
    )
    choice
    return (choice,)


@app.cell
def marimo_image(choice, model, plt, validation):
    chosen, (_left, _right) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=[1, 2])
    _left.imshow(validation.images[choice.value], cmap="gray_r")
    _left.set_title(f"true: {validation.labels[choice.value]}", fontsize=10)
    _left.axis("off")
    _right.bar(
        range(10), model.predict_proba(validation.images[choice.value : choice.value + 1])[0]
    )
    _right.set(ylim=(0, 1), xticks=range(10), ylabel="probability")
    plt.close(chosen)
    chosen
    return


@app.cell
def _(model, np, plt, predicted, validation):
    # The misread images of whose wrong digit the model is surest.
    probabilities = model.predict_proba(validation.images)
    wrong = np.flatnonzero(predicted != validation.labels)
    surest = wrong[np.argsort(-probabilities[wrong].max(axis=1))][:12]

    misread, _axes = plt.subplots(2, 6, figsize=(10, 4.2))
    for _axis, _k in zip(_axes.flat, surest, strict=False):
        _axis.imshow(validation.images[_k], cmap="gray_r")
        _axis.set_title(
            f"{validation.labels[_k]} read as {predicted[_k]}\n{probabilities[_k].max():.1%} sure",
            fontsize=9,
        )
    for _axis in _axes.flat:
        _axis.axis("off")
    misread.tight_layout()
    plt.close(misread)
    misread
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # The questions

    ## Does the same training give the same network?

    In most frameworks it does not. Sums are split among threads in an order that varies, so they
    are rounded differently, and after thousands of steps the weights differ. Syvä adds in one
    fixed order. A digest, the SHA-256 of all weights, shows whether even one bit of them differs.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, SEED, pd, syva):
    REPEAT_EPOCHS = min(EPOCHS, 2)
    repeats = {
        "one thread": {"n_jobs": 1},
        "two threads": {"n_jobs": 2},
        "all cores": {"n_jobs": -1},
        "all cores, again": {"n_jobs": -1},
        "another seed": {"n_jobs": -1, "seed": SEED + 1},
    }
    same = {"epochs": REPEAT_EPOCHS, "lr": LR, "seed": SEED}
    digests = {
        _name: syva.train(DATA, hidden=HIDDEN, **(same | _settings)).model.digest
        for _name, _settings in repeats.items()
    }
    for _name, _digest in digests.items():
        print(f"{_name:18} {_digest}")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The same holds between machines. This is the digest of the chapter's training, 100 epochs with
    the seed 1, as the manual shows it.
    """)
    return


@app.cell
def _(BATCH_SIZE, DATA, EPOCHS, HIDDEN, LR, SEED, run):
    MANUAL = "9df504ef289900be62589c7d1605792ca8b1f99eddddc9e854cf35e0643c3f80"
    is_chapter = (DATA, EPOCHS, LR, BATCH_SIZE, HIDDEN, SEED) == (
        "mnist",
        100,
        0.01,
        128,
        (256, 128),
        1,
    )
    print("manual:", MANUAL)
    print("here:  ", run.model.digest)
    if is_chapter:
        print("the same bits" if run.model.digest == MANUAL else "other bits: please report it")
    else:
        print("these are other settings or other data, so the weights are other ones")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Does the accuracy vary from training to training?

    It varies with the seed, since that decides the initial weights and the order of the images. To
    see how much, five seeds are trained here. To save time, the learning rate is ten times as
    large and the epochs are a tenth: small steps go about as far as a tenth as many that are ten
    times as long.

    The accuracies in the chapter's table of devices, 95.35, 95.18, 95.21 and 95.14 %, have a
    standard deviation of 0.09 percentage points. If the seeds alone spread as much, then the table
    says nothing about devices.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, pd, plt, syva):
    SEED_EPOCHS = min(EPOCHS, 10)
    accuracies = pd.Series(
        {
            _seed: syva.train(
                DATA, hidden=HIDDEN, lr=10 * LR, epochs=SEED_EPOCHS, seed=_seed
            ).epochs["val_acc"][-1]
            for _seed in range(1, 6)
        },
        name="validation accuracy",
    )
    chapter_accuracies = pd.Series(
        {"MacBook CPU": 95.35, "MacBook MPS": 95.18, "PC CPU": 95.21, "PC CUDA": 95.14}
    )

    spread, _axis = plt.subplots(figsize=(8, 2.2))
    _axis.scatter(100 * accuracies, ["five seeds"] * 5, s=60, alpha=0.7)
    _axis.scatter(chapter_accuracies, ["chapter's devices"] * 4, s=60, alpha=0.7, marker="D")
    _axis.set_xlabel("validation accuracy, %")
    _axis.margins(y=0.5)
    spread.tight_layout()

    for _name, _found in (
        ("five seeds", 100 * accuracies),
        ("chapter's devices", chapter_accuracies),
    ):
        print(f"{_name}: mean {_found.mean():.2f} %, deviation {_found.std():.2f} points")
    plt.close(spread)
    spread
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## How long does an epoch take?

    The first four rows are the chapter's: PyTorch on a MacBook Pro with an M2 Max, and on a PC
    with an i7-12700F and an RTX 3060 Ti. The last row is this notebook's training above.
    Processors and engines differ at once, so the table does not say which of them made the
    difference.

    Why is the graphics card no faster in the chapter? The network is small. A step multiplies 128
    images with 235,146 parameters, which takes a card microseconds. Preparing the images, starting
    its many small programs, and waiting for them takes longer than the arithmetic. A card is worth
    its price for wide networks and large batches.
    """)
    return


@app.cell
def _(DEVICE, history, pd, seconds):
    speeds = pd.DataFrame(
        [
            ("MacBook Pro (CPU)", 2.9, 288, 95.35),
            ("MacBook Pro (MPS)", 3.7, 372, 95.18),
            ("PC (CPU)", 3.2, 322, 95.21),
            ("PC (CUDA)", 3.3, 330, 95.14),
            (
                f"here, Syvä ({DEVICE})",
                seconds.mean(),
                seconds.sum(),
                100 * history["val_acc"].iloc[-1],
            ),
        ],
        columns=["device", "s per epoch", "s in all", "validation accuracy, %"],
    )
    speeds.round({"s per epoch": 3, "s in all": 1, "validation accuracy, %": 2})
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## What does the batch size do?

    A larger batch makes fewer steps in an epoch. At one and the same learning rate it therefore
    gets less far, and seems to be worse. If the rate grows with the batch, most of that difference
    goes away. The batch size is then a question of time: small batches pay for each step, and
    large ones use the processor better.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, SEED, np, pd, syva, train):
    FEW_EPOCHS = min(EPOCHS, 3)
    batch_rows = []
    for _size in (16, 128, 1024):
        for _kind, _lr in (("the same", 0.1), ("in proportion", 0.1 * _size / 128)):
            _run = syva.train(
                DATA, hidden=HIDDEN, lr=_lr, batch_size=_size, epochs=FEW_EPOCHS, seed=SEED
            )
            batch_rows.append(
                {
                    "batch": _size,
                    "steps per epoch": -(-len(train.labels) // _size),
                    "learning rate": _kind,
                    "rate": _lr,
                    "validation accuracy, %": round(100 * _run.epochs["val_acc"][-1], 2),
                    "s per epoch": round(float(np.mean(_run.epochs["train_seconds"])), 3),
                }
            )
    pd.DataFrame(batch_rows)
    return (FEW_EPOCHS,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Deep or wide?

    Networks of 1,000 hidden units do not all take the same memory. What is stored is a weight for
    each *pair* of units in neighbouring layers, so the shape decides.
    """)
    return


@app.cell
def _(layers_of, pd):
    shapes = {
        "2 × 500": [500] * 2,
        "5 × 200": [200] * 5,
        "funnel 400-300-200-100": [400, 300, 200, 100],
    }
    pd.DataFrame(
        {
            "hidden units": {_name: sum(_widths) for _name, _widths in shapes.items()},
            "parameters": {
                _name: layers_of([784, *_widths, 10])["parameters"].sum()
                for _name, _widths in shapes.items()
            },
        }
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    A fair comparison gives each network the same number of *parameters*, here as many as the
    chapter's network has. $K$ is the number of hidden layers and $D_k$ their width. Deep networks
    of sigmoids do not learn at all: the sigmoid's slope is at most ¼, so the gradient all but
    vanishes on its way through the layers. With ReLU and He's initial weights they do learn.
    Whether deeper is better is thus also a question of whether the network can be trained.
    """)
    return


@app.cell
def _(DATA, FEW_EPOCHS, SEED, layers_of, pd, syva):
    family = {1: 295, 2: 229, 3: 197, 5: 162, 8: 134}
    depth_rows = []
    for _layers, _width in family.items():
        _row = {
            "K": _layers,
            "D_k": _width,
            "parameters": layers_of([784, *[_width] * _layers, 10])["parameters"].sum(),
        }
        for _activation, _init in (("sigmoid", "pytorch"), ("relu", "he-normal")):
            _run = syva.train(
                DATA,
                hidden=(_width,) * _layers,
                activation=_activation,
                init=_init,
                lr=0.1,
                epochs=FEW_EPOCHS,
                seed=SEED,
            )
            _row[f"{_activation}, %"] = round(100 * _run.epochs["val_acc"][-1], 2)
        depth_rows.append(_row)
    depths = pd.DataFrame(depth_rows).set_index("K")
    depths
    return (depths,)


@app.cell
def _(FEW_EPOCHS, depths, plt):
    by_depth, _axis = plt.subplots(figsize=(8, 3.4))
    _axis.plot(depths.index, depths["sigmoid, %"], "o-", label="sigmoid")
    _axis.plot(depths.index, depths["relu, %"], "s--", label="ReLU")
    _axis.axhline(10, color="gray", linestyle=":", label="guessing")
    _axis.set(
        xlabel="hidden layers K, at equal parameters",
        ylabel="validation accuracy, %",
        ylim=(0, 100),
    )
    _axis.set_title(f"after {FEW_EPOCHS} epochs")
    _axis.legend()
    plt.close(by_depth)
    by_depth
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## When does it overfit?

    The chapter goes on to 500 epochs. There the network reads 99.79 % of the training images and
    98.15 % of the validation images, and the two losses have come apart: it learns the training
    images by heart. The training here is a shortened one of 50 epochs with ten times the learning
    rate, which ends at almost the same numbers.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, SEED, plt, syva):
    LONG_EPOCHS = min(EPOCHS, 50)
    long_run = syva.train(DATA, hidden=HIDDEN, lr=10 * LR, epochs=LONG_EPOCHS, seed=SEED)
    long = long_run.history
    end = long.iloc[-1]
    print(f"training {end['train_acc']:.2%}, validation {end['val_acc']:.2%}")
    print(f"gap of the losses: {end['val_loss'] - end['train_loss']:.4f}")

    overfit, (_left, _right) = plt.subplots(1, 2, figsize=(10, 3.8))
    _from = LONG_EPOCHS // 5
    for _part, _line in (("train", "-"), ("val", "--")):
        _left.plot(
            long.index[_from:], long[f"{_part}_loss"].iloc[_from:], _line, label=f"{_part}_loss"
        )
        _right.plot(
            long.index[_from:], 100 * long[f"{_part}_acc"].iloc[_from:], _line, label=f"{_part}_acc"
        )
    _left.set(title="Loss", xlabel="Epoch")
    _right.set(title="Accuracy, %", xlabel="Epoch")
    _left.legend()
    _right.legend()
    overfit.tight_layout()
    plt.close(overfit)
    overfit
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Further

    Change a setting, and look at what it does: `activation="relu"`, `optimizer="adam"`,
    `dropout=0.2`, `HIDDEN = (512, 512)`. The other notebooks are about tables, about the hand
    calculation, and about PyTorch.
    """)
    return


if __name__ == "__main__":
    app.run()
