//! TLS, with certificates made for each test.

use std::path::PathBuf;

use crate::support::{Server, free_port, soon};
use futures_util::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use store_core::{Condition, ErrorKind, Expiry, RawEvent, StoreAdapter};
use store_redis::{Protocol, RedisDriver, RedisOptions, TlsOptions};

/// An authority, with the files of a server and of a client that it signed.
struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("store-redis-tls-{}", free_port()));
        std::fs::create_dir(&directory).expect("a directory");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "an authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("a certificate");
        let authority = Self { directory, issuer };
        authority.write("ca.pem", &authority.issuer.pem());
        authority.issue("server", &["localhost", "127.0.0.1"]);
        authority.issue("client", &["client"]);
        authority
    }

    fn issue(&self, name: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.directory.join(name), pem).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    }

    fn pem(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).expect("the file")
    }

    /// A server that asks its clients for certificates, and the port where it speaks TLS.
    fn server(&self, auth_clients: &str) -> (Server, u16) {
        let port = free_port();
        let server = Server::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &self.path("server.pem"),
            "--tls-key-file",
            &self.path("server.key"),
            "--tls-ca-cert-file",
            &self.path("ca.pem"),
            "--tls-auth-clients",
            auth_clients,
        ]);
        (server, port)
    }

    fn trusted(&self) -> TlsOptions {
        TlsOptions::new().ca_pem(self.pem("ca.pem"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn refusal(options: RedisOptions) -> String {
    let error = RedisDriver::connect_with(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    error.to_string()
}

#[tokio::test]
async fn commands_and_messages_go_over_tls() {
    let authority = Authority::new();
    let (server, port) = authority.server("yes");
    let mut admin = server.admin();
    let tls = authority
        .trusted()
        .client_certificate_pem(authority.pem("client.pem"), authority.pem("client.key"));
    let plain = RedisOptions::new().address("127.0.0.1", port).tls(tls);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = plain.clone().protocol(protocol).call_timeout(LONG);
        let driver = RedisDriver::connect_with(options).await.unwrap();
        let long = vec![0xa5; 4 << 20];
        driver
            .set("k", &long, Expiry::Never, Condition::Always)
            .await
            .unwrap();
        assert_eq!(driver.get("k").await.unwrap().as_deref(), Some(&long[..]));
        let mut subscription = driver.subscribe("c").await.unwrap();
        driver.publish("c", &long).await.unwrap();
        let message = soon("a message", subscription.next()).await;
        assert!(
            matches!(&message, Some(RawEvent::Message { message, .. }) if *message == long),
            "the message as it was published"
        );
        admin.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        admin.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let gap = soon("a gap", subscription.next()).await;
        assert!(matches!(gap, Some(RawEvent::Gap(_))), "{gap:?}");
        assert!(driver.has("k").await.unwrap());
    }
}

const LONG: std::time::Duration = std::time::Duration::from_secs(5);

#[tokio::test]
async fn a_url_names_the_files() {
    let authority = Authority::new();
    let (_server, port) = authority.server("yes");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|n| authority.path(n));
    let files = format!("tls_ca={ca}&tls_cert={certificate}&tls_key={key}");
    let url = format!("rediss://localhost:{port}/3?{files}");
    let driver = RedisDriver::connect(&url).await.unwrap();
    assert!(driver.health().await.is_up());
    let url = format!("rediss://127.0.0.1:{port}?tls_server_name=localhost&{files}");
    let driver = RedisDriver::connect(&url).await.unwrap();
    assert!(driver.health().await.is_up());
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_used() {
    let authority = Authority::new();
    let (_server, port) = authority.server("no");
    let options = RedisOptions::new().address("127.0.0.1", port);
    let right = options.clone().tls(authority.trusted());
    assert!(RedisDriver::connect_with(right).await.is_ok());
    let other = Authority::new().trusted();
    let text = refusal(options.clone().tls(other)).await;
    assert!(text.contains("no TLS") && text.contains("tls_ca"), "{text}");
    let name = authority.trusted().server_name("elsewhere.example");
    let text = refusal(options.clone().tls(name)).await;
    assert!(text.contains("no TLS"), "{text}");
    let of_the_system = RedisDriver::connect_with(options.tls(TlsOptions::new())).await;
    // A machine without any authorities says so; the others do not trust this one.
    let kind = of_the_system.unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::Unavailable | ErrorKind::InvalidInput),
        "{kind:?}"
    );
}

#[tokio::test]
async fn a_client_that_shows_no_certificate_is_refused() {
    let authority = Authority::new();
    let (_server, port) = authority.server("yes");
    let options = RedisOptions::new().address("127.0.0.1", port);
    let text = refusal(options.tls(authority.trusted())).await;
    assert!(text.to_lowercase().contains("certificate"), "{text}");
}

#[tokio::test]
async fn a_port_of_the_other_kind_is_said_to_be_one() {
    let authority = Authority::new();
    let (server, port) = authority.server("no");
    let text = refusal(RedisOptions::new().address("127.0.0.1", port)).await;
    assert!(text.contains("rediss://"), "{text}");
    let text = refusal(server.options().tls(authority.trusted())).await;
    assert!(text.contains("its port is one for TLS"), "{text}");
}
