"The reference study's way in (arXiv 2601.17723): its calls, its fields, its names, and what is registered in a running Python."

import contextlib
import copy
import io
import math
import os
import pickle
import subprocess
import sys
import types
from enum import Enum

import numpy as np
import pytest

from conftest import SMALL, SMALL_FOLDER, cli
from inr_assr import (
    BaseTestingConfiguration,
    DecoderType,
    EncoderType,
    InputError,
    RecipeType,
    TestingOrchestrator,
    TrainingOrchestrator,
)
from inr_assr.data.benchmarks import BENCHMARKS, Benchmark
from inr_assr.data.pictures import demo_photo
from inr_assr.decoders.contract import DECODERS
from inr_assr.encoders.contract import ENCODERS
from inr_assr.foundations.images import save_picture
from inr_assr.foundations.registry import Registry
from inr_assr.metrics.contract import METRICS, metric_names
from inr_assr.testing.profiles import PROFILES
from inr_assr.testing.results import read_rows
from inr_assr.training.losses import LOSSES
from inr_assr.training.recipes import RECIPES

MODEL = {
    "encoder_options": {"blocks": 1, "features": 8},
    "decoder_options": {"width": 16, "hidden": [16]},
    "device": "cpu",
}
SHORT = {"epochs": 1, "iterations": 1, "batch": 2, "patch": 12}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    "A folder as a user of the study has it: datasets below, a trained model beside them."
    home, before = tmp_path_factory.mktemp("study"), os.getcwd()
    os.chdir(home)
    parts = {"coffee": "DIV2K_train_HR", "rocket": "DIV2K_train_HR", "chelsea": "DIV2K/DIV2K_valid_HR"}
    parts |= {"astronaut": "Set5/HR", "cat": "mine", "camera": "Set14/HR"}
    photos = {"cat": "chelsea", "camera": "coffee"}
    for name, part in parts.items():
        picture = demo_photo(photos.get(name, name))[100:148, 100:148]
        save_picture(picture, home / "datasets" / part / f"{name}.png")
        for scale in (2, 3):
            if part == "Set5/HR" or part == "mine":
                lr = np.ascontiguousarray(picture[::scale, ::scale])
                folder = "Set5/LR_bicubic" if part == "Set5/HR" else "mine_LR"
                save_picture(lr, home / "datasets" / folder / f"X{scale}" / f"{name}x{scale}.png")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        TrainingOrchestrator.TrainSimple(EncoderType.EDSR, DecoderType.LTE, **SHORT, **MODEL)
    yield home
    os.chdir(before)


@pytest.fixture(autouse=True)
def _there(request):
    if "study" in request.fixturenames:
        os.chdir(request.getfixturevalue("study"))


@pytest.fixture
def registered():
    "Registries and their enums are left as they were."
    registries = [ENCODERS, DECODERS, RECIPES, BENCHMARKS, PROFILES, LOSSES]
    before = [(r, r.names(), dict(r._entries), dict(r._aliases)) for r in registries]
    members = [
        (e, list(e._member_names_), dict(e._member_map_), dict(e._value2member_map_))
        for e in (EncoderType, DecoderType, RecipeType)
    ]
    yield
    for registry, _, entries, aliases in before:
        registry._entries, registry._aliases = entries, aliases
    for enum, names, by_name, by_value in members:
        enum._member_names_[:] = names
        for kept, saved in ((enum._member_map_, by_name), (enum._value2member_map_, by_value)):
            kept.clear()
            kept.update(saved)


def config(**fields) -> BaseTestingConfiguration:
    return BaseTestingConfiguration(**{"decoder": DecoderType.LTE, "input_patch": 12, **fields})


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 700
    return text


# C1: the documented name of the parameter


def test_a_test_takes_its_configuration_by_any_of_its_names(study, tmp_path, capsys):
    options = {"scales": [2], "out": tmp_path / "rows.csv", "metrics": ["psnr_y"]}
    values = [
        TestingOrchestrator.TestSet5(base_test=config(), **options),
        TestingOrchestrator.TestSet5(configs=config(), **options),
        TestingOrchestrator.TestSet5(config(), **options),
        TestingOrchestrator.TestSet5(configuration=config(), **options),
    ]
    assert len({rows["value"].iloc[0] for rows in values}) == 1
    for wrong in (
        lambda: TestingOrchestrator.TestSet5(config(), configs=config()),
        lambda: TestingOrchestrator.TestSet5(),
        lambda: TestingOrchestrator.TestSet5({"encoder": "EDSR"}),
        lambda: TestingOrchestrator.TestFolder(),
        lambda: TestingOrchestrator.TestFolder(config(), configs=config()),
    ):
        with pytest.raises(InputError) as error:
            wrong()
        assert "give " in one_line(error) and "BaseTestingConfiguration" in one_line(error)


