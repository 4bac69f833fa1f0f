#!/usr/bin/env python3
"""Is a budget kept? One client, 500 queries over HTTP at each budget, through a cross-encoder over 100 candidates.

    tools/peers/deadline.py WEIR INDEX CROSS QUERIES.jsonl [BUDGET_MS ...]

Prints percentiles of took_ms and of the client's time, replies with ten hits, pairs scored, and the replies in which
`degraded` does not say exactly what was left out; then how many different `hits` 1,000 repeats of a query without a
budget gave. Standard library only.
"""
import hashlib
import http.client
import json
import re
import subprocess
import sys
import time

REQUESTS, DEPTH, K = 500, 100, 10


def serve(weir, index, cross):
    process = subprocess.Popen([weir, "serve", "--index", index, "--listen", "127.0.0.1:0", "--cross", cross],
                               stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found:
            return process, http.client.HTTPConnection("127.0.0.1", int(found.group(1)))
    raise SystemExit("the server did not start")


def ask(client, body):
    client.request("POST", "/v1/search", json.dumps(body), {"Content-Type": "application/json"})
    reply = client.getresponse()
    text = reply.read().decode()
    if reply.status != 200:
        raise SystemExit(f"status {reply.status}: {text}")
    return text


def is_wrong(reply):
    """Whether `degraded` and `scored` disagree with what was planned."""
    planned = min(DEPTH, reply["stages"][0]["out"])
    scored = next(stage["scored"] for stage in reply["stages"] if stage["name"] == "cross")
    said = [entry for entry in reply["degraded"] if entry["stage"] == "cross"]
    if (scored < planned) != bool(said):
        return True
    return bool(said) and (said[0]["planned"], said[0]["done"]) != (planned, scored)


def measure(client, queries, budget):
    took, wall, full, wrong, scored = [], [], 0, 0, 0
    for i in range(REQUESTS):
        start = time.time()
        reply = json.loads(ask(client, {"query": queries[i % len(queries)], "k": K, "budget_ms": budget,
                                        "pipeline": f"bm25:{DEPTH} > cross:{DEPTH}", "return_text": False}))
        wall.append((time.time() - start) * 1e3)
        took.append(reply["took_ms"])
        full += len(reply["hits"]) == K
        wrong += is_wrong(reply)
        scored += next(stage["scored"] for stage in reply["stages"] if stage["name"] == "cross")
    took.sort()
    wall.sort()
    p50, p95, p99 = (took[int(REQUESTS * p)] for p in (.5, .95, .99))
    print(f"budget {budget}: p50 {p50:.1f} p95 {p95:.1f} p99 {p99:.1f} max {took[-1]:.1f} ms, wall p99 "
          f"{wall[int(REQUESTS * .99)]:.1f}; {full} of {REQUESTS} with {K} hits; scored {scored / REQUESTS:.1f}; degraded wrong {wrong}",
          flush=True)


def main():
    weir, index, cross, path = sys.argv[1:5]
    queries = [json.loads(line)["text"] for line in open(path, encoding="utf-8")]
    process, client = serve(weir, index, cross)
    for query in queries[:20]:
        ask(client, {"query": query, "budget_ms": 100, "pipeline": f"bm25:{DEPTH} > cross:{DEPTH}"})
    for budget in [int(b) for b in sys.argv[5:]] or [20, 50, 100]:
        measure(client, queries, budget)
    seen = set()
    for _ in range(1000):
        text = ask(client, {"query": queries[0], "k": K})
        seen.add(hashlib.sha256(text[text.index('"hits":'):text.index('"stages":')].encode()).hexdigest())
    print(f"different hits in 1,000 repeats without a budget: {len(seen)}")
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()
