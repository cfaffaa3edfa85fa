# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "anywidget",
#     "marimo",
#     "matplotlib",
#     "numpy",
#     "pandas",
#     "scikit-learn",
#     "syva-ml",
# ]
#
# [tool.uv.sources]
# syva-ml = { path = "../python" }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="A table with categories and missing values",
)


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # A table with categories and missing values

    Most data are tables: some columns are numbers, some are categories, and some values are
    missing. `SyvaClassifier` takes a data frame as it is, and works wherever estimators of
    scikit-learn do.

    The table of this notebook is drawn, not collected: 4,000 customers of a made-up bicycle
    rental, of whom some return within a month. That has a use. The true probability of each
    customer is known, so the model's can be compared with it.
    """)
    return


@app.cell
def _():
    import os

    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    from sklearn.calibration import calibration_curve
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import syva
    from syva import SyvaClassifier

    EPOCHS = int(os.environ.get("NOTEBOOK_EPOCHS", "64"))
    plt.style.use("ggplot")
    return (
        EPOCHS,
        LogisticRegression,
        OneHotEncoder,
        SimpleImputer,
        StandardScaler,
        SyvaClassifier,
        accuracy_score,
        brier_score_loss,
        calibration_curve,
        log_loss,
        make_column_transformer,
        make_pipeline,
        np,
        pd,
        permutation_importance,
        plt,
        roc_auc_score,
        syva,
        train_test_split,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## The table

    What decides is not a sum of columns. Rain keeps tourists away, but not commuters; price
    matters on long rides; and age matters up to a point and then against. `shirt` has nothing to
    do with the answer.
    """)
    return


@app.cell
def _(np, pd, train_test_split):
    def customers(rows, seed):
        """A drawn table, whether each customer returns, and how probable that was."""
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {
                "purpose": rng.choice(["commute", "tourism", "errand"], rows, p=[0.45, 0.3, 0.25]),
                "station": rng.choice(
                    ["harbour", "market", "campus", "stadium", "mill", "park"], rows
                ),
                "weather": rng.choice(["sun", "cloud", "rain"], rows, p=[0.4, 0.35, 0.25]),
                "minutes": rng.gamma(2.0, 12.0, rows).round(1),
                "price": rng.uniform(0.5, 4.0, rows).round(2),
                "age": rng.integers(16, 76, rows).astype(float),
                "shirt": rng.choice(["red", "green", "blue"], rows),
            }
        )
        is_tourist, is_rain = frame["purpose"] == "tourism", frame["weather"] == "rain"
        z = (
            0.9 * (frame["purpose"] == "commute")
            - 2.2 * (is_tourist & is_rain)
            - 0.02 * (frame["price"] - 2) * frame["minutes"]
            + 1.4 * np.exp(-(((frame["age"] - 35) / 12) ** 2))
            + 0.7 * frame["station"].isin(["campus", "harbour"])
            - 0.7
        )
        probability = 1 / (1 + np.exp(-z))
        returns = np.where(rng.random(rows) < probability, "yes", "no")
        # Some customers give no age, tourists more often; and the station is not always recorded.
        frame.loc[rng.random(rows) < np.where(is_tourist, 0.3, 0.1), "age"] = np.nan
        frame.loc[rng.random(rows) < 0.05, "station"] = None
        for name in ("purpose", "station", "weather", "shirt"):
            frame[name] = frame[name].astype("category")
        return frame, returns, probability.to_numpy()

    frame, returns, truth = customers(4000, seed=1)
    X_train, X_test, y_train, y_test, _, truth_test = train_test_split(
        frame, returns, truth, test_size=0.25, random_state=0
    )
    print(f"{len(X_train):,} rows train and {len(X_test):,} test")
    print(f"{(returns == 'yes').mean():.1%} of the customers return")
    frame.assign(returns=returns).head(8)
    return X_test, X_train, frame, truth_test, y_test, y_train


@app.cell
def _(frame, pd):
    pd.DataFrame(
        {
            "type": frame.dtypes.astype(str),
            "missing": frame.isna().mean().map("{:.1%}".format),
            "values": frame.nunique(),
        }
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Training

    `preset="tabular"` is the recipe of RealMLP: embedded columns, learned scales, and schedules
    that were tuned on many tables. It needs no settings. Categories, numbers and missing values
    are found out of the data frame. A part of the rows is set aside, and the epoch that predicts
    it best is kept.
    """)
    return


@app.cell
def _(EPOCHS, syva):
    live = syva.widgets.Live(EPOCHS, title="Customers who return")
    live
    return (live,)


@app.cell
def _(EPOCHS, SyvaClassifier, X_train, live, y_train):
    model = SyvaClassifier(preset="tabular", epochs=EPOCHS, random_state=1, callback=live)
    model.fit(X_train, y_train)
    print(model.model_)
    print(f"the best of {model.n_iter_} epochs: {model.best_epoch_}")
    return (model,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## How good is it?

    Three others stand beside it: always the same probability; logistic regression, which needs its
    columns prepared; and the true probabilities, which no model can beat but by luck.
    """)
    return


