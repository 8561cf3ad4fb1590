-- Makes the world that scripts see. Takes the table of their globals, `plain` (what a caught error is
-- for a script) and `locate` (what an uncaught one is for the client). Returns the environment of
-- scripts, and a function that runs one.
local globals, plain, locate = ...

for _, name in ipairs({
  'assert', 'collectgarbage', 'coroutine', 'error', 'getmetatable', 'ipairs', 'load', 'loadstring',
  'math', 'next', 'pairs', 'rawequal', 'rawget', 'rawset', 'select', 'setmetatable', 'string',
  'table', 'tonumber', 'tostring', 'type', 'unpack', 'xpcall', '_VERSION',
}) do
  globals[name] = _G[name]
end

local pcall, xpcall, error, tostring = pcall, xpcall, error, tostring

local function finish(ok, ...)
  if ok then return ok, ... end
  return ok, plain((...))
end

globals.pcall = function(f, ...) return finish(pcall(f, ...)) end

local environment = setmetatable({}, {
  __metatable = false,
  __index = function(_, name)
    local value = globals[name]
    if value ~= nil then return value end
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
})
globals._G = environment

return environment, function(script) return xpcall(script, locate) end
