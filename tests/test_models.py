"""Every encoder with every decoder; the published shapes; files in each published format."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.coordinates import Queries
from inr_assr.models.checkpoints import load_model, save_model
from inr_assr.models.conformance import colours_at
from inr_assr.models.model import build_model
from inr_assr.models.published import from_published, our_key, split_spec

from conftest import SHARED, cli, shared
from test_golden import FILES, spec_of, weights_of

PAIRS = [(encoder, decoder) for encoder in ENCODERS for decoder in DECODERS]


@pytest.mark.parametrize("encoder,decoder", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_pair_trains_saves_and_upscales(encoder, decoder, tmp_path):
    torch.manual_seed(0)
    model = build_model(encoder, decoder, dict(ENCODERS[encoder].small), dict(DECODERS[decoder].small))
    optimiser = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), 1e-4)
    image, target = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(3):
        coord = torch.rand(2, 16, 16, 2) * 2 - 1
        loss = (model(image, coord, torch.full((2, 2), 2 / 40)) - target).abs().mean()
        assert loss.isfinite(), step
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())
    again = load_model(save_model(model, tmp_path / "model.pth"))
    picture = torch.rand(3, 20, 15)
    out = again.upscale(picture, (2.7, 3.4))
    assert out.shape == (3, 54, 51) and out.isfinite().all()
    assert torch.equal(out, model.upscale(picture, (2.7, 3.4)))


ENCODER_SHAPES = {
    "encoder-edsr-baseline": {"name": "edsr-baseline", "args": {"no_upsampling": True}},
    "encoder-edsr-large": {"name": "edsr", "args": {"no_upsampling": True}},
    "encoder-rdn-a": {"name": "rdn", "args": {"RDNconfig": "A"}},
    "encoder-rdn-b": {"name": "rdn", "args": {}},
    "encoder-rcan": {"name": "rcan", "args": {}},
    "encoder-swinir": {"name": "swinir", "args": {}},
    "encoder-edsr-baseline-as-in-ciaosr": {"name": "EDSR"},
    "encoder-rdn-as-in-ciaosr": {"name": "RDN"},
    "encoder-edsr-as-in-gsasr": {"name": "EDSRNOUP"},
    "encoder-edsr-as-in-thera": {"name": "flax-edsr-baseline"},
    "encoder-rdn-as-in-thera": {"name": "flax-rdn"},
    "encoder-rdn-as-in-gblsr": {"name": "gblsr-rdn"},
}
MLP4 = {"hidden_list": [256] * 4}
LIIF, LTE = {"imnet_spec": {"args": MLP4}}, {"imnet_spec": {"args": {"hidden_list": [256] * 3}}}
DECODER_SHAPES = {
    "liif": ("liif", LIIF),
    "liif-nocell": ("liif", {**LIIF, "cell_decode": False}),
    "liif-nounfold": ("liif", {**LIIF, "feat_unfold": False}),
    "liif-noensemble": ("liif", {**LIIF, "local_ensemble": False}),
    "liif-shallow": ("liif", {"imnet_spec": {"args": {"hidden_list": [256] * 2}}}),
    "lte": ("lte", LTE),
    "ltep": ("lte-fast", {}),
    "metasr": ("metasr", {}),
    "linf": ("linf", {}),
    "linfpatch": ("linf-patch", {}),
    "srno": ("sronet", {}),
    "hiif": ("hiif", {}),
    "ciaosr": ("LocalImplicitSREDSR", {key: MLP4 for key in ("imnet_q", "imnet_k", "imnet_v")}),
}


def compare_shapes(model, found: dict, published: dict):
    "Published keys map one to one onto ours, with the same shapes but for 1x1 convolutions kept as linear layers."
    mapped = {our_key(model, key): shape for key, shape in published.items()}
    mapped.pop(None, None)
    assert len(mapped) == sum(our_key(model, key) is not None for key in published), "two published keys became one"
    assert set(mapped) == set(found)
    for key, shape in mapped.items():
        assert [n for n in shape if n != 1] == [n for n in found[key] if n != 1], key


@pytest.mark.parametrize("file", ENCODER_SHAPES)
def test_encoders_have_the_published_shapes(file):
    facts = json.loads(shared("facts", "shapes", f"{file}.json").read_text())
    with torch.device("meta"):
        model = from_published({"name": "metasr", "args": {"encoder_spec": ENCODER_SHAPES[file]}})
    published = {
        f"encoder.{re.sub('^(encoder|net_g)[.]', '', key)}": shape for key, shape in dict(facts["keys"]).items()
    }
    found = {key: tuple(p.shape) for key, p in model.named_parameters() if key.startswith("encoder.")}
    compare_shapes(model, found, published)
    assert sum(p.numel() for p in model.encoder.parameters()) == facts["parameters"]


@pytest.mark.parametrize(
    "file", [path.stem for path in sorted(Path(SHARED, "facts", "shapes").glob("decoder-*.json"))] or ["decoder-(none)"]
)
def test_decoders_have_the_published_shapes(file):
    facts = json.loads(shared("facts", "shapes", f"{file}.json").read_text())
    name, channels = re.fullmatch(r"decoder-(.*?)-(64|180|256)(?:-depth8)?", file).groups()
    if name in DECODER_SHAPES:
        spec = {"name": DECODER_SHAPES[name][0], "args": dict(DECODER_SHAPES[name][1])}
    else:  # a full-size golden file of the method holds its specification
        stem = {
            "clit2": "lit",
            "clit3": "lit",
            "thera-air": "thera-edsr-full-air",
            "thera-plus": "thera-edsr-full-plus",
        }.get(name, name)
        stem = {"thera-pro": "thera-edsr-full-pro"}.get(name, stem)
        path = next(path for key, path in FILES.items() if re.match(rf"{stem}.*-full", key) or key == stem)
        spec = split_spec(spec_of(json.loads(str(np.load(path)["meta"]))))[0]
        if name in ("clit2", "clit3"):
            spec["args"] |= {"imnet_num": int(name[-1]), "conv_num": int(name[-1])}
        if file.endswith("depth8"):
            spec["args"]["imnet_spec"]["args"]["hidden_depth"] = 8
    encoder = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": int(channels), "no_upsampling": True}}
    with torch.device("meta"):
        model = from_published({"name": spec["name"], "args": {**spec["args"], "encoder_spec": encoder}})
    found = {key: tuple(p.shape) for key, p in model.named_parameters() if key.startswith("decoder.")}
    compare_shapes(model, found, dict(facts["keys"]))
    assert sum(p.numel() for p in model.decoder.parameters()) == facts["parameters"]


@pytest.mark.parametrize("decoder", [name for name in DECODERS if DECODERS[name].context == "set"])
def test_blocks_never_show_in_a_picture_that_attends_to_itself(decoder):
    "Any chunk size, the same picture to 1e-5, at the published width; and the published chunks give another one, by name."
    torch.manual_seed(0)
    model = build_model("EDSR", decoder, {"blocks": 1}).eval()
    image = torch.rand(1, 3, 14, 11)
    whole, *others = [colours_at(model, image, (32, 20), queries) for queries in (10**6, 1024, 97, 7)]
    for other in others:
        assert (other - whole).abs().max() <= 1e-5
    model.attention = "rows 7"
    rows = colours_at(model, image, (32, 20), 97)
    assert (rows - whole).abs().max() > 1e-5
    for top in range(0, 32, 7):  # each set of rows is one call of the published code
        with torch.no_grad():
            rows_asked = Queries.grid((14, 11), (32, 20), range(top, min(32, top + 7)))
            one = model.query(model.prepare(image), rows_asked)
        assert (rows[:, :, top : top + 7] - one).abs().max() <= 1e-5


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_padded_picture_is_one_picture(decoder):
    "Upscaling under padding, in blocks, is one call of the model: also where a side is no multiple of the window."
    torch.manual_seed(0)
    model = build_model("SwinIR", decoder, dict(ENCODERS["SwinIR"].small), dict(DECODERS[decoder].small)).eval()
    image, queries = torch.rand(1, 3, 17, 14), Queries.grid((17, 14), (46, 48))
    with torch.no_grad():
        whole = model.query(model.prepare(image), queries)
    blocks = colours_at(model, image, (46, 48), 97)
    assert (blocks - whole).abs().max() <= 1e-5 * max(1, whole.abs().max())


FAMILY = [
    "liif-edsr-tiny",
    "metasr-edsr-tiny",
    "lte-edsr-tiny",
    "ltep-edsr-tiny",
    "linf-edsr-tiny",
    "srno-edsr-tiny",
    "hiif-edsr-tiny",
]
FAMILY += [
    "lm_liif-edsr-tiny",
    "lm_lte-edsr-tiny",
    "btc-edsr-tiny",
    "lit-edsr-tiny",
    "ope-edsr-tiny",
    "ciaosr-edsr-tiny",
]


@pytest.mark.parametrize("stem", FAMILY)
def test_a_file_in_each_published_format_loads_to_the_same_function(stem, tmp_path):
    "The golden weights, written as each code writes its files, read by `load_model`, and used by `inr-assr upscale`."
    if stem not in FILES:
        pytest.skip(f"{stem}.npz is not at hand (INR_ASSR_SHARED names the folder)")
    data = np.load(FILES[stem])
    meta = json.loads(str(data["meta"]))
    weights, spec = weights_of(data, meta), meta["published"]["model"]
    path = tmp_path / "theirs.pth"
    if stem.startswith("ciaosr"):
        torch.save({"meta": {}, "state_dict": {f"generator.{key}": value for key, value in weights.items()}}, path)
    else:
        torch.save(
            {"model": {**spec, "sd": weights}, "optimizer": {"name": "adam", "args": {}, "sd": {}}, "epoch": 7}, path
        )
    model = load_model(path)
    part = {key: torch.from_numpy(data[f"x2/{key}"]) for key in ("coord", "cell", "out")}
    with torch.no_grad():
        out = model(torch.from_numpy(data["image"]), part["coord"], part["cell"])
    np.testing.assert_allclose(out.numpy(), part["out"].numpy(), rtol=0, atol=meta["tolerance"]["out"])
    if stem in ("ciaosr-edsr-tiny", "lte-edsr-tiny"):
        from PIL import Image

        Image.new("RGB", (9, 7), "orange").save(tmp_path / "small.png")
        done = cli("upscale", tmp_path / "small.png", "--scale", 2, "--weights", path, "-o", tmp_path / "large.png")
        assert done.returncode == 0, done.stderr
        assert Image.open(tmp_path / "large.png").size == (18, 14)


def test_files_of_the_reference_code_load(tmp_path):
    "Those of its published networks; for its own LIIF, CiaoSR and MetaSR see `test_published` and `test_golden`."
    torch.manual_seed(0)
    for decoder in ("LTE+", "SRNO", "LINF", "HIIF"):  # its "LTE" is LTE+
        model = build_model("EDSR", decoder).eval()
        torch.save(
            {
                "model": {k.removeprefix("decoder."): v for k, v in model.state_dict().items()},
                "optimizer": {},
                "epoch": 1,
            },
            tmp_path / "last.pth",
        )
        again, image = load_model(tmp_path / "last.pth"), torch.rand(1, 3, 9, 8)
        assert again.describe()["decoder"] == decoder
        assert torch.equal(again.upscale(image, 2), model.upscale(image, 2))


def test_the_authors_weights_upscale_and_test(tmp_path):
    "Every trained file at hand goes through the two commands."
    from PIL import Image

    Image.effect_mandelbrot((48, 40), (-1.5, -1, 0.5, 1), 60).convert("RGB").save(tmp_path / "small.png")
    for path in sorted(shared("weights").glob("*.pth")):
        done = cli("upscale", tmp_path / "small.png", "--scale", 2.5, "--weights", path, "-o", tmp_path / "large.png")
        assert done.returncode == 0, done.stderr
        assert Image.open(tmp_path / "large.png").size == (120, 100)
        (tmp_path / "hr").mkdir(exist_ok=True)
        Image.open(tmp_path / "large.png").save(tmp_path / "hr" / "a.png")
        done = cli(
            "test", "--weights", path, "--benchmark", tmp_path / "hr", "--scales", 2, "--out", tmp_path / "rows.csv"
        )
        assert done.returncode == 0, done.stderr


def test_queries_cannot_be_built_with_a_wrong_cell():
    "A cell follows from the target alone; there is no argument for it."
    import inspect

    assert "cell" not in inspect.signature(Queries.grid).parameters
    assert "cell" not in inspect.signature(Queries.points).parameters
    for target in ((20, 30), (27, 31)):
        grid = Queries.grid((10, 12), target)
        assert torch.allclose(grid.relative_cell(), torch.tensor([[2 * 10 / target[0], 2 * 12 / target[1]]]))
        points = Queries.points((10, 12), torch.zeros(1, 4, 1, 2), target)
        assert torch.allclose(points.relative_cell(), grid.relative_cell())
