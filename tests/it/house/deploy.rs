//! What `deploy/` holds is taken apart and held against what Weir needs: an unknown word in the
//! unit, a file that the image lacks or a command line that Weir does not understand fails here
//! and not on somebody's server.

use std::{fs, process::Command};

use clap::Parser;
use weir::cli::args::WeirArgs;

use super::{assert_none, root};
use crate::parts::present;

/// What a directive of the unit must say.
enum Must {
    /// Exactly this.
    Be(&'static str),
    /// A command line that Weir understands, of the installed binary.
    RunWeir,
    /// Seconds between these two, both included.
    Take(u32, u32),
    /// Anything; it is for people.
    Say,
}

use Must::{Be, RunWeir, Say, Take};

/// Every directive that the unit may hold, and must: its section, its name (`systemd.unit(5)`,
/// `systemd.service(5)`, `systemd.exec(5)`, `systemd.kill(5)`) and what it must say.
const UNIT: &[(&str, &str, Must)] = &[
    ("Unit", "Description", Say),
    ("Unit", "Wants", Be("network-online.target")),
    ("Unit", "After", Be("network-online.target")),
    ("Service", "ExecStart", RunWeir),
    ("Service", "Restart", Be("on-failure")),
    ("Service", "RestartSec", Take(1, 10)),
    // A stop takes up to five seconds; it must not be killed on its way.
    ("Service", "KillSignal", Be("SIGTERM")),
    ("Service", "TimeoutStopSec", Take(6, 30)),
    ("Service", "DynamicUser", Be("yes")),
    ("Service", "StateDirectory", Be("weir")),
    ("Service", "StateDirectoryMode", Be("0700")),
    ("Service", "UMask", Be("0077")),
    ("Service", "NoNewPrivileges", Be("yes")),
    ("Service", "CapabilityBoundingSet", Be("")),
    ("Service", "AmbientCapabilities", Be("")),
    ("Service", "ProtectSystem", Be("strict")),
    ("Service", "ProtectHome", Be("yes")),
    ("Service", "ProtectProc", Be("invisible")),
    ("Service", "ProtectClock", Be("yes")),
    ("Service", "ProtectHostname", Be("yes")),
    ("Service", "ProtectKernelTunables", Be("yes")),
    ("Service", "ProtectKernelModules", Be("yes")),
    ("Service", "ProtectKernelLogs", Be("yes")),
    ("Service", "ProtectControlGroups", Be("yes")),
    ("Service", "PrivateTmp", Be("yes")),
    ("Service", "PrivateDevices", Be("yes")),
    ("Service", "PrivateUsers", Be("yes")),
    (
        "Service",
        "RestrictAddressFamilies",
        Be("AF_INET AF_INET6 AF_UNIX"),
    ),
    ("Service", "RestrictNamespaces", Be("yes")),
    ("Service", "RestrictRealtime", Be("yes")),
    ("Service", "RestrictSUIDSGID", Be("yes")),
    ("Service", "LockPersonality", Be("yes")),
    ("Service", "MemoryDenyWriteExecute", Be("yes")),
    ("Service", "SystemCallArchitectures", Be("native")),
    ("Service", "SystemCallFilter", Be("@system-service")),
    ("Service", "SystemCallErrorNumber", Be("EPERM")),
    ("Install", "WantedBy", Be("multi-user.target")),
];

/// What `systemd-analyze security` may count at most, in tenths: 0 is a sealed box, 100 none.
/// A service that speaks to the network and writes a folder cannot come much below 13.
const EXPOSURE_MAX: &str = "15";

/// Where the binary is installed, and where it keeps its state.
const BINARY: &str = "/usr/bin/weir";
const STATE: &str = "/var/lib/weir";

#[test]
fn the_unit_says_what_it_must() {
    assert_none(&wrong_in_unit(&unit()));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !present("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("weir.service");
    // The binary is not installed here, and systemd looks for it.
    fs::write(&place, unit().replace(BINARY, env!("CARGO_BIN_EXE_weir"))).unwrap();
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    for words in [
        &["verify", "--man=no"][..],
        &["security", "--offline=yes", &threshold],
    ] {
        let output = Command::new("systemd-analyze")
            .args(words)
            .arg(&place)
            .output()
            .unwrap();
        let told =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}:\n{told}");
        // An unknown directive is ignored, with a line that names the file.
        let verified = words[0] == "verify" && told.contains("weir.service");
        assert!(!verified, "{told}");
    }
}

#[test]
fn the_image_holds_what_it_must() {
    let text = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    assert_none(&wrong_in_image(&text));
}

#[test]
fn the_image_is_built_from_sources_alone() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for folder in [".git", "target", "state"] {
        assert!(
            ignored.lines().any(|line| line == folder),
            "{folder} would be sent along"
        );
    }
}

