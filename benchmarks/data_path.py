"""Training samples as published codes make them, to be timed against ours: a whole picture decoded for each sample, or a
cache of float pictures in memory. One maker is called again and again, and says how many samples it made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inr_assr.data.pictures import DEMO_PHOTOS, demo_photo
from inr_assr.foundations.images import save_picture
from inr_assr.foundations.resampling import resize_pillow

PATCH, SCALES = 48, (1.0, 4.0)


def make_pictures(folder: Path, count: int) -> None:
    "PNG pictures of DIV2K's size: photos made larger, with a little noise, so that they decode as slowly as real ones."
    random = np.random.default_rng(0)
    for k, name in zip(range(count), DEMO_PHOTOS):
        large = resize_pillow(demo_photo(name), (1356, 2040)).astype(np.int16)
        noisy = large + random.integers(-3, 4, large.shape)
        save_picture(np.clip(noisy, 0, 255).astype(np.uint8), folder / f"{k}.png")


def published(paths: list[Path]) -> Callable[[], int]:
    "Decode the whole picture, then a crop of it."
    random = np.random.RandomState(0)

    def make() -> int:
        picture = np.array(Image.open(paths[random.randint(len(paths))]).convert("RGB"))
        sample(torch.from_numpy(picture).permute(2, 0, 1) / 255, random)
        return 1

    return make


def float_cache(paths: list[Path]) -> Callable[[], int]:
    "All pictures decoded before, as float tensors in memory."
    random = np.random.RandomState(0)
    kept = [torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255 for path in paths]

    def make() -> int:
        sample(kept[random.randint(len(kept))], random)
        return 1

    return make


def sample(picture: Tensor, random: np.random.RandomState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    "LR patch, places, cell and colours: crop, Pillow, flips, all places of the crop, 2304 of them by a permutation."
    scale = random.uniform(*SCALES)
    side = round(PATCH * scale)
    top, left = (random.randint(n - side + 1) for n in picture.shape[1:])
    crop = picture[:, top : top + side, left : left + side]
    whole = Image.fromarray((crop.permute(1, 2, 0) * 255).round().byte().numpy())
    small = torch.from_numpy(np.array(whole.resize((PATCH, PATCH), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    for axis in (1, 2):
        if random.rand() < 0.5:
            small, crop = small.flip(axis), crop.flip(axis)
    if random.rand() < 0.5:
        small, crop = small.transpose(1, 2), crop.transpose(1, 2)
    centres = (torch.arange(side) * 2 + 1) / side - 1
    coord = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)
    chosen = random.choice(len(coord), PATCH**2, replace=False)
    return small, coord[chosen], torch.full((PATCH**2, 2), 2 / side), crop.reshape(3, -1).T[chosen]
