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
#     "tensorboard",
# ]
#
# [tool.uv.sources]
# syva-ml = { path = "../python" }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Ensimmäinen malli: MLP ja MNIST")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Ensimmäinen malli: MLP ja MNIST

    Tämä muistikirja kouluttaa syväoppimisen kurssin luvun *Syvät neuroverkot* verkon:
    784-256-128-10 ja sigmoid-aktivaatiot. Verkko oppii tunnistamaan käsinkirjoitettuja numeroita.
    Asetukset, nimet ja luvut ovat luvun omat. Laskennan tekee PyTorchin sijasta
    [Syvä](https://github.com/syva-ml/syva).

    1. **Case**: data, malli, koulutus, kuvaajat, TensorBoard, raportti, sekaannusmatriisi ja
       yksittäiset kuvat.
    2. **Kysymykset**, jotka luku jättää auki. Vaihteleeko tarkkuus joka kerta? Riippuuko se
       laitteesta? Mitä eräkoko ja verkon muoto tekevät? Milloin verkko ylikouluttuu?

    Toinen osa on mahdollinen, koska Syvän koulutuksella on yksi tulos, bitilleen. Jos kaksi
    koulutusta eroaa toisistaan, ero johtuu siitä, mitä niiden välillä muutettiin.

    Solua voi muuttaa ja sen voi ajaa uudelleen. marimo ajaa silloin myös ne solut, jotka riippuvat
    siitä.
    """)
    return


@app.cell
def _():
    import os
    from datetime import datetime
    from itertools import pairwise
    from pathlib import Path

    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    from sklearn.metrics import classification_report, confusion_matrix

    import syva

    plt.style.use("ggplot")

    print("syva", syva.__version__)
    for device in syva.devices():
        print(f"{device.name}: {device.model} ({device.detail})")
    return (
        Path,
        classification_report,
        confusion_matrix,
        datetime,
        np,
        os,
        pairwise,
        pd,
        plt,
        syva,
    )


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Asetukset

    Asetukset ovat luvun asetukset: tavallinen gradienttimenetelmä (SGD), oppimisnopeus 0,01,
    eräkoko 128 ja 100 epookkia. Yksi asetus on uusi. Siemenluku `SEED` määrää alkupainot ja kuvien
    järjestyksen. Luvun muistikirja ei aseta sitä, joten sen jokainen koulutus päättyy eri
    tulokseen.

    Jos yllä olevassa luettelossa on näytönohjain, `USE_GPU` ottaa sen käyttöön. Tuloksessa on
    samat bitit jokaisella laitteella, jonka aritmetiikka on tarkka.
    """)
    return


