"""PyTorch in f32 on an NVIDIA card that holds all data. With the variant `graph`, a step is a CUDA graph."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

import peer

args = peer.arguments()
torch.manual_seed(args.seed)
torch.set_float32_matmul_precision("highest")
device = torch.device("cuda")
images, labels = (torch.from_numpy(part).to(device) for part in peer.mnist(args.data))
layers = []
for fan_in, units in itertools.pairwise([784, *args.widths]):
    layers += [nn.Linear(fan_in, units), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(args.widths[-1], peer.CLASSES)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=peer.LEARNING_RATE, foreach=True)
total = torch.zeros((), device=device)


def step(batch):
    optimizer.zero_grad(set_to_none=False)
    loss = F.cross_entropy(model(images[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    total.add_(loss.detach())


def record():
    """A graph of one step on a full batch, and the tensor that it reads the batch from. The weights are not changed."""
    batch = torch.zeros(args.batch, dtype=torch.int64, device=device)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(batch)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before):
            parameter.copy_(value)
    return graph, batch


graph, recorded_batch = record() if args.variant == ["graph"] else (None, None)


def train(steps):
    batches = torch.randperm(len(images), device=device).split(args.batch)[:steps]
    total.zero_()
    for batch in batches:
        if graph and len(batch) == args.batch:
            recorded_batch.copy_(batch)
            graph.replay()
        else:
            step(batch)
    return total.item() / len(batches)  # waits for the card


peer.serve(f"torch {torch.__version__}, {torch.cuda.get_device_name()}", train)
