"Files that are given as weights: whatever they hold, it is a model that answers or one line that says what is wrong. Nothing in them is executed or built beyond their own size."

import io
import pickle
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from conftest import cli
from inr_assr.foundations.errors import InputError
from inr_assr.models.checkpoints import FORMAT, load_model, read_checkpoint, save_model
from inr_assr.models.model import build_model
from mutations import FORMATS, valid_file

ROOM = {"blocks": 1, "features": 8}, {"hidden": [8]}


def small(decoder: str = "LIIF") -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("EDSR", decoder, *ROOM).eval()


def ours(**changes) -> dict:
    "The contents of a file of ours, with other fields in `model`."
    model = small()
    return {"format": FORMAT, "model": {**model.describe(), **changes}, "weights": model.state_dict()}


def named(**changes) -> dict:
    "The contents of a LIIF author's file, with other fields in `model`."
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8}}
    args = {"encoder_spec": encoder, "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8]}}}
    weights = {key.removeprefix("decoder."): value for key, value in small().state_dict().items()}
    return {"model": {"name": "liif", "args": {**args, **changes.pop("args", {})}, "sd": weights, **changes}}


def saved(contents, tmp_path) -> Path:
    path = tmp_path / "given.pth"
    torch.save(contents, path)
    return path


def refused(path, *hints, **more) -> str:
    "One line that begins with `weights:`, as the command line shows it."
    with pytest.raises(InputError) as caught:
        load_model(path, **more)
    text = str(caught.value)
    assert text.startswith("weights: ") and "\n" not in text and len(text) < 1500, text
    for hint in hints:
        assert hint in text, text
    return text


def without(contents: dict, *keys: str) -> dict:
    return {key: value for key, value in contents.items() if key not in keys}


LIST = [1, 2]
OUR_FAULTS = {
    "no model": lambda: without(ours(), "model"),
    "no weights": lambda: without(ours(), "weights"),
    "model is text": lambda: {**ours(), "model": "EDSR"},
    "model is a list": lambda: {**ours(), "model": LIST},
    "weights is a list": lambda: {**ours(), "weights": list(small().state_dict().values())},
    "weights hold text": lambda: {**ours(), "weights": {**ours()["weights"], "encoder.head.0.weight": "x"}},
    "weights by number": lambda: {**ours(), "weights": dict(enumerate(ours()["weights"].values()))},
    "no encoder": lambda: {**ours(), "model": without(ours()["model"], "encoder")},
    "another field": lambda: ours(colour="red"),
    **{
        f"{field} is {value!r}": lambda field=field, value=value: ours(**{field: value})
        for field, values in {
            "encoder": (None, 3, LIST, {"name": "EDSR"}, torch.ones(2)),
            "encoder_options": (LIST, "blocks", 3),
            "cell_policy": (3, LIST, {"kind": "none", "scale": 3}, {"kind": LIST}, {"kind": "clip", "scale_max": None}),
            "padding": (3, LIST, {"rule": "flip"}, "mirror"),
            "attention": (None, 3, LIST, "columns 3"),
            "precision": (None, 3, LIST, "int8"),
            "normalisation": (
                3,
                "rgb",
                LIST,
                {},
                {"mean": [0, 0, 0]},
                {"mean": 0.5, "std": 0.5},
                {"mean": [0, 0], "std": [1, 1]},
                {"mean": ["a"] * 3, "std": [1, 1, 1]},
                {"mean": [0, 0, 0], "std": [0, 1, 1]},
                {"mean": [0, 0, float("nan")], "std": [1, 1, 1]},
            ),
        }.items()
        for value in values
    },
    "configuration is a number": lambda: {**ours(), "configuration": 5},
    "configuration without a recipe": lambda: {**ours(), "configuration": {"seed": 0}},
    "configuration with a recipe in words": lambda: {**ours(), "configuration": {"seed": 0, "recipe": "TrainSimple"}},
}


@pytest.mark.parametrize("fault", OUR_FAULTS)
def test_our_file_with_a_wrong_field(fault, tmp_path):
    refused(saved(OUR_FAULTS[fault](), tmp_path), "'given.pth'")


PUBLISHED_FAULTS = {
    "sd is a list": lambda: named(sd=[torch.ones(2)]),
    "sd is a number": lambda: named(sd=3),
    "sd holds numbers": lambda: named(sd={"imnet.layers.0.weight": 3}),
    "args is a list": lambda: {"model": {**named()["model"], "args": LIST}},
    "name is a list": lambda: named(name=LIST),
    "encoder_spec is None": lambda: named(args={"encoder_spec": None}),
    "encoder_spec is text": lambda: named(args={"encoder_spec": "edsr-baseline"}),
    "encoder_spec without a name": lambda: named(args={"encoder_spec": {"args": {}}}),
    "encoder_spec with args in words": lambda: named(args={"encoder_spec": {"name": "edsr-baseline", "args": "n"}}),
    "imnet_spec is text": lambda: named(args={"imnet_spec": "mlp"}),
    "imnet_spec without args": lambda: named(args={"imnet_spec": {"name": "mlp"}}),
    "imnet_spec with args in a list": lambda: named(args={"imnet_spec": {"name": "mlp", "args": LIST}}),
    "hidden_list is a number": lambda: named(args={"imnet_spec": {"name": "mlp", "args": {"hidden_list": 8}}}),
    "hidden_list holds text": lambda: named(args={"imnet_spec": {"name": "mlp", "args": {"hidden_list": ["a"]}}}),
    "lte without its imnet": lambda: {"model": {**named()["model"], "name": "lte", "args": {"encoder_spec": {}}}},
    "a tensor among the options": lambda: named(args={"local_ensemble": torch.ones(3)}),
    "mmediting, 0-d": lambda: {"state_dict": {"generator.conv_first.weight": torch.tensor(1.0)}},
    "mmediting, 0-d in the imnet": lambda: {
        "state_dict": {
            "generator.conv_first.weight": torch.ones(8, 3, 3, 3),
            "generator.imnet.layers.0.weight": torch.tensor(1.0),
        }
    },
    "mmediting, no channels": lambda: {
        "state_dict": {
            "generator.conv_first.weight": torch.ones(0, 3, 3, 3),
            "generator.imnet.layers.0.weight": torch.ones(8, 76),
        }
    },
    "mmediting, RDN without its blocks": lambda: {"state_dict": {"generator.sfe1.weight": torch.ones(8, 3, 3, 3)}},
    "mmediting, CiaoSR without its keys": lambda: {
        "state_dict": {
            "generator.conv_first.weight": torch.ones(8, 3, 3, 3),
            "generator.imnet_q.layers.0.weight": torch.ones(8, 76),
        }
    },
    "mmediting, a text": lambda: {"state_dict": {"generator.conv_first.weight": "text"}},
    "without names, 0-d": lambda: {
        "encoder.head.0.weight": torch.tensor(1.0),
        "imnet.layers.0.weight": torch.tensor(1.0),
    },
    "the study's optimiser in words": lambda: {**named()["model"]["sd"], "optimizer": {"param_groups": "adam"}},
    "the study's optimiser as numbers": lambda: {"model": named()["model"]["sd"], "optimizer": {"param_groups": [3]}},
}


@pytest.mark.parametrize("fault", PUBLISHED_FAULTS)
def test_published_file_with_a_wrong_field(fault, tmp_path):
    refused(saved(PUBLISHED_FAULTS[fault](), tmp_path), "'given.pth'")


def test_one_line_and_exit_code_2_on_the_command_line(tmp_path, photos):
    hints = {"no weights": "weights", "padding is 3": "padding", "attention is None": "attention"}
    for fault, hint in hints.items():
        path = saved(OUR_FAULTS[fault](), tmp_path)
        for words in (
            ("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--scale", 2),
            ("test", "--benchmark", photos),
        ):
            done = cli(*words, "--weights", path)
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
            assert "weights: 'given.pth'" in done.stderr and hint in done.stderr and not (tmp_path / "o.png").exists()


def test_a_configuration_of_another_package_is_left_alone(tmp_path, photos):
    "Other codes keep a configuration of their own beside the weights."
    for other in (5, {"recipe": "x"}, ["a"]):
        path = saved({**named(), "configuration": other}, tmp_path)
        done = cli("test", "--benchmark", photos, "--weights", path, "--scales", 2, "--metrics", "psnr_y")
        assert done.returncode == 0, done.stderr


MONSTERS = [
    {"blocks": 10**7},
    {"blocks": 10**400},
    {"blocks": 1e9},
    {"blocks": "10000000"},
    {"blocks": -1},
    {"blocks": True},
    {"blocks": 2.5},
    {"blocks": float("nan")},
    {"blocks": float("inf")},
    {"blocks": "many"},
    {"blocks": [3]},
    {"features": 10**7},
    {"features": 0},
    {"res_scale": "x"},
    {"size": ["large"]},
]
HIDDEN = [
    [16] * 200_000,
    [10**9],
    [10**6] * 4,
    [10**5, 10**5],
    [-3],
    [0],
    [2.5],
    ["eight"],
    [True],
    [[8]],
    8,
    "88",
    None,
    [],
    {},
]


@pytest.mark.parametrize("which", range(len(MONSTERS) + len(HIDDEN)))
def test_options_are_compared_with_the_files_own_size_before_anything_is_built(which, tmp_path):
    change = {"encoder_options": {**ROOM[0], **MONSTERS[which]}} if which < len(MONSTERS) else None
    path = saved(ours(**(change or {"decoder_options": {"hidden": HIDDEN[which - len(MONSTERS)]}})), tmp_path)
    start = time.process_time()
    refused(path, "'given.pth'")
    assert time.process_time() - start < 1


def test_monsters_of_other_methods(tmp_path):
    "Every whole number and every list among the options of every encoder and decoder, in a file of a small model."
    import inspect

    from inr_assr.decoders.contract import DECODERS
    from inr_assr.encoders.contract import ENCODERS

    model, path = small(), tmp_path / "given.pth"
    facts, weights = model.describe(), model.state_dict()
    for part, registry in (("encoder", ENCODERS), ("decoder", DECODERS)):
        for name in registry:
            parameters = inspect.signature(registry[name].__init__).parameters.values()
            for p in parameters:
                if p.name in ("self", "channels", "res_scale") or isinstance(p.default, (bool, str)):
                    continue  # no number of layers or numbers
                of_list = isinstance(p.default, (list, tuple)) or "list" in str(p.annotation)
                for value in ([10**5] * 3, [1] * 10**5, [10**9]) if of_list else (10**5, 10**6 - 1, 10**12):
                    options = {**getattr(registry[name], "small", {}), p.name: value}
                    torch.save(
                        {
                            "format": FORMAT,
                            "model": {**facts, part: name, f"{part}_options": options},
                            "weights": weights,
                        },
                        path,
                    )
                    start = time.process_time()
                    refused(path)
                    assert time.process_time() - start < 2, (name, p.name, value)


def test_monsters_in_published_files(tmp_path):
    spec = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 10**7, "n_feats": 8}}
    for args in ({"encoder_spec": spec}, {"imnet_spec": {"name": "mlp", "args": {"hidden_list": [16] * 200_000}}}):
        start = time.process_time()
        refused(saved(named(args=args), tmp_path))
        assert time.process_time() - start < 1