@app.cell
def _(os, syva):
    USE_GPU = False
    LR = 0.01
    # Muistikirjan testit kouluttavat vähemmän epookkeja.
    EPOCHS = int(os.environ.get("NOTEBOOK_EPOCHS", "100"))
    BATCH_SIZE = 128
    HIDDEN = (256, 128)
    SEED = 1

    gpus = [d.name for d in syva.devices() if d.name not in ("cpu", "reference")]
    DEVICE = gpus[0] if USE_GPU and gpus else "cpu"
    return BATCH_SIZE, DEVICE, EPOCHS, HIDDEN, LR, SEED


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Data

    MNIST-datassa on 60 000 koulutuskuvaa ja 10 000 validaatiokuvaa. Kussakin on 28 × 28
    harmaasävyistä pikseliä. Syvä etsii tiedostoja kansiosta `$SYVA_MNIST_DIR` ja välimuististaan,
    ja muuten se lataa ne. Ilman verkkoyhteyttä Syvä piirtää omat numeronsa. Ne ovat MNISTiä
    helpompia, joten kaikki alla olevat luvut ovat silloin toisia.
    """)
    return


@app.cell
def _(BATCH_SIZE, DEVICE, datetime, np, syva):
    try:
        DATA, (train, validation) = "mnist", syva.data.mnist()
    except (OSError, ValueError) as problem:
        print(f"MNIST ei ole saatavilla ({problem}).")
        print("Muistikirja jatkaa numeroilla, jotka Syvä piirtää itse.\n")
        DATA, (train, validation) = "digits", syva.data.digits()

    RUN_NAME = f"{DATA}_mlp_{DEVICE.replace(':', '')}_{datetime.now():%Y%m%d_%H%M%S}"
    steps = -(-len(train.labels) // BATCH_SIZE)
    classes = np.unique(train.labels)

    print("ajo:", RUN_NAME)
    print(f"koulutus: {train.images.shape}, {train.images.dtype}")
    print(f"validaatio: {validation.images.shape}")
    print("luokat:", classes)
    print(f"epookissa on {len(train.labels):,} / {BATCH_SIZE} eli {steps} askelta")
    return DATA, RUN_NAME, train, validation


@app.cell
def _(plt, train):
    samples, _axes = plt.subplots(4, 12, figsize=(10, 3.8))
    for _axis, _image, _label in zip(_axes.flat, train.images, train.labels, strict=False):
        _axis.imshow(_image, cmap="gray_r")
        _axis.set_title(_label, fontsize=9)
        _axis.axis("off")
    samples.tight_layout()
    # Suljettu kuva näkyy kerran: siinä, missä solu päättyy siihen.
    plt.close(samples)
    samples
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Verkko näkee standardoituja pikseleitä: $(x / 255 - 0{,}1307) / 0{,}3081$. Luvut ovat MNISTin
    koulutuskuvien keskiarvo ja keskihajonta. Syvä tekee tämän itse ja tallentaa sen malliin, joten
    mallille annetaan aina raakoja pikseleitä.

    ## Malli

    Täysin yhdistetty kerros laskee $h = a(Wx + b)$. Sen parametrit ovat painot $W$, yksi
    jokaiselle syötteen ja neuronin parille, ja vakiotermit (bias) $b$, yksi jokaiselle neuronille.
    Piilokerrosten aktivaatiofunktio $a$ on sigmoid. Viimeisessä kerroksessa sitä ei ole: sen
    ulostulot ovat *logitteja*.
    """)
    return


@app.cell
def _(HIDDEN, pairwise, pd):
    def layers_of(widths):
        """Verkon kerrokset ja kunkin parametrien määrä."""
        pairs = list(pairwise(widths))
        return pd.DataFrame(
            {
                "syötteet": [a for a, _ in pairs],
                "neuronit": [b for _, b in pairs],
                "painot": [a * b for a, b in pairs],
                "vakiotermit": [b for _, b in pairs],
                "parametrit": [(a + 1) * b for a, b in pairs],
            },
            index=[f"fc{k + 1}" for k in range(len(pairs))],
        )

    architecture = layers_of([784, *HIDDEN, 10])
    total = architecture["parametrit"].sum()
    print(f"{total:,} parametria, 32-bittisinä {4 * total / 1024:,.0f} KiB")
    architecture
    return (layers_of,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Koulutus

    Kuvaajat kasvavat, kun seuraava solu kouluttaa verkkoa. Ne piirtää `syva.widgets.Live`, jota
    kutsutaan jokaisen epookin jälkeen.
    """)
    return


@app.cell
def _(EPOCHS, RUN_NAME, syva):
    live = syva.widgets.Live(EPOCHS, title=RUN_NAME, language="fi")
    live
    return (live,)


@app.cell
def _(
    BATCH_SIZE,
    DATA,
    DEVICE,
    EPOCHS,
    HIDDEN,
    LR,
    RUN_NAME,
    SEED,
    live,
    syva,
):
    run = syva.train(
        DATA,
        hidden=HIDDEN,
        activation="sigmoid",
        optimizer="sgd",
        lr=LR,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        seed=SEED,
        device=DEVICE,
        out=f"runs/{RUN_NAME}",
        callback=live,
    )
    history = run.history
    seconds = history["train_seconds"] + history["eval_seconds"]

    print(f"{EPOCHS} epookkia, {seconds.sum():.1f} s, epookki {seconds.mean():.3f} s")
    last = history.iloc[-1]
    print(f"koulutustarkkuus {last['train_acc']:.2%}, validaatiotarkkuus {last['val_acc']:.2%}")
    print("painojen SHA-256:", run.model.digest)
    shown = [1, *range(10, EPOCHS + 1, 10)] if EPOCHS >= 10 else history.index
    history.loc[shown, "train_loss":"val_acc"].round(4)
    return history, run, seconds


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Koulutuksen luvut kertyvät epookin aikana, kun painot vielä muuttuvat. Validaation luvut
    lasketaan epookin jälkeen. Siksi validaatio voi olla ensimmäisillä epookeilla koulutusta
    edellä.
    """)
    return


