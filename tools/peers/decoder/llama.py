#!/usr/bin/env python3
"""One run of llama.cpp, through the C functions that llama-cpp-python binds: what tests/bench_decoder.c prints for weir.

    llama.py MODEL.gguf THREADS PREFILL[,PREFILL...] GENERATED [LOGITS]

Prints "prefill N SECONDS" for each length and "generate N SECONDS": greedy tokens behind the first prefill. Token i of a
prompt is 300 + i * 7919 % 1500. LOGITS: a file for the floats behind the first prompt.
"""
import ctypes
import sys
import time

import llama_cpp as l
import numpy as np


def decode(context, tokens):
    array = (l.llama_token * len(tokens))(*tokens)
    if l.llama_decode(context, l.llama_batch_get_one(array, len(tokens))):
        sys.exit("llama_decode failed")


def logits_of(context, vocab):
    return np.ctypeslib.as_array(l.llama_get_logits_ith(context, -1), shape=(vocab,)).copy()


def main():
    path, threads, lengths, generated = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])
    quiet = l.llama_log_callback(lambda level, text, data: None)
    l.llama_log_set(quiet, ctypes.c_void_p(0))
    l.llama_backend_init()
    if sys.argv[-1] == "info":
        print(l.llama_print_system_info().decode())
        return
    model = l.llama_model_load_from_file(path.encode(), l.llama_model_default_params())
    vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
    params = l.llama_context_default_params()
    params.n_ctx = max(map(int, lengths)) + generated + 64
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = threads
    context = l.llama_init_from_model(model, params)
    memory = l.llama_get_memory(context)
    decode(context, [300] * 32)  # touches the weights
    prompt = [300 + i * 7919 % 1500 for i in range(max(map(int, lengths)))]
    for n, length in enumerate(map(int, lengths)):
        l.llama_memory_clear(memory, True)
        start = time.perf_counter()
        for at in range(0, length, 512):
            decode(context, prompt[at : min(length, at + 512)])
        logits = logits_of(context, vocab)
        print("prefill", length, time.perf_counter() - start, flush=True)
        if n:
            continue
        if len(sys.argv) > 5:
            logits.astype("<f4").tofile(sys.argv[5])
        token = int(logits.argmax())
        start = time.perf_counter()
        for _ in range(generated):
            decode(context, [token])
            token = int(np.argmax(np.ctypeslib.as_array(l.llama_get_logits_ith(context, -1), shape=(vocab,))))
        if generated:
            print("generate", generated, time.perf_counter() - start, flush=True)


main()
