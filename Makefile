# weir: one Makefile for the whole house. `make help` prints every target.
#
#   MODE=release|debug|asan|tsan   what kind of build; each has its objects in build/$(MODE)
#   FAISS_PREFIX=DIR               another FAISS with its C API than the one tools/setup builds
#   PREFIX=DIR, DESTDIR=DIR        where `make install` puts things
#   MODEL=DIR                      another embedder for test, demo and eval than models/weir-dense
#   V=1                            shows the commands
#   WERROR=                        warnings of a newer compiler do not stop the build
MODE ?= release
B := build/$(MODE)
PREFIX ?= /usr/local
FAISS_PREFIX ?= build/deps/faiss
WERROR ?= -Werror
COLLECTIONS ?= data/sample
FUZZ_SECONDS ?= 20
# The encoder that tests, demo and eval use: the one that is shipped; all-MiniLM-L6-v2 where a tree has none.
MINILM := build/models/all-MiniLM-L6-v2
MODEL ?= $(if $(wildcard models/weir-dense/config.json),models/weir-dense,$(MINILM))

CC ?= cc
# Warnings are judged in the other builds: in code that a sanitizer has rewritten gcc sees narrowings that are not there.
WARN := $(if $(filter asan tsan fuzz,$(MODE)),-w,-Wall -Wextra -Wshadow $(WERROR))
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread
CFLAGS_lint := -O1
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
               -fno-omit-frame-pointer
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined

CPPFLAGS := -I. -isystem $(FAISS_PREFIX)/include -D_GNU_SOURCE -MMD -MP
BASE_CFLAGS := -std=c17 $(WARN) $(CFLAGS_$(MODE)) -pthread
# The program finds FAISS beside itself in the build tree, and in PREFIX/lib/weir once installed.
RPATH := -Wl,-rpath,'$$ORIGIN/../deps/faiss/lib:$$ORIGIN/../../deps/faiss/lib:$$ORIGIN/../lib/weir'
LDLIBS := -L$(FAISS_PREFIX)/lib -lfaiss_c -lfaiss -lmicrohttpd -llmdb -lopenblas -ljansson -lutf8proc -lpcre2-8 \
          -lstemmer -lcurl -lz -lxxhash -lcrypto -lgomp -lm

# What tools/setup leaves behind, by the FAISS that is asked for.
READY := build/deps/.ready
ifneq ($(FAISS_PREFIX),build/deps/faiss)
READY := build/deps/.ready-elsewhere
RPATH := $(RPATH),-rpath,$(abspath $(FAISS_PREFIX))/lib
endif

