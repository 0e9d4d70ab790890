-- For wrk: walks through the paths of a file, and tells what it found as JSON.
-- Headers are given by wrk's own option -H.

local requests, last = {}, 0
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(arguments)
  for path in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  -- Two threads do not walk side by side: each begins a share of the way on that no number
  -- of threads divides.
  last = math.floor(id * 0.618 % 1 * #requests)
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"bytes":%d,"refused":%d,"failed":%d,"closed":%d,"p50":%.3f,"p95":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, errors.status,
    errors.connect + errors.write + errors.timeout, errors.read,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3))
end
