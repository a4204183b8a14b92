"Every recipe trains; every method trains in 16 bits; schedules and losses are the ones that the recipes name."

import pytest
import torch

from conftest import cli
from inr_assr import DecoderType, EncoderType, TrainingOrchestrator
from inr_assr.data.pictures import PictureStore, demo_photo
from inr_assr.data.samples import Samples
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.models.checkpoints import read_checkpoint
from inr_assr.training.loop import Learner
from inr_assr.training.recipes import RECIPES, recipe
from inr_assr.training.runs import configure

STORE = PictureStore(["coffee", "chelsea"], [demo_photo("coffee"), demo_photo("chelsea")])
SMALL = {"blocks": 1, "features": 8}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_lowers_its_loss(name):
    chosen = recipe(name, patch=16, batch=4, epochs=1, iterations=40, learning_rate=2e-3)
    decoder = ("LINF", DECODERS["LINF"].small) if "LINF" in name else ("LIIF", {"hidden": [16]})
    learner = Learner(configure("EDSR", decoder[0], chosen, 0, "", "", SMALL, decoder[1]))
    batch = next(Samples(STORE, 16, chosen.scale_range, 4, chosen.sampled).epoch(0, 1))
    losses = [learner.learn(batch, 2e-3).item() for _ in range(40)]
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0]), losses


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_method_trains_in_16_bits(encoder, decoder):
    "The same first loss within 2 %, finite gradients in 32 bits; coordinates are not rounded."
    chosen = recipe("TrainSimple", patch=16, batch=2)
    options = ENCODERS[encoder].small, DECODERS[decoder].small
    batch = next(Samples(STORE, 16, (1, 4), 2).epoch(0, 1))
    losses = {}
    for precision in ("float32", "bf16"):
        learner = Learner(configure(encoder, decoder, chosen, 0, "", "", *options, precision))
        torch.manual_seed(0)
        losses[precision] = learner.learn(batch, 1e-4).item()
        learned = [p for p in learner.model.parameters() if p.requires_grad]
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in learned)
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("Train") and "As" not in name])
def test_the_studys_calls(name, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"epochs": 2, "iterations": 3, "batch": 2, "patch": 16, "learning_rate": 1e-3}
    call = getattr(TrainingOrchestrator, name)
    log = call(EncoderType.EDSR, DecoderType.LIIF, data=photos, encoder_options=SMALL, **options)
    assert len(log) == 2 and log["loss"].notna().all()
    kind, scales = RECIPES[name].kind, "_".join(f"{s:g}" for s in RECIPES[name].scale_range)
    assert (tmp_path / f"model_states_EDSR_LIIF_{kind}_Patch_16_Scale_{scales}" / "last.pth").is_file()


def test_linf_in_two_stages(photos, tmp_path):
    "The second begins with the weights and the optimiser of the first; another beginning is another training."
    words = ["train", "--encoder", "EDSR", "--decoder", "LINF", "--data", photos, "--root", tmp_path, "--device", "cpu"]
    words += ["--epochs", 2, "--iterations", 6, "--batch", 2, "--option", "recipe.patch=16"]
    for option in ("encoder.blocks=1", "encoder.features=8", "decoder.width=16", "decoder.layers=1"):
        words += ["--option", option]
    done = cli(*words, "--recipe", "TrainAsLINF")
    assert done.returncode == 0, done.stderr
    first = tmp_path / "model_states_EDSR_LINF_AsLINF_Patch_16_Scale_1_4"
    start = read_checkpoint(first / "last.pth")
    done = cli(*words, "--recipe", "TrainAsLINF2", "--start", first / "last.pth")
    assert done.returncode == 0, done.stderr
    second = read_checkpoint(tmp_path / "model_states_EDSR_LINF_AsLINF2_Patch_16_Scale_1_4" / "last.pth")
    steps = [c["training"]["optimiser"]["state"][0]["step"].item() for c in (start, second)]
    assert steps == [12, 36]  # two steps a batch, counted on from the first stage
    moved = max((start["weights"][k] - second["weights"][k]).abs().max().item() for k in start["weights"])
    assert 0 < moved < 24 * 5e-5 * 1.5, moved  # Adam goes at most a rate a step: it did begin there
    done = cli(*words, "--recipe", "TrainAsLINF2", "--start", first / "best.pth")
    assert done.returncode == 2 and "start: " in done.stderr
    other = [word if word != "LINF" else "LIIF" for word in words[:-4]]
    done = cli(*other, "--recipe", "TrainAsLINF")
    assert done.returncode == 2 and "likelihood: EDSR-LIIF knows none" in done.stderr, done.stderr
