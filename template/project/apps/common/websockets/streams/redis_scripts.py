"""The scripts that run inside Redis or Valkey, one for each operation, with their keys and arguments."""

RUN_LENGTH = 12  # of the part of the server's id with which an epoch begins

# The server that answers, and its clock in milliseconds. Its id changes whenever it is started or promoted.
SERVER = f"""
local run = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)'), 1, {RUN_LENGTH})
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# A publish that its sender has given up must not take effect later. Its deadline is by the clock of one server.
DEADLINE = (
    SERVER
    + """
if ARGV[1] ~= run or now > tonumber(ARGV[2]) then
  return {false, run, now}
end
"""
)

# The state of a stream. The epoch begins with the server's id: one that restarted from an older snapshot, or was
# promoted with older data, would otherwise give the same numbers to other broadcasts.
STATE = """
local epoch, seq, bytes, latest = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'bytes', 'latest'))
local function renew()
  epoch, seq, bytes, latest = run .. '.' .. ARGV[3], 0, 0, 0
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'bytes', 0, 'latest', 0)
end
local is_new = not epoch
if is_new or string.sub(epoch, 1, #run) ~= run then
  renew()
end
seq = tonumber(seq)
"""

# A stream that was only asked for expires early, and only so many of them are kept.
ASKED = (
    SERVER
    + STATE
    + """
redis.call('EXPIRE', KEYS[1], seq == 0 and ARGV[2] or ARGV[1])
if is_new then
  if redis.call('RPUSH', KEYS[4], KEYS[1]) > tonumber(ARGV[4]) then
    local oldest = redis.call('LPOP', KEYS[4])
    if redis.call('HGET', oldest, 'seq') == '0' then
      redis.call('DEL', oldest)
    end
  end
  redis.call('EXPIRE', KEYS[4], ARGV[2])
end
"""
)

# Entries are "milliseconds id body"; the last one has the number `seq`.
APPEND = (
    DEADLINE
    + STATE
    + """
local id, body = ARGV[3], ARGV[5]
local is_unknown = false
if ARGV[4] ~= '' and tonumber(latest) >= tonumber(ARGV[4]) then
  -- A retry: perhaps it was kept, and only the answer was lost.
  local index = -1
  is_unknown = redis.call('LLEN', KEYS[2]) < seq
  repeat
    local entry = redis.call('LINDEX', KEYS[2], index)
    if not entry then break end
    local time, other = string.match(entry, '(%d+) (%S+)')
    if other == id then
      return {epoch, seq + index + 1, now}
    end
    index = index - 1
    is_unknown = is_unknown and tonumber(time) >= tonumber(ARGV[4])
  until tonumber(time) < tonumber(ARGV[4])
end
if ARGV[6] == 'renew' or is_unknown then
  renew()
end
local entry = string.format('%.0f %s %s', now, id, body)
local count = redis.call('RPUSH', KEYS[2], entry)
seq = seq + 1
bytes = (count == 1 and 0 or tonumber(bytes)) + #entry  -- with a count of 1, all that was counted has expired
local function is_too_old()
  return tonumber(string.match(redis.call('LINDEX', KEYS[2], 0), '%d+')) < now - tonumber(ARGV[10])
end
while count > 0 and (count > tonumber(ARGV[8]) or bytes > tonumber(ARGV[9]) or is_too_old()) do
  bytes = bytes - #redis.call('LPOP', KEYS[2])
  count = count - 1
end
redis.call('HSET', KEYS[1], 'seq', seq, 'bytes', bytes, 'latest', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[10])
redis.call('PUBLISH', KEYS[3], epoch .. ' ' .. string.format('%.0f', seq) .. ' ' .. body)
return {epoch, seq, now}
"""
)

SINCE = (
    ASKED
    + """
local missed = seq - tonumber(ARGV[6])
if ARGV[5] ~= epoch or missed < 0 or missed > redis.call('LLEN', KEYS[2]) then
  return {epoch, seq, false}
end
if missed == 0 then
  return {epoch, seq, {}}
end
return {epoch, seq, redis.call('LRANGE', KEYS[2], -missed, -1)}
"""
)

TOP = ASKED + "return {epoch, seq}"

# After a broadcast that failed: the number 0 of another epoch makes the subscribers reload.
RENEW = (
    ASKED
    + """
if is_new or ARGV[5] == '' or ARGV[5] == epoch then
  renew()
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  redis.call('PUBLISH', KEYS[3], epoch .. ' 0 ')
end
return {epoch, seq}
"""
)

# Marks are scored with the server's milliseconds.
MARK = (
    SERVER
    + """
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return redis.call('EXISTS', KEYS[1])
"""
)

# A writer has ended between its commit and its broadcast: the subscribers reload.
OVERDUE = (
    ASKED
    + """
if redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - tonumber(ARGV[5])) > 0 then
  renew()
  redis.call('EXPIRE', KEYS[1], ARGV[1])
  redis.call('PUBLISH', KEYS[3], epoch .. ' 0 ')
end
return {epoch, seq}
"""
)

COMMAND = (
    DEADLINE
    + """
if redis.call('SET', KEYS[2], 1, 'NX', 'EX', 60) then  -- else a retry of a command whose answer was lost
  redis.call('PUBLISH', KEYS[1], ARGV[5])
  if KEYS[3] then
    redis.call('SET', KEYS[3], ARGV[6], 'EX', ARGV[7])
  end
end
return {run, 0, now}
"""
)

SCRIPTS = {
    "append": APPEND,
    "since": SINCE,
    "top": TOP,
    "renew": RENEW,
    "mark": MARK,
    "overdue": OVERDUE,
    "command": COMMAND,
}


class Names:
    """The names of a project's keys and channels."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.control = f"{prefix}:control"  # the channel of the commands for all processes
        self.site = f"{prefix}:site"
        self.asked = f"{prefix}:asked"  # a list of the streams that were only asked for

    def state(self, group: str) -> str:
        return f"{self._prefix}:stream:{group}"

    def channel(self, group: str) -> str:
        return f"{self._prefix}:live:{group}"

    def of_stream(self, group: str) -> list[str]:
        return [self.state(group), f"{self._prefix}:messages:{group}", self.channel(group)]

    def marks(self, group: str) -> str:
        return f"{self._prefix}:marks:{group}"

    def command(self, id: str) -> str:
        return f"{self._prefix}:command:{id}"

    def drain(self, host: str) -> str:
        return f"{self._prefix}:drain:{host}"
