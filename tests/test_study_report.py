"The report of a study: verdicts by the rules of its design, on rows whose truth is known; none before all runs are there."

import gzip
import shutil
from unittest import mock

import nbformat
import numpy as np
import pytest

from conftest import ROOT
from inr_assr.faces import studyresults
from inr_assr.faces.runner import run_notebook
from inr_assr.faces.studyresults import SETTLES, findings, read_results, save_crops
from inr_assr.foundations.errors import InputError
from inr_assr.testing.claims import auxiliary_losses, marginal_gains, order_at_budgets, recipes_matter, same_order
from study_rows import block_rows, simulate

A, B = ("A decoders",), ("B recipes", "B restarts")
CLAIMS = list(SETTLES)


def truth(decoders=None, recipes=None, losses=None, width=0.0, pictures=0.0, steps=None):
    "Primary numbers: what decoders and recipes add in dB, what (recipe, decoder) adds in gmsd; a seed shifts all alike."

    def number(train, metric):
        seed, name, recipe = train["seed"], train["decoder"], train["recipe"]
        chance = 0.03 * np.sin(7 * seed) + 0.004 * np.cos(11 * seed + sum(map(ord, name + recipe)))
        if metric == "gmsd":
            return 0.1 + chance / 40 + (losses or {}).get((recipe, name), 0)
        gain = (decoders or {}).get(name, 0) + (recipes or {}).get(recipe, 0)
        if train["iterations"] == 600:
            gain = (steps or {}).get(name, 0)
        size = int(next((o.split("=")[1] for o in train["options"] if o.startswith("decoder.width")), 64))
        count = train["data_count"] or 281
        return 27 + chance + gain + width * np.log2(size / 64) + pictures * np.log2(count)

    return number


@pytest.fixture(autouse=True, scope="module")
def grid_made_once():
    "The grid builds each of 125 models once, to see that it can: once is enough for this file."
    whole, made = studyresults.grid, {}

    def once(settings):
        if repr(settings) not in made:
            made[repr(settings)] = whole(settings)
        return made[repr(settings)]

    with mock.patch.object(studyresults, "grid", once):
        yield


@pytest.mark.parametrize(
    ("decoders", "expected"),
    [
        ({"LIIF": -1.5, "MetaSR": -1.0, "Thera": 0.2}, "confirmed"),  # the claim is about SRNO, HIIF, LTE
        ({"LTE": 0.12}, "refuted"),
        ({"HIIF": 0.3, "SRNO": -0.3}, "refuted"),
        ({"LTE": 0.05}, "undecided"),  # the interval reaches over the margin
        ({"SRNO": -0.2}, "undecided"),  # worse is neither marginal nor a gain
    ],
)
def test_claim_1(decoders, expected):
    found = marginal_gains(block_rows(A, truth(decoders)))
    assert (found.verdict, found.these) == (expected, expected), found.reason
    assert "80 % power" in found.reason


@pytest.mark.parametrize(
    ("recipes", "decoders", "expected"),
    [
        ({"TrainGradLoss": -0.3, "TrainSGDR": 0.2}, {"LTE": 0.02}, "confirmed"),
        ({"TrainGradLoss": -0.02}, {"LTE": 0.2}, "undecided"),  # the design names nothing that refutes it
        ({}, {}, "undecided"),
    ],
)
def test_claim_2(recipes, decoders, expected):
    found, shares = recipes_matter(block_rows(B, truth(decoders, recipes)))
    assert np.isclose(shares["share"].sum(), 1) and (shares["low"] <= shares["high"]).all()
    assert found.verdict == expected, found.reason


GRAD, GRAM, C, L = "TrainGradLoss", "TrainGramL1Loss", "LIIF-bilinear", "LTE"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({(GRAD, C): -0.004, (GRAD, L): -0.004, (GRAM, C): -0.003, (GRAM, L): -0.003}, "confirmed"),
        ({(GRAD, C): -0.004, (GRAD, L): -0.004, (GRAM, C): -0.003, (GRAM, L): 0.003}, "refuted"),
        ({(GRAD, C): -0.004, (GRAD, L): -0.004, (GRAM, C): -0.003}, "undecided"),  # a sign by chance refutes nothing
    ],
)
def test_claim_3(losses, expected):
    found = auxiliary_losses(block_rows(("B recipes",), truth(losses=losses), ("gmsd",)))
    assert (found.verdict, found.these) == (expected, expected), found.reason
    assert all(c.comparisons == 4 for c in found.comparisons)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "A finished study."
    number = truth({"LIIF": -1.5, "LTE": 0.12}, {GRAD: -0.3}, {(GRAD, L): 0.004}, 0.08, 0.02, {"LIIF": -0.5, "LTE": 0.5})
    return simulate(tmp_path_factory.mktemp("whole") / "study", number)


def test_a_finished_study_has_every_verdict_and_slopes_and_budgets(whole):
    results = read_results(whole)
    assert (results.progress()["finished"] == results.progress()["runs"]).all()
    found = findings(results)
    lines = found.lines()
    assert list(lines["verdict"]) == ["refuted", "confirmed", "refuted", "measured, not judged", "the order is the same"]
    for axis, slope in (("width", 0.08), ("pictures", 0.02)):
        part = found.slopes[found.slopes["axis"] == axis]
        assert len(part) == 6 and np.allclose(part["slope"], slope, atol=0.012)
        assert (part["low"] <= part["slope"]).all() and (part["slope"] <= part["high"]).all()
    assert found.budgets.set_index("decoder")["left of it"]["LIIF"] < 0.5


def test_the_order_of_two_budgets_is_another_where_it_is():
    short = block_rows(A, truth({"LIIF": -1.5, "LTE": 0.12}))
    for gain, same in ((0.3, True), (-3.0, False)):
        long = block_rows(("D budget",), truth(steps={"LTE": gain, "LIIF": -0.5}))
        assert same_order(order_at_budgets(short, long)) == same


