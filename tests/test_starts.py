"A training begins with whatever `load_model` reads; what does not fit is one line, before anything is written."

import re
import shutil

import pytest
import torch

from conftest import cli, shared
from inr_assr.models.checkpoints import load_model, read_checkpoint, save_model
from inr_assr.models.model import build_model

SHORT = ["--epochs", 1, "--iterations", 1, "--batch", 2, "--device", "cpu"]
SHORT += ["--option", "recipe.patch=12", "--option", "recipe.learning_rate=1e-6"]
TINY = [
    word
    for option in ("encoder.blocks=1", "encoder.features=8", "decoder.hidden=[16]")
    for word in ("--option", option)
]


def train(photos, root, start, *words, decoder="LIIF"):
    names = "--encoder", "EDSR", "--decoder", decoder
    return cli("train", *names, *SHORT, *words, "--data", photos, "--root", root, "--start", start)


def begun_with(root, weights):
    "A step of Adam goes no further than the rate: it did begin with these weights."
    trained = read_checkpoint(next(root.glob("model_states*")) / "last.pth")
    assert all((trained["weights"][key] - weights[key]).abs().max() <= 1.5e-6 for key in weights)
    assert any((trained["weights"][key] != weights[key]).any() for key in weights)
    return trained["configuration"]


def refused(done, root, *said):
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in said), done.stderr
    assert not list(root.glob("model_states*"))  # nothing was begun


def authors_file(model, path):
    "In the format of the LIIF authors."
    encoder = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 8, "no_upsampling": True}}
    spec = {
        "name": "liif",
        "args": {"encoder_spec": encoder, "imnet_spec": {"name": "mlp", "args": {"hidden_list": [16]}}},
    }
    weights = {key.removeprefix("decoder."): value for key, value in model.state_dict().items()}
    torch.save({"model": {**spec, "sd": weights}, "optimizer": {"name": "adam", "sd": {}}, "epoch": 3}, path)


def mmediting_file(model, path):
    "In mmediting's format, without options; its units are not those of our LIIF."
    weights = {}
    for key, value in model.state_dict().items():
        key = (
            re.sub(r"^(encoder|decoder)\.", "", key)
            .replace("head.0", "conv_first")
            .replace("body.1.", "conv_after_body.")
        )
        key = re.sub(r"body\.(\d)\.body\.([02])", lambda m: f"body.{m[1]}.conv{int(m[2]) // 2 + 1}", key)
        weights[f"generator.{key}"] = value
    torch.save({"meta": {}, "state_dict": weights}, path)


def small(**options):
    torch.manual_seed(5)
    return build_model("EDSR", "LIIF", {"blocks": 1, "features": 8, **options}, {"hidden": [16]})


@pytest.mark.parametrize("known", [False, True], ids=["by path", "by name"])
def test_the_liif_authors_file(known, photos, tmp_path, monkeypatch):
    path = shared("weights", "edsr-baseline-liif.pth")
    theirs = load_model(path).state_dict()
    if known:
        monkeypatch.setenv("INR_ASSR_CACHE", str(tmp_path / "cache"))
        (tmp_path / "cache").mkdir()
        shutil.copy(path, tmp_path / "cache")
    done = train(photos, tmp_path, "edsr-baseline-liif" if known else path)
    assert done.returncode == 0 and "note: start" not in done.stdout, done.stderr + done.stdout
    assert begun_with(tmp_path, theirs)["start"] == "1cf77e16f33ee17b"


@pytest.mark.parametrize("kind", ["authors", "mmediting", "pth", "safetensors"])
def test_every_kind_of_file(kind, photos, tmp_path):
    model = small(mean_shift=False) if kind == "mmediting" else small()
    path = tmp_path / f"file.{'safetensors' if kind == 'safetensors' else 'pth'}"
    {"authors": authors_file, "mmediting": mmediting_file}.get(kind, save_model)(model, path)
    more = ["--option", "encoder.mean_shift=False"] if kind == "mmediting" else []
    done = train(photos, tmp_path, path, *TINY, *more)
    assert done.returncode == 0 and "note: start" not in done.stdout, done.stderr + done.stdout
    wanted = list(load_model(path).normalisation.mean)
    assert list(begun_with(tmp_path, model.state_dict())["model"]["normalisation"]["mean"]) == wanted
    assert wanted == ([0.4488, 0.4371, 0.4040] if kind == "mmediting" else [0.5] * 3)
    again = train(photos, tmp_path, path, *TINY, *more)
    assert again.returncode == 0 and "complete" in again.stdout


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_another_architecture_is_one_line(dry, photos, tmp_path):
    authors_file(small(), tmp_path / "file.pth")
    done = train(photos, tmp_path, tmp_path / "file.pth", *dry, decoder="LTE")
    refused(done, tmp_path, "inr-assr: start: 'file.pth' holds EDSR-LIIF, but EDSR-LTE is to be trained.")
    done = train(photos, tmp_path, tmp_path / "file.pth", *TINY[2:], *dry, "--option", "encoder.blocks=2")
    refused(
        done, tmp_path, "inr-assr: start: 'file.pth' does not fit", "encoder_options.blocks: 2 wanted, 1 in the file"
    )


def test_what_cannot_be_read_is_one_line(photos, tmp_path):
    refused(train(photos, tmp_path, "edsr-baseline-lif"), tmp_path, "Did you mean 'edsr-baseline-liif'?")
    (tmp_path / "file.pth").write_bytes(b"no checkpoint")
    refused(train(photos, tmp_path, tmp_path / "file.pth"), tmp_path, "file.pth")


def test_options_that_change_the_function_of_the_same_weights_are_told(photos, tmp_path):
    save_model(small(), tmp_path / "file.pth")
    options = [*TINY, "--option", "decoder.ensemble=False"]
    for more in (["--dry-run"], []):
        done = train(photos, tmp_path, tmp_path / "file.pth", *options, *more)
        assert done.returncode == 0, done.stderr
        assert "trained further with decoder_options.ensemble: False wanted, True in the file" in done.stdout
