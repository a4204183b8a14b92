"The printed values as they are shipped, and tables that mix them with rows of one's own."

import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT, shared
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
    assert r"A\&B\_<i>\%" in table.latex() and "A&amp;B_&lt;i&gt;%" in table.html() and "<i>" not in table.html()
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
