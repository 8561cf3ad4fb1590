//! The Lua texts and their SHA-1.

/// A script that nodes run: each is one atomic step of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// The Lua text, for `EVAL` and `SCRIPT LOAD`.
    pub text: &'static str,
    /// Its SHA-1 in lowercase hexadecimal digits, for `EVALSHA`.
    pub sha1: &'static str,
}

/// Takes the keys for a token and raises their fence numbers.
pub const ACQUIRE: Script =
    Script { text: include_str!("acquire.lua"), sha1: "0d8d74621f81329f3c392b710b5678c771a2c988" };
/// Raises the fence numbers of keys that hold a token.
pub const SEAL: Script =
    Script { text: include_str!("seal.lua"), sha1: "cdaf5f364da8409fd4e2d1a50ba61b977194c122" };
/// Lets keys that hold a token live longer.
pub const EXTEND: Script =
    Script { text: include_str!("extend.lua"), sha1: "a7f4515a8b3e3eb775e01e2f2583a0adb1bd7261" };
/// Deletes keys that hold a token.
pub const RELEASE: Script =
    Script { text: include_str!("release.lua"), sha1: "41ca381d79634907d5f92dc473ae13ef31f1b045" };
/// Reads who holds keys, and for how long still.
pub const INSPECT: Script =
    Script { text: include_str!("inspect.lua"), sha1: "9e3281c46ee6d01d93fc1108f92edb654edae601" };
/// Puts a node that is known to be new out of quarantine (R16).
pub const DECLARE_FRESH: Script = Script {
    text: include_str!("declare_fresh.lua"),
    sha1: "3a4ed90eed7294d720952ded8743cc06c6191884",
};

/// Every script, for `SCRIPT LOAD`.
pub const SCRIPTS: [Script; 6] = [ACQUIRE, SEAL, EXTEND, RELEASE, INSPECT, DECLARE_FRESH];
