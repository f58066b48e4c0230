//! File systems of a test's own: small ones, read-only ones, and ones whose drive can be looked at.
//!
//! Each is mounted in a mount namespace that a process of ours holds open and that others reach by
//! `/proc/PID/root`. So nothing stays mounted, however the test ends.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A file system that is mounted for as long as this lives.
pub(super) struct Mount {
    holder: Child,
    folder: PathBuf,
}

impl Mount {
    /// Mounts something on the folder `on` by shell words, in which `$0` stands for it; none, told
    /// loudly, where that is not allowed.
    pub(super) fn make(on: &Path, words: &str) -> Option<Self> {
        std::fs::create_dir_all(on).unwrap();
        let script = format!("{words} && echo mounted && exec cat");
        let mut told = Vec::new();
        // As root of a namespace of users of its own an ordinary user may mount a tmpfs.
        for apart in ["-m", "-rm"] {
            let mut holder = Command::new("unshare")
                .args([apart, "sh", "-c", &script])
                .arg(on)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut out = BufReader::new(holder.stdout.take().unwrap());
            out.read_line(&mut line).unwrap();
            if line == "mounted\n" {
                let root = format!("/proc/{}/root", holder.id());
                let folder = Path::new(&root).join(on.strip_prefix("/").unwrap());
                return Some(Self { holder, folder });
            }
            let output = holder.wait_with_output().unwrap();
            told.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        println!(
            "LEFT OUT: `{words}` is not allowed here: {}",
            told.join("; ")
        );
        None
    }

    /// The folder that it is mounted on, as everybody can name it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The namespace goes with its last process, and the mount with the namespace.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
