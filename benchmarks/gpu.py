"""What happens on a GPU: one script that runs all of it on a device, prints a table and writes it to outputs/benchmarks.

python benchmarks/gpu.py [--device cuda] [--seconds 540] [--only conformance,training,...] [--out outputs/benchmarks]

Each part runs in a process of its own with a share of the time, so that a failure, even one that ruins the device for its process,
is a line of the table and the rest goes on. `--device cpu` runs the same parts with smaller sizes. The exit code is 1 where a line failed.
"""

import argparse
import contextlib
import copy
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from statistics import median
from types import SimpleNamespace

SHARES = {  # of the time, for each part
    "conformance": 0.18, "waits": 0.1, "training": 0.08, "memory": 0.06, "resume": 0.16, "enlarging": 0.14, "testing": 0.06, "speed": 0.12,
    "compile": 0.06, "graph": 0.04,
}  # fmt: skip
COLUMNS = ("part", "case", "value", "unit", "verdict", "note")


class Rows(list):
    "The lines of a part."

    def __init__(self, part: str, device: str, seconds: float):
        super().__init__()
        self.part, self.device, self.end = part, device, time.monotonic() + seconds
        self.gpu = device.startswith("cuda")

    def add(self, case: str, value=None, unit: str = "", verdict: str = "measured", note: str = "") -> None:
        self.append(dict(zip(COLUMNS, (self.part, case, value, unit, verdict, note), strict=True)))
        print(json.dumps(self[-1]), flush=True)

    def within(self, case: str, value: float, limit: float, unit: str = "relative difference", note: str = "") -> None:
        "A difference that may be so large at most."
        self.add(case, value, unit, "ok" if value <= limit else "failed", note or f"at most {limit:g}")

    @contextlib.contextmanager
    def guarded(self, case: str):
        "A failure is a line, and no time left is one too."
        if time.monotonic() > self.end:
            self.add(case, verdict="skipped", note="no time was left for it")
            yield False
            return
        try:
            yield True
        except subprocess.TimeoutExpired:
            self.add(case, verdict="skipped", note="no time was left for it")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.add(case, verdict="failed", note=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''} ({Path(where.filename).name}:{where.lineno})")


def far(found, wanted) -> float:
    "The largest difference, as a part of the largest value (or of 1)."
    wanted = wanted.detach().cpu().double()
    return (found.detach().cpu().double() - wanted).abs().max().item() / max(1.0, wanted.abs().max().item())


def small(encoder: str, decoder: str):
    import torch

    from inr_assr import build_model
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.encoders.contract import ENCODERS

    torch.manual_seed(0)
    return build_model(encoder, decoder, ENCODERS[encoder].small, DECODERS[decoder].small)


def store(count: int = 4, side: int = 256):
    import numpy as np

    from inr_assr.data.pictures import PictureStore

    pictures = [np.random.default_rng(i).integers(0, 256, (side, side + 16 * i, 3), np.uint8) for i in range(count)]
    return PictureStore([f"picture{i}" for i in range(count)], pictures)


def learner(device: str, precision: str = "float32", method: str = "LIIF", sizes: dict | None = None, **options):
    from inr_assr.training.loop import Learner
    from inr_assr.training.recipes import recipe
    from inr_assr.training.runs import configure

    chosen = recipe("TrainSimple", **options)
    return Learner(configure("EDSR", method, chosen, 0, "", "", *(sizes or {}).values(), precision=precision), device), chosen


SMALL = {"encoder_options": {"blocks": 2, "features": 16}, "decoder_options": {"hidden": [32, 32]}}


def batches(device: str, patch: int, batch: int, count: int, make: str = "auto"):
    from inr_assr.data.samples import Samples

    return Samples(store(), patch, (1.0, 4.0), batch, make=make).epoch(0, count, 0, device)


