"Names come from files of strangers: they choose no path, run nothing in a page, and send nothing to a terminal."

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import cli
from inr_assr.foundations.images import save_picture
from inr_assr.models.checkpoints import read_checkpoint
from inr_assr.views.tables import html_text, latex_text, markdown_text

HOSTILE = "../../x<script>alert(1)</script>\n\x1b[31m|&_$%"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what moves or colours a terminal; line breaks are looked at apart


class Page(HTMLParser):
    "What a browser makes of a page: its scripts, and its text."

    def __init__(self, text: str):
        super().__init__()
        self.scripts, self.texts, self.listeners = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.scripts += [tag] * (tag == "script")
        self.listeners += [value for name, value in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.texts.append(data)


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def tested(tmp_path_factory, photos, weights):
    "A hostile checkpoint and a baseline of a hostile name, tested on two pictures of hostile names in a hostile folder."
    room = tmp_path_factory.mktemp("room")
    work = room / "a" / "b" / "work"
    pictures = work / "set<script>alert(2) $x_1$ & | _%"
    for name in ("<b>one $_$ & |", "*two* \x1b[31m\n%"):
        path = pictures / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(np.random.default_rng(0).integers(0, 255, (40, 44, 3), dtype=np.uint8), work / "plain.png")
        shutil.move(work / "plain.png", path)
    contents = read_checkpoint(weights)
    contents["configuration"] = {"recipe": {"name": HOSTILE}, "seed": 0}
    torch.save(contents, work / "hostile.pth")
    before = files_below(room)
    words = ("--benchmark", pictures, "--scales", "2,3", "--save", work / "saved", "--out", work / "rows.csv", "--profile", "ours", "--device", "cpu")
    done = [
        cli("test", "--weights", work / "hostile.pth", *words),
        cli("test", "--bicubic", "--run", HOSTILE, *words),
        cli("test", "--bicubic", "--run", HOSTILE, *words[:-6], "--out", work / "results", *words[-4:]),
    ]
    return room, work, before, done


def said_plainly(*texts: str):
    for text in texts:
        assert not RAW.search(text), text
        assert "script>\n" not in text, text


def test_names_choose_no_path(tested):
    room, work, before, done = tested
    for one in done:
        assert one.returncode == 0, one.stderr
        said_plainly(one.stdout, one.stderr)
    new = files_below(room) - before
    below = work.relative_to(room)
    assert new and all(path.is_relative_to(below) for path in new)
    kinds = {path.relative_to(below).parts[0] for path in new}
    assert kinds == {"saved", "rows.csv", ".rows.csv.lock", "results"} or kinds == {"saved", "rows.csv", "results"}, kinds
    assert len([path for path in new if path.suffix == ".png"]) == 2 * 2 * 2  # methods, scales, pictures: none lost
    assert not [path for path in new if RAW.search(str(path)) or "\n" in str(path) or "<" in path.relative_to(below).as_posix()]


def raw_rows(work: Path) -> Path:
    "The same rows as a stranger's file would have them: the names as they are."
    rows = pd.read_csv(work / "rows.csv", dtype=str, keep_default_na=False)
    names = {name: HOSTILE if "EDSR" not in name else f"{HOSTILE} two" for name in rows["run"].unique()}
    rows["run"] = rows["run"].map(names)
    rows["benchmark"] = "set\x1b[31m\n<script>alert(3)</script> $x_1$"
    rows["decoder"] = HOSTILE
    rows.to_csv(work / "raw.csv", index=False)
    return work / "raw.csv"


@pytest.mark.parametrize("file", ["measured", "raw"])
def test_names_in_tables_and_pages(file, tested):
    _, work, _, _ = tested
    rows = raw_rows(work) if file == "raw" else work / "rows.csv"
    runs = [name for name in pd.read_csv(rows)["run"].unique()]
    plain = next(name for name in runs if "EDSR" not in name and "two" not in name)
    for command in (("table",), ("compare", "--baseline", plain.encode("unicode_escape").decode() if file == "raw" else plain)):
        for kind in ("markdown", "html", "latex"):
            done = cli(*command[:1], rows, *command[1:], "--format", kind, *(("--metric", "psnr_y") if command[0] == "compare" else ()))
            assert done.returncode == 0, done.stderr
            said_plainly(done.stdout, done.stderr)
            if kind != "latex":
                page = Page(done.stdout)
                assert not page.scripts
            if kind == "html":
                assert "<script>alert(" in "".join(page.texts)  # shown, not run
            if kind == "markdown":
                lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
                assert len({line.count("|") for line in lines}) == 1, lines
                assert "<script" not in done.stdout and not re.search(r"(?<!&)\$", done.stdout)
            if kind == "latex":
                body = done.stdout.replace("$-$", "").replace(r"$^\dagger$", "").replace(r"$\times$", "")
                assert not re.search(r"(?<!\\)[$#%]", body) and r"\textless{}script\textgreater{}alert(" in body
                assert file == "measured" and command[0] == "table" or r"\textbar{}\&\_\$\%" in body


@pytest.mark.parametrize("file", ["measured", "raw"])
def test_names_in_the_report(file, tested):
    _, work, _, _ = tested
    rows, picture = raw_rows(work) if file == "raw" else work / "rows.csv", next((work).glob("set*/[<]*.png"))
    words = ("--picture", picture, "--scale", 2, "--weights", work / "hostile.pth")
    done = cli("report", rows, "--out", work / "r.html", "--title", f"{HOSTILE} results", *(words if file == "measured" else ()))
    assert done.returncode == 0, done.stderr
    said_plainly(done.stdout, done.stderr)
    text = (work / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.scripts and not [call for call in page.listeners if "alert" in call]
    assert "<script" not in text and "\x1b" not in text
    shown = "".join(page.texts)
    assert shown.count("x<script>alert(1)</script>") > 5 and "&_$%" in shown and "&lt;script" not in shown
    assert "Beside" in shown or "Differences" in shown


def test_a_picture_set_is_named_on_the_screen_as_it_can_be_printed(tested):
    _, work, _, _ = tested
    (work / "odd").mkdir(exist_ok=True)
    (work / "odd" / "a\x1b[31m\nb.png").write_bytes(b"no picture")
    (work / "odd" / "c.png").write_bytes(b"no picture")
    for words in (
        ("test", "--bicubic", "--benchmark", work / "odd"),
        ("upscale", work / "odd", "-o", work / "large", "--weights", work / "hostile.pth", "--scale", 2),
        ("test", "--bicubic", "--benchmark", f"no\x1b[31m\nset"),
        ("test", "--weights", "no\x1b[31m\nfile", "--benchmark", work / "odd"),
        ("table", work / "odd\x1b[31m\n.csv"),
        ("table", work / "rows.csv", "--metric", "no\x1b[31m\nmetric"),
        ("tabel\x1b[31m\n",),
        ("table", "--no\x1b[31m\noption"),
        ("data", "check", "no\x1b[31m\nset"),
    ):
        done = cli(*words)
        assert done.returncode in (1, 2)
        said_plainly(done.stdout, done.stderr)
        assert done.stderr.count("\n") <= 1, done.stderr


def test_upscale_writes_below_its_folder(tested):
    _, work, _, _ = tested
    source = next(path for path in work.iterdir() if path.name.startswith("set"))
    done = cli("upscale", source, "-o", work / "large2", "--weights", work / "hostile.pth", "--scale", 1.5, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    said_plainly(done.stdout, done.stderr)
    assert len(list((work / "large2").iterdir())) == 2


@pytest.mark.parametrize(
    "text", [HOSTILE, "__init__ *x* `y` ~~z~~ [a](javascript:b) &#60;script>", "[first", "*first", "$a$ \\|", "EDSR_LIIF [weights 3f]"]
)
def test_one_escaping_each(text):
    page = Page(f"<p title='{html_text(text)}'>{html_text(text)}</p>")
    assert "".join(page.texts) == "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    assert not page.scripts
    page = Page(markdown_text(text))
    assert "".join(page.texts).replace("\\", "") == text.replace("\\", "").replace("\n", "n").replace("\x1b", "x1b")
    assert "|" not in markdown_text(text) and "$" not in markdown_text(text)
    assert not re.search(r"(?<!\\)[&%$#_]|^[*\[]|\n", latex_text(text))


def test_latex_takes_hostile_names(tested, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    _, work, _, _ = tested
    for command in ("table", "compare"):
        body = cli(command, work / "rows.csv", "--format", "latex").stdout
        (tmp_path / "t.tex").write_text(rf"\documentclass{{article}}\usepackage{{booktabs,multirow}}\begin{{document}}{body}\end{{document}}")
        done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stdout


def test_figures_show_names_as_they_are():
    from inr_assr.testing.results import COLUMNS
    from inr_assr.views.comparison import difference_plot
    from inr_assr.views.gallery import scale_curves
    from inr_assr.views.plots import as_svg, curves

    names = ("bicubic", "$\\frac{$ <b>&", "_hidden \x1b[31m")
    rows = pd.DataFrame(
        [
            {**dict.fromkeys(COLUMNS, ""), "run": run, "scale": scale, "image": image, "metric": "psnr_y", "benchmark": "$b_$", "value": 30.0 + k + len(image)}
            for k, run in enumerate(names)
            for scale in ("2", "3")
            for image in ("a", "bb", "ccc")
        ]
    ).assign(seconds=0.1, seed=None, looks=1)
    for figure in (curves(rows), scale_curves(rows), difference_plot(rows, claim="checkpoints")):
        svg = as_svg(figure)
        shown = "".join(Page(svg).texts)
        assert "$\\frac{$ <b>&" in shown and "$b_$" in shown and "_hidden \\x1b[31m" in shown and "\x1b" not in svg
