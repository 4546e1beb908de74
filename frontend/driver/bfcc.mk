# bfcc.mk - pattern rules for networks, for a model repository's Makefile:
#
#     include $(shell pkg-config --variable=bfcc_mk bfcc)
#     model.bfx: BFCCFLAGS += -weights model.safetensors
#
# A .bfly becomes
#     %.bfx   a program for the array, which bfrun and libbfrt run      %.bfs   its text
#     %.o %.h an object for this computer, and the header to call it by
#     %.html  a report of a run of the .bfx
# and is made again when the network, a file that it includes, its weights, samples or the machine's
# description change: bfcc writes what it read to a file NAME.d beside the result. A result appears
# whole or not at all. What is made by another rule, such as trained weights, needs a line
# `model.bfx: model.safetensors` of its own.
#
#     BFCC BFRUN   the programs: those beside this file, else those in PATH
#     BFARCH       machine description, a name or a file
#     BFCCFLAGS    options of bfcc, for all results or one
#     BFRUNFLAGS   options of bfrun for reports
bf_bin    := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))../../bin)/
BFCC      ?= $(or $(wildcard $(bf_bin)bfcc),bfcc)
BFRUN     ?= $(or $(wildcard $(bf_bin)bfrun),bfrun)
BFARCH    ?=
BFCCFLAGS ?=
BFRUNFLAGS ?= -random-inputs 1

bf_compile = $(BFCC) $(BFCCFLAGS) $(addprefix -arch ,$(BFARCH)) -MD -MP -MF $@.d

%.bfx: %.bfly
	$(bf_compile) $< -o $@
%.bfs: %.bfly
	$(bf_compile) -emit asm $< -o $@
%.o: %.bfly
	$(bf_compile) -emit obj $< -o $@
%.h: %.bfly
	$(bf_compile) -emit header $< -o $@
%.html: %.bfx
	$(BFRUN) $(BFRUNFLAGS) $< -report $@

-include $(wildcard $(foreach result,bfx bfs o h,*.$(result).d */*.$(result).d))
