//! One real `redis-server` process.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::builder::{ORACLE, Place, RedisServerBuilder, Tcp};
use crate::tls::Certificates;
use crate::wait::LOOK_EVERY;
use redis::{
    ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, RedisResult, Value,
};
use redlatch_harness::live::PATIENCE;
use redlatch_harness::live::process::Process;

/// Longest silence that [`RedisServer::command`] bears: more than a `DEBUG SLEEP` of a test, less
/// than [`PATIENCE`], so that the panic names the command and not the wait around it.
const ORACLE_PATIENCE: Duration = Duration::from_secs(5);

/// A running `redis-server` on 127.0.0.1 with a data directory of its own.
///
/// All calls take `&self`, so tasks can share a server. The fixture's own commands go through a
/// unix socket that every server has, as a user of their own: they work whatever ports, passwords,
/// rules and proxies a test sets up, and are never answered by somebody else's server.
///
/// `Drop` ends the process, also while a test panics and when the server is paused. A test process
/// that is killed takes its servers with it on Linux (the reason and the limits are described at
/// [`redlatch_harness::live::process`]).
#[derive(Debug)]
pub struct RedisServer {
    config: RedisServerBuilder,
    process: Mutex<Process>,
    // Last: the process is gone before its directory.
    place: Place,
}

/// What a node says about the holder of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The key does not exist.
    Nobody,
    /// The key exists and this is its value, escaped if it is no UTF-8.
    Token(String),
    /// The node is paused or not running, so nobody can ask it.
    Unknown,
}

