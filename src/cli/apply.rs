//! `apply` and `diff`: manifests in, outcomes or plans out.

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::json;

use super::{
    Exit,
    args::{ApplyArgs, DiffArgs, Report},
    console::Console,
    format::{full_name, json_text},
    manifest::{self, Manifest, Scrutiny},
    paint::Paint,
    plan_view::PlanView,
    server::{Outcome, Server, Write, word},
};
use crate::types::meta::{Kind, Object};

/// What became of one object.
#[derive(Debug, Serialize)]
struct Applied {
    kind: String,
    namespace: String,
    name: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Applied {
    fn new(object: &Object, outcome: &'static str, error: Option<String>) -> Self {
        Self {
            kind: object.kind.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            outcome,
            error,
        }
    }
}

/// Applies everything, one object after the other; what fails does not stop the rest.
pub(super) async fn apply(console: &Console, args: &ApplyArgs) -> Result<Exit> {
    let namespace = args.connection.namespace.as_deref();
    let manifests = manifest::read(&args.sources, Scrutiny::Full, namespace).await?;
    let server = Server::connect(&args.connection)?;
    let write = if args.dry_run {
        Write::DryRun
    } else {
        Write::Keep
    };
    let mut results = Vec::new();
    let mut exit = Exit::Done;
    for Manifest { object, file } in &manifests {
        let object = server.placed(object);
        let result = server.apply(&object, write).await;
        results.push(match &result {
            Ok(applied) => Applied::new(&object, word(applied.outcome), None),
            Err(error) => Applied::new(&object, "failed", Some(format!("{error:#}"))),
        });
        for warning in result.iter().flat_map(|applied| &applied.warnings) {
            console.note(&format!("Warning: {file}: {warning}"));
        }
        match result {
            Ok(applied) if args.output == Report::Text => {
                let suffix = if args.dry_run { " (dry run)" } else { "" };
                let line = format!("{} {}{suffix}\n", full_name(&object), word(applied.outcome));
                console.print(&line)?;
            }
            Ok(_) => {}
            Err(error) => {
                console.note(&format!("error: {file}: {}: {error:#}", full_name(&object)));
                exit = Exit::Failed;
            }
        }
    }
    if args.output == Report::Json {
        console.print(&json_text(
            &json!({"dryRun": args.dry_run, "results": results}),
        )?)?;
    }
    Ok(exit)
}

/// What an apply would do to one object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Difference {
    /// A stack, with its plan.
    Plan(PlanView),
    /// Any other object.
    Object(Applied),
}

impl Difference {
    fn is_empty(&self) -> bool {
        match self {
            Self::Plan(plan) => plan.is_empty(),
            Self::Object(applied) => applied.outcome == word(Outcome::Unchanged),
        }
    }

    fn render(&self, paint: Paint) -> String {
        match self {
            Self::Plan(plan) => plan.render(paint),
            Self::Object(applied) => {
                let kind = applied.kind.to_lowercase();
                format!("{kind} {}: {}\n", applied.name, would(applied.outcome))
            }
        }
    }
}

fn would(outcome: &str) -> String {
    match outcome {
        "unchanged" => "unchanged".to_owned(),
        other => format!("would be {other}"),
    }
}

/// Shows what an apply would do. Every error means that nobody knows whether there is something
/// to do, so it never ends with [`Exit::Failed`], which says that there is.
pub(super) async fn diff(console: &Console, args: &DiffArgs) -> Result<Exit> {
    let namespace = args.connection.namespace.as_deref();
    let manifests = manifest::read(&args.sources, Scrutiny::Full, namespace).await?;
    let server = Server::connect(&args.connection)?;
    let mut differences = Vec::new();
    for Manifest { object, file } in &manifests {
        let object = server.placed(object);
        let difference = difference(&server, &object)
            .await
            .map_err(|error| anyhow!("{file}: {}: {error:#}", full_name(&object)))?;
        differences.push(difference);
    }
    match args.output {
        Report::Json => console.print(&json_text(&json!({"differences": differences}))?)?,
        Report::Text => {
            let texts: Vec<_> = differences
                .iter()
                .map(|one| one.render(console.paint))
                .collect();
            console.print(&texts.join("\n"))?;
        }
    }
    let same = differences.iter().all(Difference::is_empty);
    Ok(if same { Exit::Done } else { Exit::Failed })
}

async fn difference(server: &Server, object: &Object) -> Result<Difference> {
    if object.kind == Kind::ClearwaterStack.name() {
        return server.plan(object).await.map(Difference::Plan);
    }
    let applied = server.apply(object, Write::DryRun).await?;
    Ok(Difference::Object(Applied::new(
        object,
        word(applied.outcome),
        None,
    )))
}
