use super::*;

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn the_parts_of_a_url_are_read() {
    let options = parse("redis://app:p%40ss@cache.internal:6380/3?protocol=resp2").unwrap();
    let expected = RedisOptions::new()
        .address("cache.internal", 6380)
        .username("app")
        .password("p@ss")
        .database(3)
        .protocol(Protocol::Resp2);
    assert_eq!(options, expected);
}

#[test]
fn missing_parts_have_defaults() {
    assert_eq!(parse("redis://").unwrap(), RedisOptions::new());
    assert_eq!(parse("redis:///1").unwrap().database, 1);
    let address = |url| parse(url).unwrap().address;
    assert_eq!(address("redis://h"), tcp("h", 6379));
    assert_eq!(address("redis://[::1]"), tcp("::1", 6379));
    assert_eq!(address("redis://[::1]:7000/"), tcp("::1", 7000));
    let only_password = parse("redis://:x@h").unwrap();
    assert_eq!(only_password.username, None);
    assert_eq!(only_password.password, Some(Secret::new("x")));
}

#[test]
fn a_unix_socket_is_a_path() {
    for url in [
        "redis+unix:///run/redis.sock?db=2",
        "unix:///run/redis.sock?db=2",
    ] {
        let options = parse(url).unwrap();
        assert_eq!(options.address, Address::Unix("/run/redis.sock".into()));
        assert_eq!(options.database, 2);
    }
}

#[test]
fn an_option_is_there_once() {
    let twice = parse("redis://h?max_in_flight=9&max_in_flight=9").unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidInput);
    assert!(
        twice
            .to_string()
            .contains("\"max_in_flight\" is there twice"),
        "{twice}"
    );
}

#[cfg(feature = "tls")]
#[test]
fn there_may_be_several_authorities() {
    let url = "rediss://h?tls_ca=/a.pem&tls_ca=/b.pem";
    let authorities = parse(url).unwrap().tls.unwrap().authorities;
    assert_eq!(authorities.len(), 2);
}

#[test]
fn options_stand_in_the_query() {
    let url = "redis://h?call_timeout_ms=250&connect_timeout_ms=900&subscription_buffer=7\
               &max_in_flight=9&allow_replica=true\
               &client_name=billing";
    let expected = RedisOptions::new()
        .address("h", 6379)
        .call_timeout(Duration::from_millis(250))
        .connect_timeout(Duration::from_millis(900))
        .subscription_buffer(7)
        .max_in_flight(9)
        .allow_replica()
        .client_name("billing");
    assert_eq!(parse(url).unwrap(), expected);
}

#[test]
fn a_mistake_is_named_with_what_would_be_right() {
    for (url, expected) in [
        ("localhost:6379", "no scheme"),
        (
            "http://h",
            "the scheme is none of redis, rediss and redis+unix",
        ),
        ("redis://h/two", "database \"two\" is not a number"),
        ("redis://h/-1", "database \"-1\" is not a number"),
        ("redis://h/1/2", "is not a number"),
        ("redis://h/x", "redis://localhost/2"),
        ("unix:///s?db=x", "?db=2"),
        ("redis:// ", "white space"),
        ("redis://a b:6379", "white space"),
        ("redis://a%0Ab", "white space"),
        ("redis://h:0", "port is not a number from 1 to 65535"),
        ("redis://h:65536", "port is not a number from 1 to 65535"),
        ("redis://::1", "IPv6 address in brackets"),
        ("redis://[::1", "not closed"),
        ("redis://h?protocol=resp4", "resp2 or resp3"),
        ("redis://h?ttl=4", "unknown option \"ttl\""),
        ("redis://h?db=1", "redis://localhost/2"),
        ("redis://h?call_timeout_ms=soon", "call_timeout_ms=500"),
        ("redis://h?call_timeout_ms=0", "timeout of zero"),
        ("redis://h?max_in_flight=0", "at least 1 call"),
        ("redis://h?allow_replica=1", "true or false"),
        ("redis://h?tls_ca=/ca.pem", "rediss://"),
        ("redis://h#1", "no `#` part"),
        ("redis://user@h", "user:password@host"),
        ("redis://:%zz@h", "write % as %25"),
        ("redis://:%+1@h", "write % as %25"),
        ("unix://socket", "absolute path"),
        ("redis+unix://", "absolute path"),
    ] {
        let error = parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        let text = error.to_string();
        assert!(text.contains(expected), "{url}: {text}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_that_is_not_compiled_in_names_its_feature() {
    let error = parse("rediss://h").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("feature \"tls\""), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn tls_stands_in_the_scheme_and_its_files_in_the_query() {
    let plain = parse("rediss://h:6380/1").unwrap();
    let expected = RedisOptions::new().address("h", 6380).database(1);
    assert_eq!(plain, expected.clone().tls(TlsOptions::new()));
    let full = parse(
        "rediss://h:6380/1?tls_ca=/etc/ca.pem&tls_cert=/c.pem&tls_key=/c.key&tls_server_name=cache",
    );
    let tls = TlsOptions::new()
        .ca_file("/etc/ca.pem")
        .client_certificate_files("/c.pem", "/c.key")
        .server_name("cache");
    assert_eq!(full.unwrap(), expected.tls(tls));
}

#[test]
fn no_error_repeats_a_password() {
    for url in [
        "redis://app:hun/ter2@h",
        "redis://app:hun?ter2@h",
        "redis://app:hun#ter2@h",
        "redis://app:hunter2%@h",
        "redis://:hunter2%ff@h",
        "redis://app:hunter2@h:port",
        "redis://app:hunter2@h/db",
        "redis://app:hunter2@h?x=y",
        "redis://a:hunter2/x",
        "redis://app:a@hun/ter2@h",
        "redis+unix://app:hunter2@h/x",
        "http://app:hunter2@h",
    ] {
        let error = parse(url).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("hun") && !text.contains("ter2"),
            "{url}: {text}"
        );
    }
}

#[test]
fn the_case_of_the_scheme_does_not_matter_and_a_wrong_one_is_not_shown() {
    assert!(parse("REDIS://h").is_ok());
    let error = parse("redis:hunter2://h").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}
