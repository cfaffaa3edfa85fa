"""Makes the pictures and tensors that the tests read: `python make_images.py` in this folder, with pillow, numpy and
safetensors. `pictures.json` has what Pillow makes of the pictures."""

import json
import os

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

os.makedirs("pictures", exist_ok=True)
rows, columns = np.mgrid[0:24, 0:36]
red = 255 * columns // 35
green = 255 * rows // 23
blue = (7 * rows + 5 * columns) % 256
colour = np.stack([red, green, blue], 2).astype(np.uint8)
grey = ((red + 3 * green) % 256).astype(np.uint8)
Image.fromarray(colour).save("pictures/colour.png")
Image.fromarray(grey).save("pictures/grey.png")
Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save("pictures/palette.png")
Image.fromarray((grey.astype(np.uint16) * 257)).save("pictures/sixteen.png")
smooth = np.stack([red, green, red], 2).astype(np.uint8)
Image.fromarray(smooth).save("pictures/photo.jpg", quality=95)
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(smooth).save("pictures/turned.jpg", quality=95, exif=exif)
alpha = np.dstack([colour, (255 * (columns > 17)).astype(np.uint8)])
Image.fromarray(alpha).save("pictures/alpha.png")

expected = {}
for name in sorted(os.listdir("pictures")):
    image = ImageOps.exif_transpose(Image.open(f"pictures/{name}"))
    if name == "sixteen.png":
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if name == "alpha.png":
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image)
    rgb = image.convert("RGB")
    small = rgb.resize((9, 5), Image.Resampling.BILINEAR)
    expected[name] = {
        "size": [image.height, image.width],
        "whole": np.asarray(rgb).transpose(2, 0, 1).reshape(-1)[::11].tolist(),
        "small": np.asarray(small).transpose(2, 0, 1).reshape(-1).tolist(),
    }
json.dump(expected, open("pictures.json", "w"))

save_file(
    {
        "f16": np.array([0.5, -2, 65504], np.float16),
        "f32": np.array([0.25, -1, 3], np.float32),
        "f64": np.array([0.1, 1e300, -1]),
        "i16": np.array([-(2**15), 0, 5], np.int16),
        "i64": np.array([-(2**40), 2**53, 0], np.int64),
        "i8": np.array([-128, 127, 0], np.int8),
        "matrix": np.arange(6, dtype=np.int32).reshape(3, 2),
        "truth": np.array([True, False, True]),
        "u64": np.array([2**63, 1, 2], np.uint64),
    },
    "types.safetensors",
)
