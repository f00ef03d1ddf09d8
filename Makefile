# `make` alone lists the targets. Everything is installed into .venv and .local of this folder.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IMAGE ?= migrator:local
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' migrator/__init__.py)
export REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
ARGS ?=
VERSIONS ?=
MATRIX ?= tests/database tests/faults
REPEAT ?= 1
# Tests run side by side, each worker with servers of its own. A single test needs one worker, and
# so does a server that all of them would share.
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS ?= $(if $(TEST_DATABASE_URL)$(findstring ::,$(ARGS)),0,$(shell expr 4 '*' $(CORES)))
# The bytecode of the tests is kept, whatever the environment says: each worker reads it.
export PYTHONDONTWRITEBYTECODE :=
PYTEST := $(BIN)/python -m pytest
BESIDE := --numprocesses $(WORKERS)
# Of a grid of tests each value of each parameter; FULL=1: each combination. A test that is named
# runs (tests/tiers.py).
FULL ?=
PICKED := $(if $(FULL)$(findstring ::,$(ARGS)),,-m 'not full')
# the files that touch nothing outside, as the test of the architecture has them
export PURE := from tests.unit.test_architecture import pure_paths; print(",".join(pure_paths()))
COVERED := 93
comma := ,
# what pip in the build of the image must trust, behind a proxy that inspects TLS
BUILD_CA ?= $(PIP_CERT)
export DOCKER_BUILDKIT := 1
# An engine keeps an image of one platform: those of several go into a file, or to a registry by
# OUTPUT=--push.
OUTPUT ?= $(if $(findstring $(comma),$(PLATFORMS)),--output type=oci$(comma)dest=.local/image.tar,--load)
define CAN_BUILD
builder=$$(docker buildx inspect --bootstrap 2>&1) || { echo "docker buildx is missing: apt-get install docker-buildx" >&2; exit 1; }; \
for platform in $(subst $(comma), ,$(PLATFORMS)); do \
  case "$$builder" in *"$$platform"*) ;; *) \
    echo "this builder cannot build for $$platform: docker run --privileged --rm tonistiigi/binfmt --install all" >&2; exit 1 ;; esac; \
done; \
case "$(PLATFORMS):$$builder" in *,*"Driver:"*" docker"[!-]*) \
  echo "the builder of the engine makes one platform at a time: docker buildx create --use" >&2; exit 1 ;; esac; \
mkdir -p .local
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

# Which database is that of the environment, else of .env, else a server in .local/; tests/laptop.py
# says which, and asks before it changes one that is not on this machine.
ENV_FILE ?= $(wildcard .env)
export ENV_FILE YES
LAPTOP := $(BIN)/python -m tests.laptop

.PHONY: migrate
migrate: $(VENV)/.runtime ## apply migrations/ to DATABASE_URL, of .env too, or to a server in .local/
	@$(LAPTOP) up $(ARGS)

.PHONY: status plan history report verify rollback repair baseline adopt redo reset
status: $(VENV)/.runtime ## show what is applied, pending, changed or missing there
plan: $(VENV)/.runtime ## show what migrate would apply, without doing it
history: $(VENV)/.runtime ## show what was done to the database, when and by which runner
report: $(VENV)/.runtime ## show all that is known, for an incident: ARGS=--markdown
verify: $(VENV)/.runtime ## fail unless all is applied and nothing has drifted; ARGS=--schema compares the database
rollback: $(VENV)/.runtime ## undo the last run, or ARGS='--to 002_seed_data'
repair: $(VENV)/.runtime ## record what you know: ARGS='--done 003_orders --reason "seen in psql"'
baseline: $(VENV)/.runtime ## record files as applied: ARGS='--at 002_seed_data --check'
adopt: $(VENV)/.runtime ## take over the history of another tool: ARGS='--from goose'
redo: $(VENV)/.runtime ## undo the last run and apply again, on this machine only
reset: $(VENV)/.runtime ## drop the database, create it and apply all, on this machine only
status plan history report verify rollback repair baseline adopt redo reset:
	@$(LAPTOP) $@ $(ARGS)

.PHONY: rehearse
rehearse: $(VENV)/.runtime ## prove the undo of each migration on a throw-away server, or SHADOW_DATABASE_URL
	@$(LAPTOP) rehearse $(ARGS)

.PHONY: check-migrations
check-migrations: $(VENV)/.runtime ## show what pending files would do to tables in use: ARGS='--base origin/main'
	@$(LAPTOP) check $(ARGS)

.PHONY: schema
schema: $(VENV)/.runtime ## write schema.sql, what the migrations make, for review: needs pg_dump
	@$(LAPTOP) dump $(ARGS)

