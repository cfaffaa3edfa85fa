"""Trained networks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _columns, _native, _settings

if TYPE_CHECKING:
    import torch


class Layer:
    """A layer's weights `[units, inputs]`, biases `[units]`, and the name of its activation."""

    __slots__ = ("activation", "bias", "weight")

    def __init__(self, weight: np.ndarray, bias: np.ndarray, activation: str) -> None:
        self.weight = weight
        self.bias = bias
        self.activation = activation

    def __repr__(self) -> str:
        units, inputs = self.weight.shape
        return f"Layer({inputs} -> {units}, {self.activation})"


class Model:
    """A network with its weights, and with the columns that its inputs are made of.

    It is what `model.safetensors` of a run holds. It never changes, can be used by several threads at once, and is pickled
    as the bytes of its file.

    >>> import numpy as np, syva
    >>> x = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> run = syva.train((x, np.sin(3 * x[:, 0])), hidden=(16,), activation="tanh", epochs=20, out=None, preset="today")
    >>> run.model.predict([[0.5]]).shape
    (1,)
    """

    __slots__ = ("_labels", "_native", "_task")

    def __init__(self, native: _native.Model) -> None:
        self._native = native
        self._task = native.task
        self._labels = _labels(native.classes or [])

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """The model in the bytes of a file."""
        return cls(_native.Model.from_bytes(data, _settings.threads(None)))

    def to_bytes(self) -> bytes:
        """The bytes of its file. Equal models have equal bytes."""
        return self._native.to_bytes()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes its file, which the command `syva` reads as well."""
        self._native.save(os.fspath(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return Model.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def task(self) -> str:
        """`classes`, `labels` or `numbers`."""
        return self._task

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, in the order of their probabilities. None if it predicts none."""
        return self._native.classes

    @property
    def columns(self) -> list[str] | None:
        """The columns that its inputs are made of. None if it does not name them."""
        columns = self._native.columns
        return None if columns is None else [name for name, _ in columns]

    @property
    def targets(self) -> list[str]:
        """The columns that it predicts."""
        return self._native.targets

    @property
    def digest(self) -> str:
        """The SHA-256 of its weights, which `syva summary` shows."""
        return self._native.digest

    @property
    def parameters(self) -> int:
        """The number of its weights, biases and gains."""
        return self._native.parameters

    @property
    def widths(self) -> str:
        """The widths of its layers, such as 784-256-128-10."""
        return self._native.widths

    @property
    def head(self) -> str:
        """What its outputs mean, such as logits or regression."""
        return self._native.head

    @property
    def layers(self) -> list[Layer]:
        """Its layers, as copies."""
        return [Layer(weight, bias, activation) for activation, weight, bias in self._native.layers]

    def _rows(self, data: Any) -> Any:
        """Rows as the native module takes them."""
        if isinstance(data, (list, tuple)):
            data = np.asarray(data)
        # A batch of images.
        if getattr(data, "ndim", 2) > 2:
            data = np.asanyarray(data).reshape(len(data), -1)
        columns = _columns.columns(data)
        read, inputs = self._native.columns, self._native.inputs
        if read is None:
            numbers = columns.numbers()
            if numbers.shape[1] != inputs == numbers.size:
                raise ValueError(
                    f"this is one image of {numbers.shape[0]} x {numbers.shape[1]}, and images are [N, height, width]; "
                    "give image[None]"
                )
            return numbers
        names = [name for name, _ in read]
        # Of a model that was trained on an array, columns are x0, x1, …; of others, an array has those that the model names.
        is_known = set(names) <= set(columns.names)
        if not columns.named and not is_known and len(columns.names) == len(names):
            columns.names = names
        columns.name_categories(name for name, is_number in read if not is_number)
        # The native module checks the width of a matrix, and does not look for columns in it.
        in_order = not is_known or names == columns.names[: len(names)]
        is_matrix = columns.matrix is not None and not columns.named and in_order
        return columns.matrix if is_matrix else columns.table()

    def predict(self, data: Any) -> np.ndarray:
        """What the model predicts for each row of an array or a data frame.

        Of classes, their names `[rows]`, or numbers if that is what they are called; of labels, 0 or 1 for each
        `[rows, labels]`; of numbers, these, `[rows]` or `[rows, targets]`. Columns of a data frame are found by their
        names, and missing values are dealt with as in the training. Inputs of a model without names are an array of raw
        values `[rows, inputs]`; images may have any shape.

        Raises ValueError if a column is missing, or a value has another kind than in the training.
        """
        found = self._native.predict(self._rows(data))
        if self.task == "classes":
            return self._labels[found.argmax(axis=1)]
        if self.task == "labels":
            return (found > 0.5).astype(np.int64)
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_proba(self, data: Any) -> np.ndarray:
        """The probabilities `[rows, classes]` of a classifier's classes, or of labels."""
        if self.task == "numbers":
            raise ValueError("this model predicts numbers, which have no probabilities; use predict")
        return self._native.predict(self._rows(data))

    def predict_std(self, data: Any) -> np.ndarray:
        """The standard deviations that a model with the head gaussian predicts beside its numbers."""
        found = self._native.deviations(self._rows(data))
        if found is None:
            raise ValueError(f"a model with the head {self.head} predicts no deviations; train one with head='gaussian'")
        return found[:, 0] if found.shape[1] == 1 else found

    def evaluate(self, data: Any, y: Any) -> dict[str, Any]:
        """How well it predicts rows whose targets `y` are known: the scores that `syva eval --json` has.

        Of classes, among others `accuracy`, `balanced_accuracy`, `log_loss`, `auroc_macro`, `confusion` (an array
        `[true, predicted]` in the order of `classes`), and `report`: precision, recall, f1 and support by the names of the
        classes. Of labels, `label_accuracy`, `precision`, `recall`, `f1`, and `auroc` of each. Of numbers, `targets`: mse,
        rmse, mae, median_absolute_error and r2 by the names of the targets.

        Raises ValueError if a target is missing, or is a class that the model does not know.
        """
        predicted = self._native.predict(self._rows(data))
        truth = self._truth(y, predicted.shape[1])
        if len(truth) != len(predicted):
            raise ValueError(f"y has {len(truth)} rows, and the data has {len(predicted)}; give as many")
        found: dict[str, Any] = json.loads(self._native.scores(predicted, truth))
        if self.task == "classes":
            found["report"] = dict(zip(self.classes or [], found["report"]["classes"], strict=True))
            found["confusion"] = np.array(found["confusion"])
        return found

    def _truth(self, y: Any, width: int) -> np.ndarray:
        """Targets `[rows, targets]` as numbers: classes are the places of their names."""
        from .run import target_columns

        cells = [cells for _, cells in target_columns(y, [])]
        wanted = 1 if self.task == "classes" else width
        if len(cells) != wanted:
            raise ValueError(f"y has {len(cells)} columns, and the model predicts {wanted}; give a column for each")
        if self.task == "classes":
            places = {name: place for place, name in enumerate(self.classes or [])}
            numbers = [_places(cells[0], places)]
        elif (text := [one for one in cells if isinstance(one, tuple)]) and self.task == "numbers":
            raise ValueError(f"y has texts, such as '{text[0][0][0]}'; give numbers")
        else:
            numbers = [_places(one, {"0": 0, "1": 1}) if self.task == "labels" else np.asarray(one) for one in cells]
        truth = np.column_stack(numbers).astype(np.float64)
        if np.isnan(truth).any():
            raise ValueError("y has missing values; leave these rows out")
        return truth

    def outputs(self, data: Any) -> np.ndarray:
        """The outputs of the network `[rows, outputs]` as they are: logits, or values as they were learned."""
        return self._native.outputs(self._rows(data))

    def export(self, path: str | os.PathLike[str]) -> None:
        """Writes an .onnx file that takes raw columns, or PyTorch code (.py) with the model's file beside it."""
        path = Path(path)
        weights = path.with_suffix(".safetensors")
        self._native.export(path, weights.name)
        if path.suffix == ".py":
            self.save(weights)

    def to_torch(self) -> torch.nn.Sequential:
        """The layers as a `torch.nn.Sequential`, without what comes before them (columns, scales, embeddings) and after.

        It takes scaled inputs, also of images: `export("m.py")` writes code that takes raw ones.
        """
        import torch

        modules: list[torch.nn.Module] = []
        layers = self.layers
        for k, layer in enumerate(layers):
            linear = torch.nn.Linear(*reversed(layer.weight.shape))
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(layer.weight))
                linear.bias.copy_(torch.from_numpy(layer.bias))
            modules.append(linear)
            if k + 1 < len(layers):
                modules.append(_torch_activation(layer.activation))
        return torch.nn.Sequential(*modules)

    def _repr_html_(self) -> str:
        from ._html import model

        return model(self)

    def __repr__(self) -> str:
        what = {"classes": "classifier", "labels": "labels", "numbers": "regression"}[self.task]
        return f"Model({self.widths}, {what}, {self.parameters:,} parameters, {self.digest[:12]})"


