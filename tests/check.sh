#!/usr/bin/env bash
# What `make test` runs: notebooks and modules in sync, every notebook's examples run and shown as they are saved, pytest without the long fault tests and without those that want large packages beside (make test-extras).
set -eu
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=2 PYTHONHASHSEED=0
contents() { find nbs leukonb -type f \( -name '*.ipynb' -o -name '*.py' \) -not -path '*/.ipynb_checkpoints/*' -print0 | sort -z | xargs -0 sha256sum; }
shared=${LEUKONB_SHARED:-$PWD/../shared}
if [ -d "$shared/cnmc-sample" ]; then export LEUKONB_REAL=${LEUKONB_REAL:-$shared/cnmc-sample} LEUKONB_META=${LEUKONB_META:-$shared/cnmc-meta}; fi

echo "== notebooks and modules in sync"
before=$(contents)
nbdev_clean
nbdev_export
after=$(contents)
if [ "$before" != "$after" ]; then
  echo "nbs/ and leukonb/ are not in sync, or a notebook is not clean; nbdev_clean and nbdev_export change:"
  diff <(echo "$before") <(echo "$after") | grep '^[<>]' | sed 's/^\(.\) [0-9a-f]*/\1/'
  exit 1
fi

echo "== style"
python tests/style.py
if ! numbers=$(python tests/style.py --numbers --hold); then echo "$numbers"; exit 1; fi
echo "$numbers" | grep "^total"

echo "== examples in the notebooks"
python tests/outputs.py check

echo "== pytest"
python -m pytest -q tests -m "not long and not alone and not extras" -n 2 --dist loadscope --no-loadscope-reorder "$@"
exec python -m pytest -q tests -m "alone and not long and not extras" "$@"
