"Tables, reports and comparisons of rows as strangers bring them: other sets of pictures, other models under known names, lines edited by hand."

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import cli, shared

from inr_assr.foundations.errors import InputError
from inr_assr.models.model import build_model
from inr_assr.testing.evaluation import Method, other_options
from inr_assr.testing.results import KEY, means, read_rows, same_pictures
from inr_assr.testing.statistics import compare
from inr_assr.views.paper import paper_table
from inr_assr.views.published import beside
from inr_assr.views.tables import scale_table, score_table


def rows_of(run: str, values: dict, **more) -> list[dict]:
    "Rows of a run: a value for each picture."
    blank = dict.fromkeys(KEY, "") | {"encoder": "", "decoder": run, "recipe": "", "seconds": 0.1, "note": ""}
    known = {"run": run, "benchmark": "pics", "kind": "BENCHMARK", "scale": "2", "profile": "liif", "looks": 1}
    known |= {"profile_hash": "8f1ee0f4", "tiling": "whole", "lr": "pillow", "metric": "psnr_y", "code": "0123456789"}
    return [
        blank | known | {"image": image, "hr_pixels": f"of {image}", "value": value} | more
        for image, value in values.items()
    ]


def frame(*parts) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


BICUBIC = {"a": 20.0, "b": 22.0, "c": 40.0, "d": 50.0}


def test_means_are_over_the_pictures_that_all_runs_have():
    "A run that was killed half-way is compared on what it has, and the number of pictures is said."
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", {"a": 21.0, "b": 24.0}))
    for style in (score_table(rows), scale_table(rows, "2")):
        assert style.data.iloc[:, 0].tolist() == [21.0, 22.5]
        assert "2 of 4 pictures, those that all runs have" in style.words
    assert scale_table(rows, "2").data["minus bicubic"].tolist() == [0, 1.5]
    assert beside(rows)[["measured", "pictures"]].values.tolist() == [[21, 2], [22.5, 2]]
    assert "pics x2: 2 of 4 pictures, those that all runs have" in paper_table(rows).caption


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_leaves_its_picture_out_of_every_mean(lost):
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", {"a": 21.0, "b": 24.0, "c": 41.0, "d": lost}))
    style = scale_table(rows, "2")
    assert style.data.iloc[:, 0].tolist() == pytest.approx([82 / 3, 86 / 3]) and "3 of 4 pictures" in style.words
    assert style.data["minus bicubic"].tolist() == pytest.approx([0, 4 / 3])


def test_no_difference_between_runs_without_a_common_picture():
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", {"e": 31.0, "f": 33.0}))
    for style in (score_table(rows), scale_table(rows, "2")):
        assert style.data.iloc[:, 0].tolist() == [33, 32]
        assert "no picture in common, so the means do not compare (bicubic: 4 pictures; LIIF: 2 pictures)" in style.words
        assert "mean of 6 pictures" not in style.words and "bold" not in style.to_html()
    assert scale_table(rows, "2").data["minus bicubic"].isna().tolist() == [True, True]
    table = paper_table(rows)
    assert "pics x2: no picture in common" in table.caption and (table.marks == "").all(axis=None)


def test_each_column_has_its_own_pictures():
    "At x3 one picture is missing; x2 keeps all four."
    short = {name: BICUBIC[name] for name in "abc"}
    rows = frame(
        rows_of("bicubic", BICUBIC), rows_of("LIIF", BICUBIC), rows_of("bicubic", BICUBIC, scale="3"), rows_of("LIIF", short, scale="3")
    )  # fmt: skip
    style = score_table(rows)
    assert style.data["x2"].tolist() == [33, 33] and style.data["x3"].tolist() == pytest.approx([82 / 3] * 2)
    assert "pics x3: 3 of 4 pictures" in style.words and "pics x2" not in style.words


def test_a_report_of_two_folders_with_one_last_name(tmp_path):
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", {"e": 31.0, "f": 33.0}))
    rows.reindex(columns=rows.columns).assign(seed="").to_csv(tmp_path / "r.csv", index=False)
    done = cli("report", tmp_path / "r.csv", "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert done.returncode == 0 and "mean of 6 pictures" not in page and not re.search(r"[+]\d|-1\.00", re.sub("<style.*?</style>|<svg.*?</svg>|<dl>.*?</dl>|href=\"[^\"]*\"", "", page, flags=re.S))  # fmt: skip
    assert page.count("no picture in common") >= 2