def clocked(device: str, work, times: int = 5) -> float:
    "Seconds of a call, the median of some, after one that is not counted."
    from inr_assr.foundations.devices import synchronise

    seconds = []
    for _ in range(times + 1):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def conformance(rows: Rows) -> None:
    "Every encoder and decoder on the device against the CPU: grids, points and gradients, float32."
    import torch

    from inr_assr.decoders.contract import DECODERS
    from inr_assr.encoders.contract import ENCODERS
    from inr_assr.foundations.coordinates import Queries
    from inr_assr.foundations.devices import arithmetic
    from inr_assr.models.conformance import colours_at

    image, coord = torch.rand(2, 3, 24, 24), torch.rand(2, 24, 24, 2) * 1.9 - 0.95
    targets = torch.tensor([[52.0, 52.0], [90.0, 90.0]])

    def learned(model, device):
        model, x = model.to(device).train(), image.to(device)
        with arithmetic(device):
            colours = model.query(model.prepare(x), Queries.points((24, 24), coord.to(device), targets))
            colours.square().mean().backward()
        return colours, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    for name in ENCODERS:
        with rows.guarded(f"encoder {name}") as go, torch.no_grad():
            if go:
                model, x = small(name, "LIIF").eval(), image
                wanted = model.encode(model.network_image(x))
                model, x = model.to(rows.device), x.to(rows.device)
                rows.within(f"encoder {name}", far(model.encode(model.network_image(x)), wanted), 1e-4)
    for name in DECODERS:
        with rows.guarded(f"decoder {name}") as go:
            if go:
                worst = max(
                    far(colours_at(small("EDSR", name).to(rows.device), image[:1].to(rows.device), size, 700), colours_at(small("EDSR", name), image[:1], size, 700))
                    for size in ((48, 48), (65, 65))
                )
                rows.within(f"decoder {name}, grids x2 and x2.7", worst, 1e-4)
                pairs = zip(learned(small("EDSR", name), rows.device), learned(small("EDSR", name), "cpu"), strict=True)
                (colours, gradients) = (far(a, b) for a, b in pairs)
                rows.within(f"decoder {name}, points", colours, 1e-4)
                rows.within(f"decoder {name}, gradients", gradients, 1e-3)


def waits(rows: Rows) -> None:
    "Training steps of every decoder while PyTorch forbids to wait for the GPU."
    import torch

    from inr_assr.decoders.contract import DECODERS

    for name in DECODERS:
        with rows.guarded(f"step of {name}") as go:
            if not go:
                continue
            one, chosen = learner(rows.device, method=name, sizes={"e": {"blocks": 1, "features": 8}, "d": DECODERS[name].small}, patch=12, batch=2)
            some = batches(rows.device, 12, 2, 3, "device")
            one.learn(next(some), 1e-4)  # pictures and constants are brought there once
            if rows.gpu:
                torch.cuda.set_sync_debug_mode("error")
            try:
                for batch in some:
                    loss = one.learn(batch, 1e-4)
            finally:
                if rows.gpu:
                    torch.cuda.set_sync_debug_mode("default")
            rows.add(f"step of {name}", loss.item(), "loss", "ok", "no wait" if rows.gpu else "nothing to wait for on a CPU")


def training(rows: Rows) -> None:
    "The same twenty steps on the device and on the CPU."
    import torch

    for precision, limit in (("float32", 1e-3), ("bf16", 3e-2), *((("tf32", 1e-2),) if rows.gpu else ())):
        with rows.guarded(f"20 steps, {precision}") as go:
            if go:
                losses = []
                for device, how in ((rows.device, precision), ("cpu", "float32")):
                    one, _ = learner(device, how, sizes=SMALL, patch=24, batch=4)
                    found = [one.learn(batch, 4e-4) for batch in batches(device, 24, 4, 20, "device" if device != "cpu" else "host")]
                    losses.append(torch.stack(found).cpu())
                rows.within(f"20 steps, {precision}, losses against the CPU's in float32", far(*losses), limit)


