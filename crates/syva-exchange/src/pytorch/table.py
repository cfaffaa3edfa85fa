def as_text(cell: Any) -> str | None:
    """The text of a category: a whole number without a fraction; None if it is missing."""
    if cell is None or cell == "" or cell != cell:
        return None
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def rank(x: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The share of a distribution that is below x, from 0 to 1."""
    last = len(quantiles) - 1
    low, high = np.searchsorted(quantiles, x, "left"), np.searchsorted(quantiles, x, "right")
    above = np.clip(low, 1, last)
    a, b = quantiles[above - 1], quantiles[above]
    with np.errstate(all="ignore"):
        between = above - 1 + (x - a) / (b - a)
    place = np.where(low < high, (low + high - 1) / 2, between) / last
    lowest, highest = quantiles[0], quantiles[-1]
    place = np.where((x <= lowest) & (x < highest), 0.0, place)
    return np.where((x >= highest) & (x > lowest), 1.0, place)


def scale(x: np.ndarray, scaler: dict[str, Any]) -> np.ndarray:
    """Scaled numbers."""
    if "quantiles" in scaler:
        p = np.clip(rank(x, np.array(scaler["quantiles"])), 1e-7, 1 - 1e-7)
        return torch.special.ndtri(torch.from_numpy(p)).numpy()
    affine = scaler["affine"]
    y = (x - affine["centre"]) * affine["factor"]
    if not affine["clip"]:
        return y
    y = np.clip(y, -1e100, 1e100)
    return y / np.sqrt(1 + (y / 3) ** 2)


def number_inputs(x: np.ndarray, encoding: dict[str, Any]) -> list[np.ndarray]:
    """The inputs of numbers, which are NaN if they are missing: the scaled number, and whether it is missing."""
    missing = np.isnan(x)
    inputs = [scale(np.where(missing, encoding["median"], x), encoding["scaler"])]
    if "indicator" in encoding:
        there, absent = encoding["indicator"]
        inputs.append(np.where(missing, absent, there))
    return inputs


def category_inputs(cells: list[str | None], encoding: dict[str, Any]) -> list[np.ndarray]:
    """The inputs of categories: one, or one for each text, of which at most one is on."""
    places = {text: place for place, text in enumerate(encoding["values"])}
    if encoding["kind"] == "binary":
        return [np.array([encoding["levels"][places.get(cell, 2)] for cell in cells])]
    if encoding["missing"]:
        places[None] = len(places)
    place = np.array([places.get(cell, -1) for cell in cells])
    levels = encoding.get("levels") or [[0.0, 1.0]] * len(places)
    return [np.where(place == k, on, off) for k, (off, on) in enumerate(levels)]


def date_inputs(cells: pd.Series, encoding: dict[str, Any]) -> list[np.ndarray]:
    """The inputs of dates: numbers for the parts of each."""
    day_first = encoding["format"] == "day-first"
    dates = pd.to_datetime(cells, dayfirst=day_first, format="mixed")
    day = (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)
    hour = dates.dt.hour + dates.dt.minute / 60 + (dates.dt.second + dates.dt.microsecond / 1e6) / 3600
    parts = {
        "elapsed": day,
        "year": dates.dt.year,
        "month": dates.dt.month,
        "day": dates.dt.day,
        "weekday": dates.dt.weekday,
        "hour": hour,
    }
    inputs = []
    for part, number in encoding["parts"]:
        inputs += number_inputs(parts[part].to_numpy(float), number)
    return inputs


def encode(table: pd.DataFrame, schema: dict[str, Any]) -> np.ndarray:
    """The network's inputs [N, inputs], before the normalisation, of a table's rows. Columns are found by their names."""
    inputs = []
    for feature in schema["features"]:
        cells = table[feature["column"]]
        if feature["kind"] == "number":
            inputs += number_inputs(pd.to_numeric(cells).to_numpy(float), feature)
        elif feature["kind"] == "date":
            inputs += date_inputs(cells, feature)
        else:
            inputs += category_inputs([as_text(cell) for cell in cells], feature)
    return np.stack(inputs, axis=1).astype(np.float32)