.PHONY: new
new: export NAME := $(NAME)
new: $(VENV)/.runtime ## create the next migration: NAME='add orders', or ARGS='--renumber 003'
	@$(if $(NAME)$(ARGS),,$(error say NAME='add orders'))
	@$(BIN)/python entrypoint.py new $(if $(NAME),"$$NAME") $(if $(ENV_FILE),--env-file "$$ENV_FILE") $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## put the code into the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: test
test: $(VENV)/.dev ## unit, database and image tests, side by side: WORKERS=0 for one by one, FULL=1 for all
	$(PYTEST) $(BESIDE) $(PICKED) $(ARGS)

.PHONY: unit
unit: $(VENV)/.dev ## unit tests alone, which need nothing
	$(PYTEST) tests/unit $(ARGS)

.PHONY: cov
cov: $(VENV)/.dev ## branch coverage: 100 % of the pure files, and a floor under the rest
	$(PYTEST) $(BESIDE) --cov --cov-report= tests/unit tests/database tests/faults $(ARGS)
	@pure=$$($(BIN)/python -c "$$PURE"); \
	  $(BIN)/coverage report --include="$$pure" --fail-under=100 && \
	  $(BIN)/coverage report --omit="$$pure" --fail-under=$(COVERED)

.PHONY: test-matrix
test-matrix: export REQUIRE_DATABASE := 1
test-matrix: $(VENV)/.dev ## database and fault tests on PostgreSQL 14 to 18, or VERSIONS='17 18'
	@$(BIN)/python -m tests.servers run .local/pg $(VERSIONS) -- \
	  $(BIN)/python -m pytest $(BESIDE) $(PICKED) $(MATRIX) $(ARGS)

.PHONY: faults
faults: export REQUIRE_DATABASE := 1
faults: export REQUIRE_DOCKER := 1
faults: $(VENV)/.dev ## fault tests, in containers too, REPEAT=10 times in a row; the first failure ends it
	@for ((n = 1; n <= $(REPEAT); n++)); do \
	  printf '\n== %d of %d\n' $$n $(REPEAT); \
	  $(PYTEST) $(BESIDE) -m faults tests/faults tests/image $(ARGS) || exit; \
	done

.PHONY: peers
peers: export REQUIRE_DATABASE := 1
peers: export REQUIRE_INDEX := 1
peers: $(VENV)/.dev ## the same folders by the tools of others, which npm brings into .local/peers, and by ours
	$(PYTEST) tests/peers $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## measure the job beside psql and dbmate on a throw-away server; asserts nothing
	@IMAGE=$(IMAGE) $(BIN)/python -m bench.run $(ARGS)

.PHONY: bench-check
bench-check: $(VENV)/.dev ## measure what check finds, misses and costs, beside squawk from npm
	@$(BIN)/python -m bench.check

.PHONY: bench-fleet
bench-fleet: $(VENV)/.dev ## measure 1,000 databases, beside shell loops around the job and dbmate: ARGS='--databases 100'
	@$(BIN)/python -m bench.fleet $(ARGS)

.PHONY: image
image: ## build the image, TARGET=runner for the job alone, EXTRAS=otel for traces, PLATFORMS=linux/amd64,linux/arm64; BUILD_CA=bundle.pem behind a TLS proxy
	@$(if $(PLATFORMS),$(CAN_BUILD))
	docker $(if $(PLATFORMS),buildx )build --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  $(if $(PLATFORMS),--platform $(PLATFORMS) $(OUTPUT)) \
	  $(if $(EXTRAS),--build-arg EXTRAS=$(EXTRAS)) $(if $(TARGET),--target $(TARGET)) $(if $(BUILD_CA),--secret id=ca$(comma)src=$(BUILD_CA)) .

.PHONY: image-size
image-size: image ## its bytes: uncompressed, and compressed about as a registry keeps it
	@docker image inspect --format '{{.Size}}' $(IMAGE)
	@docker save $(IMAGE) | gzip | wc -c

.PHONY: up
up: image ## in containers: a database, the migrations, and an application that waits for them
	IMAGE=$(IMAGE) docker compose run --rm migrate
	IMAGE=$(IMAGE) docker compose up --no-build app

.PHONY: lock
lock: $(VENV)/.dev ## pin every package with its hashes, for the image and for development
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --custom-compile-command 'make lock' \
	  --python-version 3.11 pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --custom-compile-command 'make lock' \
	  --python-version 3.11 --extra dev --extra otel --constraint requirements.txt pyproject.toml --output-file requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --custom-compile-command 'make lock' \
	  --python-version 3.11 --extra otel --constraint requirements-dev.txt pyproject.toml --output-file requirements-otel.txt

.PHONY: clean
clean: ## remove what make made
	-[ ! -d .local/postgres ] || $(PYTHON) tests/postgres.py stop .local/postgres
	-[ ! -d .local/pg ] || $(PYTHON) -m tests.servers remove .local/pg
	rm -rf $(VENV) .local .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