@app.cell
def _(history, plt):
    curves, _axis = plt.subplots(figsize=(10, 6))
    for _name in ("train_loss", "val_loss", "train_acc", "val_acc"):
        _axis.plot(history.index, history[_name], label=_name)
    _axis.set_title("Häviö ja tarkkuus koulutuksen aikana")
    _axis.set_xlabel("Epookki")
    _axis.set_ylabel("Häviö / tarkkuus")
    _axis.legend()
    plt.close(curves)
    curves
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## TensorBoard

    Ajon kansiossa on samanlaiset tapahtumatiedostot kuin luvun muistikirja kirjoittaa, ja niissä
    ovat samat tunnisteet: `Loss/train_batch` joka 50. erästä sekä `Loss/train_vs_val` ja
    `Accuracy/train_vs_val`, jotka ovat kansioita, joissa on kussakin yksi käyrä. Ne näkyvät
    välilehdillä *Scalars*, *Graphs*, *HParams* ja *Text*.
    """)
    return


@app.cell
def _(run):
    print(run.folder)
    for _file in sorted(
        path for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"
    ):
        print(f"{_file.stat().st_size:>9,} tavua  {_file.relative_to(run.folder)}")
    print(f"\ntensorboard --logdir {run.folder.parent.resolve()}")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Tallennus ja lataus

    Tiedostossa `model.safetensors` ovat painot sekä tieto siitä, miten kerrokset on yhdistetty ja
    miten pikselit standardoidaan. PyTorch lukee saman tiedoston: sen avaimet ovat `fc1.weight`,
    `fc1.bias` ja niin edelleen.
    """)
    return


@app.cell
def _(Path, RUN_NAME, run, syva):
    Path("models").mkdir(exist_ok=True)
    file = Path("models") / f"{RUN_NAME}_model.safetensors"
    run.model.save(file)
    model = syva.load(file)
    print(f"{file}: {file.stat().st_size:,} tavua")
    print(model)
    print("ladatut painot ovat koulutetut painot:", model.digest == run.model.digest)
    return (model,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Arviointi

    *Precision*: kuinka suuri osa kuvista, joita malli väittää kolmosiksi, on kolmosia? *Recall*:
    kuinka suuren osan kaikista kolmosista malli löytää? Matriisissa on rivi jokaiselle oikealle
    numerolle ja sarake jokaiselle ennustetulle, joten kaikki lävistäjän ulkopuolella on väärin.
    """)
    return


@app.cell
def _(classification_report, model, validation):
    predicted = model.predict(validation.images)
    print(classification_report(validation.labels, predicted, digits=4, zero_division=0))
    return (predicted,)


@app.cell
def _(confusion_matrix, np, plt, predicted, validation):
    matrix = confusion_matrix(validation.labels, predicted)
    confusion, _axis = plt.subplots(figsize=(6.4, 6))
    _axis.imshow(np.sqrt(matrix), cmap="Blues")
    for _true in range(10):
        for _said in range(10):
            _dark = matrix[_true, _said] > matrix.max() / 3
            _axis.text(
                _said,
                _true,
                matrix[_true, _said],
                ha="center",
                va="center",
                color="white" if _dark else "black",
            )
    _axis.set(xticks=range(10), yticks=range(10), xlabel="ennustettu", ylabel="oikea")
    _axis.set_title(
        f"{(predicted != validation.labels).sum()} kuvaa {len(predicted):,} kuvasta meni väärin"
    )
    _axis.grid(False)
    plt.close(confusion)
    confusion
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Yksittäiset kuvat

    Verkko palauttaa logitteja. Softmax, $p_k = e^{z_k} / \sum_j e^{z_j}$, tekee niistä kymmenen
    todennäköisyyttä. Koulutuksessa sen tekee häviöfunktio: ristientropia ottaa vastaan logitteja.
    Ennustettaessa sen tekee `predict_proba`, ja `outputs` palauttaa logitit sellaisinaan. Suurin
    logitti on myös suurin todennäköisyys, joten luokan ennustamiseen ei softmaxia edes tarvita.
    """)
    return