def test_a_column_of_identical_pictures_has_no_best():
    same = dict.fromkeys(BICUBIC, np.inf)
    rows = frame(rows_of("bicubic", same, scale="1"), rows_of("LIIF", BICUBIC, scale="1"))
    assert "bold" not in score_table(rows).to_html()


@pytest.mark.parametrize("known", [True, False])
def test_one_measurement_with_two_values_is_refused_everywhere(tmp_path, known):
    pixels = {} if known else {"hr_pixels": ""}
    rows = frame(rows_of("bicubic", BICUBIC, **pixels), rows_of("bicubic", {"a": 25.0}, **pixels))
    said = "'bicubic' has picture 'a' twice, as 20 and 25"
    for call in (means, score_table, lambda r: scale_table(r, "2"), beside, paper_table):
        with pytest.raises(InputError, match=said):
            call(rows)
    path = tmp_path / "r.csv"
    pd.concat([rows, frame(rows_of("LIIF", BICUBIC, **pixels))]).assign(seed="").to_csv(path, index=False)
    for words in (["table"], ["compare"], ["report", "--out", tmp_path / "r.html"]):
        done = cli(*words, path)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2, done.stderr


def test_the_rows_of_the_common_pictures_and_what_is_said():
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", {"a": 21.0}))
    kept, said, apart = same_pictures(rows)
    assert len(kept) == 2 and len(said) == 1 and not apart
    kept, said, apart = same_pictures(rows[rows["run"] == "bicubic"])
    assert len(kept) == 4 and said == [] and not apart


def test_read_rows_is_what_tables_take(tmp_path):
    path = tmp_path / "r.csv"
    frame(rows_of("bicubic", BICUBIC)).assign(seed="").to_csv(path, index=False)
    assert len(read_rows(path)) == 4


def test_only_the_published_model_is_called_by_its_name(tmp_path, weights):
    "An untrained EDSR of one block is no EDSR-baseline, and its weights are not published."
    method = Method.load(weights)
    facts = method.facts()
    assert facts["recipe"] == "unknown" and facts["options"].startswith("encoder.blocks=1 encoder.features=8 decoder.width=16")
    rows = frame(rows_of("LIIF", BICUBIC, benchmark="Set5", **{name: facts[name] for name in ("encoder", "options", "recipe")}))
    told = beside(rows.assign(decoder="LTE")).iloc[0]
    assert np.isnan(told["published"]) and "encoder.blocks=1" in told["note"] and told["source"] == ""
    markdown = paper_table(rows.assign(decoder="LTE")).markdown()
    assert "EDSR (blocks=1, features=8)" in markdown and "EDSR-baseline" not in markdown


@pytest.mark.parametrize(
    "options",
    [{}, {"size": "baseline", "upsampling": None}, {"blocks": 16, "features": 64, "res_scale": 1.0}, {"mean_shift": False}],
)
def test_the_published_options_are_no_other_model(options):
    assert other_options(build_model("EDSR", "LIIF", options, {"hidden": [256] * 4})) == ""


@pytest.mark.parametrize("options", [{"size": "large"}, {"blocks": 17}, {"res_scale": 0.1}])
def test_other_options_are_another_model(options):
    assert other_options(build_model("EDSR", "LIIF", options)).startswith("encoder.")


def test_the_authors_file_is_published():
    facts = Method.load(shared("weights", "edsr-baseline-liif.pth")).facts()
    assert (facts["recipe"], facts["options"]) == ("published", "")


def test_two_models_are_not_one_method():
    seeds = [rows_of(f"m{k}", BICUBIC, decoder="LIIF", encoder="EDSR", seed=k, options=text) for k, text in enumerate(("", "encoder.blocks=1"))]
    rows = frame(rows_of("bicubic", {k: v + 1 for k, v in BICUBIC.items()}, seed=None), *seeds)
    with pytest.raises(InputError, match="several models"):
        compare(rows, "EDSR-LIIF", "bicubic", claim="methods")


