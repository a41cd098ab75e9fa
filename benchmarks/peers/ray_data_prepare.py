"""Ray Data: read_images, map, write_parquet: PHOTOS DEST CORES.

Its TFRecord writer needs a package under the LGPL; Parquet is the faster one. The codecs are nodewise's (OpenCV).
"""

import json
import logging
import sys
import time

BEGAN = time.perf_counter()

import cv2  # noqa: E402
import ray  # noqa: E402
import ray.data  # noqa: E402

SIZE = 192
CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def transform(row):
    """Fill the square, cut out the centre, encode."""
    image = row["image"]
    height, width = image.shape[:2]
    size = (width * SIZE // height, SIZE) if height <= width else (SIZE, height * SIZE // width)
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    top, left = (image.shape[0] - SIZE) // 2, (image.shape[1] - SIZE) // 2
    square = cv2.cvtColor(image[top : top + SIZE, left : left + SIZE], cv2.COLOR_RGB2BGR)
    return {
        "image": cv2.imencode(".jpg", square, JPEG)[1].tobytes(),
        "class": CLASSES.index(row["path"].split("/")[-2]),
    }


def main():
    """Prepare all photos and print what it took; the work begins when Ray is up."""
    photos, dest, cores = sys.argv[1:4]
    ray.init(num_cpus=int(cores), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    started = time.perf_counter()
    images = ray.data.read_images(photos, mode="RGB", include_paths=True)
    images.map(transform).write_parquet(dest)
    work_s = time.perf_counter() - started
    records = ray.data.read_parquet(dest).count()
    print(json.dumps({"records": records, "work_s": work_s, "import_s": started - BEGAN}))
    ray.shutdown()


if __name__ == "__main__":
    main()
