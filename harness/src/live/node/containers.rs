//! Nodes that are containers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};

use super::clock::{self, WallClock};
use super::home::{CONFIGURATION, Home};
use super::{Ability, Backend, Fsync, Keep, Node, NodeError, at_once, ready};
use crate::live::estate::{self, Estate};
use crate::live::host::Host;
use crate::live::{LOOK_EVERY, PATIENCE};
use crate::port::Port;

/// The image that `scripts/live-image.sh` builds; taken where it is there and no other is named.
pub const BUILT_IMAGE: &str = "redlatch-live-redis:latest";

/// The image that is pulled where neither that one is there nor another is named.
pub const KNOWN_IMAGE: &str = "redis:8";

/// A label of images that have libfaketime: what a server has to preload.
const PRELOAD: &str = "redlatch.preload";

/// Where a container sees the folder of its node.
const SEEN_AS: &str = "/redlatch";

/// Where a server listens within its container.
const PORT: u16 = 6379;

/// An engine that does other things at the same time needs some seconds for a container; ours need half a second.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// An image is some 50 MB.
const PULL_PATIENCE: Duration = Duration::from_secs(300);

/// What to do where there is no engine.
const NO_ENGINE: &str = "no Docker engine answers (just setup installs and starts one)";

/// Containers of one image, each behind a fixed port of 127.0.0.1.
///
/// The engine has to be one of this machine, and has to see the machine's folder for temporary files: what a server
/// keeps lies there, so that a loss of power can be played and nothing is left.
///
/// They have wall clocks of their own if the image has libfaketime and says so by a label, as the one does that
/// `scripts/live-image.sh` builds.
#[derive(Clone, Debug)]
pub struct Containers {
    image: Option<String>,
    fsync: Fsync,
}

impl Default for Containers {
    fn default() -> Self {
        Self { image: None, fsync: Fsync::Off }
    }
}

impl Containers {
    /// Of the image that `scripts/live-image.sh` built, or else of [`KNOWN_IMAGE`]; without persistence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of another image, as `name:tag`; it needs a `redis-server` in its `PATH` that knows the options of Redis 7.0.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Whether and when they write to disk, from the start.
    #[must_use]
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }
}

impl Backend for Containers {
    fn name(&self) -> &'static str {
        "containers"
    }

    fn start(&self, count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        let failed = |what: &str, why: String| NodeError::failed("containers", what, why);
        let engine = Engine::connect().map_err(|why| failed("reach the engine", why))?;
        engine.sweep().map_err(|why| failed("remove what dead processes left", why))?;
        let image = engine.image(self.image.as_deref());
        let image = image.map_err(|why| failed("find an image", why))?;
        at_once(count, |index| {
            let node = ContainerNode::start(index, self.fsync, &engine, &image)?;
            Ok(Arc::new(node) as Arc<dyn Node>)
        })
    }
}

/// An image that is there.
#[derive(Clone, Debug)]
struct Image {
    name: String,
    tag: String,
    preload: Option<String>,
}

/// The engine, and the thread on which it is spoken to.
#[derive(Clone)]
struct Engine {
    host: Arc<Host>,
    docker: Docker,
}

impl Engine {
    fn connect() -> Result<Self, String> {
        let host = Host::start("containers").map_err(|error| error.to_string())?;
        let connecting = host.run(ENGINE_PATIENCE, async {
            let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
            docker.ping().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(docker)
        });
        let docker = connecting.unwrap_or_else(|error| Err(error.to_string()));
        let docker = docker.map_err(|error| format!("{NO_ENGINE}: {error}"))?;
        Ok(Self { host, docker })
    }

