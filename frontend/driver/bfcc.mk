# bfcc.mk - pattern rules for networks, for a model repository's Makefile:
#
#     include $(shell pkg-config --variable=bfcc_mk bfrt)
#     model.bfx: BFCCFLAGS += -weights model.safetensors
#     model.bfx: model.safetensors
#     all: model.bfx
#
# A .bfx follows its .bfly and every file that includes reach, by the .d file beside it.
BFCC      ?= bfcc
BFCCFLAGS ?=

%.bfx: %.bfly
	$(BFCC) $(BFCCFLAGS) -MD -MF $*.bfx.d $< -o $@
%.bfs: %.bfly
	$(BFCC) $(BFCCFLAGS) -MD -MF $*.bfs.d -emit asm $< -o $@

-include $(wildcard *.bfx.d *.bfs.d)
