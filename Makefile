# The one entry to the project: every habit has a target here.
# The first Python that is new enough; `python3` may be an older one.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
SUITES ?= bookworm trixie
TESTS ?= tests

.PHONY: run test clients check test-long test-deb bench deb wheelhouse install requirements proto clean help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

# Stamps: the venv is made once and brought up to date when the metadata changes.
$(BIN)/.installed: setup.py pachgw/__init__.py
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed; name it: make PYTHON=...' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(BIN)/.tested: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

# python-pachyderm's generated code loads on an old protobuf only, so it has an environment of its own.
PACHYDERM := .venv-pachyderm/bin
$(PACHYDERM)/.installed:
	test -x $(PACHYDERM)/python || $(PYTHON) -m venv .venv-pachyderm
	$(PACHYDERM)/python -m pip install --quiet 'python-pachyderm==6.3.3' 'protobuf<3.21'
	touch $@

# Clients that are large, or whose packages contradict those of the tests (s3fs pins another botocore). Restic, node
# and Go come from the system; what is not there is skipped by name. MinIO's mc is in no package index: Go builds it.
CLIENTS := .venv-clients
MC := github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9
$(CLIENTS)/.installed: setup.py tests/integration/clients/javascript/package.json
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --editable '.[clients]'
	cp tests/integration/clients/javascript/package.json $(CLIENTS)/
	if command -v npm >/dev/null; then npm install --prefix $(CLIENTS) --silent --no-audit --no-fund; fi
	if command -v go >/dev/null; then \
		GOBIN=$(CURDIR)/$(CLIENTS)/bin go install $(MC) || echo 'mc was not built; its tests will say so' >&2; \
	fi
	touch $@

# Spark, and the releases of Hadoop's s3a and the AWS SDK that it was made with: 1.3 GB, for `make test-long` only. Java
# and Maven come from the system; without them its tests are skipped.
SPARK := .venv-spark
SPARK_JARS := org.apache.hadoop:hadoop-aws:3.4.1 software.amazon.awssdk:bundle:2.24.6 \
	org.apache.spark:spark-hadoop-cloud_2.13:4.0.1
$(SPARK)/.installed:
	test -x $(SPARK)/bin/python || $(PYTHON) -m venv $(SPARK)
	if command -v java >/dev/null && command -v mvn >/dev/null; then \
		$(SPARK)/bin/python -m pip install --quiet 'pyspark==4.0.5' && \
		for jar in $(SPARK_JARS); do \
			mvn -q -B dependency:copy -Dartifact=$$jar -DoutputDirectory=$(CURDIR)/$(SPARK)/jars || exit; \
		done; \
	fi
	touch $@

# Bytecode is kept, whatever was set outside: the tests start Python hundreds of times.
ENVIRONMENTS = env -u PYTHONDONTWRITEBYTECODE PACHYDERM_PYTHON=$(CURDIR)/$(PACHYDERM)/python \
	S3_CLIENTS=$(CURDIR)/$(CLIENTS) S3_SPARK=$(CURDIR)/$(SPARK)

run: $(BIN)/.installed ## build what is needed and serve S3 on port 30600; ARGS="..." are the daemon's options
	exec $(BIN)/twistd --nodaemon --pidfile= pachgw $(ARGS)

# As many processes as keep two cores busy, since each test mostly waits for a server. A file stays in one of them, for
# what its tests share; files go out in their order, the short ones of tests/unit last. A process that dies ends the run.
SPREAD = $(if $(filter tests,$(TESTS)),--numprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0)

test: check $(PACHYDERM)/.installed ## lint, types, and every test but the long ones; TESTS="..." names some
	$(ENVIRONMENTS) $(BIN)/python -m pytest -m "not long" $(SPREAD) $(TESTS)

test-long: $(BIN)/.tested $(PACHYDERM)/.installed $(CLIENTS)/.installed $(SPARK)/.installed ## the tests that take minutes
	$(ENVIRONMENTS) $(BIN)/python -m pytest -m long $(TESTS)

clients: $(CLIENTS)/.installed ## S3 clients for the tests to try: half a gigabyte; without them their tests are skipped

check: $(BIN)/.tested ## ruff, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/.benched: $(BIN)/.installed
	@# rclone is left out of a run where it cannot be had.
	$(BIN)/python -m pip install --quiet --editable '.[bench]' || $(BIN)/python -m pip install --quiet --editable .
	touch $@

