# make            build everything into build/          make check    build, run every test
# make demo       build, compile and run a network      make install  PREFIX=/usr/local DESTDIR=
# CC=clang-19, BUILD=dir and CFLAGS="-O0 -g" work as one expects. New files are found by wildcard:
# a .c file in one of the folders below belongs to that folder's library, a main_NAME.c is a program.

VERSION := 0.1.0
BUILD   ?= build
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
ifeq ($(origin CC),default)
CC := gcc
endif

# ---- flags ----

pkg = $(shell pkg-config $(1) 2>/dev/null)
FLAGS := -std=c17 -Wall -Wextra -Werror -ffp-contract=off -fPIC -I. -I$(BUILD)/gen \
         -DBF_VERSION='"$(VERSION)"' $(call pkg,--cflags libcyaml jansson libelf) $(SANITIZE)
LIBS_RT := $(call pkg,--libs jansson libelf) -lm
LIBS    := -lisl $(call pkg,--libs libcyaml) $(LIBS_RT)
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

OBJ_isa      := $(call objects,ir/isa)
OBJ_ir       := $(call objects,ir) $(ARCH)
OBJ_frontend := $(call objects,frontend) $(GEN) $(LIBRARY)
OBJ_passes   := $(call objects,passes passes/array passes/host)
OBJ_backend  := $(call objects,backend backend/host)
OBJ_rt       := $(call objects,runtime) $(OBJ_isa)
OBJ_cc       := $(call objects,frontend/driver)
PARTS        := cc frontend passes backend ir rt isa
ARCHIVES     := $(PARTS:%=$(BUILD)/libbf%.a)

MAINS    := $(wildcard frontend/driver/main_*.c runtime/main_*.c)
PROGRAMS := $(patsubst main_%.c,$(BUILD)/%,$(notdir $(MAINS)))
UNITS    := $(patsubst %.c,$(BUILD)/%,$(wildcard test/unit/test_*.c))

all: $(ARCHIVES) $(BUILD)/libbfrt.so $(PROGRAMS)

# ---- rules ----

# Stamps that change only when their text does: objects follow the flags, archives the file list.
stamp = @mkdir -p $(@D); echo '$(subst ','\'',$(1))' | cmp -s - $@ || echo '$(subst ','\'',$(1))' > $@
$(BUILD)/flags: FORCE
	$(call stamp,$(CC) $(FLAGS) $(CFLAGS))
$(BUILD)/files: FORCE
	$(call stamp,$(foreach part,$(PARTS),$(OBJ_$(part))))

COMPILE = $(CC) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE)
# flex and bison write code that -Wextra does not like.
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags
	$(COMPILE) -D_GNU_SOURCE -Wno-unused-function -Wno-unused-but-set-variable -Wno-sign-compare

$(BUILD)/gen/%.c $(BUILD)/gen/%.h: %.y
	@mkdir -p $(@D)
	bison -Werror -o $(BUILD)/gen/$*.c --header=$(BUILD)/gen/$*.h $<
$(BUILD)/gen/%.c $(BUILD)/gen/%.h: %.l
	@mkdir -p $(@D)
	flex -o $(BUILD)/gen/$*.c --header-file=$(BUILD)/gen/$*.h $<
$(OBJ_frontend): | $(GEN:.o=.h)

# Text files that bfcc carries inside: `-arch default`, `include <transformer.bfly>`.
$(BUILD)/gen/ir/arch_files.c: $(wildcard ir/arch/*.arch) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	ir/embed.sh ir/arch.h bf_arch .arch $(filter %.arch,$^) > $@
$(BUILD)/gen/frontend/library_files.c: $(wildcard frontend/library/*.bfly) $(BUILD)/files ir/embed.sh
	@mkdir -p $(@D)
	ir/embed.sh frontend/library.h bf_library '' $(filter %.bfly,$^) > $@

.SECONDEXPANSION:
$(ARCHIVES): $(BUILD)/libbf%.a: $$(OBJ_$$*) $(BUILD)/files
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)
$(BUILD)/libbfrt.so: $(OBJ_rt) $(BUILD)/files
	$(CC) $(CFLAGS) $(SANITIZE) -shared -Wl,-soname,libbfrt.so.0 -o $@ $(filter %.o,$^) $(LIBS_RT)

LINK = $(CC) $(CFLAGS) $(SANITIZE) -o $@ $(filter %.o,$^) -Wl,--as-needed -Wl,--start-group $(filter %.a,$^) -Wl,--end-group
$(BUILD)/%: $(BUILD)/frontend/driver/main_%.o $(ARCHIVES)
	$(LINK) $(LIBS)
$(BUILD)/%: $(BUILD)/runtime/main_%.o $(BUILD)/libbfrt.a
	$(LINK) $(LIBS_RT)
$(BUILD)/test/unit/%: $(BUILD)/test/unit/%.o $(ARCHIVES)
	$(LINK) -lcmocka $(LIBS)

clean:
	rm -rf build build-*

FORCE:
.PHONY: all clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
