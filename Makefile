# Everything one types in this repository; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup up demo chaos year cluster alerts erasure fuzz check test bench rules rule-pages schemas image runtime docs lock dashboards pictures measure format lint types imports rule-files build-files dependencies spelling unused unit

PYTHON := .venv/bin/python
READY := .venv/.ready
export RUN

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## prepare .venv and the Kafka jars (the others do it when they need it)

$(READY): requirements.lock dev/setup.sh
	@sh dev/setup.sh
	@touch $@

up: $(READY) ## start the stack on the real clock until interrupted; .run/stack.json says how to reach it (RUN=name: one more beside it)
	@$(PYTHON) -m dev

demo: $(READY) ## play the eight stories through a stack of their own, then erase one of its people
	@$(PYTHON) -m dev.demo

check: $(READY) ## format, lint, types, imports, rule files, dependencies, spelling, unused code and unit tests, in about two minutes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target format lint types imports rule-files build-files dependencies spelling unused unit

test: $(READY) ## run everything: the checks, then all tests on a real broker and a real database
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target format lint types imports rule-files build-files dependencies spelling unused unit
	@$(PYTHON) -m tests.containers
	@$(PYTHON) -m pytest -m "integration or flow" --numprocesses=2 --dist=loadfile --no-loadscope-reorder

chaos: $(READY) ## kill and freeze everything under load, then judge the delivery promise (SEED=n, MINUTES=m)
	@$(PYTHON) -m dev.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),2)

year: $(READY) ## play a year of traffic on the virtual clock with every sweep, then judge whether each table is flat (MONTHS=n, SEED=n)
	@$(PYTHON) -m dev.year --months $(or $(MONTHS),13) --seed $(or $(SEED),1)

cluster: $(READY) ## build the images and try them on a real Kubernetes: stories, policies, kills, a rollout, a restore (NODE=path/to/node.sh, or CONTEXT=name; ONLY=step; KEEP=1)
	@$(PYTHON) -m dev.cluster $(if $(NODE),--node $(NODE)) $(if $(CONTEXT),--context $(CONTEXT)) $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

alerts: $(READY) ## cause every failure that can be caused in a stack, and print which alerts fired in a real Prometheus, in about six minutes
	@$(PYTHON) -m dev.observability.failures

erasure: $(READY) ## play the stories, erase a visitor and a contact, and look for them in every table, topic, file and log
	@$(PYTHON) -m pytest -q -s -m erasure tests/flow/test_erasure.py

fuzz: $(READY) ## give a million spoilt inputs to everything that reads what comes from outside (SEED=n, COUNT=n)
	@FUZZ_SEED=$(or $(SEED),1) FUZZ_COUNT=$(or $(COUNT),1000000) $(PYTHON) -m pytest -q -s tests/fuzz

bench: $(READY) ## measure: floor, ours and their ratio in one run
	@$(PYTHON) -m bench

rules: $(READY) ## check the rule files and play their stories (FOLDER=path)
	@$(PYTHON) -m ops rules check $(or $(FOLDER),rules)

rule-pages: $(READY) ## write what the commands of docs/rules print, and what people read, into the pages
	@$(PYTHON) -m tests.docs.rule_page_outputs
	@$(PYTHON) -m tests.docs.sample_pull_request

image: $(READY) ## build the images stet, stet-operator and stet-dev, try stet, print sizes, copy out bills of materials and licences (BUILDER, BASE, RUNTIME_BASE, TAG, SOURCE)
	@$(PYTHON) -m dev.image

runtime: $(READY) ## import the services and the commands with nothing but what requirements.runtime.lock names
	@$(PYTHON) -m dev.runtime_check

docs: $(READY) ## build the pages of docs/ as a site in site/: every link is checked, and nothing is loaded from elsewhere
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

COMPILE = $$(command -v uv || echo .venv/bin/uv) pip compile --quiet --universal --generate-hashes --no-emit-index-url
lock: $(READY) ## compile the locks again from pyproject.toml: requirements.lock, and its parts that the images install
	@$(COMPILE) --group dev --extra operator pyproject.toml -o requirements.lock
	@$(COMPILE) --constraints requirements.lock pyproject.toml -o requirements.runtime.lock
	@$(COMPILE) --constraints requirements.lock --extra operator pyproject.toml -o requirements.operator.lock
	@$(COMPILE) --constraints requirements.lock --group stack pyproject.toml -o requirements.stack.lock
	@$(COMPILE) --constraints requirements.lock --group build -o requirements.build.lock

schemas: $(READY) ## write the JSON Schemas of the rule files below rules/, from their models
	@$(PYTHON) -m ops rules schema --write rules

dashboards: $(READY) ## write the dashboards, the rules of Prometheus and their unit tests below deploy/, from dev/observability
	@$(PYTHON) -m dev.observability

pictures: $(READY) ## draw the dashboards for docs/operations from the numbers of a real stack (apt-get install chromium pngquant libjs-chart.js)
	@$(PYTHON) -m dev.observability.pictures

measure: $(READY) ## count modules, lines, repeated names, the longest chain of imports and the files of one tap
	@$(PYTHON) -m dev.measure_code

types:
	@$(PYTHON) -m mypy
lint:
	@$(PYTHON) -m ruff check
format:
	@$(PYTHON) -m ruff format --check
imports:
	@.venv/bin/lint-imports
build-files:
	@.venv/bin/hadolint Dockerfile dev/cluster/runtime_base.Dockerfile
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows rules/.github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci rules/.gitlab-ci.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci .gitlab-ci.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	@.venv/bin/zizmor --offline --quiet --no-progress .github rules/.github
rule-files:
	@$(PYTHON) -m ops rules check rules
dependencies:
	@.venv/bin/deptry .
spelling:
	@.venv/bin/codespell
unused:
	@$(PYTHON) -m dev.unused_code
unit:
	@$(PYTHON) -m pytest -q -m "not integration and not flow and not fuzz and not erasure" --numprocesses=2 --dist=loadfile --no-loadscope-reorder
