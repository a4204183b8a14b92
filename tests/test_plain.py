"""The plain forms that benchmarks time ours against (`benchmarks/plain`): the same function as ours and as published.

In float64 ours and plain differ in two things only. (1) Published areas have 1e-9 added. With S their sum, a blend
moves by at most 3e-9 / S of the spread of what is blended. S is 4 inside the picture (HIIF: 1) and, where the four
differ, at least a quarter of that at the places asked here; networks that go on from the blend may stretch it. Without
the 1e-9 the two must be equal to rounding. (2) On the centre line of the last LR row and column all areas are 0 or
noise: left out.
"""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from test_golden import chunked, spec_of, weights_of

from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.coordinates import CellPolicy, Queries
from inr_assr.models.checkpoints import load_weights
from inr_assr.models.published import from_published, our_key, our_weights

sys.path.insert(0, str(ROOT / "benchmarks"))
from plain import PLAIN, chunk_count, edsr, enlarge, evaluate  # noqa: E402
from plain.common import places  # noqa: E402

SETS = {"SRNO", "HIIF"}  # queries of a call see each other
H, W, CHANNELS = 8, 6, 8
SIZES = {"x2": (16, 12), "x2.7": (22, 16), "x4": (32, 24), "x2x3": (16, 18), "x3": (24, 18)}


def fresh(name: str, dtype=torch.float64):
    "A small decoder of ours with every weight moved off its start, features and a picture for it, two of each."
    torch.manual_seed(0)
    decoder = DECODERS[name](CHANNELS, **DECODERS[name].small)
    with torch.no_grad():
        for key, p in decoder.named_parameters():
            p.add_(torch.randn_like(p) / 10)
            if key.endswith("._weight"):  # a flow's matrix: one that can be inverted well
                p.copy_(torch.eye(len(p)) + torch.randn_like(p) / (4 * len(p) ** 0.5))
    features, image = torch.randn(2, CHANNELS, H, W), torch.rand(2, 3, H, W) * 2 - 1
    return decoder.to(dtype), features.to(dtype).requires_grad_(), image.to(dtype)


def asked(name: str, case: str):
    "Queries of ours, the same as coord and cell, and which answers are well defined."
    if case == "points":
        coord = (torch.rand(2, 5, 9, 2, dtype=torch.float64) * 2 - 1) * 0.99
        out = (1 - coord.abs()) * torch.tensor([H, W])  # 1: centre of the outermost LR pixel; just beyond it S is small
        coord = torch.where((out > 0.5) & (out < 1), coord.sign() * (1 - 0.5 / torch.tensor([H, W])), coord)
        queries = Queries.points((H, W), coord, torch.tensor([[19.0, 23.0], [31.0, 17.0]], dtype=torch.float64))
        return queries, coord, queries.cell, torch.ones(5, 9, dtype=torch.bool)
    size = SIZES[case]
    cell = 2 / torch.tensor([size, size], dtype=torch.float64)
    keep = torch.ones(size, dtype=torch.bool)
    if case.endswith("3"):  # the centre line of the last LR column, and row
        keep[:, -2] = False
        keep[-2] &= case != "x3"
    if name == "HIIF":  # its digits are those of float32 coordinates, so those are what both are asked
        coord = places(size, torch.zeros(1)).double().expand(2, -1, -1, -1)
        return Queries.points((H, W), coord, 2 / cell), coord, cell, keep
    queries = Queries.grid((H, W), size, dtype=torch.float64)
    return queries, places(size, cell).expand(2, -1, -1, -1), cell, keep


def worst(one: torch.Tensor, other: torch.Tensor) -> float:
    "Largest difference, in parts of the largest value."
    return ((one - other).abs().max() / other.abs().max()).item()


def gradients(out: torch.Tensor, keep: torch.Tensor, features: torch.Tensor, decoder) -> dict[str, torch.Tensor]:
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype) * keep
    named = {"features": features, **dict(decoder.named_parameters())}
    found = torch.autograd.grad((out * probe).sum(), list(named.values()), allow_unused=True)
    return {key: g for key, g in zip(named, found, strict=True) if g is not None}