def resume(rows: Rows) -> None:
    "A training by the command line: twice whole, and once killed after its first epoch and taken up again."
    import torch

    from inr_assr.data.pictures import write_demo_photos

    command = str(Path(sys.executable).with_name("inr-assr"))
    with tempfile.TemporaryDirectory() as folder, rows.guarded("resume"):
        photos, _ = write_demo_photos(Path(folder))
        words = ["--encoder", "EDSR", "--decoder", "LIIF", "--option", "encoder.blocks=2", "--option", "encoder.features=16", "--option", "decoder.hidden=[32,32]"]
        words += ["--option", "recipe.patch=24", "--option", "recipe.batch=4", "--epochs", "3", "--iterations", "20", "--device", rows.device, "--data", str(photos)]

        def start(root: str) -> subprocess.Popen:
            return subprocess.Popen([command, "train", *words, "--root", f"{folder}/{root}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def finish(root: str) -> dict:
            process = start(root)
            try:
                said, _ = process.communicate(timeout=max(10.0, rows.end - time.monotonic()))
            finally:
                process.kill()
            if process.returncode:
                raise RuntimeError(said.strip().splitlines()[-1])
            return torch.load(next(Path(folder, root).rglob("last.pth")), map_location="cpu", weights_only=True)

        whole = finish("whole")
        killed = start("killed")
        while killed.poll() is None and not list(Path(folder, "killed").rglob("last.pth")) and time.monotonic() < rows.end:
            time.sleep(0.02)
        killed.kill()
        killed.communicate()
        again, second = finish("killed"), finish("second")
        rows.add("killed after the first epoch, taken up again", again["epoch"], "epochs", "ok" if again["epoch"] == whole["epoch"] else "failed")
        for name, other in (("a second whole run", second), ("the one taken up again", again)):
            pairs = list(zip(whole["weights"].values(), other["weights"].values(), strict=True))
            same = all(torch.equal(a, b) for a, b in pairs)
            largest = max(far(a.float(), b.float()) for a, b in pairs if a.is_floating_point())
            note = "bit by bit the same" if same else "not bit by bit the same: sums on a GPU have no fixed order"
            rows.add(f"{name}: weights against the first", largest, "relative difference", "ok" if same or (rows.gpu and largest < 1e-2) else "failed", note)
        rates = [record["learning_rate"] for record in whole["records"]] == [record["learning_rate"] for record in again["records"]]
        rows.add("learning rates of a run taken up again", verdict="ok" if rates else "failed", note="the same" if rates else "others")


def memory(rows: Rows) -> None:
    "Memory that runs out in the middle of a picture: blocks and tiles are halved, and the answer stays."
    import torch

    model, image = small("EDSR", "LIIF").to(rows.device), torch.rand(1, 3, 48, 64, device=rows.device)
    wanted, query = model.upscale(image, 3), model.decoder.query

    def scarce(state, queries, *more):
        if queries.shape[0] * queries.shape[1] > 800:
            raise torch.OutOfMemoryError("out of memory (pretended)")
        return query(state, queries, *more)

    with rows.guarded("pretended") as go:
        if go:
            model.decoder.query = scarce
            rows.within("pretended: no more than 800 queries fit", far(model.upscale(image, 3), wanted), 1e-5)
            del model.decoder.query
    if rows.gpu:
        with rows.guarded("true") as go:
            if go:
                from inr_assr import build_model

                torch.manual_seed(0)
                full, picture = build_model("EDSR", "LIIF").to(rows.device), torch.rand(1, 3, 300, 300, device=rows.device)
                wanted = full.upscale(picture, 4)
                torch.cuda.empty_cache()
                total = torch.cuda.get_device_properties(rows.device).total_memory
                torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved(rows.device) + 600e6) / total), rows.device)
                found = full.upscale(picture, 4, tiling="whole")
                torch.cuda.set_per_process_memory_fraction(1.0, rows.device)
                rows.within("true: 600 MB for EDSR-LIIF, 300x300 x4", far(found, wanted), 1e-4)


def enlarging(rows: Rows) -> None:
    "Pictures of 2K and 4K at x4 with published sizes of networks; on a CPU smaller ones."
    import torch

    from inr_assr import build_model

    sizes = {"2K": (339, 510), "4K": (540, 960)} if rows.gpu else {"1/64 of 2K": (42, 64), "1/16 of 2K": (85, 128)}
    for method in ("LIIF", "LTE"):
        torch.manual_seed(0)
        model = build_model("EDSR", method).to(rows.device)
        for name, (h, w) in sizes.items():
            image = torch.rand(1, 3, h, w, device=rows.device)
            for precision in ("float32", *(("tf32",) if rows.gpu else ()), "bf16"):
                with rows.guarded(f"{method} {name} x4, {precision}") as go:
                    if go:
                        under = model.under(precision=precision)
                        if rows.gpu:
                            torch.cuda.reset_peak_memory_stats(rows.device)
                        seconds = clocked(rows.device, lambda under=under, image=image: under.upscale(image, 4), 3 if rows.gpu else 1)
                        held = f"{torch.cuda.max_memory_allocated(rows.device) / 1e9:.2f} GB at most" if rows.gpu else ""
                        rows.add(f"upscale {method} to {name} ({4 * w}x{4 * h}), {precision}", seconds, "s", note=held)


