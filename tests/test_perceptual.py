"LPIPS and DISTS against their authors' code; and what happens where files are missing, wrong or spoiled."

import importlib.util
import sys

import numpy as np
import pytest
import torch
from skimage import data as photos
from torch import nn

from inr_assr.foundations.errors import InputError
from inr_assr.foundations.files import sha256_of
from inr_assr.foundations.images import to_tensor
from inr_assr.metrics import perceptual
from inr_assr.metrics.contract import METRICS
from inr_assr.metrics.perceptual import CHANNELS, PARTS, Backbone, Part, dists, lpips

PACKAGES = {"lpips_alex": "lpips", "lpips_vgg": "lpips", "lpips_squeeze": "lpips", "dists": "DISTS_pytorch"}
AUTHORS = {  # printed by lpips 0.1.4 and DISTS-pytorch 0.1 in float64, with the convolutions and weights made below
    "lpips_alex": (0.10635051562363405, 0.13455117555718468, 0.07987123317117874),
    "lpips_vgg": (0.10021233030708895, 0.11179700701270141, 0.13431027761280717),
    "lpips_squeeze": (0.10906226510590626, 0.12932258032877375, 0.0975796680760072),
    "dists": (0.026115575304225525, 0.030267906699306086, 0.042982502951440404),
}


def made_backbone(kind) -> Backbone:
    "Convolutions by a rule: NumPy's frozen generator, scaled so that no map dies out."
    source, network = np.random.RandomState(0), Backbone(kind).requires_grad_(False).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            spread = (6 / layer.weight[0].numel()) ** 0.5
            layer.weight.copy_(torch.from_numpy(spread * (2 * source.random_sample(layer.weight.shape) - 1)))
            layer.bias.copy_(torch.from_numpy(0.2 * source.random_sample(layer.bias.shape) - 0.1))
    return network


def made_weights(name) -> dict[str, torch.Tensor]:
    "Weights by the same rule, in the layout of the packages' files."
    source = np.random.RandomState(1)
    if name == "dists":
        shapes = {key: (1, 3 + sum(CHANNELS["vgg"]), 1, 1) for key in ("alpha", "beta")}
    else:
        channels = CHANNELS[name.removeprefix("lpips_")]
        shapes = {f"lin{k}.model.1.weight": (1, n, 1, 1) for k, n in enumerate(channels)}
    return {key: torch.from_numpy(source.random_sample(shape)).float() for key, shape in shapes.items()}


def scenes() -> list[tuple[torch.Tensor, torch.Tensor]]:
    "Blurred, noisy and shifted photos, of even, odd and small sizes."
    cat, cup = to_tensor(photos.chelsea()).double(), to_tensor(photos.coffee()).double()
    sharp, odd, small = cat[..., 60:156, 100:228], cup[..., 120:197, 200:303], cat[..., 100:133, 150:190]
    noise = torch.from_numpy(0.1 * np.random.RandomState(2).standard_normal(tuple(odd.shape)))
    blurred = nn.functional.interpolate(nn.functional.avg_pool2d(sharp, 4), scale_factor=4.0)
    return [(sharp, blurred), (odd, (odd + noise).clamp(0, 1)), (small, cat[..., 101:134, 152:192])]


@pytest.fixture(scope="module")
def backbones():
    return {kind: made_backbone(kind) for kind in CHANNELS}


def ours(name, a, b, network, weights) -> float:
    values = [value.flatten() for value in weights.values()]
    with torch.no_grad():
        return (dists(a, b, network, *values) if name == "dists" else lpips(a, b, network, values)).item()


def kind_of(name) -> str:
    return "vgg" if name == "dists" else name.removeprefix("lpips_")


