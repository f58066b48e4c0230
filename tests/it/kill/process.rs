//! The built controller as a process that can be killed with SIGKILL and started again on the
//! same state folder.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

/// A controller, running or killed. Dropping it kills it.
pub(crate) struct Process {
    folder: PathBuf,
    state: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// A controller that is not started yet; everything that it keeps and says is in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::keeping(folder, folder.join("state"))
    }

    /// The same, with its state somewhere else.
    pub(crate) fn keeping(folder: &Path, state: PathBuf) -> Self {
        Self {
            folder: folder.to_owned(),
            state,
            child: Mutex::new(None),
        }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) {
        self.start_in(&[]);
    }

    /// The same with more in its environment.
    pub(crate) fn start_in(&self, environment: &[(&str, String)]) {
        let mut child = self.child.lock().unwrap();
        if child.is_some() {
            return;
        }
        let log = self.log_file();
        let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        let spawned = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["controller", "--listen", "127.0.0.1:0", "--state"])
            .arg(&self.state)
            .env("RUST_LOG", level)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        *child = Some(spawned.expect("the binary starts"));
    }

    /// Kills it with SIGKILL and waits until it is no more; says whether it ran.
    pub(crate) fn kill(&self) -> bool {
        let child = self.child.lock().unwrap().take();
        child.is_some_and(|mut child| {
            child.kill().expect("our own child can be killed");
            let ended = child.wait().expect("our own child can be waited for");
            ended.code().is_none()
        })
    }

    /// Its process, for signals.
    ///
    /// # Panics
    /// It does not run.
    pub(crate) fn id(&self) -> u32 {
        let child = self.child.lock().unwrap();
        child.as_ref().expect("it runs").id()
    }

    /// Whether it is there; one that ended by itself is not.
    pub(crate) fn runs(&self) -> bool {
        let mut child = self.child.lock().unwrap();
        child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The file that tells where its API is and how to speak to it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// What it has said so far, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn log_file(&self) -> File {
        let path = self.folder.join("log");
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.expect("a log can be kept")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
