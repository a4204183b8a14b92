#!/bin/sh
# Cut the same regions from what each decoder makes of three pictures, while the weights are at hand:   sh outputs/study/crops.sh DATA
# They go into outputs/study/crops, a few kilobytes each, and nbs/study.ipynb shows them.
set -e
here=$(cd "$(dirname "$0")" && pwd)
checkout=${STUDY_CHECKOUT:-$here/../../../inr_assr-study}
data=$(cd "${1:?name the folder that holds the benchmarks}" && pwd)
cd "$here/../.."
OMP_NUM_THREADS=1 nice -n 10 "${PYTHON:-.venv/bin/python}" - "$checkout/outputs/study/runs" "$data" "$here" <<'PYTHON'
import sys

from inr_assr.faces.studyresults import save_crops

runs, data, here = sys.argv[1:]
print(*save_crops(runs, data, f"{here}/crops", f"{here}/study.yaml"), sep="\n")
PYTHON
