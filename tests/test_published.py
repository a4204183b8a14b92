"""The printed values as they are shipped, and tables that mix them with rows of one's own.

And files of weights without a name: the LIIF authors', or those of the empirical study's code, which compute something else."""

import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from conftest import ROOT, cli, shared
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.images import save_picture
from inr_assr.data.pictures import demo_photo
from inr_assr.models.checkpoints import load_model, save_model
from inr_assr.models.model import build_model
from inr_assr.testing.profiles import PROFILES
from inr_assr.testing.results import COLUMNS, read_rows, write_rows
from inr_assr.views.paper import paper_table
from inr_assr.views.published import beside, published

COUNTS = {"Set5": 5, "DIV2K": 100}


def rows_of(decoder: str, values: dict, run: str = "", encoder: str = "EDSR", metric: str = "psnr_rgb") -> pd.DataFrame:
    "Rows on DIV2K or Set5 with these means."
    rng, lines = np.random.default_rng(0), []
    for (benchmark, scale), mean in values.items():
        noise = rng.normal(size=COUNTS[benchmark])
        facts = {
            "run": run or decoder,
            "encoder": encoder,
            "decoder": decoder,
            "benchmark": benchmark,
            "scale": scale,
            "profile": "liif",
            "profile_hash": PROFILES["liif"].hash,
            "tiling": "whole",
            "looks": 1,
            "lr": PROFILES["liif"].source(scale),
            "metric": metric,
            "seconds": 1.0,
        }
        lines += [{**facts, "image": f"{i:04}", "value": mean + v} for i, v in enumerate(noise - noise.mean())]
    return pd.DataFrame([{**dict.fromkeys(COLUMNS, ""), "seed": None, **line} for line in lines])


def test_it_is_the_collected_file():
    assert (ROOT / "inr_assr" / "published.csv").read_bytes() == shared("published", "results.csv").read_bytes()


def test_values_that_stand_in_two_sources_agree():
    table = published()
    same = ["encoder", "decoder", "variant", "benchmark", "scale", "metric", "channel"]
    twice = table[table.duplicated(same, keep=False)].groupby(same)["value"]
    assert len(twice) == 79 and (twice.nunique() == 1).all()


def test_it_is_installed(tmp_path):
    for name in ("setup.py", "settings.ini", "README.md", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "inr_assr").mkdir()
    for name in ("__init__.py", "published.csv"):
        shutil.copy(ROOT / "inr_assr" / name, tmp_path / "inr_assr")
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheel", "."]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    if "No module named" in made.stderr:
        pytest.skip("setuptools or wheel is not installed")
    assert made.returncode == 0, made.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    assert "inr_assr/published.csv" in zipfile.ZipFile(wheel).namelist()


def test_rosetta_only_the_same_protocol_stands_beside():
    "29.00, 29.02 and 30.43 dB are the same weights or nearly so; under `liif` only 29.00 is shown."
    rows = rows_of("LIIF", {("DIV2K", "4"): 28.99})
    (line,) = beside(rows).to_dict("records")
    assert line["published"] == 29.0 and line["note"] == "" and line["difference"] == pytest.approx(-0.01)
    other = rows.assign(metric="psnr_y", profile="gsasr", profile_hash=PROFILES["gsasr"].hash, lr="matlab")
    assert beside(other).published.item() == 30.43
    other = rows.assign(profile="mmediting", profile_hash=PROFILES["mmediting"].hash, lr="pillow")
    assert beside(other).published.item() == 29.0245
    other = rows.assign(profile="ours", profile_hash=PROFILES["ours"].hash, lr="pillow", metric="psnr_y")
    assert beside(other).note.item() == "measured otherwise"


def test_no_value_on_luma_for_edsr_on_the_classic_sets():
    rows = rows_of("LIIF", {("Set5", "2"): 37.9877}, metric="psnr_y")
    assert beside(rows).note.item() == "measured otherwise"  # mmediting prints RGB
    table = paper_table(rows)
    assert table.copied == [False] and table.texts().iloc[0].tolist() == ["37.99", "-"]


