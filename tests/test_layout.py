"Whatever strides a picture comes in, the encoder sees pixels whose channels lie together and the decoder sees dense rows."

import resource
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

from inr_assr import build_model
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS

HEIGHT, WIDTH = 24, 32


def forms(batch: int = 1) -> dict[str, torch.Tensor]:
    "The same picture (batch, 3, HEIGHT, WIDTH) in the strides that people's tensors have."
    array = np.random.default_rng(0).random((batch, HEIGHT, WIDTH, 3), dtype=np.float32)
    pixels = torch.from_numpy(array)
    plain = pixels.permute(0, 3, 1, 2).contiguous()
    larger = torch.zeros(batch, 3, HEIGHT + 6, WIDTH + 10)
    larger[..., 2:-4, 5:-5] = plain
    wide = torch.zeros(batch, HEIGHT, WIDTH + 4, 3)
    wide[:, :, 2:-2] = pixels
    apart = torch.zeros(2 * batch, 3, HEIGHT, WIDTH)
    apart[::2] = plain
    found = {
        "NCHW": plain,
        "NHWC": pixels.permute(0, 3, 1, 2),
        "channels_last": plain.contiguous(memory_format=torch.channels_last),
        "crop of a larger NCHW": larger[..., 2:-4, 5:-5],
        "crop of a larger NHWC": wide.permute(0, 3, 1, 2)[..., 2:-2],
        "flipped back": plain.flip(-1).flip(-1),
        "transposed": plain.mT.contiguous().mT,
        "float64": plain.double(),
        "requires_grad": plain.clone().requires_grad_(),
        "every other of a batch": apart[::2],
        "BGR reversed": torch.from_numpy(np.ascontiguousarray(array[..., ::-1])).flip(-1).permute(0, 3, 1, 2),
    }
    if batch == 1:
        found["permute(2, 0, 1)[None]"] = pixels[0].permute(2, 0, 1)[None]
        found["permute(2, 0, 1).unsqueeze(0) of a view"] = wide[0, :, 2:-2].permute(2, 0, 1).unsqueeze(0)
        found["three dimensions"] = pixels[0].permute(2, 0, 1)
        found["expanded"] = pixels[0].permute(2, 0, 1).expand(1, 3, HEIGHT, WIDTH)
    return found


def dense_channels_last(t: torch.Tensor) -> bool:
    "Channels together, then columns, then rows, without gaps; also where a dimension has one element."
    _, c, _, w = t.shape
    return t.stride()[1:] == (1, w * c, c) and t.stride(0) >= t[0].numel()


def tensors(state):
    "All tensors that a decoder keeps of a picture."
    if isinstance(state, torch.Tensor):
        yield state
    elif is_dataclass(state):
        for field in fields(state):
            yield from tensors(getattr(state, field.name))
    elif isinstance(state, (tuple, list)):
        for part in state:
            yield from tensors(part)


def small(encoder: str, decoder: str):
    torch.manual_seed(0)
    return build_model(encoder, decoder, ENCODERS[encoder].small, DECODERS[decoder].small).eval()


def watched(model) -> list[str]:
    "What lies wrongly when the model enlarges a picture; filled as it works."
    wrong, prepare = [], model.decoder.prepare

    def look(features, image):
        wrong.extend(name for name, t in (("features", features), ("image", image)) if not dense_channels_last(t))
        state = prepare(features, image)
        rows = [t for t in tensors(state) if t.ndim == 3 and t.is_floating_point() and t.shape[1] > 3]
        wrong.extend(f"rows {tuple(t.shape)} {t.stride()}" for t in rows if t.stride(-1) != 1 and t.shape[-1] > 1)
        return state

    def first(module, inputs):
        if not dense_channels_last(inputs[0]):
            wrong.append(f"encoder's picture {inputs[0].stride()}")

    model.decoder.prepare = look
    model.encoder.register_forward_pre_hook(first)
    return wrong


PAIRS = [("EDSR", decoder) for decoder in DECODERS] + [(encoder, "LTE") for encoder in ENCODERS if encoder != "EDSR"]


@pytest.mark.parametrize("encoder, decoder", PAIRS)
def test_any_strides_give_one_layout_inside_and_one_answer(encoder, decoder):
    model = small(encoder, decoder)
    wrong, answer = watched(model), None
    for name, image in forms().items():
        with torch.no_grad():
            found = model.upscale(image, scale=2)
        assert not wrong, f"{name}: {sorted(set(wrong))}"
        found = found.reshape(1, 3, 2 * HEIGHT, 2 * WIDTH).float()
        answer = found if answer is None else answer
        assert torch.equal(found, answer), f"{name}: other bits, up to {(found - answer).abs().max():.2g}"


@pytest.mark.parametrize("decoder", ["LIIF", "LTE", "SRNO"])
def test_batches_tiles_bands_and_points_too(decoder):
    model = small("EDSR", decoder)
    wrong = watched(model)
    for name, image in forms(3).items():
        model.upscale(image, scale=2)
        assert not wrong, name
    for tiling in (8, "whole"):
        for name, image in forms().items():
            model.upscale(image, scale=2, tiling=tiling)
            assert not wrong, (name, tiling)
    coord, cell = torch.rand(1, 4, 5, 2) * 2 - 1, torch.full((1, 2), 0.05)
    for name, image in forms().items():
        if image.ndim == 4 and image.dtype == torch.float32:
            model(image, coord, cell)
            assert not wrong, name


@pytest.mark.parametrize("decoder", ["LIIF", "LTE"])
def test_strides_cost_no_page_faults(decoder):
    "Memory that is given back and faulted in again, block by block, is counted by the system: no clock is needed."
    torch.manual_seed(0)
    model = build_model("EDSR", decoder, {"blocks": 1, "features": 64}).eval()
    pixels = torch.rand(96, 128, 3)

    def faults(image: torch.Tensor) -> int:
        model.upscale(image, scale=2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model.upscale(image, scale=3)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    plain = faults(pixels.permute(2, 0, 1)[None].contiguous())
    assert faults(pixels.permute(2, 0, 1)[None]) < 2 * plain + 4000
