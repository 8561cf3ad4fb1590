//! What is printed never has a token or a password in it.

use super::*;
use std::fmt::{Debug, Display};
use std::time::{Instant, SystemTime};

use redlatch::LeaseParts;
use redlatch_core::wire::SCRIPTS;

const PASSWORD: &str = "correct-horse-battery-staple";
const WRONG: &str = "wrong-horse-battery-staple";

/// Everything that was printed.
#[derive(Default)]
struct Paper(String);

impl Paper {
    fn debug(&mut self, value: &impl Debug) {
        self.0 += &format!("{value:?}\n{value:#?}\n");
    }

    fn error(&mut self, value: &(impl Debug + Display)) {
        self.debug(value);
        self.0 += &format!("{value}\n");
    }

    /// R3: a token is a capability. Its random half is as good as the whole.
    #[track_caller]
    fn assert_hides(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(!self.0.contains(secret), "{secret} is in:\n{}", self.0);
        }
    }

    /// That no token is there that the test does not know.
    #[track_caller]
    fn assert_has_no_token(&self) {
        let text =
            SCRIPTS.iter().fold(self.0.clone(), |text, script| text.replace(script.sha1, ""));
        let mut digits = 0;
        for c in text.chars() {
            digits = if c.is_ascii_hexdigit() { digits + 1 } else { 0 };
            assert!(digits < 32, "a token is in:\n{text}");
        }
    }
}

fn bytes_of(token: Token) -> String {
    format!("{:?}", token.nonce()).trim_matches(['[', ']']).to_owned()
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_token_or_a_password() {
    let cluster = Cluster::start_with(3, |_, builder| builder.password(PASSWORD));
    let redlatch = client(&cluster);
    let mut paper = Paper::default();
    paper.debug(&redlatch);
    paper.debug(&redlatch::blocking::Redlatch::from(redlatch.clone()));
    paper.debug(&options());

    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let token = holder(&cluster, "job").expect("a majority");
    paper.debug(&guard);
    paper.debug(&guard.view());
    paper.debug(guard.resources());
    paper.debug(&redlatch.inspect("job").await.expect("a name"));
    paper.error(&redlatch.try_acquire("job", options()).await.expect_err("it is taken"));
    let past = Instant::now();
    paper.error(&redlatch.acquire_by(past, "job", options()).await.expect_err("it is late"));
    paper.error(&redlatch.try_acquire("", options()).await.expect_err("no name"));
    let impatient = options().wait(Duration::ZERO);
    let used = redlatch.using("job", impatient, async |_| ()).await;
    paper.error(&used.expect_err("it is taken"));

    let parts = guard.into_parts().await.expect("a lease");
    assert_eq!(hex(parts.token), token);
    paper.debug(&parts);
    paper.debug(&parts.token);
    let ended = LeaseParts { valid_until: SystemTime::now(), ..parts.clone() };
    paper.error(&redlatch.adopt(&ended, &options()).expect_err("it has ended"));
    let guard = redlatch.adopt(&parts, &options()).expect("a lease");
    paper.debug(&guard);
    paper.debug(&redlatch::blocking::Redlatch::from(redlatch.clone()));
    for node in cluster.iter().take(2) {
        node.kill();
    }
    paper.error(&guard.extend().await.expect_err("two nodes are down"));
    paper.error(&guard.release().await.expect_err("two nodes are down"));
    paper.error(&redlatch.try_acquire("other", options()).await.expect_err("two nodes are down"));
    paper.debug(&redlatch.inspect("job").await.expect("a name"));

    paper.assert_hides(&[PASSWORD, &token, &token[..32], &bytes_of(parts.token)]);
    paper.assert_has_no_token();
}

/// Servers repeat the arguments of a command that they do not know.
#[tokio::test]
async fn what_a_server_repeats_is_not_passed_on() {
    let hide = ["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""];
    let cluster = Cluster::start_with(3, |_, builder| builder.args(&hide));
    let mut paper = Paper::default();
    let scripts = client(&cluster).try_acquire("job", options()).await.expect_err("no scripts");
    assert!(scripts.to_string().contains("unknown command"), "{scripts}");
    paper.error(&scripts);

    let plain = builder(&cluster).plain().build().expect("a client");
    let guard = plain.acquire("job", options()).await.expect("SET is there");
    let token = holder(&cluster, "job").expect("a majority");
    paper.error(&guard.extend().await.expect_err("no scripts"));
    paper.error(&guard.release().await.expect_err("no scripts"));
    paper.assert_hides(&[&token, &token[..32]]);
    paper.assert_has_no_token();
}

/// Tries to enter with `login`, and gets an error that says `expected` and no password.
async fn assert_no_entry(login: &str, expected: &str) {
    let cluster = Cluster::start_with(3, |_, builder| builder.password(PASSWORD));
    let urls = cluster.iter().map(|node| format!("redis://{login}{}", node.addr()));
    let redlatch = Redlatch::new(urls).expect("a client");
    let error = redlatch.try_acquire("job", options()).await.expect_err("no entry");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
    let mut paper = Paper::default();
    paper.error(&error);
    paper.debug(&redlatch);
    paper.debug(&redlatch.inspect("job").await.expect("a name"));
    paper.assert_hides(&[PASSWORD, WRONG]);
}

#[tokio::test]
async fn a_password_that_is_wrong_is_named_as_such_and_not_shown() {
    assert_no_entry(&format!(":{WRONG}@"), "uthentication failed").await;
    assert_no_entry(&format!("somebody:{WRONG}@"), "uthentication failed").await;
}

#[tokio::test]
async fn a_password_that_is_missing_is_named_as_such() {
    assert_no_entry("", "uthentication required").await;
}

/// The canary: the search finds what it looks for.
#[test]
#[should_panic(expected = "a token is in")]
fn a_token_that_is_shown_is_found() {
    let mut paper = Paper::default();
    paper.debug(&hex(Token::new([0xab; 16], 1)));
    paper.assert_has_no_token();
}
