# `make` alone lists the targets. What takes more than a line is in
# pacsless/stack/setup.sh and in the pacsless command.
PYTHON := .venv/bin/python
PACSLESS := $(PYTHON) -m pacsless
LOCK := .venv/bin/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup setup-test chart-test terraform-test cluster-up cluster-test knative-test cluster-down up down status logs demo test lint format check bench bench-end-to-end bench-retrieve bench-search crash faults images image-test docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: Debian packages (root or sudo), Python, Kafka, viewer
	@pacsless/stack/setup.sh

setup-test:
	@pacsless/stack/setup.sh test

up: setup ## Start the local stack; returns when everything is ready
	@$(PACSLESS) up

down: ## Stop the local stack; its data stays
	@[ ! -x $(PYTHON) ] || $(PACSLESS) down

status: ## Show parts, lag, dead letters, outbox and addresses
	@$(PACSLESS) status

logs: ## Follow all logs
	@$(PACSLESS) logs --follow

demo: up ## Set up, start, send real images, and show what became of them
	@$(PACSLESS) demo

test: setup-test ## Set up and run all tests: unit, contract, integration, e2e
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(PYTHON) -m pytest -n 2 --dist loadscope --no-loadscope-reorder  # Node.js may be in .venv

chart-test: setup ## Test the Helm chart without a cluster, with Helm 3 and 4; part of make test
	@$(PYTHON) -m pytest tests/chart tests/contract/test_chart.py

lint: setup ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy pacsless functions scp-gateway bench images

format: setup ## Format the sources and mend what ruff can
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

check: lint test ## What CI runs

bench: setup ## Measure ingest beside its peers, into docs/benchmarks.md (10 minutes)
	@$(PYTHON) -m bench.ingest --write docs/benchmarks.md $(BENCH)

bench-search: setup ## Measure searches of 10,000 and a million studies, into docs/benchmarks.md
	@$(PYTHON) -m bench.search --write docs/benchmarks.md $(BENCH)

bench-end-to-end: setup ## Measure the whole stack under a burst, into docs/benchmarks.md and burst.png
	@$(PYTHON) -m bench.end_to_end --write docs/benchmarks.md --plot docs/burst.png $(BENCH)

bench-retrieve: setup ## Measure reading beside Orthanc and nginx's own files, into docs/benchmarks.md (15 minutes)
	@$(PYTHON) -m bench.retrieve --write docs/benchmarks.md $(BENCH)

crash: setup-test ## Kill the gateway, cut its power, fill its disk, send it 4 GB: half an hour (root)
	@$(PYTHON) -m tests.crash $(CRASH)

faults: setup-test ## Kill every part of a stack under load, 20 rounds, and replay its topics: an hour
	@$(PYTHON) -m tests.faults $(FAULTS)

terraform-test: setup ## Make, plan again and destroy terraform/examples/dev against moto (4 minutes; needs terraform)
	@$(PYTHON) -m pytest -rs tests/terraform/test_modules.py tests/terraform/test_apply.py

LEVEL ?= 4

cluster-up: ## A real Kubernetes on this machine (root, Go): LEVEL=2 API, 3 and pods, 4 and Kafka, KEDA, 5 and Knative
	@pacsless/stack/setup.sh cluster
	@$(PYTHON) -m tests.cluster up --level $(LEVEL)

cluster-test: cluster-up images ## Install the chart there, kill its pods, upgrade, roll back, remove, find all again
	@tests/cluster/in-cluster $(CURDIR)/$(PYTHON) -m pytest -s tests/cluster

knative-test: LEVEL = 5
knative-test: cluster-up images ## Functions as Knative Services there: from none to many and back, events by KafkaSource's rules
	@tests/cluster/in-cluster $(CURDIR)/$(PYTHON) -m pytest -s tests/knative

cluster-down: ## End it; what was built for it stays
	@[ ! -x $(PYTHON) ] || $(PYTHON) -m tests.cluster down

images: setup ## Make the container images, and load them into the cluster if it runs (IMAGES="nginx …")
	@$(PYTHON) -m images $(IMAGES)

image-test: ## Run each image as a strict cluster would (root, runc)
	@pacsless/stack/setup.sh images
	@$(PYTHON) -m images --no-load
	@unshare --net sh -c 'ip link set lo up && exec $(PYTHON) -m pytest -p no:cacheprovider tests/images'

docs: setup ## Renew the tables and the descriptions of the service made from code
	@$(PYTHON) -m pacsless.readme README.md
	@$(PYTHON) -m pacsless.chart charts/pacsless/files/functions.json
	@$(PYTHON) -m pacsless.chart_values docs/install.md
	@$(PYTHON) -m pacsless.capabilities schemas/dicomweb
	@PYTHONPATH=.:scp-gateway $(PYTHON) -m scp_gateway.conformance docs/conformance.md

lock: setup ## Lock the dependencies of every pyproject.toml, with hashes
	@$(LOCK) pyproject.toml --extra send --extra stack --extra plot --extra dev -o requirements/dev.txt
	@$(LOCK) pyproject.toml --extra send -c requirements/dev.txt -o requirements/pacsless.txt
	@for project in functions/*/pyproject.toml scp-gateway/pyproject.toml images/warehouse/pyproject.toml; do \
	    $(LOCK) $$project -c requirements/dev.txt -o requirements/$$(basename $$(dirname $$project)).txt || exit 1; \
	done

clean: down cluster-down ## Stop the stack and the cluster; remove their data and everything built or downloaded
	@rm -rf .pacsless .venv viewer/dist viewer/dist.tmp viewer/node_modules .mypy_cache .ruff_cache .pytest_cache
