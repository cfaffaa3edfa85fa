"""The chapter's network in PyTorch, and MNIST as torchvision would hand it over. Needs torch and numpy only."""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    """784-256-128-10, sigmoid, ending in logits."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x):
        h1 = torch.sigmoid(self.fc1(x))
        h2 = torch.sigmoid(self.fc2(h1))
        return self.fc3(h2)


def mnist(folder, part):
    """Images [samples, 784], normalised, and labels [samples] of the part 'train' or 't10k'."""
    pixels = torch.from_numpy(_idx(folder, f"{part}-images-idx3-ubyte", header=16)).reshape(-1, 784)
    labels = torch.from_numpy(_idx(folder, f"{part}-labels-idx1-ubyte", header=8))
    # The very operations of ToTensor and Normalize((0.1307,), (0.3081,)), each rounded to float32.
    images = pixels.to(torch.float32).div(255)
    images.sub_(torch.tensor(0.1307)).div_(torch.tensor(0.3081))
    return images, labels.to(torch.int64)


def _idx(folder, name, header):
    path = Path(folder) / name
    content = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=header)
