"""A device that no machine needs to have: tensors that say they lie on it, and compute their numbers on the CPU.

Started as a script, it runs encoders, decoders, sample making, losses, training steps, tiling and metrics there and prints what it saw
as JSON: where the host waited for the device (a value was read, or a shape depended on one), where tensors of two devices met, and how
far the numbers are from the CPU's. PyTorch's registration of a backend holds for a whole process, so tests start this in one of its own."""

import collections
import contextlib
import json
import sys
import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "fakegpu"


class Module(_DummyBackendModule):
    "What PyTorch asks of a backend."

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]


class OnDevice(torch.Tensor):
    "A tensor that says it lies on the device."

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        held = held.resolve_conj().resolve_neg()
        facts = {"dtype": held.dtype, "device": torch.device(NAME, 0), "requires_grad": False}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), **facts)

    def __init__(self, held: torch.Tensor):
        self.held = held.resolve_conj().resolve_neg()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function}: a tensor of the device was met where no device is on")


def _unwrap(t: OnDevice) -> torch.Tensor:
    return t.held


def _is_device(device) -> bool:
    return device is not None and torch.device(device).type == NAME


class Device(TorchDispatchMode):
    "The device, for as long as this is on. `waits` and `uploads` count places in the package's source; mixing raises."

    def __init__(self):
        super().__init__()
        self.waits, self.uploads = collections.Counter(), collections.Counter()
        self.functions = _Functions()

    def __enter__(self):
        self.functions.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.functions.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        here = [isinstance(t, OnDevice) for t in tensors]
        target = kwargs.get("device")
        moves = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        if moves:
            to = isinstance(args[0], OnDevice) if function is torch.ops.aten.copy_.default else _is_device(target or args[0].device)
            source = args[1] if function is torch.ops.aten.copy_.default else args[0]
            blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            if isinstance(source, OnDevice) and not to:
                self.waits[_place()] += 1
            elif not isinstance(source, OnDevice) and to and blocking and source.device.type == "cpu":
                self.uploads[_place()] += 1
        else:
            if any(here) and not all(h or t.ndim == 0 for h, t in zip(here, tensors, strict=True)):
                where = [f"{tuple(t.shape)} on {t.device}" for t in tensors]
                raise RuntimeError(f"{function}: tensors of two devices ({', '.join(where)}) at {_place()}")
            if any(here) and _reads(function, tensors):
                self.waits[_place()] += 1
            to = _is_device(target) if target is not None else any(here)
        if target is not None and _is_device(target):
            kwargs["device"] = torch.device("cpu")
        plain = tree_map_only(OnDevice, _unwrap, (args, kwargs))
        found = function(*plain[0], **plain[1])
        if not to:
            return found
        if any(here):
            return return_and_correct_aliasing(function, args, kwargs, tree_map_only(torch.Tensor, OnDevice, found))
        return tree_map_only(torch.Tensor, OnDevice, found)


def _reads(function, tensors: list) -> bool:
    "Does the host need a value before it can go on?"
    if function.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_):
        return any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])
    waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return bool(waits & set(function.tags)) or "linalg_inv." in f"{function}" or "linalg_solve" in f"{function}"


def _place() -> str:
    "The innermost line of the package that is at work: 'decoders/clit.py enlarged'."
    for frame in reversed(traceback.extract_stack()[:-2]):
        if "/inr_assr/" in frame.filename.replace("\\", "/"):
            return f"{frame.filename.replace(chr(92), '/').rsplit('/inr_assr/', 1)[1]} {frame.name}"
    return "elsewhere"


class _Functions(torch.overrides.TorchFunctionMode):
    "Functions that make tensors from Python's numbers, which reach no dispatcher: they make them on the CPU, and copy."

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and _is_device(kwargs.get("device")):
            device, source = kwargs.pop("device"), args[0]
            if isinstance(source, torch.Tensor):
                return source.to(device, **{k: v for k, v in kwargs.items() if k == "dtype" and v is not None})
            with torch._C.DisableTorchFunction():
                return function(*args, **kwargs).to(device)
        if function is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()  # the copy is what counts
        if function is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            with torch._C.DisableTorchFunction():
                return torch.tensor(args[1], dtype=kwargs.get("dtype") or args[0].dtype).to(NAME)
        return function(*args, **kwargs)


