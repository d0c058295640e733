#!/usr/bin/env bash
# What `make test` runs: notebooks and modules in sync, every notebook's examples run and shown as they are saved, pytest without the long fault tests and without those that want large packages beside (make test-extras).
set -eu
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=2 PYTHONHASHSEED=0 OMP_WAIT_POLICY=PASSIVE
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

# Once, not in each of a thousand processes where Python may not write bytecode.
python -m compileall -q leukonb

# Style and notebooks go beside pytest, which often waits, and give way to it. What they say is kept until pytest has ended,
# so that no lines mix; that one of them failed is said at once.
gates() {
  echo "== style"
  nice -n 3 python tests/style.py || return
  numbers=$(nice -n 3 python tests/style.py --numbers --hold) || { echo "$numbers"; return 1; }
  echo "$numbers" | grep "^total"
  echo "== examples in the notebooks"
  nice -n 3 python tests/outputs.py check --limit 900  # seconds, of which it has a share only
}
said=$(mktemp)
set -m  # so that these are a process group of their own, which is ended when the tests are
{ gates >"$said" 2>&1 || { printf '\n== FAILED: %s; why is said below\n' "$(grep "^==" "$said" | tail -n 1 | cut -c 4-)"; exit 1; }; } </dev/null &
beside=$!
set +m
trap 'kill -- -$beside 2>/dev/null || true; rm -f "$said"' EXIT
trap 'exit 130' INT  # pytest ends in order on Ctrl-C, and what follows it shall not

# Three processes, as each waits for a quarter of its time; two where there is not memory for three.
gigabytes=$(awk '/^MemAvailable/ {print int($2 / 1000000)}' /proc/meminfo 2>/dev/null || true)
# A test that would wait for ever fails by its name after `endless` seconds, and those behind it are run.
endless=1800
echo "== pytest"
code=0
python -m pytest -q tests --timeout $endless -m "not long and not alone and not extras" -n "$((${gigabytes:-0} < 9 ? 2 : 3))" --dist loadscope --no-loadscope-reorder --durations=10 "$@" || code=$?
wait $beside || code=1
cat "$said"
echo "== pytest, what measures time"
timed=$(grep -l "pytest.mark.alone" tests/test_*.py)  # the others need not be read again
python -m pytest -q $timed --timeout $endless -m "alone and not long and not extras" --durations=10 "$@" || code=$?
exit $code