BAD_LINES = {
    "a lost decimal point": ({"value": "7886601923126681"}, "value 7886601923126681 is no psnr_y, which is from 0 to 200"),
    "no dB": ({"value": "-3"}, "value -3 is no psnr_y"),
    "minus infinity": ({"value": "-inf"}, "value -inf is no psnr_y"),
    "an SSIM": ({"metric": "ssim_y", "value": "1.7"}, "value 1.7 is no ssim_y, which is from -1 to 1"),
    "an infinite SSIM": ({"metric": "ssim_y", "value": "inf"}, "value inf is no ssim_y"),
    "scale": ({"scale": "abc"}, "scale 'abc' is no scale"),
    "no scale": ({"scale": ""}, "scale is empty"),
    "run": ({"run": ""}, "run is empty"),
    "image": ({"image": " "}, "image is empty"),
    "looks": ({"looks": "0"}, "looks is less than 1"),
    "hash": ({"profile_hash": ""}, "profile_hash is empty"),
}


@pytest.mark.parametrize("way", BAD_LINES)
@pytest.mark.parametrize("command", ["read", "table"])
def test_a_line_that_says_what_cannot_be(tmp_path, capsys, way, command):
    change, reason = BAD_LINES[way]
    path, rows = tmp_path / "r.csv", frame(rows_of("bicubic", BICUBIC)).assign(seed="").astype(object)
    for name, text in change.items():
        rows.loc[1, name] = text
    rows.to_csv(path, index=False)
    if command == "table":
        done = cli("table", path)
        said = done.stderr
        assert done.returncode == 1 and "36.67" in done.stdout  # of 20, 40 and 50
    else:
        assert len(read_rows(path)) == 3
        said = capsys.readouterr().err
    assert f"'{path}' line 3: {reason}" in said and "r.csv.bad" in said


@pytest.mark.parametrize("value", ["inf", "nan", "117.3", "0"])
def test_a_value_that_can_be_is_kept(tmp_path, value):
    path = tmp_path / "r.csv"
    frame(rows_of("bicubic", {"a": value})).assign(seed="").to_csv(path, index=False)
    assert len(read_rows(path)) == 1


def test_a_scale_has_one_name(tmp_path):
    path = tmp_path / "r.csv"
    rows = frame(rows_of("bicubic", {"a": 20.0}, scale="2.0"), rows_of("bicubic", {"b": 20.0}, scale="2"), rows_of("bicubic", {"b": 20.0}, scale="2.0x3.50"))  # fmt: skip
    rows.assign(seed="").to_csv(path, index=False)
    assert read_rows(path)["scale"].tolist() == ["2", "2", "2x3.5"]


