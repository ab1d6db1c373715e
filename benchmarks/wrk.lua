-- Sends the lines of a file in turn, as bearer tokens or as the field of a JSON object, and ends
-- with a line of JSON. Arguments: the method; the name of the field, or "bearer"; the file; the
-- status that every answer must have; after how many answers to stop, if not at the end of the time.

local threads = {}
local lines, answered = {}, 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local method, field = args[1], args[2]
  for line in io.lines(args[3]) do lines[#lines + 1] = line end
  expected, limit = tonumber(args[4]), tonumber(args[5])
  sent, wrong = 0, 0
  head = method .. " " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n"
  if field == "bearer" then
    head = head .. "Authorization: Bearer "
  else
    head = head .. "Content-Type: application/json\r\nContent-Length: "
    before, after = '{"' .. field .. '": "', '"}'
  end
end

function request()
  local line = lines[sent % #lines + 1]
  sent = sent + 1
  if not before then return head .. line .. "\r\n\r\n" end
  local body = before .. line .. after
  return head .. #body .. "\r\n\r\n" .. body
end

-- wrk itself counts only what is 400 or more, and a forged token must get no other 4xx than a 401.
function response(status)
  answered = answered + 1
  if status ~= expected then wrong = wrong + 1 end
  if answered == limit then
    wrk.thread:stop()
    -- wrk itself would sleep until the end of the time, and may miss a single signal
    -- (its stderr is let go of, as whoever reads that would wait for the last signal)
    io.popen("exec 2>/dev/null; for i in 1 2 3 4 5; do kill -INT $PPID || exit; sleep 0.2; done")
  end
end

function done(summary, latency, requests)
  local e, sent, wrong = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    sent, wrong = sent + thread:get("sent"), wrong + thread:get("wrong")
  end
  print(string.format(
    '{"answers": %d, "seconds": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f,'
    .. ' "sent": %d, "wrong": %d, "faults": %d, "timeouts": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, sent,
    wrong, e.connect + e.read + e.write, e.timeout))
end