@app.cell
def _(model, np, pd, validation):
    z = model.outputs(validation.images[:1])[0]
    softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    single = pd.DataFrame(
        {
            "logit": z,
            "softmax": softmax,
            "predict_proba": model.predict_proba(validation.images[:1])[0],
        }
    )
    single.index.name = "numero"
    print("oikea numero:", validation.labels[0])
    single.round(4)
    return


@app.cell
def marimo_choice(mo, validation):
    choice = mo.ui.slider(
        0,
        len(validation.labels) - 1,
        value=0,
        label="validaatiokuva",
        show_value=True,
        full_width=True,
    )
    choice
    return (choice,)


@app.cell
def marimo_image(choice, model, plt, validation):
    chosen, (_left, _right) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=[1, 2])
    _left.imshow(validation.images[choice.value], cmap="gray_r")
    _left.set_title(f"oikea: {validation.labels[choice.value]}", fontsize=10)
    _left.axis("off")
    _right.bar(
        range(10), model.predict_proba(validation.images[choice.value : choice.value + 1])[0]
    )
    _right.set(ylim=(0, 1), xticks=range(10), ylabel="todennäköisyys")
    plt.close(chosen)
    chosen
    return


@app.cell
def _(model, np, plt, predicted, validation):
    # Väärin tunnistetut kuvat, joiden väärästä numerosta malli on varmin.
    probabilities = model.predict_proba(validation.images)
    wrong = np.flatnonzero(predicted != validation.labels)
    surest = wrong[np.argsort(-probabilities[wrong].max(axis=1))][:12]

    misread, _axes = plt.subplots(2, 6, figsize=(10, 4.2))
    for _axis, _k in zip(_axes.flat, surest, strict=False):
        _axis.imshow(validation.images[_k], cmap="gray_r")
        _axis.set_title(
            f"{validation.labels[_k]} → {predicted[_k]}\n{probabilities[_k].max():.1%} varma",
            fontsize=9,
        )
    for _axis in _axes.flat:
        _axis.axis("off")
    misread.tight_layout()
    plt.close(misread)
    misread
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Kysymykset

    ## Antaako sama koulutus saman verkon?

    Useimmissa kirjastoissa ei anna. Summat jaetaan säikeille vaihtelevassa järjestyksessä, joten
    ne pyöristyvät eri tavoin, ja tuhansien askelten jälkeen painot eroavat. Syvä laskee summat
    aina samassa järjestyksessä. Kaikkien painojen tiiviste (SHA-256) paljastaa, jos yksikin bitti
    on toinen.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, SEED, pd, syva):
    REPEAT_EPOCHS = min(EPOCHS, 2)
    repeats = {
        "yksi säie": {"n_jobs": 1},
        "kaksi säiettä": {"n_jobs": 2},
        "kaikki ytimet": {"n_jobs": -1},
        "sama uudelleen": {"n_jobs": -1},
        "toinen siemenluku": {"n_jobs": -1, "seed": SEED + 1},
    }
    same = {"epochs": REPEAT_EPOCHS, "lr": LR, "seed": SEED}
    digests = {
        _name: syva.train(DATA, hidden=HIDDEN, **(same | _settings)).model.digest
        for _name, _settings in repeats.items()
    }
    for _name, _digest in digests.items():
        print(f"{_name:18} {_digest}")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Sama pätee koneesta toiseen. Tämä on luvun koulutuksen tiiviste, 100 epookkia siemenluvulla 1,
    sellaisena kuin se on käyttöohjeessa.
    """)
    return


@app.cell
def _(BATCH_SIZE, DATA, EPOCHS, HIDDEN, LR, SEED, run):
    MANUAL = "9df504ef289900be62589c7d1605792ca8b1f99eddddc9e854cf35e0643c3f80"
    is_chapter = (DATA, EPOCHS, LR, BATCH_SIZE, HIDDEN, SEED) == (
        "mnist",
        100,
        0.01,
        128,
        (256, 128),
        1,
    )
    print("ohje:", MANUAL)
    print("tässä:", run.model.digest)
    if is_chapter:
        print("samat bitit" if run.model.digest == MANUAL else "eri bitit: ilmoita siitä")
    else:
        print("asetukset tai data ovat toiset, joten painotkin ovat toiset")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Vaihteleeko tarkkuus koulutuksesta toiseen?

    Se vaihtelee siemenluvun mukaan, koska siemenluku määrää alkupainot ja kuvien järjestyksen.
    Tässä koulutetaan viidellä siemenluvulla, jotta nähdään, kuinka paljon. Ajan säästämiseksi
    oppimisnopeus on kymmenkertainen ja epookkeja on kymmenesosa: lyhyillä askelilla pääsee
    suunnilleen yhtä pitkälle kuin kymmenesosalla kymmenen kertaa pidempiä.

    Luvun laitetaulukon tarkkuuksien, 95,35, 95,18, 95,21 ja 95,14 %, keskihajonta on 0,09
    prosenttiyksikköä. Jos pelkät siemenluvut hajoavat yhtä paljon, taulukko ei kerro laitteista
    mitään.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, pd, plt, syva):
    SEED_EPOCHS = min(EPOCHS, 10)
    accuracies = pd.Series(
        {
            _seed: syva.train(
                DATA, hidden=HIDDEN, lr=10 * LR, epochs=SEED_EPOCHS, seed=_seed
            ).epochs["val_acc"][-1]
            for _seed in range(1, 6)
        },
        name="validaatiotarkkuus",
    )
    chapter_accuracies = pd.Series(
        {"MacBook CPU": 95.35, "MacBook MPS": 95.18, "PC CPU": 95.21, "PC CUDA": 95.14}
    )

    spread, _axis = plt.subplots(figsize=(8, 2.2))
    _axis.scatter(100 * accuracies, ["viisi siemenlukua"] * 5, s=60, alpha=0.7)
    _axis.scatter(chapter_accuracies, ["luvun laitteet"] * 4, s=60, alpha=0.7, marker="D")
    _axis.set_xlabel("validaatiotarkkuus, %")
    _axis.margins(y=0.5)
    spread.tight_layout()

    for _name, _found in (
        ("viisi siemenlukua", 100 * accuracies),
        ("luvun laitteet", chapter_accuracies),
    ):
        print(f"{_name}: keskiarvo {_found.mean():.2f} %, hajonta {_found.std():.2f} %-yksikköä")
    plt.close(spread)
    spread
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Kauanko epookki kestää?

    Neljä ensimmäistä riviä ovat luvun: PyTorch MacBook Prolla (M2 Max) ja PC:llä (i7-12700F ja RTX
    3060 Ti). Viimeinen rivi on tämän muistikirjan koulutus. Sekä suoritin että laskentakirjasto
    vaihtuvat samalla, joten taulukko ei kerro, kumpi niistä teki eron.

    Miksi näytönohjain ei ole luvussa nopeampi? Verkko on pieni. Askel kertoo 128 kuvaa 235 146
    parametrilla, mihin näytönohjain käyttää mikrosekunteja. Kuvien valmistelu, monen pienen
    ohjelman käynnistäminen ja niiden odottaminen kestää kauemmin kuin itse laskeminen.
    Näytönohjain on hintansa arvoinen leveillä verkoilla ja suurilla erillä.
    """)
    return


