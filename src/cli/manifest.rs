//! Manifests from files, folders, standard input and URLs: all read and judged before any is used.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use url::{Host, Url};

use super::{args::Sources, format::full_name};
use crate::types::{
    admission::{self, FieldValidation, ManifestError},
    meta::{Kind, Object, ObjectKey},
};

/// The most that is read from one source: a manifest is small, a mistyped path may not be.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Folders below a folder that `-R` goes into.
const MAX_DEPTH: usize = 32;

/// How closely manifests are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scrutiny {
    /// Their names must be readable.
    Names,
    /// They must be valid.
    Full,
}

/// A manifest and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) object: Object,
    pub(super) file: String,
}

/// A text and the name that errors call it.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
}

/// Everything that `sources` hold, in the order in which it can be made: what is referred to
/// before what refers to it.
///
/// # Errors
/// Something cannot be read, or is no valid manifest; the text tells all that is wrong.
pub(super) async fn read(
    sources: &Sources,
    scrutiny: Scrutiny,
    namespace: Option<&str>,
) -> Result<Vec<Manifest>> {
    let mut texts = Vec::new();
    for name in &sources.files {
        texts.extend(open(name, sources.recursive).await?);
    }
    let mut manifests = judge(&texts, scrutiny, namespace)?;
    if manifests.is_empty() {
        bail!("no objects in {}", sources.files.join(", "));
    }
    manifests.sort_by_key(|manifest| rank(&manifest.object));
    Ok(manifests)
}

/// Where a kind stands in the order of making.
fn rank(object: &Object) -> usize {
    const ORDER: [Kind; 5] = [
        Kind::Namespace,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::CloudAccount,
        Kind::ClearwaterStack,
    ];
    let place = ORDER.iter().position(|kind| kind.name() == object.kind);
    place.unwrap_or(ORDER.len())
}

async fn open(name: &str, recursive: bool) -> Result<Vec<Source>> {
    if name == "-" {
        let text = limited(io::stdin(), "standard input")?;
        return Ok(vec![Source {
            name: "standard input".to_owned(),
            text,
        }]);
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(vec![fetch(name).await?]);
    }
    let path = Path::new(name);
    let found = fs::metadata(path).with_context(|| format!("cannot open {name}"))?;
    if !found.is_dir() {
        return Ok(vec![open_file(path)?]);
    }
    let mut files = Vec::new();
    collect(path, if recursive { MAX_DEPTH } else { 0 }, &mut files)?;
    if files.is_empty() {
        bail!("no .yaml, .yml or .json files in {name}; -R looks into its folders too");
    }
    files.iter().map(|file| open_file(file)).collect()
}