def test_a_tensor_that_claims_more_numbers_than_the_file_holds(tmp_path):
    huge = torch.ones(1).expand(10**6, 10**6)
    refused(
        saved({**ours(), "weights": {**ours()["weights"], "encoder.head.0.weight": huge}}, tmp_path),
        "encoder.head.0.weight",
    )


class Bomb:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('executed').write_text('x')",)


def strangers(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    "Files that are no checkpoints, with what the message should say."
    found = {}

    def add(name: str, content: bytes, *hints: str):
        (folder / name).write_bytes(content)
        found[name] = folder / name, list(hints)

    page = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 18913341\n"
    add("page.pth", page, "web page")
    add("page2.pth", b"\xef\xbb\xbf\n  <html lang='en'>", "web page")
    add("page.safetensors", page, "web page")
    add("pointer.pth", pointer, "git-lfs pointer", "git lfs pull")
    add("pointer.safetensors", pointer, "git-lfs pointer")
    for suffix in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, suffix)
        add(f"{suffix}.pth", picture.getvalue(), "picture")
    add("empty.pth", b"", "empty")
    add("empty.safetensors", b"", "empty")
    add("text.pth", b"learning_rate: 1e-4\n", "text")
    add("noise.pth", bytes(range(256)) * 4, "damaged or of another kind")
    add("table.json", b'{"a": 1}', "text")
    add("pickle.pth", pickle.dumps(Bomb()), "can be loaded safely")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(__file__, "a.py")
    add("archive.pth", archive.getvalue(), "tar archive", "unpack")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(__file__, "a.py")
    add("archive.gz", archive.getvalue(), "gzip", "unpack")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as box:
        box.writestr("weights/last.pth", b"x")
    add("box.pth", archive.getvalue(), "zip archive", "weights/last.pth")
    arrays = io.BytesIO()
    np.savez(arrays, a=np.ones(3))
    add("arrays.npz", arrays.getvalue(), "NumPy")
    script = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), script)
    add("script.pth", script.getvalue(), "TorchScript", "state_dict")
    torch.save(Bomb(), folder / "bomb.pth")
    found["bomb.pth"] = folder / "bomb.pth", ["other than plain data"]
    safetensors.torch.save_file({"unet.weight": torch.ones(3)}, folder / "other.safetensors", {"author": "somebody"})
    found["other.safetensors"] = folder / "other.safetensors", ["fits no known format", "unet.weight"]
    (folder / "folder.pth").mkdir()
    (folder / "folder.pth" / "best.pth").write_bytes(b"x")
    found["folder.pth"] = folder / "folder.pth", ["is a folder", "best.pth"]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_stranger_is_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (path, hints) in strangers(tmp_path).items():
        text = refused(path, name, *hints)
        assert "None" not in text
    assert not (tmp_path / "executed").exists()


