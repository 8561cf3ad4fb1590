//! What this process has on the machine while it lives, and who sees to it that it goes.
//!
//! All folders lie in one, and all containers carry its name. When the last node is dropped it goes, also while a
//! panic unwinds. Against every other end (SIGKILL, Ctrl-C, an abort) there is an *heir*: a shell that waits for the
//! end of a pipe which only this process holds, in a process group of its own so that Ctrl-C does not reach it. It
//! ends servers, removes the containers and the folder. Should the heir have been killed as well, the next process
//! that opens an estate finds the folder without a living owner and clears it away. Who lives is told by a lock on a
//! file, which the kernel lifts with the process: no process id can be mistaken for another.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

/// How the folders begin.
const PREFIX: &str = "redlatch-live-";

/// The file that the owner keeps locked.
const OWNER: &str = "owner";

/// The file that says that there are containers.
const CONTAINERS: &str = "containers";

/// The file in the folder of a node that has the id of its process, for the heir.
pub(super) const PROCESS: &str = "process";

/// The label of all our containers; its value is the estate.
pub const LABEL: &str = "redlatch.estate";

/// Ends what is left of an estate: `$1` is its folder, `$2` the label of its containers.
///
/// A container that was just being made appears only now, so it looks more than once.
const INHERIT: &str = r#"
    trap '' INT TERM HUP QUIT
    cat >/dev/null
    for file in "$1"/*/process; do
        if read -r pid 2>/dev/null <"$file"; then
            # Linux has ended it.
            [ "$(uname)" = Linux ] || kill -9 "$pid"
            rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid"
        fi
    done
    if [ -e "$1/containers" ]; then
        for look in 1 2 3; do
            docker ps -aq --filter "label=$2" | while read -r id; do docker rm -f -v "$id"; done
            sleep 1
        done
    fi
    rm -rf -- "$1"
"#;

/// The folder of this process, and its heir.
#[derive(Debug)]
pub struct Estate {
    folder: PathBuf,
    /// Locked; the lock ends with this.
    _owner: File,
    heir: Child,
}

/// There is one at a time.
static CURRENT: Mutex<Weak<Estate>> = Mutex::new(Weak::new());

impl Estate {
    /// That of this process; if there is none yet, what dead processes left is cleared away first.
    ///
    /// # Errors
    ///
    /// If there is no folder for temporary files that can be written, or no shell.
    pub fn open() -> io::Result<Arc<Self>> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(estate) = current.upgrade() {
            return Ok(estate);
        }
        for folder in abandoned(&std::env::temp_dir()) {
            // Somebody else's cannot be removed, and is not ours to care for.
            let _ = fs::remove_dir_all(folder);
        }
        let estate = Arc::new(Self::found()?);
        *current = Arc::downgrade(&estate);
        Ok(estate)
    }

    fn found() -> io::Result<Self> {
        let folder = TempDir::with_prefix(PREFIX)?;
        // The file has its name only once it is locked: whoever finds it free finds it abandoned.
        let unlocked = folder.path().join("unlocked");
        let owner = File::create(&unlocked)?;
        owner.try_lock()?;
        fs::rename(unlocked, folder.path().join(OWNER))?;
        let mut heir = Command::new("/bin/sh");
        heir.args(["-c", INHERIT, "redlatch-heir"]).arg(folder.path()).arg(label(folder.path()));
        heir.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Whoever waits for the end of this process may stand in a folder that has to go.
        let heir = heir.current_dir("/").spawn()?;
        Ok(Self { folder: folder.keep(), _owner: owner, heir })
    }

    /// Where all folders of this process lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new folder in it, gone when it is dropped.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn part(&self, name: &str) -> io::Result<TempDir> {
        TempDir::with_prefix_in(format!("{name}-"), &self.folder)
    }

    /// What containers of this estate carry as the value of [`LABEL`]; the heir is told to look for them.
    ///
    /// # Errors
    ///
    /// If the heir cannot be told.
    pub fn label_for_containers(&self) -> io::Result<String> {
        File::create(self.folder.join(CONTAINERS))?;
        Ok(owner_of(&self.folder))
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        // Now it finds nothing to inherit, and ends.
        drop(self.heir.stdin.take());
        let _ = self.heir.wait();
    }
}

/// Whether the estate of this name has no owner any more. Those of other machines are not ours to judge.
#[must_use]
pub fn is_abandoned(name: &str) -> bool {
    let Some((machine, folder)) = name.split_once(':') else { return false };
    machine == self::machine() && (!Path::new(folder).exists() || is_free(Path::new(folder)))
}

fn owner_of(folder: &Path) -> String {
    format!("{}:{}", machine(), folder.display())
}

fn label(folder: &Path) -> String {
    format!("{LABEL}={}", owner_of(folder))
}

/// The machine's name: an engine may serve several.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The folders in `place` whose owner is no more.
fn abandoned(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    named.map(|entry| entry.path()).filter(|folder| is_free(folder)).collect()
}

fn is_free(folder: &Path) -> bool {
    // Without the file it is just being made, or just going.
    let Ok(owner) = File::open(folder.join(OWNER)) else { return false };
    match owner.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_abandoned_when_nobody_holds_its_lock() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let folder = place.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).expect("a folder");
            folder
        };
        let held = folder("held");
        let owner = File::create(held.join(OWNER)).expect("a file");
        owner.lock().expect("a lock");
        folder("just-being-made");
        let left = folder("left");
        File::create(left.join(OWNER)).expect("a file");
        fs::create_dir(place.path().join("somebody-elses")).expect("a folder");

        assert_eq!(abandoned(place.path()), std::slice::from_ref(&left));
        assert!(is_abandoned(&owner_of(&left)) && !is_abandoned(&owner_of(&held)));
        assert!(is_abandoned(&owner_of(&place.path().join("gone"))));
        assert!(!is_abandoned(&format!("another-{}", owner_of(&left))));
        drop(owner);
        assert!(is_abandoned(&owner_of(&held)));
    }

    #[test]
    fn an_estate_goes_with_its_last_user() {
        let estate = Estate::open().expect("an estate");
        let folder = estate.folder().to_owned();
        let part = estate.part("n0").expect("a part");
        assert!(part.path().starts_with(&folder));
        assert!(!abandoned(&std::env::temp_dir()).contains(&folder));
        drop(part);
        drop(estate);
        assert!(!folder.exists());
    }
}
