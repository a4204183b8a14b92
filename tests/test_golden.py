"""Golden outputs of the published codes: each file in `tests/golden` and in INR_ASSR_PARITY (default ../shared/parity) is one test.

A model is built from the published specification in the file, through the loader that users' checkpoints take, filled with the
file's weights, and asked what the published code was asked. Colours, features and gradient norms must agree within the file's own tolerance.
"""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.coordinates import CellPolicy
from inr_assr.models.checkpoints import _published_options, from_published, load_weights

from conftest import ROOT, SHARED

HERE = ROOT / "tests" / "golden"
PARITY = Path(os.environ.get("INR_ASSR_PARITY", SHARED / "parity"))
FILES = {path.stem: path for folder in (HERE, PARITY) if folder.is_dir() for path in sorted(folder.glob("*.npz"))}


def seeded(key: str, shape: list[int], gain: float) -> torch.Tensor:
    "The weights of full-size fixtures, by the rule of their format."
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape)
    if key.endswith("._weight"):
        value = np.eye(shape[0]) + noise / (4 * np.sqrt(shape[0]))
    elif len(shape) >= 2:
        value = noise / np.sqrt(np.prod(shape[1:]))
    else:
        value = 1 + noise / 10 if key.endswith(".weight") else noise / 10
    return torch.from_numpy((value * gain).astype(np.float32))


def weights_of(data, meta) -> dict[str, torch.Tensor]:
    "Published key -> tensor."
    if meta["weights"] == "seeded":
        gain = meta.get("gain", {})
        return {key: seeded(key, shape, gain.get(key, 1)) for key, shape in dict(meta["keys"]).items()}
    return {
        name.removeprefix("state/"): torch.from_numpy(data[name]) for name in data.files if name.startswith("state/")
    }


def spec_of(meta) -> dict:
    return meta["published"]["model"]


def registered(registry, spec) -> bool:
    return any(spec.get("name") in registry[name].published for name in registry)


def check_encoder(data, meta):
    name, options = _published_options(ENCODERS, spec_of(meta))
    encoder = ENCODERS[name](**options).eval()
    weights = {key.removeprefix("encoder."): value for key, value in weights_of(data, meta).items()}
    assert {k: tuple(v.shape) for k, v in encoder.state_dict().items()} == {
        k: tuple(v.shape) for k, v in weights.items()
    }
    encoder.load_state_dict(weights)
    with torch.no_grad():
        features = encoder((torch.from_numpy(data["image"]) - 0.5) / 0.5)
    np.testing.assert_allclose(features.numpy(), data["features"], rtol=0, atol=meta["tolerance"]["out"])


def check_model(data, meta):
    model = from_published(spec_of(meta)).eval()
    policy = meta["cell_policy"]
    model.cell_policy = CellPolicy(policy["kind"], policy.get("scale_max", 4))
    weights = weights_of(data, meta)
    load_weights(
        model, {key if key.startswith("encoder.") else f"decoder.{key}": value for key, value in weights.items()}
    )
    image = torch.from_numpy(data["image"])
    sets = sorted({name.split("/")[0] for name in data.files if name.endswith("/coord")})
    assert sets
    for name in sets:
        part = {key: torch.from_numpy(data[f"{name}/{key}"]) for key in ("coord", "cell", "out")}
        out = model(image, part["coord"], part["cell"])
        assert out.shape == part["out"].shape
        stable = (
            torch.from_numpy(data[f"{name}/stable"])
            if f"{name}/stable" in data.files
            else torch.ones(out.shape[0], *out.shape[2:], dtype=torch.bool)
        )
        assert stable.float().mean() > 0.5
        keep = stable[:, None].expand_as(out)
        atol = meta["tolerance"].get(f"{name}/out", meta["tolerance"]["out"])
        np.testing.assert_allclose(
            out[keep].detach().numpy(), part["out"][keep].numpy(), rtol=0, atol=atol, err_msg=f"colours of {name}"
        )
        if f"{name}/probe" in data.files:
            model.zero_grad()
            (out * torch.from_numpy(data[f"{name}/probe"])).sum().backward()
            norms = {
                key if key.startswith("encoder.") else key.removeprefix("decoder."): p.grad.norm().item()
                for key, p in model.named_parameters()
                if p.grad is not None
            }
            wanted = {
                key.split("/grad_norm/")[1]: float(data[key])
                for key in data.files
                if key.startswith(f"{name}/grad_norm/")
            }
            if not wanted:
                continue  # too ill-conditioned for the published code itself: no norms were stored
            assert set(norms) == set(wanted)
            for key, norm in wanted.items():
                assert norms[key] == pytest.approx(norm, rel=meta["tolerance"]["grad"]), f"gradient of {key}"


@pytest.mark.parametrize("stem", FILES or ["(no golden file at hand)"])
def test_golden(stem):
    assert FILES, "tests/golden holds no fixture"
    data = np.load(FILES[stem], allow_pickle=False)
    meta = json.loads(str(data["meta"]))
    spec = spec_of(meta)
    if meta["decoder"] is not None:
        if not registered(DECODERS, spec):
            pytest.skip(f"decoder {meta['decoder']!r} is not registered yet")
        spec = spec["args"]["encoder_spec"]
    if not registered(ENCODERS, spec):
        pytest.skip(f"encoder {meta['encoder']!r} is not registered yet")
    (check_encoder if meta["decoder"] is None else check_model)(data, meta)


def test_the_comparison_can_fail():
    "A weight moved by one part in a hundred, or a cell of another scale, must not pass."
    data = dict(np.load(HERE / "liif-edsr-tiny.npz", allow_pickle=False))

    class Changed(dict):
        files = property(lambda self: list(self))

    meta = json.loads(str(data["meta"]))
    check_model(Changed(data), meta)
    for key, factor in (("state/imnet.layers.0.weight", 1.01), ("x12/cell", 2)):
        with pytest.raises(AssertionError):
            check_model(Changed(data | {key: data[key] * np.float32(factor)}), meta)


def test_published_spec_errors_are_told():
    with pytest.raises(InputError, match="Did you mean 'liif'"):
        from_published({"name": "lif", "args": {}})
