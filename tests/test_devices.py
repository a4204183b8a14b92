"Devices without having one: the whole package on a device that only says it is one, and what would break on a GPU, with CUDA's answers made up."

import contextlib
import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, cli

from inr_assr.data import samples as sampling
from inr_assr.data.pictures import PictureStore
from inr_assr.data.samples import Samples, cut_out
from inr_assr.foundations import devices
from inr_assr.foundations.devices import alike, arithmetic, check_precision, constant, device_name, indexed, on_device, on_host, synchronise
from inr_assr.foundations.errors import InputError
from inr_assr.foundations.memory import attempt
from inr_assr.models.model import build_model
from inr_assr.training.processes import launch

FAKE = ROOT / "tests" / "fake_device.py"


@pytest.fixture(scope="session")
def seen(tmp_path_factory) -> list[dict]:
    "What everything did on the device, from a process of its own."
    found = subprocess.run([sys.executable, FAKE], capture_output=True, text=True, cwd=tmp_path_factory.mktemp("device"))
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout)


def of(seen: list[dict], *checks: str) -> list[dict]:
    rows = [row for row in seen if row["check"] in checks]
    assert {row["check"] for row in rows} == set(checks)
    return rows


def test_the_fake_device_sees_what_it_is_for(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(FAKE.parent)!r})
from fake_device import *
with Device() as device:
    a = torch.rand(3, 4, device=NAME)
    for work in (a.sum().item, lambda: bool(a.sum() > 0), a.nonzero, lambda: a[a > 0.5], lambda: a[0].tolist(), a.cpu, lambda: a.flatten().unique()):
        before = device.waits.total()
        work()
        assert device.waits.total() == before + 1, work
    a + torch.tensor(1.0), a * 2, a[1:].clone(), a.gather(0, torch.zeros(1, 4, dtype=torch.int64, device=NAME))
    assert device.waits.total() == before + 1
    for work in (lambda: a + torch.zeros(4), lambda: a[torch.tensor([0, 1])], lambda: torch.cat([a, torch.zeros(3, 4)])):
        try:
            work()
        except RuntimeError as error:
            assert "two devices" in str(error)
        else:
            raise AssertionError("mixing was not seen")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stderr[-2000:]


def test_nothing_mixes_devices_and_the_numbers_are_the_cpus(seen):
    wrong = [(row["check"], row["case"], row["error"]) for row in seen if row["error"]]
    assert not wrong, wrong
    differ = [(row["check"], row["case"], row["far"]) for row in seen if row["far"] > 2e-6]
    assert not differ, differ


def test_no_training_step_waits_for_the_device(seen):
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.training.recipes import RECIPES

    rows = of(seen, "encoders", "points", "samples", "losses", "steps")
    waits = [(row["check"], row["case"], row["waits"]) for row in rows if row["waits"]]
    assert not waits, waits
    cases = " ".join(row["case"] for row in of(seen, "steps"))
    assert all(name in cases for name in [*DECODERS, *(RECIPES[name].name for name in RECIPES)])


def test_a_training_step_brings_nothing_to_the_device_that_is_waited_for(seen):
    once = {"data/pictures.py on", "training/loop.py learn"}  # the pictures; and what a running mean begins with
    rows = [(row["case"], row["uploads"]) for row in of(seen, "steps") if set(row["uploads"]) - once]
    assert not rows, rows


def test_a_picture_is_waited_for_once_at_most(seen):
    looks = {"upscale LTE looks": 8}  # pictures that are enlarged
    rows = [(row["case"], row["waits"]) for row in of(seen, "grids", "tiling") if sum(row["waits"].values()) > looks.get(row["case"], 1)]
    assert not rows, rows


def test_the_table_of_waits_is_the_one_in_the_notebook(seen):
    "The table in the notebook of conformance is what this test sees: change the one with the other."
    text = (ROOT / "nbs" / "models" / "43_conformance.ipynb").read_text()
    for check in dict.fromkeys(row["check"] for row in seen):
        rows = of(seen, check)
        most, places = max(sum(row["waits"].values()) for row in rows), sorted({place for row in rows for place in row["waits"]})
        line = f"| {check} | {most} | {', '.join(f'`{place}`' for place in places) or 'none'} |"
        assert line in text, line


def test_cuda_without_a_number_is_the_current_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert indexed("cuda") == torch.device("cuda:0") and indexed("cuda:1") == torch.device("cuda:1") and indexed("cpu") == torch.device("cpu")
    store = PictureStore(["a"], [np.zeros((9, 9, 3), np.uint8)])
    store.held = held = (SimpleNamespace(device=torch.device("cuda:0")), None)
    assert store.on("cuda") is held and store.on(torch.device("cuda:0")) is held  # not brought there again
    assert Samples(store, 4, (1.0, 2.0), 2).held_on(torch.device("cuda"))