# Partial studies


def test_one_run_less_and_there_is_no_verdict(tmp_path):
    folder = simulate(tmp_path / "study", truth({"LTE": 0.12}), A, metrics=("psnr_y",))
    lost = folder / "runs" / "TrainSimple_EDSR_LTE_seed7"
    kept = (lost / "state.json").read_text()
    first = findings(read_results(folder)).lines().iloc[0]
    assert first["verdict"] == "refuted"
    (lost / "state.json").write_text(kept.replace('"done"', '"running"'))
    assert list(findings(read_results(folder)).lines().iloc[0]) == ["no verdict yet", "55 of 56 runs"]
    (lost / "state.json").write_text(kept.replace('"epochs": 20', '"epochs": 2'))  # of another training
    assert list(findings(read_results(folder)).lines().iloc[0]) == ["no verdict yet", "55 of 56 runs"]
    shutil.rmtree(lost)
    assert list(findings(read_results(folder)).lines().iloc[0]) == ["no verdict yet", "55 of 56 runs"]


def test_a_block_that_was_given_up_is_said_and_not_waited_for(tmp_path):
    folder = simulate(tmp_path / "study", truth(recipes={GRAD: -0.3}), ("B recipes",), metrics=("psnr_y", "gmsd"))
    assert findings(read_results(folder)).lacking[CLAIMS[1]] == "36 of 48 runs"
    given_up = findings(read_results(folder, ["B restarts", "C narrow", "C middle", "C wide"]))
    assert given_up.verdicts[CLAIMS[1]].verdict == "confirmed"
    assert given_up.lines()["verdict"].loc[CLAIMS[3]] == "not run"
    with pytest.raises(InputError, match="dropped: the study has no block 'Z'"):
        read_results(folder, ["Z"])


def test_rows_of_other_pictures_give_no_verdict(tmp_path):
    folder = simulate(tmp_path / "study", truth(), A, metrics=("psnr_y",))
    file = folder / "runs" / "TrainSimple_EDSR_LTE_seed3" / "rows.csv.gz"
    text = gzip.decompress(file.read_bytes()).decode()
    file.write_bytes(gzip.compress(text.replace("000000000002", "fffffffffff2").encode()))
    with pytest.raises(InputError, match="two HR pictures are named"):
        read_results(folder)


# The page


def page(folder, out, **more) -> list[str]:
    "The texts of the executed page."
    run_notebook(ROOT / "nbs" / "study.ipynb", out, {"folder": str(folder), **more}, quiet=True)
    return texts(out)


def texts(path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    kinds = ("text/markdown", "text/html", "text/plain")
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    found = [next(o["data"][kind] for kind in kinds if kind in o["data"]) for o in outputs]
    return [text for text in found if not text.startswith("<inr_assr.")]  # figures


@pytest.fixture(scope="module")
def printed(whole, tmp_path_factory):
    return page(whole, tmp_path_factory.mktemp("page") / "page.ipynb")


def test_the_page_of_a_finished_study_has_all_verdicts_and_numbers(whole, printed):
    text = "\n".join(printed)
    assert findings(read_results(whole)).markdown() in text
    assert "| **refuted** |" in text and "yet:" not in text and "No verdict yet" not in text
    words = ("SD paired", "SD unpaired", "found by 8 seeds", "any picture, any seed", "seen with 80 % power", "left of it")
    for word in words:
        assert word in text, word


@pytest.mark.slow
def test_the_page_executed_again_is_the_same(whole, printed, tmp_path):
    assert page(whole, tmp_path / "again.ipynb") == printed


def test_the_page_of_a_study_that_has_not_begun_says_so(tmp_path):
    folder = simulate(tmp_path / "study", truth(), runs=lambda job: False)
    text = "\n".join(page(folder, tmp_path / "page.ipynb"))
    assert "No training has finished yet (0 of 125 runs)" in text
    assert text.count("no verdict yet") == 5 and "confirmed" not in text and "refuted" not in text


def test_the_stored_page_says_what_the_committed_rows_say():
    stored = "\n".join(texts(ROOT / "nbs" / "study.ipynb"))
    said = findings(read_results(ROOT / "outputs" / "study")).markdown()
    assert said in stored, "execute the page: jupyter nbconvert --to notebook --execute --inplace nbs/study.ipynb"


def test_the_page_begins_with_the_question_and_ends_with_what_it_cannot_say():
    cells = [c for c in nbformat.read(ROOT / "nbs" / "study.ipynb", as_version=4).cells if c.cell_type == "markdown"]
    assert "**The question.**" in cells[0].source and "**The budget, in plain words.**" in cells[0].source
    assert cells[-1].source.startswith("## What this cannot say")


def test_crops_of_the_same_regions_by_the_weights_at_hand(photos, weights, tmp_path):
    folder = simulate(tmp_path / "study", truth(), runs=lambda job: job.name.endswith("LTE_seed0"))
    shutil.copy(weights, folder / "runs" / "TrainSimple_EDSR_LTE_seed0" / "model_states_x" / "last.pth")
    name = sorted(photos.glob("*.png"))[0].stem
    words = folder / "runs", photos.parent, tmp_path / "crops", folder / "study.yaml"
    files = save_crops(*words, regions=((photos.name, name, 3),))
    assert [file.name for file in files] == ["truth.png", "bicubic.png", "LTE.png"]
    assert len({file.read_bytes() for file in files}) == 3 and all(file.stat().st_size < 20_000 for file in files)
    with pytest.raises(InputError, match="no picture 'nobody'"):
        save_crops(*words, regions=((photos.name, "nobody", 3),))
