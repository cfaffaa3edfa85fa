"""PyTorch with all images in one tensor and batches by indexing: eager or, with the variant `compile`, compiled.

With the variant `adam`, its fused Adam trains instead of plain gradient descent.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

import peer

args = peer.arguments()
torch.manual_seed(args.seed)
images, labels = map(torch.from_numpy, peer.mnist(args.data))
layers = []
for fan_in, units in itertools.pairwise([784, *args.widths]):
    layers += [nn.Linear(fan_in, units), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(args.widths[-1], peer.CLASSES))
if args.variant == ["adam"]:
    optimizer = torch.optim.Adam(model.parameters(), lr=peer.ADAM_RATE, fused=True)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=peer.LEARNING_RATE)


def loss_of(x, y):
    return F.cross_entropy(model(x), y)


if args.variant == ["compile"]:
    # Static shapes: the full batch and the smaller last one each get their own kernel during the warm-up.
    loss_of = torch.compile(loss_of, dynamic=False)


def train(steps):
    batches = torch.randperm(len(images)).split(args.batch)[:steps]
    total = torch.zeros(())
    for batch in batches:
        loss = loss_of(images[batch], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total.item() / len(batches)


peer.serve(f"torch {torch.__version__}", train)
