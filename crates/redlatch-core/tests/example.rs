//! The custom transport of `examples/`, against servers that speak just enough RESP.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use redlatch_core::wire::{ACQUIRE, RELEASE};

#[path = "../examples/custom_transport.rs"]
#[expect(clippy::disallowed_types, reason = "drivers read clocks")]
#[expect(dead_code, reason = "its main is for the command line")]
mod custom_transport;

use custom_transport::lock;

/// How a server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As Redis does.
    Good,
    /// It takes commands, and never answers.
    Hung,
    /// With these bytes, whatever it is asked; then it closes the connection.
    Says(&'static [u8]),
}

/// What a server has in the lock's key, and which scripts it was asked to run.
#[derive(Default)]
struct State {
    key: Option<Vec<u8>>,
    asked: Vec<&'static str>,
}

struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, manner, &state));
            }
        });
        Self { address, state }
    }

    fn key(&self) -> Option<Vec<u8>> {
        self.state.lock().expect("no server panics").key.clone()
    }

    /// Whoever is asked for the lock is asked to release it, whatever it answered (R4).
    fn was_undone(&self) -> bool {
        let state = self.state.lock().expect("no server panics");
        ["acquire", "release"].iter().all(|script| state.asked.contains(script))
    }
}

/// Answers the commands on one connection until it ends.
fn serve(stream: TcpStream, manner: Manner, state: &Mutex<State>) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut requests = BufReader::new(stream);
    loop {
        let request = request(&mut requests)?;
        let answer = state.lock().ok()?.answer(&request, manner);
        answers.write_all(&answer).ok()?;
        if matches!(manner, Manner::Says(_)) {
            return None;
        }
    }
}

/// One command: an array of byte strings.
fn request(stream: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    (0..number(stream, '*')?)
        .map(|_| {
            let mut bytes = vec![0; number(stream, '$')? + 2];
            stream.read_exact(&mut bytes).ok()?;
            bytes.strip_suffix(b"\r\n").map(<[u8]>::to_vec)
        })
        .collect()
}

fn number(stream: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    line.strip_prefix(kind)?.strip_suffix("\r\n")?.parse().ok()
}

impl State {
    fn answer(&mut self, request: &[Vec<u8>], manner: Manner) -> Vec<u8> {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let scripts = [("acquire", ACQUIRE), ("release", RELEASE)];
        let script_of =
            |text: &[u8]| scripts.into_iter().find(|(_, script)| script.text.as_bytes() == text);
        // A release knows the queue of the key, in which nobody waits here.
        let (text, token, rest) = match *words {
            [b"EVAL", text, b"1", b"report", token, ref rest @ ..]
            | [b"EVAL", text, b"2", b"report", b"redlatch:queue:{report}", token, ref rest @ ..] => {
                (text, token, rest)
            }
            _ => return b"-ERR unknown command\r\n".to_vec(),
        };
        let Some((name, _)) = script_of(text) else {
            return b"-ERR unknown script\r\n".to_vec();
        };
        self.asked.push(name);
        match (manner, name) {
            (Manner::Hung, _) => Vec::new(),
            (Manner::Says(bytes), _) => bytes.to_vec(),
            (Manner::Good, "acquire") => {
                assert_eq!(rest.first(), Some(&b"30000".as_slice()), "the ttl");
                if self.key.is_some() {
                    return b"*3\r\n:0\r\n:30000\r\n:0\r\n".to_vec();
                }
                self.key = Some(token.to_vec());
                b"*2\r\n:1\r\n:0\r\n".to_vec()
            }
            (Manner::Good, _) => {
                let held = self.key.take_if(|held| held == token).is_some();
                format!("*1\r\n:{}\r\n", u8::from(held)).into_bytes()
            }
        }
    }
}

fn servers<const N: usize>(manners: [Manner; N]) -> ([Server; N], [SocketAddr; N]) {
    let servers = manners.map(Server::start);
    let addresses = core::array::from_fn(|index| servers[index].address);
    (servers, addresses)
}

/// Where nothing listens.
fn dead() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

#[test]
fn it_holds_a_majority_while_it_works_and_nothing_afterwards() {
    let (servers, addresses) = servers([Manner::Good; 3]);
    let worked = std::cell::Cell::new(0);
    let outcome = lock(&addresses, |lease| {
        let token = lease.token.to_hex().to_vec();
        let holding = servers.iter().filter(|server| server.key().as_ref() == Some(&token));
        assert!(holding.count() >= 2);
        worked.set(worked.get() + 1);
    });
    outcome.expect("three nodes agree");
    assert_eq!(worked.get(), 1);
    for server in &servers {
        assert_eq!(server.key(), None);
        assert!(server.was_undone());
    }
}

#[test]
fn while_one_holds_the_lock_another_is_refused() {
    let (servers, addresses) = servers([Manner::Good; 3]);
    let outcome = lock(&addresses, |lease| {
        let refused = lock(&addresses, |_| panic!("two hold the lock")).expect_err("it is taken");
        assert!(refused.to_string().contains("Contended"), "{refused}");
        let token = lease.token.to_hex().to_vec();
        let holding = servers.iter().filter(|server| server.key().as_ref() == Some(&token));
        assert!(holding.count() >= 2, "the other one's releases have undone the lock");
    });
    outcome.expect("three nodes agree");
    assert!(servers.iter().all(|server| server.key().is_none()));
    lock(&addresses, |_| {}).expect("the lock is free");
}

#[test]
fn a_hung_node_and_a_dead_one_are_outvoted_by_three() {
    let (servers, [one, two, three, hung]) =
        servers([Manner::Good, Manner::Good, Manner::Good, Manner::Hung]);
    lock(&[hung, one, dead(), two, three], |_| {}).expect("three of five agree");
    assert!(servers.iter().all(|server| server.key().is_none()));
    assert!(servers[3].was_undone());
}

#[test]
fn an_answer_that_is_not_understood_is_no_vote() {
    let nonsense: [&[u8]; 6] = [
        b"",
        b"-NOPERM this user may not run scripts\r\n",
        b"+OK\r\n",
        b"*2\r\n:1\r\n",
        b"*2\r\n:1\r\n:0",
        b"*99999999999999999999\r\n",
    ];
    for bytes in nonsense {
        let (servers, addresses) =
            servers([Manner::Good, Manner::Says(bytes), Manner::Says(bytes)]);
        let outcome = lock(&addresses, |_| panic!("one of three agreed"));
        let why = outcome.expect_err("one of three agreed").to_string();
        assert!(why.contains("NoQuorum"), "{why}");
        for server in &servers {
            assert_eq!(server.key(), None);
            assert!(server.was_undone());
        }
    }
}

#[test]
fn without_nodes_there_is_no_lock() {
    assert!(lock(&[], |_| panic!("nobody agreed")).is_err());
}
