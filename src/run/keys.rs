//! Where the keys come from that Secrets are encrypted with: a file or a variable that somebody
//! gave, or else the state folder, in which one is made.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use zeroize::Zeroizing;

use crate::{
    api::files::write_private,
    store::{Keys, Store},
};

/// The variable that may hold keys themselves.
pub(super) const VARIABLE: &str = "WEIR_ENCRYPTION_KEYS";

/// The file in a state folder for want of other keys.
const FILE: &str = "encryption-keys";

/// The keys that were given, in a file or in the environment; none where nobody gave any.
///
/// # Errors
/// Both were given, the file cannot be read, or a line is no key.
pub(super) fn given(file: Option<&Path>) -> Result<Option<Arc<Keys>>> {
    let text = env::var_os(VARIABLE).filter(|text| !text.is_empty());
    match (file, text) {
        (None, None) => Ok(None),
        (Some(file), None) => read(file).map(Some),
        (None, Some(text)) => {
            let text = text.into_string().map(Zeroizing::new);
            let text = text.map_err(|_| anyhow!("{VARIABLE}: it is no UTF-8 text"))?;
            let keys = Keys::read(&text).with_context(|| format!("{VARIABLE} cannot be used"))?;
            Ok(Some(Arc::new(keys)))
        }
        (Some(file), Some(_)) => Err(anyhow!(
            "--encryption-key-file {} and {VARIABLE} are both given: leave one of them out",
            file.display()
        )),
    }
}

fn read(file: &Path) -> Result<Arc<Keys>> {
    let name = file.display();
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("cannot read the encryption keys {name}"))?;
    let keys = Keys::read(&text);
    let keys = keys.with_context(|| format!("the encryption keys {name} cannot be used"))?;
    Ok(Arc::new(keys))
}

/// The keys of a state folder, if it has any.
///
/// # Errors
/// They cannot be read.
pub(super) fn of_folder(state: &Path) -> Result<Option<Arc<Keys>>> {
    let file = file(state);
    match file.try_exists() {
        Ok(false) => Ok(None),
        _ => read(&file).map(Some),
    }
}

/// The file with the keys of a state folder.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Makes a key of a state folder's own, before those that it has.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn make(state: &Path) -> Result<Arc<Keys>> {
    let file = file(state);
    let former = match fs::read_to_string(&file) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    let text = Zeroizing::new([Keys::generate()?.as_str(), former.as_str()].concat());
    let keys = Keys::read(&text);
    let keys = keys.with_context(|| format!("{} cannot be used", file.display()))?;
    write_private(&file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Arc::new(keys))
}

/// What there is to say when a state folder gets a key of its own.
pub(super) const MADE: &str = "Secrets are encrypted with a key that was made in the state folder: \
    whoever copies the folder has the key as well; --encryption-key-file keeps it elsewhere";

/// Why an etcd is not written to without keys.
pub(super) fn wanted() -> anyhow::Error {
    anyhow!(
        "an etcd is shared by several controllers, and so are the keys that Secrets are encrypted \
         with: give each of them the same --encryption-key-file or {VARIABLE}, with lines NAME:KEY \
         and a KEY from `head -c 32 /dev/urandom | base64`"
    )
}

/// Says how the Secrets of a store are kept where that is not as it should be.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn judge(store: &Store) -> Result<()> {
    let found = store.at_rest().await?;
    let behind = found.clear + found.former;
    if behind > 0 {
        tracing::warn!(
            clear = found.clear,
            former_keys = found.former,
            "Secrets are stored in clear or with a former key: `weir state rekey` encrypts them \
             with the present one"
        );
    }
    for error in &found.unreadable {
        tracing::error!(error = error.with_causes(), "a Secret cannot be read");
    }
    Ok(())
}
