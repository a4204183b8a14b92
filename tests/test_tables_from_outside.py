"Tables, reports and comparisons of rows as strangers bring them: other sets of pictures, other models under known names, lines edited by hand."

import re

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
