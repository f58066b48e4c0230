//! `weir state`: what a controller keeps, read whole, put back, judged and backed up.
//!
//! [`place`] is where it is and how it is read, [`files`] how it is written so that a crash leaves
//! nothing half done, [`check`] and [`ledgers`] what must hold of it.

mod check;
mod files;
mod ledgers;
mod place;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use self::{
    check::{Finding, Severity},
    place::Source,
};
use crate::{
    api::files::write_private,
    cli::{
        Exit,
        args::{BackupArgs, ExportArgs, FsckArgs, ImportArgs, RekeyArgs, Report, StateCommand},
        fail,
    },
    clock::Clock,
    types::export,
};

pub(super) use place::Place;

/// Mistakes of a file that are told; more help nobody.
const TOLD: usize = 20;

/// `weir state`.
///
/// # Errors
/// It could not be done.
pub async fn state(command: StateCommand) -> Result<Exit> {
    match command {
        StateCommand::Export(args) => export(args).await,
        StateCommand::Import(args) => import(args).await,
        StateCommand::Fsck(args) => {
            let found = fsck(args).await;
            found.or_else(|error| fail(&error, Exit::Trouble))
        }
        StateCommand::Backup(args) => backup(args).await,
        StateCommand::Rekey(args) => rekey(args).await,
    }
}

async fn export(args: ExportArgs) -> Result<Exit> {
    let source = Source::of(args.kept)?;
    let now = Clock::system().now();
    let file = args
        .output
        .unwrap_or_else(|| PathBuf::from(format!("weir-{}.jsonl", now.strftime("%Y%m%dT%H%M%SZ"))));
    if file == Path::new("-") {
        let text = source.export(args.reveal_secrets).await?;
        print(&text)?;
        return Ok(Exit::Done);
    }
    files::refuse(&file)?;
    let text = source.export(args.reveal_secrets).await?;
    write_private(&file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let count = text.lines().count().saturating_sub(1);
    print(&format!(
        "{count} objects exported to {}\n{}\n",
        file.display(),
        protection(&source, args.reveal_secrets, false),
    ))?;
    Ok(Exit::Done)
}

async fn import(args: ImportArgs) -> Result<Exit> {
    let text = fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let export = export::read(&text).map_err(|errors| wrong(&args.file, &errors))?;
    let header = export.header.clone();
    let source = Source::of(args.kept)?;
    let count = source.import(export).await?;
    print(&format!(
        "{count} objects imported into {source}, as Weir {} exported them on {}\n",
        header.weir,
        header.time.strftime("%Y-%m-%d at %H:%M:%S UTC")
    ))?;
    Ok(Exit::Done)
}

/// Everything that is wrong with a file.
fn wrong(file: &Path, errors: &[export::ExportError]) -> anyhow::Error {
    let mut text = format!("{} cannot be imported; nothing was written", file.display());
    for error in errors.iter().take(TOLD) {
        text.push_str(&format!("\n  {error}"));
    }
    if errors.len() > TOLD {
        text.push_str(&format!("\n  and {} more", errors.len() - TOLD));
    }
    anyhow!(text)
}

async fn fsck(args: FsckArgs) -> Result<Exit> {
    let source = Source::of(args.kept)?;
    let (records, incomplete) = source.records().await?;
    let mut findings: Vec<Finding> = incomplete.into_iter().collect();
    findings.extend(check::check(&records));
    findings.sort();
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let remarks = findings.len() - errors;
    print(&match args.output {
        Report::Text => {
            let lines = findings.iter().map(|finding| format!("{finding}\n"));
            let lines: String = lines.collect();
            let verdict = match errors {
                0 => "sound".to_owned(),
                1 => "1 error".to_owned(),
                _ => format!("{errors} errors"),
            };
            let remarks = match remarks {
                0 => String::new(),
                1 => ", 1 remark".to_owned(),
                _ => format!(", {remarks} remarks"),
            };
            format!(
                "{lines}{source}: {} objects, {verdict}{remarks}\n",
                records.len()
            )
        }
        Report::Json => {
            let all = json!({
                "objects": records.len(), "errors": errors, "remarks": remarks,
                "findings": findings,
            });
            format!("{all:#}\n")
        }
    })?;
    Ok(if errors == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn backup(args: BackupArgs) -> Result<Exit> {
    let directory = &args.directory;
    if directory.symlink_metadata().is_ok() {
        let name = directory.display();
        return Err(anyhow!(
            "{name} exists already: name a directory to be made"
        ));
    }
    let state = args.kept.state.clone();
    let source = Source::of(args.kept)?;
    let text = source.export(args.reveal_secrets).await?;
    files::backup(directory, &state, &text)
        .with_context(|| format!("cannot write {}", directory.display()))?;
    let count = text.lines().count().saturating_sub(1);
    print(&format!(
        "{count} objects of {source}, and the keys of {}, are in {}\n\
         {}\n\
         Restore it with: {}\n",
        state.display(),
        directory.display(),
        protection(&source, args.reveal_secrets, true),
        source.restore(directory, &state),
    ))?;
    Ok(Exit::Done)
}

/// How the Secrets of an export are protected; a backup has the keys of the folder with it.
fn protection(source: &Source, revealed: bool, backup: bool) -> String {
    match source.key() {
        Some((name, in_folder)) if !revealed => {
            if in_folder && backup {
                return format!(
                    "Its Secrets are encrypted with the key {name}, which is in it as well: keep it \
                     where only you can read it."
                );
            }
            format!("Its Secrets are encrypted with the key {name}: an import needs it.")
        }
        None if !revealed => "There are no Secrets in it.".to_owned(),
        _ => "It holds secrets in plain text: keep it where only you can read it.".to_owned(),
    }
}

async fn rekey(args: RekeyArgs) -> Result<Exit> {
    let source = Source::of(args.kept)?;
    let (done, keys, removed) = source.rekey(args.new_key, args.remove_lost).await?;
    let mut text = String::new();
    for path in removed {
        text.push_str(&format!("removed, as no key decrypts it: {path}\n"));
    }
    text.push_str(&format!(
        "{source}: Secrets encrypted with the key {}: {}, rewritten for it: {}\n",
        keys.first(),
        done.current,
        done.rewritten
    ));
    for error in &done.unreadable {
        text.push_str(&format!("error: {}\n", error.with_causes()));
    }
    let former: Vec<_> = keys.names().skip(1).collect();
    if !former.is_empty() && done.unreadable.is_empty() {
        text.push_str(&format!(
            "needed by exports and backups from before alone: {}\n",
            former.join(", ")
        ));
    }
    print(&text)?;
    Ok(if done.unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("cannot write to standard output")
}