#[test]
fn a_spoilt_unit_is_told() {
    let spoilt = |from: &str, to: &str| {
        let text = unit();
        assert!(text.contains(from), "{from}");
        wrong_in_unit(&text.replace(from, to))
    };
    assert_eq!(
        spoilt("NoNewPrivileges=yes", "NoNewPriviledges=yes"),
        [
            "[Service] NoNewPriviledges is not known",
            "[Service] NoNewPrivileges is missing"
        ]
    );
    assert_eq!(
        spoilt("ProtectSystem=strict", "ProtectSystem=full"),
        ["[Service] ProtectSystem=full"]
    );
    assert_eq!(
        spoilt(
            "CapabilityBoundingSet=",
            "CapabilityBoundingSet=CAP_NET_ADMIN"
        ),
        ["[Service] CapabilityBoundingSet=CAP_NET_ADMIN"]
    );
    assert_eq!(
        spoilt("TimeoutStopSec=10", "TimeoutStopSec=2"),
        ["[Service] TimeoutStopSec=2"]
    );
    let told = spoilt("--listen", "--listne");
    assert!(
        told.len() == 1 && told[0].contains("unexpected argument"),
        "{told:?}"
    );
    assert_eq!(
        spoilt("UMask=0077", "UMask 0077")[0],
        "UMask 0077: neither section nor directive"
    );
    let told = spoilt("Restart=on-failure", "Restart=on-failure\nRestart=no");
    assert_eq!(told, ["[Service] Restart=no"]);
}

#[test]
fn a_spoilt_image_is_told() {
    let text = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let spoilt = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        wrong_in_image(&text.replace(from, to))
    };
    assert_eq!(spoilt("USER 10001", "USER root"), ["it runs as root"]);
    assert_eq!(
        spoilt("COPY . .", "COPY Cargo.tml ."),
        ["COPY: Cargo.tml does not exist"]
    );
    assert_eq!(
        spoilt("AS build", "AS builder"),
        ["COPY: there is no stage `build`"]
    );
    assert_eq!(
        spoilt("target/release/weir", "target/release/wier"),
        ["COPY: the build does not make /src/target/release/wier"]
    );
    assert_eq!(
        spoilt("EXPOSE 6443", "EXPOSES 6443"),
        ["EXPOSES is no instruction"]
    );
    let told = spoilt("\"--state\"", "\"--stat\"");
    assert!(
        told.len() == 1 && told[0].contains("unexpected argument"),
        "{told:?}"
    );
}

fn unit() -> String {
    fs::read_to_string(root().join("deploy/weir.service")).unwrap()
}

/// A unit file's directives (`systemd.syntax(7)`): section, name and value.
fn directives(text: &str) -> Result<Vec<(String, String, String)>, String> {
    let mut section = String::new();
    let mut directives = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let name = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match (name, line.split_once('=')) {
            (Some(name), _) => section = name.to_owned(),
            (None, Some((name, value))) => {
                let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
                directives.push((section.clone(), name, value));
            }
            (None, None) => return Err(format!("{line}: neither section nor directive")),
        }
    }
    Ok(directives)
}

fn wrong_in_unit(text: &str) -> Vec<String> {
    let directives = match directives(text) {
        Ok(directives) => directives,
        Err(wrong) => return vec![wrong],
    };
    let mut complaints = Vec::new();
    for (section, name, value) in &directives {
        let known = UNIT.iter().find(|(s, n, _)| s == section && n == name);
        let wrong = match known {
            None => Some(format!("[{section}] {name} is not known")),
            Some((.., RunWeir)) => runs_weir(value).err(),
            Some((.., must)) => (!must.holds(value)).then(|| format!("[{section}] {name}={value}")),
        };
        complaints.extend(wrong);
    }
    let missing = UNIT
        .iter()
        .filter(|(section, name, _)| !directives.iter().any(|(s, n, _)| s == section && n == name));
    complaints.extend(missing.map(|(section, name, _)| format!("[{section}] {name} is missing")));
    complaints
}

