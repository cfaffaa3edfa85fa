#!/bin/sh
# Kills a training with SIGKILL at the N-th of each kind of system call that changes files, resumes it (or starts it
# again, if there is no run yet), and compares weights and metrics with those of a run that was left alone.
#
#   scripts/kill-at-calls.sh [POINTS]     8 points of each kind by default; needs strace
#
# Environment: SYVA (the program; built with cargo if not set).
set -eu

points=${1:-8}
command -v strace >/dev/null || { echo "this needs strace"; exit 1; }
if [ -z "${SYVA:-}" ]; then
    cd "$(dirname "$0")/.."
    cargo build --release --quiet --package syva-cli
    SYVA=${CARGO_TARGET_DIR:-$PWD/target}/release/syva
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

train="train --data digits --hidden 8 --lr 0.3 --batch-size 1024 --epochs 4 --keep best --checkpoint-seconds 0"
digest() { sed -n 's/.*"sha256_of_weights":"\([0-9a-f]*\)".*/\1/p' "$1"; }
# The metrics without the two times.
timeless() { sed -e 's/"train_seconds":[^,}]*//' -e 's/"eval_seconds":[^,}]*//' "$1/metrics.jsonl"; }

"$SYVA" $train --json --out whole >whole.json
timeless whole >whole.metrics
killed=0
for calls in rename,renameat,renameat2 fsync,fdatasync write mkdir,mkdirat unlink,unlinkat flock; do
    point=1
    while [ "$point" -le "$points" ]; do
        # There are many writes, so only every seventh is tried.
        when=$point
        [ "$calls" = write ] && when=$((7 * point))
        rm -rf run
        status=0
        strace -f -qq -o trace -e "trace=$calls" -e "inject=$calls:signal=KILL:when=$when" \
            "$SYVA" $train --quiet --out run >out 2>&1 || status=$?
        if [ "$status" -eq 0 ]; then
            break # There are no more such calls.
        fi
        killed=$((killed + 1))
        if [ -e run/config.toml ]; then
            "$SYVA" resume run --quiet
        else
            "$SYVA" $train --quiet --out run
        fi
        "$SYVA" resume run --json >run.json
        timeless run >run.metrics
        if [ "$(digest run.json)" != "$(digest whole.json)" ] || ! cmp run.metrics whole.metrics; then
            echo "FAIL: killed at call $when of $calls"
            exit 1
        fi
        point=$((point + 1))
    done
    echo "$calls: killed at $((point - 1)) points"
done
echo "OK: $killed kills, digest $(digest whole.json)"
