"""How much faster than the published structure, for the same function: a table, printed and written to outputs/benchmarks.

python benchmarks/speed.py [--quick] [--device cuda] [--only evaluation,small,training,encoder,data,memory,start] [--out outputs/benchmarks]

(a) is the published structure as `plain` writes it, in float32; (b) the same with its queries cut as suits a cache, and
the same under bfloat16 autocast; ours in both precisions; and the floor, which is our arithmetic at the rate of this
machine's matrix products. All forms of a job take turns in one process, with the same weights and pictures, on one
thread; times are CPU time of the process (on a GPU: waited for), ratios are medians over the turns, with their range.
"""

import argparse
import copy
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from data_path import PATCH, SCALES, float_cache, make_pictures, published
from plain import PLAIN, chunk_count, edsr, enlarge
from plain.common import places
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inr_assr import build_model
from inr_assr.data.pictures import PictureStore, demo_photo
from inr_assr.data.samples import Samples
from inr_assr.foundations.coordinates import Queries
from inr_assr.foundations.devices import device_name, synchronise
from inr_assr.foundations.layers import linear, plainly
from inr_assr.training.loop import Learner
from inr_assr.training.recipes import recipe
from inr_assr.training.runs import configure

TARGET = (1356, 2040)
METHODS = ("LIIF", "LTE", "LTE+", "MetaSR", "LINF", "SRNO", "HIIF", "CiaoSR")
SMALL = ((4, 2), (8, 2), (16, 3), (24, 2.7))  # side of an LR picture, and scale
WANTED = {  # what this project set itself: (job, method) -> (float32, bf16)
    **{("x4", m): t for m, t in zip(METHODS, ((4.2, 7.5), (2.4, 4), (2.4, 4), (170, 170), (2, 3.5), (3.5, 6), (2, 3.5), (4, 6)))},
    **{("training", m): t for m, t in zip(METHODS, ((1.5, 3.2), (1.1, 2.2), (1.1, 2.2), (1.6, 2.5), (1.1, 2), (1.1, 1.6), (1.1, 2), (1.5, 2.5)))},
    ("x1", "LIIF"): (9, None), ("x3", "LIIF"): (5, None), ("x1", "LTE"): (2.4, None), ("x3", "LTE"): (2.4, None),
    ("x2.7", "MetaSR"): (8.8, 8.8), ("x2", "MetaSR"): (170, 170), ("x3", "MetaSR"): (170, 170), ("x12", "MetaSR"): (170, 170),
    ("encoder", "EDSR-baseline"): (1.5, 3.5),
    **{(f"{lr}x{lr} x{scale:g}", m): (1, None) for lr, scale in SMALL for m in METHODS},
}  # fmt: skip


class Clock:
    "Seconds of work: of the process, or of a GPU that is waited for."

    def __init__(self, device: str):
        self.device = device

    def __call__(self, work: Callable[[], object]) -> float:
        synchronise(self.device)
        now = time.process_time if self.device == "cpu" else time.perf_counter
        start = now()
        work()
        synchronise(self.device)
        return now() - start


