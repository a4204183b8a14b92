#!/bin/sh
# Start the study or go on with it:   sh outputs/study/run.sh DATA [RUNS AT A TIME]
# Bring home what has finished:       sh outputs/study/run.sh collect
# DATA holds T91, BSDS500/train, B100, Set14 and Set5. All runs are of one commit, in a checkout of its own beside this one.
set -e
commit=5168702c9233b08ffbacc975b91084a209472c86
here=$(cd "$(dirname "$0")" && pwd)
checkout=${STUDY_CHECKOUT:-$here/../../../inr_assr-study}
runs=$checkout/outputs/study/runs

if [ "$1" = collect ]; then
    for state in "$runs"/*/state.json; do
        grep -q '"state": "done"' "$state" || continue
        from=$(dirname "$state"); to=$here/runs/$(basename "$from")
        mkdir -p "$to"
        (cd "$from" && tar cf - $(find . -name state.json -o -name configuration.json -o -name log.csv)) | tar xf - -C "$to"
        sed -i 's#"data": "/[^"]*"#"data": "datasets"#g; s#"data_root": "/[^"]*"#"data_root": "datasets"#g' "$to/state.json"  # no machine's paths
        gzip -9nc "$from/rows.csv" > "$to/rows.csv.gz"
    done
    ls "$here/runs" | wc -l
    exit
fi

data=$(cd "${1:?name the folder that holds T91, BSDS500 and the benchmarks}" && pwd)
[ -d "$checkout" ] || git clone -q "$here/../.." "$checkout"
cd "$checkout"
git checkout -q "$commit"
make install
for rows in "$here"/runs/*/rows.csv.gz; do  # what finished before is not done again
    [ -e "$rows" ] || continue
    place=$runs/$(basename "$(dirname "$rows")")
    [ -e "$place/state.json" ] && continue
    mkdir -p "$place"
    cp -r "$(dirname "$rows")"/. "$place/"
    gunzip -c "$rows" > "$place/rows.csv"
done
# one thread a run, whatever runs beside it: the number of threads decides the last bits
OMP_NUM_THREADS=1 exec nice -n 10 .venv/bin/inr-assr study outputs/study/study.yaml \
    --data-root "$data" --benchmark-root "$data" --folder outputs/study --side "${2:-1}"
