"""Golden outputs of the published codes: each file in `tests/golden` and in INR_ASSR_PARITY (default ../shared/parity) is one test.

A model is built from the published specification in the file, through the loader that users' checkpoints take, filled with the
file's weights, and asked what the published code was asked. Colours, features and gradient norms must agree within the file's own tolerance.
"""

import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.coordinates import CellPolicy, Queries
from inr_assr.foundations.padding import PaddingPolicy
from inr_assr.models.checkpoints import load_weights
from inr_assr.models.published import from_published, our_key, our_weights, published_options, split_spec

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
    return torch.from_numpy(np.asarray(value * gain, dtype=np.float32))


def weights_of(data, meta) -> dict[str, torch.Tensor]:
    "Published key -> tensor. Some seeded files store a few (index buffers; Thera's components)."
    stored = {
        name.removeprefix("state/"): torch.from_numpy(np.asarray(data[name]))
        for name in data.files
        if name.startswith("state/")
    }
    if meta["weights"] == "stored":
        return stored
    gain = meta.get("gain", {})
    return {key: seeded(key, shape, gain.get(key, 1)) for key, shape in dict(meta["keys"]).items()} | stored


def spec_of(meta) -> dict:
    "The published specification as `{name, args}`; four codes write theirs in other words, which are put into that form here."
    spec, encoder, decoder = meta["published"]["model"], meta["encoder_options"], meta["decoder_options"]
    if meta["decoder"] == "thera":
        part = {
            "name": f"flax-{meta['encoder']}".replace("edsr", "edsr-baseline").replace(
                "-baseline-baseline", "-baseline"
            ),
            "args": encoder,
        }
        return {"name": "thera", "args": {**decoder, "encoder_spec": part}}
    if meta["decoder"] == "gblsr":
        return {"name": "gblsr", "args": {**decoder, "encoder_spec": {"name": "gblsr-rdn", "args": encoder}}}
    if meta["decoder"] == "gsasr":
        return {**spec["network_fea2gs"], "encoder": spec["network_g"]}
    return spec


def registered(registry, spec) -> bool:
    return any((spec.get("name") or spec.get("type")) in registry[name].published for name in registry)


def check_encoder(data, meta):
    name, options = published_options(ENCODERS, spec_of(meta))
    encoder = ENCODERS[name](**options).eval()
    weights = {encoder.our_key(key.removeprefix("encoder.")): value for key, value in weights_of(data, meta).items()}
    weights.pop(None, None)
    assert {k: tuple(v.shape) for k, v in encoder.state_dict().items()} == {
        k: tuple(v.shape) for k, v in weights.items()
    }
    encoder.load_state_dict(weights)
    image = PaddingPolicy("reflect")((torch.from_numpy(data["image"]) - 0.5) / 0.5, encoder.window)
    with torch.no_grad():
        features = encoder(image)
    np.testing.assert_allclose(features.numpy(), data["features"], rtol=0, atol=meta["tolerance"]["out"])


def chunked(name: str) -> tuple[str, int] | None:
    "('rows', 7) for the published chunked prediction 'x2-rows7'."
    found = re.fullmatch(r".*-(rows|chunk)(\d+)", name)
    return found and (found[1], int(found[2]))