def in_turn(clock: Clock, forms: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    "Each form once a round, after a first go that is not counted (short ones only)."
    seconds = {name: [] for name in forms}
    for _ in range(rounds):
        for name, work in forms.items():
            seconds[name].append(clock(work))
    return seconds


class Given(nn.Module):
    "An encoder that has the features already, so that the decoder alone is timed."

    magnifies, window, channels = 1, 1, 64

    def __init__(self, features: torch.Tensor, reach: int = 35):
        super().__init__()
        self.receptive_field, self.kept = reach, nn.Parameter(features, requires_grad=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.kept


def decoding(model, image: torch.Tensor, size: tuple[int, int]) -> None:
    for _ in model.blocks(image, size, tiling="whole"):
        pass


def flops(work: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter, plainly():
        work()
    return counter.get_total_flops()


def machine_rates(device: str, clock: Clock) -> dict[str, float]:
    "GFLOP/s of matrix products of 1024 x 256 x 256, the best of many, in both number formats."
    found = {}
    with torch.inference_mode():
        for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
            x, w = torch.randn(1024, 256, device=device, dtype=dtype), torch.randn(256, 256, device=device, dtype=dtype)
            best = min(clock(lambda: [linear(x, w, None, "relu") for _ in range(30)]) / 30 for _ in range(15))
            found[name] = 2 * 1024 * 256 * 256 / best / 1e9
    return found


def note(rows: list, job: str, method: str, seconds: dict, per: float, unit: str, floors: dict) -> None:
    "Rows of a job: one a form, with its ratio to the first."
    base = next(iter(seconds.values()))
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(base, times, strict=False)]
        narrow = "bf16" if name == "ours bf16" else "float32"
        wanted = WANTED.get((job, method), (None, None))[narrow == "bf16"] if name.startswith("ours") else None
        floor = floors.get(narrow) if name.startswith("ours") else None
        row = {"job": job, "method": method, "form": name, "unit": unit, "time": statistics.median(times) / per}
        row |= {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "wanted": wanted}
        rows.append(row | {"of the floor": None if floor is None else floor / (statistics.median(times) / per)})
        aim = "" if wanted is None else f" (wanted {wanted:g})"
        print(f"{job:9s} {method:14s} {name:26s} {row['time']:9.4g} {unit:14s} {row['ratio']:7.2f}x{aim}", flush=True)


def evaluation(rows: list, device: str, clock: Clock, rates: dict, scales: tuple, methods: tuple, rounds: int) -> None:
    "The decoder over a picture of 2040x1356; of the plain form one chunk, of ours some LR rows of full width."
    for scale in scales:
        lr = tuple(round(n / scale) for n in TARGET)
        for method in methods:
            if scale == 1 and method not in ("LIIF", "LTE"):
                continue
            torch.manual_seed(0)
            model = build_model("EDSR", method, {"blocks": 1, "features": 64}).to(device).eval().requires_grad_(False)
            plain, inside = PLAIN[method](model.decoder), model.decoder.context == "set"
            high = max(4, round((48 if inside else 64) / scale))  # LR rows of ours
            part = (64, 64) if method == "CiaoSR" else (min(high, lr[0]), lr[1])
            whole = part if inside or method == "CiaoSR" else lr
            features = torch.randn(1, 64, *whole, device=device) * 0.3
            image = torch.rand(1, 3, *whole, device=device)
            sizes = [tuple(round(n * scale) for n in sides) for sides in (whole, part)]
            own = copy.copy(model)
            object.__setattr__(own, "_modules", dict(model._modules))
            own.encoder = Given(features[..., : part[0], : part[1]].contiguous(memory_format=torch.channels_last))
            seen, unit = image[..., : part[0], : part[1]], model.normalisation.into(image)
            cell = model.place(Queries.grid(whole, sizes[0], range(1), range(1), device=device)).cell
            def piece(step, plain=plain, sizes=sizes, image=image) -> torch.Tensor:  # places of the chunk in the middle
                grid = places(sizes[0], image)[None]
                grid, dim = (grid.reshape(1, 1, -1, 2), 2) if plain.unit == "queries" else (grid, 1)
                start = chunk_count(plain, sizes[0], step) // 2 * step
                return grid.narrow(dim, start, min(step, grid.shape[dim] - start)).contiguous()

            def of_plain(coord, narrow=False, plain=plain, cell=cell):
                with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=narrow):
                    plain.query(once, coord, cell)

            chunk = sizes[0][0] if inside else plain.chunk  # sets: the same queries attend over each other
            usual, tuned = piece(chunk), None
            with torch.inference_mode():
                once = plain.generate(features, unit)
                took = clock(lambda: plain.generate(features, unit))
            share = took / (sizes[0][0] * sizes[0][1])
            count = sizes[1][0] * sizes[1][1]
            forms = {"(a) published": lambda: of_plain(usual)}
            if scale == 4 and not inside:  # the best of three
                tries = [usual, piece(chunk // 4), piece(2 * chunk)]
                tuned = min(tries, key=lambda coord: clock(lambda: of_plain(coord)) / coord.numel())
                forms["(b) tuned chunk"] = lambda: of_plain(tuned)
            if scale == 4:
                forms["(b) bf16 autocast"] = lambda: of_plain(usual, True)
            narrowed = own.under(precision="bf16")
            forms["ours"] = lambda: decoding(own, seen, sizes[1])
            forms["ours bf16"] = lambda: decoding(narrowed, seen, sizes[1])
            if count < 200_000:
                decoding(own, seen, sizes[1])
            seconds = in_turn(clock, forms, rounds if scale == 4 else min(rounds, 2))
            queries = {name: count if "(" not in name else (tuned if "tuned" in name else usual).numel() // 2 for name in forms}
            seconds = {name: [t / queries[name] + (share if "(" in name else 0) for t in times] for name, times in seconds.items()}
            with torch.inference_mode():
                work = flops(lambda: decoding(own, seen, sizes[1])) / count
            floors = {name: work / rate / 1e3 for name, rate in rates.items()}
            note(rows, f"x{scale:g}", method, seconds, 1e-6, "us a pixel", floors)


def small(rows: list, device: str, clock: Clock, methods: tuple, rounds: int) -> None:
    "Whole pictures of a few pixels, by an encoder of one block and the decoder: there, what is done once a picture weighs most."
    for method in methods:
        torch.manual_seed(0)
        model = build_model("EDSR", method, {"blocks": 1, "features": 64}).to(device).eval().requires_grad_(False)
        plain = PLAIN[method](model.decoder)
        for side, scale in SMALL:
            size = (round(side * scale),) * 2
            image, often = torch.rand(1, 3, side, side, device=device), max(2, 6000 // size[0] ** 2)
            cell = model.place(Queries.grid((side, side), size, device=device)).cell

            def usual(model=model, plain=plain, image=image, size=size, cell=cell):
                with torch.no_grad():
                    unit = model.normalisation.into(image)
                    return model.normalisation.out_of(enlarge(plain, edsr(model.encoder, unit), unit, size, cell=cell))

            ours = lambda model=model, image=image, size=size: model.upscale(image, size=size)  # noqa: E731
            forms = {name: lambda f=f, n=often: [f() for _ in range(n)] for name, f in (("(a) published", usual), ("ours", ours))}
            in_turn(clock, forms, 1)
            note(rows, f"{side}x{side} x{scale:g}", method, in_turn(clock, forms, 2 * rounds + 1), often / 1e3, "ms", {})


def training(rows: list, device: str, clock: Clock, rates: dict, methods: tuple, rounds: int, batch: int = 4) -> None:
    "A step of EDSR-baseline and the decoder: forward, L1, backward, Adam; patches of 48, 2304 queries each."
    store = PictureStore(["coffee"], [demo_photo("coffee")])
    for method in methods:
        chosen = recipe("TrainSimple", batch=batch, iterations=1, epochs=1)
        data = next(Samples(store, chosen.patch, chosen.scale_range, batch).epoch(0, 1, device=device))
        learners = {
            name: Learner(configure("EDSR", method, chosen, 0, "", "", {}, {}, name), device) for name in ("float32", "bf16")
        }
        model = configure("EDSR", method, chosen, 0, "", "", {}, {}).build().to(device).train()
        plain = PLAIN[method](model.decoder)
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-4)
        queries = model.place(data.queries)
        coord = torch.stack([queries.rows, queries.columns], -1).unflatten(1, queries.shape)

        def step(narrow=False, model=model, plain=plain, optimiser=optimiser, queries=queries, coord=coord, data=data):
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=narrow):
                image = model.normalisation.into(data.image)
                out = plain.query(plain.generate(edsr(model.encoder, image), image), coord, queries.cell.expand(batch, 2))
                loss = (out.float() - model.normalisation.into(data.target)).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()

        forms = {
            "(a) published": step,
            "(b) bf16 autocast": lambda: step(True),
            "ours": lambda: learners["float32"].learn(data, 1e-4),
            "ours bf16": lambda: learners["bf16"].learn(data, 1e-4),
        }
        for name in ("ours", "ours bf16"):
            forms[name]()
        seconds = in_turn(clock, forms, rounds)
        work = flops(lambda: learners["float32"].learn(data, 1e-4))
        note(rows, "training", method, seconds, 1, "s a step", {name: work / rate / 1e9 for name, rate in rates.items()})


def encoder(rows: list, device: str, clock: Clock, rates: dict, rounds: int) -> None:
    "EDSR-baseline over 510x339 pixels."
    torch.manual_seed(0)
    model = build_model("EDSR", "LIIF").to(device).eval().requires_grad_(False)
    image, narrow = torch.rand(1, 3, 339, 510, device=device), model.under(precision="bf16")
    with torch.inference_mode():

        def autocast():
            with torch.autocast(device.split(":")[0], torch.bfloat16):
                edsr(model.encoder, image)

        forms = {"(a) published": lambda: edsr(model.encoder, image), "(b) bf16 autocast": autocast}
        forms |= {"ours": lambda: model.encode(image), "ours bf16": lambda: narrow.encode(image)}
        seconds = in_turn(clock, forms, max(3, rounds))
        work = flops(lambda: model.encode(image))
    note(rows, "encoder", "EDSR-baseline", seconds, 1, "s", {name: work / rate / 1e9 for name, rate in rates.items()})


def data(rows: list, rounds: int, seconds: float) -> None:
    "Training samples a CPU-second from pictures of 2040x1356."
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "pictures"
        make_pictures(folder, 4)
        paths = sorted(folder.glob("*.png"))
        store = PictureStore.read(folder, keep="disk", cache=Path(room) / "cache")
        batches = Samples(store, PATCH, SCALES, 32, make="host").epoch(0, 10**9)
        makers = {"(a) decode each": published(paths), "(b) float cache": float_cache(paths), "ours": lambda: len(next(batches).scale)}
        rates = {name: [] for name in makers}
        for _ in range(max(3, rounds)):
            for name, make in makers.items():
                start, made = time.process_time(), 0
                while time.process_time() - start < seconds:
                    made += make()
                rates[name].append(made / (time.process_time() - start))
    for name, found in rates.items():
        ratios = [b / a for a, b in zip(rates["(a) decode each"], found, strict=True)]
        wanted = 325 if name == "ours" else None
        row = {"job": "data path", "method": "", "form": name, "unit": "samples a CPU-s", "time": statistics.median(found)}
        rows.append(row | {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "wanted": wanted})
        print(f"data path                {name:26s} {row['time']:9.4g} {row['unit']:14s} {rows[-1]['ratio']:7.1f}x")
    ratios = [b / a for a, b in zip(rates["(b) float cache"], rates["ours"], strict=True)]
    row = {"job": "data path", "method": "", "form": "ours to float cache", "unit": "", "time": None, "wanted": 3}
    rows.append(row | {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)})
    print(f"data path                ours to (b) float cache    {'':24s} {rows[-1]['ratio']:7.2f}x (wanted 3)")


PEAK = """
import sys, torch
from inr_assr import build_model
from inr_assr.foundations.memory import taken_memory
torch.set_num_threads(1)
model = build_model("EDSR", sys.argv[1]).eval()
model.upscale(torch.rand(1, 3, 70, 70), 2)
image = torch.rand(1, 3, 339, 510)
start = taken_memory()
model.upscale(image, 4)
print((taken_memory() - start) / 1e6)
"""


def memory(rows: list, methods: tuple) -> None:
    "The most that the system counted for a process above its start, while it made 2040x1356 of 510x339; the result is in it."
    for method in methods:
        if method == "CiaoSR":
            continue  # its search is quadratic in the picture
        done = subprocess.run([sys.executable, "-c", PEAK, method], capture_output=True, text=True, check=True)
        row = {"job": "peak memory", "method": method, "form": "ours", "unit": "MB", "time": float(done.stdout), "wanted": 300}
        rows.append(row)
        print(f"memory    {method:14s} {row['time']:36.0f} MB above the start (wanted at most 300)", flush=True)


def start(rows: list) -> None:
    "Seconds until the command line answers, and what importing the package adds to torch."
    command = Path(sys.executable).with_name("inr-assr")
    walls, adds = [], []
    code = "import time, torch; s = time.perf_counter(); import inr_assr; inr_assr.build_model; print(time.perf_counter() - s)"
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([command, "--help"], capture_output=True, check=True)
        walls.append(time.perf_counter() - begin)
        adds.append(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout))
    for name, found, wanted in (("inr-assr --help", walls, 0.5), ("import inr_assr and build_model, after torch", adds, 0.3)):
        rows.append({"job": "start", "method": "", "form": name, "unit": "s", "time": statistics.median(found), "wanted": wanted})
        print(f"start     {name:45s} {statistics.median(found):6.3f} s (wanted at most {wanted})")


def machine(device: str) -> str:
    "What this was measured on, in words."
    if device.startswith("cuda"):
        return device_name(device)
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    flags = info.read_text() if info.exists() else ""
    more = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return f"{names[0] if names else platform.processor()} ({', '.join(more) or platform.machine()}), one thread"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some of it, in under 3 minutes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="start,encoder,data,evaluation,small,training,memory")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--scales", default="")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--out", default="outputs/benchmarks")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clock, rows, parts = Clock(asked.device), [], asked.only.split(",")
    methods = tuple(name for name in asked.methods.split(",") if not asked.quick or name in ("LIIF", "MetaSR"))
    rounds = asked.rounds or (2 if asked.quick else 3)
    scales = tuple(map(float, asked.scales.split(","))) if asked.scales else (4.0,) if asked.quick else (4.0, 1.0, 2.0, 2.7, 3.0, 12.0)
    rates = machine_rates(asked.device, clock)
    where = machine(asked.device)
    print(f"{where}, torch {torch.__version__.split('+')[0]}; matrix products " + ", ".join(f"{v:.0f} GFLOP/s in {k}" for k, v in rates.items()))
    cpu = asked.device == "cpu"
    folder, jobs = Path(asked.out), []
    if "start" in parts and cpu:
        jobs.append(lambda: start(rows))
    if "encoder" in parts:
        jobs.append(lambda: encoder(rows, asked.device, clock, rates, rounds))
    if "data" in parts and cpu:
        jobs.append(lambda: data(rows, rounds, 0.5 if asked.quick else 2.0))
    if "evaluation" in parts:
        each = [((scale,), (method,)) for scale in scales for method in methods]
        jobs += [lambda e=e: evaluation(rows, asked.device, clock, rates, *e, min(rounds, 3)) for e in each]
    if "small" in parts and not asked.quick:
        jobs += [lambda m=m: small(rows, asked.device, clock, (m,), rounds) for m in methods]
    if "training" in parts:
        jobs += [lambda m=m: training(rows, asked.device, clock, rates, (m,), rounds) for m in methods]
    if "memory" in parts and cpu and not asked.quick:
        jobs += [lambda m=m: memory(rows, (m,)) for m in methods]
    for job in jobs:  # each is written down at once
        job()
        if rows:
            write(rows, folder, where, rates)
    print(f"written: {folder}")