@pytest.fixture
def gpu(monkeypatch):
    "CUDA's answers, made up: of which kind the GPU is."

    def pretend(capability: tuple[int, int]):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"a GPU, number {torch.device(device).index}")

    return pretend


def switches() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("before", [(True, True), (False, False), (True, False)])
def test_float32_is_float32_and_what_was_set_comes_back(gpu, before):
    gpu((9, 0))
    kept = switches()
    try:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
        with arithmetic("cuda:0"):
            assert switches() == (False, False)
        assert switches() == before
        with arithmetic("cuda:0", "tf32"):
            assert switches() == (True, True)
        with pytest.raises(ZeroDivisionError), arithmetic("cuda:0"):
            1 / 0
        assert switches() == before
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


def test_float32_is_float32_where_the_newer_switches_are_used(gpu):
    gpu((9, 0))
    code = """
import torch
from inr_assr.foundations.devices import arithmetic
torch.backends.cudnn.conv.fp32_precision = "ieee"  # the older switches cannot be read now
torch.backends.cuda.matmul.fp32_precision = "tf32"
with arithmetic("cuda:0"):
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
assert (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision) == ("ieee", "tf32")
"""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has the older switches only")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_precision_that_the_device_has_not_is_refused(gpu, tmp_path, weights, photos):
    gpu((7, 5))
    for precision in ("tf32", "bf16"):
        with pytest.raises(InputError, match=f"precision: '{precision}' needs .*compute capability 8 or above, and a GPU, number 1 is none. Valid here: float32"):
            check_precision(precision, "cuda:1")
    gpu((8, 0))
    assert [check_precision(p, "cuda:1") for p in devices.PRECISIONS] == list(devices.PRECISIONS)
    with pytest.raises(InputError, match="'tf32' needs an NVIDIA GPU .* cpu is none. Valid here: float32, bf16"):
        check_precision("tf32", "cpu")
    words = ["--weights", weights, "--scale", 2, "--device", "cpu", "--precision", "tf32", "-o", tmp_path / "out.png"]
    found = cli("upscale", next(photos.iterdir()), *words)
    assert found.returncode == 2 and found.stderr.startswith("inr-assr: precision: 'tf32' needs an NVIDIA GPU"), found


def test_rows_say_tf32_where_it_was_on():
    from inr_assr.testing.evaluation import Method
    from inr_assr.training.recipes import recipe
    from inr_assr.training.runs import configure

    model = build_model("EDSR", "LIIF", {"blocks": 1, "features": 8}, {"hidden": [8]})
    assert Method.of(model).facts()["precision"] == "float32" and Method.of(model.under(precision="tf32")).facts()["precision"] == "tf32"
    assert configure("EDSR", "LIIF", recipe("TrainSimple"), 0, "", "", precision="tf32").as_dict()["precision"] == "tf32"


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_training_step_goes_forth_and_back_in_its_precision(monkeypatch, precision):
    from inr_assr.training import loop
    from inr_assr.training.recipes import recipe
    from inr_assr.training.runs import configure

    on, seen = [], []

    @contextlib.contextmanager
    def watched(device, precision):
        with arithmetic(device, precision):
            on.append(precision)
            yield
            on.pop()

    monkeypatch.setattr(loop, "arithmetic", watched)
    crew = loop.Alone()
    crew.backward = lambda loss: (seen.append((*on, loss.dtype)), loss.backward())
    configuration = configure("EDSR", "LIIF", recipe("TrainSimple"), 0, "", "", {"blocks": 1, "features": 8}, {"hidden": [8]}, precision)
    store = PictureStore(["a"], [np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)])
    loop.Learner(configuration, crew=crew).learn(next(Samples(store, 12, (1.0, 4.0), 2).epoch(0, 1)), 1e-4)
    assert seen == [(precision, torch.float32)] and not on


def test_ciaosr_searches_in_full_precision_under_bf16():
    torch.manual_seed(0)
    model, image = build_model("EDSR", "CiaoSR", {"blocks": 1, "features": 8}, {"hidden": [16, 16]}), torch.rand(1, 3, 16, 20)
    full, half = (model.under(precision=p).upscale(image, 2.5) for p in ("float32", "bf16"))
    assert 0 < (full - half).abs().max() < 0.05


