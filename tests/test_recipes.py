"Every recipe trains; every method trains in 16 bits; schedules and losses are the ones that the recipes name."

import pytest
import torch

from inr_assr import DecoderType, EncoderType, TrainingOrchestrator
from inr_assr.data.pictures import PictureStore, demo_photo
from inr_assr.data.samples import Samples
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.training.loop import Learner
from inr_assr.training.recipes import RECIPES, recipe
from inr_assr.training.runs import configure

STORE = PictureStore(["coffee", "chelsea"], [demo_photo("coffee"), demo_photo("chelsea")])
SMALL = {"blocks": 1, "features": 8}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_lowers_its_loss(name):
    chosen = recipe(name, patch=16, batch=4, epochs=1, iterations=40, learning_rate=2e-3)
    learner = Learner(configure("EDSR", "LIIF", chosen, 0, "", "", SMALL, {"hidden": [16]}))
    batch = next(Samples(STORE, 16, chosen.scale_range, 4, chosen.sampling).epoch(0, 1))
    losses = [learner.learn(batch, 2e-3).item() for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0], losses


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
