"""The linear regions of networks whose activations are linear in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from .model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The colours of classes, by Okabe and Ito.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True, repr=False)
class Regions:
    """The regions of a network in a box. All counts are exact.

    An activation region is a set of inputs with the same pattern of active units; a linear region is a connected set of
    inputs on which the network is one affine map.
    """

    #: The smallest and the largest value of each coordinate.
    box: list[tuple[float, float]]
    #: How many there are, with the edges and vertices of the activation regions.
    activation_regions: int
    linear_regions: int
    edges: int
    vertices: int
    #: Regions, edges and vertices after each layer.
    by_layer: list[tuple[int, int, int]]
    #: What networks of these widths can have: some weights reach the first, none more than the second.
    at_least: int
    at_most: int
    #: The smallest value whose sign was read from floats, relative to the largest of its layer, and the number of vertices
    #: at which exact integers had to decide.
    margin: float
    exact_vertices: int
    #: The corners of each activation region, ``[corners, coordinates]``, and the number of its linear region.
    polygons: list[np.ndarray] = field(repr=False)
    linear: np.ndarray = field(repr=False)
    #: ``[regions, units]``: 1 where a unit is active, of all layers one after the other.
    patterns: np.ndarray = field(repr=False)
    #: What the network is in each region: ``gradients[i] @ x + constants[i]``. The shapes are
    #: ``[regions, outputs, coordinates]`` and ``[regions, outputs]``.
    gradients: np.ndarray = field(repr=False)
    constants: np.ndarray = field(repr=False)
    #: With one coordinate: where the regions begin, and where the last one ends, exactly.
    ends: list[Fraction] | None = field(repr=False)
    #: Of a classifier: polygons that have one class each, their classes, and the edges of the decision boundary,
    #: ``[edges, 2, coordinates]``.
    decided: list[np.ndarray] | None = field(repr=False)
    classes: np.ndarray | None = field(repr=False)
    boundary: np.ndarray | None = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"Regions({self.linear_regions:,} linear, {self.activation_regions:,} activation regions; "
            f"{self.edges:,} edges, {self.vertices:,} vertices)"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the regions with matplotlib: polygons, or the outputs as curves if there is one coordinate."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        if len(self.box) == 1:
            places = np.array([polygon[0, 0] for polygon in self.polygons] + [self.polygons[-1][-1, 0]])
            first = self.gradients[:, :, 0] * places[:-1, None] + self.constants
            last = self.gradients[-1, :, 0] * places[-1] + self.constants[-1]
            for output, values in enumerate(np.vstack([first, last]).T):
                ax.plot(places, values, marker=".", label=f"output {output}")
            ax.set_ylabel("output")
            return ax
        from matplotlib.collections import LineCollection, PolyCollection

        polygons = self.polygons if self.decided is None else self.decided
        colors = [_shade(color, shade) for color, shade in self._looks()]
        ax.add_collection(PolyCollection(polygons, facecolors=colors, edgecolors="#777777", linewidths=0.4))
        if self.boundary is not None and len(self.boundary):
            ax.add_collection(LineCollection(list(self.boundary), colors="#222222", linewidths=2))
        ax.set_xlim(*self.box[0])
        ax.set_ylim(*self.box[1])
        return ax

    def _looks(self) -> list[tuple[str, float]]:
        """The colour and the shade of each polygon that is drawn."""
        # The multiples of the golden ratio are far from one another.
        if self.decided is None:
            return [(_COLORS[0], float(linear) * 0.618034 % 1.0) for linear in self.linear]
        assert self.classes is not None
        return [(_COLORS[int(kind) % len(_COLORS)], number * 0.618034 % 1.0) for number, kind in enumerate(self.classes)]

    def _repr_svg_(self) -> str | None:
        if len(self.box) == 1 or len(self.polygons) > 20_000:
            return None
        (x0, x1), (y0, y1) = self.box
        size = 360.0
        low, span = np.array([x0, y1]), np.array([x1 - x0, y0 - y1])
        polygons = self.polygons if self.decided is None else self.decided
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{size:g}" height="{size:g}" role="img">']
        parts.append(f"<title>{self!r}</title>")
        for polygon, (color, shade) in zip(polygons, self._looks(), strict=True):
            places = " ".join(f"{x:.2f},{y:.2f}" for x, y in (polygon - low) / span * size)
            parts.append(f'<polygon points="{places}" fill="{_shade(color, shade)}" stroke="#777" stroke-width="0.4"/>')
        for edge in [] if self.boundary is None else self.boundary:
            (ax, ay), (bx, by) = (edge - low) / span * size
            parts.append(f'<line x1="{ax:.2f}" y1="{ay:.2f}" x2="{bx:.2f}" y2="{by:.2f}" stroke="#222" stroke-width="2"/>')
        return "".join([*parts, "</svg>"])


def _shade(color: str, shade: float) -> str:
    """A colour, from pale (0) to strong (1)."""
    share = 0.12 + 0.5 * shade
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + share * (channel - 255)):02x}" for channel in channels)


def regions(
    model: Model | Any,
    box: Sequence[Sequence[float]] | None = None,
    *,
    line: Sequence[Any] | None = None,
    plane: Sequence[Any] | None = None,
) -> Regions:
    """Finds the regions of a network, exactly.

    ``model`` is a :class:`Model`, a run, or a fitted estimator, whose activations are linear in pieces (relu, leaky-relu,
    prelu, hard-sigmoid) and whose inputs are not embedded. A network of one or two inputs is looked at in a ``box`` of
    inputs as the first layer reads them (scaled, if columns are), ±1 unless it is given. Of others, a ``line`` through two
    points or a ``plane`` through three is taken, each as many numbers as there are inputs. The box is then of shares of the
    way between points: 0 to 1 on a line, -0.5 to 1.5 in a plane.

    >>> import numpy as np, syva
    >>> hidden = {"0.weight": np.array([[1.0], [-1.0]]), "0.bias": np.zeros(2)}
    >>> weights = {**hidden, "1.weight": np.ones((1, 2)), "1.bias": np.zeros(1)}
    >>> absolute = syva.regions(syva.from_torch(weights, activation="relu", head="regression"), [(-2, 2)])
    >>> absolute.linear_regions, absolute.ends
    (2, [Fraction(-2, 1), Fraction(0, 1), Fraction(2, 1)])
    """
    for attribute in ("model_", "model"):
        if not isinstance(model, Model):
            model = getattr(model, attribute, model)
    if not isinstance(model, Model):
        raise TypeError(f"model: {type(model).__name__} is not a model; give a Model, a run, or a fitted estimator")
    if line is not None and plane is not None:
        raise ValueError("line, plane: give one of them")
    given = line if line is not None else plane
    points = [] if given is None else [np.asarray(point, dtype=np.float32).ravel() for point in given]
    wanted = 0 if given is None else 2 if line is not None else 3
    if len(points) != wanted:
        name = "line" if line is not None else "plane"
        raise ValueError(f"{name}: it has {len(points)} points; give {wanted}")
    if box is None:
        size = wanted - 1 if wanted else model._native.inputs
        box = [(0.0, 1.0)] if wanted == 2 else [(-0.5, 1.5)] * 2 if wanted == 3 else [(-1.0, 1.0)] * size
    ranges = [(float(low), float(high)) for low, high in box]
    found = _native.regions(model._native, [list(pair) for pair in ranges], points)
    size = len(ranges)

    def polygons(part: dict[str, Any]) -> list[np.ndarray]:
        places = part["places"][:, :size]
        return [places[corners] for corners in part["corners"]]

    decision = found.get("decision")
    maps = found["maps"]
    return Regions(
        box=ranges,
        activation_regions=found["activation_regions"],
        linear_regions=found["linear_regions"],
        edges=found["edges"],
        vertices=found["vertices"],
        by_layer=found["by_layer"],
        at_least=int(found["at_least"]),
        at_most=int(found["at_most"]),
        margin=found["margin"],
        exact_vertices=found["exact_vertices"],
        polygons=polygons(found),
        linear=found["linear"],
        patterns=found["patterns"],
        gradients=maps[:, :, :size],
        constants=maps[:, :, size],
        ends=[Fraction(int(top), int(bottom)) for top, bottom in found["ends"]] if "ends" in found else None,
        decided=None if decision is None else polygons(decision),
        classes=None if decision is None else decision["classes"],
        boundary=None if decision is None else decision["places"][:, :size][decision["boundary"]],
    )


def region_bounds(inputs: int, hidden: Sequence[int]) -> tuple[int, int]:
    """How many regions ReLU networks of these widths can have: some weights reach the first number, none exceed the second.

    >>> import syva
    >>> syva.region_bounds(2, (10, 10, 10))
    (72576, 175616)
    """
    lower, upper = _native.region_bounds(inputs, list(hidden))
    return int(lower), int(upper)