ROOMS := data models indexer ranker server tools
LIB_SRC := $(filter-out tools/weir.c,$(wildcard $(addsuffix /*.c,$(ROOMS))))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
LIB := $(B)/libweir.a
TEST_SRC := $(wildcard tests/*.c tests/golden/*.c)
TESTLIB := $(patsubst %.c,$(B)/%.o,$(wildcard tests/testlib*.c))
programs = $(patsubst %.c,$(B)/%,$(wildcard tests/$(1)_*.c))
TESTS := $(call programs,test)
STRESS := $(call programs,stress)
FUZZERS := $(call programs,fuzz)
BENCHES := $(call programs,bench)
GOLDEN := $(patsubst %.c,$(B)/%,$(wildcard tests/golden/*.c))
ALL_OBJ := $(LIB_OBJ) $(B)/tools/weir.o $(TEST_SRC:%.c=$(B)/%.o)
SCRIPTS := tools/setup tools/layers tools/demo tools/eval-collection $(wildcard tests/run tests/api/run .ci/run)
OWN := $(wildcard $(addsuffix /*.[ch],$(ROOMS) tests tests/golden tools/peers))

Q := $(if $(V),,@)
SAY := @$(if $(V),:,echo)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help all setup test check asan tsan stress fuzz fuzzers bench eval demo train-check lint objects scripts format layers \
        install clean FORCE

help: ## prints this list
	@sed -nE 's/^([a-z%-]+):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

all: $(B)/weir ## builds the program, build/release/weir

setup: ## installs what is missing on this machine and builds FAISS (tools/setup)
	tools/setup
	@touch $(READY)

$(READY): tools/setup
	tools/setup
	@touch $@

$(MINILM)/%:
	tools/setup --minilm

# ---- objects and programs

# A changed compiler, flag or FAISS compiles everything again; a changed PREFIX only the files that name it.
$(B)/.flags: WORDS = $(CC) $(CPPFLAGS) $(BASE_CFLAGS) $(LDFLAGS_$(MODE)) $(LDLIBS)
$(B)/.prefix: WORDS = $(PREFIX)
$(B)/.flags $(B)/.prefix: FORCE
	@mkdir -p $(@D)
	@echo "$(WORDS)" | cmp -s - $@ || echo "$(WORDS)" >$@

PREFIX_OBJ := $(patsubst %.c,$(B)/%.o,$(shell grep -l WR_PREFIX /dev/null $(LIB_SRC) tools/weir.c 2>/dev/null))
$(PREFIX_OBJ): CPPFLAGS += -DWR_PREFIX='"$(PREFIX)"'
$(PREFIX_OBJ): $(B)/.prefix

# Instruction sets beyond the baseline live in one file each; nothing else may use them. Sanitizers leave these files
# alone: instrumented, a matrix product takes fifty times as long. Their plain C twins are checked.
ISA_asan := -O2 -fno-sanitize=all
ISA_tsan := -O2 -fno-sanitize=all
ISA_fuzz := -O2 -fno-sanitize=all
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
$(B)/models/kernels_avx2.o $(B)/models/kernels_avx2_s8.o $(B)/models/kernels_avx2_sift.o: ISA := $(AVX2) $(ISA_$(MODE))
$(B)/models/kernels_avx2_vnni.o: ISA := $(AVX2) -mavxvnni $(ISA_$(MODE))
$(B)/models/kernels_avx512.o $(B)/models/kernels_avx512_s8.o $(B)/models/kernels_avx512_sift.o: ISA := $(AVX512) $(ISA_$(MODE))
$(B)/models/kernels_avx512_vnni.o $(B)/models/kernels_avx2_vnni_evex.o: ISA := $(AVX512) -mavx512vnni $(ISA_$(MODE))
$(B)/models/kernels_avx512_bf16.o: ISA := $(AVX512) -mavx512bf16 $(ISA_$(MODE))
$(B)/models/kernels_avx2_sparse.o: ISA := $(AVX2) $(ISA_$(MODE))
$(B)/models/kernels_avx2_vnni_sparse.o: ISA := $(AVX2) -mavxvnni $(ISA_$(MODE))
$(B)/models/kernels_avx512_sparse.o $(B)/models/kernels_avx2_vnni_evex_sparse.o: \
    ISA := $(AVX512) -mavx512vnni $(ISA_$(MODE))
$(B)/models/kernels_blocks_avx2.o $(B)/models/kernels_blocks_avx2_float.o: ISA := $(AVX2) $(ISA_$(MODE))
$(B)/models/kernels_blocks_avx2_vnni.o: ISA := $(AVX2) -mavxvnni $(ISA_$(MODE))
$(B)/models/kernels_blocks_avx512_float.o: ISA := $(AVX512) $(ISA_$(MODE))
$(B)/models/kernels_blocks_avx512.o $(B)/models/kernels_blocks_avx2_vnni_evex.o: \
    ISA := $(AVX512) -mavx512vnni $(ISA_$(MODE))

# Criterion's macros trip -Wconversion, so tests are compiled without it.
CONVERSION := -Wconversion
$(B)/tests/%.o: CONVERSION :=
$(ALL_OBJ): $(B)/%.o: %.c $(B)/.flags | $(READY)
	@mkdir -p $(@D)
	$(SAY) "CC   $@"
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) $(CONVERSION) $(ISA) -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

LINK = $(Q)$(CC) $(BASE_CFLAGS) $(LDFLAGS_$(MODE)) -o $@ $(filter %.o %.a,$^) $(RPATH)

$(B)/weir: $(B)/tools/weir.o $(LIB)
	$(SAY) "LINK $@"
	$(LINK) $(LDLIBS)

$(TESTS): %: %.o $(TESTLIB) $(LIB)
	$(SAY) "LINK $@"
	$(LINK) -lcriterion $(LDLIBS)

# The others are plain programs: stress_*, bench_* and golden/* with a main(), fuzz_* with LLVMFuzzerTestOneInput(). They
# share what the tests share, except for the file that needs Criterion.
$(GOLDEN): RPATH := $(RPATH):'$$ORIGIN/../../../deps/faiss/lib' # golden lies one folder deeper
$(STRESS) $(BENCHES) $(FUZZERS) $(GOLDEN): %: %.o $(filter-out %/testlib.o,$(TESTLIB)) $(LIB)
	$(SAY) "LINK $@"
	$(LINK) $(LDLIBS)

$(B)/faiss-bench: tools/peers/faiss_bench.c | $(READY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -Wconversion -o $@ $< $(RPATH) $(LDLIBS)

# ---- checks

PYTHON ?= python3
train-check: $(B)/weir ## checks the recipes in tools/train; PYTHON=the interpreter that has tools/train/requirements.txt
	$(PYTHON) tools/train/check

test: $(READY) ## sets up, builds, runs every test; ends with "N passed, N failed, N skipped"
	@$(MAKE) --no-print-directory layers check

check: $(MODEL)/config.json $(B)/weir $(B)/tests/golden/tiny_decoder $(TESTS)
	@WEIR=$(B)/weir MODEL=$(MODEL) tests/run test $(B)/log $(TESTS)

test-%: $(B)/tests/test_% ## builds and runs one module's tests (make test-topk)
	$<

asan: ## the same tests under AddressSanitizer and UBSan; leaks count
	@$(MAKE) --no-print-directory MODE=asan check

tsan: ## the stress programs under ThreadSanitizer
	@$(MAKE) --no-print-directory MODE=tsan stress

stress: $(STRESS)
	@tests/run stress $(B)/log $(STRESS)

fuzz: ## each fuzzer for FUZZ_SECONDS (20), with clang
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang fuzzers

fuzzers: $(FUZZERS)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run fuzz $(B)/log $(FUZZERS)

bench: $(BENCHES) ## runs the bench programs, tests/bench_*.c
	@for program in $(BENCHES); do echo "== $$program"; $$program || exit 1; done

eval: $(B)/weir $(MODEL)/config.json ## quality of the usual pipelines on COLLECTIONS (data/sample)
	@for folder in $(COLLECTIONS); do tools/eval-collection $(B)/weir $(MODEL) $$folder || exit 1; done

demo: $(B)/weir $(MODEL)/config.json ## sets up, builds, indexes data/sample, serves it and searches it
	@tools/demo $(B)/weir data/sample $(if $(filter models/weir-dense,$(MODEL)),,--dense $(MODEL))

lint: ## layers, scripts, and every file compiled by gcc and clang without a warning
	@$(MAKE) --no-print-directory layers scripts
	@$(MAKE) --no-print-directory MODE=lint objects
	@$(MAKE) --no-print-directory MODE=lint CC=clang B=build/lint-clang objects

objects: $(ALL_OBJ)

# shellcheck is asked where it is installed (tools/setup --dev)
scripts:
	@for script in $(SCRIPTS); do \
	    sh -n $$script || exit 1; \
	    ! command -v shellcheck >/dev/null || shellcheck -S warning $$script || exit 1; \
	done

format: ## clang-format on every C file
	clang-format -i $(OWN)

layers: ## fails when an include points up the house
	@tools/layers

install: $(B)/weir ## installs program, FAISS and models into PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/weir $(DESTDIR)$(PREFIX)/share/weir/models
	install -m 755 $(B)/weir $(DESTDIR)$(PREFIX)/bin/weir
	install -m 644 $(FAISS_PREFIX)/lib/libfaiss.so $(FAISS_PREFIX)/lib/libfaiss_c.so $(DESTDIR)$(PREFIX)/lib/weir/
	for model in build/models/*/ models/weir-*/; do \
	    [ -f "$$model/config.json" ] || continue; \
	    model=$${model%/} to=$(DESTDIR)$(PREFIX)/share/weir/models/$${model##*/}; \
	    rm -rf "$$to" && cp -R "$$model" "$$to" && chmod -R u=rwX,go=rX "$$to" || exit 1; \
	done

clean: ## removes what was built (but not build/deps and build/models)
	rm -rf $(addprefix build/,release debug asan tsan fuzz lint lint-clang demo eval)

-include $(ALL_OBJ:.o=.d)
