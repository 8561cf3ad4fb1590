//! A transport of one's own: `cargo run -p redlatch-core --example custom_transport IP:PORT …`
#![cfg_attr(not(test), expect(clippy::disallowed_types, reason = "drivers read clocks"))]
use redlatch_core::wire::{Answer, Dialect, Form, Keys, Value, Wire};
use redlatch_core::{Command, Config, Event, Instant, Lease, Lock, Quorum, Reply, Ttl};
use std::io::{BufRead, BufReader, Read, Write};
use std::{error::Error, fs::File, net::SocketAddr, net::TcpStream, sync::LazyLock, sync::mpsc};

/// Does `work` under a lock. A node that hangs delays neither the grant nor the work, only the return.
pub(crate) fn lock(nodes: &[SocketAddr], work: impl Fn(&Lease)) -> Result<(), Box<dyn Error>> {
    let wire = Wire::new(Keys::new(&[b"report"])?, Dialect::SCRIPTS)?;
    let mut nonce = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut nonce)?;
    let mut lock = Lock::new(Config::new(Quorum::of(nodes.len())?, Ttl::from_millis(30_000)?)?);
    lock.acquire(now(), nonce, None)?;
    let (sender, replies) = mpsc::channel();
    let (mut unanswered, mut outcome) = (0_usize, None);
    std::thread::scope(|scope| {
        loop {
            while let Some(command) = lock.poll_command() {
                let (node, sender) = (&nodes[command.id.node().index()], sender.clone());
                scope.spawn(move || sender.send((command.id, ask(&wire, node, &command))));
                unanswered += 1;
            }
            match lock.poll_event() {
                Some(Event::Granted(lease)) => {
                    work(&lease); // nothing renews it: this has to end before `lease.valid_until`
                    lock.release(now()).ok(); // if it did not, `Event::Lost` is next
                }
                Some(Event::Released(_)) => outcome = Some(Ok(())),
                Some(failed_or_lost) => outcome = Some(Err(format!("{failed_or_lost:?}").into())),
                None => {}
            }
            if unanswered == 0 && outcome.is_some() {
                // not before: a late yes has to be undone (R6)
                return outcome.unwrap_or(Ok(()));
            }
            let next = lock.poll_timeout().unwrap_or(Instant::MAX);
            let reply = replies.recv_timeout(next.saturating_duration_since(now()));
            unanswered -= usize::from(reply.is_ok());
            match reply {
                Ok((id, reply)) => lock.handle_reply(now(), id, reply.unwrap_or(Reply::Unknown)),
                Err(_) => lock.handle_timeout(now()),
            }
        }
    })
}

/// Carries out a command; nothing is known if anything goes wrong, or takes too long.
fn ask(wire: &Wire, node: &SocketAddr, command: &Command) -> Option<Reply> {
    let left = || command.deadline.saturating_duration_since(now());
    let mut stream = TcpStream::connect_timeout(node, left()).ok()?;
    let mut buffer = vec![0; wire.buffer_len()];
    let args = wire.encode(&command.op, Form::Text, &mut buffer).ok()?; // or try `Form::Sha1` first
    let mut request = format!("*{}\r\n", args.as_slice().len()).into_bytes();
    for arg in args.as_slice() {
        request.extend([format!("${}\r\n", arg.len()).as_bytes(), arg, b"\r\n"].concat());
    }
    stream.write_all(&request).ok()?;
    stream.set_read_timeout(Some(left())).ok()?;
    // Scripts answer an array of integers, as `*2\r\n:1\r\n:0\r\n`; of all else nothing is understood.
    let mut numbers = BufReader::new(stream).split(b'\n').map(|line| {
        let line = String::from_utf8(line.ok()?).ok()?;
        line.strip_suffix('\r')?.strip_prefix(['*', ':'])?.parse().ok()
    });
    let count = numbers.next()??;
    let numbers = numbers.take(usize::try_from(count).ok()?).map(|number| number.map(Value::Int));
    let answer = wire.decode(&command.op, &Value::Array(&numbers.collect::<Option<Vec<_>>>()?));
    if let Answer::Reply(reply) = answer { Some(reply) } else { None }
}

fn now() -> Instant {
    // Does not count suspended time, alas: a real driver reads `CLOCK_BOOTTIME`.
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::from_nanos(START.elapsed().as_nanos() as u64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let nodes: Result<Vec<_>, _> = std::env::args().skip(1).map(|node| node.parse()).collect();
    lock(&nodes?, |lease| println!("{lease:?}"))
}
