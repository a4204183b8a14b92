"The folder that a study would leave, with numbers that are known."

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from conftest import ROOT
from inr_assr.faces.grid import grid, read_study
from inr_assr.faces.standing import note

METRICS = ("psnr_y", "gmsd", "psnr_texture")
NAMES = "run encoder decoder recipe variant seed benchmark scale profile profile_hash image hr_pixels lr_pixels metric".split()
NAMES += ["value", "code"]


@functools.cache
def jobs() -> list:
    "The trainings of the study."
    return [job for job in grid(read_study(ROOT / "outputs" / "study" / "study.yaml")) if job.train]


def rows_of(job, number, metrics=METRICS, pictures: int = 6) -> pd.DataFrame:
    "The rows of one run."
    train, liked = job.train, np.random.default_rng(0).normal(0, 1, pictures)
    own, lines = np.random.default_rng([*job.name.encode()]).normal(0, 0.002, pictures), []
    names = (job.name, "EDSR", train["decoder"], train["recipe"], job.tests[0]["variant"], train["seed"])
    for metric in metrics:
        values = number(train, metric) + (liked + own) * (0.01 if metric == "gmsd" else 1)
        for scale in ("2", "3", "4"):
            lines += [
                (*names, "B100", scale, "liif", "ccd56fc0", i, f"{i:012d}", "", metric, value, "aaaaaaaaaa")
                for i, value in enumerate(values)
            ]
    return pd.DataFrame(lines, columns=NAMES)


def block_rows(blocks, number, metrics=("psnr_y",)) -> pd.DataFrame:
    "The rows of all runs of some blocks."
    return pd.concat([rows_of(job, number, metrics) for job in jobs() if set(job.blocks) & set(blocks)])


def simulate(folder: Path, number, blocks=None, metrics=METRICS, runs=None) -> Path:
    "Write finished runs of outputs/study/study.yaml; `number(train, metric)` is the primary number of each."
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "outputs" / "study" / "study.yaml", folder)
    for job in jobs():
        if (blocks and not set(job.blocks) & set(blocks)) or (runs and not runs(job)):
            continue
        place = folder / "runs" / job.name
        (place / "model_states_x").mkdir(parents=True)
        rows_of(job, number, metrics).to_csv(place / "rows.csv.gz", index=False)
        log = {"epoch": [1, 2], "loss": 0.1, "learning_rate": 1e-3, "psnr": [25.0, 26.0], "best": 26.0, "seconds": 60.0}
        pd.DataFrame(log).to_csv(place / "model_states_x" / "log.csv", index=False)
        known = {"data": f"{job.train['data_count'] or 281} pictures, 00000000"}
        (place / "configuration.json").write_text(json.dumps(known))
        note(place, job, "done", seconds=120.0)
    return folder
