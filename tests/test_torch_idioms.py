"A model is a torch module like any other: what PyTorch's own tools do with it is right, or refused in one line."

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from inr_assr.decoders.contract import DECODERS
from inr_assr.foundations.errors import InputError
from inr_assr.models.model import build_model

TRACEABLE = [name for name in DECODERS if not DECODERS[name].untraceable]
QUICK = ("LIIF", "MetaSR", "OPE")  # the others make their programs in `-m slow`
PROGRAMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRACEABLE]
ENCODER = {"blocks": 1, "features": 8}


def small(name: str):
    torch.manual_seed(0)
    return build_model("EDSR", name, ENCODER, DECODERS[name].small).eval()


def inputs(batch=2, h=12, w=10, height=5, width=7):
    generator = torch.Generator().manual_seed(batch + h)
    image, coord = (torch.rand(*s, generator=generator) for s in ((batch, 3, h, w), (batch, height, width, 2)))
    return image, coord * 1.98 - 0.99, torch.rand(batch, 2, generator=generator) * 0.05 + 0.02


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_copies_threads_and_number_formats(name):
    model, given = small(name), inputs()
    expected = model(*given)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.nn.DataParallel(model)):
        assert torch.equal(other(*given), expected)
    with ThreadPoolExecutor(2) as pool:  # `no_grad` holds for one thread
        answers = pool.map(lambda _: torch.no_grad()(model)(*given), range(4))
        assert all(torch.equal(answer, expected) for answer in answers)
    double = copy.deepcopy(model).double()(*(t.double() for t in given))
    size = expected.abs().max()
    assert (double - expected).abs().max() < 1e-4 * size
    for dtype, near in ((torch.bfloat16, 0.03), (torch.float16, 0.005)):
        narrow = copy.deepcopy(model).to(dtype)
        for image in (given[0], given[0].to(dtype)):
            assert (narrow(image, *given[1:]) - expected).abs().max() < near * size
        with pytest.raises(InputError, match=r"^coord: torch\.\w+ is too coarse for places"):
            narrow(*(t.to(dtype) for t in given))


@pytest.mark.parametrize("dtype,near", [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
@pytest.mark.parametrize("name", ["MetaSR", "LINF", "LIIF", "OPE", "Thera"])
def test_narrow_models_enlarge_whole_pictures(name, dtype, near):
    "Row 23 of x2.3 begins exactly at LR pixel 10: a cell in half precision asked the pixel before, and was off by 1.0."
    model, image = small(name), torch.rand(1, 3, 20, 17, generator=torch.Generator().manual_seed(1))
    expected = model.upscale(image, 2.3)
    assert (copy.deepcopy(model).to(dtype).upscale(image, 2.3) - expected).abs().max() < near


def test_narrow_models_train():
    model = small("SRNO").bfloat16().train()
    model(*inputs()).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.decoder.parameters())


def replica_of(module: torch.nn.Module) -> torch.nn.Module:
    "What `DataParallel` makes for each of several GPUs: weights are attributes and no parameters."
    replica = module._replicate_for_data_parallel()
    for name, child in module.named_children():
        replica._modules[name] = replica_of(child)
    for name, parameter in module._parameters.items():
        replica._parameters.pop(name, None)
        object.__setattr__(replica, name, parameter)
    return replica


@pytest.mark.parametrize("name", ["LIIF", "SRNO", "Thera", "LINF"])
@torch.no_grad()
def test_replicas_of_data_parallel(name):
    model, given = small(name), inputs()
    replica = replica_of(model)
    assert not list(replica.parameters())
    assert torch.equal(replica(*given), model(*given))


@pytest.mark.parametrize("name", ["LIIF", "Thera"])
@torch.no_grad()
def test_export_keeps_all_sizes_open(name):
    from inr_assr.models.onnxexport import open_sizes

    model = small(name)
    program = torch.export.export(model, inputs(), dynamic_shapes=open_sizes()).module()
    for given in (inputs(), inputs(3, 14, 17, 3, 11), inputs(1, 9, 9, 1, 1)):
        assert (program(*given) - model(*given)).abs().max() < 1e-5


@pytest.mark.parametrize("name", PROGRAMS)
@torch.no_grad()
def test_export_of_every_decoder(name):
    model, given = small(name), inputs()
    program = torch.export.export(model, given).module()
    assert (program(*given) - model(*given)).abs().max() < 1e-5 * model(*given).abs().max().clamp(min=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
@torch.no_grad()
def test_trace_is_right_or_refuses_other_sizes(name):
    model, given = small(name), inputs()
    traced = torch.jit.trace(model, given, check_trace=False)
    expected = model(*given)
    assert (traced(*given) - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)
    with pytest.raises(RuntimeError, match="equal size"):
        traced(*inputs(2, 14, 17))
    with pytest.raises(RuntimeError, match="equal size"):
        traced(*inputs(1, 12, 10))


@pytest.mark.parametrize("name", [name for name in DECODERS if DECODERS[name].untraceable])
@pytest.mark.parametrize("tool", [torch.export.export, torch.jit.trace])
@torch.no_grad()
def test_what_cannot_be_a_program_says_why(name, tool):
    with pytest.raises(InputError, match="cannot be exported or traced: .+") as error:
        tool(small(name), inputs())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["LIIF", "SRNO"])
@torch.no_grad()
def test_compile_without_a_graph_break(name):
    model = small(name)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    for given in (inputs(), inputs(2, 14, 17)):
        assert (compiled(*given) - model(*given)).abs().max() < 1e-5


def test_checks_of_the_door_stand():
    model, (image, coord, cell) = small("LIIF"), inputs()
    for field, given in {
        "cell": (image, coord, cell * 0),
        "coord": (image, coord.half(), cell),
        "image": ((image * 255).to(torch.uint8), coord, cell),
    }.items():
        with pytest.raises(InputError, match=rf"^{field}: ") as error:
            model(*given)
        assert "\n" not in str(error.value)
