# make run    runs the quick configuration of every benchmark and writes their pages
# make test   runs all tests
# make lint   checks style and formatting
# make site   writes the site of the published results
# make verify checks the published results, and the site if there is one
# make clean  removes what the others made
# Each sets up .venv itself when it is missing or older than the locks.
# make lock   renews the locks: the newest versions that fit, or, with UPGRADE=, as few changes as can be

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BENCHMARKS := . $(patsubst %/objective.py,%,$(wildcard benchmark_*/objective.py))

# Activated, because Benchopt starts `python` itself.
IN_VENV := . $(VENV)/bin/activate &&
PIP := $(IN_VENV) python -m pip --disable-pip-version-check --quiet

.PHONY: run test lint site verify clean lock
.DELETE_ON_ERROR:

run: $(STAMP)
	@$(IN_VENV) orthobench quick

test: $(STAMP)
	$(IN_VENV) python -m pytest --numprocesses auto --dist worksteal
	@$(MAKE) --jobs=2 --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(BENCHMARKS:%=benchopt-test/%)

benchopt-test/%: $(STAMP)
	@$(IN_VENV) benchopt test $* --skip-install

lint: $(STAMP)
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .

site: $(STAMP)
	$(IN_VENV) orthobench site --results results --out site

verify: $(STAMP)
	$(IN_VENV) orthobench verify --results results $(if $(wildcard site/index.html),--site site)

clean:
	rm -rf site $(VENV) build src/*.egg-info .pytest_cache .ruff_cache .hypothesis
	rm -rf $(addsuffix /outputs,$(BENCHMARKS)) $(addsuffix /__cache__,$(BENCHMARKS))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

UPGRADE ?= --upgrade
lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	uv pip compile --quiet --config-file lock.toml $(UPGRADE) pyproject.toml requirements-torch.lock --output-file requirements.lock
	echo triton | uv pip compile --quiet --no-config --universal --generate-hashes --no-annotate --custom-compile-command "make lock" $(UPGRADE) - --output-file requirements-triton.lock

# Files must have the hashes of the lock, and come without what it doesn't name: so nothing in it chooses the version or
# build of torch, which comes next, alone. Its builds for CUDA bring the libraries and the Triton that they need; without
# one, the tests of the kernels get theirs, which has wheels for Linux only.
$(STAMP): requirements.lock requirements-torch.lock requirements-triton.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "OrthoBench needs Python 3.11 or newer; no '$(PYTHON)' was found. Install it, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "OrthoBench needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version). Name another: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' can't make virtual environments: install its venv package (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --require-hashes --no-deps --requirement requirements.lock
	$(PIP) install --requirement requirements-torch.lock
	if [ "$$(uname)" = Linux ] && ! ($(IN_VENV) python -c 'import triton' 2>/dev/null); then $(PIP) install --require-hashes --requirement requirements-triton.lock; fi
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $(STAMP)
