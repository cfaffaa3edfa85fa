def decode(values: np.ndarray, schema: dict[str, Any]) -> np.ndarray:
    """Values [N, targets] in the units of their targets."""
    decoded = []
    for y, target in zip(values.T, schema["target"]["columns"]):
        y = y * target["std"] + target["mean"]
        transform = target.get("transform")
        if transform == "log":
            y = np.exp(y)
        elif transform is not None:
            quantiles = np.array(transform["quantiles"])
            p = torch.special.ndtr(torch.from_numpy(y)).numpy()
            y = np.interp(p * (len(quantiles) - 1), np.arange(len(quantiles)), quantiles)
        if "range" in target:
            y = np.clip(y, *target["range"])
        decoded.append(y)
    return np.stack(decoded, axis=1)
