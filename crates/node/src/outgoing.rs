//! What this node's own HTTPS requests to other nodes have in common.

use crate::http::tls_provider;
use rustls::{ClientConfig, ConfigBuilder, Error, WantsVerifier, pki_types::ServerName};

/// The beginning of a client's TLS configuration: suites, groups and versions as on the interfaces.
///
/// # Errors
/// If the library does not support them together.
pub(crate) fn tls_client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(tls_provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
}

/// The name in `host:port`, by which a certificate may be judged.
///
/// # Errors
/// If it is neither a name nor an address.
pub(crate) fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for (address, name) in [
            ("localhost:80", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:1", "::1"),
            ("host", "host"),
        ] {
            assert_eq!(server_name(address).unwrap().to_str(), name);
        }
        assert!(server_name("not a name:1").is_err());
    }
}
