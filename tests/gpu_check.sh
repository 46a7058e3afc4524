#!/bin/sh
# What is to be seen on a real GPU, in a quarter of an hour or so: that no update waits for it, that runs repeat to the bit,
# and what a step costs. What matters most comes first, and each part ends after LIMIT seconds. Everything is printed, and
# written to gpu_check.txt (OUT=...). The exit code is 1 if anything failed.
#   tests/gpu_check.sh                       # on cuda
#   DEVICE=cuda:1 tests/gpu_check.sh
#   DEVICE=cpu tests/gpu_check.sh --tiny     # whether the script itself works, in a few minutes
set -u
cd "$(dirname "$0")/.." || exit 2
DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-gpu_check.txt}
LIMIT=${LIMIT:-300}
tiny=
[ "${1:-}" = --tiny ] && tiny=--tiny
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failed="$work/failed"
: > "$OUT" || exit 2

say() { printf '%s\n' "$@" | tee -a "$OUT"; }
# Runs a command under a title, and notes it if it fails.
part() {
    title=$1
    shift
    say "" "== $title" "\$ $*"
    { timeout "$LIMIT" "$@" 2>&1 || echo "$title" >> "$failed"; } | tee -a "$OUT"
}

say "tests/gpu_check.sh on $DEVICE, $(date -u '+%Y-%m-%d %H:%M UTC')"
case $DEVICE in cuda*) part "the device" nvidia-smi ;; esac
part "versions" "$PYTHON" -c 'import sys, torch; print(sys.version.split()[0], torch.__version__, torch.version.cuda)'

part "updates of every kind: no wait, the same bits twice" "$PYTHON" tests/support/device_updates.py "$DEVICE" $tiny

# Two whole runs, with every table and the weights.
precisions="float32 bfloat16"
case $DEVICE in cuda*) precisions="float32 tf32 bfloat16" ;; esac
steps=300
[ -n "$tiny" ] && steps=10 precisions=float32
for precision in $precisions; do
    for turn in one other; do
        part "a run in $precision, $turn" "$PYTHON" -m icl_curriculum run mixed --device "$DEVICE" --seeds 0 \
            --results "$work/$precision-$turn" --set training.steps=$steps --set "training.precision=$precision" \
            --set evaluation.n_prompts=64 --set 'evaluation.baselines=["zero"]'
    done
    part "do both runs in $precision have the same bytes?" "$PYTHON" - "$work/$precision-one" \
        "$work/$precision-other" << 'END'
import sys
from pathlib import Path
one, other = map(Path, sys.argv[1:])
names = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.suffix in (".csv", ".safetensors")]
names = [name for name in names if name.name != "timing.csv"]
differ = [str(name) for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
print(f"{len(names)} tables and weights, {len(differ)} differ", *differ)
sys.exit(bool(differ) or not names)
END
done

# What a step costs, eager and compiled, and a whole run of the published size.
rounds=12
[ -n "$tiny" ] && rounds=2
for precision in $precisions; do
    # To compile takes longest.
    compile=
    [ "$precision" = float32 ] && [ -z "$tiny" ] && compile=--compile
    part "a step in $precision" "$PYTHON" -m icl_curriculum bench step --device "$DEVICE" --threads 1 --rounds $rounds \
        --precision "$precision" $compile --results "$work/bench"
done
hours() {
    part "hours of $1 in $2, compiled: $3" "$PYTHON" -m icl_curriculum show "$1" --cost --device "$DEVICE" \
        --set "training.precision=$2" --set "training.compile=$3"
}
if [ -n "$tiny" ]; then
    hours smoke float32 false
else
    for precision in $precisions; do
        hours published_bhasin "$precision" false
    done
    hours published_garg_linear float32 false
    hours published_bhasin float32 true
    hours published_bhasin bfloat16 true
fi

if [ -s "$failed" ]; then
    say "" "FAILED:" "$(cat "$failed")"
    exit 1
fi
say "" "nothing failed"
