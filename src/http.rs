//! A plain HTTP client for what is neither CloudStack nor the API: probes, the simulator's
//! controls, manifests by URL.
//!
//! A leaf, like `clock`: it knows no other module.

use std::sync::Once;

use tokio_rustls::rustls::crypto::ring;

/// A client without proxy, to be given its time limits. TLS is ring's, with the system's roots.
pub fn client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        if ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was installed already");
        }
    });
    reqwest::Client::builder().no_proxy()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_client_can_be_made_twice() {
        assert!(super::client().build().is_ok());
        assert!(super::client().build().is_ok());
    }
}