impl Must {
    fn holds(&self, value: &str) -> bool {
        match self {
            Be(wanted) => value == *wanted,
            Take(least, most) => value
                .parse()
                .is_ok_and(|n: u32| (*least..=*most).contains(&n)),
            RunWeir => runs_weir(value).is_ok(),
            Say => !value.is_empty(),
        }
    }
}

/// Whether a command line runs the controller on the folder that it may write.
fn runs_weir(line: &str) -> Result<(), String> {
    let words: Vec<_> = line.split_whitespace().collect();
    WeirArgs::try_parse_from(&words).map_err(|error| error.to_string())?;
    let keeps = words.windows(2).any(|pair| pair == ["--state", STATE]);
    match words[..] {
        [BINARY, "controller", ..] if keeps => Ok(()),
        _ => Err(format!(
            "`{line}` is not `{BINARY} controller --state {STATE}`"
        )),
    }
}

/// One instruction of a Dockerfile.
struct Instruction {
    name: String,
    rest: String,
}

/// A Dockerfile's instructions: comments taken out, continued lines joined.
fn instructions(text: &str) -> Vec<Instruction> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (name, rest) = (name.to_owned(), rest.trim().to_owned());
            Instruction { name, rest }
        })
        .collect()
}

/// The instructions of a Dockerfile that ours may hold.
const INSTRUCTIONS: &[&str] = &[
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "LABEL",
    "RUN",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What an image under construction has come to.
#[derive(Default)]
struct Image {
    /// Stages so far, by name.
    stages: Vec<String>,
    /// Of the last stage.
    workdir: String,
    user: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    volume: String,
    complaints: Vec<String>,
}

fn wrong_in_image(text: &str) -> Vec<String> {
    let mut image = Image::default();
    for Instruction { name, rest } in instructions(text) {
        image.take(&name, &rest);
    }
    image.judge()
}

impl Image {
    fn take(&mut self, name: &str, rest: &str) {
        match name {
            "FROM" => self.begin(rest),
            "WORKDIR" => rest.clone_into(&mut self.workdir),
            "USER" => rest.clone_into(&mut self.user),
            "VOLUME" => rest.clone_into(&mut self.volume),
            "COPY" => self.copy(rest),
            "ENTRYPOINT" => self.entrypoint = self.words(rest),
            "CMD" => self.command = self.words(rest),
            name if INSTRUCTIONS.contains(&name) => {}
            name => self.complaints.push(format!("{name} is no instruction")),
        }
    }

    fn begin(&mut self, rest: &str) {
        let words: Vec<_> = rest.split_whitespace().collect();
        let name = match words[..] {
            [_, "AS", name] => name.to_owned(),
            _ => self.stages.len().to_string(),
        };
        *self = Self {
            stages: [std::mem::take(&mut self.stages), vec![name]].concat(),
            complaints: std::mem::take(&mut self.complaints),
            workdir: std::mem::take(&mut self.workdir),
            ..Self::default()
        };
    }

    fn copy(&mut self, rest: &str) {
        let mut words: Vec<_> = rest.split_whitespace().collect();
        let stage = words[0].strip_prefix("--from=").map(str::to_owned);
        if stage.is_some() {
            words.remove(0);
        }
        words.pop();
        for source in words {
            let wrong = match &stage {
                Some(stage) if !self.stages.contains(stage) => {
                    format!("there is no stage `{stage}`")
                }
                Some(_) if source != format!("{}/target/release/weir", self.workdir) => {
                    format!("the build does not make {source}")
                }
                None if !root().join(source).exists() => format!("{source} does not exist"),
                _ => continue,
            };
            self.complaints.push(format!("COPY: {wrong}"));
        }
    }

    /// The words of an instruction in its JSON form. The other form would start a shell, which
    /// does not pass signals on.
    fn words(&mut self, rest: &str) -> Vec<String> {
        serde_json::from_str(rest).unwrap_or_else(|_| {
            self.complaints
                .push(format!("{rest} is not a list of words"));
            Vec::new()
        })
    }

    fn judge(mut self) -> Vec<String> {
        if self.stages.len() < 2 {
            self.complaints
                .push("the compiler is left in it".to_owned());
        }
        if ["", "0", "root"].contains(&self.user.as_str()) {
            self.complaints.push("it runs as root".to_owned());
        }
        if self.volume != STATE {
            self.complaints.push(format!("{STATE} is no volume"));
        }
        let line = [self.entrypoint, self.command].concat().join(" ");
        self.complaints.extend(runs_weir(&line).err());
        self.complaints
    }
}
