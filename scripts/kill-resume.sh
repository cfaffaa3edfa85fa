#!/bin/sh
# Kills a training with SIGKILL at random moments, KILLS times, resumes it each time, and compares the weights and the
# metrics with those of a run that was left alone. If a run finishes before it was killed often enough, it is compared,
# and the next one is started.
#
#   scripts/kill-resume.sh [KILLS [EPOCHS]]      20 kills of the default network for 3 epochs by default
#
# Environment: SYVA (the program; built with cargo if not set), SEED (for the random moments), SYVA_MNIST_DIR as
# always, DATA (auto, mnist or digits), FLAGS (more flags of `syva train`, such as "--optimizer adam").
set -eu

kills=${1:-20}
epochs=${2:-3}
seed=${SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
data=${DATA:-auto}

if [ -z "${SYVA:-}" ]; then
    cd "$(dirname "$0")/.."
    cargo build --release --quiet --package syva-cli
    SYVA=${CARGO_TARGET_DIR:-$PWD/target}/release/syva
fi
place=$(mktemp -d)
pid=
trap 'if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi; rm -rf "$place"' EXIT
trap 'exit 1' INT TERM
cd "$place"

digest() { sed -n 's/.*"sha256_of_weights":"\([0-9a-f]*\)".*/\1/p' "$1"; }
# The metrics without the two times.
timeless() { sed -e 's/"train_seconds":[^,}]*//' -e 's/"eval_seconds":[^,}]*//' "$1/metrics.jsonl"; }

echo "seed $seed, $kills kills, $epochs epochs"
"$SYVA" train --data "$data" ${FLAGS:-} --epochs "$epochs" --json --out whole >whole.json

runs=1
killed=0
while [ "$killed" -lt "$kills" ]; do
    if [ -e run/config.toml ]; then
        "$SYVA" resume run --quiet --checkpoint-seconds 0 2>err &
    else
        "$SYVA" train --data "$data" ${FLAGS:-} --epochs "$epochs" --quiet --checkpoint-seconds 0 --out run 2>err &
    fi
    pid=$!
    # After 0 to 1.5 s: while it starts, trains, saves or evaluates.
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    sleep "$(echo "$((seed / 65536 % 1500))" | awk '{ print $1 / 1000 }')"
    if kill -9 "$pid" 2>/dev/null; then
        killed=$((killed + 1))
        wait "$pid" 2>/dev/null || true
        pid=
    else
        status=0
        wait "$pid" || status=$?
        pid=
        if [ "$status" -ne 0 ]; then
            echo "FAIL: exit code $status"
            cat err
            exit 1
        fi
        # The run finished before it was killed often enough, so the next one starts.
        runs=$((runs + 1))
        timeless run >run.metrics
        timeless whole >whole.metrics
        cmp run.metrics whole.metrics || { echo "FAIL: the metrics differ"; exit 1; }
        "$SYVA" resume run --json >run.json
        [ "$(digest run.json)" = "$(digest whole.json)" ] || { echo "FAIL: $(digest run.json)"; exit 1; }
        rm -rf run
    fi
done
if [ ! -e run/config.toml ]; then
    "$SYVA" train --data "$data" ${FLAGS:-} --epochs "$epochs" --quiet --out run
fi
"$SYVA" resume run --json >run.json

echo "left alone  $(digest whole.json)"
echo "killed      $(digest run.json)"
timeless run >run.metrics
timeless whole >whole.metrics
if [ -n "$(digest whole.json)" ] && [ "$(digest run.json)" = "$(digest whole.json)" ] && cmp run.metrics whole.metrics; then
    echo "OK: $killed kills, $runs runs"
else
    echo "FAIL"
    exit 1
fi