@pytest.mark.parametrize(
    "encode, said",
    [
        (lambda text: text.encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        (lambda text: text.encode("utf-16-be"), "is text in UTF-16; save it as UTF-8"),
        (lambda text: text.encode("utf-16-le"), "is text in UTF-16; save it as UTF-8"),
        (lambda text: text.replace(",", ";").encode(), "semicolons"),
        (lambda text: text.replace(",", "\t").encode(), "tabs"),
    ],
)
def test_a_file_as_a_spreadsheet_saves_it(tmp_path, encode, said):
    path = tmp_path / "r.csv"
    path.write_bytes(encode(frame(rows_of("bicubic", BICUBIC)).assign(seed="").to_csv(index=False)))
    done = cli("table", path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and said in done.stderr and str(path) in done.stderr


def test_a_network_is_not_called_bicubic(tmp_path, photos, weights):
    done = cli("test", "--weights", weights, "--run", "Bicubic", "--benchmark", photos, "--scales", "2", "--device", "cpu")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "name of the baseline" in done.stderr


def test_a_network_that_was_called_bicubic_is_no_baseline():
    rows = frame(rows_of("bicubic", BICUBIC, decoder="LIIF", encoder="EDSR"), rows_of("other", BICUBIC))
    assert scale_table(rows, "2").data.index.tolist() == ["bicubic [LIIF]", "other"]
    assert "minus bicubic" not in scale_table(rows, "2").data


@pytest.mark.parametrize("flag", [("--precision", "bf16"), ("--cell-policy", "none"), ("--padding", "none"), ("--attention", "whole")])
def test_policies_of_weights_are_refused_with_bicubic(photos, flag):
    done = cli("test", "--bicubic", "--benchmark", photos, "--scales", "2", *flag)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "--bicubic has none" in done.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        (("--strategy", "Patched", "--overlap", "4"), "overlap: strategy Patched has none"),
        (("--strategy", "Simple", "--overlap", "4"), "overlap: strategy Simple has none"),
        (("--overlap", "0"), "say for which"),
        (("--strategy", "Simple", "--breakdown-patch-size", "8"), "breakdown-patch-size: strategy Simple"),
        (("--scales", "0.5,2"), "scales: 0.5 would make pictures smaller"),
        (("--scales", "2x0.5"), "scales: 2x0.5 would"),
    ],
)
def test_what_would_be_without_effect_is_refused(photos, words, said):
    words = words if "--scales" in words else (*words, "--scales", "2")
    done = cli("test", "--bicubic", "--benchmark", photos, *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and said in done.stderr, done.stderr


@pytest.mark.parametrize("policy", [{"attention": "rows 8"}, {"padding": "reflect"}])
def test_a_policy_without_effect_gives_no_name(weights, capsys, policy):
    (name,) = policy
    plain, asked = Method.load(weights), Method.load(weights, **policy)
    assert asked.run == plain.run and asked.facts() == plain.facts() and asked.asked == ()
    assert f"note: {name} is without effect on EDSR-LTE" in capsys.readouterr().err


def test_a_suffix_says_what_does_not_follow():
    "The cell policy and the precision follow from the weights, or their absence."
    network = {"weights": "d9a285c4", "cell_policy": "none", "precision": "float32"}
    rows = frame(rows_of("m", BICUBIC, decoder="bicubic"), rows_of("m", BICUBIC, decoder="LIIF", **network))
    assert score_table(rows).data.index.tolist() == ["m [weights none]", "m [weights d9a285c4]"]
    both = frame(rows_of("m", BICUBIC, decoder="LIIF", **network), rows_of("m", BICUBIC, decoder="LIIF", **network | {"precision": "bf16"}))
    assert score_table(both).data.index.tolist() == ["m [float32]", "m [bf16]"]


def test_compare_skips_a_scale_that_one_run_lacks(tmp_path):
    later = {name: value + 1 for name, value in BICUBIC.items()}
    rows = frame(rows_of("bicubic", BICUBIC), rows_of("LIIF", later), rows_of("LIIF", later, scale="3"), rows_of("bicubic", BICUBIC, scale="4"))  # fmt: skip
    path = tmp_path / "r.csv"
    rows.assign(seed="").to_csv(path, index=False)
    done = cli("compare", path)
    assert done.returncode == 0 and "+1.000" in done.stdout, done.stderr
    assert "Skipped: baseline on pics x3" in done.stdout and "Skipped: table: 'bicubic' stands alone on pics x4" in done.stdout
    done = cli("compare", path, "--scale", "4")
    assert done.returncode == 2 and "stands alone on pics x4" in done.stderr


def test_compare_of_several_profiles_says_what_works(tmp_path):
    path, parts = tmp_path / "r.csv", []
    for profile, code in (("liif", "8f1ee0f4"), ("ours", "0a0a0a0a"), ("ours", "0b0b0b0b")):
        parts += [rows_of(run, BICUBIC, profile=profile, profile_hash=code) for run in ("bicubic", "LIIF")]
    frame(*parts).assign(seed="").to_csv(path, index=False)
    done = cli("compare", path)
    assert done.returncode == 2 and "--profile" in done.stderr and len(done.stderr.splitlines()) == 1
    for name, code in (("liif", 0), ("ours", 2), ("0a0a0a0a", 0)):
        assert name in done.stderr and cli("compare", path, "--profile", name).returncode == code


def test_a_folder_called_as_a_known_set_is_not_that_set(tmp_path, photos):
    folder, out = tmp_path / "fake" / "Set5", tmp_path / "r.csv"
    shutil.copytree(photos, folder)
    done = cli("test", "--bicubic", "--benchmark", folder, "--data", ".", "--scales", "2", "--metrics", "psnr_y", "--out", out)
    assert done.returncode == 0 and "is a folder, not the known set" in done.stdout
    rows = read_rows(out)
    assert set(rows["benchmark"]) == {"Set5 (folder)"} and np.isnan(beside(rows)["published"].item())
    assert "4 of 5" not in paper_table(rows).caption and "Set5 (folder)" in paper_table(rows).markdown()
    again = cli("test", "--bicubic", "--benchmark", folder, "--data", ".", "--scales", "2", "--metrics", "psnr_y", "--out", out)
    assert "6 of 6 pictures were measured before" in again.stdout
