"""Trains a tiny network in PyTorch with every optimizer and activation and writes down what comes of it.

    python crates/syva/tests/golden/optimizers.py

Writes optimizers.json beside this file. A test trains the same network with our engine and compares:

torch, layers, steps         PyTorch's version, the layers' widths, and the number of steps.
inputs, labels, weights      What every case starts from. The test reads them and draws nothing.
optimizers                   Every optimizer, without and with weight decay.
activations                  SGD with every activation in both hidden layers.
learned                      Activations with a learned number per unit, and factors for some weights and biases: texts of
                             our flags in "lr_factors", "decay_factors", "parametrization" and "decay_schedule".
clipping                     SGD with its gradients clipped by norm and by value.
averaging                    Adam with an exponential moving average of its weights.
schedules                    The learning rate that each schedule gives in each of RATES steps, from step 0 on. The
                             function `schedules` has their parameters.
plateau                      Losses of epochs, and the learning rate of each epoch after which ReduceLROnPlateau saw
                             them, by the text of our flag. An accuracy is 1 minus the loss.

A case has the text of our flag for the optimizer ("optimizer") or activation ("activation", tanh if absent), the
learning rate ("lr"), the factor on the inputs ("scale", 1 if absent), the loss before each step ("losses") and all
weights after the last ("weights"). Weights are flat lists in PyTorch's order and layout: fc1.weight row after row,
fc1.bias, the learned numbers of the first activation, fc2.weight, ... Every number is the shortest decimal that reads back to the same float32.

One thread and fixed numbers make it repeatable on one machine. Another processor or torch sums in another order, which
changes the last digits. Each case is trained in float64 too and refused if that gives something else: such a case would
test rounding, not formulas. Needs torch and numpy only.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils

HERE = Path(__file__).resolve().parent

LAYERS = [5, 6, 4, 3]
SAMPLES = 12
STEPS = 20
RATES = 30
# How far float32 may be from float64, in a loss (relative to it) and in a weight (relative to the largest): a tenth of
# what the test allows.
STEADY = 1e-6

# The flag's text and a learning rate at which the loss falls and nothing explodes.
OPTIMIZERS = [
    ("sgd", 0.5),
    ("sgd:momentum=0.9", 0.1),
    ("sgd:momentum=0.9,dampening=0.3", 0.1),
    ("sgd:momentum=0.9,nesterov=true", 0.1),
    ("adam", 0.03),
    ("adam:beta1=0.8,beta2=0.99,eps=1e-4", 0.03),
    ("adamw", 0.03),
    # With the default beta2 the second moment hardly ever falls in 20 steps, and the maximum would change nothing.
    ("amsgrad:beta2=0.5", 0.03),
    ("nadam", 0.03),
    # Both are rectified from their sixth step on, by factors that grow at different speeds.
    ("radam", 0.1),
    ("radam:beta2=0.9", 0.1),
    ("rmsprop", 0.008),
    ("rmsprop:momentum=0.9", 0.003),
    ("rmsprop:centered=true", 0.008),
    ("rmsprop:momentum=0.9,centered=true", 0.003),
    ("adagrad", 0.1),
    ("adagrad:lr_decay=0.01,initial=0.1", 0.2),
    ("lion", 0.02),
]
WEIGHT_DECAY = "weight_decay=0.05"

ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky-relu": nn.LeakyReLU,
    "leaky-relu:slope=0.2": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "elu:alpha=1.5": lambda: nn.ELU(1.5),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu-tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softplus:beta=2": lambda: nn.Softplus(beta=2),
    "hard-swish": nn.Hardswish,
    "hard-sigmoid": nn.Hardsigmoid,
}


class Parametric(nn.Module):
    """Not in PyTorch: written from Holzmueller et al. 2024, Better by Default, appendix A: x + (f(x) - x) * p."""

    def __init__(self, function, units):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(units))

    def forward(self, x):
        return x + (self.function(x) - x) * self.weight


# Each is made for a number of units.
LEARNED = {
    "prelu": nn.PReLU,
    "prelu:init=-0.5": lambda units: nn.PReLU(units, init=-0.5),
    "parametric-silu": lambda units: Parametric(nn.SiLU(), units),
    "parametric-gelu": lambda units: Parametric(nn.GELU(), units),
    "parametric-tanh": lambda units: Parametric(nn.Tanh(), units),
}


class NtkLinear(nn.Linear):
    """Not in PyTorch: written from Jacot et al. 2018, Neural Tangent Kernel: x W^T / sqrt(fan_in) + b."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight / self.in_features**0.5, self.bias)


