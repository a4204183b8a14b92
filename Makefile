# Two commands matter: `make demo` and `make test`. Each installs what it needs into .venv first.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test bench gpu install lint readme notebooks examples docs clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## train a small model on photos, test it, write outputs/demo/report.html
	@echo "demo: training and testing, about 3 minutes on 2 cores"
	@$(BIN)/inr-assr run nbs/runs/demo.ipynb -o outputs/demo/demo.ipynb
	@echo "demo: open outputs/demo/report.html"

test: $(STAMP)  ## every notebook, and the tests that notebooks do not carry
	@OMP_NUM_THREADS=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist worksteal -q -rs tests

bench: $(STAMP)  ## time us against the published structures (QUICK=1: under 3 minutes; GPU=1: on a GPU)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py $(if $(QUICK),--quick) $(if $(GPU),--device cuda) $(BENCH)

gpu: $(STAMP)  ## all that a GPU changes, in under 10 minutes: conformance, training, resume, memory, speed (DEVICE=cpu: the same script without one)
	@$(BIN)/python benchmarks/gpu.py --device $(or $(DEVICE),cuda) $(GPUARGS)

install: $(STAMP)

# torch goes first, and without GPU packages where no GPU is at hand: if pip would bring them,
# uv, which knows where the CPU builds are, is asked instead.
$(STAMP): setup.py settings.ini pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "inr_assr needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || { echo "install: making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "install: torch"
	@if ! command -v nvidia-smi >/dev/null 2>&1 && $(BIN)/pip install --dry-run -q --report - '$(TORCH)' 2>/dev/null | grep -q '"name": "nvidia-'; then \
		$(BIN)/pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python --torch-backend cpu '$(TORCH)' \
		|| $(BIN)/pip install -q -c constraints.txt '$(TORCH)'; \
	else $(BIN)/pip install -q -c constraints.txt '$(TORCH)'; fi
	@echo "install: the tool chain (about 140 packages)"
	@$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check --select E9,F63,F7,F82 nbs inr_assr tests setup.py
	$(BIN)/lint-imports

readme: $(STAMP)  ## make README.md from nbs/index.ipynb
	$(BIN)/jupyter nbconvert --log-level ERROR --to markdown --no-input nbs/index.ipynb --output-dir . --output README --NbConvertApp.output_files_dir=nbs/figures
	sed -E 's#\]\((([a-z]+/)?[0-9a-z_]+\.ipynb)\)#](nbs/\1)#g' README.md > README.tmp && mv README.tmp README.md

notebooks: $(STAMP)  ## export the package, execute the notebooks in place and clean them (give NB=... for one)
	$(BIN)/nbdev-export
	for nb in $(or $(NB),$(shell find nbs -name '[0-9]*.ipynb' | sort)); do \
		echo $$nb; $(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute --inplace $$nb && $(BIN)/nbdev-clean --fname $$nb || exit 1; done

examples: $(STAMP)  ## execute the runners that show something by themselves, and keep their outputs
	for name in demo test report; do \
		$(BIN)/inr-assr run nbs/runs/$$name.ipynb -o outputs/$$name.ipynb && mv outputs/$$name.ipynb nbs/runs/$$name.ipynb \
		&& $(BIN)/nbdev-clean --fname nbs/runs/$$name.ipynb || exit 1; done

docs: $(STAMP)  ## the book as a static site, in site/
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

clean:
	rm -rf $(VENV) build dist *.egg-info
