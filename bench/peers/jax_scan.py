"""JAX: a whole epoch is one compiled call, the smaller last batch included; `lax.scan` runs over the full batches.

It runs on the CPU or, with the variant `cuda`, on an NVIDIA card in f32 (where the default would be TF32). With the
variant `adam`, optax's Adam trains instead of plain gradient descent.
"""

import ctypes
import functools
import itertools
import mmap
import os
import struct
import sys

CUDA = sys.argv[5:] == ["cuda"]
os.environ["JAX_PLATFORMS"] = "cuda" if CUDA else "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax

import peer


def hold_products_to_avx2():
    """XLA's own flag holds only the code that XLA compiles. Its products come from YNNPACK, which asks the processor what
    it has, once, and keeps the answer. So the answer is written before it asks: all up to FMA, and no AVX-512."""
    import jaxlib

    library = os.path.join(os.path.dirname(jaxlib.__file__), "libjax_common.so")
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps if line.rstrip().endswith("/libjax_common.so")]
    base = min(int(line[0].split("-")[0], 16) - int(line[2], 16) for line in lines)
    with open(library, "rb") as file:
        elf = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    (sections,), (size, count) = struct.unpack_from("<Q", elf, 0x28), struct.unpack_from("<HH", elf, 0x3A)
    # Name, type, flags, address, offset, size, link, info, alignment, entry size.
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, sections + size * i) for i in range(count)]
    symbols = next(header for header in headers if header[1] == 2)
    strings = headers[symbols[6]]
    table = np.frombuffer(
        elf, [("name", "<u4"), ("rest", "<u4"), ("at", "<u8"), ("size", "<u8")], symbols[5] // 24, symbols[4]
    )

    def address(name):
        at = elf.find(b"\0" + name + b"\0", strings[4], strings[4] + strings[5])
        found = table["at"][table["name"] == at + 1 - strings[4]]
        if at < 0 or len(found) != 1:
            sys.exit(f"jax: {name.decode()} is not in {library}, so its products cannot be held to AVX2")
        return base + int(found[0])

    flags = b"ZN3ynn24get_supported_arch_flagsEvE5flags"
    ctypes.c_uint64.from_address(address(b"_Z" + flags)).value = 0x3FF
    ctypes.c_uint8.from_address(address(b"_ZGV" + flags)).value = 1


if "max_isa=AVX2" in os.environ.get("XLA_FLAGS", ""):
    hold_products_to_avx2()
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


optimizer = optax.adam(peer.ADAM_RATE) if args.variant == ["adam"] else optax.sgd(peer.LEARNING_RATE)


@functools.partial(jax.jit, donate_argnums=0)
def train_batches(trained, images, labels, full, rest):
    """`full` [steps, batch] and `rest` [samples left over] are indices of samples."""

    def step(trained, batch):
        params, state = trained
        take = functools.partial(jnp.take, indices=batch, axis=0, mode="clip")
        loss, gradients = jax.value_and_grad(loss_of)(params, take(images), take(labels))
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), loss

    trained, losses = jax.lax.scan(step, trained, full)
    if rest.size:
        trained, loss = step(trained, rest)
        losses = jnp.append(losses, loss)
    return trained, jnp.mean(losses)


images, labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
params = [linear(a, b) for a, b in itertools.pairwise([784, *args.widths, peer.CLASSES])]
trained = params, optimizer.init(params)


def train(steps):
    global trained
    order = rng.permutation(samples).astype(np.int32)[: steps and steps * args.batch]
    whole = len(order) // args.batch * args.batch
    trained, loss = train_batches(trained, images, labels, order[:whole].reshape(-1, args.batch), order[whole:])
    return loss.block_until_ready()


peer.serve(f"jax {jax.__version__}, optax {optax.__version__}", train)