def move(module: torch.nn.Module) -> torch.nn.Module:
    "A module's parameters and buffers, put on the device."
    for part in module.modules():
        for name, p in part._parameters.items():
            if p is not None:
                part._parameters[name] = torch.nn.Parameter(OnDevice(p.detach().clone()), p.requires_grad)
        for name, b in part._buffers.items():
            if b is not None:
                part._buffers[name] = OnDevice(b.clone())
    return module


_setup_privateuseone_for_python_backend(NAME, backend_module=Module())
torch.inference_mode = lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()  # which shows operators whole


def _small(decoder: str, encoder: str = "EDSR"):
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.encoders.contract import ENCODERS
    from inr_assr.models.model import build_model

    torch.manual_seed(0)
    return build_model(encoder, decoder, ENCODERS[encoder].small, DECODERS[decoder].small)


def _rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def encoders():
    from inr_assr.encoders.contract import ENCODERS

    for name in ENCODERS:

        def work(put, name=name):
            model = put(_small("LIIF", name).train())
            return model.encode(model.network_image(put(_rand(2, 3, 24, 20))))

        yield name, work


def points():
    "A forward and a backward pass at points of two pictures whose scales differ, as in training."
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.foundations.coordinates import Queries

    for name in DECODERS:

        def work(put, name=name):
            model, coord = put(_small(name).train()), put(_rand(2, 24, 20, 2) * 1.9 - 0.95)
            queries = Queries.points((24, 20), coord, torch.tensor([[50.0, 44.0], [90.0, 75.0]]))
            colours = model.query(model.prepare(put(_rand(2, 3, 24, 20))), queries)
            colours.square().mean().backward()
            return torch.cat([colours.flatten(), *(p.grad.flatten() for p in model.parameters() if p.grad is not None)])

        yield name, work


def grids():
    "A picture, to two sizes that are whole multiples or not, in several blocks of queries."
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.models.conformance import colours_at

    for name in DECODERS:
        for size in ((48, 40), (65, 54)):
            yield (
                f"{name} x{size[0] / 24:.2g}",
                lambda put, name=name, size=size: colours_at(put(_small(name)), put(_rand(1, 3, 24, 20)), size, 700),
            )


def _store():
    import numpy as np

    from inr_assr.data.pictures import PictureStore

    pictures = [np.random.default_rng(i).integers(0, 256, (70 + 9 * i, 90, 3), np.uint8) for i in range(3)]
    return PictureStore([f"p{i}" for i in range(3)], pictures)


def samples():
    from inr_assr.data.samples import Samples

    for make in ("host", "device"):
        for options in ({}, {"sampling": "window"}, {"asymmetric": True}):

            def work(put, make=make, options=options):
                one = next(Samples(_store(), 12, (1.0, 4.0), 4, make=make, **options).epoch(0, 1, 0, where(put)))
                queries = one.queries
                return torch.cat([t.flatten() for t in (one.image, one.target, queries.rows, queries.columns, queries.cell)])

            yield " ".join([make, *options]), work


def losses():
    from inr_assr.training.losses import LOSSES

    for name in LOSSES:
        if name == "perceptual_l1":
            continue  # needs a file of weights; its layers are those of the metrics
        for term in LOSSES[name]().terms or (LOSSES[name](),):

            def work(put, term=term):
                x, y = put(_rand(2, 3, 24, 24) * 2 - 1).requires_grad_(), put(_rand(2, 3, 24, 24).flip(2) * 2 - 1)
                loss = term(x[:, 0], None) if term.needs == "model" else term(x, y)
                loss.backward()
                return torch.cat([loss.detach()[None], x.grad.flatten()])

            yield f"{name} {type(term).__name__}", work


def _learner(put, decoder: str, chosen):
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.encoders.contract import ENCODERS
    from inr_assr.training.loop import Learner
    from inr_assr.training.runs import configure

    learner = Learner(configure("EDSR", decoder, chosen, 0, "", "", ENCODERS["EDSR"].small, DECODERS[decoder].small))
    if put is to_device:  # `Module.to` knows no tensors that only say where they lie
        put(learner.model), put(learner.average.module) if learner.average is not None else None
        learner.device = torch.device(where(put))
        learner.learned = [p for p in learner.model.parameters() if p.requires_grad]
        learner.optimiser = torch.optim.Adam(learner.learned, chosen.learning_rate, fused=True)
    return learner


