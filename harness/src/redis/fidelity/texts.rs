//! Scripts that are compared: those of other lock clients, and some that ask how Lua is done.

/// A script of another lock client.
pub(super) struct Peer {
    pub(super) text: &'static str,
    /// How many keys it may have.
    pub(super) keys_max: usize,
    /// What follows the keys.
    pub(super) args: &'static [Arg],
}

/// What a script wants as an argument.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    Token,
    Ttl,
    Flag,
}

/// What lock clients in several languages send.
pub(super) const PEERS: &[Peer] = &[
    // The page on redis.io, and everybody.
    Peer {
        text: "if redis.call(\"get\",KEYS[1]) == ARGV[1] then\n    return redis.call(\"del\",KEYS[1])\n\
               else\n    return 0\nend",
        keys_max: 1,
        args: &[Arg::Token],
    },
    // node-redlock 5.
    Peer {
        text: "
  -- Return 0 if an entry already exists.
  for i, key in ipairs(KEYS) do
    if redis.call(\"exists\", key) == 1 then
      return 0
    end
  end

  -- Create an entry for each provided key.
  for i, key in ipairs(KEYS) do
    redis.call(\"set\", key, ARGV[1], \"PX\", ARGV[2])
  end

  -- Return the number of entries added.
  return #KEYS
",
        keys_max: 3,
        args: &[Arg::Token, Arg::Ttl],
    },
    Peer {
        text: "
  -- Return 0 if an entry exists with a *different* lock value.
  for i, key in ipairs(KEYS) do
    if redis.call(\"get\", key) ~= ARGV[1] then
      return 0
    end
  end

  -- Update the entry for each provided key.
  for i, key in ipairs(KEYS) do
    redis.call(\"set\", key, ARGV[1], \"PX\", ARGV[2])
  end

  -- Return the number of entries updated.
  return #KEYS
",
        keys_max: 3,
        args: &[Arg::Token, Arg::Ttl],
    },
    Peer {
        text: "
  local count = 0
  for i, key in ipairs(KEYS) do
    -- Only remove entries for *this* lock value.
    if redis.call(\"get\", key) == ARGV[1] then
      redis.pcall(\"del\", key)
      count = count + 1
    end
  end

  -- Return the number of entries removed.
  return count
",
        keys_max: 3,
        args: &[Arg::Token],
    },
    // redsync.
    Peer {
        text: "
	local val = redis.call(\"GET\", KEYS[1])
	if val == ARGV[1] then
		return redis.call(\"DEL\", KEYS[1])
	elseif val == false then
		return -1
	else
		return 0
	end
",
        keys_max: 1,
        args: &[Arg::Token],
    },
    Peer {
        text: "
	if redis.call(\"GET\", KEYS[1]) == ARGV[1] then
		return redis.call(\"PEXPIRE\", KEYS[1], ARGV[2])
	elseif redis.call(\"SET\", KEYS[1], ARGV[1], \"PX\", ARGV[2], \"NX\") then
		return 1
	else
		return 0
	end
",
        keys_max: 1,
        args: &[Arg::Token, Arg::Ttl],
    },
    // rslock.
    Peer {
        text: "
if redis.call(\"get\", KEYS[1]) ~= ARGV[1] then
  return 0
else
  if redis.call(\"set\", KEYS[1], ARGV[1], \"XX\", \"PX\", ARGV[2]) ~= nil then
    return 1
  else
    return 0
  end
end
",
        keys_max: 1,
        args: &[Arg::Token, Arg::Ttl],
    },
    // redis-py's Lock.
    Peer {
        text: "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == \"0\" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1
",
        keys_max: 1,
        args: &[Arg::Token, Arg::Ttl, Arg::Flag],
    },
    // redis-py's reacquire, and redlock-py's and pottery's way to extend.
    Peer {
        text: "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        return 1
",
        keys_max: 1,
        args: &[Arg::Token, Arg::Ttl],
    },
];

/// How Lua's values, errors and globals come out.
pub(super) const PROBES: &[&str] = &[
    "",
    "return",
    "return 3.99",
    "return -3.99",
    "return 'text'",
    "return true",
    "return false",
    "return {}",
    "return {a = 1}",
    "return {1, 2, nil, 4}",
    "return {1.9, -1.9, 'a', true, false}",
    "return {{1, {2}}, {'x'}}",
    "return {ok = 'fine'}",
    "return {err = 'MY error'}",
    "return {err = 'plain'}",
    "return {'x', {err = 'MY error'}, {ok = 'fine'}}",
    "return redis.error_reply('MY error')",
    "return redis.error_reply('-MY error')",
    "return redis.error_reply({})",
    "return redis.status_reply('FINE')",
    "return redis.status_reply(1)",
    "return redis.sha1hex('')",
    "return redis.sha1hex()",
    "return redis.call('nosuch')",
    "return redis.call('get')",
    "return redis.call('get', 'a', 'b')",
    "return redis.call()",
    "return redis.call({})",
    "return redis.call('get', nil)",
    "return redis.call('get', true)",
    "return redis.call('eval', 'return 1', 0)",
    "return redis.call('multi')",
    "return redis.call('config', 'get', 'maxmemory')",
    "return redis.pcall('nosuch')",
    "return redis.pcall('nosuch').err",
    "return redis.pcall('set', 'k1', 'v', 'PX', '0')",
    "return redis.call('set', 'k1', 'v', 'PX', '0')",
    "redis.call('set', 'k1', 'v') redis.call('nosuch')",
    "redis.call('set', 'k2', 'v')\nreturn redis.call('set', 'k2', 'v', 'oops')",
    "local ok, error = pcall(redis.call, 'nosuch') return {tostring(ok), type(error), error}",
    "local ok, error = pcall(redis.pcall, 'nosuch') return {tostring(ok), type(error), error.err}",
    "local ok, caught = pcall(error, 'x') return {tostring(ok), caught}",
    "local ok, caught = pcall(error, {err = 'MY x'}) return {tostring(ok), type(caught)}",
    "local ok, a, b = pcall(function(x) return x, 2 end, 1) return {tostring(ok), a, b}",
    "return redis.call('ping')",
    "return redis.call('ping')['ok']",
    "return redis.call('echo', 'x')",
    "return type(redis.call('get', 'missing'))",
    "return tostring(redis.call('get', 'missing'))",
    "return type(redis.call('ping'))",
    "return type(redis.call('dbsize'))",
    "return #redis.call('time')",
    "return redis.call('mget', 'missing', 'missing2')",
    "redis.call('set', 'k3', 1.5) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 0.1) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 1e15) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 1e17) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 2^53 + 1) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', -0.0) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 1e30) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 1.5e-9) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', -123.456) return redis.call('get', 'k3')",
    "redis.call('set', 'k3', 12345678901234567890) return redis.call('get', 'k3')",
    "return string.format('%.0f', 9007199254740993)",
    "return tostring(1e15) .. ' ' .. tostring(0.1) .. ' ' .. tostring(2^53)",
    "return {tonumber('10'), tonumber('zz', 36), tonumber('x') == nil}",
    "return math.max(1, 2.5)",
    "return string.match('run_id:abc', 'run_id:(%x+)')",
    "return table.concat({1, 2, 3}, ',')",
    "return {unpack({1, 2, 3})}",
    "return {select('#', 1, 2), (select(2, 'a', 'b'))}",
    "return KEYS[1]",
    "return #ARGV",
    "return foo",
    "foo = 1",
    "local x = foo.bar",
    "error('boom')",
    "error({err = 'MY boom'})",
    "\n\nerror('third line')",
    "\n\nreturn redis.call('nosuch')",
    "local function f() return redis.call('nosuch') end\nreturn f()",
    "local function f()\n  local r = redis.call('nosuch')\n  return r\nend\nreturn f()",
    "return nil + 1",
    "return ('x')()",
    "syntax error here",
    "return 1 +",
    "return print",
    "return _VERSION",
    "return type(_G)",
    "return type(loadstring('return 1'))",
    "return type(coroutine.create)",
    "#!lua\nreturn 1",
    "return redis.call('select', 3)",
    "redis.call('select', 3) redis.call('set', 'k1', 'three') return redis.call('exists', 'k1')",
    "return redis.replicate_commands()",
    "return redis.call('subscribe', 'a')",
    "return redis.call('publish', 'none', 'x')",
    "return redis.call('publish', 'redlatch:call:1111111111111111', 'x')",
    "redis.call('del', 'k1') redis.call('zadd', 'k1', 7, 'a') return redis.call('zpopmin', 'k1')",
    "redis.call('del', 'k1') redis.call('zadd', 'k1', '7', 'a') return redis.call('zscore', 'k1', 'a')",
    "return #redis.call('zpopmin', 'missing')",
    "return redis.call('zpopmin', 'missing')[1]",
];

/// Commands whose reply does not depend on keys or time.
pub(super) const FIXED: &[&[&str]] = &[
    &["PING"],
    &["PING", "text"],
    &["PING", "a", "b"],
    &["ping"],
    &["ECHO", "text"],
    &["ECHO"],
    &["SELECT", "0"],
    &["SELECT", "16"],
    &["SELECT", "x"],
    &["SELECT", "-1"],
    &["NOSUCH"],
    &["NOSUCH", "a", "b"],
    &["nosuch", "a long argument", "with \"quotes\""],
    &["GET"],
    &["SET", "k1"],
    &["DEL"],
    &["PTTL"],
    &["TIME", "x"],
    &["EVAL"],
    &["EVAL", "return 1"],
    &["EVAL", "return 1", "x"],
    &["EVAL", "return 1", "1"],
    &["EVAL", "return 1", "-1"],
    &["EVAL", "return {KEYS[1], ARGV[1]}", "1", "a", "b"],
    &["EVAL", "return {KEYS[1], ARGV[1]}", "1", "a"],
    &["EVALSHA", "nosuch", "0"],
    &["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"],
    &["SCRIPT"],
    &["SCRIPT", "NOSUCH"],
    &["SCRIPT", "FLUSH", "x"],
    &["SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"],
    &["SCRIPT", "EXISTS"],
    &["SCRIPT", "LOAD"],
    &["SCRIPT", "LOAD", "return 1"],
    &["SCRIPT", "LOAD", "syntax error"],
    &["SCRIPT", "KILL"],
    &["CLIENT"],
    &["CLIENT", "NOSUCH"],
    &["CLIENT", "GETNAME"],
    &["CLIENT", "SETNAME", "a b"],
    &["CLIENT", "SETNAME"],
    &["CONFIG"],
    &["CONFIG", "NOSUCH"],
    &["CONFIG", "GET"],
    &["CONFIG", "GET", "maxmemory-policy"],
    &["AUTH"],
    &["AUTH", "password"],
    &["AUTH", "default", "password"],
    &["AUTH", "nobody", "password"],
    &["HELLO", "4"],
    &["HELLO", "x"],
    &["HELLO", "2", "SETNAME", "a b"],
    &["HELLO", "2", "NOSUCH"],
    &["EXEC"],
    &["DISCARD"],
    &["WAIT", "0", "0"],
    &["ROLE"],
    &["UNWATCH"],
    &["INFO", "nosuch"],
    &["FLUSHALL", "nosuch"],
    &["PUBLISH", "none", "x"],
    &["SUBSCRIBE"],
    &["ZADD", "k1"],
    &["ZADD", "k1", "1"],
    &["ZPOPMIN"],
    &["ZRANGE", "missing", "0", "x"],
    &["ZRANGE", "missing", "0", "1", "oops"],
];

/// Commands that mean something else within a transaction, or that scripts of ours are in.
pub(super) const ALONE: &[&str] =
    &["AUTH", "HELLO", "EXEC", "DISCARD", "UNWATCH", "CLIENT", "SCRIPT", "WAIT"];
