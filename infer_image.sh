#!/usr/bin/env bash
# Enhances photos with the shipped weights; the first run sets up what is missing.
#
#   bash infer_image.sh                                   the samples, into results/samples
#   bash infer_image.sh INPUT [OUTPUT_DIR] [options]      a photo or a folder; options are those of infer_image.py
#   bash infer_image.sh --help
#   .venv/bin/torchrun --nproc_per_node gpu infer_image.py --input_path INPUT --output_dir OUTPUT_DIR    on all GPUs
set -euo pipefail
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# Edit these, or give the last two on the command line.
CONFIG_PATH="$project/checkpoint/zeros/config.json"
WEIGHTS_PATH="$project/checkpoint/zeros/HVR.safetensors"
INPUT_PATH="$project/img/samples"
OUTPUT_DIR="$project/results/samples"
DEVICE="auto" # auto, cpu, cuda, cuda:1, mps

named=no
if [[ $# -gt 0 && "$1" != -* ]]; then
  named=yes
  INPUT_PATH=$1
  OUTPUT_DIR="$project/results"
  [[ ! -d "$1" ]] || OUTPUT_DIR="$project/results/$(basename -- "$(cd -- "$1" && pwd)")"
  shift
  if [[ $# -gt 0 && "$1" != -* ]]; then
    OUTPUT_DIR=$1
    shift
  fi
  if [[ $# -gt 0 && "$1" != -* ]]; then
    echo "error: unexpected argument '$1': the photo or folder and the result folder come first, then the options; one photo" \
      "or folder at a time (--help lists the options)" >&2
    exit 2
  fi
fi

photos=(--input_path "$INPUT_PATH")
setup=()
for option in "$@"; do
  case "$option" in
    -h | --help)
      sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      echo
      export HVR_SKIP_SETUP=1 # help needs no packages
      ;;
    --benchmark*) # benchmarks bring their own photos; infer_image.py refuses a photo or folder that was named as well
      setup=(--metrics)
      [[ "$named" == yes ]] || photos=()
      ;;
    --target_path*) setup=(--metrics) ;;
  esac
done
python=$(bash "$project/setup_env.sh" ${setup[@]+"${setup[@]}"}) # that way for bash 3.2 of macOS: an empty list is no error
exec "$python" "$project/infer_image.py" \
  --config_path "$CONFIG_PATH" \
  --weights_path "$WEIGHTS_PATH" \
  ${photos[@]+"${photos[@]}"} \
  --output_dir "$OUTPUT_DIR" \
  --device "$DEVICE" \
  "$@"
