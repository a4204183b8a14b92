"""Exact: the picture that is cut equals the picture that is not, up to rounding."""

import pytest
import torch
from conftest import shared

from inr_assr import build_model, load_model
from inr_assr.data.pictures import demo_photo
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import to_tensor
from inr_assr.testing.evaluation import Method
from inr_assr.testing.strategies import Strategy

SMALL = {
    "EDSR": {"blocks": 3, "features": 12},
    "RDN": {"features": 12, "growth": 8, "blocks": 3, "layers": 2},
    "SwinIR": {"width": 12, "depths": [2], "heads": [2], "features": 8, "window": 4},
}
SCALES = [2, 2.5, (3.3, 1.7)]


def size_of(image, scale) -> tuple[int, int]:
    across = scale if isinstance(scale, tuple) else (scale, scale)
    return tuple(round(n * s) for n, s in zip(image.shape[-2:], across, strict=True))


def restore_by(model):
    return Method.of(model).restore


def put_together(model, image, size, tiling) -> torch.Tensor:
    "The whole target in float64, not clamped."
    out = image.new_full((1, 3, *size), float("nan"))
    for rows, columns, colours in model.blocks(image, size, tiling):
        out[..., rows.start : rows.stop, columns.start : columns.stop] = colours
    return out


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ["EDSR", "RDN"])
def test_tiled_equals_whole(encoder, decoder):
    torch.manual_seed(0)
    model = build_model(encoder, decoder, SMALL[encoder], DECODERS[decoder].small).double().eval()
    image = to_tensor(demo_photo("coffee")[100:133, 140:187]).double()
    for scale in SCALES:
        size = size_of(image, scale)
        whole, tiled = (put_together(model, image, size, cut) for cut in ("whole", 15))
        off, most = (tiled - whole).abs().max().item(), whole.abs().max().item()
        assert off <= 1e-12 * max(1, most), (scale, off, most)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_the_authors_model_tiled(scale):
    "Trained weights: exact tiles are the whole picture; patches have seams, overlapping ones smaller."
    model = load_model(shared("weights", "edsr-baseline-liif.pth"))
    image = to_tensor(demo_photo("astronaut")[60:156, 150:290])
    size, restore = size_of(image, scale), restore_by(model)
    whole = model.upscale(image, size=size, tiling="whole")
    off = {str(s): (s(restore, image, size) - whole).abs() for s in
           (Strategy("Exact", 40), Strategy("Patched", 40), Strategy("OverlappingPatched", 40, 12))}  # fmt: skip
    exact, patched, overlapping = (d.max().item() for d in off.values())
    print(f"x{scale}: exact {exact:.1e}, patched {patched:.3f}, overlapping {overlapping:.3f}")
    assert exact <= 1e-5 < 0.01 < patched
    assert off["patched 40 overlap 12"].mean() < off["patched 40"].mean()


def test_windows_stay_on_their_grid():
    torch.manual_seed(0)
    model = build_model("SwinIR", "LIIF", SMALL["SwinIR"], {"hidden": [16]}).eval()
    image = to_tensor(demo_photo("coffee")[100:143, 140:201])
    for scale in SCALES:
        size = size_of(image, scale)
        whole = model.upscale(image, size=size, tiling="whole")
        assert (Strategy("Exact", 16)(restore_by(model), image, size) - whole).abs().max() <= 1e-5


def test_an_encoder_that_pools_the_whole_picture_says_so():
    model = build_model("RCAN", "LIIF", {"groups": 1, "blocks": 1, "features": 8, "reduction": 2}, {"hidden": [8]})
    image = to_tensor(demo_photo("coffee")[100:143, 140:201])
    with pytest.raises(InputError, match="sees the whole picture, so tiles would change its answer"):
        Strategy("Exact", 16)(restore_by(model), image, (86, 122))


@pytest.mark.parametrize("encoder", ["EDSR", "RDN"])
def test_reach_by_gradient_support(encoder):
    "A feature depends on the pixels of its receptive field and on no other; all activations are made smooth, so that none is dead."
    torch.manual_seed(0)
    net = ENCODERS[encoder](**SMALL[encoder]).double().eval()
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.Softplus())
    reach = net.receptive_field
    side = 2 * reach + 5
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    net(image)[0, :, side // 2, side // 2].sum().backward()
    seen = image.grad[0].abs().sum(0).nonzero() - side // 2
    assert seen.abs().max() == reach
