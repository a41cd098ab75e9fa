"""Pictures and lengths of nodewise's output next to tf.data's: PHOTOS (the first copy of each is taken)."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import tensorflow as tf
from tfdata_prepare import decode, encode, resize_and_crop

from nodewise.images.transform import Transform


def psnr(first, second):
    """Peak signal-to-noise ratio in dB; 99 for identical pictures."""
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def main():
    """Print mean bytes, their ratio to tf.data's, and the median PSNR against tf.data's pictures."""
    variants = {
        "nodewise": Transform(size=192),
        "nodewise --optimize": Transform(size=192, optimize=True),
        "nodewise --resample antialias": Transform(size=192, resample="antialias"),
        "nodewise --subsampling 420": Transform(size=192, subsampling="420"),
        "nodewise --encoding webp --quality 90": Transform(size=192, encoding="webp", quality=90),
    }
    lengths = {name: [] for name in ("tf.data", *variants)}
    likeness = {name: [] for name in variants}
    for path in sorted(Path(sys.argv[1]).glob("*/0-*.jpg")):
        reference, _ = encode(*resize_and_crop(*decode(tf.constant(str(path)))))
        lengths["tf.data"].append(len(reference.numpy()))
        expected = simplejpeg.decode_jpeg(reference.numpy())
        for name, transform in variants.items():
            stored = transform(path.read_bytes()).image
            lengths[name].append(len(stored))
            found = cv2.cvtColor(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            likeness[name].append(psnr(found, expected))
    mean = {name: float(np.mean(values)) for name, values in lengths.items()}
    result = {
        name: {"mean_bytes": mean[name], "bytes_ratio": mean[name] / mean["tf.data"]}
        | ({"median_psnr_db": float(np.median(likeness[name]))} if name in likeness else {})
        for name in lengths
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
