#!/usr/bin/env bash
# Everything that needs an NVIDIA card, in one run: conformance, the sanitizer, the same bits as the CPU, timings,
# peers.
#
#   bench/gpu.sh [RESULTS]        on a machine with Rust, a card, and MNIST in SYVA_MNIST_DIR
#   bench/gpu.sh --pack           on a machine without a card: builds what the next line needs into target/gpu
#   bench/gpu.sh --packed [RESULTS]   on a machine without Rust: runs what was packed and copied there
#
# PYTHON is a Python with torch, torchvision and jax for CUDA (default python3). RESULTS is a Markdown file
# (default bench/results/gpu.md).
set -euo pipefail
cd "$(dirname "$0")/.."

mode=build
case "${1:-}" in
--pack | --packed) mode=${1#--}; shift ;;
esac
results=${1:-bench/results/gpu.md}
bin=target/gpu

if [ "$mode" != packed ]; then
    cargo build --release -p syva-cli -p xtask
    conformance=$(cargo test --release -p syva-cuda --test conformance --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*conformance[^"]*\)".*/\1/p' | tail -n 1)
    cargo build --release --manifest-path bench/peers/syva/Cargo.toml --target-dir target/peers/rust
    mkdir -p "$bin/peers/rust/release"
    cp target/release/syva target/release/xtask "$bin/"
    cp "$conformance" "$bin/conformance"
    cp target/peers/rust/release/peer-syva "$bin/peers/rust/release/"
    if [ "$mode" = pack ]; then
        strip "$bin"/syva "$bin"/xtask "$bin"/conformance "$bin"/peers/rust/release/peer-syva
        du -sh "$bin"
        exit
    fi
fi

: "${SYVA_MNIST_DIR:?names the folder with MNIST}"
python=$(command -v "${PYTHON:-python3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '\n== %s\n' "$*"; }

say devices
"$bin/syva" devices

# How the card takes steps. A card that has no clusters, or that cannot fit 16 or 8 blocks, has no third method.
methods="graph persistent cluster"
SYVA_CUDA=cluster "$bin/conformance" >"$work/cluster.log" 2>&1 || methods="graph persistent"

say conformance
echo "whichever is fastest, and all optimizers:"
"$bin/conformance"
for method in $methods; do
    echo "$method:"
    SYVA_CUDA=$method "$bin/conformance"
done
case $methods in *cluster) ;; *) echo "no cluster:" && cat "$work/cluster.log" ;; esac

say sanitizer
if command -v compute-sanitizer >/dev/null; then
    for method in $methods; do
        for tool in memcheck racecheck; do
            echo "$method, $tool:"
            status=0
            SYVA_CUDA=$method timeout 200 compute-sanitizer --tool $tool --error-exitcode 9 "$bin/conformance" || status=$?
            case $status in
            0) ;;
            124) echo "took more than 200 seconds and was ended" ;;
            *) exit $status ;;
            esac
        done
    done
else
    echo "skipped: there is no compute-sanitizer"
fi

say "the same bits as the CPU: three epochs of the chapter's training"
digest() {
    "$bin/syva" train --data mnist --epochs 3 --out "$work/$1" --json --no-tensorboard --device "$2" |
        sed -n 's/.*"sha256_of_weights":"\([0-9a-f]*\)".*/\1/p' | tail -n 1 | tee "$work/$1.sha256"
    cmp "$work/cpu.sha256" "$work/$1.sha256"
}
digest cpu cpu
digest cuda cuda
for method in $methods; do
    SYVA_CUDA=$method digest "$method" cuda
done

say "the chapter's whole training: 100 epochs, evaluation after each"
for i in 1 2 3; do
    rm -rf "$work/whole"
    time "$bin/syva" train --data mnist --device cuda --out "$work/whole" --json --no-tensorboard | tail -n 1
done

say "tensor cores: how far off"
for precision in tf32 bf16; do
    "$bin/syva" devices --check --device cuda --precision $precision
done

say "epochs, and where the time goes"
for method in $methods; do
    echo "$method:"
    SYVA_CUDA=$method "$bin/syva" bench --data mnist --device cuda --epochs 10
done
echo "whichever is fastest:"
"$bin/syva" bench --data mnist --device cuda --epochs 10

say "4096 wide, 4 hidden layers, batch 8192"
for precision in f32 tf32 bf16; do
    "$bin/syva" bench --data mnist --device cuda --precision $precision --hidden 4096,4096,4096,4096 --batch-size 8192 --epochs 5
done

say peers
CARGO_TARGET_DIR=$bin "$bin/xtask" peers --gpu --no-build --python "$python" --epochs 10 --out "$results"