def test_rows_from_a_file(tmp_path):
    rows = rows_of("LIIF", {("DIV2K", "2"): 34.6, ("DIV2K", "12"): 23.7})
    write_rows(rows, tmp_path / "rows.csv")
    write_rows(rows, tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        told = beside(read_rows(tmp_path / name))
        assert told.published.tolist() == [34.67, 23.71]


def test_missing_and_unmeasured_pictures_are_told():
    rows = rows_of("LIIF", {("DIV2K", "2"): 34.6})
    rows.loc[3, "value"] = np.nan
    assert beside(rows).note.item() == "99 of 100 pictures" and np.isnan(beside(rows).published.item())
    assert "DIV2K: 99 of 100 pictures" in paper_table(rows).caption


def test_names_with_signs_survive():
    rows = pd.concat(
        [
            rows_of("LIIF", {("DIV2K", "2"): 34.6}),
            rows_of("A&B_<i>%", {("DIV2K", "2"): 34.9}, run="A&B_<i>%"),
            rows_of("LTE+", {("DIV2K", "2"): 34.7}),
        ]
    )
    table = paper_table(rows, others=False)
    assert r"A\&B\_\textless{}i\textgreater{}\%" in table.latex() and "A&amp;B_&lt;i&gt;%" in table.html() and "<i>" not in table.html()
    assert re.search(r"\\textbf\{34\.90\}", table.latex()) and "**34.90**" in table.markdown()
    assert r"\underline{34.70}" in table.latex() and "<u>34.70</u>" in table.markdown()


def test_latex_takes_it(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    rows = rows_of("LIIF", {("DIV2K", s): v for s, v in (("2", 34.6), ("4", 28.9), ("6", 26.7), ("12", 23.7))})
    source = paper_table(rows).latex()
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + source + r"\end{document}"
    (tmp_path / "t.tex").write_text(page)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    if "booktabs.sty' not found" in made.stdout:
        pytest.skip("the LaTeX package booktabs is not installed")
    assert made.returncode == 0, made.stdout[-1500:]


SMALL = {"LIIF": {"hidden": [16, 12]}, "reference-LIIF": {"hidden": [16, 12]}, "reference-CiaoSR": {"hidden": [16]}, "MetaSR": {}}


def weights_without_name(decoder: str, encoder=("EDSR", {"blocks": 2, "features": 8})) -> dict[str, torch.Tensor]:
    "A model's weights by LIIF's keys, which are the study's too."
    torch.manual_seed(0)
    model = build_model(encoder[0], decoder, encoder[1], SMALL[decoder])
    return {key.removeprefix("decoder."): value for key, value in model.state_dict().items()}


def study_file(path, weights: dict[str, torch.Tensor], rate: float = 4e-4):
    "Saved as the study's code saves it."
    optimiser = torch.optim.Adam([torch.nn.Parameter(value.clone()) for value in weights.values()], rate)
    torch.optim.lr_scheduler.MultiStepLR(optimiser, [20])
    path.parent.mkdir(exist_ok=True)
    torch.save({"model": weights, "optimizer": optimiser.state_dict(), "epoch": 7}, path)
    return path


@pytest.mark.parametrize("decoder", ["LIIF", "MetaSR"])
def test_weights_without_a_name_are_asked_about(decoder, tmp_path):
    "Whatever way an authors' file was saved again: refused with both answers, and loaded as what the caller says."
    weights, path = weights_without_name(decoder), tmp_path / "bare.pth"
    image = torch.rand(1, 3, 8, 9)
    own = build_model("EDSR", decoder, {"blocks": 2, "features": 8}, SMALL[decoder]).eval()
    own.load_state_dict({k if k.startswith("encoder.") else f"decoder.{k}": v for k, v in weights.items()})
    author = {"name": "adam", "args": {"lr": 1e-4}, "sd": {}}
    ways = [weights, {"model": weights}, {"state_dict": weights}, {"model": weights, "optimizer": author, "epoch": 1}]
    ways += [{"model": weights, "optimizer": {}, "epoch": 1}, {f"module.{key}": value for key, value in weights.items()}]
    for contents in ways:
        torch.save(contents, path)
        with pytest.raises(InputError, match="Say source='liif' or source='reference'"):
            load_model(path)
        assert torch.equal(load_model(path, source="liif").upscale(image, 2.5), own.upscale(image, 2.5))
        other = load_model(path, source="reference")
        assert other.describe()["decoder"] == {"LIIF": "reference-LIIF"}.get(decoder, decoder)
        assert (other.upscale(image, 2.5) - own.upscale(image, 2.5)).abs().max() > 1e-4
    safetensors.torch.save_file(weights, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="Say source="):
        load_model(tmp_path / "bare.safetensors")
    assert load_model(tmp_path / "bare.safetensors", source="liif").describe()["decoder"] == decoder
    with pytest.raises(InputError, match="Say source="):  # torch's optimiser, but not of the study's rate
        load_model(study_file(path, weights, 1e-4))
    with pytest.raises(InputError, match="Valid: liif, reference"):
        load_model(path, source="authors")


def test_the_authors_ablations_without_a_name(tmp_path):
    "What columns say of LIIF's options is read from them."
    for options in ({"cell": False}, {"unfold": False}, {"cell": False, "unfold": False}):
        model = build_model("EDSR", "LIIF", {"blocks": 1, "features": 4}, {"hidden": [6], **options})
        torch.save({k.removeprefix("decoder."): v for k, v in model.state_dict().items()}, tmp_path / "bare.pth")
        again = load_model(tmp_path / "bare.pth", source="liif").describe()["decoder_options"]
        assert {key: again[key] for key in options} == options


def test_the_studys_files_are_known_by_their_optimiser_or_their_layers(tmp_path):
    for decoder, name in (("LIIF", "reference-LIIF"), ("MetaSR", "MetaSR"), ("reference-CiaoSR", "reference-CiaoSR")):
        path = study_file(tmp_path / "last.pth", weights_without_name(decoder))
        assert load_model(path).describe()["decoder"] == name
    torch.save({"model": weights_without_name("reference-CiaoSR")}, path)  # the search at x4 is its own
    assert load_model(path).describe()["decoder"] == "reference-CiaoSR"
    with pytest.raises(InputError, match="only the study's code writes"):
        load_model(path, source="liif")
    path = study_file(path, weights_without_name("LIIF", ("RDN", {"config": "A", "features": 64})))
    assert load_model(path).describe()["encoder_options"]["config"] == "A"


def test_a_file_that_says_whose_it_is_is_not_asked_about(tmp_path):
    torch.manual_seed(0)
    model = build_model("EDSR", "reference-LIIF", {"blocks": 2, "features": 8}, SMALL["LIIF"])
    ours = save_model(model, tmp_path / "ours.pth")
    with pytest.raises(InputError, match="says itself whose it is"):
        load_model(ours, source="liif")
    part = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 2, "n_feats": 8}}
    spec = {"name": "liif", "args": {"encoder_spec": part, "imnet_spec": {"name": "mlp", "args": SMALL["LIIF"] | {"hidden_list": [16, 12]}}}}
    torch.save({"model": {**spec, "sd": weights_without_name("LIIF")}}, tmp_path / "named.pth")
    assert load_model(tmp_path / "named.pth", source="liif").describe()["decoder"] == "LIIF"
    with pytest.raises(InputError, match="names of another"):
        load_model(tmp_path / "named.pth", source="reference")