impl RedisServer {
    /// Starts a server without password, TLS or persistence.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server to be configured before it starts.
    #[must_use]
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// `redis://` URL as the default user, with the password if there is one.
    ///
    /// # Panics
    ///
    /// If the server has only a unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}", self.config.default_login(), self.addr())
    }

    /// `redis://` URL as a user made by [`RedisServerBuilder::user`].
    ///
    /// # Panics
    ///
    /// If there is no such user, or the server has only a unix socket.
    #[must_use]
    pub fn url_as(&self, user: &str) -> String {
        let user = self.config.users.iter().find(|known| known.name == user);
        let user = user.expect("a user that the builder made");
        format!("redis://{}:{}@{}", user.name, user.password, self.addr())
    }

    /// `rediss://` URL as the default user.
    ///
    /// # Panics
    ///
    /// If the server was started without TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        assert!(self.place.certificates.is_some(), "this server was started without TLS");
        format!("rediss://{}{}", self.config.default_login(), self.place.tls_port.addr())
    }

    /// `redis+unix://` URL as the default user.
    #[must_use]
    pub fn unix_url(&self) -> String {
        let password = self.config.password.as_ref();
        let query = password.map(|password| format!("?pass={password}")).unwrap_or_default();
        format!("redis+unix://{}{query}", self.place.socket().display())
    }

    /// The plain TCP address.
    ///
    /// # Panics
    ///
    /// If the server has only a unix socket.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        assert!(self.config.tcp == Tcp::Listen, "this server has only a unix socket");
        self.place.port.addr()
    }

    /// The plain TCP port; panics as [`addr`](Self::addr).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The port that it listens on with TLS.
    ///
    /// # Panics
    ///
    /// If the server was started without TLS.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        assert!(self.place.certificates.is_some(), "this server was started without TLS");
        self.place.tls_port.number()
    }

    /// The certificates of a server with TLS.
    ///
    /// # Panics
    ///
    /// If the server was started without TLS.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        self.place.certificates.as_ref().expect("this server was started without TLS")
    }

    /// The directory of the server's data, output and socket.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.place.directory.path().to_owned()
    }

    /// The id of the latest process, which may have ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// Whether the process exists; a paused one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Stops the process (SIGSTOP) and returns once it stands still.
    ///
    /// The kernel goes on accepting connections and bytes for it, so clients see pure silence.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn pause(&self) {
        self.process().pause().expect("the server runs");
    }

    /// Lets a paused process go on (SIGCONT); it then handles what came in meanwhile.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn resume(&self) {
        self.process().resume().expect("the server runs");
    }

    /// Ends the process at once (SIGKILL), paused or not, and waits until it is gone.
    ///
    /// Connections to its port are refused from then on. A second call does nothing.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts the server again on the same ports, with the same arguments and directory.
    ///
    /// One that still runs is killed first. Without [`append_only`](RedisServerBuilder::append_only)
    /// the data is lost.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub fn restart(&self) {
        {
            let mut process = self.process();
            process.kill();
            *process = self.config.spawn(&self.place);
        }
        self.wait_ready().unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Runs one command as an all-powerful user over a fresh connection and returns its reply.
    ///
    /// # Panics
    ///
    /// If the server refuses the command or is silent for 5 s.
    pub fn command(&self, args: &[&str]) -> Value {
        self.query(args)
    }

    /// As [`command`](Self::command), with the reply as a type of choice.
    ///
    /// # Panics
    ///
    /// As [`command`](Self::command), or if the reply is of another type.
    #[must_use]
    pub fn query<T: FromRedisValue>(&self, args: &[&str]) -> T {
        self.try_query(args).unwrap_or_else(|error| panic!("oracle {args:?}: {error}"))
    }

    /// As [`query`](Self::query), with refusals and silence as an error.
    ///
    /// # Errors
    ///
    /// Whatever the server answered, or why it did not within 5 s.
    pub fn try_query<T: FromRedisValue>(&self, args: &[&str]) -> RedisResult<T> {
        // Without the library's name the login is the whole handshake: redis-rs would wait anew for
        // every reply that a silent server owes.
        let login = RedisConnectionInfo::default()
            .set_username(ORACLE)
            .set_password("any")
            .set_skip_set_lib_name();
        let address = ConnectionAddr::Unix(self.place.socket()).into_connection_info()?;
        let client = redis::Client::open(address.set_redis_settings(login))?;
        let mut connection = client.get_connection_with_timeout(ORACLE_PATIENCE)?;
        connection.set_read_timeout(Some(ORACLE_PATIENCE))?;
        connection.set_write_timeout(Some(ORACLE_PATIENCE))?;
        let (name, rest) = args.split_first().expect("a command has a name");
        redis::cmd(name).arg(rest).query(&mut connection)
    }

    /// Who holds `resource` on this node.
    #[must_use]
    pub fn owner_of(&self, resource: &str) -> Owner {
        if !self.can_answer() {
            return Owner::Unknown;
        }
        match self.query::<Option<Vec<u8>>>(&["GET", resource]) {
            Some(value) => Owner::Token(text(value)),
            None => Owner::Nobody,
        }
    }

    /// What `PTTL` says: the time left, -1 for a key without one, -2 for no key; `None` from a node
    /// that is paused or not running.
    #[must_use]
    pub fn pttl_ms(&self, resource: &str) -> Option<i64> {
        self.can_answer().then(|| self.query(&["PTTL", resource]))
    }

    fn can_answer(&self) -> bool {
        let mut process = self.process();
        process.is_running() && !process.is_paused()
    }

    /// Even after a test panicked while it held the lock, `Drop` must get at the process.
    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Polls `PING` until it is answered; the error is for a person.
    pub(crate) fn wait_ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Looked at first: an error is worth reporting only of a server that still runs.
            let running = self.is_running();
            let Err(error) = self.try_query::<String>(&["PING"]) else { return Ok(()) };
            if !running || Instant::now() > deadline {
                let output = fs::read_to_string(self.place.output()).unwrap_or_default();
                let program = self.config.program.display();
                return Err(format!("{program} did not start: {error}; its output:\n{output}"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl RedisServer {
    /// Starts the process and does not wait for an answer.
    pub(crate) fn launch(config: RedisServerBuilder) -> Self {
        let place = Place::new(&config);
        let process = Mutex::new(config.spawn(&place));
        Self { config, process, place }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}