def write(rows: list, folder: Path, where: str, rates: dict) -> None:
    "The table as CSV and for people; what was timed before and not now stays in it."
    name = "".join(c if c.isalnum() else "_" for c in where.partition(" (")[0].replace("(R)", "")).strip("_").lower()
    table, file = pd.DataFrame(rows).assign(gflops=round(rates["float32"])), folder / f"{name}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        before = pd.read_csv(file, dtype={"method": str, "unit": str}).fillna({"method": "", "unit": ""})
        table = pd.concat([before, table]).drop_duplicates(["job", "method", "form"], keep="last")
    table.to_csv(file, index=False, float_format="%.5g")
    shown = table.copy()
    for column in ("time", "ratio", "low", "high", "of the floor"):
        if column in shown:
            shown[column] = [None if pd.isna(v) else f"{v:.3g}" for v in shown[column]]
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns)]
    lines += ["| " + " | ".join("" if pd.isna(v) else str(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    title = f"# Against the published structure\n\n{where}; torch {torch.__version__.split('+')[0]}"
    told = f"\n\n{__doc__.split(chr(10) * 2)[2]}\nRatios are to (a) of the same job; 'of the floor' is the floor's time by ours; gflops is the rate of float32 products at that time, which other work on the machine lowers. `make bench` makes this file.\n\n"
    (folder / f"{name}.md").write_text(title + "." + told + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
