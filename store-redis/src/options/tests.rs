use super::*;

#[test]
fn the_password_is_not_shown() {
    let options = RedisOptions::new().password("hunter2");
    assert!(!format!("{options:?} {options:#?}").contains("hunter2"));
}

#[test]
fn options_that_no_server_accepts_are_refused() {
    for options in [
        RedisOptions::new().address("", 6379),
        RedisOptions::new().username("app"),
        RedisOptions::new().client_name("a b"),
        RedisOptions::new().call_timeout(Duration::ZERO),
        RedisOptions::new().connect_timeout(Duration::ZERO),
        RedisOptions::new().call_timeout(Duration::MAX),
        RedisOptions::new().connect_timeout(LONGEST_TIMEOUT + Duration::from_nanos(1)),
        RedisOptions::new().max_in_flight(0),
        RedisOptions::new().max_in_flight(usize::MAX),
        RedisOptions::new().subscription_buffer(0),
        RedisOptions::new()
            .password("x")
            .credentials_provider(|| async { Ok(Credentials::password_only("y")) }),
    ] {
        let error = options.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
    }
    assert!(RedisOptions::new().validate().is_ok());
}

#[test]
fn an_address_is_shown_as_it_would_be_written() {
    let shown = |host| RedisOptions::new().address(host, 1).address.to_string();
    assert_eq!(shown("::1"), "[::1]:1");
    assert_eq!(shown("localhost"), "localhost:1");
}

#[test]
fn a_server_is_given_the_time_of_a_call_to_answer_and_never_less_than_half_a_second() {
    for (call_timeout, patience) in [(1, 500), (500, 500), (2_000, 2_000)] {
        let options = RedisOptions::new().call_timeout(Duration::from_millis(call_timeout));
        assert_eq!(options.patience(), Duration::from_millis(patience));
    }
}