def steps():
    "Two whole steps of training by each recipe, and by TrainSimple for each decoder."
    from inr_assr.data.samples import Samples
    from inr_assr.decoders.contract import DECODERS
    from inr_assr.training.recipes import RECIPES, recipe

    jobs = [(RECIPES[name].name, "LINF" if "likelihood" in RECIPES[name].loss else "LIIF", {}) for name in RECIPES]
    jobs += [("TrainSimple", name, {}) for name in DECODERS if name != "LIIF"]
    jobs += [("TrainSimple", "LIIF", {"ema": 0.9, "clip": 1.0})]
    for name, decoder, options in jobs:

        def work(put, name=name, decoder=decoder, options=options):
            chosen = recipe(name, patch=12, batch=4, **options)
            learner = _learner(put, decoder, chosen)
            batches = Samples(_store(), 12, (1.0, 4.0), 4, chosen.sampled, make="device").epoch(0, 2, 0, where(put))
            found = [learner.learn(batch, chosen.rate(0)).reshape(1) for batch in batches]
            return torch.cat([*found, *(p.detach().flatten() for p in learner.learned)])

        yield " ".join([name, decoder, *options]), work


def tiling():
    from inr_assr.models.conformance import colours_at
    from inr_assr.models.enlarge import Cut

    for cut in (Cut(), Cut(16), Cut(16, False)):
        yield (
            f"LTE core {cut.core}{'' if cut.stitched else ' apart'}",
            lambda put, cut=cut: colours_at(put(_small("LTE")), put(_rand(1, 3, 40, 36)), (100, 90), 900, cut),
        )
    for name, options in (("LIIF", {}), ("LTE", {"tiling": 16}), ("SRNO", {}), ("CLIT", {"tiling": 20}), ("LTE", {"looks": 8})):
        yield (
            " ".join(["upscale", name, *options]),
            lambda put, name=name, options=options: put(_small(name)).upscale(put(_rand(1, 3, 40, 36)), 2.5, **options),
        )


def metrics():
    from inr_assr.metrics.contract import METRICS

    for name in METRICS:

        def work(put, measure=METRICS[name]):
            truth = _rand(1, 3, 192, 192)
            lr, picture = truth[..., ::2, ::2].contiguous(), (0.9 * truth + 0.1 * truth.flip(-1)).clamp(0, 1)
            return measure(put(picture), put(truth), lr=put(lr), scale=(2.0, 2.0), kernel="pillow")

        if not METRICS[name].missing():
            yield name, work


CHECKS = {f.__name__: f for f in (encoders, points, grids, samples, losses, steps, tiling, metrics)}


def to_device(x):
    "A tensor, or a module with its parameters and buffers, put on the device."
    return move(x) if isinstance(x, torch.nn.Module) else OnDevice(x.detach().clone())


def to_cpu(x):
    return x


def where(put) -> str:
    return f"{NAME}:0" if put is to_device else "cpu"


def run(check: str, only: str = "") -> list[dict]:
    "What each case of a check did on the device."
    rows = []
    for name, work in CHECKS[check]():
        if only and only not in name:
            continue
        row, device = {"check": check, "case": name, "error": "", "far": None}, Device()
        try:
            wanted = work(to_cpu).detach().double()
            with device:
                found = work(to_device).detach()
            assert isinstance(found, OnDevice), f"the answer is on {found.device}"
            found = found.held.double()
            assert torch.equal(found.isnan(), wanted.isnan()), "NaN on one of them only"
            row["far"] = (found - wanted).nan_to_num().abs().max().item() / max(1.0, wanted.nan_to_num().abs().max().item())
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)
            ours = [f"{f.filename.rsplit('/', 2)[-1]}:{f.lineno}" for f in last if "inr_assr" in f.filename][-2:]
            row["error"] = f"{type(error).__name__}: {str(error)[:300]} {ours}"
        rows.append({**row, "waits": dict(device.waits), "uploads": dict(device.uploads)})
    return rows


if __name__ == "__main__":
    torch.library.Library("_", "IMPL").fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    chosen, only = (*sys.argv[1:], "", "")[:2]  # checks, and a part of the cases' names; none: all
    with contextlib.redirect_stdout(sys.stderr):
        rows = [row for name in (chosen.split(",") if chosen else CHECKS) for row in run(name, only)]
    print(json.dumps(rows))
