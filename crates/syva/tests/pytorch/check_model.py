"""Opens a model.safetensors of syva in PyTorch and judges it on MNIST's 10,000 test images.

    python crates/syva/tests/pytorch/check_model.py runs/NAME/model.safetensors MNIST_DIR

Fails if a key, a shape or a type is not the one PyTorch's own class has. The figures are to be held against
`syva eval runs/NAME`. Needs torch, numpy and safetensors.
"""

import argparse

import torch
from safetensors.torch import load_file

from chapter import Net, mnist


def main():
    parser = argparse.ArgumentParser(description="Judge a model.safetensors of syva with PyTorch.")
    parser.add_argument("model", help="the file model.safetensors")
    parser.add_argument("mnist", help="the folder with MNIST's files, gzip or not")
    arguments = parser.parse_args()

    weights = load_file(arguments.model)
    net = Net()
    net.load_state_dict(weights)
    # load_state_dict would quietly convert another type; the file is to hold PyTorch's own.
    for name, parameter in net.named_parameters():
        if weights[name].dtype != parameter.dtype:
            raise SystemExit(f"{name} is {weights[name].dtype}, not {parameter.dtype}")

    images, labels = mnist(arguments.mnist, "t10k")
    with torch.no_grad():
        logits = net(images)
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    right = (logits.argmax(dim=1) == labels).sum().item()
    print(f"accuracy {right / len(labels):.4f} ({right} of {len(labels)})")
    print(f"mean loss {losses.double().mean().item():.6f}")


if __name__ == "__main__":
    main()
