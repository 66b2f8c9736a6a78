#!/usr/bin/env bash
# Runs the tests; the first run sets up what is missing. Arguments go to pytest:  bash tests/run.sh tests/models -x
set -euo pipefail
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$project/setup_env.sh" --dev)
cd -- "$project"
exec "$python" -m pytest "$@"
