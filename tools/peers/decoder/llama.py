#!/usr/bin/env python3
"""One run of llama.cpp through the C functions that llama-cpp-python binds: what tests/bench_decoder.c does with weir.

    llama.py MODEL.gguf THREADS PREFILL[,PREFILL...] GENERATED [LOGITS [exact]]
    llama.py info

Prints "prefill N SECONDS" for each length and "generate N SECONDS": greedy tokens behind the first. Token i of a prompt is
300 + i * 7919 % 1500. LOGITS: a file for the floats behind each prompt. exact: keys and values in fp32, no flash attention.
"""
import ctypes
import sys
import time

import llama_cpp as l
import numpy as np

BATCH = 512  # llama.cpp's default


def decode(context, tokens):
    array = (l.llama_token * len(tokens))(*tokens)
    if l.llama_decode(context, l.llama_batch_get_one(array, len(tokens))):
        sys.exit("llama_decode failed")


def context_of(model, tokens, threads, exact):
    params = l.llama_context_default_params()
    params.n_ctx = tokens
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = threads
    if exact:
        params.type_k = params.type_v = 0  # GGML_TYPE_F32
        params.flash_attn_type = 0  # LLAMA_FLASH_ATTN_TYPE_DISABLED
    return l.llama_init_from_model(model, params)


def main():
    quiet = l.llama_log_callback(lambda level, text, data: None)
    l.llama_log_set(quiet, ctypes.c_void_p(0))
    l.llama_backend_init()
    if sys.argv[1] == "info":
        print(l.llama_print_system_info().decode())
        return
    path, threads, generated = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    lengths = [int(n) for n in sys.argv[3].split(",")]
    model = l.llama_model_load_from_file(path.encode(), l.llama_model_default_params())
    vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
    context = context_of(model, max(lengths) + generated + 64, threads, "exact" in sys.argv)
    logits = np.empty((len(lengths), vocab), "<f4")
    prompt = [300 + i * 7919 % 1500 for i in range(max(lengths))]
    decode(context, prompt[:32])  # touches the weights

    def last():
        return np.ctypeslib.as_array(l.llama_get_logits_ith(context, -1), shape=(vocab,))

    for n, length in enumerate(lengths):
        l.llama_memory_clear(l.llama_get_memory(context), True)
        start = time.perf_counter()
        for at in range(0, length, BATCH):
            decode(context, prompt[at : min(length, at + BATCH)])
        logits[n] = last()
        print("prefill", length, time.perf_counter() - start)
        if n:
            continue
        token, seconds = int(logits[0].argmax()), 0.0
        for _ in range(generated):
            start = time.perf_counter()
            decode(context, [token])
            best = last()
            seconds += time.perf_counter() - start
            token = int(best.argmax())
        if generated:
            print("generate", generated, seconds)
    if len(sys.argv) > 5:
        logits.tofile(sys.argv[5])


main()
