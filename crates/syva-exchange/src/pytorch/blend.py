class Blend(nn.Module):
    """An activation f of which each unit learns how far it bends the line: z + (f(z) - z) * p."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units))

    def forward(self, z: Tensor, f: Tensor) -> Tensor:
        return z + (f - z) * self.weight
