//! What a server has on disk: its configuration, its append-only file, its clock. The same for a process and for a
//! container, which sees the folder under another name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::WallClock;
use super::{Fsync, Keep};

/// The configuration, in the folder.
pub(super) const CONFIGURATION: &str = "redis.conf";

/// What the server prints, in the folder.
pub(super) const OUTPUT: &str = "output";

/// With `everysec`, Redis tells the disk once a second: what is older than this is there.
const SECOND: Duration = Duration::from_secs(1);

/// The home of one server, over all its lives.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    /// The folder as the server knows it.
    seen_as: PathBuf,
    listen: (IpAddr, u16),
    settings: BTreeMap<String, String>,
    pub(super) clock: WallClock,
    /// Each life without data begins a new folder of append-only files.
    generation: u32,
    /// How long the file was when the present life began: all that is surely on disk with `appendfsync no`.
    at_start: u64,
    /// When the last life ended, by its own clock.
    ended: Option<SystemTime>,
}

impl Home {
    pub(super) fn new(folder: &Path, seen_as: &Path, listen: (IpAddr, u16), fsync: Fsync) -> Self {
        let settings = fsync.settings().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            folder: folder.to_owned(),
            seen_as: seen_as.to_owned(),
            listen,
            settings: settings.into(),
            clock: WallClock::right(),
            generation: 0,
            at_start: 0,
            ended: None,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A setting that was changed in a running server, for its next life.
    pub(super) fn remember(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
        if name == "appendfsync" || name == "appendonly" {
            self.at_start = self.append_only_bytes();
        }
    }

    /// The server is gone, or about to go at once.
    pub(super) fn note_end(&mut self) {
        self.ended = Some(self.clock.shows(SystemTime::now()));
    }

    /// Makes everything ready for a new life, which begins now.
    pub(super) fn prepare(&mut self, keep: Keep) -> io::Result<()> {
        match keep {
            Keep::All => {}
            Keep::Synced => self.lose_power()?,
            Keep::Nothing => self.generation += 1,
        }
        self.at_start = self.append_only_bytes();
        self.ended = None;
        fs::write(self.folder.join(CONFIGURATION), self.configuration())?;
        self.clock.write(&self.folder, SystemTime::now())
    }

    /// The end of what the server said, for a person.
    pub(super) fn last_words(&self) -> String {
        let output = fs::read(self.folder.join(OUTPUT)).unwrap_or_default();
        let text = String::from_utf8_lossy(&output);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn configuration(&self) -> String {
        let (address, port) = self.listen;
        let mut lines = vec![
            format!("bind {address}"),
            format!("port {port}"),
            // Elsewhere than on this machine nobody can reach the address.
            "protected-mode no".to_owned(),
            format!("dir \"{}\"", self.seen_as.display()),
            format!("appenddirname aof-{}", self.generation),
            // By these it is known what was written when.
            "aof-timestamp-enabled yes".to_owned(),
            "auto-aof-rewrite-percentage 0".to_owned(),
            "save \"\"".to_owned(),
            "enable-debug-command yes".to_owned(),
        ];
        lines.extend(self.settings.iter().map(|(name, value)| format!("{name} {value}")));
        lines.join("\n") + "\n"
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// The newest append-only file.
    fn append_only_file(&self) -> Option<PathBuf> {
        let folder = self.folder.join(format!("aof-{}", self.generation));
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let number = |file: &PathBuf| {
            let name = file.file_name()?.to_str()?;
            name.strip_suffix(".incr.aof")?.rsplit('.').next()?.parse::<u32>().ok()
        };
        files.filter_map(|file| Some((number(&file)?, file))).max().map(|(_, file)| file)
    }

    fn append_only_bytes(&self) -> u64 {
        let file = self.append_only_file().and_then(|file| fs::metadata(file).ok());
        file.map_or(0, |file| file.len())
    }

    /// A process that dies leaves what it wrote to the kernel; only a loss of power takes what was not yet synced.
    fn lose_power(&mut self) -> io::Result<()> {
        let Some(file) = self.append_only_file() else { return Ok(()) };
        let kept = match self.setting("appendfsync") {
            "always" => return Ok(()),
            "everysec" => {
                let ended = self.ended.unwrap_or_else(|| self.clock.shows(SystemTime::now()));
                let synced = ended.checked_sub(SECOND).unwrap_or(UNIX_EPOCH);
                let seconds = synced.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                synced_bytes(&fs::read(&file)?, seconds)
            }
            _ => self.at_start,
        };
        File::options().write(true).open(file)?.set_len(kept)
    }
}

impl Fsync {
    /// The settings that make it so.
    pub(super) const fn settings(self) -> [(&'static str, &'static str); 2] {
        let (append_only, policy) = match self {
            Self::Always => ("yes", "always"),
            Self::EverySecond => ("yes", "everysec"),
            Self::Never => ("yes", "no"),
            Self::Off => ("no", "everysec"),
        };
        [("appendonly", append_only), ("appendfsync", policy)]
    }
}

/// How much of an append-only file had been written before `second`, by the notes of time in it.
fn synced_bytes(file: &[u8], second: u64) -> u64 {
    let mut at = 0;
    while let Some((line, mut next)) = line(file, at) {
        if let Some(time) = line.strip_prefix("#TS:") {
            if time.parse().is_ok_and(|time: u64| time >= second) {
                break;
            }
        } else if let Some(count) = line.strip_prefix('*').and_then(|count| count.parse().ok()) {
            for _ in 0..count {
                let Some(end) = argument_end(file, next) else { return bytes(at) };
                next = end;
            }
        } else {
            break;
        }
        at = next;
    }
    bytes(at)
}

fn bytes(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

fn argument_end(file: &[u8], from: usize) -> Option<usize> {
    let (header, start) = line(file, from)?;
    let length: usize = header.strip_prefix('$')?.parse().ok()?;
    let end = start.checked_add(length)?.checked_add(2)?;
    (end <= file.len()).then_some(end)
}

/// The line at `from`, and where the next begins.
fn line(file: &[u8], from: usize) -> Option<(&str, usize)> {
    let rest = file.get(from..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((str::from_utf8(&rest[..length]).ok()?, from + length + 2))
}

#[cfg(test)]
mod tests {
    use super::synced_bytes;

    #[test]
    fn power_takes_what_was_written_in_the_last_second() {
        let old =
            "#TS:100\r\n*1\r\n$3\r\nSET\r\n#TS:101\r\n*2\r\n$3\r\nDEL\r\n$9\r\n#TS:500\r\n\r\n";
        let new = "#TS:102\r\n*1\r\n$3\r\nSET\r\n";
        let file = [old, new].concat();
        for (second, kept) in [(0, 0), (100, 0), (102, old.len()), (103, file.len())] {
            assert_eq!(synced_bytes(file.as_bytes(), second), kept as u64, "{second}");
        }
        let torn = &file.as_bytes()[..file.len() - 1];
        assert_eq!(synced_bytes(torn, 103), (old.len() + "#TS:102\r\n".len()) as u64);
    }
}