class Lion(torch.optim.Optimizer):
    """Not in PyTorch: written from Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, algorithm 2."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                m = self.state[w].setdefault("m", torch.zeros_like(w))
                c = beta1 * m + (1 - beta1) * w.grad
                w -= group["lr"] * (torch.sign(c) + group["weight_decay"] * w)
                m.copy_(beta2 * m + (1 - beta2) * w.grad)


class Muon(torch.optim.Optimizer):
    """Written from Jordan et al. 2024, Muon, with the learning rate of Liu et al. 2025, Muon is Scalable for LLM Training,
    section 2.2. PyTorch's torch.optim.Muon rounds to bfloat16 in the iteration, and leaves the other weights to AdamW."""

    def __init__(self, params, lr, momentum=0.95, nesterov=True, steps=5, adjust="match-rms-adamw", weight_decay=0.1):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.options = momentum, nesterov, int(steps), adjust
        hidden = [group for group in self.param_groups if group["hidden"]]
        self.others = torch.optim.AdamW([group for group in self.param_groups if not group["hidden"]], lr=lr)
        self.hidden = [(group, torch.zeros_like(group["params"][0])) for group in hidden]

    @torch.no_grad()
    def step(self):
        momentum, nesterov, steps, adjust = self.options
        for group, buffer in self.hidden:
            (w,) = group["params"]
            buffer.lerp_(w.grad, 1 - momentum)
            x = w.grad.lerp(buffer, momentum) if nesterov else buffer
            x = x / x.norm()
            x = x.T if w.shape[0] > w.shape[1] else x
            for _ in range(steps):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = x.T if w.shape[0] > w.shape[1] else x
            rows, columns = w.shape
            factor = max(1, rows / columns) ** 0.5 if adjust == "original" else 0.2 * max(rows, columns) ** 0.5
            w.mul_(1 - group["lr"] * group["weight_decay"])
            w.add_(x, alpha=-group["lr"] * factor)
        self.others.step()


CLASSES = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "amsgrad": lambda params, **options: torch.optim.Adam(params, amsgrad=True, **options),
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "lion": Lion,
    "muon": Muon,
}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}")
    inputs, labels, weights = draw()

    def case(**settings):
        return train(inputs, labels, weights, settings)

    decayed = [(f"{text}{',' if ':' in text else ':'}{WEIGHT_DECAY}", lr) for text, lr in OPTIMIZERS]
    optimizers = [each for pair in zip(OPTIMIZERS, decayed) for each in pair]
    # AdamW decays by default.
    optimizers.append(("adamw:weight_decay=0", dict(OPTIMIZERS)["adamw"]))

    record = {
        "torch": torch.__version__,
        "layers": LAYERS,
        "steps": STEPS,
        "inputs": short(inputs.ravel()),
        "labels": labels.tolist(),
        "weights": short(weights),
        "optimizers": [case(optimizer=text, lr=lr) for text, lr in optimizers],
        # Scaled, the inputs reach every branch, save softplus's beyond 20, where the formulas agree in float32.
        "activations": [case(activation=text, scale=3, optimizer="sgd", lr=0.1) for text in ACTIVATIONS],
        "learned": [case(activation=text, scale=3, optimizer="sgd:momentum=0.9", lr=0.03) for text in LEARNED]
        + [
            case(optimizer="sgd", lr=0.5, lr_factors="biases=0.1,first=0.5,last=2"),
            case(activation="prelu", optimizer="adam:weight_decay=0.05", lr=0.02, lr_factors="gains=3", decay_factors="biases=0,gains=2"),
            case(optimizer="sgd:momentum=0.9,weight_decay=0.02", lr=0.3, parametrization="ntk"),
            case(optimizer="adamw:weight_decay=0.05", lr=0.03, parametrization="ntk", lr_factors="biases=0.1"),
            case(optimizer="adam:eps=1e-4,weight_decay=0.01", lr=0.03, parametrization="ntk"),
            case(optimizer="rmsprop:centered=true,weight_decay=0.01", lr=0.008, parametrization="ntk"),
            case(optimizer="muon", lr=0.03),
            case(optimizer="muon:momentum=0.8,nesterov=false,steps=3,adjust=original,weight_decay=0.02", lr=0.03),
            case(optimizer="adamw:weight_decay=0.5", lr=0.03, decay_schedule="flat-cos:epochs=20"),
        ],
        "clipping": [
            case(clip="norm", bound=0.1, optimizer="sgd", lr=0.5),
            case(clip="value", bound=0.02, optimizer="sgd", lr=0.5),
        ],
        "averaging": [case(ema=0.9, optimizer="adam", lr=0.03)],
        "schedules": schedules(),
        "plateau": plateau(),
    }
    file = HERE / "optimizers.json"
    file.write_text(lines(record))
    print(f"{file.name}: {file.stat().st_size} bytes")


