//! A lease as text: how `acquire` prints it and `extend` and `release` read it back.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use redlatch::{LeaseParts, Resources, Token};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::output;

/// The version of both forms. A reader refuses others.
pub(crate) const VERSION: u32 = 1;
/// What the line form begins with.
const MARK: &str = "redlatch-lease";

/// The two forms of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line of words: `redlatch-lease version=1 token=… … resource=…`.
    Line,
    /// A JSON object.
    Json,
}

/// The JSON form; the line form has the same names.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    resources: Vec<String>,
    /// Whoever has it can release the lock.
    token: String,
    fence: Option<u64>,
    ttl_ms: u64,
    valid_until_ms: u64,
    /// The same for people, by RFC 3339; not read back.
    #[serde(default, skip_deserializing)]
    valid_until: String,
}

/// Writes a lease down.
pub(crate) fn write(lease: &LeaseParts, form: Form) -> Result<String, Failure> {
    let elapsed = lease.valid_until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let document = Document {
        version: VERSION,
        resources: names(&lease.resources),
        token: String::from_utf8_lossy(&lease.token.to_hex()).into_owned(),
        fence: lease.fence,
        ttl_ms: output::millis(lease.ttl),
        // Rounded down, so that a lease never grows by being written.
        valid_until_ms: output::millis(elapsed),
        valid_until: humantime::format_rfc3339_millis(lease.valid_until).to_string(),
    };
    match form {
        Form::Line => Ok(line(&document)),
        Form::Json => output::json(&document),
    }
}

/// The names of resources as text; all that come from arguments or leases are.
pub(crate) fn names(resources: &Resources) -> Vec<String> {
    resources.names().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Reads a lease in either form. The error does not repeat what was read.
pub(crate) fn read(text: &str) -> Result<(LeaseParts, Form), Failure> {
    let text = text.trim();
    let (document, form) = if text.starts_with('{') {
        (serde_json::from_str(text).ok(), Form::Json)
    } else {
        (parse_line(text), Form::Line)
    };
    let document: Document = document.ok_or_else(not_a_lease)?;
    if document.version != VERSION {
        return Err(Failure::new(
            Exit::Data,
            format!("the lease has version {}; this redlatch reads {VERSION}", document.version),
        ));
    }
    let lease = LeaseParts {
        token: Token::from_hex(document.token.as_bytes()).map_err(|_| not_a_lease())?,
        fence: document.fence,
        ttl: Duration::from_millis(document.ttl_ms),
        valid_until: SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(document.valid_until_ms))
            .ok_or_else(not_a_lease)?,
        resources: document.resources.into(),
    };
    Ok((lease, form))
}

fn not_a_lease() -> Failure {
    Failure::new(
        Exit::Data,
        "what was read is no lease; give what `redlatch acquire` or `redlatch extend` printed, \
         unchanged",
    )
}

fn line(document: &Document) -> String {
    let Document { version, resources, token, fence, ttl_ms, valid_until_ms, valid_until: _ } =
        document;
    let mut line = format!("{MARK} version={version} token={token}");
    if let Some(fence) = fence {
        line += &format!(" fence={fence}");
    }
    line += &format!(" ttl_ms={ttl_ms} valid_until_ms={valid_until_ms}");
    for name in resources {
        line += " resource=";
        escape(name, &mut line);
    }
    line + "\n"
}

fn parse_line(text: &str) -> Option<Document> {
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some(MARK) {
        return None;
    }
    let (mut version, mut token, mut fence, mut ttl_ms, mut until) = (None, None, None, None, None);
    let mut resources = Vec::new();
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "version" => version = Some(value.parse().ok()?),
            "token" => token = Some(value.to_owned()),
            "fence" => fence = Some(value.parse().ok()?),
            "ttl_ms" => ttl_ms = Some(value.parse().ok()?),
            "valid_until_ms" => until = Some(value.parse().ok()?),
            "resource" => resources.push(unescape(value)?),
            _ => return None,
        }
    }
    Some(Document {
        version: version?,
        resources,
        token: token?,
        fence,
        ttl_ms: ttl_ms?,
        valid_until_ms: until?,
        valid_until: String::new(),
    })
}

/// Percent-escapes everything that would not stay one word in a shell script's hands.
fn escape(name: &str, line: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            line.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(line, "%{byte:02X}");
        }
    }
}

fn unescape(word: &str) -> Option<String> {
    let mut pieces = word.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Form, read, write};
    use redlatch::{LeaseParts, Token};
    use std::time::{Duration, SystemTime};

    fn lease(names: &[&str], fence: Option<u64>) -> LeaseParts {
        LeaseParts {
            resources: names.to_vec().into(),
            token: Token::new([0xAB; 16], 3),
            fence,
            ttl: Duration::from_millis(1_500),
            valid_until: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        }
    }

    #[test]
    fn a_lease_reads_back_as_it_was_written() {
        let names: [&[&str]; 4] = [
            &["report"],
            &["{a}:1", "{a}:2"],
            &["with space, 100 %, \n and ünïcode"],
            &["=", "%%"],
        ];
        for names in names {
            for fence in [None, Some(7)] {
                for form in [Form::Line, Form::Json] {
                    let lease = lease(names, fence);
                    let text = write(&lease, form).expect("a document");
                    assert_eq!(read(&text).expect("a lease"), (lease, form), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_line_is_one_line_of_words() {
        let text = write(&lease(&["a b\nc"], Some(7)), Form::Line).expect("a document");
        let expected = "redlatch-lease version=1 token=abababababababababababababababab00000003 \
                        fence=7 ttl_ms=1500 valid_until_ms=1700000000123 resource=a%20b%0Ac\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_no_lease_is_refused_and_not_repeated() {
        let good = write(&lease(&["report"], Some(7)), Form::Line).expect("a document");
        let json = write(&lease(&["report"], Some(7)), Form::Json).expect("a document");
        let cases = [
            String::new(),
            "sesame".to_owned(),
            "{\"token\": \"sesame\"}".to_owned(),
            good.replace("token=ab", "token=sesame"),
            good.replace("ttl_ms=1500", "ttl_ms=sesame"),
            good.replace("resource=report", "resource=%zsesame"),
            good.replace("version=1 ", ""),
            good.replace("version=1", "version=2"),
            json.replace("\"ttl_ms\": 1500", "\"ttl_ms\": \"sesame\""),
            json.replace("abab", "sesame"),
        ];
        for case in cases {
            let error = read(&case).expect_err(&case);
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
