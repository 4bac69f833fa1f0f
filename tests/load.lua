-- For wrk: searches with the topics of a BEIR folder in turn, and one line of figures at the end.
--   wrk -t1 -c64 -d60s --timeout 20s -s tests/load.lua http://127.0.0.1:8080/v1/search -- data/sample/queries.jsonl
local bodies, last = {}, 0

function init(args)
    for line in io.lines(args[1] or "data/sample/queries.jsonl") do
        local text = line:match('"text": *(".*")')
        if text then bodies[#bodies + 1] = '{"query": ' .. text .. ', "k": 10}' end
    end
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
end

function request()
    last = last % #bodies + 1
    return wrk.format(nil, nil, nil, bodies[last])
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("p50 %.1f ms, p95 %.1f, p99 %.1f, max %.1f; %d answers, %.0f/s; %d not 2xx, %d timeouts, %d broken\n",
        latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
        summary.requests, summary.requests / summary.duration * 1e6, e.status, e.timeout, e.connect + e.read + e.write))
end