@app.cell
def _(
    LogisticRegression,
    OneHotEncoder,
    SimpleImputer,
    StandardScaler,
    X_test,
    X_train,
    accuracy_score,
    brier_score_loss,
    log_loss,
    make_column_transformer,
    make_pipeline,
    model,
    np,
    pd,
    roc_auc_score,
    truth_test,
    y_test,
    y_train,
):
    prepare = make_column_transformer(
        (
            make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
            ["minutes", "price", "age"],
        ),
        (OneHotEncoder(handle_unknown="ignore"), ["purpose", "station", "weather", "shirt"]),
    )
    linear = make_pipeline(prepare, LogisticRegression(max_iter=1000)).fit(X_train, y_train)

    is_yes = y_test == "yes"
    probabilities = {
        "always the same": np.full(len(X_test), (y_train == "yes").mean()),
        "logistic regression": linear.predict_proba(X_test)[:, 1],
        "SyvaClassifier": model.predict_proba(X_test)[:, 1],
        "the truth": truth_test,
    }
    scores = pd.DataFrame(
        {
            name: {
                "accuracy": accuracy_score(is_yes, found > 0.5),
                "AUROC": roc_auc_score(is_yes, found),
                "log loss": log_loss(is_yes, found),
                "Brier score": brier_score_loss(is_yes, found),
                "mean distance from the truth": np.abs(found - truth_test).mean(),
            }
            for name, found in probabilities.items()
        }
    ).T
    scores.round(4)
    return is_yes, probabilities


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Are its probabilities right?

    A model is *calibrated* if, of the customers to whom it gives 70 %, about 70 % return. The left
    picture groups the test rows by the model's probability. The right one is possible only here:
    it compares each with the true probability.
    """)
    return


@app.cell
def _(calibration_curve, is_yes, plt, probabilities, truth_test):
    calibration, (_left, _right) = plt.subplots(1, 2, figsize=(10, 4.4))
    for _name, _marker in (("logistic regression", "s"), ("SyvaClassifier", "o")):
        _share, _mean = calibration_curve(
            is_yes, probabilities[_name], n_bins=8, strategy="quantile"
        )
        _left.plot(_mean, _share, f"{_marker}-", label=_name)
    _right.scatter(truth_test, probabilities["SyvaClassifier"], s=8, alpha=0.4)
    for _axis in (_left, _right):
        _axis.plot([0, 1], [0, 1], color="gray", linestyle=":")
        _axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _left.set(xlabel="predicted probability", ylabel="share that returns", title="Calibration")
    _right.set(
        xlabel="true probability", ylabel="predicted by SyvaClassifier", title="Against the truth"
    )
    _left.legend()
    calibration.tight_layout()
    # Closed, it is shown once: where the cell ends with it.
    plt.close(calibration)
    calibration
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Which columns matter?

    scikit-learn's `permutation_importance` shuffles one column of the test rows at a time, and
    looks at how much worse the prediction gets. A column that has nothing to do with the answer
    has an importance of about 0.
    """)
    return


@app.cell
def _(X_test, model, np, permutation_importance, plt, y_test):
    importance = permutation_importance(
        model, X_test, y_test, scoring="neg_log_loss", n_repeats=10, random_state=0
    )
    order = np.argsort(importance.importances_mean)
    by_column, _axis = plt.subplots(figsize=(8, 3.4))
    _axis.barh(
        X_test.columns[order],
        importance.importances_mean[order],
        xerr=importance.importances_std[order],
    )
    _axis.set_xlabel("how much the log loss grows when the column is shuffled")
    by_column.tight_layout()
    plt.close(by_column)
    by_column
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## What it has learned of rain

    A question to the model: what if the same customers had come in another weather? For tourists
    the answer should change, and for commuters hardly.
    """)
    return


@app.cell
def _(X_test, model, pd):
    asked = {}
    for _weather in ("sun", "cloud", "rain"):
        _changed = X_test.assign(
            weather=pd.Categorical([_weather] * len(X_test), categories=["cloud", "rain", "sun"])
        )
        _found = pd.Series(model.predict_proba(_changed)[:, 1], index=X_test.index)
        asked[_weather] = _found.groupby(X_test["purpose"], observed=True).mean()
    pd.DataFrame(asked).round(3)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Keeping it

    The model's file opens without scikit-learn, and the command `syva predict` reads it. It knows
    its columns by their names.
    """)
    return


@app.cell
def _(X_test, model, pd, syva):
    from pathlib import Path

    Path("models").mkdir(exist_ok=True)
    model.model_.save("models/customers.safetensors")
    loaded = syva.load("models/customers.safetensors")
    print(loaded)
    print("columns:", ", ".join(loaded.columns))
    first = X_test.head(3)
    pd.DataFrame(loaded.predict_proba(first), columns=loaded.classes, index=first.index).assign(
        predicted=loaded.predict(first)
    )
    return


if __name__ == "__main__":
    app.run()