def test_it_is_said_on_the_command_line(tmp_path, photos):
    (tmp_path / "last.pth").write_bytes(b"<html>Not found</html>")
    for weights, hint in (
        (tmp_path / "last.pth", "web page"),
        (photos / "coffee.png", "picture"),
        (tmp_path, "is a folder"),
    ):
        done = cli("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--scale", 2, "--weights", weights)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and hint in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "o.png").exists()


def test_the_content_counts_not_the_suffix(tmp_path):
    model = small()
    torch_file = save_model(model, tmp_path / "a.pth").rename(tmp_path / "a.safetensors")
    safe_file = save_model(model, tmp_path / "b.safetensors").rename(tmp_path / "b.pth")
    for path in (torch_file, safe_file):
        assert load_model(path).describe() == model.describe()


def test_numpy_numbers_beside_the_weights(tmp_path):
    values = {"psnr": np.float64(31.5), "epoch": np.int64(7), "half": np.float32(0.5), "best": np.bool_(True)}
    values |= {"history": np.arange(3.0), "random": np.random.default_rng(0).integers(0, 9, 5).astype(np.uint32)}
    image = torch.rand(1, 3, 6, 7)
    for contents, read in ((ours(), "ours"), (named(), "named")):
        model = load_model(saved({**contents, **values}, tmp_path))
        assert torch.equal(model.upscale(image, 2), small().upscale(image, 2)), read
    read = read_checkpoint(saved({**ours(), **values, "order": np.array([">f8 follows"])}, tmp_path))
    assert {key: read[key] for key in ("psnr", "epoch", "half", "best")} == {
        "psnr": 31.5,
        "epoch": 7,
        "half": 0.5,
        "best": True,
    }
    assert list(read["history"]) == [0, 1, 2] and len(read["random"]) == 5


