//! How a client's process is started, and how what it needs is installed: `adapter.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs, io};

use serde::Deserialize;

/// How one client is started.
#[derive(Clone, Debug)]
pub struct AdapterCommand {
    /// Its name: that of its folder, or of its program.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables of its environment, beside ours.
    pub environment: BTreeMap<String, String>,
    /// Where it is described, if it is one of [`adapters`].
    pub folder: Option<PathBuf>,
    /// What it is made of, each with its version.
    pub versions: BTreeMap<String, String>,
    /// One line about it.
    pub about: String,
    /// How what it needs is installed, if it needs anything.
    pub install: Option<Install>,
}

/// How what an adapter needs is installed.
#[derive(Clone, Debug)]
pub struct Install {
    /// Commands, run one after the other in the adapter's folder.
    pub commands: Vec<Vec<String>>,
    /// The files that pin the versions. When one of them changes, it has to be installed again.
    pub pinned: Vec<PathBuf>,
    /// Where it all goes.
    pub target: PathBuf,
}

/// `adapter.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    about: String,
    argv: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    versions: BTreeMap<String, String>,
    #[serde(default)]
    install: Vec<Vec<String>>,
    #[serde(default)]
    pinned: Vec<String>,
}

/// Why an adapter is not known, or not installed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ManifestError {
    /// A file or a folder could not be read or written.
    Io(PathBuf, io::Error),
    /// A manifest says what it may not.
    Flawed(PathBuf, String),
    /// A command of an installation failed.
    Failed(String, String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Flawed(path, flaw) => write!(f, "{}: {flaw}", path.display()),
            Self::Failed(name, why) => write!(f, "{name} could not be installed: {why}"),
        }
    }
}

impl std::error::Error for ManifestError {}

/// Where the adapters of a checkout are: `harness/adapters` of the working directory or of one above it.
pub fn folder() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    here.ancestors().map(|above| above.join("harness/adapters")).find(|folder| folder.is_dir())
}

/// The adapters in `folder`, each in a folder of its own with `adapter.toml`, by name.
pub fn adapters(folder: &Path) -> Result<Vec<AdapterCommand>, ManifestError> {
    let io = |error| ManifestError::Io(folder.to_owned(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let folder = entry.map_err(io)?.path();
        if folder.join("adapter.toml").is_file() {
            found.push(AdapterCommand::load(&folder)?);
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

impl AdapterCommand {
    /// A client that is started by these words, as they stand after `--`.
    pub fn new(argv: Vec<String>) -> Self {
        let program = argv.first().map(Path::new).and_then(Path::file_name);
        let name = program.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self {
            name,
            argv,
            environment: BTreeMap::new(),
            folder: None,
            versions: BTreeMap::new(),
            about: String::new(),
            install: None,
        }
    }

    /// The adapter of `folder`.
    pub fn load(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join("adapter.toml");
        let flawed = |flaw: String| ManifestError::Flawed(path.clone(), flaw);
        let folder =
            folder.canonicalize().map_err(|error| ManifestError::Io(path.clone(), error))?;
        let text =
            fs::read_to_string(&path).map_err(|error| ManifestError::Io(path.clone(), error))?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| flawed(error.to_string()))?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| flawed("a folder without a name".into()))?;
        // harness/adapters/NAME, three below the root.
        let root = folder.ancestors().nth(3).ok_or_else(|| flawed("not below a tree".into()))?;
        let target = root.join("target/adapters").join(&name);
        let harness = env::current_exe().unwrap_or_else(|_| "redlatch-harness".into());
        let fill = |text: &String| {
            text.replace("{here}", &folder.to_string_lossy())
                .replace("{root}", &root.to_string_lossy())
                .replace("{target}", &target.to_string_lossy())
                .replace("{harness}", &harness.to_string_lossy())
        };
        let install = match (manifest.install.as_slice(), manifest.pinned.as_slice()) {
            ([], _) => None,
            (_, []) => return Err(flawed("`install` needs `pinned`, files with versions".into())),
            (commands, pinned) => Some(Install {
                commands: commands.iter().map(|it| it.iter().map(fill).collect()).collect(),
                pinned: pinned.iter().map(|file| folder.join(fill(file))).collect(),
                target: target.clone(),
            }),
        };
        Ok(Self {
            name,
            argv: manifest.argv.iter().map(fill).collect(),
            environment: manifest.environment.iter().map(|(k, v)| (k.clone(), fill(v))).collect(),
            versions: manifest.versions,
            about: manifest.about,
            install,
            folder: Some(folder),
        })
    }

    /// Whether what it needs is there, in the versions that are pinned.
    pub fn is_installed(&self) -> bool {
        self.install.as_ref().is_none_or(Install::is_done)
    }

    /// Installs what it needs, unless it is there. What the commands say goes to stderr.
    pub fn install(&self) -> Result<(), ManifestError> {
        let Some(install) = self.install.as_ref().filter(|install| !install.is_done()) else {
            return Ok(());
        };
        let io = |error| ManifestError::Io(install.target.clone(), error);
        fs::create_dir_all(&install.target).map_err(io)?;
        for argv in &install.commands {
            self.run(argv)?;
        }
        let receipt = install.pins().map_err(io)?;
        fs::write(install.receipt(), receipt).map_err(io)?;
        Ok(())
    }

    fn run(&self, argv: &[String]) -> Result<(), ManifestError> {
        let failed = |why: String| ManifestError::Failed(self.name.clone(), why);
        let [program, arguments @ ..] = argv else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(std::process::Stdio::null()).stdout(io::stderr());
        command.envs(&self.environment);
        self.folder.iter().for_each(|folder| {
            command.current_dir(folder);
        });
        let status = command.status().map_err(|error| failed(format!("{program}: {error}")))?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(format!("`{}` ended with {status}", argv.join(" ")))),
        }
    }

    pub(super) fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// What helps if the program is not there.
    pub(super) fn advice(&self) -> String {
        match &self.install {
            Some(_) => format!("Install it: redlatch-harness adapter install {}", self.name),
            None => "The words after -- are a program and its arguments; is it in PATH?".into(),
        }
    }

    pub(super) fn to_command(&self) -> io::Result<Command> {
        if !self.is_installed() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is not installed"));
        }
        let [program, arguments @ ..] = self.argv.as_slice() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program"));
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(&self.environment);
        Ok(command)
    }
}

impl Install {
    /// A copy of the pins that were installed.
    fn receipt(&self) -> PathBuf {
        self.target.join("installed")
    }

    fn pins(&self) -> io::Result<Vec<u8>> {
        let files: Vec<_> = self.pinned.iter().map(fs::read).collect::<io::Result<_>>()?;
        Ok(files.concat())
    }

    fn is_done(&self) -> bool {
        match (self.pins(), fs::read(self.receipt())) {
            (Ok(pinned), Ok(installed)) => pinned == installed,
            _ => false,
        }
    }
}
