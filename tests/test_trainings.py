"All six recipes, with every encoder and every decoder, on real photos: what is validated gets better. Slow: minutes."

import json

import pandas as pd
import pytest

from conftest import ROOT, shared
from inr_assr import TrainingOrchestrator
from inr_assr.data.pictures import PictureStore
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.faces.runner import run_notebook
from inr_assr.models.checkpoints import load_model
from inr_assr.training.recipes import RECIPES
from inr_assr.training.runs import configure
from inr_assr.training.validation import Validation, hold_out

pytestmark = pytest.mark.slow
SIX = [
    "TrainSimple",
    "TrainSimpleLargerPatch",
    "TrainSimpleLargerPatchScale",
    "TrainSGDR",
    "TrainGradLoss",
    "TrainGramL1Loss",
]
BUDGET = {"epochs": 2, "iterations": 60, "batch": 4, "patch": 16, "learning_rate": 2e-3}

MORE = {"Thera": {"components": 64}}  # its eight waves are too few to learn a mean in so short a time


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    "Twelve of the BSDS500 photos."
    folder = tmp_path_factory.mktemp("bsds")
    for path in sorted(shared("data", "BSDS500", "train").iterdir())[::17][:12]:
        (folder / path.name).symlink_to(path.resolve())
    return folder


PAIRS = [("EDSR", decoder) for decoder in DECODERS] + [(encoder, "LIIF") for encoder in ENCODERS if encoder != "EDSR"]


@pytest.mark.parametrize("encoder, decoder", PAIRS)
@pytest.mark.parametrize("name", SIX)
def test_by_the_seeds_call(name, encoder, decoder, pictures, tmp_path):
    options = ENCODERS[encoder].small, DECODERS[decoder].small | MORE.get(decoder, {})
    chosen = RECIPES[name].varied(**BUDGET)
    store, held, _ = hold_out(PictureStore.read(pictures))
    validation = Validation.of(held, chosen.scale_range, chosen.patch)
    model, start = configure(encoder, decoder, chosen, 0, "", "", *options).build(), None
    if decoder == "LINF":  # inverses of random matrices explode: as its authors do, the likelihood goes first
        root = tmp_path / "first"
        first = BUDGET | {"epochs": 1, "iterations": 400, "schedule": "constant"}
        TrainingOrchestrator.TrainAsLINF(encoder, decoder, pictures, None, root, 0, "cpu", *options, **first)
        model = load_model(start := next(root.rglob("last.pth")))
    untrained = validation.score(model)
    log = getattr(TrainingOrchestrator, name)(
        encoder, decoder, pictures, None, tmp_path, 0, "cpu", *options, start=start, **BUDGET
    )
    assert log["psnr"].max() > untrained, (untrained, log["psnr"].tolist())


@pytest.mark.parametrize("name", SIX)
def test_by_papermill(name, tmp_path):
    "On all 200 photos, from nbs/runs/train.ipynb."
    shared("data", "BSDS500", "train")
    options = ["encoder.blocks=2", "encoder.features=16", "decoder.hidden=[32]"]
    options += [f"recipe.patch={16 + 8 * ('Larger' in name)}", "recipe.learning_rate=2e-3"]
    parameters = {"recipe": name, "data": str(shared("data", "BSDS500", "train")), "root": str(tmp_path)}
    parameters |= {"epochs": 4, "iterations": 30, "batch": 4, "options": options, "device": "cpu"}
    run_notebook(ROOT / "nbs" / "runs" / "train.ipynb", tmp_path / "train.ipynb", parameters, quiet=True)
    log = pd.read_csv(next(tmp_path.rglob("log.csv")))
    assert len(log) == 4 and log["psnr"].iloc[-1] > log["psnr"].iloc[0], log
    shown = [cell.get("outputs") for cell in json.loads((tmp_path / "train.ipynb").read_text())["cells"]]
    assert "image/png" in json.dumps(shown)
