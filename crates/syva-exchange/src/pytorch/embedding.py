class Periodic(nn.Module):
    """Each number x becomes W cos(2 pi w x + b) + c, and x itself."""

    def __init__(self, features: int, frequencies: int, outputs: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.zeros(features, frequencies))
        self.phase = nn.Parameter(torch.zeros(features, frequencies))
        self.weight = nn.Parameter(torch.zeros(features, frequencies, outputs - 1))
        self.bias = nn.Parameter(torch.zeros(features, outputs - 1))

    def forward(self, x: Tensor) -> Tensor:
        cosines = torch.cos(2 * torch.pi * x[:, :, None] * self.frequency + self.phase)
        mixed = torch.einsum("nfm,fmo->nfo", cosines, self.weight) + self.bias
        return torch.cat([mixed, x[:, :, None]], dim=2).flatten(1)


class Piecewise(nn.Module):
    """Each number x becomes W ramp(w x + b) + c, and x itself. A ramp is 0 below 0, 1 above 1, and straight between."""

    def __init__(self, features: int, bins: int, outputs: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(features, bins))
        self.place = nn.Parameter(torch.zeros(features, bins))
        self.weight = nn.Parameter(torch.zeros(features, bins, outputs - 1))
        self.bias = nn.Parameter(torch.zeros(features, outputs - 1))

    def forward(self, x: Tensor) -> Tensor:
        ramps = torch.clamp(x[:, :, None] * self.slope + self.place, 0.0, 1.0)
        mixed = torch.einsum("nfm,fmo->nfo", ramps, self.weight) + self.bias
        return torch.cat([mixed, x[:, :, None]], dim=2).flatten(1)


class Vectors(nn.Module):
    """Each category of a column becomes a vector."""

    def __init__(self, categories: int, size: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(categories, size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.vector


class Factors(nn.Module):
    """Each input is multiplied by a factor of its own."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(inputs))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight
