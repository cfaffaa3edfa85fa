"""The code that all Python peers share: their arguments, MNIST, and the line protocol.

A peer is started as `script.py DATA HIDDEN BATCH SEED [VARIANT]`. It loads its data, prints
`{"ready": true, "versions": …}`, and then trains on demand: for a line `epoch` one pass over all images in a new order,
for `steps N` only the first N batches of such a pass. It answers each line with `{"seconds": …, "loss": …}`, where the
loss is the mean of the batches' mean losses. Standard output is only for the protocol; whatever a library prints there
goes to standard error.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

LEARNING_RATE = 0.01
ADAM_RATE = 0.001
MEAN, STD = 0.1307, 0.3081
CLASSES = 10

_protocol = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def arguments():
    """The command line."""
    data, hidden, batch, seed, *variant = sys.argv[1:]
    widths = [int(width) for width in hidden.split(",")]
    return SimpleNamespace(data=Path(data), widths=widths, batch=int(batch), seed=int(seed), variant=variant)


def read(data, name):
    """The bytes of one of MNIST's files, gzipped or not."""
    plain = data / name
    return plain.read_bytes() if plain.exists() else gzip.decompress((data / f"{name}.gz").read_bytes())


def mnist(data):
    """Training images, normalised, f32 [60000, 784], and labels, int64 [60000]."""
    pixels = np.frombuffer(read(data, "train-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 784)
    labels = np.frombuffer(read(data, "train-labels-idx1-ubyte"), np.uint8, offset=8)
    images = (pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return images, labels.astype(np.int64)


def serve(versions, train):
    """Answers until standard input ends. `train(steps)` trains an epoch or so many steps, and returns the loss."""
    _answer({"ready": True, "versions": versions})
    for line in sys.stdin:
        match line.split():
            case ["epoch"]:
                steps = None
            case ["steps", count]:
                steps = int(count)
            case _:
                sys.exit(f"neither 'epoch' nor 'steps N': {line!r}")
        start = time.perf_counter()
        loss = float(train(steps))
        _answer({"seconds": time.perf_counter() - start, "loss": loss})


def _answer(message):
    print(json.dumps(message), file=_protocol, flush=True)
