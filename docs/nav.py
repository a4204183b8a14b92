"Puts the notebooks in the order of their numbers, chapter by chapter, so that a new one needs no entry anywhere."
import json
from pathlib import Path


def title(page: Path) -> str:
    "The heading of a notebook."
    first = "".join(json.loads(page.read_text(encoding="utf-8"))["cells"][0]["source"])
    return first.splitlines()[0].lstrip("# ")


def on_config(config):
    root, chapters = Path(config["docs_dir"]), {}
    for page in sorted(root.glob("*/[0-9]*.ipynb"), key=lambda path: path.name):
        chapters.setdefault(page.parent.name.capitalize(), []).append(page)
    chapters["Runners"] = [root / "runs" / f"{name}.ipynb" for name in ("demo", "train", "test", "report")]
    book = [{name: [{title(page): page.relative_to(root).as_posix()} for page in pages]} for name, pages in chapters.items()]
    study = {title(root / "study.ipynb"): "study.ipynb"}
    config["nav"] = [{"inr_assr": "index.ipynb"}, study, *book]
    return config