PREFIXES = ("_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "module.module.")


@pytest.mark.parametrize("prefix", [*PREFIXES, "encoder.module.", "encoder._orig_mod."])
def test_what_wraps_a_model_is_taken_off_its_names(prefix, tmp_path):
    "torch.compile, DataParallel, DistributedDataParallel, AveragedModel."
    outer = "" if prefix.startswith("encoder.") else prefix

    def wrapped(weights: dict) -> dict:
        inner = {
            (prefix + key.removeprefix("encoder.") if not outer and key.startswith("encoder.") else key): value
            for key, value in weights.items()
        }
        return {outer + key: value for key, value in inner.items()}

    image = torch.rand(1, 3, 6, 7)
    author, bare = named(), named()["model"]["sd"]
    author["model"]["sd"] = wrapped(bare)
    for contents, more in (
        ({**ours(), "weights": wrapped(ours()["weights"])}, {}),
        (author, {}),
        (wrapped(bare), {"source": "liif"}),
        ({"model": wrapped(bare)}, {"source": "liif"}),
        ({"n_averaged": torch.tensor(3), **wrapped(bare)}, {"source": "liif"}),
    ):
        model = load_model(saved(contents, tmp_path), **more)
        assert torch.equal(model.upscale(image, 2), small().upscale(image, 2))


def test_two_weights_of_one_name_are_refused(tmp_path):
    weights = ours()["weights"]
    refused(
        saved(
            {**ours(), "weights": {**weights, "module.encoder.head.0.weight": weights["encoder.head.0.weight"]}},
            tmp_path,
        ),
        "encoder.head.0.weight",
    )


@pytest.mark.parametrize("kind", ["int8", "int64", "bool", "complex64", "qint8", "sparse", "meta"])
def test_weights_that_are_no_plain_real_numbers_are_refused(kind, tmp_path):
    def changed(value):
        if kind == "qint8":
            return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)
        if kind in ("sparse", "meta"):
            return value.to_sparse() if kind == "sparse" else value.to("meta")
        return value.to(getattr(torch, kind))

    for weights in (
        lambda w: {k: changed(v) for k, v in w.items()},
        lambda w: {**w, "encoder.head.0.weight": changed(w["encoder.head.0.weight"])},
    ):
        refused(saved({**ours(), "weights": weights(ours()["weights"])}, tmp_path), "encoder.")
        author = named()
        author["model"]["sd"] = weights(author["model"]["sd"])
        refused(saved(author, tmp_path), "encoder.")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_real_numbers_are_taken(kind, tmp_path):
    weights = {key: value.to(getattr(torch, kind)) for key, value in ours()["weights"].items()}
    load_model(saved({**ours(), "weights": weights}, tmp_path)).upscale(torch.rand(1, 3, 6, 7), 2)
    huge = {**ours()["weights"], "encoder.head.0.bias": torch.full((8,), 1e300, dtype=torch.float64)}
    refused(saved({**ours(), "weights": huge}, tmp_path), "finite")


