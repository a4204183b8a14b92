"Mutations of valid files of weights. As a script, `python mutations.py COUNT FOLDER`: each is refused by `InputError`, or is a model that answers, in bounded memory and time."

import copy
import io
import json
import math
import random
import sys
import time
import zipfile
from pathlib import Path

import torch

from inr_assr.foundations.errors import InputError
from inr_assr.models.checkpoints import load_model, save_model
from inr_assr.models.model import build_model

FORMATS = ("ours.pth", "ours.safetensors", "liif.pth", "mmediting.pth", "study.pth")
BLOCKS, FEATURES, HIDDEN = 2, 8, [8, 8]


def valid_file(kind: str, folder: Path) -> Path:
    "A small model in one of the formats."
    torch.manual_seed(0)
    name, encoder = "reference-LIIF" if kind == "study.pth" else "LIIF", {"blocks": BLOCKS, "features": FEATURES}
    if kind == "mmediting.pth":
        encoder["mean_shift"] = False
    model, path = build_model("EDSR", name, encoder, {"hidden": HIDDEN}), folder / kind
    if kind.startswith("ours"):
        return save_model(model, path, epoch=3)
    weights = {key.removeprefix("decoder."): value for key, value in model.state_dict().items()}
    if kind == "liif.pth":
        part = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": BLOCKS, "n_feats": FEATURES}}
        mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": HIDDEN}}
        contents = {
            "model": {"name": "liif", "args": {"encoder_spec": part, "imnet_spec": mlp}, "sd": weights},
            "epoch": 3,
        }
    elif kind == "study.pth":
        group = {"lr": 4e-4, "initial_lr": 4e-4, "params": [0, 1]}
        contents = {"model": weights, "optimizer": {"state": {}, "param_groups": [group]}, "epoch": 3}
    else:
        renamed = {}
        for key, value in weights.items():
            key = (
                key.removeprefix("encoder.")
                .replace("head.0", "conv_first")
                .replace(f"body.{BLOCKS}.", "conv_after_body.")
            )
            key = key.replace(".body.0.", ".conv1.").replace(".body.2.", ".conv2.")
            renamed[f"generator.{key}"] = value
        contents = {"meta": {"epoch": 3}, "state_dict": renamed}
    torch.save(contents, path)
    return path


def odd_value(rng: random.Random):
    "What nobody expects in a field."
    numbers = [0, -1, 1, 3, 2.5, 1e9, 10**7, 10**30, math.nan, math.inf, True, None]
    texts = ["", "x", "1e9", "LTE", "SwinIR", "swinir", "hiif", "\x1b[31m\n", "0" * 5000]
    return rng.choice([
        rng.choice(numbers),
        rng.choice(texts),
        [rng.choice(numbers)] * rng.choice([0, 1, 3, 1000]),
        {rng.choice(texts): rng.choice(numbers)},
        torch.ones(rng.choice([(), (1,), (0, 3), (8, 3, 3, 3), (4, 4)]), dtype=rng.choice([torch.float32, torch.int8, torch.complex64])),
        torch.ones(1).expand(10**6, 10**6),
        b"bytes",
        (1, (2,)),
    ])  # fmt: skip


def tables(contents) -> list[dict]:
    "All dictionaries of a nested structure; those nearer to its top more often."
    found, rest = [], [contents]
    while rest:
        table = rest.pop()
        found.append(table)
        rest += [value for value in table.values() if isinstance(value, dict)]
    return found