@app.cell
def _(DEVICE, history, pd, seconds):
    speeds = pd.DataFrame(
        [
            ("MacBook Pro (CPU)", 2.9, 288, 95.35),
            ("MacBook Pro (MPS)", 3.7, 372, 95.18),
            ("PC (CPU)", 3.2, 322, 95.21),
            ("PC (CUDA)", 3.3, 330, 95.14),
            (
                f"tässä, Syvä ({DEVICE})",
                seconds.mean(),
                seconds.sum(),
                100 * history["val_acc"].iloc[-1],
            ),
        ],
        columns=["rauta", "s / epookki", "s yhteensä", "validaatiotarkkuus, %"],
    )
    speeds.round({"s / epookki": 3, "s yhteensä": 1, "validaatiotarkkuus, %": 2})
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Mitä eräkoko tekee?

    Suuremmalla eräkoolla epookissa on vähemmän askelia. Samalla oppimisnopeudella se pääsee siksi
    lyhyemmälle ja näyttää huonommalta. Jos oppimisnopeus kasvaa eräkoon mukana, ero häviää
    suurimmaksi osaksi. Silloin eräkoko on kysymys ajasta: pieni erä maksaa jokaisesta askeleesta,
    ja suuri käyttää suoritinta paremmin.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, SEED, np, pd, syva, train):
    FEW_EPOCHS = min(EPOCHS, 3)
    batch_rows = []
    for _size in (16, 128, 1024):
        for _kind, _lr in (("sama", 0.1), ("eräkoon mukaan", 0.1 * _size / 128)):
            _run = syva.train(
                DATA, hidden=HIDDEN, lr=_lr, batch_size=_size, epochs=FEW_EPOCHS, seed=SEED
            )
            batch_rows.append(
                {
                    "eräkoko": _size,
                    "askelta / epookki": -(-len(train.labels) // _size),
                    "oppimisnopeus": _kind,
                    "arvo": _lr,
                    "validaatiotarkkuus, %": round(100 * _run.epochs["val_acc"][-1], 2),
                    "s / epookki": round(float(np.mean(_run.epochs["train_seconds"])), 3),
                }
            )
    pd.DataFrame(batch_rows)
    return (FEW_EPOCHS,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Syvä vai leveä?

    Kaikki verkot, joissa on 1 000 piilokerrosten neuronia, eivät vie yhtä paljon muistia. Muistiin
    tallennetaan paino jokaiselle peräkkäisten kerrosten neuronien *parille*, joten muoto
    ratkaisee.
    """)
    return


@app.cell
def _(layers_of, pd):
    shapes = {
        "2 × 500": [500] * 2,
        "5 × 200": [200] * 5,
        "suppilo 400-300-200-100": [400, 300, 200, 100],
    }
    pd.DataFrame(
        {
            "piilokerrosten neuronit": {_name: sum(_widths) for _name, _widths in shapes.items()},
            "parametrit": {
                _name: layers_of([784, *_widths, 10])["parametrit"].sum()
                for _name, _widths in shapes.items()
            },
        }
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    Reilussa vertailussa jokaisella verkolla on yhtä monta *parametria*, tässä yhtä monta kuin
    luvun verkolla. $K$ on piilokerrosten määrä ja $D_k$ niiden leveys. Syvät sigmoid-verkot eivät
    opi näin harvassa epookissa mitään: sigmoidin kulmakerroin on enintään ¼, joten gradientti
    lähes häviää matkallaan kerrosten läpi. ReLU ja Hen alkupainot saavat syvätkin verkot oppimaan.
    Kysymys siitä, onko syvempi parempi, on siis myös kysymys siitä, saadaanko verkko koulutettua.
    """)
    return


@app.cell
def _(DATA, FEW_EPOCHS, SEED, layers_of, pd, syva):
    family = {1: 295, 2: 229, 3: 197, 5: 162, 8: 134}
    depth_rows = []
    for _layers, _width in family.items():
        _row = {
            "K": _layers,
            "D_k": _width,
            "parametrit": layers_of([784, *[_width] * _layers, 10])["parametrit"].sum(),
        }
        for _activation, _init in (("sigmoid", "pytorch"), ("relu", "he-normal")):
            _run = syva.train(
                DATA,
                hidden=(_width,) * _layers,
                activation=_activation,
                init=_init,
                lr=0.1,
                epochs=FEW_EPOCHS,
                seed=SEED,
            )
            _row[f"{_activation}, %"] = round(100 * _run.epochs["val_acc"][-1], 2)
        depth_rows.append(_row)
    depths = pd.DataFrame(depth_rows).set_index("K")
    depths
    return (depths,)


@app.cell
def _(FEW_EPOCHS, depths, plt):
    by_depth, _axis = plt.subplots(figsize=(8, 3.4))
    _axis.plot(depths.index, depths["sigmoid, %"], "o-", label="sigmoid")
    _axis.plot(depths.index, depths["relu, %"], "s--", label="ReLU")
    _axis.axhline(10, color="gray", linestyle=":", label="arvaus")
    _axis.set(
        xlabel="piilokerrosten määrä K, yhtä monta parametria",
        ylabel="validaatiotarkkuus, %",
        ylim=(0, 100),
    )
    _axis.set_title(f"{FEW_EPOCHS} epookin jälkeen")
    _axis.legend()
    plt.close(by_depth)
    by_depth
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Milloin verkko ylikouluttuu?

    Luku jatkaa 500 epookkiin. Siellä verkko tunnistaa 99,79 % koulutuskuvista ja 98,15 %
    validaatiokuvista, ja häviöt ovat erkaantuneet toisistaan: verkko opettelee koulutuskuvia
    ulkoa. Tässä koulutus on lyhennetty 50 epookkiin kymmenkertaisella oppimisnopeudella, ja se
    päättyy lähes samoihin lukuihin.
    """)
    return


@app.cell
def _(DATA, EPOCHS, HIDDEN, LR, SEED, plt, syva):
    LONG_EPOCHS = min(EPOCHS, 50)
    long_run = syva.train(DATA, hidden=HIDDEN, lr=10 * LR, epochs=LONG_EPOCHS, seed=SEED)
    long = long_run.history
    end = long.iloc[-1]
    print(f"koulutus {end['train_acc']:.2%}, validaatio {end['val_acc']:.2%}")
    print(f"häviöiden ero: {end['val_loss'] - end['train_loss']:.4f}")

    overfit, (_left, _right) = plt.subplots(1, 2, figsize=(10, 3.8))
    _from = LONG_EPOCHS // 5
    for _part, _line in (("train", "-"), ("val", "--")):
        _left.plot(
            long.index[_from:], long[f"{_part}_loss"].iloc[_from:], _line, label=f"{_part}_loss"
        )
        _right.plot(
            long.index[_from:], 100 * long[f"{_part}_acc"].iloc[_from:], _line, label=f"{_part}_acc"
        )
    _left.set(title="Häviö", xlabel="Epookki")
    _right.set(title="Tarkkuus, %", xlabel="Epookki")
    _left.legend()
    _right.legend()
    overfit.tight_layout()
    plt.close(overfit)
    overfit
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Lisää

    Muuta asetusta ja katso, mitä se tekee: `activation="relu"`, `optimizer="adam"`, `dropout=0.2`,
    `HIDDEN = (512, 512)`. Muut muistikirjat (englanniksi) kertovat taulukoista, käsin laskemisesta
    ja PyTorchista.
    """)
    return


if __name__ == "__main__":
    app.run()
