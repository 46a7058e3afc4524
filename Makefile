# Every target sets up .venv if it is missing or out of date, then calls icl or pytest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.ready-test
BROWSER_READY := $(VENV)/.ready-browser
CLUSTER_READY := $(VENV)/.ready-cluster
DOCS_READY := $(VENV)/.ready-docs
# Chromium's name on PATH or its path; empty: the first that is found. make test-browser CHROMIUM=/opt/chrome/chrome
export CHROMIUM ?=

# Says every ten seconds how long what follows takes, in the same shell and as long as that lives.
TICKING := (n=0; while sleep 10 && kill -0 $$$$ 2>/dev/null; do n=$$((n + 10)); echo "  $$n seconds so far"; done) &

.PHONY: help experiment plot report compare list check verify bench test test-browser test-readers test-cluster chromium slurm docs lint clean

help:
	@echo "make experiment NAME=mixed [ARGS=\"--seeds 0,1\"]   train, evaluate and plot an experiment"
	@echo "make plot NAME=mixed                              redraw its figures from the CSV files"
	@echo "make report NAME=mixed                            write its report.html: one page with everything"
	@echo "make compare NAME=\"sequential random\"            statistics over seeds, pair by pair"
	@echo "make list                                         experiments, function classes, curricula, ..."
	@echo "make check                                        every component that ships, held to its contract"
	@echo "make verify                                       golden numbers: moments, banks, oracles, baselines"
	@echo "make bench                                        speed: training steps, time to quality, throughput, memory"
	@echo "make test                                         lint, types and the whole test suite"
	@echo "make test-browser                                 reports and site in a real browser (needs Chromium)"
	@echo "make test-readers                                 the tables as R reads them (needs Rscript)"
	@echo "make test-cluster                                 runs on a real SLURM and a real Ray, both on this machine"
	@echo "make docs                                         the pages as a site with an API reference, site/index.html"
	@echo "make lint                                         ruff and mypy alone"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.11 ...")'
	@echo "setting up $(VENV) (once; about two minutes and 1.6 GB, most of it PyTorch)"
	@$(PYTHON) -m venv $(VENV) || (echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1)
	@$(TICKING) $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST_READY): $(READY)
	@echo "adding what the tests need"
	@$(TICKING) $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(BROWSER_READY): $(TEST_READY)
	@echo "adding what drives the browser"
	@$(TICKING) $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	@touch $@

$(CLUSTER_READY): $(TEST_READY)
	@echo "adding Ray (240 MB)"
	@$(TICKING) $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@touch $@

$(DOCS_READY): $(READY)
	@echo "adding what builds the site"
	@$(TICKING) $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

experiment: $(READY)
	@test -n "$(NAME)" || (echo "which experiment? e.g. make experiment NAME=mixed; make list shows them" >&2; exit 2)
	@$(BIN)/icl run $(NAME) $(ARGS)

plot: $(READY)
	@test -n "$(NAME)" || (echo "which experiment? e.g. make plot NAME=mixed" >&2; exit 2)
	@$(BIN)/icl plot $(NAME) $(ARGS)

report: $(READY)
	@test -n "$(NAME)" || (echo "which experiment? e.g. make report NAME=mixed" >&2; exit 2)
	@$(BIN)/icl report $(NAME) $(ARGS)

compare: $(READY)
	@test -n "$(NAME)" || (echo "which experiments? e.g. make compare NAME=\"sequential random\"" >&2; exit 2)
	@$(BIN)/icl compare $(NAME) $(ARGS)

list: $(READY)
	@$(BIN)/icl list $(ARGS)

check: $(READY)
	@$(BIN)/icl check --all $(ARGS)

verify: $(READY)
	@$(BIN)/icl verify $(ARGS)

bench: $(READY)
	@$(BIN)/icl bench $(ARGS)

lint: $(TEST_READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# What pytest makes of each test file is kept whatever the shell says of bytecode: to make it anew takes as long as many tests.
test: lint
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

chromium:
	@$(PYTHON) tests/browser/chromium.py

test-browser: chromium docs $(BROWSER_READY)
	@$(BIN)/python -m pytest tests/browser $(ARGS)

test-readers: $(TEST_READY)
	@command -v Rscript >/dev/null || (echo "no Rscript on PATH; on Debian and Ubuntu: apt-get install r-base-core" >&2; exit 1)
	@$(BIN)/python -m pytest tests/readers $(ARGS)

slurm:
	@$(PYTHON) tests/cluster/slurm_cluster.py

# Two files at once: most of the time, both wait.
test-cluster: slurm $(CLUSTER_READY)
	@$(BIN)/python -m pytest tests/cluster -n 2 --dist loadfile $(ARGS)

# Strictly: a broken link, a missing page or a name in a docstring that means nothing is an error.
docs: $(DOCS_READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f docs/site/mkdocs.yml $(ARGS)
	@echo "site/index.html"

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
