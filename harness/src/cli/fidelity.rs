//! `fidelity`: the model node against a real server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, IntoConnectionInfo};
use redlatch_harness::redis::fidelity::{Fidelity, Login, Report};

use super::{Error, Verdict, progress};

/// How long a server that was started may take to answer.
const START_MAX: Duration = Duration::from_secs(10);
/// So many differences are shown; the others are likely to be the same.
const SHOWN_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server, which must have no keys: redis://[[user:]password@]host:port [default: one is started]
    #[arg(long)]
    url: Option<String>,
    /// The program to start where no URL is given
    #[arg(long, default_value = "redis-server", conflicts_with = "url")]
    server: String,
    /// How many scripts of 60 commands
    #[arg(long, default_value_t = 1_000)]
    scripts: u64,
    /// The first script's seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let (address, login, _started) = match &args.url {
        Some(url) => {
            let (address, login) = parse(url)?;
            (address, login, None)
        }
        None => {
            let started = Started::start(&args.server)?;
            (started.address, Login::default(), Some(started))
        }
    };
    let mut fidelity = connect(address, &login)?;
    say!(
        "seeds {}..{}  server {} at {address}  model {:?}",
        args.seed,
        args.seed + args.scripts,
        fidelity.version(),
        fidelity.flavour()
    );
    let begin = Instant::now();
    let mut report = Report::default();
    let bar = progress(args.scripts, "scripts")?;
    for seed in args.seed..args.seed + args.scripts {
        fidelity.run(seed, &mut report)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    for difference in report.differences.iter().take(SHOWN_MAX) {
        say!("\n{difference}");
    }
    say!("{report}; {:.1} s", begin.elapsed().as_secs_f64());
    if let Some(first) = report.differences.first() {
        let server = match &args.url {
            // It may have a password in it.
            Some(_) => "--url URL".to_owned(),
            None => format!("--server {}", args.server),
        };
        say!("redlatch-harness fidelity {server} --scripts 1 --seed {}", first.seed);
        return Ok(Verdict::Violation);
    }
    Ok(if report.replies > 0 { Verdict::Valid } else { Verdict::Unknown })
}

/// Connects, for a while if the server is only just starting.
fn connect(address: SocketAddr, login: &Login) -> io::Result<Fidelity> {
    let deadline = Instant::now() + START_MAX;
    loop {
        match Fidelity::connect(address, login) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn parse(url: &str) -> Result<(SocketAddr, Login), Error> {
    let info = url.into_connection_info()?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        return Err("only redis:// URLs can be compared with: TLS would hide the bytes".into());
    };
    let address = (host.as_str(), *port).to_socket_addrs()?.next();
    let settings = info.redis_settings();
    let login = Login {
        user: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
    };
    Ok((address.ok_or("the host has no address")?, login))
}

/// A server that ends with this value.
struct Started {
    address: SocketAddr,
    child: Child,
}

impl Started {
    fn start(program: &str) -> Result<Self, Error> {
        // Found, not kept: somebody could take it before the server does, and then it does not start.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = address.port().to_string();
        let child = Command::new(program)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn();
        let child = child.map_err(|error| {
            format!("cannot run {program} ({error}); install it, or name a server with --url")
        })?;
        Ok(Self { address, child })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
