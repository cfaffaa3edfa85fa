# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "marimo",
#     "numpy",
#     "onnx",
#     "onnxruntime",
#     "pandas",
#     "syva-ml",
#     "torch",
# ]
#
# [tool.uv.sources]
# syva-ml = { path = "../python" }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="From PyTorch and back")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # From PyTorch and back

    A network that PyTorch trained goes on training here, and one that is trained here runs in
    PyTorch, or anywhere that ONNX does. This notebook takes a network of digits all the way
    around, and compares the outputs at each station. The digits are those that Syvä draws itself,
    so nothing is downloaded.
    """)
    return


@app.cell
def _():
    import os
    from pathlib import Path

    import numpy as np
    import onnxruntime
    import pandas as pd
    import torch

    import syva

    EPOCHS = int(os.environ.get("NOTEBOOK_EPOCHS", "5"))
    # The files that this notebook writes.
    FOLDER = Path("models")
    FOLDER.mkdir(exist_ok=True)

    train, validation = syva.data.digits()
    print("torch", torch.__version__, "syva", syva.__version__)
    return EPOCHS, FOLDER, np, onnxruntime, pd, syva, torch, train, validation


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## A network in PyTorch

    The course's network, trained for one epoch by PyTorch's own loop. Its inputs are standardised
    pixels.
    """)
    return


@app.cell
def _(torch, train, validation):
    def pixels(images):
        """Standardised pixels, as the course's notebooks make them."""
        return (torch.from_numpy(images.reshape(len(images), -1)).float() / 255 - 0.1307) / 0.3081

    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Linear(784, 256),
        torch.nn.Sigmoid(),
        torch.nn.Linear(256, 128),
        torch.nn.Sigmoid(),
        torch.nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    inputs, labels = pixels(train.images), torch.from_numpy(train.labels)
    for batch in torch.randperm(len(labels)).split(128):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
        optimizer.step()

    with torch.no_grad():
        torch_outputs = network(pixels(validation.images)).numpy()
    torch_accuracy = (torch_outputs.argmax(axis=1) == validation.labels).mean()
    print(f"PyTorch, one epoch: {torch_accuracy:.2%}")
    return network, pixels, torch_outputs


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## From PyTorch

    `from_torch` takes a `Sequential`, or a state dict with the name of the activation. The model
    has the same weights, bit for bit. Its outputs differ in the last digits, since the two engines
    add in another order.
    """)
    return


@app.cell
def _(network, np, pixels, syva, torch_outputs, validation):
    model = syva.from_torch(network)
    from_dict = syva.from_torch(network.state_dict(), activation="sigmoid")
    print(model)
    print("the same from the state dict:", model.digest == from_dict.digest)

    same_weights = all(
        np.array_equal(layer.weight, linear.weight.detach().numpy())
        for layer, linear in zip(model.layers, network[::2], strict=True)
    )
    difference = np.abs(model.outputs(pixels(validation.images).numpy()) - torch_outputs).max()
    print("the weights are the same bits:", same_weights)
    print(f"largest difference of a logit: {difference:.1e}")
    assert same_weights and difference < 1e-4
    return (model,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Training on

    `start=` begins a training with these weights. The set `digits` brings the standardisation, so
    the model that comes out takes raw pixels.
    """)
    return


@app.cell
def _(EPOCHS, model, syva):
    run = syva.train(
        "digits", hidden=(256, 128), activation="sigmoid", start=model, lr=0.1, epochs=EPOCHS
    )
    print(f"PyTorch's epoch and {EPOCHS} of Syvä's: {run.epochs['val_acc'][-1]:.2%}")
    run
    return (run,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Back to PyTorch

    There are three ways. `to_torch` returns the layers, which take standardised pixels. The file
    of weights has the keys of a network with the attributes `fc1`, `fc2`, `fc3`. `export` writes a
    Python module that loads the file and takes raw pixels.
    """)
    return


@app.cell
def _(FOLDER, pixels, run, torch, validation):
    from importlib.util import module_from_spec, spec_from_file_location

    from safetensors.torch import load_file

    expected = run.model.outputs(validation.images)

    layers = run.model.to_torch()
    with torch.no_grad():
        from_layers = layers(pixels(validation.images)).numpy()

    class MLP(torch.nn.Module):
        """The course's class."""

        def __init__(self):
            super().__init__()
            self.fc1 = torch.nn.Linear(784, 256)
            self.fc2 = torch.nn.Linear(256, 128)
            self.fc3 = torch.nn.Linear(128, 10)

        def forward(self, x):
            """Standardised pixels to logits."""
            x = torch.sigmoid(self.fc1(x))
            x = torch.sigmoid(self.fc2(x))
            return self.fc3(x)

    run.model.save(FOLDER / "digits.safetensors")
    mlp = MLP()
    mlp.load_state_dict(load_file(FOLDER / "digits.safetensors"))
    with torch.no_grad():
        from_keys = mlp(pixels(validation.images)).numpy()

    run.model.export(FOLDER / "exported.py")
    specification = spec_from_file_location("exported", FOLDER / "exported.py")
    exported = module_from_spec(specification)
    specification.loader.exec_module(exported)
    with torch.no_grad():
        raw = torch.from_numpy(validation.images.reshape(-1, 784)).float()
        from_export = exported.load(FOLDER / "exported.safetensors")(raw).numpy()

    print((FOLDER / "exported.py").read_text())
    return expected, from_export, from_keys, from_layers


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## ONNX

    The ONNX file takes raw pixels, too. ONNX Runtime runs it without PyTorch and without Syvä: in
    a browser, on a telephone, in C#.
    """)
    return


@app.cell
def _(FOLDER, np, onnxruntime, run, validation):
    run.model.export(FOLDER / "digits.onnx")
    session = onnxruntime.InferenceSession(
        FOLDER / "digits.onnx", providers=["CPUExecutionProvider"]
    )
    for _side, _values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for _value in _values:
            print(f"{_side} {_value.name}: {_value.type} {_value.shape}")
    onnx_classes, onnx_probabilities = session.run(
        None, {"input": validation.images.astype(np.float32)}
    )
    return onnx_classes, onnx_probabilities


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## What they make of it

    All stations predict the same digits. What differs is rounding.
    """)
    return


@app.cell
def _(
    expected,
    from_export,
    from_keys,
    from_layers,
    np,
    onnx_classes,
    onnx_probabilities,
    pd,
    run,
    validation,
):
    syva_probabilities = run.model.predict_proba(validation.images)
    stations = {
        "to_torch()": (from_layers.argmax(axis=1), np.abs(from_layers - expected).max()),
        "load_state_dict": (from_keys.argmax(axis=1), np.abs(from_keys - expected).max()),
        "export('exported.py')": (from_export.argmax(axis=1), np.abs(from_export - expected).max()),
        "export('digits.onnx')": (
            onnx_classes,
            np.abs(onnx_probabilities - syva_probabilities).max(),
        ),
    }
    table = pd.DataFrame(
        {
            "accuracy": {
                name: (found == validation.labels).mean() for name, (found, _) in stations.items()
            },
            "other digits than Syvä": {
                name: (found != expected.argmax(axis=1)).sum()
                for name, (found, _) in stations.items()
            },
            "largest difference": {
                name: f"{difference:.1e}" for name, (_, difference) in stations.items()
            },
        }
    )
    assert all(float(d) < 1e-4 for d in table["largest difference"])
    table
    return


if __name__ == "__main__":
    app.run()