    /// Has the engine do something, in bounded time.
    fn ask<T: Send + 'static, F>(
        &self,
        question: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineFailure>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let answer = self.host.run(ENGINE_PATIENCE, question(self.docker.clone()));
        match answer {
            Ok(answer) => answer.map_err(EngineFailure::Refused),
            Err(error) => Err(EngineFailure::Silent(error.to_string())),
        }
    }

    /// Removes containers whose estate has no owner any more.
    fn sweep(&self) -> Result<(), String> {
        let filters = [("label", vec![estate::LABEL])].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let ours = self
            .ask(|docker| async move { docker.list_containers(Some(options)).await })
            .map_err(|error| error.to_string())?;
        for container in ours {
            let owner = container.labels.and_then(|labels| labels.get(estate::LABEL).cloned());
            if let (Some(id), Some(owner)) = (container.id, owner)
                && estate::is_abandoned(&owner)
            {
                // Another process may be at it too.
                let _ = self.remove(id);
            }
        }
        Ok(())
    }

    fn remove(&self, id: String) -> Result<(), EngineFailure> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.ask(|docker| async move { docker.remove_container(&id, Some(options)).await })
    }

    /// The image of this name, or the one that is taken when none is named; pulled if it has to be.
    fn image(&self, wanted: Option<&str>) -> Result<Image, String> {
        match wanted {
            Some(wanted) => self.there_or_pulled(wanted),
            None => match self.there(BUILT_IMAGE)? {
                Some(image) => Ok(image),
                None => self.there_or_pulled(KNOWN_IMAGE),
            },
        }
    }

    fn there_or_pulled(&self, wanted: &str) -> Result<Image, String> {
        if let Some(image) = self.there(wanted)? {
            return Ok(image);
        }
        let (name, tag) = name_and_tag(wanted);
        let pulling = self.host.run(PULL_PATIENCE, async move {
            GenericImage::new(name, tag).pull_image().await.map(drop).map_err(|e| e.to_string())
        });
        pulling.unwrap_or_else(|error| Err(error.to_string())).map_err(|error| {
            format!("{wanted} is not here and cannot be pulled ({error}); on Debian, scripts/live-image.sh builds one")
        })?;
        self.there(wanted)?.ok_or_else(|| format!("{wanted} was pulled, and is not here"))
    }

    fn there(&self, wanted: &str) -> Result<Option<Image>, String> {
        let (name, tag) = name_and_tag(wanted);
        let full = format!("{name}:{tag}");
        match self.ask(|docker| async move { docker.inspect_image(&full).await }) {
            Ok(found) => {
                let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                Ok(Some(Image { name, tag, preload: labels.get(PRELOAD).cloned() }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Why the engine did not do something.
enum EngineFailure {
    Refused(EngineError),
    Silent(String),
}

impl EngineFailure {
    fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Refused(EngineError::DockerResponseServerError { status_code: 404, .. })
        )
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "{error}"),
            Self::Silent(error) => f.write_str(error),
        }
    }
}

fn name_and_tag(image: &str) -> (String, String) {
    match image.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        Some(_) | None => (image.to_owned(), "latest".to_owned()),
    }
}

/// One container, over all its lives.
struct ContainerNode {
    name: String,
    id: String,
    port: Port,
    preload: Option<String>,
    engine: Engine,
    state: Mutex<State>,
    /// `None` once it is removed.
    container: Mutex<Option<ContainerAsync<GenericImage>>>,
    // In this order: the container is gone before its folder, and the folder before the one around it.
    _folder: TempDir,
    _estate: Arc<Estate>,
}

#[derive(Debug)]
struct State {
    home: Home,
    life: Life,
    started: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Down,
}

impl fmt::Debug for ContainerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.get(..12).unwrap_or(&self.id);
        write!(f, "{} (container {id} on {})", self.name, self.port.addr())
    }
}

impl ContainerNode {
    fn start(
        index: usize,
        fsync: Fsync,
        engine: &Engine,
        image: &Image,
    ) -> Result<Self, NodeError> {
        let name = format!("n{index}");
        let failed = |what: &str, why: String| NodeError::failed(&name, what, why);
        let prepared =
            |error: std::io::Error| failed("make a folder and a port", error.to_string());
        let estate = Estate::open().map_err(prepared)?;
        let folder = estate.part(&name).map_err(prepared)?;
        let port = Port::reserve().map_err(prepared)?;
        let label = estate.label_for_containers().map_err(prepared)?;
        let listen = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
        let mut home = Home::new(folder.path(), Path::new(SEEN_AS), listen, fsync);
        home.prepare(Keep::All).map_err(prepared)?;
        let request = request(image, folder.path(), &port, &label);
        let started = SystemTime::now();
        let starting = engine.host.run(ENGINE_PATIENCE, async { request.start().await });
        let container = match starting {
            Ok(Ok(container)) => container,
            Ok(Err(error)) => return Err(failed("start a container", error.to_string())),
            Err(error) => return Err(failed("start a container", error.to_string())),
        };
        let state = State { home, life: Life::Running, started };
        let node = Self {
            id: container.id().to_owned(),
            port,
            preload: image.preload.clone(),
            engine: engine.clone(),
            state: Mutex::new(state),
            container: Mutex::new(Some(container)),
            _folder: folder,
            _estate: estate,
            name: name.clone(),
        };
        node.note_start(&mut node.state())?;
        node.wait_ready()?;
        Ok(node)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str, why: impl fmt::Display) -> NodeError {
        NodeError::failed(&self.name, what, why)
    }