def _places(cells: _columns.Cells, places: dict[str, int]) -> np.ndarray:
    """The places of cells among names, as numbers. What is missing has none."""
    if isinstance(cells, np.ndarray):
        values, which = np.unique(cells, return_inverse=True)
        cells = [_columns._text("y", value) for value in values.tolist()], np.where(np.isnan(cells), -1, which)
    texts, which = cells
    occurring = set(which.tolist())
    unknown = [text for k, text in enumerate(texts) if k in occurring and text not in places]
    if unknown:
        raise ValueError(f"y has '{unknown[0]}', which is not one of {', '.join(list(places)[:20])}")
    return np.array([*(places.get(text, np.nan) for text in texts), np.nan])[which]


def _labels(names: list[str]) -> np.ndarray:
    """Classes as whole numbers if they are called by such, otherwise by their names."""
    if names and all(re.fullmatch("0|-?[1-9][0-9]{0,17}", name) for name in names):
        return np.array([int(name) for name in names])
    return np.array(names)


# What a layer's activation is called in torch.nn, by its name here.
_TORCH = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {}),
    "gelu-tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "hard-sigmoid": ("Hardsigmoid", {}),
    "hard-swish": ("Hardswish", {}),
    "identity": ("Identity", {}),
}

# Activations with a parameter: what torch.nn calls them and it, what it is called here, and its default.
_PARAMETRIC = {
    "leaky-relu": ("LeakyReLU", "negative_slope", "slope", 0.01),
    "elu": ("ELU", "alpha", "alpha", 1.0),
    "softplus": ("Softplus", "beta", "beta", 1.0),
}


