"""Makes realmlp.json: the first steps of pytabkit's RealMLP on small tables, from its own initial parameters.

    pip install "pytabkit[models]==1.7.3" && python realmlp.py > realmlp.json

The batch is the whole training part, so that the order of the samples does not matter, and there is no dropout.
"""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import torch
from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor, RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor
from pytabkit.models.training import lightning_modules

warnings.filterwarnings("ignore")
EPOCHS, TRAIN, ROWS = 8, 64, 80


def table(seed):
    draw = np.random.default_rng(seed)
    columns = {
        "a": draw.normal(size=ROWS).round(4),
        "b": draw.exponential(size=ROWS).round(4),
        "flag": draw.choice(list("pq"), ROWS),
        "few": draw.choice(list("xyz"), ROWS, p=[0.6, 0.3, 0.1]),
        "many": np.concatenate([list("abcdefghij") * 4, draw.choice(list("abcdefghij"), ROWS - 40)]),
    }
    frame = pd.DataFrame(columns)
    noise = 0.3 * draw.normal(size=ROWS)
    return frame, (frame.a + noise > 0).astype(int) + (frame.b > 1), (frame.a * frame.b + noise).round(3)


def case(name, kind, seed, classes):
    frame, labels, values = table(seed)
    y = labels.astype(str) if classes else values
    seen = {"losses": []}
    step = lightning_modules.TabNNModule.training_step

    def watched(self, batch, *rest):
        if "before" not in seen:
            seen["batch"] = {key: tensor[0].numpy().copy() for key, tensor in batch.items()}
            seen["before"] = {key: tensor.detach().clone() for key, tensor in self.named_parameters()}
        # As the steps before this one have left them.
        seen["after"] = {key: tensor.detach().clone() for key, tensor in self.named_parameters()}
        loss = step(self, batch, *rest)
        seen["losses"].append(float(loss))
        return loss

    lightning_modules.TabNNModule.training_step = watched
    x = frame.assign(**{column: pd.Categorical(frame[column]) for column in ("flag", "few", "many")})
    dropout = {} if "s" in name.split("-") else {"p_drop": 0.0}
    model = kind(
        device="cpu", random_state=seed, n_cv=1, n_refit=0, n_epochs=EPOCHS, batch_size=TRAIN, hidden_sizes=[5, 4],
        verbosity=0, n_threads=1, **dropout,
    )
    model.fit(x, y, val_idxs=np.arange(TRAIN, ROWS))
    lightning_modules.TabNNModule.training_step = step
    tensors = lambda of: [
        {"name": key.split(".", 1)[1], "shape": list(tensor.shape[1:]), "values": [float(f"{v:.9g}") for v in tensor.flatten()]}
        for key, tensor in of.items()
    ]
    return {
        "name": name,
        "columns": {column: [value if isinstance(value, str) else float(value) for value in frame[column].iloc[:TRAIN]] for column in frame},
        "target": [str(v) if classes else float(v) for v in y.iloc[:TRAIN]],
        # Sorted by the first number. Without an embedding these are the inputs of the network.
        "prepared": [[float(f"{v:.9g}") for v in row] for row in sorted(seen["batch"]["x_cont"].tolist())],
        "losses": seen["losses"],
        "before": tensors(seen["before"]),
        "after": tensors(seen["after"]),
    }


print(
    json.dumps(
        {
            "epochs": EPOCHS,
            "cases": [
                case("td-class", RealMLP_TD_Classifier, 1, True),
                case("td-regr", RealMLP_TD_Regressor, 2, False),
                case("td-s-class", RealMLP_TD_S_Classifier, 3, True),
                case("td-s-regr", RealMLP_TD_S_Regressor, 4, False),
            ],
        }
    )
)
