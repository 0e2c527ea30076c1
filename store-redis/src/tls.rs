//! TLS: what to trust, and as whom to appear.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use store_core::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How a connection over TLS trusts the server, and how it shows who it is itself.
///
/// By default the authorities of the operating system are trusted. The server's certificate is
/// always checked, against the host that is connected to; there is no way to switch that off, but
/// an authority of one's own is easily trusted. Files are read once, when the driver connects.
///
/// `Debug` shows neither certificates nor keys.
///
/// ```
/// use store_redis::{RedisOptions, TlsOptions};
///
/// let tls = TlsOptions::new()
///     .ca_file("/etc/redis/ca.pem")
///     .client_certificate_files("/etc/app/client.pem", "/etc/app/client.key");
/// let options = RedisOptions::new().address("cache.internal", 6379).tls(tls);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    pub(crate) authorities: Vec<Pem>,
    pub(crate) certificate: Option<Pem>,
    pub(crate) key: Option<Pem>,
    pub(crate) server_name: Option<String>,
}

impl TlsOptions {
    /// Trusts the authorities of the operating system, and shows no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM file, instead of those of the operating system. Given
    /// several times, all of them are trusted.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts the authorities in these PEM bytes, as [`ca_file`](Self::ca_file) does.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Bytes(pem.into()));
        self
    }

    /// Shows the server the certificate in one PEM file, with the private key in the other.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some(Pem::File(certificate.into()));
        self.key = Some(Pem::File(key.into()));
        self
    }

    /// Shows the server a certificate, with its private key, from PEM bytes.
    #[must_use]
    pub fn client_certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificate = Some(Pem::Bytes(certificate.into()));
        self.key = Some(Pem::Bytes(key.into()));
        self
    }

    /// Sets the name that the server's certificate must have, where it is not the host that is
    /// connected to.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// Certificates or a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Pem {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => fs::read(path)
                .map_err(|cause| invalid(format!("cannot read {}: {cause}", path.display()))),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let bytes = self.read()?;
        let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(invalid(format!("there is no certificate in {self}"))),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        // The cause might quote the key.
        PrivateKeyDer::from_pem_slice(&self.read()?)
            .map_err(|_| invalid(format!("there is no private key in {self}")))
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes(_) => f.write_str("the PEM bytes that were given"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{path:?}"),
            Self::Bytes(bytes) => write!(f, "({} bytes)", bytes.len()),
        }
    }
}

/// Opens TLS on sockets to one server.
pub(crate) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// `InvalidInput`.
    pub(crate) fn new(options: &TlsOptions, host: &str) -> Result<Self> {
        let host = options.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| invalid(format!("{host:?} is no name that a certificate can have")))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| invalid(format!("TLS is not usable: {cause}")))?
            .with_root_certificates(trusted(&options.authorities)?);
        let config = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificate.certificates()?, key.key()?)
                .map_err(|cause| {
                    invalid(format!("the client certificate is not usable: {cause}"))
                })?,
            (None, None) => builder.with_no_client_auth(),
            _ => {
                return Err(invalid(
                    "a client certificate and its key come together: tls_cert and tls_key",
                ));
            }
        };
        Ok(Self {
            connector: Arc::new(config).into(),
            name,
        })
    }

    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), socket).await
    }
}

fn trusted(authorities: &[Pem]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        for certificate in authority.certificates()? {
            store.add(certificate).map_err(|cause| {
                invalid(format!(
                    "a certificate in {authority} is not usable: {cause}"
                ))
            })?;
        }
    }
    if authorities.is_empty() {
        let of_the_system = rustls_native_certs::load_native_certs();
        // What one system does not parse, such as an ancient certificate, is none to trust.
        store.add_parsable_certificates(of_the_system.certs);
        if store.is_empty() {
            return Err(invalid(
                "the operating system has no authorities to trust; install its CA certificates, or \
                 name some by tls_ca",
            ));
        }
    }
    Ok(store)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &TlsOptions) -> String {
        let error = Connector::new(options, "localhost").map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let missing = TlsOptions::new().ca_file("/no/such/ca.pem");
        assert!(refusal(&missing).contains("/no/such/ca.pem"));
        let empty = TlsOptions::new().ca_pem("hunter2");
        let text = refusal(&empty);
        assert!(text.contains("no certificate"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let name = TlsOptions::new().server_name("not a name");
        assert!(refusal(&name).contains("\"not a name\""));
    }

    #[test]
    fn no_authorities_but_the_named_ones_are_trusted() {
        let authority = || {
            let certified = rcgen::generate_simple_self_signed(["an authority".to_owned()]);
            certified.expect("a certificate").cert.pem()
        };
        let named = TlsOptions::new().ca_pem(authority()).ca_pem(authority());
        let store = trusted(&named.authorities).expect("both are certificates");
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn a_key_is_not_shown() {
        let options = TlsOptions::new().client_certificate_pem("certificate", "hunter2");
        assert!(!format!("{options:?}").contains("hunter2"));
        let bytes = format!("{:?}", b"hunter2");
        assert!(!format!("{options:?}").contains(&bytes[1..bytes.len() - 1]));
    }
}
