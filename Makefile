# make            build everything into build/          make check    build, run every test
# make demo       build, compile and run a network      make install  PREFIX=/usr/local DESTDIR=
# make report     where the cycles of FABNet-base go: build/fabnet.html
# CC=clang-19, BUILD=dir and CFLAGS="-O0 -g" work as one expects. New files are found by wildcard:
# a .c file in one of the folders below belongs to that folder's library, a main_NAME.c is a program.
# V=1 shows the commands.

VERSION := 0.1.0
BUILD   ?= build
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
VENV    := build/venv
ifeq ($(origin CC),default)
CC := gcc
endif

# ---- flags ----

pkg = $(shell pkg-config $(1) 2>/dev/null)
FLAGS := -std=c17 -Wall -Wextra -Werror -ffp-contract=off -fPIC -I. -I$(BUILD)/gen \
         -DBF_VERSION='"$(VERSION)"' $(call pkg,--cflags jansson libelf) $(SANITIZE)
LIBS_RT := $(call pkg,--libs jansson libelf) -lm
LIBS    := -lisl -lcyaml $(LIBS_RT)
ifneq ($(wildcard backend/host/*.c),)
FLAGS += -isystem $(shell llvm-config-19 --includedir)
LIBS  += $(shell llvm-config-19 --ldflags --libs)
endif

# ---- what there is to build ----

objects = $(patsubst %.c,$(BUILD)/%.o,$(foreach f,$(foreach d,$(1),$(sort $(wildcard $(d)/*.c))), \
          $(if $(filter main_%,$(notdir $f)),,$f)))
GEN := $(patsubst %.y,$(BUILD)/gen/%.o,$(wildcard frontend/*.y)) \
       $(patsubst %.l,$(BUILD)/gen/%.o,$(wildcard frontend/*.l))
ARCH    := $(if $(wildcard ir/arch.h),$(BUILD)/gen/ir/arch_files.o)
LIBRARY := $(if $(wildcard frontend/library.h),$(BUILD)/gen/frontend/library_files.o)
HEADERS := $(if $(wildcard backend/host/header.h),$(BUILD)/gen/backend/header_files.o)

EMBED_ir       := $(wildcard ir/arch/*.arch)
EMBED_frontend := $(wildcard frontend/library/*.bfly)
EMBED_backend  := $(wildcard runtime/bfhost/*.h)
EMBED_rt       := $(sort $(wildcard runtime/report/*.html runtime/report/*.css runtime/report/*.js))

OBJ_isa      := $(call objects,ir/isa)
OBJ_ir       := $(call objects,ir) $(ARCH)
OBJ_frontend := $(call objects,frontend) $(GEN) $(LIBRARY)
OBJ_passes   := $(call objects,passes passes/array passes/host)
OBJ_backend  := $(call objects,backend backend/host) $(HEADERS)
OBJ_rt       := $(call objects,runtime) $(BUILD)/gen/runtime/page_files.o $(OBJ_isa)
OBJ_pool     := $(call objects,runtime/pool)
OBJ_cc       := $(call objects,frontend/driver)
PARTS        := cc frontend passes backend ir rt pool isa
ARCHIVES     := $(PARTS:%=$(BUILD)/libbf%.a)

MAINS    := $(wildcard frontend/driver/main_*.c runtime/main_*.c)
PROGRAMS := $(patsubst main_%.c,$(BUILD)/%,$(notdir $(MAINS)))
UNITS    := $(patsubst %.c,$(BUILD)/%,$(wildcard test/unit/test_*.c test/fuzz/*.c))

all: $(ARCHIVES) $(BUILD)/libbfrt.so $(BUILD)/libbfhost.so $(PROGRAMS)

# ---- rules ----

say = $(if $(V),,@printf '  %-6s %s\n' $(1) $@;)

# Stamps that change only when their text does: objects follow the flags, archives the file list.
stamp = @mkdir -p $(@D); echo '$(subst ','\'',$(1))' | cmp -s - $@ || echo '$(subst ','\'',$(1))' > $@
$(BUILD)/flags: FORCE
	$(call stamp,$(CC) $(FLAGS) $(CFLAGS))
$(BUILD)/files: FORCE
	$(call stamp,$(foreach part,$(PARTS),$(OBJ_$(part)) $(EMBED_$(part))))

COMPILE = $(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,cc) $(COMPILE)
# flex and bison write code that -Wextra does not like.
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags
	$(call say,cc) $(COMPILE) -D_GNU_SOURCE -Wno-unused-function -Wno-unused-but-set-variable \
	                          -Wno-sign-compare

$(BUILD)/gen/%.c $(BUILD)/gen/%.h: %.y
	@mkdir -p $(@D)
	$(call say,bison) bison -Werror -o $(BUILD)/gen/$*.c --header=$(BUILD)/gen/$*.h $<
$(BUILD)/gen/%.c $(BUILD)/gen/%.h: %.l
	@mkdir -p $(@D)
	$(call say,flex) flex -o $(BUILD)/gen/$*.c --header-file=$(BUILD)/gen/$*.h $<
$(OBJ_frontend): | $(GEN:.o=.h)

# Text files that bfcc carries inside: `-arch default`, `include <transformer.bfly>`.
$(BUILD)/gen/ir/arch_files.c: $(EMBED_ir) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	$(call say,embed) ir/embed.sh ir/arch.h bf_arch .arch $(EMBED_ir) > $@
$(BUILD)/gen/frontend/library_files.c: $(EMBED_frontend) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	$(call say,embed) ir/embed.sh frontend/library.h bf_library '' $(EMBED_frontend) > $@
# The page of `bfrun -report`.
$(BUILD)/gen/runtime/page_files.c: $(EMBED_rt) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	$(call say,embed) ir/embed.sh runtime/page.h bf_page '' $(EMBED_rt) > $@

# Headers that the header of a network carries along.
$(BUILD)/gen/backend/header_files.c: $(EMBED_backend) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	$(call say,embed) ir/embed.sh backend/host/header.h bf_host_header '' $(EMBED_backend) > $@

.SECONDEXPANSION:
$(ARCHIVES): $(BUILD)/libbf%.a: $$(OBJ_$$*) $(BUILD)/files
	@rm -f $@
	$(call say,ar) ar rcs $@ $(filter %.o,$^)
$(BUILD)/libbfrt.so: $(OBJ_rt) $(BUILD)/files runtime/bfrt.map
	$(call say,link) $(CC) $(CFLAGS) $(SANITIZE) -shared -Wl,-soname,libbfrt.so.0 \
	                 -Wl,--version-script=runtime/bfrt.map -o $@ $(filter %.o,$^) $(LIBS_RT)

# What libbfrt loads to run an embedded network: the compiler as a plug-in.
$(BUILD)/libbfhost.so: $(ARCHIVES) frontend/driver/bfhost.map
	$(call say,link) $(CC) $(CFLAGS) $(SANITIZE) -shared -Wl,-u,bf_host_plugin \
	                 -Wl,--version-script=frontend/driver/bfhost.map -o $@ \
	                 -Wl,--as-needed -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

LINK = $(CC) $(CFLAGS) $(SANITIZE) -o $@ $(filter %.o,$^) \
       -Wl,--as-needed -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
$(BUILD)/%: $(BUILD)/frontend/driver/main_%.o $(ARCHIVES)
	$(call say,link) $(LINK) $(LIBS)
$(BUILD)/%: $(BUILD)/runtime/main_%.o $(BUILD)/libbfrt.a
	$(call say,link) $(LINK) $(LIBS_RT)
$(BUILD)/test/unit/%: $(BUILD)/test/unit/%.o $(ARCHIVES)
	$(call say,link) $(LINK) -lcmocka $(LIBS)
$(BUILD)/test/fuzz/%: $(BUILD)/test/fuzz/%.o $(ARCHIVES)
	$(call say,link) $(LINK) $(LIBS)

# ---- checks ----

# Checks want Debian packages (deps.txt) and, for the Python tests, two from PyPI.
deps:
	@./deps.sh
$(VENV)/ready: test/requirements.txt
	$(call say,venv) python3 -m venv $(VENV) && $(VENV)/bin/pip install -q -r $< && touch $@

define newline


endef
again = +@$(MAKE) --no-print-directory
run   = @BF_CC='$(CC) $(SANITIZE)' $(VENV)/bin/python test/check.py $(BUILD)
check: deps
	$(again) check-all
check-all: all $(UNITS) $(VENV)/ready
	$(run) unit lit python includes
check-unit: $(UNITS) $(VENV)/ready
	$(run) unit
check-lit: all $(VENV)/ready
	$(run) lit
check-python: all $(VENV)/ready
	$(run) python
check-includes:
	@python3 test/check_includes.py
check-reference: all $(VENV)/ready
	@BF_BUILD=$(abspath $(BUILD)) $(VENV)/bin/python test/reference/check.py
check-networks: all $(VENV)/ready
	@BF_BUILD=$(abspath $(BUILD)) $(VENV)/bin/python test/networks/check.py $(NETWORKS)
# Objects for other processors, run by qemu; wants qemu-user, gcc-aarch64-linux-gnu and
# libc6-dev-arm64-cross.
check-host-targets: all $(VENV)/ready
	@BF_BUILD=$(abspath $(BUILD)) $(VENV)/bin/python test/host/check_targets.py
# Installs into a temporary folder and uses bfcc from there.
check-install: all
	@BF_CC='$(CC) $(SANITIZE)' python3 test/install/check.py $(BUILD)
# The Python package with torch, in a venv of its own.
PYENV := $(BUILD)/python-venv
$(PYENV)/ready: python/pyproject.toml
	$(call say,venv) python3 -m venv $(PYENV) && $(PYENV)/bin/pip install -q -e './python[test]' && touch $@
check-python-package: all $(PYENV)/ready
	@env -u BFCC_PATH PATH="$(abspath $(BUILD)):$$PATH" BF_BUILD=$(abspath $(BUILD)) \
	    $(PYENV)/bin/python python/tests/check.py $(TESTS)
# gcc's and clang's bfcc make the same files.
check-bytes: all
	@python3 test/check_sequence.py backend/host
	$(again) CC=clang-19 BUILD=build-clang build-clang/bfcc
	@test/same_bytes.sh $(BUILD) build-clang
# The report page in headless Chromium (apt-get install chromium); its screenshots for docs/images.
check-report: all
	@python3 test/report/check.py $(BUILD) $(IMAGES)
# Compile time and memory of whole networks against their limits, on an idle machine.
perf-check: all
	@python3 test/perf_check.py $(BUILD)
fuzz-networks: all $(VENV)/ready
	@BF_BUILD=$(abspath $(BUILD)) $(VENV)/bin/python test/fuzz/networks.py $(or $(COUNT),10000)

# Instrumented code makes gcc see troubles that are not there, hence no -Werror.
ASAN := BUILD=build-asan CFLAGS="-O1 -g -fno-omit-frame-pointer -Wno-error" \
        SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all"
asan: deps
	$(again) $(ASAN) check-all
FUZZERS = $(patsubst %.c,build-asan/%,$(wildcard test/fuzz/*.c))
fuzz-images: deps
	$(again) $(ASAN) $(FUZZERS)
	@set -e; for fuzzer in $(FUZZERS); do echo $$fuzzer; $$fuzzer $(COUNT); done

# Host code against its peers, which are installed under $(BUILD)/bench: make bench-host ONLY='butterfly*'
BENCH := $(BUILD)/bench
$(BENCH)/venv/ready: bench/host/requirements.txt
	$(call say,venv) python3 -m venv $(BENCH)/venv && $(BENCH)/venv/bin/pip install -q -r $< && touch $@
$(BENCH)/fftw/lib/libfftw3f.a: bench/host/fftw.sh
	$(call say,fftw) $< $(BENCH)/fftw
$(BENCH)/runner.so: bench/host/runner.c $(BENCH)/fftw/lib/libfftw3f.a $(BUILD)/libbfpool.a
	$(call say,cc) $(CC) -std=gnu17 -O3 -march=native -ffp-contract=fast -Wall -Wextra -fPIC \
	    -shared -I. -I$(BENCH)/fftw/include $< -L$(BENCH)/fftw/lib -lfftw3f_threads -lfftw3f -Wl,-u,bf_pool_create \
	    $(BUILD)/libbfpool.a -pthread -lm -o $@
bench-host: all $(BENCH)/venv/ready $(BENCH)/runner.so
	@$(BENCH)/venv/bin/python bench/host/bench.py -bfcc $(BUILD)/bfcc -runner $(BENCH)/runner.so \
	    -json $(BUILD)/bench-host.json $(if $(ONLY),-only '$(ONLY)',-docs docs/performance-host.md) $(BENCH_FLAGS)

demo: deps
	$(again) all
	@BUILD=$(BUILD) sh examples/digits/demo.sh

# Where the cycles of FABNet-base go, as a page.
report: deps
	$(again) all
	$(BUILD)/bfcc examples/networks/fabnet.bfly -random-weights 1 -o $(BUILD)/fabnet.bfx
	$(BUILD)/bfrun $(BUILD)/fabnet.bfx -random-inputs 1 -source examples/networks -report $(BUILD)/fabnet.html
	@echo "report: open $(BUILD)/fabnet.html"

C_FILES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')
format:
	clang-format-19 -i $(C_FILES)
lint: check-includes
	clang-format-19 --dry-run -Werror $(C_FILES)

# ---- installing ----

# What is installed can be moved as a whole: programs find libbfhost beside themselves, and the
# pkg-config files say where they are by their own place.
MAN      := $(patsubst docs/man/%.scd,$(BUILD)/man/%,$(wildcard docs/man/*.scd))
COMMANDS := $(notdir $(PROGRAMS))
SHARED   := libbfrt.so.$(VERSION)
GENERATED = $(BUILD)/share/bfcc.pc $(BUILD)/share/bfrt.pc $(BUILD)/share/bfpool.pc \
            $(BUILD)/share/bfly.vim
# folder: files, as they are called there
IN_bin                    = $(PROGRAMS)
IN_lib                    = $(BUILD)/libbfrt.a $(BUILD)/libbfpool.a $(BUILD)/libbfhost.so
IN_include                = runtime/bfrt.h runtime/pool/bfpool.h
IN_lib/pkgconfig          = $(filter %.pc,$(GENERATED))
IN_share/bfcc             = frontend/driver/bfcc.mk
IN_share/bfcc/arch        = $(EMBED_ir)
IN_share/bfcc/library     = $(EMBED_frontend)
IN_share/man/man1         = $(filter %.1,$(MAN))
IN_share/man/man5         = $(filter %.5,$(MAN))
IN_share/vim/vimfiles/syntax   = $(BUILD)/share/bfly.vim
IN_share/vim/vimfiles/ftdetect = share/vim/ftdetect/bfly.vim
FOLDERS = bin lib include lib/pkgconfig share/bfcc share/bfcc/arch share/bfcc/library share/man/man1 \
          share/man/man5 share/vim/vimfiles/syntax share/vim/vimfiles/ftdetect
COMPLETIONS = share/bash-completion/completions
INSTALLED = $(foreach f,$(FOLDERS),$(addprefix $f/,$(notdir $(IN_$f)))) \
            lib/$(SHARED) lib/libbfrt.so.0 lib/libbfrt.so $(COMMANDS:%=$(COMPLETIONS)/%)
TO = $(DESTDIR)$(PREFIX)

$(BUILD)/man/%: docs/man/%.scd
	@mkdir -p $(@D)
	$(call say,scdoc) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct -- $< 2>/dev/null | grep . || echo 0) \
	                  scdoc < $< > $@
$(BUILD)/share/%.pc: $$(wildcard share/$$*.pc.in runtime/$$*.pc.in runtime/pool/$$*.pc.in) Makefile
	@mkdir -p $(@D)
	$(call say,sed) sed 's|@VERSION@|$(VERSION)|' $< > $@
$(BUILD)/share/bfly.vim: share/vim/syntax/bfly.vim ir/net_ops.def
	@mkdir -p $(@D)
	$(call say,sed) sed "s/@OPERATORS@/$$(sed -n 's/^BF_OP([A-Z_0-9]*, *\([a-z_0-9]*\),.*/\1/p' \
	                ir/net_ops.def | tr '\n' ' ')/" $< > $@

# share/bfcc/folders remembers which folders were not there before, for uninstall.
install: all $(MAN) $(GENERATED)
	@mkdir -p $(TO)
	@folders=$$(LC_ALL=C mkdir -pv $(addprefix $(TO)/,$(FOLDERS) $(COMPLETIONS)) | \
	    sed -n "s|.*'$(TO)/\(.*\)'$$|\1|p"); echo "$$folders" >> $(TO)/share/bfcc/folders
	install $(PROGRAMS) $(TO)/bin
	install $(BUILD)/libbfrt.so $(TO)/lib/$(SHARED)
	ln -sf $(SHARED) $(TO)/lib/libbfrt.so.0
	ln -sf libbfrt.so.0 $(TO)/lib/libbfrt.so
	$(foreach f,$(filter-out bin,$(FOLDERS)),install -m 644 $(IN_$f) $(TO)/$f$(newline))
	install -m 644 share/completion.bash $(TO)/$(COMPLETIONS)/bfcc
	for name in $(filter-out bfcc,$(COMMANDS)); do ln -sf bfcc $(TO)/$(COMPLETIONS)/$$name; done
uninstall:
	rm -f $(addprefix $(TO)/,$(INSTALLED))
	@cd $(TO) && folders=$$(sort -r share/bfcc/folders) && rm share/bfcc/folders && \
	for folder in $$folders; do rmdir $$folder 2>/dev/null || :; done

dist: | $(BUILD)/files
	git archive --prefix=bfcc-$(VERSION)/ -o $(BUILD)/bfcc-$(VERSION).tar.gz HEAD

clean:
	rm -rf build build-*

.PHONY: all demo report check check-report install uninstall clean format lint asan dist deps check-all check-unit \
        check-lit check-python check-includes check-reference check-networks check-bytes \
        check-host-targets check-install check-python-package fuzz-networks perf-check fuzz-images bench-host FORCE
.DELETE_ON_ERROR:
.SECONDARY:
FORCE:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
