# make report   run the studies and build the site: real, on what was measured on 7,108 released cells, then quick and
#               leakage on synthetic cells, drawn so that each leak can be seen; with DATA=folder, quick on its images.
#               PATTERN says which part of a file's path is its subject, such as PATTERN='(P[0-9]+)_'; SPLIT=0.5/0.2/0.3 how
#               few subjects are shared out among training, validation and test.
# make lab      JupyterLab on the notebooks; in a container, where one is root: make lab LAB='--allow-root --ip 0.0.0.0'
# make test     every check
# make test-extras   the checks that need large packages beside, installed first
# make outputs  run the notebooks and save what they show (NOTEBOOK=files: these)
# make house    how dense the notebooks are, in numbers (NOTEBOOKS=files: of these)
# make test-quarto   the pages of the site as Quarto builds them, where it is on the PATH
# make test-faults   break everything on purpose, the long ways too (GROUP=runs: one group), and record how it ended
PYTHON ?= python3
DATA ?=
PATTERN ?=
SPLIT ?=
STUDY ?= $(if $(DATA),quick,real leakage quick)
OUT ?= _runs
WORKERS ?= 2
NOTEBOOK ?=
GROUP ?=
SEED ?= 0
LAB ?=
BIN := .venv/bin
TARGET := $(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu)
STAMP := .venv/.ready-$(TARGET)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: report test outputs house test-extras test-faults test-quarto lab site lock clean

report: $(STAMP)
	$(BIN)/leukonb run $(STUDY) --workers $(WORKERS) --out $(OUT) $(if $(DATA),--data "$(DATA)") $(if $(PATTERN),--subject-pattern '$(PATTERN)') $(if $(SPLIT),--split $(SPLIT))
	$(BIN)/leukonb site --out $(OUT)

test: $(STAMP) .venv/.ready-jax
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/check.sh

house: $(STAMP)
	$(BIN)/python tests/style.py --numbers $(NOTEBOOKS)

test-extras: .venv/.ready-extras .venv/.ready-jax
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q tests -m "extras and not fault"

outputs: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/outputs.py write $(NOTEBOOK) --workers $(WORKERS)

# The record is a file of the package; the site's table of faults is made from it.
test-faults: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q tests -m "fault$(if $(GROUP),(group='$(GROUP)'))" --faults-seed $(SEED) --faults-record leukonb/pages/faults.json

# The pages of the site as Quarto builds them, where it is on the PATH; smalldocs builds them in `make test`.
test-quarto: $(STAMP)
	@command -v quarto >/dev/null || { echo "quarto is not on the PATH: get it from https://quarto.org" >&2; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q tests/test_site_root.py tests/test_site_pages.py tests/test_site.py

lab: $(STAMP)
	$(BIN)/python -m ipykernel install --prefix .venv --name python3 --display-name leukonb
	$(BIN)/jupyter lab --notebook-dir nbs $(LAB)

site: $(STAMP)
	$(BIN)/leukonb site --out $(OUT)

# An exact environment: the versions and hashes of .lock, by uv where it is there, by pip otherwise. Compiled at once, as
# pip does: where Python may not write bytecode, each process would compile TensorFlow anew, seven seconds long. Whether
# this Python and this machine will do is asked before anything is made or fetched. What an interrupted installation left
# is thrown away: pip stumbles over half a package.
$(STAMP): .lock/$(TARGET).txt .lock/machine.py setup.py settings.ini
	@$(PYTHON) .lock/machine.py
	if [ -e .venv/.unfinished ]; then rm -rf .venv; fi
	$(PYTHON) -m venv .venv
	touch .venv/.unfinished
	$(call exact,.lock/$(TARGET).txt)
	if command -v uv >/dev/null; then \
	  uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(BIN)/python -m pip install --no-deps --no-build-isolation -e . ; \
	fi
	mv .venv/.unfinished $@

# JAX lies in a folder of its own: TensorFlow imports it wherever it finds it, two seconds long in each process.
.venv/.ready-jax: .lock/jax.txt $(STAMP)
	$(call exact,.lock/jax.txt --no-deps --target .venv/jax)
	touch $@

.venv/.ready-extras: .lock/extras.txt .lock/mlflow.txt $(STAMP)
	$(call exact,.lock/extras.txt)
	$(call exact,.lock/mlflow.txt)
	touch $@

# Install exactly what a file of .lock names.
define exact
if command -v uv >/dev/null; then \
  uv pip install --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) ; \
else \
  $(BIN)/python -m pip install --require-hashes -r $(1) ; \
fi
endef

# Resolve settings.ini anew for Python 3.11 to 3.13 (needs uv); the only step that changes .lock. The extras of the tests
# come last and keep to the versions of the others. MLflow has a file of its own, for it wants other versions of packages
# that compute nothing.
NAMED = $(PYTHON) -c 'import configparser as c, sys; p = c.ConfigParser(delimiters=["="], interpolation=None); p.read("settings.ini"); print(*(w for k in sys.argv[1:] for w in p["DEFAULT"][k + "requirements"].split()), sep="\n")'
COMPILE = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -
HELD = $(addprefix --no-emit-package ,numpy scipy ml-dtypes opt-einsum)
lock:
	$(NAMED) "" dev_ train_ | $(COMPILE) -o .lock/cpu.txt
	$(NAMED) "" dev_ gpu_ | $(COMPILE) -o .lock/gpu.txt
	$(NAMED) extras_tests_ | $(COMPILE) -c .lock/cpu.txt -o .lock/extras.txt
	$(NAMED) jax_tests_ | $(COMPILE) -c .lock/cpu.txt $(HELD) -o .lock/jax.txt
	cp .lock/cpu.txt .lock/mlflow.txt
	$(NAMED) "" dev_ train_ mlflow_ | $(COMPILE) -o .lock/mlflow.txt

# What installing and rendering made. Results, downloaded or drawn images and a site, beside which files of one's own may
# lie, are never deleted.
clean:
	rm -rf .venv _proc
	@for made in _runs _data _site; do [ ! -e $$made ] || echo "$$made is left: it holds results, delete it yourself"; done
