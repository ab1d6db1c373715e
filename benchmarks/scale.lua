-- Sends the lines of a file in turn, as bearer tokens or as the field of a form, and ends with a
-- line of JSON. Arguments: the name of the field, or "bearer"; the file; after how many answers to
-- stop, if not at the end of the time.

local lines, sent, answered = {}, 0, 0

function init(args)
  field, limit = args[1], tonumber(args[3])
  for line in io.lines(args[2]) do lines[#lines + 1] = line end
  if limit then
    function response()
      answered = answered + 1
      if answered == limit then
        wrk.thread:stop()
        -- wrk itself would sleep until the end of the time, and may miss a single signal
        io.popen("for i in 1 2 3 4 5; do kill -INT $PPID; sleep 0.2; done 2>/dev/null")
      end
    end
  end
end

function request()
  local line = lines[sent % #lines + 1]
  sent = sent + 1
  if field == "bearer" then
    return wrk.format("GET", nil, { Authorization = "Bearer " .. line })
  end
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  return wrk.format("POST", nil, headers, field .. "=" .. line)
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    '{"answers": %d, "seconds": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
