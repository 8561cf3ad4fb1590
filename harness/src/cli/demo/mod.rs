//! `demo`: the real driver on embedded nodes that fail, and everything that must hold.

mod bugs;
mod plan;
mod record;
mod referee;
mod view;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redlatch::{AcquireError, Options, Redlatch};
use redlatch_harness::check::Invariant;
use redlatch_harness::embedded::Cluster;
use redlatch_harness::report::{Case, Shape};
use tokio::time::sleep_until;

use super::artefacts::Place;
use super::{Error, Verdict, heading};
use bugs::Bug;
use plan::Planned;
use record::What;
use referee::Referee;
use view::View;
use worker::Worker;

/// How long keys live: short, so that a few seconds have many leases in them.
const TTL: Duration = Duration::from_millis(400);
/// Between two looks at all nodes.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Clients of the nodes; the workers share them.
const CLIENTS: usize = 2;
/// How long late answers and late commands take to come in after everything healed.
const SETTLE: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the faults are drawn from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many nodes, 3 to 15
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=15))]
    nodes: u8,
    /// How many workers
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=64))]
    workers: u8,
    /// How many resources they contend for
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    resources: u8,
    /// Plants a bug in every node, to see it caught
    #[arg(long, value_enum)]
    plant: Option<Bug>,
    #[command(flatten)]
    place: Place,
}