def change_structure(contents: dict, rng: random.Random) -> dict:
    "A field replaced, taken away, renamed, doubled or moved; one to three times."
    contents = copy.deepcopy(contents)
    for _ in range(rng.choice([1, 1, 2, 3])):
        table = rng.choice([t for t in tables(contents) if t] or [{"x": 1}])
        key = rng.choice(list(table))
        match rng.randrange(6):
            case 0 | 1:
                table[key] = odd_value(rng)
            case 2:
                del table[key]
            case 3:
                table[rng.choice([f"module.{key}", f"{key}x", 3, "", None, "sd", "args", "format"])] = table.pop(key)
            case 4:
                value = table[key]
                table[key] = value.flatten()[:-1] if isinstance(value, torch.Tensor) else [value]
            case 5:
                other = rng.choice(tables(contents))
                table[key] = copy.deepcopy(other[rng.choice(list(other))]) if other else {}
    return contents


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    "Bytes changed, cut away, put in or doubled; near the beginning or the end more often, where headers are."
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = (
            min(
                len(content) - 1,
                int(len(content) * rng.choice([rng.random(), rng.random() ** 4, 1 - rng.random() ** 4])),
            )
            if content
            else 0
        )
        match rng.randrange(5):
            case 0 | 1:
                content[at : at + 1] = bytes([rng.choice([0, 255, rng.randrange(256), ord("."), ord("}")])])
            case 2:
                del content[at : at + rng.choice([1, 4, 100, len(content)])]
            case 3:
                content[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
            case 4:
                content[at:at] = content[at : at + rng.choice([4, 100])]
    return bytes(content)


def change_record(content: bytes, rng: random.Random) -> bytes:
    "Bytes of the description inside changed while all checksums fit: the pickle of torch's zip, the header of safetensors."
    if not zipfile.is_zipfile(io.BytesIO(content)):
        size = int.from_bytes(content[:8], "little")
        header = change_bytes(content[8 : 8 + size], rng)
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            record = old.read(name)
            new.writestr(name, change_bytes(record, rng) if name.endswith("data.pkl") else record)
    return made.getvalue()


def mutation(path: Path, target: Path, rng: random.Random) -> None:
    "One mutation of a valid file."
    content = path.read_bytes()
    if rng.random() < 0.6 and path.suffix == ".pth":
        contents = change_structure(torch.load(path, weights_only=True), rng)
        made = io.BytesIO()
        torch.save(contents, made, _use_new_zipfile_serialization=rng.random() < 0.8)
        content = made.getvalue()
    elif rng.random() < 0.6 and path.suffix == ".safetensors":
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        if rng.random() < 0.7:  # a field of our description, which lies there as text
            facts = change_structure({key: json.loads(value) for key, value in header["__metadata__"].items()}, rng)
            header["__metadata__"] = {str(key): json.dumps(value, default=str) for key, value in facts.items()}
        else:
            header = change_structure(header, rng)
        text = json.dumps(header, default=str, skipkeys=True).encode()
        content = len(text).to_bytes(8, "little") + text + content[8 + size :]
    elif rng.random() < 0.6:
        content = change_record(content, rng)
    else:
        content = change_bytes(content, rng)
    target.write_bytes(content)


def main(count: int, folder: Path) -> None:
    import resource

    torch.set_num_threads(1)
    image, files, loaded, worst = torch.rand(1, 3, 6, 7), [valid_file(kind, folder) for kind in FORMATS], 0, 0.0
    for path in files:  # whatever is imported late is there before memory is bounded
        load_model(path).upscale(image, 2)
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc").exists() else 0
    )
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + 10**9, resource.RLIM_INFINITY))
    reasons: dict[str, int] = {}
    for seed in range(count):
        path = files[seed % len(files)]
        target, start = folder / f"given{path.suffix}", time.process_time()
        mutation(path, target, random.Random(seed))
        try:
            answer = load_model(target, source="liif" if seed % 7 == 0 else None).upscale(image, 2)
            assert answer.shape == (1, 3, 12, 14) and answer.isfinite().all()
            loaded += 1
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000 and str(error).isprintable(), (seed, str(error))
            reasons[str(error)[:60]] = reasons.get(str(error)[:60], 0) + 1
        except Exception as error:
            raise AssertionError(f"mutation {seed} of {path.name}: {type(error).__name__}: {error}") from error
        worst = max(worst, time.process_time() - start)
        assert worst < 2, f"mutation {seed} of {path.name} took {worst:.1f} s"
    assert count // 50 < loaded < count * 0.9 and len(reasons) > 5, (loaded, reasons)
    print(
        f"{count} mutations: {loaded} models, {count - loaded} refused for {len(reasons)} reasons; {worst:.2f} s at most"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
