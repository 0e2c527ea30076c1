//! Starts the service: configuration, what it is made of, and its end.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use igniter_store::{MemoryDriver, Store};
use profile_service::BoxError;
use profile_service::app::router;
use profile_service::db::Database;
use profile_service::profiles::Profiles;
use tokio::net::TcpListener;
use tokio::signal;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profile-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let listen = variable("LISTEN", "127.0.0.1:3000")?;
    let database = Database::open(variable("DATABASE_PATH", "profiles.db")?)?;
    // The driver of the messages is a matter of STORE_URL; the cache is always this process's own.
    let events = igniter_store::from_env().await?;
    let cache = Store::new(MemoryDriver::new());

    let profiles = Arc::new(Profiles::new(database, cache.clone(), events.clone()));
    // Before the first request, so that no profile is cached that a message might have cleared.
    let listener = profiles.follow_events().await?;
    let socket = TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("listening on http://{}", socket.local_addr()?);

    axum::serve(socket, router(profiles))
        .with_graceful_shutdown(asked_to_end())
        .await?;

    listener.unsubscribe().await;
    events.close().await?;
    cache.close().await?;
    println!("ended");
    Ok(())
}

fn variable(name: &str, default: &str) -> Result<String, BoxError> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(env::VarError::NotPresent) => Ok(default.to_owned()),
        Err(error) => Err(format!("the variable {name}: {error}").into()),
    }
}

/// Resolves at Ctrl-C or, where there is one, SIGTERM.
async fn asked_to_end() {
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        // Without a handler the signal ends the process by itself.
        Ok(()) = signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
