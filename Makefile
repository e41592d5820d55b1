# On a fresh machine with Python 3.11 or newer and make:
#   make demo   creates the environment and runs the main job
#   make test   creates the environment and passes the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# The newest Python there is besides, for the newest JAX; empty where there is none.
LATEST_PYTHON ?= $(firstword $(foreach version,3.13 3.12,$(shell ./.ci/find-python $(version))))
# What depends most on JAX: the engine, derivatives, transformations.
LATEST_TESTS := tests/engine tests/contracts/test_composition.py

# What is promised to the last bit, or to rounding, is compiled as users compile it; see tests/conftest.py.
TO_THE_LAST_BIT := tests/contracts/test_to_the_last_bit.py tests/optimize/test_devices.py \
	tests/methods/scalar/test_from_optax.py

.PHONY: demo test test-all test-latest accelerators accelerators-tpu accelerators-cuda accelerator-environments lint \
	format bench docs test-docs release-check clean

demo: $(VENV)/.demo
	$(BIN)/jaxcalc demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal $(addprefix --ignore=,$(TO_THE_LAST_BIT))
	AS_USERS_COMPILE=1 $(BIN)/python -m pytest -n auto --dist worksteal $(TO_THE_LAST_BIT)

test-all: $(VENV)/.dev
	AS_USERS_COMPILE=1 $(BIN)/python -m pytest -n auto --dist worksteal --slow

test-latest:
	test -n "$(LATEST_PYTHON)" || { echo "there is no Python 3.12 or 3.13 here"; exit 1; }
	$(MAKE) VENV=$(VENV)-latest PYTHON=$(LATEST_PYTHON) $(VENV)-latest/.test
	$(VENV)-latest/bin/python -m pytest -n auto --dist worksteal $(LATEST_TESTS)

# The methods to compile for accelerators; all of them where this is empty. With QUICK=1 one program of each.
METHODS ?=
QUICK ?=
ACCELERATORS = -m accelerators $(if $(QUICK),--quick)

# Each compiler in an environment and a process of its own. CUDA's packages would ask for all of its libraries, which
# compiling does not need.
accelerators: accelerators-tpu accelerators-cuda

accelerators-tpu: $(VENV)-tpu/.tpu
	JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 $(VENV)-tpu/bin/python $(ACCELERATORS) tpu $(METHODS)

accelerators-cuda: $(VENV)-cuda/.cuda
	JAX_PLATFORMS=cpu XLA_FLAGS="--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false" \
		$(VENV)-cuda/bin/python $(ACCELERATORS) cuda $(METHODS)

accelerator-environments: $(VENV)-tpu/.tpu $(VENV)-cuda/.cuda

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# What a user gets: sdist and wheel, the wheel in an empty environment and an empty folder, where the README's examples and
# the command run. The tree is not on the path there.
RELEASE := .cache/release

release-check:
	rm -rf $(RELEASE) && mkdir -p $(RELEASE)/elsewhere
	$(PYTHON) -m venv $(RELEASE)/builder
	$(RELEASE)/builder/bin/python -m pip install --quiet --disable-pip-version-check build
	$(RELEASE)/builder/bin/python -m build --outdir $(RELEASE)/dist .
	$(PYTHON) -m venv $(RELEASE)/empty
	$(RELEASE)/empty/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		"jaxcalc[demo,store,xarray] @ file://$(CURDIR)/$$(ls $(RELEASE)/dist/*.whl)"
	cp README.md tests/project/installed.py $(RELEASE)/elsewhere
	cd $(RELEASE)/elsewhere && ../empty/bin/python installed.py "$(CURDIR)" && ../empty/bin/jaxcalc doctor

bench: $(VENV)/.dev
	$(BIN)/jaxcalc bench --json benchmarks.json --markdown docs/performance.md

# The site, in build/site; it works from that folder. The variable silences the theme's notice about its successor.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The code of all pages, which the build has run, and the site in Chromium where there is one.
test-docs: docs $(VENV)/.dev
	AS_USERS_COMPILE=1 JAXCALC_SITE=build/site $(BIN)/python -m pytest --slow tests/project/test_pages.py tests/project/test_site.py

clean:
	rm -rf $(VENV) .cache

$(VENV)-tpu/.tpu $(VENV)-cuda/.cuda: pyproject.toml constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$(if $(findstring tpu,$@),'jax[tpu]',--no-deps nvidia-cuda-nvcc-cu12 \
		$$($(@D)/bin/python -c "from jaxlib import __version__ as v; print(f'jax-cuda12-plugin=={v} jax-cuda12-pjrt=={v}')"))
	touch $@

# The stamp says which extras the environment holds; a change of what they ask for installs anew.
$(VENV)/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[$*]'
	touch $@
