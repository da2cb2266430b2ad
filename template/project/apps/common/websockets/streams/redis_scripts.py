"""The scripts that run inside Redis or Valkey, one for each operation on a stream, with their keys and arguments."""

from secrets import token_hex
from typing import Any

from apps.common.websockets.protocol import Position
from apps.common.websockets.streams import base
from apps.common.websockets.streams.base import Broadcast

PREFIX = "websockets:"
CONTROL_CHANNEL = PREFIX + "control"  # carries the commands for all processes

# The state of a stream, for both scripts. The epoch begins with the server's run id: a server that restarted from
# an older snapshot would otherwise give the same numbers to other broadcasts.
STATE = """
local run = string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%w+)'), 1, 12)
local epoch, seq = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'seq'))
if not epoch or string.sub(epoch, 1, 12) ~= run or ARGV[1] == 'renew' then
  epoch = run .. '.' .. ARGV[2]
  seq = 0
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'bytes', 0)
end
seq = tonumber(seq)
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""

# Entries are "milliseconds body"; the last one has the number `seq`.
APPEND = (
    STATE
    + """
local body = ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local entry = string.format('%.0f %s', now, body)
seq = seq + 1
local count = redis.call('RPUSH', KEYS[2], entry)
if count == 1 then
  redis.call('HSET', KEYS[1], 'bytes', 0)  -- all that was counted has expired
end
local bytes = redis.call('HINCRBY', KEYS[1], 'bytes', #entry)
redis.call('HSET', KEYS[1], 'seq', seq)
local function is_too_old()
  return tonumber(string.match(redis.call('LINDEX', KEYS[2], 0), '%d+')) < now - tonumber(ARGV[7])
end
while count > 0 and (count > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) or is_too_old()) do
  bytes = redis.call('HINCRBY', KEYS[1], 'bytes', -#redis.call('LPOP', KEYS[2]))
  count = count - 1
end
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', KEYS[3], epoch .. ' ' .. string.format('%.0f', seq) .. ' ' .. body)
return {epoch, seq}
"""
)

SINCE = (
    STATE
    + """
local missed = seq - tonumber(ARGV[5])
if ARGV[4] ~= epoch or missed < 0 or missed > redis.call('LLEN', KEYS[2]) then
  return {epoch, seq, false}
end
if missed == 0 then
  return {epoch, seq, {}}
end
return {epoch, seq, redis.call('LRANGE', KEYS[2], -missed, -1)}
"""
)

TOP = STATE + "return {epoch, seq}"

SCRIPTS = {"append": APPEND, "since": SINCE, "top": TOP}


def arguments(group: str, renew: str, *rest: Any) -> tuple[list[str], list[Any]]:
    keys = [state(group), f"{state(group)}:messages", channel(group)]
    return keys, [renew, token_hex(4), base.STREAM_SECONDS, *rest]


def append_arguments(body: str) -> list[Any]:
    return [body, base.MAX_MESSAGES, base.MAX_BYTES, int(base.MESSAGE_SECONDS * 1000)]


def state(group: str) -> str:
    # The braces keep a stream's keys together in a cluster.
    return f"{PREFIX}{{{group}}}"


def channel(group: str) -> str:
    return f"{state(group)}:live"


def position(reply: Any) -> Position:
    return Position(reply[0], reply[1])


def broadcast(text: str | None) -> Broadcast | None:
    if text is None:
        return None
    epoch, seq, body = text.split(" ", 2)
    return Broadcast(epoch, int(seq), body)