def _torch_activation(name: str) -> torch.nn.Module:
    import torch

    kind, _, parameter = name.partition(":")
    if kind in _PARAMETRIC:
        module, argument, _, default = _PARAMETRIC[kind]
        value = float(parameter.partition("=")[2] or default)
        return getattr(torch.nn, module)(**{argument: value})
    if name not in _TORCH:
        raise ValueError(f"activation {name} has no module of torch.nn; export('model.py') writes code for it")
    module, arguments = _TORCH[name]
    return getattr(torch.nn, module)(**arguments)


def _activation_of(module: torch.nn.Module) -> str | None:
    """The name here of a module of torch.nn, if it is an activation."""
    kind = type(module).__name__
    if kind == "Softplus" and module.threshold != 20:
        return None
    if kind == "GELU":
        return "gelu-tanh" if getattr(module, "approximate", "none") == "tanh" else "gelu"
    for name, (torch_name, argument, parameter, _) in _PARAMETRIC.items():
        if kind == torch_name:
            return f"{name}:{parameter}={getattr(module, argument)}"
    names = {torch_name: name for name, (torch_name, _) in _TORCH.items() if name != "gelu-tanh"}
    return names.get(kind)


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file, or of a run's folder."""
    return Model(_native.Model.load(os.fspath(path), _settings.threads(None)))


def from_torch(
    network: torch.nn.Module | Mapping[str, Any],
    *,
    activation: str | None = None,
    head: str = "logits",
    classes: Sequence[str] | None = None,
) -> Model:
    """A model with the weights of PyTorch's: a `torch.nn.Sequential` of linear layers and activations, or a state dict.

    A state dict does not say which activation is between its layers, so `activation` does. Layers that do nothing in
    prediction (dropout, flatten) are left out; others are refused by name. The last linear layer may be followed by what
    the head does: softmax for logits, log-softmax, or a sigmoid for the heads binary and multi-label.

    Raises ValueError if it is another module, because only its `forward` knows what is between its layers; give its
    `state_dict()` with `activation`.
    """
    if isinstance(network, Mapping):
        layers = _of_state(network, activation)
    else:
        if activation is not None:
            raise ValueError("activation: a torch.nn.Sequential says it itself; leave it out, or give network.state_dict()")
        layers, head = _of_modules(network, head)
    if not layers:
        raise ValueError("there is no linear layer; give a fully connected network")
    given = [
        (weight, np.zeros(len(weight), np.float32) if bias is None else bias, kind or "identity")
        for weight, bias, kind in layers
    ]
    return Model(_native.Model.of_layers(given, head, None if classes is None else [str(name) for name in classes]))


