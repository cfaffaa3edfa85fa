"""PyTorch as in the course's notebook: torchvision's MNIST, image by image, and `.item()` after every batch.

The network is on the CPU or, with the variant `cuda`, on an NVIDIA card.
"""

import itertools
import tempfile
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import peer


class MLP(nn.Module):
    """The chapter's network, with these hidden widths."""

    def __init__(self, widths):
        super().__init__()
        sizes = [784, *widths, peer.CLASSES]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x):
        x = x.view(-1, 784)
        for layer in self.layers[:-1]:
            x = torch.sigmoid(layer(x))
        return self.layers[-1](x)


def mnist(data):
    """torchvision's own data set, which needs the unpacked files in a folder of their own."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((peer.MEAN,), (peer.STD,))])
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        for part, kind in itertools.product(("train", "t10k"), ("images-idx3", "labels-idx1")):
            name = f"{part}-{kind}-ubyte"
            (raw / name).write_bytes(peer.read(data, name))
        return datasets.MNIST(root, train=True, transform=transform)  # reads all of it now


args = peer.arguments()
torch.manual_seed(args.seed)
loader = DataLoader(mnist(args.data), batch_size=args.batch, shuffle=True)
device = torch.device(args.variant[0] if args.variant else "cpu")
model = MLP(args.widths).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=peer.LEARNING_RATE)


def train(steps):
    model.train()
    running_loss = 0.0
    batches = 0
    for inputs, labels in itertools.islice(loader, steps):
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        batches += 1
    return running_loss / batches


peer.serve(f"torch {torch.__version__}, torchvision {torchvision.__version__}", train)