def draw():
    """Inputs, labels and weights from a linear congruential generator."""
    state = 1

    def draw_below(bound):
        nonlocal state
        state = (1664525 * state + 1013904223) % 2**32
        # The low bits of such a generator repeat early.
        return (state >> 16) % bound

    def draw_multiples(count):
        """Multiples of 2^-10 in [-1, 1], which float32 holds exactly."""
        return np.array([(draw_below(2049) - 1024) / 1024 for _ in range(count)])

    inputs = draw_multiples(SAMPLES * LAYERS[0]).reshape(SAMPLES, LAYERS[0])
    labels = np.array([draw_below(LAYERS[-1]) for _ in range(SAMPLES)])
    weights = draw_multiples(sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(LAYERS, LAYERS[1:])))
    return inputs, labels, weights


def train(inputs, labels, weights, settings):
    """The settings with the losses and weights that they lead to."""
    single = run(inputs, labels, weights, settings, torch.float32)
    double = run(inputs, labels, weights, settings, torch.float64)
    losses = single["losses"]
    loss_error = np.max(np.abs(losses / double["losses"] - 1))
    weight_error = max(
        np.max(np.abs(single[key] - double[key])) / np.max(np.abs(double[key])) for key in single if key != "losses"
    )
    name = " ".join(f"{key}={value}" for key, value in settings.items())
    print(f"{name}: loss {losses[0]:.4f} ... {losses[-1]:.4f}, off by {loss_error:.0e}, weights by {weight_error:.0e}")
    assert losses[-1] < losses[0], "the loss does not fall"
    assert max(loss_error, weight_error) <= STEADY, "float64 gives something else"
    return settings | {key: short(values) for key, values in single.items()}


def run(inputs, labels, weights, settings, dtype):
    """The losses before each step and the weights after the last, in this precision."""
    net = network(settings, weights, dtype)
    x = torch.from_numpy(inputs).to(dtype) * settings.get("scale", 1)
    y = torch.from_numpy(labels)
    criterion = nn.CrossEntropyLoss()
    optimizer = make(settings["optimizer"], groups(net, settings), settings["lr"])
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_factor", 1)
        group["weight_decay"] *= group.get("decay_factor", 1)
        group["full_decay"] = group["weight_decay"]
    clip = settings.get("clip")
    average = None
    if "ema" in settings:
        average = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(settings["ema"]))
    losses = []
    for step in range(STEPS):
        if "decay_schedule" in settings:
            share = step / STEPS
            factor = 1 if share <= 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * share - 1)))
            for group in optimizer.param_groups:
                group["weight_decay"] = factor * group["full_decay"]
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        if clip == "norm":
            norm = nn.utils.clip_grad_norm_(net.parameters(), settings["bound"])
            assert norm > settings["bound"], "nothing to clip"
        elif clip == "value":
            nn.utils.clip_grad_value_(net.parameters(), settings["bound"])
        optimizer.step()
        if average is not None:
            average.update_parameters(net)
        losses.append(loss.item())
    result = {"losses": np.array(losses), "weights": flat(net)}
    if average is not None:
        result["average"] = flat(average.module)
    return result


def network(settings, weights, dtype):
    activation = settings.get("activation", "tanh")
    linear = NtkLinear if "parametrization" in settings else nn.Linear
    modules = []
    for fan_in, fan_out in zip(LAYERS, LAYERS[1:]):
        modules += [linear(fan_in, fan_out), LEARNED[activation](fan_out) if activation in LEARNED else ACTIVATIONS[activation]()]
    net = nn.Sequential(*modules[:-1]).to(dtype)
    linears = [module for module in net if isinstance(module, nn.Linear)]
    parameters = [parameter for module in linears for parameter in module.parameters()]
    nn.utils.vector_to_parameters(torch.tensor(weights, dtype=dtype), parameters)
    for module in linears:
        if isinstance(module, NtkLinear):
            module.weight.data *= module.in_features**0.5
    return net


def factors(text):
    """The factors in the text of our flag."""
    return {key: float(value) for key, value in (part.split("=") for part in filter(None, text.split(",")))}


def groups(net, settings):
    """A group per tensor, with the factors that our flags give it."""
    rates, decays = factors(settings.get("lr_factors", "")), factors(settings.get("decay_factors", ""))
    layers = len(LAYERS) - 1
    made = []
    for place, module in enumerate(net):
        layer = place // 2
        for name, parameter in module.named_parameters():
            kind = {"weight": "weights", "bias": "biases"}[name] if isinstance(module, nn.Linear) else "gains"
            kinds = [kind, *(["first"] if layer == 0 else []), *(["last"] if layer + 1 == layers else [])]
            factor = {key: math.prod(given.get(kind, 1) for kind in kinds) for key, given in (("lr_factor", rates), ("decay_factor", decays))}
            hidden = kind == "weights" and 0 < layer < layers - 1
            made.append({"params": [parameter], "hidden": hidden, **factor})
    return made


