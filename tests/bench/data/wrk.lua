-- Arguments: base of the targets ("" or "http://name" for a proxy that is asked by name), host, number of paths,
-- "close" or "keep". Every path in turn, with the fields of a usual client; the summary as one line of JSON.
local requests, turn = {}, 0

function init(arguments)
   local base, host, paths, connection = arguments[1], arguments[2], tonumber(arguments[3]), arguments[4]
   if base == "-" then base = "" end
   local fields = {
      ["Host"] = host,
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) bench/1.0",
      ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      ["Accept-Encoding"] = "gzip, deflate",
      ["Accept-Language"] = "en-GB,en;q=0.7",
   }
   if connection == "close" then fields["Connection"] = "close" end
   for number = 1, paths do
      requests[number] = wrk.format("GET", base .. "/o/" .. number, fields)
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"microseconds":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,' ..
      '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