def authors_code(package):
    "The authors' package; torchvision beside a torch of another build lacks two compiled operators that nobody calls here."
    for name in (package, "torchvision"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the package {name} is not installed")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        authors_code.kept = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            authors_code.kept.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(package)


def theirs(name, network, weights, monkeypatch):
    "The authors' metric with our convolutions, as a function of two pictures in [0, 1], in float64."
    package = authors_code(PACKAGES[name])
    from torchvision import models

    if name == "dists":
        plain = models.vgg16
        monkeypatch.setattr(models, "vgg16", lambda pretrained: plain(weights=None))
        metric = package.DISTS(load_weights=False)
        metric.alpha.data, metric.beta.data = weights["alpha"], weights["beta"]
        stages = [getattr(metric, f"stage{k}") for k in range(1, 6)]
    else:
        metric = package.LPIPS(net=kind_of(name), pretrained=False, pnet_rand=True, verbose=False)
        metric.load_state_dict(weights, strict=False)
        stages = [getattr(metric.net, f"slice{k}") for k in range(1, metric.net.N_slices + 1)]
    layers = [layer for stage in stages for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
    for layer, value in zip(layers, (v for v in network.modules() if isinstance(v, nn.Conv2d)), strict=True):
        layer.load_state_dict(value.state_dict())
    metric = metric.double().eval()

    def exact(*values):  # theirs are rounded to float32, which moves the result by 2e-8 of its value
        return torch.tensor(values, dtype=torch.float64)[:, None, None]

    if name == "dists":
        metric.mean, metric.std = exact(0.485, 0.456, 0.406), exact(0.229, 0.224, 0.225)
    else:
        metric.scaling_layer.shift = exact(-0.030, -0.088, -0.188)
        metric.scaling_layer.scale = exact(0.458, 0.448, 0.450)

    def measure(a, b) -> float:
        with torch.no_grad():
            return (metric(a, b) if name == "dists" else metric(a, b, normalize=True)).item()

    return measure


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_values_with_the_same_convolutions(name, backbones):
    weights, network = made_weights(name), backbones[kind_of(name)].double()
    found = [ours(name, a, b, network, weights) for a, b in scenes()]
    assert found == pytest.approx(AUTHORS[name], rel=1e-12)


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_packages_where_they_are_installed(name, backbones, monkeypatch):
    network = backbones[kind_of(name)].double()
    measure = theirs(name, network, made_weights(name), monkeypatch)
    assert [measure(a, b) for a, b in scenes()] == pytest.approx(AUTHORS[name], rel=1e-12)


@pytest.mark.parametrize("name", AUTHORS)
def test_the_packages_own_weights_are_found(name, backbones, monkeypatch, tmp_path):
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"the package {PACKAGES[name]} is not installed")
    monkeypatch.setenv("INR_ASSR_BACKBONES", str(tmp_path))
    weights = torch.load(perceptual.find_part(name), "cpu", weights_only=True)
    assert {key: value.shape for key, value in weights.items()} == {k: v.shape for k, v in made_weights(name).items()}
    network = backbones[kind_of(name)].double()
    measure = theirs(name, network, weights, monkeypatch)
    for a, b in scenes():
        assert ours(name, a, b, network, weights) == pytest.approx(measure(a, b), rel=1e-12)


@pytest.fixture
def files(tmp_path, monkeypatch, backbones):
    "A folder of made files, known to the metrics by their sums; nothing else is looked at."
    monkeypatch.setenv("INR_ASSR_BACKBONES", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    for key, part in list(PARTS.items()):
        if part.package:
            torch.save(made_weights(key), tmp_path / part.name)
        else:  # as old as torchvision's own: parameters in a pickle that is no zip file
            state = backbones[key].float().state_dict() | {"classifier.0.bias": torch.zeros(9)}
            state = {name: nn.Parameter(value) for name, value in state.items()}
            torch.save(state, tmp_path / part.name, _use_new_zipfile_serialization=False)
        monkeypatch.setitem(PARTS, key, Part(part.name, sha256_of(tmp_path / part.name), part.remedy))
    perceptual._parts.cache_clear()
    yield tmp_path
    perceptual._parts.cache_clear()


def test_registered_metrics_read_their_files(files, backbones):
    (a, b), _, (small, shifted) = scenes()
    grey = a[:, :1]
    for name in AUTHORS:
        metric = METRICS[name]
        assert metric.missing() == ""
        value = metric(a, b)
        assert (value.dtype, value.shape) == (torch.float64, (1,))
        weights, network = made_weights(name), backbones[kind_of(name)].float()
        assert value.item() == pytest.approx(ours(name, a, b, network, weights), rel=1e-6)
        assert value.item() == pytest.approx(AUTHORS[name][0], rel=1e-5)  # float32 instead of float64
        assert metric(small, shifted).item() == pytest.approx(AUTHORS[name][2], rel=1e-5)
        assert metric(a, a).item() == 0
        assert metric(grey, b[:, :1]).item() == metric(grey.repeat(1, 3, 1, 1), b[:, :1].repeat(1, 3, 1, 1)).item()
        side = metric.smallest - 1
        with pytest.raises(InputError, match=f"it needs {metric.smallest}"):
            metric(a[..., :side, :], b[..., :side, :])


def test_wrong_files_are_refused_and_missing_ones_named(files, monkeypatch):
    a = b = torch.zeros(1, 3, 40, 40)
    backbone = files / PARTS["alex"].name
    whole = backbone.read_bytes()
    backbone.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # one bit
    reason = METRICS["lpips_alex"].missing()
    assert "is not the published file" in reason and "\n" not in reason
    with pytest.raises(InputError, match="lpips_alex: .* is not the published file"):
        METRICS["lpips_alex"](a, b)
    assert METRICS["lpips_vgg"](a, b).item() == 0  # the others go on

    torch.save({"features.0.weight": torch.zeros(3, 3)}, backbone)  # the right sum, the wrong tensors
    monkeypatch.setitem(PARTS, "alex", Part(backbone.name, sha256_of(backbone), ""))
    with pytest.raises(InputError, match=r"'features.0.weight' is \(3, 3\), not \(64, 3, 11, 11\)"):
        METRICS["lpips_alex"](a, b)

    (files / PARTS["vgg"].name).unlink()
    (files / PARTS["dists"].name).unlink()
    reason = METRICS["dists"].missing()
    assert "vgg16-397923af.pth" in reason and "fetch_backbone('vgg')" in reason
    assert "dists_weights.pt" in reason and "pip install --no-deps DISTS-pytorch==0.1" in reason and "\n" not in reason
    with pytest.raises(InputError, match="dists: no file"):
        METRICS["dists"](a, b)


def test_torch_s_own_downloads_are_found(files, monkeypatch):
    part = PARTS["alex"]
    elsewhere = files / "none" / "hub" / "checkpoints"
    elsewhere.mkdir(parents=True)
    (files / part.name).rename(elsewhere / part.name)
    assert perceptual.find_part("alex") == elsewhere / part.name
