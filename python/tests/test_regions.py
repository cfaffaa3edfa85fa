"""The linear regions of models, from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import syva


def _model(*layers, activation="relu", **options):
    state = {}
    for number, (weights, biases) in enumerate(layers, 1):
        state[f"fc{number}.weight"] = np.array(weights, dtype=np.float32)
        state[f"fc{number}.bias"] = np.array(biases, dtype=np.float32)
    return syva.from_torch(state, activation=activation, **{"head": "regression", **options})


def test_joints_are_fractions():
    model = _model(([[3.0], [-7.0]], [-1.0, 2.0]), ([[1.0, 1.0]], [0.0]))
    found = syva.regions(model, [(0, 1)])
    assert found.ends == [Fraction(0), Fraction(2, 7), Fraction(1, 3), Fraction(1)]
    assert found.gradients[:, 0, 0].tolist() == [-7.0, 0.0, 3.0]
    assert (found.linear_regions, found.at_least, found.at_most) == (3, 3, 3)
    assert found.patterns[:, :2].tolist() == [[0, 1], [0, 0], [1, 0]]


def test_maps_are_what_the_model_predicts():
    random = np.random.default_rng(3)
    shapes = [(8, 2), (6, 8), (1, 6)]
    model = _model(*((random.normal(size=shape), random.normal(size=shape[0])) for shape in shapes))
    found = syva.regions(model, [(-3, 3), (-3, 3)])
    assert found.vertices + found.activation_regions == found.edges + 1
    for polygon, gradient, constant in zip(found.polygons, found.gradients, found.constants, strict=True):
        middle = polygon.mean(axis=0)
        assert model.predict(middle.reshape(1, 2).astype(np.float32))[0] == pytest.approx(
            (gradient @ middle + constant)[0], rel=1e-4, abs=1e-4
        )
    # The polygons fill the box.
    x, y = zip(*[(p[:, 0], p[:, 1]) for p in found.polygons], strict=True)
    areas = [abs(np.dot(a, np.roll(b, 1)) - np.dot(b, np.roll(a, 1))) / 2 for a, b in zip(x, y, strict=True)]
    assert sum(areas) == pytest.approx(36)


def test_a_classifier_decides():
    model = _model(
        ([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], [0.0, 0.0, 10.0]),
        ([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, -10.0]),
        head="logits",
        classes=["wide", "high"],
    )
    found = syva.regions(model)
    assert found.box == [(-1.0, 1.0), (-1.0, 1.0)]
    assert sorted(found.classes.tolist()) == [0, 0, 1, 1]
    assert np.abs(found.boundary[:, :, 0]).ravel().tolist() == found.boundary[:, :, 1].ravel().tolist()
    assert found._repr_svg_().startswith("<svg")


def test_the_counts_are_those_of_the_command(tmp_path):
    rows = [(x / 10, y / 10) for x in range(-20, 21) for y in range(-20, 21, 3)]
    inside = ["yes" if x * x + y * y < 2 else "no" for x, y in rows]
    table = {"x": [x for x, _ in rows], "y": [y for _, y in rows], "in": inside}
    settings = {"preset": "tabular-plain", "hidden": (6, 5), "activation": "relu", "epochs": 5}
    run = syva.train(table, "in", out=tmp_path / "run", **settings)
    words = [sys.executable, "-m", "syva", "regions", str(tmp_path / "run"), "--json", "--box=-1,1,-1.5,1"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    theirs, ours = json.loads(done.stdout), syva.regions(run, [(-1, 1), (-1.5, 1)])
    for name in ("activation_regions", "linear_regions", "edges", "vertices", "margin", "exact_vertices"):
        assert theirs[name] == getattr(ours, name), name
    assert (int(theirs["at_least"]), int(theirs["at_most"])) == (ours.at_least, ours.at_most)
    assert len(theirs["boundary"]) == len(ours.boundary)
    classifier = syva.SyvaClassifier(**{**settings, "preset": None}).fit(np.array(rows), inside)
    assert syva.regions(classifier).linear_regions > 1


def test_lines_and_planes_go_through_points():
    random = np.random.default_rng(5)
    model = _model((random.normal(size=(12, 30)), random.normal(size=12)), (random.normal(size=(1, 12)), [0.0]))
    a, b, c = random.normal(size=(3, 30)).astype(np.float32)
    line = syva.regions(model, line=(a, b))
    assert line.box == [(0.0, 1.0)]
    assert line.constants[0, 0] == pytest.approx(model.predict(a.reshape(1, -1))[0], rel=1e-4)
    plane = syva.regions(model, plane=(a, b, c))
    assert len(plane.polygons) == plane.activation_regions >= line.activation_regions


def test_bad_input_is_refused():
    model = _model(([[1.0, 0.0]], [0.0]), ([[1.0]], [0.0]))
    with pytest.raises(ValueError, match="box"):
        syva.regions(model, [(0, 1)])
    with pytest.raises(ValueError, match="box: 1 to 0"):
        syva.regions(model, [(1, 0), (0, 1)])
    with pytest.raises(ValueError, match="plane: it has 2 points; give 3"):
        syva.regions(model, plane=([0, 0], [0, 1]))
    with pytest.raises(ValueError, match="3 values"):
        syva.regions(model, line=([0, 0, 0], [0, 1, 0]))
    with pytest.raises(ValueError, match="not finite"):
        syva.regions(model, line=([0, np.nan], [0, 1]))
    with pytest.raises(TypeError, match="int is not a model"):
        syva.regions(7)
    with pytest.raises(ValueError, match="tanh is curved"):
        syva.regions(_model(([[1.0, 0.0]], [0.0]), ([[1.0]], [0.0]), activation="tanh"))
