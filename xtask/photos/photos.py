"""Draws photos of MNIST's digits, as people take them, and asks programs to read them. Needs numpy and Pillow.

    photos.py MNIST OUT [--skip N] [--model RUN --syva PROGRAM...]

MNIST is the folder with its files. 1,500 pictures of 50 kinds, 30 of each: three test images of every digit (the first three, or those behind the first N),
enlarged bicubically to 300 x 300 in the middle of 400 x 400, grey = paper + (ink - paper) * v. What a kind adds stands in
its function below. OUT/photos.tsv lists file, kind and digit. The same numbers come out on every machine; JPEG, WebP
and so on are as the installed Pillow writes them.

With --model, each program reads all of them (`predict --json`), and a table says for each kind how many were right,
doubted (with a warning, right or wrong), wrong without a doubt, and refused. Of two programs, the first is the older:
what it read and the second does not is listed, and the exit code is 1 if there is any.
"""

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, DIGIT = 400, 300


def idx(folder, name):
    plain = folder / name
    data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    dimensions = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dimensions)


def strokes(image, side=SIDE, digit=DIGIT, at=None):
    """The digit's ink, 0 to 1, in a page of side x side."""
    large = np.asarray(Image.fromarray(image).resize((digit, digit), Image.BICUBIC), float) / 255
    page = np.zeros((side, side))
    top, left = at if at else [(side - digit) // 2] * 2
    page[top : top + digit, left : left + digit] = large
    return page


def write(v, paper=245.0, ink=30.0):
    return paper + (ink - paper) * v


def grey(values):
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


def ramps():
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    return y, x


def camera(v, paper, ink, random):
    """The picture as a phone takes it: slanted light, a soft lens, noise."""
    y, x = ramps()
    page = write(v, paper, ink) * (1 + 0.1 * (x - 0.5) - 0.08 * (y - 0.5))
    page = np.asarray(grey(page).filter(ImageFilter.GaussianBlur(1.5)), float)
    return grey(page + random.normal(0, 4, page.shape))


def lined(page, lines, wide, value):
    """Draws lines, each (x0, y0, x1, y1), into a grey page. Darker strokes stay on top."""
    picture = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(picture)
    for line in lines:
        draw.line(line, fill=int(value), width=wide)
    return np.minimum(page, np.asarray(picture, float))


def box(page, low, high, wide, value):
    for i in range(wide):
        page[low + i, low : high + 1] = page[high - i, low : high + 1] = value
        page[low : high + 1, low + i] = page[low : high + 1, high - i] = value
    return page


def shape(v, size):
    """Thinner (size < 0) or thicker strokes."""
    picture = grey(255 * v)
    return np.asarray(picture.filter((ImageFilter.MaxFilter if size > 0 else ImageFilter.MinFilter)(abs(size))), float) / 255


# Kinds: (image, number within the kind, random numbers) -> (picture, ending, arguments to save it).


def plain(paper, ink):
    return lambda image, n, random: (grey(write(strokes(image), paper, ink)), "png", {})


def phone(paper, ink):
    return lambda image, n, random: (camera(strokes(image), paper, ink, random), "jpg", {"quality": 85})


def board(level):
    return lambda image, n, random: (camera(strokes(image), level, 235 + n % 16, random), "png", {})


def rim(wide, paper=245, ink=30, value=40):
    def draw(image, n, random):
        page = write(strokes(image), paper, ink)
        page[:wide] = page[-wide:] = page[:, :wide] = page[:, -wide:] = value
        return grey(page), "png", {}

    return draw


def light_rim(image, n, random):
    return rim([1, 2, 4, 8, 16, 30][n % 6], 50, 235, 220)(image, n, random)


def table(sides):
    """Paper that fills 80 % of the side. The table is visible on this many of its sides."""

    def draw(image, n, random):
        page = write(strokes(image, digit=240), 235, 40)
        edges = [slice(0, 40), slice(SIDE - 40, SIDE)]
        spots = [(edges[0], slice(None)), (slice(None), edges[0]), (edges[1], slice(None)), (slice(None), edges[1])]
        for k in range(sides):
            spot = spots[(n + k) % 4]
            page[spot] = 60 + random.normal(0, 6, page[spot].shape)
        return grey(page), "png", {}

    return draw


def in_box(wide, value, low=70, digit=220):
    return lambda image, n, random: (grey(box(write(strokes(image, digit=digit)), low, SIDE - low, wide, value)), "png", {})


def in_cell(image, n, random):
    """A cell of a form or a Sudoku, with lines that extend beyond it."""
    page = write(strokes(image, digit=220))
    at = [70 - n % 3 * 8, 330 + n % 2 * 10]
    wide = 2 + n % 4
    lines = [(0, y, SIDE, y) for y in at] + [(x, 0, x, SIDE) for x in at]
    return grey(lined(page, lines, wide, 40 + n % 5 * 25)), "png", {}


def underlined(image, n, random):
    """A line below the digit that touches nothing, level or slightly slanted."""
    v = strokes(image)
    slant, wide = [0, 0, 6, -8][n % 4], 3 + n % 4
    middle = max(330, np.flatnonzero(v.max(axis=1) > 0.02)[-1] + 6 + abs(slant) + wide)
    line = (60, int(middle) - slant, 340, int(middle) + slant)
    return grey(lined(write(v), [line], wide, 40)), "png", {}


def squared(value):
    def draw(image, n, random):
        lines = [(0, y, SIDE, y) for y in range(20, SIDE, 40)] + [(x, 0, x, SIDE) for x in range(20, SIDE, 40)]
        return grey(lined(write(strokes(image)), lines, 2, value)), "png", {}

    return draw


def ruled(image, n, random):
    """Ruled paper whose lines cross the digit."""
    return grey(lined(write(strokes(image)), [(0, y, SIDE, y) for y in range(30 + n, SIDE, 85)], 2, 150)), "png", {}


def shadow(image, n, random):
    """A hard shadow over half of it."""
    page, (y, x) = write(strokes(image)), ramps()
    side = [x < 0.5, x > 0.5, y < 0.5, y > 0.5, x + y < 1, x < y][n % 6]
    return grey(np.where(side, 0.45, 1) * page), "png", {}


def vignette(corner):
    def draw(image, n, random):
        y, x = ramps()
        far = ((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.5
        return grey(write(strokes(image)) * (1 - (1 - corner) * far)), "png", {}

    return draw


def slanted_light(image, n, random):
    y, x = ramps()
    ramp = [x, y, 1 - x, 1 - y, (x + y) / 2][n % 5]
    page = write(strokes(image), 240, 70) * (0.45 + 0.55 * ramp) + random.normal(0, 8, (SIDE, SIDE))
    return grey(page), "jpg", {"quality": 75}


def thin(image, n, random):
    return grey(write(shape(strokes(image), -11), 240, 60)), "png", {}


def thick(image, n, random):
    return grey(write(shape(strokes(image), 17), 240, 60)), "png", {}


def coloured(image, n, random):
    pairs = [((40, 160, 60), (200, 30, 40)), ((250, 220, 60), (30, 50, 160)), ((255, 255, 255), (250, 230, 40)),
             ((245, 245, 235), (30, 60, 200)), ((30, 80, 50), (250, 240, 200))]
    paper, ink = (np.array(colour, float) for colour in pairs[n % 5])
    v = strokes(image)[..., None]
    return grey(write(v, paper, ink)), "png", {}


def transparent(colours):
    def draw(image, n, random):
        colour = np.array(colours[n % len(colours)], np.uint8)
        page = np.zeros((SIDE, SIDE, 4), np.uint8)
        page[..., :3] = colour
        page[..., 3] = np.round(np.clip(255 * strokes(image), 0, 255))
        if n % 2:  # as from a canvas: pixels that were never drawn on are black
            page[page[..., 3] == 0] = 0
        return Image.fromarray(page), "png", {}

    return draw


def deep(image, n, random):
    """16 bits, a palette, 1 bit, grey with alpha."""
    page = write(strokes(image))
    small = grey(page)
    pictures = [Image.fromarray(np.clip(np.round(257 * page), 0, 65535).astype(np.uint16)),
                small.convert("P", palette=Image.ADAPTIVE, colors=16), small.convert("1"), small.convert("LA")]
    return pictures[n % 4], "png", {}


def print_shop(image, n, random):
    """CMYK JPEG, progressive JPEG."""
    picture = grey(write(strokes(image)))
    return (picture.convert("CMYK"), "jpg", {}) if n % 2 else (picture.convert("RGB"), "jpg", {"progressive": True})


def turned(image, n, random):
    """Upright only if its EXIF orientation is applied."""
    orientation, turn = [(3, Image.ROTATE_180), (6, Image.ROTATE_90), (8, Image.ROTATE_270), (2, Image.FLIP_LEFT_RIGHT)][n % 4]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return grey(write(strokes(image))).transpose(turn), "jpg", {"exif": exif}


def other_formats(image, n, random):
    picture = grey(write(strokes(image)))
    endings = [("webp", {"quality": 80}), ("webp", {"lossless": True}), ("gif", {}), ("tiff", {}),
               ("tiff", {"compression": "tiff_lzw"}), ("tiff", {"compression": "jpeg"}), ("pgm", {})]
    ending, args = endings[n % 7]
    return (picture.convert("RGB") if ending == "webp" else picture), ending, args


def tiny(image, n, random):
    """28 x 28, in greys other than MNIST's."""
    paper, ink = [(60, 5), (245, 30), (127, 20), (128, 20), (40, 200), (20, 90), (0, 255), (255, 0), (200, 120)][n % 9]
    return grey(write(image / 255, paper, ink)), "png", {}


def small_corner(image, n, random):
    """A small digit away from the middle."""
    at = [(20, 30), (30, 250), (240, 40), (250, 240), (10, 130)][n % 5]
    return grey(write(strokes(image, digit=130, at=at))), "png", {}


def large(image, n, random):
    """More pixels than are examined: 2,400 x 2,400."""
    page = write(strokes(image, side=2400, digit=1500), 200, 50)
    return grey(page + random.normal(0, 10, page.shape)), "jpg", {"quality": 90}


def noisy(image, n, random):
    """A dark room: strong noise."""
    return grey(write(strokes(image), 130, 40) + random.normal(0, 20, (SIDE, SIDE))), "jpg", {"quality": 80}


def pale(image, n, random):
    """Pencil."""
    return camera(strokes(image), 215, 165, random), "jpg", {"quality": 85}


KINDS = {
    "scan": plain(245, 30),
    "paper 128": plain(128, 20),
    "paper 127": plain(127, 20),
    "phone, paper 105": phone(105, 30),
    "phone, paper 115": phone(115, 30),
    "phone, paper 125": phone(125, 35),
    "phone, paper 140": phone(140, 40),
    "board 60": board(60),
    "board 100": board(100),
    "board 110": board(110),
    "board 130": board(130),
    "board 135": board(135),
    "board 140": board(140),
    "dark rim of 1": rim(1),
    "dark rim of 2": rim(2),
    "dark rim of 4": rim(4),
    "dark rim of 8": rim(8),
    "dark rim of 16": rim(16),
    "dark rim of 30": rim(30),
    "light rims": light_rim,
    "table on 1 side": table(1),
    "table on 2 sides": table(2),
    "table on 3 sides": table(3),
    "table on 4 sides": table(4),
    "box, 4 wide": in_box(4, 40),
    "box, pale": in_box(2, 170),
    "box, thick": in_box(10, 40, low=60),
    "cell of a form": in_cell,
    "underlined": underlined,
    "squared paper": squared(180),
    "squared, pale": squared(220),
    "ruled, crossing": ruled,
    "hard shadow": shadow,
    "vignette 0.5": vignette(0.5),
    "vignette 0.6": vignette(0.6),
    "slanted light": slanted_light,
    "thin strokes": thin,
    "thick strokes": thick,
    "noise": noisy,
    "pencil": pale,
    "colours": coloured,
    "transparent, dark": transparent([(0, 0, 0), (20, 40, 160)]),
    "transparent, light": transparent([(255, 255, 255), (255, 235, 60)]),
    "16, 8, 4, 1 bit": deep,
    "CMYK, progressive": print_shop,
    "turned by EXIF": turned,
    "WebP, GIF, TIFF, PGM": other_formats,
    "28 x 28": tiny,
    "small, in a corner": small_corner,
    "2,400 x 2,400": large,
}


def read(program, model, folder, rows):
    """A program's answer for each picture: file -> (class, doubted)."""
    command = [program.resolve(), "predict", model.resolve(), "--json", *(name for name, _, _ in rows)]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    lines = map(json.loads, said.splitlines())
    return {line["image"]: (line["class"], bool(line["doubts"])) for line in lines}


def table(columns, rows):
    heads = ("right", "doubted", "silently wrong", "refused")
    print("| kind |" + "".join(f" {head} |" for _ in columns for head in heads))
    print("|---|" + "---|" * len(heads) * len(columns))
    for kind in dict.fromkeys(kind for _, kind, _ in rows):
        mine = [(name, digit) for name, other, digit in rows if other == kind]
        cells = []
        for got in columns:
            found = [(*got[name], digit) for name, digit in mine if name in got]
            right = sum(guess == digit for guess, _, digit in found)
            doubted = sum(doubt for _, doubt, _ in found)
            silent = sum(guess != digit and not doubt for guess, doubt, digit in found)
            cells += [right, doubted, silent, len(mine) - len(found)]
        print(f"| {kind} |" + "".join(f" {cell} |" for cell in cells))
    for got in columns:
        print(sum(name in got and got[name][0] == digit for name, _, digit in rows), "of", len(rows))


def lost(columns, rows):
    """The pictures that the first program read and the last one does not."""
    before, after = columns[0], columns[-1]
    is_right = lambda got, name, digit: name in got and got[name][0] == digit
    gone = [row for row in rows if is_right(before, row[0], row[2]) and not is_right(after, row[0], row[2])]
    for name, kind, digit in gone:
        print(f"lost: {name} ({kind}): {after.get(name, 'refused')}")
    return len(gone)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--skip", type=int, default=0, help="images of each digit that are passed over")
    parser.add_argument("--model", type=Path, help="a model file or a run's folder")
    parser.add_argument("--syva", type=Path, nargs="+", default=[], help="the program, or an older one and it")
    args = parser.parse_args()
    images, labels = idx(args.mnist, "t10k-images-idx3-ubyte"), idx(args.mnist, "t10k-labels-idx1-ubyte")
    chosen = [i for digit in range(10) for i in np.flatnonzero(labels == digit)[args.skip : args.skip + 3]]
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, (kind, draw) in enumerate(KINDS.items()):
        for n, i in enumerate(chosen):
            picture, ending, how = draw(images[i], n, np.random.RandomState(1000 * k + n))
            name = f"{k:02}-{n:02}-{labels[i]}.{ending}"
            picture.save(args.out / name, **how)
            rows.append((name, kind, int(labels[i])))
    (args.out / "photos.tsv").write_text("".join(f"{name}\t{kind}\t{digit}\n" for name, kind, digit in rows))
    if args.model and args.syva:
        columns = [read(program, args.model, args.out, rows) for program in args.syva]
        table(columns, rows)
        sys.exit(1 if len(columns) > 1 and lost(columns, rows) else 0)


if __name__ == "__main__":
    main()
