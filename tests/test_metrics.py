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


GENERATOR = torch.Generator().manual_seed(5)
TRUTH = torch.rand(2, 3, 181, 176, generator=GENERATOR, dtype=torch.float64)
MORE = {"lr": TRUTH[..., :88, :88], "scale": (2.0, 2.0), "kernel": "pillow"}
HERE = [name for name in METRICS if not METRICS[name].missing()]  # those with `needs` too
FORM = r"give floats in \[0, 1\], \(batch, 3 or 1, height, width\)"
UNFIT = {  # what is given as prediction, and what is said of it
    "uint8": ((TRUTH * 255).byte(), r"prediction is of torch.uint8; "),
    "int64": ((TRUTH * 255).long(), r"prediction is of torch.int64; "),
    "bool": (TRUTH > 0.5, r"prediction is of torch.bool; "),
    "complex": (TRUTH + 0j, r"prediction is of torch.complex128; "),
    "numpy": (TRUTH.numpy(), r"prediction is of ndarray; "),
    "bytes of numpy": ((TRUTH * 255).byte().numpy(), r"prediction is of ndarray; "),
    "list": ([[0.5]], r"prediction is of list; "),
    "None": (None, r"prediction is of NoneType; "),
    "0..255": (TRUTH * 255, r"prediction has values from [\d.e-]+ to 25[45]\S*; "),
    "-1..1": (2 * TRUTH - 1, r"prediction has values from -\S+ to \S+; "),
    "NaN": (TRUTH.clone().index_fill_(3, torch.tensor([7]), torch.nan), "prediction has NaN; "),
    "infinite": (
        TRUTH.clone().index_fill_(3, torch.tensor([7]), torch.inf),
        r"prediction has values from \S+ to inf; ",
    ),
    "both ends": (TRUTH.sub(0.5).div(0), r"prediction has values from -inf to inf; "),
    "2-D": (TRUTH[0, 0], r"prediction: \(181, 176\) does not fit; "),
    "3-D": (TRUTH[0], r"prediction: \(3, 181, 176\) does not fit; "),
    "channels last": (TRUTH.movedim(1, -1), r"prediction: \(2, 181, 176, 3\) does not fit; "),
    "two channels": (TRUTH[:, :2], r"prediction: \(2, 2, 181, 176\) does not fit; "),
    "no picture": (TRUTH[:0], r"prediction: \(0, 3, 181, 176\) does not fit; "),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_no_metric_measures_is_refused_in_one_line(case):
    given, said = UNFIT[case]
    for name in HERE:
        for first in (True, False):
            pair, words = (given, TRUTH), said
            if not first:
                pair, words = (TRUTH, given), said.replace("prediction", "target")
            with pytest.raises(InputError, match=f"^{name}: {words}{FORM}") as error:
                METRICS[name](*pair, **MORE)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", HERE)
def test_pictures_that_do_not_belong_together(name):
    for said, target in {
        "prediction has 2 pictures, target 1": TRUTH[:1],
        "prediction has 3 channels, target 1": TRUTH[:, :1],
        r"the pictures have \(181, 176\) and \(181, 175\) pixels": TRUTH[..., 1:],
        r"the pictures have \(181, 176\) and \(176, 181\) pixels": TRUTH.mT,
    }.items():
        with pytest.raises(InputError, match=f"^{name}: {said}"):
            METRICS[name](TRUTH, target, **MORE)


def test_pictures_on_two_devices():
    "By the check itself, since a machine may have but one device with values."
    with pytest.raises(InputError, match="^psnr_y: prediction is on cpu, target on meta"):
        METRICS["psnr_y"]._check_fit(TRUTH, TRUTH.to("meta"))


def test_lr_is_looked_at_too():
    for lr, said in (
        ((TRUTH * 255).byte(), "lr_psnr: lr is of torch.uint8"),
        (TRUTH * 255, "lr_psnr: lr has values from"),
        (TRUTH[0], r"lr_psnr: lr: \(3, 181, 176\) does not fit"),
        (TRUTH[:1], "lr_psnr: prediction has 2 pictures, lr 1"),
    ):
        with pytest.raises(InputError, match=said):
            METRICS["lr_psnr"](TRUTH, TRUTH, lr=lr, kernel="pillow")


@pytest.mark.parametrize("name", HERE)
def test_floats_of_any_precision_are_measured_as_they_are(name):
    truth, more = TRUTH[:1].clone(), {**MORE, "lr": MORE["lr"][:1]}
    truth[..., :80] = truth[..., 40:41, 40:41]  # flat on the left
    noisy = (truth + 0.1 * torch.rand(truth.shape, generator=GENERATOR, dtype=torch.float64)).float()
    wanted = METRICS[name](noisy.double(), truth, **more)
    assert wanted.dtype == torch.float64 and torch.isfinite(wanted).all()
    assert torch.equal(METRICS[name](noisy, truth, **more), wanted)  # float32 beside float64
    half = noisy.bfloat16()
    assert torch.equal(METRICS[name](half, truth, **more), METRICS[name](half.double(), truth, **more))


def test_an_overshoot_is_measured_as_it_is():
    for far in (1e-6, 0.1, 0.79):
        for grey in (torch.ones(1, 3, 20, 20, dtype=torch.float64), torch.zeros(1, 3, 20, 20, dtype=torch.float64)):
            over = grey + far if grey.max() else grey - far
            found = METRICS["psnr_rgb"](over, grey).item()
            assert abs(found + 20 * np.log10(far)) < 1e-6
    with pytest.raises(InputError, match="psnr_rgb: prediction has values from 1.81 to 1.81; give .*-0.8 and 1.8"):
        METRICS["psnr_rgb"](grey + 1.81, grey)


def test_psnr_of_bytes_is_that_of_their_tensors():
    "What read -27.64 as bytes."
    from skimage.metrics import peak_signal_noise_ratio

    from inr_assr.foundations.images import to_tensor

    rng = np.random.default_rng(0)
    truth = rng.integers(30, 220, (40, 50, 3), dtype=np.uint8)
    noisy = (truth + rng.integers(-30, 30, truth.shape)).astype(np.uint8)
    found = METRICS["psnr_rgb"](to_tensor(noisy), to_tensor(truth)).item()
    assert abs(found - peak_signal_noise_ratio(truth, noisy, data_range=255)) < 1e-4
    with pytest.raises(InputError, match="`to_tensor` makes them of 8 bits"):
        METRICS["psnr_rgb"](*(torch.from_numpy(p).movedim(-1, 0)[None] for p in (noisy, truth)))


def strange(n: int) -> dict[str, torch.Tensor]:
    "Pictures of which a definition may give no number, n pixels high."
    y, x = torch.meshgrid(torch.arange(n).double(), torch.arange(n + 1).double(), indexing="ij")
    plain = {
        "black": 0 * x,
        "white": 0 * x + 1,
        "grey": 0 * x + 0.3,
        "one pixel": ((x == n // 2) & (y == n // 2)).double(),
        "step": (x > n / 2).double(),
        "ramp": x / n,
        "chequered": (x + y) % 2,
        "lines": x % 2,
        "faint": 0.5 + 1e-7 * x / n,
        "noise": torch.rand(n, n + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
    }
    return {name: picture.expand(1, 3, -1, -1) for name, picture in plain.items()}


@pytest.mark.parametrize("name", HERE)
def test_every_value_that_is_none_has_a_reason(name):
    measure, silent = METRICS[name], "its definition gives no number for these pictures"
    for n in sorted({measure.smallest, max(measure.smallest, 48)}):
        pictures = strange(n)
        for truth in pictures.values():
            for restored in pictures.values():
                more = {**MORE, "lr": truth}
                for scale in ((2.0, 2.0), (1.0, 1.0)) if "scale" in measure.needs else ((2.0, 2.0),):
                    value = measure(restored, truth, **more | {"scale": scale}).item()
                    assert value != -np.inf and (value != np.inf or measure.unit == "dB")
                    reason = measure.why(value)
                    assert (reason == "") == (not np.isnan(value))
                    assert silent not in reason, (name, n)


def test_which_metrics_have_no_value_for_a_flat_picture():
    flat = torch.full((1, 3, 200, 200), 0.4)
    photo = torch.rand(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    none = {name for name in OWN if np.isnan(METRICS[name](photo, flat).item())}
    assert none == {"fsim", "fsimc", "sr_sim", "vif_p", "psnr_edge", "psnr_texture"}
    assert METRICS["vif_p"].why(float("nan")) == (
        "vif_p: the true picture is flat, and holds no information that could be kept"
    )
    assert METRICS["vif_p"](flat, photo).item() == 0  # all is lost, and that is a number


def test_a_metric_of_ones_own_has_a_reason_too():
    from inr_assr.metrics.contract import Metric

    mine = Metric("mine", lambda a, b: torch.full((len(a),), torch.nan), "", "higher", "RGB", "")
    assert mine.why(mine(TRUTH, TRUTH)[0].item()) == "mine: its definition gives no number for these pictures"


def test_measures_beside_the_registry_refuse_bytes_too():
    from inr_assr.metrics.consistency import radial_spectrum, region_shares, regions, ring_correlation, spectrum_error

    given = (TRUTH * 255).byte()
    for call in (
        lambda: regions(given),
        lambda: region_shares(given, TRUTH),
        lambda: region_shares(TRUTH, given),
        lambda: radial_spectrum(given),
        lambda: spectrum_error(TRUTH, given),
        lambda: ring_correlation(given, TRUTH),
        lambda: ring_correlation(TRUTH, TRUTH * 255),
    ):
        with pytest.raises(InputError, match=FORM):
            call()


def test_the_functions_refuse_what_the_metrics_refuse():
    from inr_assr.metrics.contract import psnr
    from inr_assr.metrics.phase import fsim, sr_sim
    from inr_assr.metrics.structure import gmsd, ms_ssim, ssim, ssim_downsampled, vif

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 180, 180, generator=generator)
    y = (x + 0.05 * torch.rand(x.shape, generator=generator)).clamp(0, 1)
    wrong = {
        "values from": (255 * x, 255 * y),
        "of torch.uint8": ((255 * x).byte(), (255 * y).byte()),
        "does not fit": (x[0].movedim(0, -1), y[0].movedim(0, -1)),
        "the shapes": (x, y[..., :1]),
        "shapes (1, 1, 180, 180) and (2": (x, torch.cat([y, y])),
        "is of": (x.numpy(), y.numpy()),
    }
    for measure in (psnr, ssim, ms_ssim, gmsd, vif, ssim_downsampled, fsim, sr_sim):
        assert measure(x.double(), y.double()).shape == (1,)
        for words, pictures in wrong.items():
            with pytest.raises(InputError) as caught:
                measure(*pictures)
            assert str(caught.value).startswith(f"{measure.__name__}: ") and words in str(caught.value)
    assert not hasattr(METRICS["psnr_y"], "compute")  # the checked call is the only public one