def colours(model, image, part, how) -> torch.Tensor:
    "The model's answer to one set of queries, asked as the published code was."
    if how is None:
        if "z" in part:  # LINF, drawn with a given noise
            queries = model.place(Queries.points(tuple(image.shape[-2:]), part["coord"], 2 / part["cell"]))
            if model.decoder.patch > 1:
                queries = model.place(Queries.grid(tuple(image.shape[-2:]), part["coord"].shape[1:3]))
            down, across = (
                -(-n // model.decoder.patch) for n in queries.shape
            )  # the published grid has one patch more
            latent = part["z"][..., :down, :across] * part["temperature"]
            state = model.prepare(image)
            return model.normalisation.out_of(model.decoder.query(state, queries, latent=latent))
        return model(image, part["coord"], part["cell"])
    kind, step = how
    coord = part["coord"] if kind == "rows" else part["coord"].flatten(1, 2)[:, None]
    dim = 1 if kind == "rows" else 2
    pieces = [model(image, piece, part["cell"]) for piece in coord.split(step, dim)]
    return torch.cat(pieces, dim + 1).reshape(part["out"].shape)


def check_likelihood(model, image, part, tolerance):
    queries = model.place(Queries.points(tuple(image.shape[-2:]), part["coord"], 2 / part["cell"]))
    state = model.prepare(image)
    seen = part.get("residual")
    target = model.normalisation.into(part["target"]) if seen is None else None
    log_p, latent = model.decoder.log_likelihood(state, queries, target=target, residual=seen)
    np.testing.assert_allclose(log_p.detach().numpy(), part["log_p"].numpy(), rtol=0, atol=tolerance["log_p"])
    np.testing.assert_allclose(latent.detach().numpy(), part["latent"].numpy(), rtol=0, atol=tolerance["log_p"])
    return -log_p.mean()


def check_model(data, meta):
    model = from_published(spec_of(meta)).eval()
    policy = meta["cell_policy"]
    assert isinstance(policy, dict) or policy[:4] in ("none", "clip")
    kind = policy["kind"] if isinstance(policy, dict) else policy[:4]
    model.cell_policy = CellPolicy(kind, policy.get("scale_max", 4) if isinstance(policy, dict) else 4)
    if model.encoder.window > 1:  # decoders' own windows are padded as their code does
        model.padding = PaddingPolicy(meta["padding"]["rule"] if meta.get("padding") else "none")
    if found := re.search(
        r"grids before the target are \((\d+)h,", str(meta["notes"])
    ):  # CLIT's levels: not in its specification
        model.decoder.cascade = [float(found[1])]
    load_weights(model, our_weights(model, weights_of(data, meta)))
    image = torch.from_numpy(data["image"])
    sets = sorted({name.split("/")[0] for name in data.files if name.endswith("/coord")})
    assert sets
    for name in sets:
        part = {
            key.split("/")[1]: torch.from_numpy(np.asarray(data[key]))
            for key in data.files
            if key.startswith(f"{name}/") and "grad_norm" not in key
        }
        model.zero_grad()
        if "log_p" in part:
            loss = check_likelihood(model, image, part, meta["tolerance"])
        else:
            if "digits" in part:
                queries = model.place(Queries.points(tuple(image.shape[-2:]), part["coord"], 2 / part["cell"]))
                assert torch.equal(model.decoder.digits(queries, image.shape[-2:]).to(torch.uint8), part["digits"]), (
                    "digits"
                )
            out = colours(model, image, part, chunked(name))
            assert out.shape == part["out"].shape
            stable = part.get("stable", torch.ones(out.shape[0], *out.shape[2:], dtype=torch.bool))
            assert stable.float().mean() > 0.5
            keep = stable[:, None].expand_as(out)
            atol = meta["tolerance"].get(f"{name}/out", meta["tolerance"]["out"])
            np.testing.assert_allclose(
                out[keep].detach().numpy(), part["out"][keep].numpy(), rtol=0, atol=atol, err_msg=f"colours of {name}"
            )
            loss = (out * part["probe"]).sum() if "probe" in part else None
        prefix = f"{name}/grad_norm/"
        wanted = {key.removeprefix(prefix): float(data[key]) for key in data.files if key.startswith(prefix)}
        if loss is None or not wanted:
            continue  # too ill-conditioned for the published code itself: no norms were stored
        loss.backward()
        norms = {key: p.grad.norm().item() for key, p in model.named_parameters() if p.grad is not None}
        ours = {our_key(model, key): norm for key, norm in wanted.items()}
        assert set(ours) <= set(norms)
        small = 1e-5 * max(norms.values())  # the files of some methods leave out what is zero or rounding
        assert all(norms[key] <= small for key in set(norms) - set(ours)), set(norms) - set(ours)
        for key, norm in ours.items():
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
        spec = split_spec(spec)[1]
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