def testing(rows: Rows) -> None:
    "`inr-assr test` as a person starts it, on 2K pictures (a CPU: small ones)."
    import torch
    from PIL import Image

    from inr_assr import build_model
    from inr_assr.models.checkpoints import save_model

    command = str(Path(sys.executable).with_name("inr-assr"))
    with tempfile.TemporaryDirectory() as folder, rows.guarded("test"):
        torch.manual_seed(0)
        place = Path(folder, "pictures")
        place.mkdir()
        for i, picture in enumerate(store(2).pictures):
            Image.fromarray(picture[:96, :120]).resize((2040, 1356) if rows.gpu else (240, 192)).save(place / f"{i}.png")
        weights = save_model(build_model("EDSR", "LIIF"), Path(folder, "model.pth"))
        start = time.perf_counter()
        words = [command, "test", "--weights", str(weights), "--benchmark", str(place), "--scales", "2,4", "--profile", "ours", "--device", rows.device]
        found = subprocess.run(words, capture_output=True, text=True, timeout=max(10.0, rows.end - time.monotonic()))
        seconds = time.perf_counter() - start
        if found.returncode:
            raise RuntimeError((found.stderr or found.stdout).strip().splitlines()[-1])
        rows.add(f"inr-assr test, 2 pictures of {'2040x1356' if rows.gpu else '240x192'} at x2 and x4, start included", seconds, "s", note=found.stdout.strip().splitlines()[-1])


def speed(rows: Rows) -> None:
    "TrainSimple: steps a second, and how much of the time the device is busy."
    import torch

    batch, patch, steps = (32, 48, 60) if rows.gpu else (2, 48, 3)
    ways = [(p, make) for p in ("float32", *(("tf32",) if rows.gpu else ()), "bf16") for make in (("device", "host") if rows.gpu else ("host",))]
    for precision, make in ways:
        with rows.guarded(f"{precision}, samples from the {make}") as go:
            if go:
                one, _ = learner(rows.device, precision, patch=patch, batch=batch)
                some = batches(rows.device, patch, batch, 2 * steps + 3, make)
                for _ in range(3):
                    one.learn(next(some), 4e-4)
                seconds = clocked(rows.device, lambda one=one, some=some: [one.learn(next(some), 4e-4) for _ in range(steps)], 1) if rows.gpu else clocked(
                    rows.device, lambda one=one, some=some: one.learn(next(some), 4e-4), 1
                ) * steps
                rows.add(f"TrainSimple EDSR-LIIF, batch {batch}, {precision}, samples from the {make}", steps / seconds, "steps/s")
                if rows.gpu:
                    some = batches(rows.device, patch, batch, 25, make)
                    one.learn(next(some), 4e-4)
                    torch.cuda.synchronize(rows.device)
                    start = time.perf_counter()
                    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                        for data in some:
                            one.learn(data, 4e-4)
                        torch.cuda.synchronize(rows.device)
                        wall = time.perf_counter() - start
                    busy = sum(getattr(e, "self_device_time_total", 0) for e in profile.key_averages()) / 1e6
                    rows.add(f"the same: share of time the GPU is busy ({precision}, {make})", busy / wall, "", note="kernels' time by the profiler, which slows the host")


def compile(rows: Rows) -> None:
    "`torch.compile` of the encoder, and of a decoder at points."
    import torch

    torch.manual_seed(0)
    with rows.guarded("torch.compile, encoder") as go, torch.no_grad():
        if go:
            model = small("EDSR", "LIIF").to(rows.device).eval()
            maps = model.network_image(torch.rand(1, 3, 64, 64, device=rows.device))
            start = time.perf_counter()
            compiled = torch.compile(model.encoder)
            answer = compiled(maps)
            rows.add("torch.compile, EDSR: first call", time.perf_counter() - start, "s")
            rows.within("torch.compile, EDSR", far(answer, model.encoder(maps)), 1e-4)
            rows.add("torch.compile, EDSR: plain / compiled", clocked(rows.device, lambda: model.encoder(maps)) / clocked(rows.device, lambda: compiled(maps)), "times")
    with rows.guarded("torch.compile, training step") as go:
        if go:
            one, _ = learner(rows.device, sizes=SMALL, patch=24, batch=4)
            other, _ = learner(rows.device, sizes=SMALL, patch=24, batch=4)
            other.net = torch.compile(other.net)
            data = next(batches(rows.device, 24, 4, 1, "device"))
            rows.within("torch.compile, a training step's loss", far(other.learn(data, 4e-4), one.learn(data, 4e-4)), 1e-4)


