# weir: one Makefile, no recursion. `make help` prints every target.
MODE ?= release
B := build/$(MODE)
FAISS_PREFIX ?= build/deps/faiss
PREFIX ?= /usr/local

CC ?= cc
WARN := -Wall -Wextra -Wshadow -Werror
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread

CPPFLAGS := -I. -isystem $(FAISS_PREFIX)/include -D_GNU_SOURCE -DWR_PREFIX='"$(PREFIX)"' -MMD -MP
BASE_CFLAGS := -std=c17 $(WARN) $(CFLAGS_$(MODE)) -pthread
# The program finds FAISS beside itself in the build tree and in PREFIX/lib/weir once installed.
RPATH := -Wl,-rpath,'$$ORIGIN/../deps/faiss/lib:$$ORIGIN/../../deps/faiss/lib:$$ORIGIN/../lib/weir:$(abspath $(FAISS_PREFIX))/lib'
LDLIBS := -L$(FAISS_PREFIX)/lib -lfaiss_c -lfaiss -lmicrohttpd -llmdb -lopenblas -ljansson -lutf8proc -lpcre2-8 \
          -lstemmer -lcurl -lz -lxxhash -lcrypto -lgomp -lm

ROOMS := data models indexer ranker server tools
LIB_SRC := $(filter-out tools/weir.c,$(wildcard $(addsuffix /*.c,$(ROOMS))))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
LIB := $(B)/libweir.a
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))
STRESS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/stress_*.c))

.DEFAULT_GOAL := all
.PHONY: help all setup test asan tsan fuzz bench eval lint format layers install demo clean

help: ## prints this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

all: $(B)/weir ## builds the program

$(B)/weir: $(B)/tools/weir.o $(LIB)
	$(CC) $(BASE_CFLAGS) $(LDFLAGS_$(MODE)) -o $@ $^ $(RPATH) $(LDLIBS)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

# Instruction sets beyond the baseline live in one file each; nothing else may use them.
$(B)/models/kernels_avx2.o: ISA := -mavx2 -mfma -mf16c
$(B)/models/kernels_avx512.o: ISA := -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq

$(B)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -c -o $@ $<

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -Wconversion $(ISA) -c -o $@ $<

$(B)/tests/test_%: $(B)/tests/test_%.o $(B)/tests/testlib.o $(LIB)
	$(CC) $(BASE_CFLAGS) $(LDFLAGS_$(MODE)) -o $@ $^ $(RPATH) -lcriterion $(LDLIBS)

$(B)/tests/stress_%: $(B)/tests/stress_%.o $(LIB)
	$(CC) $(BASE_CFLAGS) $(LDFLAGS_$(MODE)) -o $@ $^ $(RPATH) $(LDLIBS)

test-%: $(B)/tests/test_% ## builds and runs one module's tests (make test-topk)
	$<

clean: ## removes objects and programs (keeps build/deps and build/models)
	rm -rf build/release build/debug build/asan build/tsan build/fuzz

-include $(shell find $(B) -name '*.d' 2>/dev/null)