bench: $(BIN)/.benched ## measure speed and memory beside others; ARGS="report" makes docs/performance.md of it
	$(BIN)/python -m bench $(ARGS)

# The oldest generator whose code runs on every release in setup.py's ranges (docs/decisions/0002).
proto: ## make the code of the .proto files again
	test -x .venv-proto/bin/python || $(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet 'grpcio-tools==1.74.0' 'mypy-protobuf==5.1.0'
	PATH=.venv-proto/bin:$$PATH .venv-proto/bin/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. \
		--mypy_out=. --mypy_grpc_out=. pachgw/pfs/proto/*.proto pachgw/localpfs/proto/*.proto

deb: ## the Debian package of this machine's release, into dist/; WHEELHOUSE=... has the wheels, else pip fetches them
	WHEELHOUSE="$(WHEELHOUSE)" deploy/deb

# A directory for the wheels that the package needs, which then builds without a network.
wheelhouse: ## fetch the wheels for `make deb` into WHEELHOUSE
	@test -n "$(WHEELHOUSE)" || { echo 'Say where: make wheelhouse WHEELHOUSE=...' >&2; exit 1; }
	/usr/bin/python3 -m pip download --quiet --no-deps --require-hashes --only-binary=:all: \
		--dest "$(WHEELHOUSE)" --requirement deploy/requirements.txt

# The system's Python, since the service is not to depend on somebody's environment.
SYSTEM_PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
LIBRARY = $(DESTDIR)$(PREFIX)/lib/pachgw
UNITS = $(DESTDIR)/etc/systemd/system

install: ## service and command for a host with systemd, without a package; PREFIX, DESTDIR, WHEELHOUSE
	rm -rf "$(LIBRARY)"
	$(SYSTEM_PYTHON) deploy/tree.py "$(LIBRARY)" $(WHEELHOUSE)
	PYTHONPATH="$(LIBRARY)/python" $(SYSTEM_PYTHON) -SB deploy/manual.py build/manual
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(UNITS)" "$(DESTDIR)/etc/pachgw" "$(DESTDIR)/etc/default"
	install -d -m 700 "$(DESTDIR)/etc/pachgw/credentials"
	ln -sf ../lib/pachgw/bin/pachgw "$(DESTDIR)$(PREFIX)/bin/pachgw"
	@# What somebody has changed stays.
	test -e "$(DESTDIR)/etc/pachgw/pachgw.toml" || install -m 644 deploy/etc/pachgw.toml "$(DESTDIR)/etc/pachgw/"
	test -e "$(DESTDIR)/etc/default/pachgw" || install -m 644 deploy/etc/default "$(DESTDIR)/etc/default/pachgw"
	sed 's#/usr/lib/pachgw#$(PREFIX)/lib/pachgw#g' systemd/pachgw.service > "$(UNITS)/pachgw.service"
	install -m 644 systemd/pachgw.socket "$(UNITS)/"
	install -D -m 644 systemd/pachgw.sysusers "$(DESTDIR)/etc/sysusers.d/pachgw.conf"
	install -D -m 644 build/manual/pachgw.1 "$(DESTDIR)$(PREFIX)/share/man/man1/pachgw.1"
	install -D -m 644 build/manual/pachgw.8 "$(DESTDIR)$(PREFIX)/share/man/man8/pachgw.8"
	install -D -m 644 build/manual/pachgw.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/pachgw"

# After a change of the ranges in setup.py, or for newer releases: look at the difference before it is committed.
requirements: ## pin what the package brings anew, with hashes
	test -x .venv-requirements/bin/pip-compile || $(PYTHON) -m venv .venv-requirements
	.venv-requirements/bin/pip install --quiet pip-tools
	.venv-requirements/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --no-annotate --no-header --output-file deploy/requirements.txt setup.py

# As root, with what tests/deb/README.md names; nothing of the machine itself is touched.
test-deb: $(BIN)/.tested ## build, check, boot, upgrade and purge the Debian package in containers; SUITES="bookworm trixie"
	PACHGW_TEST_DEB="$(SUITES)" $(BIN)/python -m pytest tests/deb

clean: ## remove what the targets above made
	rm -rf $(VENV) .venv-proto .venv-pachyderm .venv-requirements $(CLIENTS) $(SPARK) build dist *.egg-info
