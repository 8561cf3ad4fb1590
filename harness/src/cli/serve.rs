//! `serve`: embedded nodes for any client.

use std::io::Write;

use redlatch_harness::embedded::Cluster;
use redlatch_harness::redis::Flavour;

use super::{Error, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many nodes, 1 to 16
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// The first node's port; the others follow [default: any free ones]
    #[arg(long, value_name = "BASE")]
    port: Option<u16>,
    /// Which server the nodes are like
    #[arg(long, value_enum, default_value = "redis8")]
    flavour: FlavourArg,
}

/// A flavour, as it is written on a command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FlavourArg {
    /// Redis 7.0
    Redis7,
    /// Redis 8.4
    Redis8,
    /// Valkey 9.0
    Valkey9,
}

impl From<FlavourArg> for Flavour {
    fn from(flavour: FlavourArg) -> Self {
        match flavour {
            FlavourArg::Redis7 => Self::Redis7,
            FlavourArg::Redis8 => Self::Redis8,
            FlavourArg::Valkey9 => Self::Valkey9,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let builder = Cluster::builder(args.nodes.into()).flavour(args.flavour.into());
    let cluster =
        args.port.into_iter().fold(builder, |builder, port| builder.port(port)).start()?;
    let urls = cluster.urls();
    let mut out = std::io::stdout().lock();
    for (index, url) in urls.iter().enumerate() {
        writeln!(out, "node {index}  {url}")?;
    }
    // The form that `redlatch run` and `just nodes` know, to be pasted after `export`.
    writeln!(out, "REDLATCH_NODES={}", urls.join(","))?;
    out.flush()?;
    eprintln!("in memory only; Ctrl-C ends them");
    loop {
        // Nothing wakes this thread but the signal that ends the process.
        std::thread::park();
    }
}
