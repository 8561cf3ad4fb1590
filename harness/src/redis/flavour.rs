//! Which server a node is like.

/// The server that a node resembles: what it says its version is, and which commands it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Redis 7.0: compare-and-act needs a script.
    Redis7,
    /// Redis 8.4: has `SET … IFEQ` and `DELEX`.
    #[default]
    Redis8,
    /// Valkey 9.0: has `SET … IFEQ` and `DELIFEQ`.
    Valkey9,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis7, Self::Redis8, Self::Valkey9];

    /// What `INFO` says of the version. Valkey reports a `redis_version` as well, frozen at 7.2.4.
    #[must_use]
    pub const fn redis_version(self) -> &'static str {
        match self {
            Self::Redis7 => "7.0.15",
            Self::Redis8 => "8.4.0",
            Self::Valkey9 => "7.2.4",
        }
    }

    pub(super) const fn valkey_version(self) -> Option<&'static str> {
        match self {
            Self::Redis7 | Self::Redis8 => None,
            Self::Valkey9 => Some("9.0.0"),
        }
    }

    /// `HELLO` tells the server's own name and version.
    pub(super) const fn hello(self) -> (&'static str, &'static str) {
        match self {
            Self::Redis7 | Self::Redis8 => ("redis", self.redis_version()),
            Self::Valkey9 => ("valkey", "9.0.0"),
        }
    }

    pub(super) const fn has_set_ifeq(self) -> bool {
        match self {
            Self::Redis7 => false,
            Self::Redis8 | Self::Valkey9 => true,
        }
    }

    pub(super) const fn has_delex(self) -> bool {
        matches!(self, Self::Redis8)
    }

    pub(super) const fn has_delifeq(self) -> bool {
        matches!(self, Self::Valkey9)
    }

    /// What it says where the others say it otherwise.
    pub(super) const fn texts(self) -> &'static Texts {
        match self {
            Self::Redis7 | Self::Redis8 => &REDIS_TEXTS,
            Self::Valkey9 => &VALKEY_TEXTS,
        }
    }

    /// `CLIENT SETINFO`, of 7.2 on.
    pub(super) const fn has_client_setinfo(self) -> bool {
        match self {
            Self::Redis7 => false,
            Self::Redis8 | Self::Valkey9 => true,
        }
    }
}

/// Words of errors.
pub(super) struct Texts {
    pub(super) no_script: &'static str,
    pub(super) unknown_in_script: &'static str,
    pub(super) arity_in_script: &'static str,
    pub(super) forbidden_in_script: &'static str,
    pub(super) no_argument: &'static str,
    pub(super) wrong_argument: &'static str,
    /// Whether an error tells the script's SHA-1.
    pub(super) tells_sha1: bool,
}

const REDIS_TEXTS: Texts = Texts {
    no_script: "NOSCRIPT No matching script. Please use EVAL.",
    unknown_in_script: "ERR Unknown Redis command called from script",
    arity_in_script: "ERR Wrong number of args calling Redis command from script",
    forbidden_in_script: "ERR This Redis command is not allowed from script",
    no_argument: "ERR Please specify at least one argument for this redis lib call",
    wrong_argument: "ERR Lua redis lib command arguments must be strings or integers",
    tells_sha1: true,
};

const VALKEY_TEXTS: Texts = Texts {
    no_script: "NOSCRIPT No matching script.",
    unknown_in_script: "ERR Unknown command called from script",
    arity_in_script: "ERR Wrong number of args calling command from script",
    forbidden_in_script: "ERR This Valkey command is not allowed from script",
    no_argument: "ERR Please specify at least one argument for this call",
    wrong_argument: "ERR Command arguments must be strings or integers",
    tells_sha1: false,
};