def test_a_training_takes_the_words_of_the_studys_pipelines(study, tmp_path, capsys):
    words = {
        "train_data_path": "datasets/DIV2K_train_HR",
        "batch_size": 2,
        "patch_size_train": 12,
        "scale_range": [1, 3],
    }
    words |= {"start_learning_rate": 1e-3, "epoch_save": 1, "model_save_path": "by_study"}
    log = TrainingOrchestrator.TrainSimple("EDSR", "LTE", epochs=1, iterations=1, root=tmp_path, **words, **MODEL)
    assert log["learning_rate"].iloc[0] == 1e-3  # the only epoch trains at the recipe's rate
    assert {path.name for path in (tmp_path / "by_study").glob("*.pth")} >= {"last.pth", "epoch_1.pth"}
    with pytest.raises(InputError) as error:
        TrainingOrchestrator.TrainSimple("EDSR", "LTE", batch=4, batch_size=8)
    assert "batch_size: batch is given, too" in one_line(error)


# C2: what is measured is what the label says


@pytest.mark.parametrize("path", ["./datasets/DIV2K/DIV2K_valid_HR/", "datasets/DIV2K/DIV2K_valid_HR", "datasets/mine"])
def test_a_benchmark_measures_its_own_pictures(study, tmp_path, capsys, path):
    chosen = config(valid_data_path=path)
    before = chosen.to_dict()
    rows = TestingOrchestrator.TestSet5(chosen, scales=[2], out=tmp_path / "rows.csv")
    assert (set(rows["benchmark"]), set(rows["image"]), set(rows["lr"])) == ({"Set5"}, {"astronaut"}, {"files"})
    assert chosen.to_dict() == before
    said = capsys.readouterr().out
    assert ("does not use valid_data_path='datasets/mine'" in said and "TestFolder" in said) == (
        path == "datasets/mine"
    )


