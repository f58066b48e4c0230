//! What switches the mistakes of this folder on; `scripts/mutants` adds it to the code that it breaks.

/// Whether the mistake of that name is planted in this run.
pub(crate) fn planted(mistake: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("WEIR_PLANTED").ok());
    planted.as_deref() == Some(mistake)
}
