"""JAX: a whole epoch is one compiled call, the smaller last batch included; `lax.scan` runs over the full batches.

It runs on the CPU or, with the variant `cuda`, on an NVIDIA card in f32 (where the default would be TF32).
"""

import functools
import itertools
import os
import sys

CUDA = sys.argv[5:] == ["cuda"]
os.environ["JAX_PLATFORMS"] = "cuda" if CUDA else "cpu"

import jax
import jax.numpy as jnp
import numpy as np

import peer

if CUDA:
    jax.config.update("jax_default_matmul_precision", "float32")
args = peer.arguments()
images, labels = peer.mnist(args.data)
samples = len(labels)
rng = np.random.default_rng(args.seed)


def linear(fan_in, units):
    bound = fan_in**-0.5
    return tuple(jnp.asarray(rng.uniform(-bound, bound, size), jnp.float32) for size in ((fan_in, units), units))


def loss_of(params, x, y):
    *hidden, (weight, bias) = params
    for w, b in hidden:
        x = jax.nn.sigmoid(x @ w + b)
    log_probabilities = jax.nn.log_softmax(x @ weight + bias)
    return -jnp.mean(jnp.sum(jax.nn.one_hot(y, peer.CLASSES) * log_probabilities, axis=1))


@functools.partial(jax.jit, donate_argnums=0)
def train_batches(params, images, labels, full, rest):
    """`full` [steps, batch] and `rest` [samples left over] are indices of samples."""

    def step(params, batch):
        take = functools.partial(jnp.take, indices=batch, axis=0, mode="clip")
        loss, gradients = jax.value_and_grad(loss_of)(params, take(images), take(labels))
        return jax.tree.map(lambda p, g: p - peer.LEARNING_RATE * g, params, gradients), loss

    params, losses = jax.lax.scan(step, params, full)
    if rest.size:
        params, loss = step(params, rest)
        losses = jnp.append(losses, loss)
    return params, jnp.mean(losses)


images, labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
params = [linear(a, b) for a, b in itertools.pairwise([784, *args.widths, peer.CLASSES])]


def train(steps):
    global params
    order = rng.permutation(samples).astype(np.int32)[: steps and steps * args.batch]
    whole = len(order) // args.batch * args.batch
    params, loss = train_batches(params, images, labels, order[:whole].reshape(-1, args.batch), order[whole:])
    return loss.block_until_ready()


peer.serve(f"jax {jax.__version__}", train)
