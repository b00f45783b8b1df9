# Songhe: everything a developer does, by one word. `make` alone lists the words.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
LOCK := requirements-dev.lock

.DEFAULT_GOAL := help
.PHONY: help setup up down status logs demo test check fmt docs lock keys compose-up compose-smoke compose-watch compose-down cluster-keys cluster-smoke render rules fuzz properties proofs bench bench-compare bench-quick bench-growth bench-callback bench-starts crash crash-quick mutations

help: ## list these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The copy of the lock tells what the environment was made from: pip runs again only after a change.
setup: ## create .venv with every package of the lock, verified by hash
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or run make PYTHON=/path/to/python." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Songhe needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1): run make PYTHON=/path/to/newer/python." >&2; exit 2; }
	@cmp -s $(LOCK) $(VENV)/$(LOCK) || { \
	  echo "Installing the locked packages into $(VENV) (a minute with a warm cache) ..." && \
	  $(PYTHON) -m venv --clear $(VENV) && \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK) && \
	  cp $(LOCK) $(VENV)/$(LOCK); }

up: setup ## start the whole stack; a second time it is a no-op
	@$(RUN) -m devstack up

down: ## stop every process of the stack; the data stay
	@if [ -x $(RUN) ]; then $(RUN) -m devstack down; fi

status: setup ## what runs, and where
	@$(RUN) -m devstack status

logs: setup ## follow all logs
	@$(RUN) -m devstack logs -f

demo: up ## pay by Alipay, WeChat Pay and direct debit, from login to "paid, SMS delivered"
	@$(RUN) -m devstack.demo

test: setup ## every test, over real servers that the tests start themselves
	@$(RUN) -m pytest

bench: setup ## measure throughput and latency, beside pgbench and a naive saga (15 to 20 minutes)
	@$(RUN) -m bench

bench-quick: setup ## the same in three minutes, to see that it works
	@$(RUN) -m bench --quick

# CPU until ready, idle memory, the second `up`: OLD=f846347 make bench-compare
OLD ?= f846347
bench-compare: setup ## run an older revision (OLD=…) and this tree alternately, and print ratios
	@$(RUN) -m bench.compare $(OLD)

bench-growth: setup ## measure throughput beside 10⁴, 10⁵ and 10⁶ settled orders (15 minutes)
	@$(RUN) -m bench.growth

bench-callback: setup ## measure how many callbacks of channels are verified and settled (five minutes)
	@$(RUN) -m bench callback

bench-starts: setup ## measure how long a payer waits from "pay" to the cashier (two minutes)
	@$(RUN) -m bench starts

crash: setup ## kill everything everywhere under load and count; SCENARIO=x runs one (45 min)
	@$(RUN) -m tests.crash $(SCENARIO)

crash-quick: setup ## every crash point once, in a few minutes
	@$(RUN) -m tests.crash --quick

mutations: setup ## break the product by name and see who notices (MUTATION=x: one)
	@$(RUN) -m tests.crash.mutations $(MUTATION)

check: setup ## style, types, import rules, generated files, secrets
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) -m documents --check
	git ls-files -z | xargs -0 $(VENV)/bin/detect-secrets-hook --baseline .secrets.baseline

fmt: setup ## put every file into shape
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

docs: setup ## write the generated documents anew
	@$(RUN) -m documents

# The locks hold what an existing lock holds, unless pyproject.toml asks for something else.
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: ## write all locks anew after a change in pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "There is no uv: install it (it is on PyPI) to write the locks." >&2; exit 2; }
	$(UV_COMPILE) pyproject.toml --group devstack --group stream -o requirements.lock
	$(UV_COMPILE) pyproject.toml --group devstack --group dev --group stream -c requirements.lock -o requirements-dev.lock
	for image in identity billing payment notifier stream sandbox entry; do \
	  $(UV_COMPILE) --group pyproject.toml:$$image -c requirements.lock -o deploy/locks/$$image.lock || exit; done

keys: setup ## make development keys for containers, once
	@$(RUN) -m deploy.keys.containers

compose-up: keys ## build the images and start everything in containers
	@docker compose up --build --wait

compose-smoke: ## pay one contribution through the containers' entry, with curl
	@deploy/walk.sh

compose-watch: ## whether the containers' Prometheus reaches every target and has every rule
	@python3 deploy/observability/check.py

compose-down: ## stop the containers; their data stay
	@docker compose --profile observability --profile dashboards down

cluster-keys: setup ## make the Secrets of the dev overlay in the current kubeconfig's cluster
	@$(RUN) -m deploy.keys.cluster

cluster-smoke: setup ## apply the dev overlay to that cluster and prove what it promises
	@$(RUN) -m deploy.cluster_smoke

render: setup ## render every Kubernetes overlay and prove what the manifests promise
	@$(RUN) -m deploy.render
	@$(RUN) -m pytest -q deploy/tests

fuzz: setup ## verify a million mutated callbacks of both cashier channels; none may pass
	@$(RUN) -m services.payment.tests.fuzz $(FUZZ)

# `make test` goes through the same few orders of events each time; this one draws its own.
properties: setup ## thousands of orders of payments, faults and closing, drawn anew (half an hour)
	@SONGHE_TEST_LONG=1 SONGHE_BILL_RUNS=2000 SONGHE_MACHINE_RUNS=2000 SONGHE_TEST_DOUBLE_PAYS=200 $(RUN) -m pytest -q \
	  services/payment/tests/orders/test_attempt_machine.py services/payment/tests/orders/test_bill_machine.py services/payment/tests/orders/test_pay_and_close_raced.py \
	  tests/integration/test_double_pay.py

# `make test` has a short form of each of these: docs/proofs.md.
proofs: properties ## the long forms of what `make test` proves in short, and `make properties`
	@SONGHE_TEST_LONG=1 $(RUN) -m pytest -q \
	  tests/integration/test_poison.py tests/integration/test_stopping.py shared/tests/messaging/test_relay.py

rules: ## check the Prometheus rules, their tests and configurations (needs promtool, or its image)
	@deploy/observability/rules.sh
