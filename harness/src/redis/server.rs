//! Commands about the server and the connection.

use super::number::{integer, parse};
use super::resp::Resp;
use super::session::{Protocol, Session};
use super::table::{Call, Outcome, TABLE, unknown_subcommand, wrong_arity};

pub(super) fn ping(call: &mut Call<'_>) -> Outcome {
    // Whoever has subscribed in RESP2 gets nothing but arrays.
    if call.session.subscriptions > 0 && call.session.protocol == Protocol::Resp2 {
        let text = call.args.get(1).copied().unwrap_or_default();
        return Ok(Resp::Array(vec![Resp::bulk("pong"), Resp::bulk(text)]));
    }
    match call.args {
        [_] => Ok(Resp::simple("PONG")),
        [_, text] => Ok(Resp::bulk(*text)),
        [..] => Err(wrong_arity("ping")),
    }
}

pub(super) fn echo(call: &mut Call<'_>) -> Outcome {
    Ok(Resp::bulk(call.args[1]))
}

pub(super) fn time(call: &mut Call<'_>) -> Outcome {
    let (seconds, millis) = (call.now.div_euclid(1_000), call.now.rem_euclid(1_000));
    let parts = [seconds, millis * 1_000];
    Ok(Resp::Array(parts.iter().map(|part| Resp::bulk(part.to_string())).collect()))
}

pub(super) fn select(call: &mut Call<'_>) -> Outcome {
    let index = integer(call.args[1])?;
    let index = usize::try_from(index).ok().filter(|index| *index < super::keyspace::DATABASES);
    call.session.db = index.ok_or_else(|| Resp::error("ERR DB index is out of range"))?;
    Ok(Resp::OK)
}

pub(super) fn role(_call: &mut Call<'_>) -> Outcome {
    Ok(Resp::Array(vec![Resp::bulk("master"), Resp::Int(0), Resp::Array(Vec::new())]))
}

/// There are no replicas to wait for.
pub(super) fn wait(call: &mut Call<'_>) -> Outcome {
    integer(call.args[1])?;
    integer(call.args[2])?;
    Ok(Resp::NO)
}

pub(super) fn quit(call: &mut Call<'_>) -> Outcome {
    call.session.quit = true;
    Ok(Resp::OK)
}

pub(super) fn reset(call: &mut Call<'_>) -> Outcome {
    call.store.channels.leave(call.session.id);
    *call.session = Session::new(call.session.id);
    Ok(Resp::simple("RESET"))
}

/// `INFO`, as far as clients look at it.
pub(super) fn info(call: &mut Call<'_>) -> Outcome {
    let asked: Vec<String> = call.args[1..]
        .iter()
        .map(|section| String::from_utf8_lossy(section).to_lowercase())
        .collect();
    let all = asked.is_empty()
        || asked.iter().any(|section| matches!(section.as_str(), "all" | "default" | "everything"));
    let sections = ["server", "memory", "replication", "keyspace"];
    let text: Vec<String> = sections
        .iter()
        .filter(|section| all || asked.iter().any(|asked| asked == *section))
        .map(|section| section_text(call, section))
        .collect();
    Ok(Resp::Verbatim(text.join("\r\n").into_bytes()))
}

fn section_text(call: &Call<'_>, section: &str) -> String {
    let store = &*call.store;
    let uptime = call.now.saturating_sub(store.started_at).max(0) / 1_000;
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut field = |name: &str, value: String| fields.push((name.to_owned(), value));
    match section {
        "server" => {
            field("redis_version", store.flavour.redis_version().to_owned());
            if let Some(version) = store.flavour.valkey_version() {
                field("server_name", "valkey".to_owned());
                field("valkey_version", version.to_owned());
            }
            field("redis_mode", "standalone".to_owned());
            field("process_id", std::process::id().to_string());
            field("run_id", store.run_id.clone());
            field("tcp_port", store.port.to_string());
            field("server_time_usec", (i128::from(call.now) * 1_000).to_string());
            field("uptime_in_seconds", uptime.to_string());
            field("executable", "redlatch-harness".to_owned());
        }
        "memory" => field("maxmemory_policy", "noeviction".to_owned()),
        "replication" => {
            field("role", "master".to_owned());
            field("connected_slaves", "0".to_owned());
        }
        _ => {
            for db in 0..super::keyspace::DATABASES {
                let keys = store.keyspace.names(call.now, db).len();
                if keys > 0 {
                    field(&format!("db{db}"), format!("keys={keys}"));
                }
            }
        }
    }
    let mut title = section.to_owned();
    title[..1].make_ascii_uppercase();
    let lines = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
    format!("# {title}\r\n{}", lines.collect::<String>())
}

