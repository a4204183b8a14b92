"""Training samples a CPU-second: decode, crop and resize for each sample, as published codes do, beside ours; one thread, in turn, medians of five.

python benchmarks/data_path.py [--pictures 4] [--seconds 2]
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from inr_assr.data.pictures import DEMO_PHOTOS, PictureStore, demo_photo
from inr_assr.data.samples import Samples
from inr_assr.foundations.images import save_picture
from inr_assr.foundations.resampling import resize_by_matrices, resize_pillow

PATCH, SCALES, BATCH = 48, (1.0, 4.0), 32


def make_pictures(folder: Path, count: int) -> None:
    "PNG pictures of DIV2K's size: photos made larger, with a little noise, so that they decode as slowly as real ones."
    random = np.random.default_rng(0)
    for k, name in zip(range(count), DEMO_PHOTOS):
        large = resize_pillow(demo_photo(name), (1356, 2040)).astype(np.int16)
        noisy = large + random.integers(-3, 4, large.shape)
        save_picture(np.clip(noisy, 0, 255).astype(np.uint8), folder / f"{k}.png")


def plain(paths: list[Path], random: np.random.RandomState) -> None:
    "One sample as published: the whole picture decoded, a crop, Pillow, points by a permutation of the crop."
    picture = Image.open(paths[random.randint(len(paths))]).convert("RGB")
    scale = random.uniform(*SCALES)
    side = round(PATCH * scale)
    left, top = random.randint(picture.width - side + 1), random.randint(picture.height - side + 1)
    crop = picture.crop((left, top, left + side, top + side))
    small = torch.from_numpy(np.array(crop.resize((PATCH, PATCH), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    large = torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 255
    centres = (torch.arange(side) * 2 + 1) / side - 1
    coord = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)
    chosen = random.choice(len(coord), PATCH**2, replace=False)
    small, coord[chosen], large.flatten(1)[:, chosen]


def rate(work, seconds: float) -> float:
    "Samples a CPU-second of `work`, which says how many it made."
    start, made = time.process_time(), 0
    while time.process_time() - start < seconds:
        made += work()
    return made / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "pictures"
        make_pictures(folder, asked.pictures)
        paths, random = sorted(folder.glob("*.png")), np.random.RandomState(0)
        start = time.process_time()
        store = PictureStore.read(folder, keep="disk", cache=Path(room) / "cache")
        print(
            f"{len(paths)} pictures of 2040x1356, {paths[0].stat().st_size / 1e6:.1f} MB; decoded once in {time.process_time() - start:.1f} CPU-s"
        )
        batches, held = (Samples(store, PATCH, SCALES, BATCH, make=way).epoch(0, 10**9) for way in ("host", "device"))
        ways = {
            "decode, crop, resize a sample": lambda: plain(paths, random) or 1,
            "ours": lambda: len(next(batches).scale),
            "ours, as made on a GPU": lambda: len(next(held).scale),
        }
        found = {name: [] for name in ways}
        for _ in range(5):
            for name, work in ways.items():
                found[name].append(rate(work, asked.seconds))
        for name, rates in found.items():
            print(f"{name:32s} {median(rates):8.1f} samples a CPU-second ({min(rates):.1f} to {max(rates):.1f})")
        first, second, _ = found.values()
        ratios = [b / a for a, b in zip(first, second, strict=True)]
        print(f"{'ratio':32s} {median(ratios):8.0f} ({min(ratios):.0f} to {max(ratios):.0f})")
        crop = store.pictures[0][:173, :173]
        same = (resize_pillow(crop, (PATCH, PATCH)) == resize_by_matrices(crop, (PATCH, PATCH))).all()
        held.close()
        print(f"matrix form of the resize equals Pillow's to the bit: {bool(same)}")


if __name__ == "__main__":
    main()