def test_samples_are_made_while_the_device_is_busy(monkeypatch):
    pictures = [np.random.default_rng(i).integers(0, 256, (60, 70, 3), np.uint8) for i in range(3)]
    samples = Samples(PictureStore(["a", "b", "c"], pictures), 12, (1.0, 4.0), 4, make="host")
    begun, pinned = [], []

    def watched(samples, drawn):
        begun.append(drawn)
        return cut_out(samples, drawn)

    monkeypatch.setattr(sampling, "cut_out", watched)
    batches = samples.epoch(0, 6, 0, "meta")  # a device that is not the CPU
    first = next(batches)
    assert first.image.device.type == "meta" and len(begun) >= 2
    assert len([first, *batches]) == len(begun) == 6
    assert [one for drawn in begun for one in drawn][0].picture == next(samples._drawn(np.random.default_rng([0, 0]), 1))[0].picture
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    made = list(samples._ahead(samples._drawn(np.random.default_rng(0), 3), cut_out, pinned=True))
    assert len(made) == 3 and len(pinned) == 3 * len(made[0][1])


def test_batches_come_in_their_order_whatever_they_take(monkeypatch):
    pictures = [np.random.default_rng(i).integers(0, 256, (60, 70, 3), np.uint8) for i in range(3)]
    samples = Samples(PictureStore(["a", "b", "c"], pictures), 12, (1.0, 4.0), 4, make="host")
    there = [batch.queries.pixels for batch in samples.epoch(3, 5, 1, "meta")]
    here = [batch.queries.pixels for batch in samples.epoch(3, 5, 1)]
    assert len(here) == 5 and all(torch.equal(on_host(a), b) for a, b in zip(there, here, strict=True))


def test_questions_to_cuda_name_the_device(gpu, monkeypatch):
    from inr_assr.models.costs import _where

    gpu((9, 0))
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: waited.append(device))
    synchronise("cuda:1"), synchronise("cpu")
    assert waited == [torch.device("cuda:1")]
    assert device_name("cuda:1") == "a GPU, number 1" and _where(48, "cuda:1") == "LR 48x48, a GPU, number 1"


def test_the_report_names_every_gpu(monkeypatch):
    from inr_assr.views.report import machine

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: ["A", "B", "B"][device or 0])
    assert machine()["GPU"] == "A, 2 x B"


@pytest.mark.parametrize(
    "words, is_memory",
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("Unable to find a valid cuDNN algorithm to run convolution", True),
        ("FIND was unable to find an engine to execute this computation", True),
        ("cuFFT error: CUFFT_ALLOC_FAILED", True),
        ("CUDA error: out of memory", True),
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("cuDNN error: CUDNN_STATUS_BAD_PARAM", False),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
    ],
)
def test_memory_that_ran_out_is_seen_whoever_says_so(words, is_memory):
    def work():
        raise RuntimeError(words)

    if is_memory:
        assert attempt(work) == (None, False)
    else:
        with pytest.raises(RuntimeError):
            attempt(work)


def test_one_device_cannot_be_several():
    with pytest.raises(InputError, match="'cuda:1' is one device, and 2 are asked for; give device='cuda'"):
        launch(print, devices=2, device="cuda:1")


def test_a_notebook_that_has_used_cuda_starts_no_processes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="this notebook has used CUDA already.*restart the kernel"):
        launch(print, devices=2, device="cuda")


def test_small_tensors_are_known_on_the_host():
    size = on_device(torch.tensor([[96.0, 64.0]]), "meta")
    cell = alike(lambda n: 2 / n, size)
    assert on_host(size).tolist() == [[96.0, 64.0]] and torch.equal(on_host(cell), 2 / torch.tensor([[96.0, 64.0]]))
    with torch.inference_mode():
        made = constant((0.5, 0.25), torch.zeros(1))
    assert not made.is_inference() and constant((0.5, 0.25), torch.zeros(2)) is made
    assert constant((0.5, 0.25), torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("gpu_script", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpu_script_runs_on_a_cpu_and_counts_failures(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--only", "memory,graph", "--out", str(tmp_path), "--seconds", "120"])
    assert script.main() == 0
    assert "ok" in capsys.readouterr().out and len((tmp_path / "gpu-cpu.csv").read_text().splitlines()) == 3
    rows = script.Rows("memory", "cpu", 60)
    with rows.guarded("broken"):
        raise ValueError("no good")
    rows.within("too far", 1.0, 0.5)
    late = script.Rows("memory", "cpu", -1)
    with late.guarded("late") as go:
        assert not go
    assert [row["verdict"] for row in [*rows, *late]] == ["failed", "failed", "skipped"] and "ValueError: no good" in rows[0]["note"]
    monkeypatch.setattr(script, "collect", lambda *words: list(rows))
    assert script.main() == 1
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cuda"])
    if not torch.cuda.is_available():
        assert script.main() == 2 and "make gpu DEVICE=cpu" in capsys.readouterr().err