/// `HELLO [protocol [AUTH user password] [SETNAME name]]`.
pub(super) fn hello(call: &mut Call<'_>) -> Outcome {
    let mut protocol = call.session.protocol;
    let mut name = None;
    if let Some(version) = call.args.get(1) {
        let wrong = || Resp::error("ERR Protocol version is not an integer or out of range");
        protocol = match parse(version).ok_or_else(wrong)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(Resp::error("NOPROTO unsupported protocol version")),
        };
        let mut options = &call.args[2..];
        while let [word, rest @ ..] = options {
            options = match (word.to_ascii_uppercase().as_slice(), rest) {
                (b"AUTH", [user, _password, rest @ ..]) => {
                    check_user(user)?;
                    rest
                }
                (b"SETNAME", [wanted, rest @ ..]) => {
                    name = Some(valid_name(wanted)?);
                    rest
                }
                (_, _) => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Resp::error(format!("ERR Syntax error in HELLO option '{word}'")));
                }
            };
        }
    }
    call.session.protocol = protocol;
    if let Some(name) = name {
        call.session.name = name;
    }
    let (server, version) = call.store.flavour.hello();
    let number = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = i64::try_from(call.session.id).unwrap_or(i64::MAX);
    Ok(Resp::Map(vec![
        (Resp::bulk("server"), Resp::bulk(server)),
        (Resp::bulk("version"), Resp::bulk(version)),
        (Resp::bulk("proto"), Resp::Int(number)),
        (Resp::bulk("id"), Resp::Int(id)),
        (Resp::bulk("mode"), Resp::bulk("standalone")),
        (Resp::bulk("role"), Resp::bulk("master")),
        (Resp::bulk("modules"), Resp::Array(Vec::new())),
    ]))
}

/// There is no password: the default user may come with any, nobody else may come.
pub(super) fn auth(call: &mut Call<'_>) -> Outcome {
    match call.args {
        [_, _password] => Err(Resp::error(
            "ERR AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?",
        )),
        [_, user, _password] => check_user(user).map(|()| Resp::OK),
        [..] => Err(Resp::error("ERR syntax error")),
    }
}

fn check_user(user: &[u8]) -> Result<(), Resp> {
    if user == b"default" {
        return Ok(());
    }
    Err(Resp::error("WRONGPASS invalid username-password pair or user is disabled."))
}

fn valid_name(name: &[u8]) -> Result<Vec<u8>, Resp> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name.to_vec());
    }
    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
    Err(Resp::error(text))
}

pub(super) fn client(call: &mut Call<'_>) -> Outcome {
    let id = i64::try_from(call.session.id).unwrap_or(i64::MAX);
    let sub = call.args[1].to_ascii_uppercase();
    match (sub.as_slice(), &call.args[2..]) {
        (b"ID", []) => Ok(Resp::Int(id)),
        (b"GETNAME", []) => {
            let name = &call.session.name;
            Ok(if name.is_empty() { Resp::Nil } else { Resp::bulk(name.clone()) })
        }
        (b"SETNAME", [name]) => {
            call.session.name = valid_name(name)?;
            Ok(Resp::OK)
        }
        (b"SETINFO", [_, _]) if call.store.flavour.has_client_setinfo() => Ok(Resp::OK),
        (b"NO-EVICT" | b"NO-TOUCH", [_]) => Ok(Resp::OK),
        (b"INFO" | b"LIST", _) => {
            let name = String::from_utf8_lossy(&call.session.name);
            let line = format!("id={id} name={name} db={}\n", call.session.db);
            Ok(Resp::Verbatim(line.into_bytes()))
        }
        (b"ID" | b"GETNAME" | b"SETNAME" | b"NO-EVICT" | b"NO-TOUCH", _) => {
            let sub = String::from_utf8_lossy(&sub).to_lowercase();
            Err(wrong_arity(&format!("client|{sub}")))
        }
        (_, _) => Err(unknown_subcommand(call.args)),
    }
}

/// The parameters that clients and guides ask for.
const PARAMETERS: [(&str, &str); 6] = [
    ("appendfsync", "everysec"),
    ("appendonly", "no"),
    ("databases", "16"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
];

pub(super) fn config(call: &mut Call<'_>) -> Outcome {
    match (call.args[1].to_ascii_uppercase().as_slice(), &call.args[2..]) {
        (b"GET", wanted @ [_, ..]) => {
            let asked = |name: &str| {
                wanted
                    .iter()
                    .any(|word| *word == b"*" || word.eq_ignore_ascii_case(name.as_bytes()))
            };
            let found = PARAMETERS.iter().filter(|(name, _)| asked(name));
            Ok(Resp::Map(
                found.map(|(name, value)| (Resp::bulk(*name), Resp::bulk(*value))).collect(),
            ))
        }
        (b"RESETSTAT", []) => Ok(Resp::OK),
        (b"SET", [_, _, ..]) => {
            Err(Resp::error("ERR CONFIG SET failed - this node's parameters are fixed"))
        }
        (b"GET" | b"SET" | b"RESETSTAT", _) => {
            let sub = String::from_utf8_lossy(call.args[1]).to_lowercase();
            Err(wrong_arity(&format!("config|{sub}")))
        }
        (_, _) => Err(unknown_subcommand(call.args)),
    }
}

/// Enough for `redis-cli`: names and arities, and no documentation.
pub(super) fn command(call: &mut Call<'_>) -> Outcome {
    let Some(sub) = call.args.get(1) else {
        let specs = TABLE.iter().map(|spec| {
            let none = Resp::Array(Vec::new());
            Resp::Array(vec![
                Resp::bulk(spec.name),
                Resp::Int(spec.arity.into()),
                none,
                Resp::NO,
                Resp::NO,
                Resp::NO,
            ])
        });
        return Ok(Resp::Array(specs.collect()));
    };
    match sub.to_ascii_uppercase().as_slice() {
        b"COUNT" => Ok(Resp::Int(i64::try_from(TABLE.len()).unwrap_or(i64::MAX))),
        b"DOCS" => Ok(Resp::Map(Vec::new())),
        b"LIST" => Ok(Resp::Array(TABLE.iter().map(|spec| Resp::bulk(spec.name)).collect())),
        _ => Err(unknown_subcommand(call.args)),
    }
}
