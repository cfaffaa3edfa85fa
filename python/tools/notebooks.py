"""The notebooks: makes the Jupyter ones from marimo's, checks them, and runs them.

python python/tools/notebooks.py            writes the .ipynb file beside each notebook
python python/tools/notebooks.py --check    says whether these files are up to date, and whether the sources are in order
python python/tools/notebooks.py --run      runs every notebook on few epochs: as a script, and as Jupyter does

The source of a notebook is the marimo file. It needs the packages marimo, nbclient, nbformat, ipykernel and ruff, and
those that the notebooks import. `--only NAME` takes those whose names contain it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

# Notebooks that are the same in two languages: their code may differ in its texts only.
TWINS = [("110_first_model.py", "110_ensimmainen_malli.py")]

# Cells whose names begin so need marimo's elements, so Jupyter's file is without them.
MARIMO_ONLY = "marimo_"

# A cell or a script that takes longer has a fault.
LIMIT = 600


def jupyter(source: Path) -> str:
    """The text of the Jupyter notebook that a marimo file gives, without outputs."""
    command = [sys.executable, "-m", "marimo", "export", "ipynb", "--sort=top-down", "--no-include-outputs", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT)
    if done.returncode != 0:
        raise SystemExit(f"{source.name}: marimo cannot export it: {done.stderr.strip()}")
    notebook = json.loads(done.stdout)
    cells = [cell for cell in notebook["cells"] if not _is_marimo_only(cell)]
    for number, cell in enumerate(cells):
        # Ids and metadata of marimo's would change with its version.
        cell["id"] = f"cell-{number:03}"
        cell["metadata"] = {}
    notebook["cells"] = cells
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _is_marimo_only(cell: dict[str, Any]) -> bool:
    name = cell["metadata"].get("marimo", {}).get("name", "")
    return name.startswith(MARIMO_ONLY) or "".join(cell["source"]).strip() == "import marimo as mo"


def problems(source: Path) -> list[str]:
    """What is wrong with a notebook and its Jupyter file."""
    found = []
    checked = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", str(source)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    if checked.returncode != 0:
        found.append(f"{source.name}: marimo check: {(checked.stdout + checked.stderr).strip()}")
    made = source.with_suffix(".ipynb")
    text = jupyter(source)
    if not made.is_file() or made.read_text(encoding="utf-8") != text:
        found.append(f"{made.name} is not what {source.name} gives; run python/tools/notebooks.py")
    # The package index has another package of the name, so the notebook has to say that it means this one.
    if '[tool.uv.sources]\n# syva-ml = { path = "../python" }' not in source.read_text(encoding="utf-8"):
        found.append(f"{source.name}: its header does not take syva from ../python")
    if "mo." in "".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"):
        found.append(
            f"{source.name}: a cell that uses marimo has to be named {MARIMO_ONLY}…, so that Jupyter's file is without it"
        )
    return found


class _Texts(ast.NodeTransformer):
    """Replaces all texts of some code by empty ones."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        # Another language may have the values in another order.
        values = [self.generic_visit(value) for value in node.values if isinstance(value, ast.FormattedValue)]
        return ast.JoinedStr(sorted(values, key=ast.dump))


def twin_problems(first: Path, second: Path) -> list[str]:
    """Where the code of two notebooks that should be the same differs in more than its texts."""
    codes = []
    for source in (first, second):
        cells = [node for node in ast.parse(source.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
        codes.append([ast.dump(_Texts().visit(cell)) for cell in cells])
    for number, (ours, theirs) in enumerate(zip(*codes, strict=False)):
        if ours != theirs:
            return [f"cell {number + 1} of {second.name} differs from that of {first.name} in more than its texts"]
    if len(codes[0]) != len(codes[1]):
        return [f"{first.name} has {len(codes[0])} cells, {second.name} {len(codes[1])}"]
    return []


def run_script(source: Path, folder: Path, environment: dict[str, str]) -> str | None:
    """Runs a notebook as `python notebook.py` in a folder. Returns what went wrong."""
    done = subprocess.run(
        [sys.executable, str(source)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
    )
    if done.returncode == 0:
        return None
    return f"{source.name} as a script: {(done.stdout + done.stderr)[-3000:]}"


def run_jupyter(made: Path, folder: Path, environment: dict[str, str]) -> str | None:
    """Executes a Jupyter notebook in a folder. Returns what went wrong."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(made, as_version=4)
    client = NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        return f"{made.name}: {str(error)[-3000:]}"
    return None


def main() -> int:
    """Runs the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check the sources, and that the .ipynb files are up to date")
    parser.add_argument("--run", action="store_true", help="run every notebook both ways")
    parser.add_argument("--only", default="", metavar="NAME", help="only notebooks whose names contain it")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="epochs of --run (default: 1)")
    given = parser.parse_args()
    sources = [source for source in sorted(NOTEBOOKS.glob("*.py")) if given.only in source.name]
    if not sources:
        parser.error(f"there is no notebook with '{given.only}' in its name")

    wrong: list[str] = []
    if given.check:
        for words in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *words, "--quiet", *map(str, sources)]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT)
            wrong += [f"ruff {words[0]}: {done.stdout + done.stderr}"] if done.returncode != 0 else []
        for source in sources:
            wrong += problems(source)
        for twins in TWINS:
            wrong += twin_problems(*(NOTEBOOKS / name for name in twins))
        print(f"checked {len(sources)} notebooks")
    elif not given.run:
        for source in sources:
            made = source.with_suffix(".ipynb")
            made.write_text(jupyter(source), encoding="utf-8")
            print(f"wrote {made.name}")

    if given.run:
        with tempfile.TemporaryDirectory() as empty:
            environment = os.environ | {"NOTEBOOK_EPOCHS": str(given.epochs), "MPLBACKEND": "agg"}
            # Without MNIST's files, digits are drawn instead: a test downloads nothing.
            environment.setdefault("SYVA_MNIST_DIR", empty)
            for source in sources:
                for run, file in ((run_script, source), (run_jupyter, source.with_suffix(".ipynb"))):
                    # Jupyter brings its own backend, which shows figures in the page.
                    of_run = {
                        name: value for name, value in environment.items() if run is run_script or name != "MPLBACKEND"
                    }
                    with tempfile.TemporaryDirectory() as folder:
                        began = time.monotonic()
                        problem = run(file, Path(folder), of_run)
                        took = time.monotonic() - began
                    print(f"{file.name}: {'failed' if problem else 'ran'} in {took:.1f} s", flush=True)
                    wrong += [problem] if problem else []
    for problem in wrong:
        print(problem, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
