"""Golden outputs of the published codes: each file in `tests/golden` and in INR_ASSR_PARITY (default ../shared/parity) is one test.

A model is built from the published specification in the file, through the loader that users' checkpoints take, filled with the
file's weights, and asked what the published code was asked. Colours and features are compared in float32, within the file's own tolerance.
Gradient norms were made in float64 and are compared in float64: in float32 the kinks of ReLU move them, otherwise on every processor.
"""

import copy

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
from inr_assr.models.checkpoints import load_model, load_weights
from inr_assr.models.model import build_model
from inr_assr.models.published import from_published, name_and_arguments, our_key, our_weights, published_options, split_spec

from conftest import ROOT, SHARED

HERE = ROOT / "tests" / "golden"
PARITY = Path(os.environ.get("INR_ASSR_PARITY", SHARED / "parity"))
GRADIENT = 1e-5  # relative, in float64
MADE_IN_FLOAT32 = {"gsasr-edsr-tiny": 5e-5, "ciaosr-edsr-multi": 5e-5}  # their norms; float64 is off by 1.9e-5 and 2.3e-5
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


def model_of(data, meta, **options):
    "The file's model, filled; `options` of its decoder where other than the file's."
    spec = spec_of(meta)
    model = from_published(spec).eval()
    if options:
        facts = model.describe()
        model = build_model(**{**facts, "decoder_options": {**facts["decoder_options"], **options}}).eval()
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
    return load_weights(model, our_weights(model, weights_of(data, meta), name_and_arguments(spec)[0]))


def parts_of(data) -> dict[str, dict[str, torch.Tensor]]:
    "The sets of queries, each with its entries but for the gradients."
    sets = sorted({name.split("/")[0] for name in data.files if name.endswith("/coord")})
    assert sets
    keys = {name: [k for k in data.files if k.startswith(f"{name}/") and "grad_norm" not in k] for name in sets}
    return {name: {k.split("/")[1]: torch.from_numpy(np.asarray(data[k])) for k in keys[name]} for name in sets}


def check_model(data, meta, stem=""):
    model, image = model_of(data, meta), torch.from_numpy(data["image"])
    wide = None
    for name, part in parts_of(data).items():
        if "log_p" in part:
            check_likelihood(model, image, part, meta["tolerance"])
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
        prefix = f"{name}/grad_norm/"
        wanted = {key.removeprefix(prefix): float(data[key]) for key in data.files if key.startswith(prefix)}
        if wanted:  # none: too ill-conditioned for the published code itself
            wide = wide or copy.deepcopy(model).double()
            ours = {our_key(wide, key): norm for key, norm in wanted.items()}
            check_gradients(wide, image, name, part, ours, meta, MADE_IN_FLOAT32.get(stem, GRADIENT))


def check_gradients(model, image, name, part, wanted, meta, tolerance):
    "Gradient norms by our names, of a model in float64."
    part = {key: value.double() if value.is_floating_point() else value for key, value in part.items()}
    model.zero_grad()
    if "log_p" in part:
        check_likelihood(model, image.double(), part, meta["tolerance"]).backward()
    else:
        (colours(model, image.double(), part, chunked(name)) * part["probe"]).sum().backward()
    if spec_of(meta).get("name") == "reference-metasr":
        first = model.decoder.imnet.layers[0]  # the norms are those of the weights before the bias took up the offset
        first.weight.grad[:, :2] -= first.bias.grad[:, None] / 2
    norms = {key: p.grad.norm().item() for key, p in model.named_parameters() if p.grad is not None}
    assert set(wanted) <= set(norms)
    small = 1e-5 * max(norms.values())  # the files of some methods leave out what is zero or rounding
    assert all(norms[key] <= small for key in set(norms) - set(wanted)), set(norms) - set(wanted)
    for key, norm in wanted.items():
        assert norms[key] == pytest.approx(norm, rel=tolerance), f"gradient of {key}"


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
    if meta["decoder"] is None:
        check_encoder(data, meta)
    else:
        check_model(data, meta, stem)


def test_the_comparison_can_fail():
    "A weight moved by one part in a hundred, or a cell of another scale, must not pass."
    data = dict(np.load(HERE / "liif-edsr-tiny.npz", allow_pickle=False))

    class Changed(dict):
        files = property(lambda self: list(self))

    meta = json.loads(str(data["meta"]))
    check_model(Changed(data), meta)
    norm = next(key for key in data if "/grad_norm/" in key)
    for key, factor in (("state/imnet.layers.0.weight", 1.01), ("x12/cell", 2), (norm, 1.0001)):
        with pytest.raises(AssertionError):
            check_model(Changed(data | {key: data[key] * data[key].dtype.type(factor)}), meta)


