# All targets work on a fresh machine with Python >= 3.11, make and PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := examples/nycflights
RUNTIME := $(VENV)/.base
DEV := $(VENV)/.dev
# Each has servers of its own, and a few GB: more of them are not faster on few cores.
TESTERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run demo run-server servers servers-down env test soak places guards check format lint types bench clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): locks/base.txt pyproject.toml | $(BIN)/python
	@echo "installing the pinned dependencies (about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/base.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(DEV): locks/dev.txt $(RUNTIME)
	@echo "installing the pinned development dependencies ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@touch $@

run: $(RUNTIME) ## stage, audit and publish the 336,776 flights of New York City in 2013
	@$(BIN)/python $(EXAMPLE)/fetch.py
	$(BIN)/python run_workflow.py flights --project $(EXAMPLE)

demo: $(RUNTIME) ## a good batch is published, a spoiled one is blocked, the consumer sees no difference
	@$(BIN)/python $(EXAMPLE)/fetch.py
	@$(BIN)/python -m examples.demo

run-server: $(DEV) ## the same flights in server mode: Nessie, S3, Postgres, a given Temporal server
	@$(BIN)/python $(EXAMPLE)/fetch.py
	@$(BIN)/python -m examples.server

servers: $(DEV) ## what docker-compose.yml starts, without Docker, until servers-down; PROFILE=spark
	@$(BIN)/python $(EXAMPLE)/fetch.py
	@$(BIN)/python -m tests.servers up $(PROFILE)

servers-down: $(DEV) ## stop them
	@$(BIN)/python -m tests.servers down

env: $(DEV) ## new passwords and tokens for docker-compose.yml, in .env
	@$(BIN)/python $(EXAMPLE)/fetch.py
	@$(BIN)/python deploy/make_env.py

test: $(DEV) ## the tests, in two processes; TESTERS=1 for one
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile

soak: $(DEV) ## 1,200 random interleavings on six catalogs, then 500 kills of whole runs (hours)
	WAP_REQUIRE_SERVERS=1 $(BIN)/python -m pytest tests/behaviors/test_catalog_interleavings.py \
	  --catalogs=memory,sqlite,portable,postgres,rest,nessie --sequences=200
	$(BIN)/python -m tests.soak.kills --kills 500

places: $(DEV) ## every catalog on a folder and in S3: behaviours, main job, every kill, Spark beside it (hours)
	WAP_REQUIRE_SERVERS=1 $(BIN)/python -m pytest --catalogs=all --boundaries=all tests/behaviors \
	  tests/integration/test_spark_places.py tests/e2e/test_places.py tests/e2e/test_groups.py \
	  tests/e2e/test_spark.py

guards: $(DEV) ## break every guard of laws 2 and 3 on purpose: each must turn a test red
	$(BIN)/python -m pytest tests/mutation

check: $(DEV) format lint types test ## all that .ci/run runs: format, lint, import contracts, types, tests

format: $(DEV) ## is everything formatted?
	$(BIN)/ruff format --check .

lint: $(DEV) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

bench: $(DEV) ## the benchmark table of docs/benchmarks.md, all sides in one run (long)
	$(BIN)/python -m benchmarks

clean: ## what the examples made, not the environment
	rm -rf examples/*/.wap examples/*/warehouse examples/*/reports examples/*/lineage