impl Args {
    /// The command that does the same again, as far as real time and real sockets allow.
    fn replay(&self, seed: u64) -> String {
        let Self { seconds, nodes, workers, resources, .. } = self;
        let plant = self.plant.map(|bug| format!(" --plant {}", bug.name())).unwrap_or_default();
        format!(
            "redlatch-harness demo --seed {seed} --seconds {seconds} --nodes {nodes} --workers {workers} \
             --resources {resources}{plant}"
        )
    }
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let length = Duration::from_secs(args.seconds);
    let plan = plan::draw(seed, args.nodes.into(), length, TTL);
    say!("{}  {}", heading(&format!("seed {seed}")), plan::shape(&plan));
    say!(
        "{} embedded nodes, {} workers on {} resources, keys that live for {} ms, {} s of faults",
        args.nodes,
        args.workers,
        args.resources,
        TTL.as_millis(),
        args.seconds
    );
    let cluster = Arc::new(Cluster::builder(args.nodes.into()).seed(seed).start()?);
    if let Some(bug) = args.plant {
        bug.plant(&cluster);
    }
    let names = (0..args.resources).map(|index| format!("resource-{index}")).collect();
    let referee = Arc::new(Referee::new(names, args.nodes.into()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(args, seed, plan.clone(), &cluster, &referee))?;

    view::summary(&referee.counts(), &cluster, referee.record().elapsed());
    let verdict = if referee.record().is_violated() {
        Verdict::Violation
    } else if is_empty(&referee) {
        say!("too little happened to tell anything");
        Verdict::Unknown
    } else {
        view::all_well(args.nodes.into());
        Verdict::Valid
    };
    args.place.write(&format!("demo-{seed}"), &case(args, seed, &plan, &referee))?;
    match verdict {
        Verdict::Valid => {}
        Verdict::Violation | Verdict::Unknown => say!("{}", args.replay(seed)),
    }
    Ok(verdict)
}

/// What there is to show: workers are its clients.
fn case(args: &Args, seed: u64, plan: &[Planned], referee: &Referee) -> Case {
    let nodes = usize::from(args.nodes);
    // Tokens of acquires that were never granted are nobody's that is in the picture.
    let strangers = usize::from(args.workers);
    Case {
        tier: "demo".to_owned(),
        title: format!("demo: {strangers} workers on {nodes} embedded nodes"),
        seed: Some(seed),
        replay: args.replay(seed),
        elapsed: referee.record().elapsed(),
        shape: Shape {
            nodes,
            clients: strangers,
            resources: args.resources.into(),
            majority: nodes / 2 + 1,
            guarded: true,
            faults: plan.iter().map(Planned::reported).collect(),
        },
        history: referee.history(strangers),
        violation: referee.record().violation(),
        ..Case::default()
    }
}

/// A run in which nothing was contended or lost shows nothing.
fn is_empty(referee: &Referee) -> bool {
    let counts = referee.counts();
    counts.grants < 10 || counts.losses == 0 || counts.looks == 0 || counts.writes == 0
}

/// Lets it all happen.
async fn play(
    args: &Args,
    seed: u64,
    plan: Vec<Planned>,
    cluster: &Arc<Cluster>,
    referee: &Arc<Referee>,
) -> Result<(), Error> {
    let clients: Vec<Redlatch> = (0..CLIENTS).map(|_| client(cluster)).collect::<Result<_, _>>()?;
    clients[0].declare_fresh().await;
    let watched = Watch::start(cluster, referee);
    let begin = Instant::now();
    let stop_at = begin + Duration::from_secs(args.seconds);
    let workers: Vec<_> = (0..usize::from(args.workers))
        .map(|index| {
            tokio::spawn(
                Worker {
                    index,
                    redlatch: clients[index % CLIENTS].clone(),
                    referee: referee.clone(),
                    rng: Rng::with_seed(seed.wrapping_add(1 + index as u64)),
                    stop_at,
                    acquires: 0,
                    grants: 0,
                }
                .run(),
            )
        })
        .collect();
    let mut view = View::new(args.nodes.into(), referee.names());
    act(plan, begin, stop_at, cluster, referee, &mut view).await?;
    referee.record().note(What::Healed);
    for worker in workers {
        worker.await?;
        view.show(cluster, referee);
    }
    settle(clients, cluster, referee).await?;
    watched.stop();
    view.show(cluster, referee);
    view.finish();
    Ok(())
}

fn client(cluster: &Cluster) -> Result<Redlatch, redlatch::BuildError> {
    let builder = Redlatch::builder().restart_guard(TTL).connect_timeout(TTL);
    cluster.urls().into_iter().fold(builder, |builder, url| builder.node(url)).build()
}

/// Carries the plan out, and shows what happens; ends early once something is wrong. All faults are over
/// when it returns.
async fn act(
    plan: Vec<Planned>,
    begin: Instant,
    stop_at: Instant,
    cluster: &Cluster,
    referee: &Referee,
    view: &mut View,
) -> Result<(), Error> {
    let mut waiting = plan.into_iter().peekable();
    let mut lasting: Vec<Planned> = Vec::new();
    while Instant::now() < stop_at && !referee.record().is_violated() {
        let elapsed = begin.elapsed();
        while let Some(planned) = waiting.next_if(|planned| planned.at <= elapsed) {
            planned.begin(cluster, referee.record());
            lasting.push(planned);
        }
        for planned in lasting.extract_if(.., |planned| planned.until <= elapsed) {
            planned.end(cluster, referee.record())?;
        }
        view.show(cluster, referee);
        sleep_until((Instant::now() + view::SHOW_EVERY).into()).await;
    }
    for planned in lasting {
        planned.end(cluster, referee.record())?;
    }
    Ok(())
}

/// After everything healed: what was given up is gone, and what is free is got at once.
async fn settle(clients: Vec<Redlatch>, cluster: &Cluster, referee: &Referee) -> Result<(), Error> {
    tokio::time::sleep(SETTLE).await;
    for client in clients {
        client.shutdown().await;
    }
    // A node that forgot in the end may be quarantined for this long still, and no key lives longer,
    // by however slow a clock.
    tokio::time::sleep(TTL + TTL / 50).await;
    let left = |name: &String| cluster.iter().filter(|node| node.value(name).is_some()).count();
    for name in referee.names().iter().filter(|name| left(name) > 0) {
        let text = format!("{} nodes still have a key of {name}, which nobody holds", left(name));
        referee.violation(Invariant::NoGhost, text);
    }
    let client = client(cluster)?;
    for name in referee.names() {
        if let Err(text) = get_twice(&client, name).await {
            referee.violation(Invariant::Progress, text);
        }
    }
    client.shutdown().await;
    // A release that a busy machine delays is repeated in the background.
    let deadline = Instant::now() + TTL / 2;
    while Instant::now() < deadline && referee.names().iter().any(|name| left(name) > 0) {
        tokio::time::sleep(view::SHOW_EVERY).await;
    }
    for name in referee.names().iter().filter(|name| left(name) > 0) {
        let text = format!("{} nodes still have a key of {name}, which was released", left(name));
        referee.violation(Invariant::NoGhost, text);
    }
    Ok(())
}

/// Gets a lock that is free, and, once that is confirmed to be released, gets it again, which only a
/// release that was carried out allows. A machine that is too busy to do so is given a few tries.
async fn get_twice(client: &Redlatch, name: &str) -> Result<(), String> {
    const TRIES_MAX: u32 = 5;
    let mut got = 0;
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        let options = Options::new(TTL).wait(TTL / 2).node_timeout(TTL / 4);
        match client.acquire(name, options).await {
            Ok(guard) => match guard.release().await {
                Ok(()) => got += 1,
                // Then it may not be free before its keys expire.
                Err(_) => tokio::time::sleep(TTL).await,
            },
            Err(AcquireError::Contended { .. }) => {
                return Err(format!("{name} is free, and not to be had: keys were left behind"));
            }
            Err(error) => last = format!("{name} is free, and not to be had: {error}"),
        }
        if got == 2 {
            return Ok(());
        }
    }
    Err(last)
}

/// The thread that looks at all nodes again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn start(cluster: &Arc<Cluster>, referee: &Arc<Referee>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, cluster, referee) = (stop.clone(), cluster.clone(), referee.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && !referee.record().is_violated() {
                referee.look(&cluster);
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // If it panicked, that was printed, and the looks that it counted are too few.
        drop(self.thread.join());
    }
}
