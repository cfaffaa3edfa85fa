"""Small pictures of runs and models, as HTML without scripts."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Model
    from .run import Run

_WIDTH, _HEIGHT = 360, 120
_COLORS = {"train_loss": "#3b7dd8", "val_loss": "#d8643b"}


def curves(epochs: Mapping[str, Sequence[float | None]]) -> str:
    """The losses of the epochs as an SVG picture. Empty with fewer than two epochs."""
    lines = {name: [v for v in epochs.get(name, []) if v is not None] for name in _COLORS}
    lines = {name: values for name, values in lines.items() if len(values) > 1}
    if not lines:
        return ""
    low = min(min(values) for values in lines.values())
    high = max(max(values) for values in lines.values())
    span = (high - low) or 1.0
    parts = []
    for name, values in lines.items():
        step = (_WIDTH - 60) / (len(values) - 1)
        points = " ".join(
            f"{50 + k * step:.1f},{10 + (_HEIGHT - 30) * (high - value) / span:.1f}" for k, value in enumerate(values)
        )
        dash = ' stroke-dasharray="5 3"' if name == "val_loss" else ""
        parts.append(f'<polyline fill="none" stroke="{_COLORS[name]}" stroke-width="1.5"{dash} points="{points}"/>')
    text = 'font-family="sans-serif" font-size="11" fill="currentColor"'
    parts.append(f'<text x="45" y="14" text-anchor="end" {text}>{high:.3g}</text>')
    parts.append(f'<text x="45" y="{_HEIGHT - 20}" text-anchor="end" {text}>{low:.3g}</text>')
    parts.append(f'<text x="50" y="{_HEIGHT - 4}" {text}>epoch 1</text>')
    count = max(len(values) for values in lines.values())
    parts.append(f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 4}" text-anchor="end" {text}>{count}</text>')
    names = ", ".join(f'<tspan fill="{_COLORS[name]}">{name}</tspan>' for name in lines)
    parts.append(f'<text x="{_WIDTH - 12}" y="20" text-anchor="end" {text}>{names}</text>')
    said = ", ".join(f"{name} from {values[0]:.4g} to {values[-1]:.4g}" for name, values in lines.items())
    label = html.escape(f"loss over {count} epochs: {said}")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first cells are headings."""
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(first)}</th>'
        + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table>{cells}</table>"


def model(model: Model) -> str:
    """A model: its layers with their numbers of parameters, and what it predicts."""
    rows = [("layer", "inputs", "units", "activation", "parameters")]
    for number, layer in enumerate(model.layers, 1):
        units, inputs = layer.weight.shape
        rows.append((str(number), str(inputs), str(units), layer.activation, f"{layer.weight.size + layer.bias.size:,}"))
    said = [("predicts", model.task if model.task == "numbers" else f"{len(model.classes or model.targets)} {model.task}")]
    if model.columns:
        shown = ", ".join(model.columns[:8]) + (", …" if len(model.columns) > 8 else "")
        said.append(("columns", f"{len(model.columns)}: {shown}"))
    said += [("parameters", f"{model.parameters:,}"), ("digest", model.digest[:16] + "…")]
    return f"<div>{_table(rows)}{_table(said)}</div>"


def run(run: Run) -> str:
    """A run: its curves, and what it came to."""
    model = run.model
    rows = [("network", model.widths), ("parameters", f"{model.parameters:,}"), ("digest", model.digest[:16] + "…")]
    for name in ("train_loss", "val_loss", "val_acc"):
        values = [value for value in run.epochs.get(name, []) if value is not None]
        if values:
            rows.append((name, f"{values[-1]:.4f}"))
    if run.folder:
        rows.append(("folder", str(run.folder)))
    return f"<div>{curves(run.epochs)}{_table(rows)}</div>"
