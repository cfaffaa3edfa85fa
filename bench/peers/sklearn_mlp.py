"""scikit-learn's MLPClassifier, with one call of `partial_fit` per epoch."""

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

import peer


class Mlp(MLPClassifier):
    """Draws its initial weights as PyTorch does (its own bound differs), so that training follows the same curve."""

    def _init_coef(self, fan_in, fan_out, dtype):
        bound = fan_in**-0.5
        draw = lambda size: self._random_state.uniform(-bound, bound, size).astype(dtype, copy=False)
        return draw((fan_in, fan_out)), draw(fan_out)


args = peer.arguments()
images, labels = peer.mnist(args.data)
rng = np.random.default_rng(args.seed)
classes = np.arange(peer.CLASSES)
model = Mlp(
    args.widths,
    activation="logistic",
    solver="sgd",
    alpha=0,
    batch_size=args.batch,
    learning_rate="constant",
    learning_rate_init=peer.LEARNING_RATE,
    momentum=0,
    nesterovs_momentum=False,
    random_state=args.seed,
)


def train(steps):
    if steps is None:
        model.partial_fit(images, labels, classes=classes)  # shuffles by itself
    else:
        some = rng.permutation(len(labels))[: steps * args.batch]
        model.partial_fit(images[some], labels[some], classes=classes)
    return model.loss_


peer.serve(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}", train)
