#!/usr/bin/env bash
# Runs the tests, one process per core; the first run sets up what is missing. Arguments go to pytest:
#
#   bash tests/run.sh tests/models -x
#   bash tests/run.sh tests/losses -n 0 --pdb    in one process, for a debugger
set -euo pipefail
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$project/setup_env.sh" --dev)
cd -- "$project"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # a process per core, so one thread each; tests of threads set their own number
exec "$python" -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