/// The manifests in a folder by name, those of its folders after its own.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot read the folder {}", folder.display());
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).with_context(context)?.collect();
    let mut paths: Vec<_> = entries
        .with_context(context)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    let (folders, plain): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    files.extend(plain.into_iter().filter(|path| is_manifest(path)));
    if depth > 0 {
        folders
            .iter()
            .try_for_each(|folder| collect(folder, depth - 1, files))?;
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn open_file(path: &Path) -> Result<Source> {
    let name = path.display().to_string();
    let file = fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
    let text = limited(file, &name)?;
    Ok(Source { name, text })
}

fn limited(reader: impl Read, name: &str) -> Result<String> {
    let mut text = String::new();
    reader
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {name} as text"))?;
    within_limit(text, name)
}

fn within_limit(text: String, name: &str) -> Result<String> {
    if text.len() as u64 > MAX_BYTES {
        bail!("{name} is larger than {} MiB", MAX_BYTES >> 20);
    }
    Ok(text)
}

/// Reads a URL. Plain HTTP only from this machine: what is applied must not be changed on the way.
async fn fetch(name: &str) -> Result<Source> {
    let url: Url = name
        .parse()
        .with_context(|| format!("`{name}` is no URL"))?;
    if url.scheme() == "http" && !is_loopback(&url) {
        bail!("{name} is plain HTTP: use https, or download it and look at it first");
    }
    let context = || format!("cannot read {name}");
    let client = crate::http::client()
        .timeout(std::time::Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .with_context(context)?;
    let mut response = client.get(url).send().await.with_context(context)?;
    if !response.status().is_success() {
        bail!("cannot read {name}: it answered {}", response.status());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(context)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_BYTES {
            break;
        }
    }
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no text"))?;
    let text = within_limit(text, name)?;
    Ok(Source {
        name: name.to_owned(),
        text,
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

/// The objects of all texts, or everything that is wrong with them.
fn judge(sources: &[Source], scrutiny: Scrutiny, namespace: Option<&str>) -> Result<Vec<Manifest>> {
    let mut manifests: Vec<Manifest> = Vec::new();
    let mut problems = Vec::new();
    let mut seen: BTreeMap<ObjectKey, String> = BTreeMap::new();
    for source in sources {
        let objects = match admission::parse(&source.text, &source.name) {
            Ok(objects) => objects,
            Err(error) => {
                problems.push(explain(&error, &source.text));
                continue;
            }
        };
        for mut object in objects {
            problems
                .extend(place(&mut object, namespace).map(|why| format!("{}: {why}", source.name)));
            if scrutiny == Scrutiny::Full {
                problems.extend(faults(&object, &source.name));
            }
            if let Ok(key) = object.key()
                && let Some(other) = seen.insert(key, source.name.clone())
            {
                let name = full_name(&object);
                problems.push(format!(
                    "{}: {name} is in {other} already: keep one",
                    source.name
                ));
            }
            let file = source.name.clone();
            manifests.push(Manifest { object, file });
        }
    }
    match problems.is_empty() {
        true => Ok(manifests),
        false => bail!("{}", problems.join("\n")),
    }
}

/// Puts an object that names no namespace into the one that was asked for.
fn place(object: &mut Object, namespace: Option<&str>) -> Option<String> {
    let kind = match object.key() {
        Ok(key) => key.kind,
        Err(unknown) => return Some(format!("Weir knows no kind {unknown}")),
    };
    let name = full_name(object);
    let written = &mut object.metadata.namespace;
    match namespace {
        _ if !kind.namespaced() => written.clear(),
        Some(asked) if !written.is_empty() && written != asked => {
            return Some(format!(
                "metadata.namespace: {} says `{written}`, -n says `{asked}`: drop one of the two",
                name
            ));
        }
        Some(asked) => asked.clone_into(written),
        None => {}
    }
    None
}

fn faults(object: &Object, file: &str) -> Vec<String> {
    let errors = admission::admit(object, FieldValidation::Strict).err();
    let name = full_name(object);
    let told = |error: &admission::FieldError| format!("{file}: {name}: {error}");
    errors.iter().flatten().map(told).collect()
}

/// A parse error with the offending line and a caret under the column.
fn explain(error: &ManifestError, text: &str) -> String {
    let line = error
        .line
        .and_then(|line| Some((line, text.lines().nth(line.checked_sub(1)?)?)));
    let Some((number, line)) = line else {
        return error.to_string();
    };
    let shown = match in_secret(text, number) {
        true => line
            .split_once(':')
            .map_or("…".to_owned(), |(key, _)| format!("{key}: …")),
        false => super::paint::cut(&line.replace('\t', " "), 120),
    };
    let gutter = number.to_string();
    let blank = " ".repeat(gutter.len());
    let column = error
        .column
        .unwrap_or(1)
        .saturating_sub(1)
        .min(shown.chars().count());
    let caret = " ".repeat(column);
    format!("{error}\n {blank} |\n {gutter} | {shown}\n {blank} | {caret}^")
}

/// Whether a line belongs to a document that speaks of a Secret, whose values are not repeated.
fn in_secret(text: &str, number: usize) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let before = lines
        .iter()
        .take(number)
        .rposition(|line| line.starts_with("---"));
    let start = before.map_or(0, |at| at + 1);
    let document = lines
        .iter()
        .skip(start)
        .take_while(|line| !line.starts_with("---"));
    document
        .into_iter()
        .any(|line| line.contains("Secret") && line.contains("kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str =
        "apiVersion: weir.dev/v1alpha1\nkind: ClearwaterStack\nmetadata:\n  name: ims\n";

    fn source(name: &str, text: &str) -> Source {
        Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    fn problems(sources: &[Source], namespace: Option<&str>) -> String {
        judge(sources, Scrutiny::Names, namespace)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn bad_yaml_is_shown_with_a_caret() {
        let error = ManifestError {
            file: "ims.yaml".to_owned(),
            line: Some(4),
            column: Some(8),
            document: Some(1),
            reason: "mapping values are not allowed here".to_owned(),
        };
        let text = STACK.replace("name: ims", "name: a: b");
        insta::assert_snapshot!(explain(&error, &text));
        let secret = "kind: Secret\ndata:\n  a: b\n  key: hunter2: x\n";
        let shown = explain(&error, secret);
        assert!(
            shown.contains("key: …") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn an_object_twice_is_refused() {
        let text = problems(&[source("a.yaml", STACK), source("b.yaml", STACK)], None);
        assert_eq!(
            text,
            "b.yaml: clearwaterstack.weir.dev/ims is in a.yaml already: keep one"
        );
    }

    #[test]
    fn a_namespace_that_contradicts_is_refused() {
        let text = STACK.replace("  name: ims", "  name: ims\n  namespace: prod");
        let sources = [source("a.yaml", &text)];
        assert!(problems(&sources, Some("lab")).contains("-n says `lab`"));
        assert!(judge(&sources, Scrutiny::Names, Some("prod")).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let sources = [source("a.yaml", "a: [b\n"), source("b.yaml", "c: {d\n")];
        let text = problems(&sources, None);
        assert!(text.contains("a.yaml") && text.contains("b.yaml"), "{text}");
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (url, loopback) in [
            ("http://127.0.0.1:80/a", true),
            ("http://[::1]/a", true),
            ("http://localhost/a", true),
            ("http://localhost.example.com/a", false),
            ("http://10.0.0.1/a", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), loopback, "{url}");
        }
    }

    #[tokio::test]
    async fn folders_are_read_in_order_of_names_and_only_as_deep_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("deep");
        fs::create_dir(&deep).unwrap();
        fs::write(folder.path().join("b.yaml"), STACK).unwrap();
        fs::write(folder.path().join("notes.txt"), "no manifest").unwrap();
        fs::write(deep.join("c.json"), STACK).unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(open(name, false).await.unwrap().len(), 1);
        assert_eq!(open(name, true).await.unwrap().len(), 2);
    }
}
