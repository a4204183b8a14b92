"However short a training is, its first epoch has the recipe's rate; the published lengths keep their rates to the bit."

import pandas as pd
import pytest

from conftest import SMALL, SMALL_FOLDER, cli
from inr_assr.training.recipes import RECIPES, recipe
from inr_assr.training.schedules import multistep

SHORT = {
    1: [1],
    2: [1, 1 / 16],
    3: [1, 1 / 8, 1 / 16],
    4: [1, 1 / 4, 1 / 8, 1 / 16],
    5: [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16],
}


@pytest.mark.parametrize("epochs", SHORT)
def test_a_short_training_begins_at_the_recipes_rate(epochs):
    assert [multistep(epoch, epochs, 4e-4) for epoch in range(epochs)] == [4e-4 * share for share in SHORT[epochs]]


@pytest.mark.parametrize("epochs", [5, 7, 50, 100, 333, 1000])
def test_longer_trainings_keep_their_rates(epochs):
    "As the reference study counts: int(epochs / 5 * (i + 1))."
    begins = [int(epochs / 5 * (i + 1)) for i in range(4)]
    rates = [multistep(epoch, epochs, 4e-4) for epoch in range(epochs)]
    assert rates == [4e-4 * 0.5 ** sum(epoch >= begin for begin in begins) for epoch in range(epochs)]


@pytest.mark.parametrize("name", RECIPES)
def test_published_recipes_reach_their_rate_and_say_nothing(name):
    chosen = RECIPES[name]
    assert not chosen.notes()
    highest = max(chosen.rate(epoch) for epoch in range(chosen.epochs))
    assert 0.99 * chosen.learning_rate < highest <= chosen.learning_rate  # HIIF's cosine falls while it warms up


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(
    "milestones", [None, [0.5, 0.8, 0.9, 0.95], [0.0], [0, 0.5], [0.01, 0.02], [0.9, 0.5], [1.0], [1 / 3]]
)
def test_no_milestone_is_passed_before_the_first_step(epochs, milestones):
    rates = [multistep(epoch, epochs, 4e-4, milestones=milestones) for epoch in range(epochs)]
    assert rates[0] == 4e-4 and rates == sorted(rates, reverse=True)


def test_no_milestones_lower_nothing():
    assert [multistep(epoch, 10, 4e-4, milestones=[]) for epoch in range(10)] == [4e-4] * 10
    assert not recipe("TrainSimple", epochs=10, schedule_options={"milestones": []}).notes()


@pytest.mark.parametrize("name", ["constant", "multistep", "cosine", "warm_restarts"])
@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5, 7])
def test_every_schedule_begins_at_the_recipes_rate(name, epochs):
    chosen = recipe("TrainSimple", schedule=name, epochs=epochs)
    assert chosen.rate(0) == chosen.learning_rate


@pytest.mark.parametrize("epochs, said", {
    1: "over 1 epoch: the rate is lowered only between epochs: it stays at 0.0004",
    2: "over 2 epochs: the rate is lowered only between epochs: from 0.0004 in the first to 2.5e-05 in the last",
    4: "over 4 epochs: the rate is lowered only between epochs: from 0.0004 in the first to 2.5e-05 in the last",
    5: "", 100: ""}.items())  # fmt: skip
def test_a_note_says_what_a_short_training_does(epochs, said):
    assert recipe("TrainSimple", epochs=epochs).notes() == ([f"note: multistep {said}"] if said else [])


@pytest.mark.parametrize("options, crowded", [
    ({"milestones": [0.5, 0.8, 0.9, 0.95]}, True), ({"milestones": [0.5]}, False), ({"milestones": [0.5, 0.5]}, False),
    ({"milestones": [1.0]}, False), ({"count": 9}, False), ({"count": 10}, True), ({"count": 0}, False)])  # fmt: skip
def test_a_note_on_reductions_that_fall_together(options, crowded):
    assert bool(recipe("TrainSimple", epochs=10, schedule_options=options).notes()) == crowded


def test_the_rate_is_trained_with_logged_and_noted(photos, tmp_path):
    words = ["train", "--data", photos, "--root", tmp_path, *SMALL, "--epochs", 1, "--iterations", 2, "--batch", 2]
    dry = cli(*words, "--dry-run")
    assert dry.returncode == 0 and "it stays at 0.0004" in dry.stdout
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert "it stays at 0.0004" in done.stdout + done.stderr and "rate 4.00e-04" in done.stdout + done.stderr
    assert pd.read_csv(tmp_path / SMALL_FOLDER / "log.csv")["learning_rate"].tolist() == [4e-4]
