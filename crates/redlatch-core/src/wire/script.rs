//! The Lua texts and their SHA-1.

/// A script that nodes run: each is one atomic step of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// The Lua text, for `EVAL` and `SCRIPT LOAD`: without the comments and the indentation of its
    /// source, because edge workers carry it in their bundles and send it with every command.
    pub text: &'static str,
    /// Its SHA-1 in lowercase hexadecimal digits, for `EVALSHA`.
    pub sha1: &'static str,
}

/// The script in a file.
macro_rules! script {
    ($file:literal, $sha1:literal) => {{
        const SOURCE: &[u8] = include_bytes!($file);
        const LEN: usize = strip(SOURCE, &mut []);
        const TEXT: [u8; LEN] = {
            let mut text = [0; LEN];
            strip(SOURCE, &mut text);
            text
        };
        Script {
            text: match core::str::from_utf8(&TEXT) {
                Ok(text) => text,
                Err(_) => panic!("the source is UTF-8"),
            },
            sha1: $sha1,
        }
    }};
}

/// Takes the keys for a token and raises their fence numbers.
pub const ACQUIRE: Script = script!("acquire.lua", "4b142c55d1746ed51c90445c0b0e6e4d059a5c26");
/// Raises the fence numbers of keys that hold a token.
pub const SEAL: Script = script!("seal.lua", "a4b5c17277bd77ea4184ae8ca534984bda9b62f4");
/// Lets keys that hold a token live longer.
pub const EXTEND: Script = script!("extend.lua", "34db8a433ead1d98b27cf60ca3a54398c8785bec");
/// Deletes keys that hold a token.
pub const RELEASE: Script = script!("release.lua", "554f69964183d7f131859acbd036c42169eb34b2");
/// Reads who holds keys, and for how long still.
pub const INSPECT: Script = script!("inspect.lua", "f2772eb7f79499f1febc4ae40675ac8f98180b82");
/// Puts a node that is known to be new out of quarantine (R16).
pub const DECLARE_FRESH: Script =
    script!("declare_fresh.lua", "6118b5b4d923eda6528bc03dc5e77ee742dd09f4");

/// Every script, for `SCRIPT LOAD`.
pub const SCRIPTS: [Script; 6] = [ACQUIRE, SEAL, EXTEND, RELEASE, INSPECT, DECLARE_FRESH];

/// Writes the lines of `source` that are no comments, without indentation, into `text`, as far as there
/// is room, and tells how many bytes they have. No script has a string of several lines, in which this
/// would change what it says.
const fn strip(source: &[u8], text: &mut [u8]) -> usize {
    let mut len = 0;
    let mut at = 0;
    while at < source.len() {
        while source[at] == b' ' {
            at += 1;
        }
        let is_comment = source[at] == b'-' && source[at + 1] == b'-';
        let mut is_over = false;
        while !is_over {
            is_over = source[at] == b'\n';
            if !is_comment {
                if len < text.len() {
                    text[len] = source[at];
                }
                len += 1;
            }
            at += 1;
        }
    }
    len
}