    /// Asks the engine about this container.
    fn ask<T: Send + 'static, F>(
        &self,
        what: &str,
        question: impl FnOnce(Docker, String) -> F,
    ) -> Result<T, NodeError>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let id = self.id.clone();
        let answer = self.engine.ask(|docker| question(docker, id));
        answer.map_err(|error| self.failed(what, error))
    }

    fn signal(&self, signal: &'static str) -> Result<(), NodeError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        self.ask(
            signal,
            |docker, id| async move { docker.kill_container(&id, Some(options)).await },
        )
    }

    /// Asks the engine when the process began, to the millisecond: its clock counts from there.
    fn note_start(&self, state: &mut State) -> Result<(), NodeError> {
        let found = self.ask("look at the container", |docker, id| async move {
            docker.inspect_container(&id, None).await
        })?;
        let started = found.state.and_then(|state| state.started_at);
        if let Some(started) = started.and_then(|at| humantime::parse_rfc3339_weak(&at).ok()) {
            state.started = started;
        }
        Ok(())
    }

    fn wait_ready(&self) -> Result<(), NodeError> {
        let answers = ready(&self.url(), || self.is_running().unwrap_or(false));
        answers.map_err(|error| self.failed("start", format!("{error}; {}", self.last_words())))
    }

    fn is_running(&self) -> Result<bool, NodeError> {
        let found = self.ask("look at the container", |docker, id| async move {
            docker.inspect_container(&id, None).await
        })?;
        Ok(found.state.and_then(|state| state.running).unwrap_or(false))
    }

    fn wait_gone(&self) -> Result<(), NodeError> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running()? {
            if Instant::now() > deadline {
                return Err(self.failed("end", format!("it is still there after {PATIENCE:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let container = self.container.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(container) = container else { return String::new() };
        let words = self.engine.host.run(ENGINE_PATIENCE, async move {
            let output = container.stdout_to_vec().await.unwrap_or_default();
            let errors = container.stderr_to_vec().await.unwrap_or_default();
            (container, [output, errors].concat())
        });
        let Ok((container, words)) = words else { return String::new() };
        *self.container.lock().unwrap_or_else(PoisonError::into_inner) = Some(container);
        let text = String::from_utf8_lossy(&words);
        let lines: Vec<_> = text.lines().collect();
        format!("it said:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

fn request(
    image: &Image,
    folder: &Path,
    port: &Port,
    label: &str,
) -> ContainerRequest<GenericImage> {
    let user =
        format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let binding = PortBinding {
        host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
        host_port: Some(port.number().to_string()),
    };
    let mount = Mount::bind_mount(folder.display().to_string(), SEEN_AS);
    // Past the image's entry point, which would change the user: what the server writes has to go with the folder.
    let request = GenericImage::new(&image.name, &image.tag)
        .with_entrypoint("redis-server")
        .with_exposed_port(PORT.tcp())
        .with_cmd([format!("{SEEN_AS}/{CONFIGURATION}")])
        .with_mount(mount)
        .with_user(user)
        .with_label(estate::LABEL, label)
        .with_startup_timeout(ENGINE_PATIENCE)
        .with_host_config_modifier(move |config| {
            let bindings = [(format!("{PORT}/tcp"), Some(vec![binding.clone()]))];
            config.publish_all_ports = Some(false);
            config.port_bindings = Some(bindings.into());
        });
    let Some(preload) = &image.preload else { return request };
    let file = Path::new(SEEN_AS).join(clock::FILE);
    clock::environment(preload, &file)
        .into_iter()
        .fold(request, |request, (name, value)| request.with_env_var(name, value))
}

impl Node for ContainerNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The published port is one of this machine; within the engine's network a container has an address of its own.
    fn addr_among_nodes(&self) -> Result<SocketAddr, NodeError> {
        let found = self.ask("look at the container", |docker, id| async move {
            docker.inspect_container(&id, None).await
        })?;
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let mut addresses =
            networks.into_iter().flatten().filter_map(|(_, network)| network.ip_address);
        let ip = addresses.find_map(|address| address.parse().ok());
        let ip: IpAddr =
            ip.ok_or_else(|| self.failed("tell its address", "it has none; is it down?"))?;
        Ok((ip, PORT).into())
    }

    fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Process
            | Ability::Pause
            | Ability::Wipe
            | Ability::PowerLoss
            | Ability::Command => true,
            Ability::ClockShift | Ability::ClockRate => self.preload.is_some(),
        }
    }

    fn kill(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        match state.life {
            Life::Down => return Ok(()),
            Life::Running => {}
            // It still stands still by its signal, so that it does nothing before it dies.
            Life::Paused => {
                self.ask(
                    "unfreeze",
                    |docker, id| async move { docker.unpause_container(&id).await },
                )?;
            }
        }
        // One that ended by itself cannot be killed.
        if self.is_running()? {
            self.signal("SIGKILL")?;
            self.wait_gone()?;
        }
        state.life = Life::Down;
        state.home.note_end();
        Ok(())
    }

    fn stop(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        match state.life {
            Life::Down => return Ok(()),
            Life::Running => {}
            Life::Paused => {
                return Err(self.failed("stop", "it is paused, so that it cannot end by itself"));
            }
        }
        if self.is_running()? {
            self.signal("SIGTERM")?;
            self.wait_gone()?;
        }
        state.life = Life::Down;
        state.home.note_end();
        Ok(())
    }

    fn start(&self, keep: Keep) -> Result<(), NodeError> {
        self.kill()?;
        {
            let mut state = self.state();
            state.home.prepare(keep).map_err(|error| self.failed("write its files", error))?;
            state.started = SystemTime::now();
            self.ask("start", |docker, id| async move { docker.start_container(&id, None).await })?;
            state.life = Life::Running;
            self.note_start(&mut state)?;
        }
        self.wait_ready()
    }

    fn pause(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        match state.life {
            Life::Running => {}
            Life::Paused => return Ok(()),
            Life::Down => return Err(self.failed("pause", "it is down")),
        }
        // Two ways at once: the signal lasts until it is killed, and what the engine does is done when it returns.
        self.signal("SIGSTOP")?;
        self.ask("freeze", |docker, id| async move { docker.pause_container(&id).await })?;
        state.life = Life::Paused;
        Ok(())
    }

    fn resume(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        match state.life {
            Life::Running => return Ok(()),
            Life::Paused => {}
            Life::Down => return Err(self.failed("resume", "it is down")),
        }
        self.ask("unfreeze", |docker, id| async move { docker.unpause_container(&id).await })?;
        self.signal("SIGCONT")?;
        state.life = Life::Running;
        Ok(())
    }

    fn set_clock(&self, ahead_ms: i64, rate_ppm: i32) -> Result<(), NodeError> {
        if self.preload.is_none() {
            let why = "its image has no libfaketime, or no label that tells of it; scripts/live-image.sh builds one";
            return Err(NodeError::unable(&self.name, Ability::ClockShift, why));
        }
        let mut state = self.state();
        state.home.clock = WallClock::set(ahead_ms, rate_ppm);
        let written = state.home.clock.write(state.home.folder(), state.started);
        written.map_err(|error| self.failed("set its clock", error))
    }

    fn remember(&self, name: &str, value: &str) {
        self.state().home.remember(name, value);
    }
}

impl Drop for ContainerNode {
    fn drop(&mut self) {
        let container = self.container.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(container) = container {
            // Should the engine not answer, the next process sweeps.
            let _ = self.engine.host.run(ENGINE_PATIENCE, async move { container.rm().await });
        }
    }
}
