"""Writes a log like the course's notebook, with PyTorch's own writer: pytorch_log.py FOLDER"""

import sys

from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter(sys.argv[1])
for epoch in range(1, 6):
    writer.add_scalar("Loss/train_batch", 1.0, epoch * 469)
    writer.add_scalars("Loss/train_vs_val", {"train": 2 / epoch, "val": 2.1 / epoch}, epoch)
    writer.add_scalars("Accuracy/train_vs_val", {"train": 1 - 1 / epoch, "val": 0.9 - 0.8 / epoch}, epoch)
writer.add_text("config/device", "cpu")
writer.add_hparams({"lr": 0.01}, {"hparam/final_val_acc": 0.74})
writer.close()