def test_metasr_of_the_study_is_plain_metasr_exactly(tmp_path):
    "Its offsets are 1/2 smaller: asked with the offsets of the published code, the filters are the same to rounding."
    weights = weights_without_name("MetaSR")
    model = load_model(study_file(tmp_path / "last.pth", weights)).double()
    first, bias = (weights[f"imnet.layers.0.{part}"].double() for part in ("weight", "bias"))
    place = torch.rand(50, 3, dtype=torch.float64)
    theirs = (place - torch.tensor([0.5, 0.5, 0])) @ first.T + bias
    assert (model.decoder.imnet.layers[0](place) - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("decoder", ["reference-LIIF", "reference-CiaoSR"])
def test_folded_at_the_patch_of_training(decoder, tmp_path):
    "On a picture of the patch's size the folded model is the raw one; elsewhere it does not depend on the picture's size."
    weights = weights_without_name(decoder)
    path = study_file(tmp_path / "model_states_EDSR_X_Simple_Patch_16_Scale_1_4" / "last.pth", weights)
    raw, folded, auto = load_model(path), load_model(path, fold=16), load_model(path, fold="auto")
    assert auto.describe() == folded.describe() and auto.describe()["decoder"] == decoder
    patch = torch.rand(1, 3, 16, 16)
    for scale in (2, 2.7, 4):
        assert (folded.upscale(patch, scale) - raw.upscale(patch, scale)).abs().max() < 5e-6
        assert torch.equal(folded.upscale(patch, scale), auto.upscale(patch, scale))
    assert (folded.upscale(patch[..., :12], 2) - raw.upscale(patch[..., :12], 2)).abs().max() > 2e-5
    again = load_model(save_model(folded, tmp_path / "ours.pth"))
    assert again.describe() == folded.describe() and torch.equal(again.upscale(patch, 2), folded.upscale(patch, 2))
    with pytest.raises(InputError, match="is already"):
        load_model(tmp_path / "ours.pth", fold=16)
    if decoder == "reference-LIIF":  # and it is LIIF as published, with those weights
        same = build_model("EDSR", "LIIF", {"blocks": 2, "features": 8}, SMALL["LIIF"]).eval()
        same.load_state_dict(folded.state_dict())
        picture = torch.rand(1, 3, 11, 23)
        assert torch.equal(same.upscale(picture, 2.5), folded.upscale(picture, 2.5))


def test_what_cannot_be_folded_is_told(tmp_path):
    path = study_file(tmp_path / "last.pth", weights_without_name("LIIF"))
    for fold, said in (("auto", "does not say the patch"), (0, "fold"), ("wide", "fold"), (2.5, "fold")):
        with pytest.raises(InputError, match=said):
            load_model(path, fold=fold)
    with pytest.raises(InputError, match="EDSR-MetaSR, which cannot be folded"):
        load_model(study_file(path, weights_without_name("MetaSR")), fold=48)


def test_every_row_and_table_says_which_decoder_it_was(tmp_path):
    "By the command line: one file, as the authors', as the study's, folded; three runs that no table mixes."
    hr, rows = tmp_path / "hr", tmp_path / "rows.csv"
    hr.mkdir()
    save_picture(demo_photo("coffee")[100:148, 100:160], hr / "a.png")
    torch.save({"model": weights_without_name("LIIF")}, tmp_path / "last.pth")
    words = "test", "--weights", tmp_path / "last.pth", "--benchmark", hr, "--scales", "2", "--out", rows
    done = cli(*words)
    assert done.returncode == 2 and "--source" in done.stderr and not rows.exists()
    words += "--metrics", "psnr_rgb", "--profile", "reference"
    study = "--source", "reference"
    for more in (("--source", "liif"), study, (*study, "--fold", "48"), (*study, "--run", "mine")):
        done = cli(*words, *more)
        assert done.returncode == 0, done.stderr
    found, names = pd.read_csv(rows), ["last (reference-LIIF)", "last (reference-LIIF, fold 48)", "mine (reference-LIIF)"]
    assert found["decoder"].tolist() == ["LIIF"] + ["reference-LIIF"] * 3
    assert found["run"].tolist() == ["last (liif)", *names]
    assert set(found["cell_policy"]) == {"clip at x1"}
    assert found["weights"].nunique() == 2 and found["value"].nunique() == 3  # as given, and folded
    table = cli("table", rows, "--metric", "psnr_rgb")
    report = cli("report", rows, "--metric", "psnr_rgb", "--out", tmp_path / "report.html")
    assert table.returncode == report.returncode == 0, table.stderr + report.stderr
    for shown in (table.stdout, (tmp_path / "report.html").read_text()):
        assert all(name in shown for name in names)
    paper = cli("table", rows, "--metric", "psnr_rgb", "--format", "latex").stdout
    assert paper.count("reference-LIIF") >= 3
    assert "reference-LIIF" in cli("models").stdout and "reference-CiaoSR" in cli("models").stdout
    done = cli("test", "--bicubic", "--source", "liif", "--benchmark", hr, "--scales", "2")
    assert done.returncode == 2 and "--bicubic has none" in done.stderr
    large = tmp_path / "large.png"
    words = "upscale", hr / "a.png", "-o", large, "--scale", 2, "--weights", tmp_path / "last.pth"
    assert cli(*words).returncode == 2 and not large.exists()
    assert cli(*words, "--source", "reference", "--fold", 48).returncode == 0 and large.exists()


def test_a_training_does_not_begin_with_the_weights_of_another_method(tmp_path):
    "LIIF and the study's have the same keys and shapes."
    from inr_assr.training.recipes import recipe
    from inr_assr.training.runs import Start, configure

    options = {"blocks": 2, "features": 8}, SMALL["LIIF"]
    start = save_model(build_model("EDSR", "reference-LIIF", *options), tmp_path / "start.pth")
    ours, other = (configure("EDSR", name, recipe("TrainSimple", patch=16), 0, "", "", *options) for name in ("reference-LIIF", "LIIF"))
    Start.read(start).notes(ours)
    with pytest.raises(InputError, match="'start.pth' holds EDSR-reference-LIIF, but EDSR-LIIF is to be trained"):
        Start.read(start).notes(other)


@pytest.mark.parametrize("decoder", ["LIIF", "MetaSR", "reference-CiaoSR"])
def test_the_studys_file_is_not_taken_for_the_authors(decoder, tmp_path):
    weights = weights_without_name(decoder)
    for some in (weights, {f"_orig_mod.{key}": value for key, value in weights.items()}):
        path = study_file(tmp_path / "last.pth", some)
        with pytest.raises(InputError, match="no file of the LIIF authors: .* Leave source out"):
            load_model(path, source="liif")
    shown = cli("test", "--weights", path, "--source", "liif", "--benchmark", tmp_path)
    assert shown.returncode == 2 and "no file of the LIIF authors" in shown.stderr


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("decoder", ["LIIF", "MetaSR", "reference-CiaoSR"])
def test_files_of_a_compiled_training_load_as_those_of_a_plain_one(decoder, prefix, tmp_path):
    "The study's files with and without their optimiser, and the authors' saved again."
    weights, image = weights_without_name(decoder), torch.rand(1, 3, 8, 9)
    compiled = {prefix + key: value for key, value in weights.items()}
    plain = load_model(study_file(tmp_path / "plain.pth", weights))
    again = load_model(study_file(tmp_path / "compiled.pth", compiled))
    assert again.describe() == plain.describe() and torch.equal(again.upscale(image, 2.5), plain.upscale(image, 2.5))
    for name, some in (("plain", weights), ("compiled", compiled)):
        torch.save({"model": some}, tmp_path / f"{name}.pth")
    for source in ("reference", "liif")[: 2 - (decoder == "reference-CiaoSR")]:
        plain, again = (load_model(tmp_path / f"{name}.pth", source=source) for name in ("plain", "compiled"))
        assert again.describe() == plain.describe() and torch.equal(again.upscale(image, 2.5), plain.upscale(image, 2.5))