@pytest.mark.parametrize("case", ["points", *SIZES])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_equals_ours(name, case):
    decoder, features, image = fresh(name)
    queries, coord, cell, keep = asked(name, case)
    if name in SETS and not keep.all():  # the lines would enter every answer
        queries = Queries.points((H, W), coord[:, :-2, :-2], 2 / cell)
        coord, keep = coord[:, :-2, :-2], keep[:-2, :-2]
    ours = decoder.query(decoder.focus(decoder.prepare(features, image), queries), queries)
    theirs = gradients(ours, keep, features, decoder)
    p = PLAIN[name](decoder)
    for area, most, most_gradient in ((0.0, 1e-13, 1e-12), (p.area, 1e-8, 3e-8)):
        p.area = area
        plain = p.query(p.generate(features, image), coord, cell)
        assert plain.shape == ours.shape
        plain = torch.where(keep, plain, 0)
        off = worst(plain, torch.where(keep, ours, 0))
        assert off <= most, f"area + {area}: {off:.1e}"
        if area == 0 and not keep.all():
            continue  # 0 / 0 on the line left out: its gradient is not a number
        found = gradients(plain, keep, features, decoder)
        assert found.keys() == theirs.keys()
        for key, gradient in found.items():
            assert (off := worst(gradient, theirs[key])) <= most_gradient, (
                f"gradient of {key}, area + {area}: {off:.1e}"
            )