def test_the_folder_of_the_user_has_a_call_and_a_name_of_its_own(study, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    chosen = config(valid_data_path="datasets/mine/", eval_scale=3, benchmark="BENCHMARK")
    rows = TestingOrchestrator.TestFolder(chosen, out=out)
    assert (set(rows["benchmark"]), set(rows["image"]), set(rows["scale"])) == ({"mine"}, {"cat"}, {"3"})
    assert set(rows["lr"]) == {"pillow"}
    paired = TestingOrchestrator.TestFolder(base_test=chosen, lr="datasets/mine_LR/X{scale}", scales=[2, 3, 6], out=out)
    by_scale = paired.groupby("scale")["lr"].first()
    assert by_scale.to_dict() == {"2": "files", "3": "files", "6": "pillow"}
    assert "makes LR itself at x6" in capsys.readouterr().out
    values = [  # measured in the manner of the field: a wide border, a narrow one
        TestingOrchestrator.TestFolder(config(benchmark=kind), "datasets/mine", metrics="psnr_y", out=tmp_path / kind)
        for kind in ("DIV2K", "BENCHMARK")
    ]
    assert values[0]["value"].iloc[0] != values[1]["value"].iloc[0]
    assert set(TestingOrchestrator.TestFolder(config(), "datasets/Set14/HR", name="half", out=out)["benchmark"]) == {
        "half"
    }
    for folder, word in (("datasets/Set14/HR", "call TestSet14"), ("nowhere", "no folder 'nowhere'"), ("", "folder")):
        with pytest.raises(InputError) as error:
            TestingOrchestrator.TestFolder(config(), folder, out=out)
        assert word in one_line(error)
    with pytest.raises(InputError, match="Valid names: scale"):
        TestingOrchestrator.TestFolder(config(), "datasets/mine", lr="LR/{x}", out=out)


def test_lr_files_are_never_ignored_in_silence(study, tmp_path, capsys):
    rows = TestingOrchestrator.TestSet5(
        config(valid_data_pathScale="datasets/mine_LR/X2"), scales=[2], out=tmp_path / "r.csv"
    )
    assert set(rows["image"]) == {"astronaut"}
    assert "does not use valid_data_pathScale='datasets/mine_LR/X2'" in capsys.readouterr().out


# C3: what is registered in a running Python


def test_an_enum_gains_what_is_registered_later():
    registry = Registry("fruit")
    registry.register("Apple")(1)
    module = types.ModuleType("fruit_module")
    sys.modules["fruit_module"] = module
    kind = module.FruitType = registry.enum("FruitType", "fruit_module")
    registry.register("Pear+")(2)
    registry.register("Star fruit")(3)
    registry.register("title")(4)
    assert [member.value for member in kind] == ["Apple", "Pear+", "Star fruit", "title"]
    assert (len(kind), list(kind.__members__)) == (4, ["Apple", "PearP", "Star_fruit", "title_"])
    assert kind.PearP is kind["PearP"] is kind("Pear+") is kind("pear+")
    assert kind.PearP == "Pear+" and {kind.PearP: 1}["Pear+"] == 1 and isinstance(kind.PearP, (Enum, str))
    assert "Apple" in kind and kind.Apple in kind and "plum" not in kind and None not in kind and [] not in kind
    assert registry[kind.PearP] == 2 and kind.Apple.title() == "Apple"
    for same in (copy.copy, copy.deepcopy, lambda member: pickle.loads(pickle.dumps(member))):
        assert same(kind.Star_fruit) is kind.Star_fruit
    with pytest.raises(AttributeError, match="FruitType has no 'Aple'. Did you mean 'Apple'?"):
        kind.Aple  # noqa: B018
    with pytest.raises(InputError, match="Did you mean 'Apple'?"):
        kind("aple")
    assert not hasattr(kind, "capitalise") and "capitalize" not in dir(kind)


@pytest.mark.parametrize("jedi", [True, False])
def test_a_prompt_offers_encoders_and_no_methods_of_text(jedi):
    from IPython.core.completer import IPCompleter, provisionalcompleter

    for kind in (EncoderType, DecoderType, RecipeType):
        completer = IPCompleter(namespace={"Kind": kind}, global_namespace={}, use_jedi=jedi)
        with provisionalcompleter():
            offered = {completion.text.lstrip(".") for completion in completer.completions("Kind.", 5)}
        assert {member.name for member in kind} <= offered
        assert not offered & {"capitalize", "upper", "encode", "split", "join", "format"}


def test_a_decoder_and_an_encoder_of_a_running_python_are_trained_and_tested(study, tmp_path, registered, capsys):
    DECODERS.register("Mine+")(type("Mine", (DECODERS["LTE"],), {}))
    ENCODERS.register("Eyes")(type("Eyes", (ENCODERS["EDSR"],), {}))
    TrainingOrchestrator.TrainSimple(EncoderType.Eyes, DecoderType.MineP, root=tmp_path, **SHORT, **MODEL)
    for chosen in (
        config(encoder=EncoderType.Eyes, decoder=DecoderType.MineP),
        config(encoder="Eyes", decoder="Mine+"),
        pickle.loads(pickle.dumps(config(encoder="Eyes", decoder=DecoderType.MineP))),
    ):
        rows = TestingOrchestrator.TestSet5(chosen, root=tmp_path, scales=[2])
        assert set(rows["decoder"]) == {"Mine+"} and set(rows["encoder"]) == {"Eyes"}
    words = (
        "test --encoder Eyes --decoder Mine+ --recipe Simple --patch 12 --benchmark Set5 --scales 2 --device cpu --root"
    )
    assert cli(*words.split(), tmp_path).returncode == 0
    assert (
        "Mine+"
        in cli(
            "test", *f"--encoder Eyes --decoder Mine --recipe Simple --root {tmp_path} --benchmark Set5".split()
        ).stderr
    )


def test_a_recipe_with_a_loss_of_a_running_python_is_trained_and_tested(study, tmp_path, registered, capsys):
    from inr_assr.training.recipes import Recipe

    LOSSES.register("mine")(LOSSES["l1"])
    RECIPES.register("Mine")(Recipe("Mine", "Mine", loss="mine", patch=12, epochs=1, iterations=1, batch=2))
    TrainingOrchestrator.Mine("EDSR", "LTE", root=tmp_path, **MODEL)
    assert "Mine" in RecipeType and RecipeType.Mine.value == "Mine"
    for recipe in ("Mine", RecipeType.Mine):
        rows = TestingOrchestrator.TestSet5(config(recipe=recipe), root=tmp_path, scales=[2])
        assert set(rows["recipe"]) == {"Mine"}
    words = "test --encoder EDSR --decoder LTE --recipe Mine --benchmark Set5 --scales 2 --device cpu --root"
    assert cli(*words.split(), tmp_path).returncode == 0
    with pytest.raises(InputError, match="Valid: .*Mine"):
        config(recipe="Yours").checked()


def test_a_benchmark_and_a_profile_of_a_running_python_are_tested(study, tmp_path, registered, capsys):
    import dataclasses

    BENCHMARKS.register("Mini-1")(Benchmark("Mini-1", "BENCHMARK", hr="mine", lr=(), scales=(2,)))
    PROFILES.register("mine")(dataclasses.replace(PROFILES["ours"], name="mine", rounding=True))
    assert "TestMini_1" in dir(TestingOrchestrator) and "Mini-1" in TestingOrchestrator.TestMini_1.__doc__
    rows = TestingOrchestrator.TestMini_1(config(), profile="mine", out=tmp_path / "rows.csv")
    assert (set(rows["benchmark"]), set(rows["image"]), set(rows["profile"])) == ({"Mini-1"}, {"cat"}, {"mine"})
    assert cli("test", *"--bicubic --benchmark Mini-1 --profile mine --scales 2".split()).returncode == 0
    with pytest.raises(AttributeError, match="Did you mean 'TestMini_1'?"):
        TestingOrchestrator.TestMini_2  # noqa: B018


def test_members_and_configurations_pass_between_processes(tmp_path, registered):
    DECODERS.register("Mine+")(type("Mine", (DECODERS["LTE"],), {}))
    chosen = config(decoder=DecoderType.MineP, recipe=RecipeType.SGDR)
    for same in (copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))):
        assert same(chosen) == chosen and same(chosen).decoder is DecoderType.MineP
    (tmp_path / "chosen.pkl").write_bytes(pickle.dumps((DecoderType.MineP, chosen)))
    code = """
import pickle
from inr_assr import BaseTestingConfiguration, DecoderType, InputError
from inr_assr.decoders.contract import DECODERS
data = open("chosen.pkl", "rb").read()
try:
    pickle.loads(data)
except InputError as error:  # it is not registered here
    print(error)
DECODERS.register("Mine+")(object)
member, chosen = pickle.loads(data)
assert member is DecoderType.MineP and chosen.decoder is member
assert chosen == BaseTestingConfiguration(decoder="Mine+", input_patch=12, recipe="SGDR")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "DecoderType: 'Mine+' is not known." in run.stdout


# C4: fields


def test_squares_may_be_given_as_pairs(study, tmp_path, capsys):
    chosen = config(input_patch=(12, 12), test_strategy="Patched", breakdown_patch_size=(16, 16))
    rows = TestingOrchestrator.TestSet5(chosen, scales=[2], out=tmp_path / "rows.csv")
    assert set(rows["tiling"]) == {"patched 16"}


WRONG = {
    "encoder": ["EDRS", None, 5, "", True, DecoderType.LIIF],
    "decoder": ["LIFF", None, [], math.nan],
    "recipe": ["Smiple", None, 4],
    "input_patch": [None, "many", 0, -48, 4.5, math.nan, True, (), (48, 64), [48, 48, 48], "", {}],
    "scale_range": [
        None,
        4,
        ["1", "4"],
        "1,4",
        [],
        [1],
        [1, 2, 3],
        [4, 1],
        [0, 4],
        [math.nan, 4],
        [1, math.inf],
        [True, 4],
        {},
    ],
    "eval_scale": ["x", None, 0, -2, math.nan, math.inf, True, [], (2, 3, 4), {}],
    "benchmark": ["Set5", None, 2],
    "valid_data_path": ["", "  ", None, 5, []],
    "valid_data_pathScale": ["", 5, True],
    "total_example": ["many", None, 0, -1, 1.5, math.nan, True],
    "eval_batch_size": ["many", None, 0, -300, math.inf, False, []],
    "model_name": ["newest", None, -1, 0, 1.5, True, "", "epoch_", "epoch_x.pth", math.nan],
    "test_strategy": ["Whole", None, 1],
    "breakdown_patch_size": ["many", 0, -1, (16, 24), (), True, math.nan],
    "overlap": ["many", -1, 2.5, True, (4, 5), math.nan],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_gets_one_line(field):
    for value in WRONG[field]:
        with pytest.raises(InputError) as error:
            TestingOrchestrator.TestSet5(BaseTestingConfiguration(**{field: value}))
        text = one_line(error)
        assert text.startswith(f"{field}: ") and (repr(value) in text or str(value) in text), text
        assert "give " in text or "Valid: " in text or "square" in text, text


def test_every_field_has_wrong_values_here():
    assert list(WRONG) == list(BaseTestingConfiguration.__dataclass_fields__)


def test_names_that_are_nearly_right_are_understood_or_explained(study):
    for name, file in {
        "last.pth": "last",
        "Best": "best",
        "epoch_2": "epoch_2",
        "epoch_2.pth": "epoch_2",
        2: "epoch_2",
    }.items():
        assert config(model_name=name).checkpoint().name == f"{file}.pth"
    for recipe, words in {
        "TrainSGDR": ["recipe='SGDR'", "input_patch=48", "scale_range=[1, 4]"],
        "trainsimplelargerpatchscale": ["recipe='Simple'", "input_patch=64", "scale_range=[1, 6]"],
    }.items():
        with pytest.raises(InputError) as error:
            TestingOrchestrator.TestSet5(config(recipe=recipe))
        assert all(word in one_line(error) for word in words)
    with pytest.raises(InputError) as error:
        TestingOrchestrator.TestSet5(config(model_name="epoch_2"))
    assert "epoch_2.pth" in one_line(error) and "keep_every" in one_line(error) and "last.pth" in one_line(error)
    words = "test --encoder EDSR --decoder LTE --recipe Simple --patch 12 --benchmark Set5 --scales 2 --device cpu --checkpoint"
    assert cli(*words.split(), "last.pth").returncode == 0
    missing = cli(*words.split(), "epoch_3")
    assert missing.returncode == 2 and "--keep-every" in missing.stderr and missing.stderr.count("\n") == 1


# C5: the study's own, by one name


def test_one_name_gives_the_studys_seven_metrics(study, tmp_path):
    seven = metric_names("reference")
    assert seven == ["psnr_rgb", "ssim_rgb_downsampled", "gmsd_population", "vif_p", "fsimc", "sr_sim", "lpips_squeeze"]
    assert metric_names(["psnr_y", "reference"])[:2] == ["psnr_y", "psnr_rgb"] and set(seven) <= set(METRICS)
    for wrong in ("", [], "references"):
        with pytest.raises(InputError):
            metric_names(wrong)
    out = tmp_path / "rows.csv"
    run = cli(
        *f"test --bicubic --benchmark Set5 --scales 2 --profile reference --metrics reference --out {out}".split()
    )
    assert run.returncode == 0, run.stderr
    assert set(read_rows(out)["metric"]) >= set(seven[:3]) and "lpips_squeeze is left out" in run.stdout
    assert "reference: psnr_rgb, " in cli("metrics").stdout


def test_one_argument_gives_the_studys_own(study, tmp_path, capsys):
    model = {**MODEL, "decoder_options": {"width": 16, "layers": 1}}
    log = TrainingOrchestrator.TrainSimple("EDSR", "LTE", root=tmp_path, as_study=True, **SHORT, **model)
    (folder,) = tmp_path.iterdir()
    assert len(log) == 1 and folder.name == "model_states_EDSR_LTE+_Simple_Patch_12_Scale_1_4"
    assert (folder / "epoch_1.pth").is_file() and (folder / "tensorboard").is_dir()
    rows = TestingOrchestrator.TestSet5(config(model_name="best"), root=tmp_path, scales=[2], as_study=True)
    assert (set(rows["profile"]), set(rows["decoder"])) == ({"reference"}, {"LTE+"})
    assert set(rows["metric"]) >= {"psnr_rgb", "gmsd_population"} and "psnr_y" not in set(rows["metric"])
    assert all(run.endswith(" last") for run in rows["run"])
    rows = TestingOrchestrator.TestFolder(config(), "datasets/mine", root=tmp_path, as_study=True, metrics="psnr_y")
    assert (set(rows["profile"]), set(rows["metric"])) == ({"reference"}, {"psnr_y"})


# C7: save paths


def test_a_training_lies_where_its_pattern_says_and_is_found_there(study, tmp_path, capsys):
    def place(encoder, recipe, seed):
        return f"{encoder}/{recipe}/{seed}"

    for save_path, folder in {
        "runs/{encoder}-{decoder}_p{input_patch}_s{seed}": "runs/EDSR-LTE_p12_s3",
        place: "EDSR/Simple/3",
    }.items():
        options = {"root": tmp_path, "save_path": save_path, "seed": 3}
        TrainingOrchestrator.TrainSimple("EDSR", "LTE", **options, **SHORT, **MODEL)
        assert (tmp_path / folder / "last.pth").is_file()
        rows = TestingOrchestrator.TestSet5(config(), scales=[2], **options)
        assert set(rows["seed"]) == {3} and (tmp_path / folder / "rows_Set5.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "EDSR"}


def test_two_runs_do_not_share_a_folder(study, tmp_path, capsys):
    options = {"root": tmp_path, "save_path": "all", **SHORT, **MODEL}
    TrainingOrchestrator.TrainSimple("EDSR", "LTE", **options)
    with pytest.raises(InputError) as error:
        TrainingOrchestrator.TrainSimple("EDSR", "LTE", seed=1, **options)
    assert "holds another training (seed: 1 wanted, 0 in the folder)" in one_line(error)
    for wrong, word in (
        ("{sed}", "Valid names: encoder"),
        ("{", "save_path"),
        (lambda: 5, "not a path"),
        ("", "not a path"),
    ):
        with pytest.raises(InputError, match=word):
            TrainingOrchestrator.TrainSimple("EDSR", "LTE", **{**options, "save_path": wrong})


def test_rows_and_pictures_go_where_a_pattern_says(study, tmp_path, capsys):
    options = {"scales": [2, 3], "metrics": "psnr_y"}
    places = {
        "{run}/{benchmark}/x{scale}/{image}": "x2/astronaut.png",
        "{benchmark}_{image}_{scale}_{run}.png": "Set5_astronaut_2_EDSR-LTE TrainSimple seed 0 last.png",
    }
    for save, end in places.items():
        out = tmp_path / "{decoder}" / "{benchmark}_{profile}.csv"
        TestingOrchestrator.TestSet5(config(), save=f"{tmp_path}/{save}", out=out, **options)
        assert len(list(tmp_path.rglob("*.png"))) >= 2 and any(
            path.as_posix().endswith(end) for path in tmp_path.rglob("*.png")
        )
    assert len(read_rows(tmp_path / "LTE" / "Set5_liif.csv")) == 2
    TestingOrchestrator.TestSet5(
        config(),
        save=lambda image, scale: tmp_path / f"f/{image}-{scale}.png",
        out=lambda run: tmp_path / "by_function.csv",
        **options,
    )
    assert (tmp_path / "f" / "astronaut-3.png").is_file() and (tmp_path / "by_function.csv").is_file()
    with pytest.raises(InputError, match="lacks {run}"):
        TestingOrchestrator.TestSet5(
            config(), save="{benchmark}_{image}_{scale}.png", out=tmp_path / "a.csv", **options
        )
    with pytest.raises(InputError, match="would hold two pictures: astronaut x2 and astronaut x3"):
        TestingOrchestrator.TestSet5(
            config(), save=lambda image: tmp_path / f"{image}.png", out=tmp_path / "b.csv", **options
        )


def test_the_command_line_takes_save_paths(photos, study, tmp_path):
    pattern = "{decoder}_seed{seed}"
    words = [
        "train",
        *SMALL,
        "--data",
        photos,
        "--root",
        tmp_path,
        "--epochs",
        "1",
        "--iterations",
        "1",
        "--batch",
        "2",
    ]
    run = cli(*words, "--seed", "4", "--save-path", pattern)
    assert run.returncode == 0 and (tmp_path / "LTE_seed4" / "last.pth").is_file(), run.stderr
    words = "test --encoder EDSR --decoder LTE --recipe Simple --patch 12 --benchmark Set5 --scales 2 --device cpu --seed 4".split()
    run = cli(*words, "--root", tmp_path, "--save-path", pattern, "--out", f"{tmp_path}/{{decoder}}_{{seed}}.csv")
    assert run.returncode == 0 and (tmp_path / "LTE_4.csv").is_file(), run.stderr
    assert not (tmp_path / SMALL_FOLDER).exists()
