"""Makes the files in this folder, by PyTorch: weights in several forms, and golden.json, what PyTorch computes with them.

    python make.py

Needs torch, numpy and safetensors. The files that are there were made with torch 2.15.
"""

import json
import os
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
INPUTS = [[0.5, -1.0, 2.0, 0.25], [0.0, 0.0, 0.0, 0.0], [-3.0, 1.5, 0.125, -0.75]]


class Evil:
    """Runs a program when it is unpickled."""

    def __reduce__(self):
        return (os.system, ("touch /tmp/syva-was-here",))


class Named(nn.Module):
    """Layers whose names sort in another order than they are used in, and ten of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(11))
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


class Prelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.PReLU(6, 0.1), nn.Linear(6, 5), nn.PReLU(), nn.Linear(5, 1))

    def forward(self, x):
        return self.body(x)


class Reversed(nn.Module):
    """Layers that also fit each other in the order of their names, but are used in the order of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.last(torch.relu(self.early(torch.relu(self.late(x)))))


def sequential():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def main() -> None:
    torch.manual_seed(0)
    golden = {}

    def say(name: str, net: nn.Module, activation: str) -> None:
        with torch.no_grad():
            outputs = net(torch.tensor(INPUTS)).tolist()
        golden[name] = {"activation": activation, "outputs": outputs}

    net = sequential()
    torch.save(net.state_dict(), HERE / "sequential.pt")
    say("sequential.pt", net, "relu")
    save_file(net.state_dict(), HERE / "sequential.safetensors")
    say("sequential.safetensors", net, "relu")
    wrapped = OrderedDict((f"module._orig_mod.net.{name}", value) for name, value in net.state_dict().items())
    checkpoint = {"epoch": 3, "state_dict": wrapped, "optimizer": {"lr": 0.1, "steps": [1, 2**40]}, "note": None}
    torch.save(checkpoint, HERE / "checkpoint.pth")
    say("checkpoint.pth", net, "relu")
    net = sequential()
    torch.save(net.state_dict(), HERE / "protocol4.pt", pickle_protocol=4)
    say("protocol4.pt", net, "relu")
    torch.save(net, HERE / "whole.pt")
    torch.save(net.state_dict(), HERE / "old.pt", _use_new_zipfile_serialization=False)
    for name, kind in [("half.pt", torch.float16), ("bfloat16.pt", torch.bfloat16), ("double.pt", torch.float64)]:
        net = sequential().to(kind)
        for parameter in net.parameters() if kind == torch.float64 else []:
            parameter.data += 1e-9 * torch.rand_like(parameter)
        torch.save(net.state_dict(), HERE / name)
        say(name, net.float(), "relu")

    # Views: a transposed matrix, and parts of longer vectors.
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    wide, long = torch.randn(4, 8), torch.randn(20)
    views = {"fc1.weight": wide.t(), "fc1.bias": long[3:11], "fc2.weight": torch.randn(2, 16)[:, ::2], "fc2.bias": long[::19]}
    net.load_state_dict(dict(zip(net.state_dict(), views.values())))
    torch.save(views, HERE / "views.pt")
    say("views.pt", net, "relu")

    net = Named()
    torch.save(net.state_dict(), HERE / "named.pt")
    say("named.pt", net, "tanh")
    save_file(net.state_dict(), HERE / "named.safetensors")
    say("named.safetensors", net, "tanh")
    net = Prelu()
    save_file(net.state_dict(), HERE / "prelu.safetensors")
    say("prelu.safetensors", net, "prelu")

    net = Reversed()
    torch.save(net.state_dict(), HERE / "reversed.pt")
    say("reversed.pt", net, "relu")

    torch.save({"0.weight": Evil()}, HERE / "evil.pt")
    torch.save(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).state_dict(), HERE / "batchnorm.pt")
    torch.save(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Linear(3, 2)).state_dict(), HERE / "conv.pt")
    (HERE / "golden.json").write_text(json.dumps({"inputs": INPUTS, "files": golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