def test_published_spec_errors_are_told():
    with pytest.raises(InputError, match="Did you mean 'liif'"):
        from_published({"name": "lif", "args": {}})


STUDY = sorted(stem for stem in FILES if stem.startswith("reference-") and "-edsr-" in stem)
APART = [stem for stem in STUDY if "metasr" not in stem]  # decoders of their own
NONE = ["(no golden file at hand)"]


def opened(stem):
    data = np.load(FILES[stem], allow_pickle=False)
    return data, json.loads(str(data["meta"]))


@pytest.mark.parametrize("stem", APART or NONE)
def test_queries_0_and_1_of_a_call_by_the_studys_rule(stem):
    "What `stable` leaves out: with `first_queries` they are met too, and without it they are not."
    if stem not in FILES:
        pytest.skip("reference-*.npz are not at hand")
    data, meta = opened(stem)
    models = [model_of(data, meta, first_queries=first) for first in (True, False)]
    for name, part in parts_of(data).items():
        with torch.no_grad():
            off = [
                (colours(model, torch.from_numpy(data["image"]), part, chunked(name)) - part["out"]).flatten(2)[..., :2]
                for model in models
            ]
        assert off[0].abs().max() <= meta["tolerance"]["out"], name
        assert off[1].abs().max() > 10 * meta["tolerance"]["out"], name


@pytest.mark.parametrize("stem", APART or NONE)
def test_the_published_decoders_are_others(stem):
    "Filled with the study's weights, LIIF and CiaoSR as published fail the files."
    if stem not in FILES:
        pytest.skip("reference-*.npz are not at hand")
    data, meta = opened(stem)
    model = model_of(data, meta)
    facts, published = model.describe(), model.describe()["decoder"].removeprefix("reference-")
    options = facts["decoder_options"] | ({"scales": [4]} if published == "CiaoSR" else {})
    other = build_model(**{**facts, "decoder": published, "decoder_options": options}).eval()
    other.load_state_dict(model.state_dict())
    part = parts_of(data)["x3"]
    keep = part["stable"][:, None].expand_as(part["out"])
    with torch.no_grad():
        off = (other(torch.from_numpy(data["image"]), part["coord"], part["cell"]) - part["out"])[keep].abs().max()
    assert off > 50 * meta["tolerance"]["out"]


@pytest.mark.parametrize("stem", [*STUDY, "reference-metasr-rdn-full"])
def test_the_studys_own_file(stem, tmp_path):
    "Written as that code writes it, read by `load_model`, asked under profile `reference` as its test asks."
    if stem not in FILES:
        pytest.skip("reference-*.npz are not at hand")
    from inr_assr.testing.profiles import PROFILES

    data, meta = opened(stem)
    weights = {key: torch.nn.Parameter(value) for key, value in weights_of(data, meta).items()}
    optimiser = torch.optim.Adam(weights.values(), 4e-4)
    torch.optim.lr_scheduler.MultiStepLR(optimiser, [20])
    path = tmp_path / "last.pth"
    bare = {key: value.detach() for key, value in weights.items()}
    torch.save({"model": bare, "optimizer": optimiser.state_dict(), "epoch": 7}, path)
    model = load_model(path)
    assert model.describe()["decoder"] == {"metasr": "MetaSR"}.get(meta["decoder"], model_of(data, meta).describe()["decoder"])
    model, image = model.under(cell_policy=PROFILES["reference"].cell), torch.from_numpy(data["image"])
    for name in ("x2-test", "x4-test"):
        out = torch.cat([model.upscale(picture, int(name[1])) for picture in image.split(1)])
        wanted = torch.from_numpy(data[f"{name}/out"]).clamp(0, 1)  # as its test clamps
        keep = np.array(data[f"{name}/stable"]) if f"{name}/stable" in data.files else np.ones(out[:, 0].shape, bool)
        keep = np.broadcast_to(keep[:, None], out.shape)
        np.testing.assert_allclose(out.numpy()[keep], wanted.numpy()[keep], rtol=0, atol=meta["tolerance"]["out"])
