# The template's own four verbs; a generated project has the same. All that is needed is Python 3.11 with venv, git and make:
# the first run makes .venv, and what else is missing is a Python package or gets itself.

PYTHON ?= python3
PORT ?=
BIN = $(CURDIR)/.venv/bin
# First on the path: uv, for this Makefile and for the Makefile of a generated project.
export PATH := $(BIN):$(PATH)
# Some containers set the second one: then every start of Python compiles its modules, and the tests start it often.
unexport VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test chaos truth check bench bench-check bench-scale format update

help:
	@echo "make run      make a project with a live board and a chat in .demo/ and serve it (PORT=8001 for a port of your choice)"
	@echo "make demo     the same"
	@echo "make test     run all tests, those of generated projects too"
	@echo "make chaos    a generated project under random faults, for longer than in the tests (SEED=1 SECONDS=600)"
	@echo "make truth    pages of a live model under random faults, more often and longer than in the tests (SEEDS=10 SECONDS=60)"
	@echo "make check    lint, format and type checks of the template's own Python"
	@echo "make bench    measure a generated project beside what a user might pick instead (half an hour); bench-check: a part of it"
	@echo "make bench-scale  100,000 idle connections, a rolling restart under 5,000 clients, and a second worker (PART=scale, rolling or workers)"
	@echo "make format   format it"
	@echo "make update   bring the tools to their newest versions"

# From the work tree as it is, of which Copier warns.
COPY = PYTHONWARNINGS=ignore copier copy --quiet --defaults --vcs-ref HEAD
FREE_PORT = import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); \
	s.bind(("127.0.0.1", 0 if s.connect_ex(("127.0.0.1", 8000)) == 0 else 8000)); print(s.getsockname()[1])
DEMO_MODEL = Order item:str:200 quantity:int:1:99 price:decimal:10:2 table:int:1:99 status:enum:new:cooking:served

# The project, a live model whose rows change by themselves (demo/), and a chat for everybody.
run demo: .venv/made
	@rm -rf .demo
	@$(COPY) -d project_name=Demo $(CURDIR) .demo
	@$(COPY) -d feature=orders -d model="$(DEMO_MODEL)" $(CURDIR) .demo
	@$(COPY) -d feature=live_chat -d access=public -d actions="send_line text:str:500 event=line_sent" $(CURDIR) .demo
	@cp -r demo/rush_hour .demo/apps/
	@cd .demo && uv run --quiet manage.py makemigrations --verbosity 0 && uv run --quiet manage.py migrate --verbosity 0
	@cd .demo && password=$$(python -c 'import secrets; print(secrets.token_urlsafe(9))') \
	&& DJANGO_SUPERUSER_PASSWORD=$$password uv run --quiet manage.py createsuperuser --no-input --username demo \
		--email demo@example.com --verbosity 0 \
	&& port=$${PORT:-$$(python -c '$(FREE_PORT)')} \
	&& echo "" \
	&& echo "  http://127.0.0.1:$$port/    sign in as: demo    password: $$password" \
	&& echo "" \
	&& exec uv run --quiet manage.py runserver $$port

test: check
	@pytest --numprocesses auto

chaos: .venv/made
	@CHAOS_SEED=$(or $(SEED),1) CHAOS_SECONDS=$(or $(SECONDS),600) pytest -s tests/served/chaos/test_chaos.py -k seed

truth: .venv/made
	@TRUTH_SEEDS=$(or $(SEEDS),10) TRUTH_SECONDS=$(or $(SECONDS),60) pytest -s -n 0 tests/served/truth

check: .venv/made
	@ruff check
	@ruff format --check
	@mypy

bench: .venv/made
	@uv pip install --quiet --group bench
	@python benchmarks/run.py

bench-check: .venv/made
	@python benchmarks/run.py --check

bench-scale: .venv/made
	@for part in $(or $(PART),scale rolling workers); do python benchmarks/$$part.py || exit 1; done

format: .venv/made
	@ruff check --fix
	@ruff format

update: .venv/made
	@uv pip install --upgrade --group dev

.venv/made: pyproject.toml
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check uv
	@uv pip install --quiet --group dev
	@touch .venv/made