def ruins(folder: Path) -> dict[str, Path]:
    "Files whose numbers are finite and whose colours are not."
    found = {}
    for name, change in (
        (
            "weights",
            lambda c: {**c, "weights": {**c["weights"], "decoder.imnet.layers.2.weight": torch.full((3, 8), 3e38)}},
        ),
        (
            "normalisation",
            lambda c: {**c, "model": {**c["model"], "normalisation": {"mean": [0.0] * 3, "std": [1e-45] * 3}}},
        ),
    ):
        found[name] = folder / f"{name}.pth"
        torch.save(change(ours()), found[name])
    return found


@pytest.mark.parametrize("more", [(), ("--ensemble",), ("--tiling", "16")])
def test_colours_that_are_not_finite_are_refused_and_nothing_is_written(more, tmp_path, photos):
    for path in ruins(tmp_path).values():
        done = cli("upscale", photos / "coffee.png", "-o", tmp_path / "o.png", "--weights", path, "--scale", 2, *more)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, (done.returncode, done.stderr)
        assert "NaN or infinite" in done.stderr and "EDSR-LIIF" in done.stderr and not (tmp_path / "o.png").exists()


def test_refused_after_the_first_block(tmp_path):
    model, asked = load_model(ruins(tmp_path)["weights"]), []
    with pytest.raises(InputError, match="NaN or infinite"):
        model.upscale(torch.rand(1, 3, 60, 60), 8, progress=lambda done, total: asked.append(done))
    assert asked == []


def test_a_folder_of_pictures_and_test_say_it_too(tmp_path, photos):
    path = ruins(tmp_path)["weights"]
    done = cli("upscale", photos, "-o", tmp_path / "out", "--weights", path, "--scale", 2)
    assert done.returncode != 0 and "NaN or infinite" in done.stdout + done.stderr
    assert not list(tmp_path.glob("out/*.png"))
    done = cli("test", "--benchmark", photos, "--weights", path, "--scales", 2, "--out", tmp_path / "rows.csv")
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "NaN or infinite" in text and "Traceback" not in text, text


@pytest.mark.parametrize("kind", FORMATS)
def test_the_valid_files_of_the_mutations_load(kind, tmp_path):
    path = valid_file(kind, tmp_path)
    assert load_model(path).upscale(torch.rand(1, 3, 6, 7), 2).isfinite().all()


def mutate(count: int, folder: Path, seconds: int) -> str:
    "Run `mutations.py` in a process of bounded memory, CPU time and wall time."
    script = Path(__file__).with_name("mutations.py")
    words = [sys.executable, script, str(count), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=10 * seconds)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_200_mutations(tmp_path):
    assert "200 mutations" in mutate(200, tmp_path, 30)


@pytest.mark.slow
def test_2000_mutations(tmp_path):
    "Only `InputError` or a model that answers; memory and seconds are bounded."
    assert "2000 mutations" in mutate(2000, tmp_path, 120)
