"""Trained networks."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
        if not _columns.is_frame(data) and not isinstance(data, dict):
            data = np.asarray(data)
            # A batch of images.
            if data.ndim > 2:
                data = data.reshape(len(data), -1)
        columns = _columns.columns(data)
        if columns.matrix is not None and not columns.named:
            return columns.matrix
        return columns.table() if self._native.columns is not None else columns.numbers()

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
        """The layers as a `torch.nn.Sequential`, without what comes before them (columns, scales, embeddings) and after."""
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


def _labels(names: list[str]) -> np.ndarray:
    """Classes as whole numbers if they are called by such, otherwise by their names."""
    if names and all(name.lstrip("-").isdecimal() and str(int(name)) == name for name in names):
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
    network: torch.nn.Module | dict[str, Any],
    *,
    activation: str | None = None,
    head: str = "logits",
    classes: Sequence[str] | None = None,
) -> Model:
    """A model with the weights of PyTorch's: a `torch.nn.Sequential` of linear layers and activations, or a state dict.

    A state dict does not say which activation is between its layers, so `activation` does. Layers that do nothing in
    prediction (dropout, flatten) are left out; others are refused by name.
    """
    if isinstance(network, dict):
        if activation is None:
            raise ValueError("activation: a state dict does not say it; give the one between the layers, such as 'relu'")
        weights = {key: value for key, value in network.items() if key.endswith("weight")}
        layers = []
        for key, weight in weights.items():
            bias = network.get(key[: -len("weight")] + "bias")
            layers.append((_array(weight), None if bias is None else _array(bias), activation))
        unknown = [key for key in network if not key.endswith(("weight", "bias"))]
        if unknown or any(weight.ndim != 2 for weight, _, _ in layers):
            wrong = unknown[0] if unknown else next(key for key, value in weights.items() if value.ndim != 2)
            raise ValueError(f"'{wrong}' is not of a linear layer; give the weights of a fully connected network")
    else:
        layers = []
        for name, module in network.named_modules():
            kind = type(module).__name__
            if kind == "Linear":
                bias = None if module.bias is None else _array(module.bias)
                layers.append((_array(module.weight), bias, "identity"))
            elif (found := _activation_of(module)) is not None:
                if layers and kind != "Identity":
                    layers[-1] = (*layers[-1][:2], found)
            elif kind not in ("Sequential", "Dropout", "Flatten", "LogSoftmax", "Softmax") and not any(
                True for _ in module.children()
            ):
                raise ValueError(f"'{name}' is a {kind}, which is no layer of a fully connected network; leave it out")
            elif kind == "LogSoftmax":
                head = "log-softmax" if head == "logits" else head
    if not layers:
        raise ValueError("there is no linear layer; give a fully connected network")
    given = [
        (
            weight,
            np.zeros(len(weight), np.float32) if bias is None else bias,
            kind if k + 1 < len(layers) else "identity",
        )
        for k, (weight, bias, kind) in enumerate(layers)
    ]
    return Model(_native.Model.of_layers(given, head, None if classes is None else [str(name) for name in classes]))


def _array(tensor: Any) -> np.ndarray:
    """A tensor's values as float32, wherever it lies."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().float().numpy()
    return np.ascontiguousarray(tensor, dtype=np.float32)
