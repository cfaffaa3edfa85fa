"""Trains the chapter's network for one epoch in PyTorch and writes down its trajectory, for tests/golden.rs.

    python crates/syva/tests/golden/trajectory.py MNIST_DIR

Writes, beside this file:

trajectory.json        Seeds, hyperparameters, version of torch, the loss of every step as PyTorch's float32, and the
                       SHA-256 of the initial weights and of the order. The test draws both again from the seeds, with
                       a Mersenne Twister of its own, and compares.
trajectory.weights.gz  What the epoch added to each weight, in multiples of QUANTUM, as little-endian int16: fc1.weight
                       row after row, fc1.bias, fc2.weight, ... All low bytes come first, then all high bytes, which
                       packs better.

One thread and fixed seeds make it repeatable on one machine. Another processor or torch sums in another order, so its
losses and weights differ in the last digits, inside the test's tolerances. Only where torch has no AVX2 (nor AVX-512)
does it round the initial weights themselves otherwise, and the test then refuses the file. Needs torch and numpy only.
"""

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "pytorch"))

from chapter import Net, mnist  # noqa: E402

WEIGHTS_SEED = 1
ORDER_SEED = 2
BATCH_SIZE = 128
LEARNING_RATE = 0.01
# Half of it, 2e-6, is the most by which a stored weight is off: 1/500 of what the project allows.
QUANTUM = 4e-6


def main():
    parser = argparse.ArgumentParser(description="Write PyTorch's trajectory over one epoch of MNIST.")
    parser.add_argument("mnist", help="the folder with MNIST's files, gzip or not")
    images, labels = mnist(parser.parse_args().mnist, "train")
    torch.set_num_threads(1)

    torch.manual_seed(WEIGHTS_SEED)
    net = Net()
    initial = flat(net)
    generator = torch.Generator()
    generator.manual_seed(ORDER_SEED)
    order = torch.randperm(len(images), generator=generator)

    losses = train(net, images, labels, order)

    delta = np.rint((flat(net).astype(np.float64) - initial) / QUANTUM)
    assert np.abs(delta).max() <= np.iinfo(np.int16).max, "a weight moved too far for int16"
    planes = delta.astype("<i2").view(np.uint8).reshape(-1, 2).T.tobytes()
    (HERE / "trajectory.weights.gz").write_bytes(gzip.compress(planes, 9, mtime=0))

    record = {
        "torch": torch.__version__,
        "weights_seed": WEIGHTS_SEED,
        "order_seed": ORDER_SEED,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "quantum": QUANTUM,
        "initial_sha256": hashlib.sha256(initial.astype("<f4").tobytes()).hexdigest(),
        "order_sha256": hashlib.sha256(order.numpy().astype("<u4").tobytes()).hexdigest(),
        # The shortest decimals that read back to the same float32.
        "losses": [float(str(np.float32(loss))) for loss in losses],
    }
    (HERE / "trajectory.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"loss {losses[0]:.6f} ... {losses[-1]:.6f}, mean {np.mean(losses):.6f}")
    print(f"weights moved by at most {np.abs(delta).max() * QUANTUM:.5f}")


def train(net, images, labels, order):
    """One epoch of SGD in this order; returns the loss of each step, before its update."""
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    losses = []
    for batch in order.split(BATCH_SIZE):
        optimizer.zero_grad()
        loss = criterion(net(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def flat(net):
    """All weights in the order of the file, copied."""
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in net.parameters()])


if __name__ == "__main__":
    main()