@pytest.mark.parametrize("name", PLAIN)
def test_chunks_join_to_the_picture(name):
    "As timed, float32: grids of ours and pieces of the plain form; for SRNO and HIIF each piece is a set of its own."
    decoder, features, image = fresh(name, torch.float32)
    p, size = PLAIN[name](decoder), (22, 16)
    step, count = (90, 4) if p.unit == "queries" else (7, 4)
    assert chunk_count(p, size) == 1 and chunk_count(p, size, step) == count
    assert chunk_count(p, (1356, 2040)) == (93 if p.unit == "queries" else -(-1356 // p.chunk))
    pieces = [range(top, min(top + step, 22)) for top in range(0, 22, step)] if name in SETS else [range(22)]
    with torch.no_grad():
        state = decoder.prepare(features, image)
        asked = [Queries.grid((H, W), size, rows) for rows in pieces]
        ours = torch.cat([decoder.query(decoder.focus(state, queries), queries) for queries in asked], 2)
    joined = enlarge(p, features, image, size, step)
    assert joined.shape == ours.shape and worst(joined, ours) <= 2e-5
    (last,) = evaluate(p, features, image, size, step, only=[count - 1])
    whole = joined.flatten(2)
    assert torch.equal(last.flatten(2), whole[..., whole.shape[-1] - last[0, 0].numel() :])


@pytest.mark.parametrize("options", [{"blocks": 2, "features": 8}, {"blocks": 2, "features": 8, "res_scale": 0.1}])
def test_plain_edsr_equals_ours(options):
    torch.manual_seed(0)
    encoder, image = ENCODERS["EDSR"](**options).double(), torch.randn(2, 3, 9, 7, dtype=torch.float64)
    ours, plain = encoder(image), edsr(encoder, image)
    assert worst(plain, ours) <= 1e-13
    named = {key: p for key, p in encoder.named_parameters() if p.requires_grad}
    probe = torch.randn_like(ours)
    both = [torch.autograd.grad((out * probe).sum(), list(named.values())) for out in (plain, ours)]
    assert all(worst(one, other) <= 1e-12 for one, other in zip(*both, strict=True))


GOLDEN = {
    "LIIF": "liif",
    "LTE": "lte",
    "LTE+": "ltep",
    "MetaSR": "metasr",
    "LINF": "linf",
    "SRNO": "srno",
    "HIIF": "hiif",
    "CiaoSR": "ciaosr",
}


def read(name: str) -> tuple[dict, dict]:
    data = np.load(ROOT / "tests" / "golden" / f"{GOLDEN[name]}-edsr-tiny.npz", allow_pickle=False)
    return data, json.loads(str(data["meta"]))


def check_golden(name: str, data, meta, change=lambda decoder: None) -> int:
    "Plain encoder and decoder, on the file's weights, against the published outputs; how many sets were compared."
    model = from_published(spec_of(meta)).eval()
    policy = meta["cell_policy"]
    model.cell_policy = CellPolicy(policy["kind"], policy.get("scale_max", 4))
    load_weights(model, our_weights(model, weights_of(data, meta)))
    change(model.decoder)
    image, p, compared = torch.from_numpy(data["image"]), PLAIN[name](model.decoder), 0
    for key in [key for key in data.files if key.endswith("/out")]:
        group = key.removesuffix("/out")
        if f"{group}/z" in data.files:  # LINF's draws
            continue
        coord, cell, wanted = (torch.from_numpy(data[f"{group}/{part}"]) for part in ("coord", "cell", "out"))
        cell = model.place(Queries.points(tuple(image.shape[-2:]), coord, 2 / cell)).cell
        network = model.normalisation.into(image)
        state = p.generate(edsr(model.encoder, network), network)
        pieces, dim = [coord], 1
        if how := chunked(group):
            coord, dim = (coord, 1) if how[0] == "rows" else (coord.flatten(1, 2)[:, None], 2)
            pieces = coord.split(how[1], dim)
        out = torch.cat([p.query(state, piece, cell) for piece in pieces], dim + 1).reshape(wanted.shape)
        out = model.normalisation.out_of(out)
        keep = torch.from_numpy(data[f"{group}/stable"]) if f"{group}/stable" in data.files else torch.ones(1, 1, 1) > 0
        keep = keep[:, None].expand_as(out)
        atol = meta["tolerance"].get(f"{group}/out", meta["tolerance"]["out"])
        np.testing.assert_allclose(out[keep].detach().numpy(), wanted[keep].numpy(), rtol=0, atol=atol, err_msg=group)
        compared += 1
        prefix = f"{group}/grad_norm/"
        norms = {key.removeprefix(prefix): float(data[key]) for key in data.files if key.startswith(prefix)}
        if not norms:
            continue
        model.zero_grad()
        (out * torch.from_numpy(data[f"{group}/probe"])).sum().backward()
        found = {key: q.grad.norm().item() for key, q in model.named_parameters() if q.grad is not None}
        for key, norm in norms.items():
            assert found[our_key(model, key)] == pytest.approx(norm, rel=meta["tolerance"]["grad"]), key
    return compared


@pytest.mark.parametrize("name", PLAIN)
def test_plain_equals_the_published_outputs(name):
    assert check_golden(name, *read(name)) >= 5 - (name == "LINF")


@pytest.mark.parametrize("name", PLAIN)
def test_the_comparison_can_fail(name):
    "Every weight moved by one part in a hundred must not pass."

    def change(decoder):
        for p in decoder.parameters():
            p.data *= 1.01

    with pytest.raises(AssertionError):
        check_golden(name, *read(name), change)


def test_the_benchmark_writes_its_table(tmp_path):
    "One small job of `make bench`; how fast it was does not matter here."
    words = "--only evaluation,encoder --methods MetaSR --scales 12 --rounds 1".split()
    command = [sys.executable, ROOT / "benchmarks" / "speed.py", *words, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(next(tmp_path.glob("*.csv")))
    assert {("encoder", "ours"), ("x12", "ours"), ("x12", "(a) published")} <= set(zip(table["job"], table["form"], strict=True))
    assert (table["time"] > 0).all() and (table["ratio"] > 0).all()
    assert "floor" in next(tmp_path.glob("*.md")).read_text()