# A linear layer's weights, its biases, and the activation behind it.
_Given = tuple[np.ndarray, np.ndarray | None, str | None]


def _of_state(state: Mapping[str, Any], activation: str | None) -> list[_Given]:
    """The layers of a state dict, with this activation between them."""
    if activation is None:
        raise ValueError("activation: a state dict does not say it; give the one between the layers, such as 'relu'")
    weights = {key: value for key, value in state.items() if key.endswith("weight")}
    unknown = [key for key in state if not key.endswith(("weight", "bias"))]
    wrong = unknown or [key for key, value in weights.items() if value.ndim != 2]
    if wrong:
        raise ValueError(f"'{wrong[0]}' is not of a linear layer; give the weights of a fully connected network")
    layers: list[_Given] = []
    for key, weight in weights.items():
        bias = state.get(key[: -len("weight")] + "bias")
        is_last = len(layers) + 1 == len(weights)
        layers.append((_array(weight), None if bias is None else _array(bias), None if is_last else activation))
    return layers


# What does nothing in prediction.
_IDLE = ("Identity", "Dropout", "AlphaDropout")

# What may follow the last linear layer: the heads that it is a part of, and the one that it asks for.
_ENDS = {
    "Softmax": (("logits", "log-softmax"), None),
    "LogSoftmax": (("logits", "log-softmax"), "log-softmax"),
    "Sigmoid": (("binary", "multi-label"), None),
}


def _of_modules(network: torch.nn.Module, head: str) -> tuple[list[_Given], str]:
    """The layers of a `torch.nn.Sequential`, and the head."""
    layers: list[_Given] = []
    modules = list(_in_order(network, ""))
    last = max((k for k, (_, module) in enumerate(modules) if type(module).__name__ == "Linear"), default=-1)
    # Whether the head's own function has come.
    has_ended = False
    for k, (name, module) in enumerate(modules):
        kind = type(module).__name__
        if kind in _IDLE or (kind == "Flatten" and (module.start_dim, module.end_dim) == (1, -1)):
            continue
        if kind == "Linear":
            bias = None if module.bias is None else _array(module.bias)
            layers.append((_array(module.weight), bias, None))
        elif k > last >= 0:
            heads, asked = _ENDS.get(kind, ((), None))
            if has_ended or head not in heads:
                also = f"; give head='{heads[0]}' if it belongs to that head" if heads and not has_ended else ""
                raise ValueError(f"'{name}' is a {kind} after the last linear layer, which the head {head} has not{also}")
            has_ended, head = True, asked or head
        elif (found := _activation_of(module)) is None:
            raise ValueError(f"'{name}' is a {kind}, which is not a layer of a fully connected network; leave it out")
        elif not layers or layers[-1][2] is not None:
            where = "after another activation" if layers else "before the first linear layer"
            raise ValueError(f"'{name}' is a {kind} {where}; give a network with one activation after each hidden layer")
        else:
            layers[-1] = (*layers[-1][:2], found)
    return layers, head


def _in_order(module: torch.nn.Module, name: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules that a `torch.nn.Sequential` calls, with their names. One that it has twice is called twice."""
    import torch

    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise TypeError(f"a {kind} is not a network of PyTorch's; give a torch.nn.Sequential or a state dict")
    if isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward:
        for key, child in module._modules.items():
            if child is not None:
                yield from _in_order(child, f"{name}.{key}" if name else key)
    elif any(True for _ in module.children()) or not type(module).__module__.startswith("torch.nn.modules."):
        kind = type(module).__name__
        shown = f"'{name}' is a {kind}" if name else f"{kind} is not a torch.nn.Sequential"
        raise ValueError(
            f"{shown}, and what its forward does is not known; "
            "give network.state_dict() with the activation between its layers, such as activation='relu'"
        )
    else:
        yield name, module


def _array(tensor: Any) -> np.ndarray:
    """A tensor's values as float32, wherever it lies."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().float().numpy()
    return np.ascontiguousarray(tensor, dtype=np.float32)
