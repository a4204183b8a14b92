"""Every metric against the values of its authors' own code, on colour, grey and odd-sized pictures.

The file is the one that INR_ASSR_METRICS names, else the shared one, else the copy in tests/golden."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from PIL import Image

from inr_assr.foundations.errors import InputError
from inr_assr.metrics.contract import METRICS

KEPT = Path(__file__).with_name("golden") / "metrics.json"
SHARED_FILE = SHARED / "parity" / "metrics.json"
FILE = Path(os.environ.get("INR_ASSR_METRICS") or (SHARED_FILE if SHARED_FILE.is_file() else KEPT))
STORED = json.loads(FILE.read_text(encoding="utf-8"))


def picture(name: str) -> torch.Tensor:
    "(1, 3 or 1, H, W) float64 in [0, 1], grey where the file is."
    values = np.array(Image.open(FILE.parent / name))
    values = values[..., None] if values.ndim == 2 else values
    return torch.from_numpy(values).permute(2, 0, 1)[None].double() / 255


def tolerance(name: str) -> float:
    "What the file grants in float64."
    granted = STORED["tolerance"]
    for key in (name, name.split("_")[0], "default"):
        if key in granted:
            return granted[key]["float64"]
    raise KeyError(name)


PAIRS = {pair["name"]: pair for pair in STORED["pairs"]}


@pytest.mark.parametrize("name", PAIRS)
def test_stored_values(name):
    pair = PAIRS[name]
    truth, restored = picture(pair["reference"]), picture(pair["distorted"])
    assert tuple(truth.shape[2:]) == tuple(pair["shape"][:2])
    wrong = []
    for key, stored in pair["values"].items():
        metric, shave = re.fullmatch(r"(\w+?)(?:_shave(\d+))?", key).groups()
        n = int(shave or 0)
        inside = (..., slice(n, truth.shape[2] - n), slice(n, truth.shape[3] - n))
        ours, stored = METRICS[metric](restored[inside], truth[inside]).item(), float(stored)
        if not (ours == stored or abs(ours - stored) <= tolerance(metric)):
            wrong.append(f"{key}: {ours!r}, stored {stored!r}")
    assert not wrong, wrong


def test_every_classical_metric_has_values():
    named = {re.sub(r"_shave\d+$", "", key) for pair in PAIRS.values() for key in pair["values"]}
    assert named >= {"psnr_rgb", "psnr_y", "psnr_y_liif", "ssim_rgb", "ssim_y", "ms_ssim_rgb", "ms_ssim_luma", "gmsd"}
    assert named >= {"vif_p", "fsim", "fsimc", "sr_sim", "ssim_rgb_downsampled", "gmsd_population"}
    shapes = [pair["shape"] for pair in PAIRS.values()]
    assert {len(shape) for shape in shapes} == {2, 3} and any(side % 2 for shape in shapes for side in shape[:2])


def test_the_kept_file_is_the_shared_one():
    if not SHARED_FILE.is_file():
        pytest.skip("parity/metrics.json is not at hand (INR_ASSR_SHARED names the folder)")
    assert KEPT.read_bytes() == SHARED_FILE.read_bytes()
    for pair in json.loads(KEPT.read_text(encoding="utf-8"))["pairs"]:
        for key in ("reference", "distorted"):
            assert (KEPT.parent / pair[key]).read_bytes() == (SHARED_FILE.parent / pair[key]).read_bytes()


OWN = [name for name in METRICS if not METRICS[name].missing() and not METRICS[name].needs]


@pytest.mark.parametrize("name", OWN)
def test_a_batch_is_its_pictures_one_by_one(name):
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(3, 3, 181, 176, generator=generator, dtype=torch.float64)
    truth[..., :80] = truth[..., 40:41, 40:41]  # flat on the left, an edge, texture on the right
    restored = (truth + 0.1 * torch.rand(truth.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    together = METRICS[name](restored, truth)
    apart = torch.cat([METRICS[name](restored[k : k + 1], truth[k : k + 1]) for k in range(3)])
    assert together.shape == (3,) and torch.allclose(together, apart, rtol=0, atol=1e-10)
    low, high = METRICS[name].range
    assert ((low - 1e-12 <= together) & (together <= high + 1e-12)).all()


@pytest.mark.parametrize("name", OWN)
def test_the_smallest_picture(name):
    n = METRICS[name].smallest
    generator = torch.Generator().manual_seed(3)
    truth, restored = torch.rand(2, 1, 3, n, n + 1, generator=generator, dtype=torch.float64)
    METRICS[name](restored, truth)
    if n > 1:
        with pytest.raises(InputError, match="pixels are too few; it needs"):
            METRICS[name](restored[..., : n - 1, :], truth[..., : n - 1, :])
    with pytest.raises(InputError, match="the pictures have"):
        METRICS[name](restored, truth[..., :-1])


def test_every_row_says_what_it_is():
    for name in METRICS:
        row = METRICS[name]
        assert row.better in ("higher", "lower") and row.channel and row.source and row.smallest >= 1
        assert row.unit in ("dB", "") and row.range[0] < row.range[1]