def graph(rows: Rows) -> None:
    "One CUDA graph for a whole training step on a batch that stays in its place."
    import torch

    if not rows.gpu:
        rows.add("CUDA graph of a training step", verdict="skipped", note="only CUDA has graphs")
        return
    with rows.guarded("CUDA graph of a training step") as go:
        if go:
            one, _ = learner(rows.device, patch=48, batch=16)
            one.optimiser = torch.optim.Adam(one.learned, torch.tensor(1e-4, device=rows.device), fused=True, capturable=True)
            data = next(batches(rows.device, 48, 16, 1, "device"))

            def step():
                one.optimiser.zero_grad(set_to_none=True)
                colours = one.net(SimpleNamespace(image=data.image, queries=copy.copy(data.queries), target=None))
                (2 * colours - 2 * data.target).abs().mean().backward()
                one.optimiser.step()

            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            plain, captured = clocked(rows.device, step, 20), torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                step()
            replayed = clocked(rows.device, captured.replay, 20)
            rows.add("CUDA graph of a training step, EDSR-LIIF, batch 16", 1 / replayed, "steps/s", note=f"{plain / replayed:.2f} times as many as without")


PARTS = {f.__name__: f for f in (conformance, waits, training, memory, resume, enlarging, testing, speed, compile, graph)}


def about(device: str) -> str:
    import torch

    from inr_assr.foundations.devices import device_name

    name = device_name(device) if device != "cpu" else platform.processor() or platform.machine()
    if device == "cpu" and Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, torch {torch.__version__}{f', CUDA {torch.version.cuda}' if torch.version.cuda else ''}, {torch.get_num_threads()} threads"


def collect(part: str, device: str, seconds: float, most: float) -> list[dict]:
    "The lines of a part from a process of its own, which has so many seconds for its cases, and for all at most so many; what it had said before it ended is kept."
    command = [sys.executable, __file__, "--part", part, "--device", device, "--seconds", f"{seconds:.0f}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = ""
    try:
        said, errors = process.communicate(timeout=most)
        if process.returncode:
            ended = f"exit code {process.returncode}: {(errors.strip().splitlines() or [''])[-1][:200]}"
    except subprocess.TimeoutExpired:
        process.kill()
        said, errors = process.communicate()
        ended = "ran past its time"
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [*found, dict(zip(COLUMNS, (part, "its process", None, "", "failed", ended), strict=True))] if ended else found


def line(row: dict) -> str:
    value = "" if row["value"] is None else f"{row['value']:.3g} {row['unit']}".strip()
    return f"{row['verdict']:9} {row['part']:12} {row['case']:66} {value:28} {row['note']}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=480, help="for all parts together; each has its share")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--out", default="outputs/benchmarks")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        importlib.import_module("inr_assr.training.loop")  # which takes a while, and is no part's own time
        PARTS[asked.part](Rows(asked.part, asked.device, asked.seconds))
        return 0
    if unknown := [name for name in asked.only.split(",") if name not in PARTS]:
        print(f"only: {unknown[0]!r} is not known. Valid: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    import torch

    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("device: PyTorch finds no CUDA device here; give --device cpu (make gpu DEVICE=cpu).", file=sys.stderr)
        return 2
    head, rows = f"gpu: {about(asked.device)}", []
    print(head, flush=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1" if asked.device == "cpu" else str(min(8, os.cpu_count() or 1)))
    parts, begin = asked.only.split(","), time.monotonic()
    for i, part in enumerate(parts):
        left = asked.seconds - (time.monotonic() - begin)  # what a part leaves goes to those after it
        seconds = max(5.0, left * SHARES[part] / sum(SHARES[name] for name in parts[i:]))
        found = collect(part, asked.device, seconds, min(1.5 * seconds + 45, max(5.0, left + 30)))
        rows += found
        print(*map(line, found), sep="\n", flush=True)
    out = Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    import pandas as pd

    file = out / f"gpu-{asked.device.replace(':', '')}.csv"
    pd.DataFrame(rows, columns=COLUMNS).assign(machine=head.removeprefix("gpu: ")).to_csv(file, index=False)
    failed = sum(row["verdict"] == "failed" for row in rows)
    print(f"gpu: {len(rows)} lines, {failed} failed; {file}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