def make(text, params, lr):
    """PyTorch's optimizer for the text of our flag."""
    name, _, parameters = text.partition(":")
    options = {"lr": lr}
    for parameter in filter(None, parameters.split(",")):
        key, value = parameter.split("=")
        try:
            options[key] = float(value)
        except ValueError:
            options[key] = {"true": True, "false": False}.get(value, value)
    if "beta1" in options or "beta2" in options:
        defaults = (0.9, 0.99) if name == "lion" else (0.9, 0.999)
        options["betas"] = (options.pop("beta1", defaults[0]), options.pop("beta2", defaults[1]))
    if "initial" in options:
        options["initial_accumulator_value"] = options.pop("initial")
    return CLASSES[name](params, **options)


def schedules():
    """The rates of every schedule, from a base rate of 0.1."""

    def rates(scheduler, **options):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = scheduler(optimizer, **options)
        used = []
        for step in range(RATES):
            if step > 0:
                optimizer.step()
                schedule.step()
            used.append(optimizer.param_groups[0]["lr"])
        return short(used)

    # Without momentum there is none to cycle, and that changes no rate.
    cycle = {"max_lr": 0.1, "total_steps": RATES, "cycle_momentum": False}
    return {
        "step": rates(lr_scheduler.StepLR, step_size=7, gamma=0.5),
        "multi-step": rates(lr_scheduler.MultiStepLR, milestones=[5, 12, 20], gamma=0.3),
        "exponential": rates(lr_scheduler.ExponentialLR, gamma=0.9),
        "polynomial": rates(lr_scheduler.PolynomialLR, total_iters=20, power=2),
        "cosine": rates(lr_scheduler.CosineAnnealingLR, T_max=20, eta_min=0.01),
        "cosine-restarts": rates(lr_scheduler.CosineAnnealingWarmRestarts, T_0=5, T_mult=2, eta_min=0.001),
        "one-cycle": rates(lr_scheduler.OneCycleLR, **cycle),
        "one-cycle-three-phase": rates(lr_scheduler.OneCycleLR, three_phase=True, **cycle),
        "one-cycle-linear": rates(lr_scheduler.OneCycleLR, anneal_strategy="linear", **cycle),
        "warm-up": rates(lr_scheduler.LinearLR, start_factor=0.1, total_iters=6),
    }


def plateau():
    """The rates of ReduceLROnPlateau, from a base rate of 0.1, after losses that fall, rest and rise."""
    losses = [0.9, 0.8, 0.79999, 0.81, 0.8, 0.7, 0.71, 0.7, 0.72, 0.6, 0.61, 0.62, 0.63, 0.6, 0.59, 0.6, 0.61, 0.6, 0.6, 0.6]
    losses += [0.58, 0.6, 0.6, 0.57, 0.57, 0.57, 0.57, 0.57, 0.57, 0.57, 0.4, 0.41, 0.42, 0.43, 0.44, 0.45, 0.46, 0.47, 0.48, 0.49]

    def rates(values, **options):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        used = []
        for value in values:
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step(value)
        return short(used)

    accuracies = [1 - loss for loss in losses]
    return {
        "losses": losses,
        "plateau:patience=2": rates(losses, patience=2),
        "plateau:factor=0.5,patience=0,threshold=0.01": rates(losses, factor=0.5, patience=0, threshold=0.01),
        "plateau:factor=0.3,patience=1,cooldown=3,min=0.002": rates(losses, factor=0.3, patience=1, cooldown=3, min_lr=0.002),
        "plateau:metric=val_acc,factor=0.5,patience=1,cooldown=1": rates(
            accuracies, mode="max", factor=0.5, patience=1, cooldown=1
        ),
    }


def flat(net):
    """All weights in the order of the file, copied."""
    def values(module, parameter):
        ntk = isinstance(module, NtkLinear) and parameter.ndim == 2
        return (parameter / module.in_features**0.5 if ntk else parameter).detach().numpy().ravel()

    return np.concatenate([values(module, parameter) for module in net for parameter in module.parameters()])


def short(values):
    """The shortest decimals that read back to the same float32."""
    return [float(str(np.float32(value))) for value in values]


def lines(record):
    """JSON with one case per line."""
    parts = []
    for key, value in record.items():
        if isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in value.items())
            parts.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        elif isinstance(value, list) and isinstance(value[0], dict):
            inner = ",\n".join(f"  {json.dumps(each)}" for each in value)
            parts.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
