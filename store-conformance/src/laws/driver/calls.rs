//! Every call of a driver: it answers in time, and after close it refuses.

use super::*;

/// Makes every call once; answers each with its name and whether it succeeded.
async fn every_call(
    case: &Case,
    store: &Handle,
) -> CaseResult<Vec<(&'static str, store_core::Result<()>)>> {
    let (key, channel) = (case.key("k"), case.key("channel"));
    let (never, hour) = (Expiry::Never, millis(HOUR)?);
    let always = Condition::Always;
    let mut answers = vec![
        ("get", store.get(&key).await.map(drop)),
        ("set", store.set(&key, b"1", never, always).await.map(drop)),
        ("has", store.has(&key).await.map(drop)),
        ("increment", store.increment(&key, 1, None).await.map(drop)),
        (
            "increment with ttl",
            store.increment(&key, 1, Some(hour)).await.map(drop),
        ),
        ("expire", store.expire(&key, hour).await.map(drop)),
        ("ttl", store.ttl(&key).await.map(drop)),
        ("persist", store.persist(&key).await.map(drop)),
        (
            "get_many",
            store.get_many(&[&key, &channel]).await.map(drop),
        ),
        (
            "set_many",
            store.set_many(&[(&key, b"1")], Some(hour)).await,
        ),
        ("replace", store.replace(&key, b"2", never).await.map(drop)),
        ("take", store.take(&key).await.map(drop)),
        (
            "compare_and_delete",
            store.compare_and_delete(&key, b"2").await.map(drop),
        ),
        ("delete", store.delete(&key).await.map(drop)),
        ("delete_many", store.delete_many(&[&key]).await.map(drop)),
        ("publish", store.publish(&channel, b"m").await),
        ("subscribe", store.subscribe(&channel).await.map(drop)),
    ];
    // The same of a key that is not there.
    let missing = case.key("missing");
    answers.extend([
        ("get of nothing", store.get(&missing).await.map(drop)),
        ("has of nothing", store.has(&missing).await.map(drop)),
        ("delete of nothing", store.delete(&missing).await.map(drop)),
        ("take of nothing", store.take(&missing).await.map(drop)),
        ("ttl of nothing", store.ttl(&missing).await.map(drop)),
        (
            "persist of nothing",
            store.persist(&missing).await.map(drop),
        ),
        (
            "expire of nothing",
            store.expire(&missing, hour).await.map(drop),
        ),
        (
            "get_many of nothing",
            store.get_many(&[&missing]).await.map(drop),
        ),
        (
            "delete_many of nothing",
            store.delete_many(&[&missing]).await.map(drop),
        ),
        (
            "compare_and_delete of nothing",
            store.compare_and_delete(&missing, b"").await.map(drop),
        ),
    ]);
    if let Some(scan) = store.as_scan() {
        let page = scan.scan_page(case.scope(), None, 10).await;
        answers.push(("scan_page", page.map(drop)));
    }
    if let Some(patterns) = store.as_patterns() {
        let subscription = patterns.subscribe_pattern(&channel).await;
        answers.push(("subscribe_pattern", subscription.map(drop)));
    }
    Ok(answers)
}

pub(in crate::laws) async fn no_op_hangs(run: Run) -> Outcome {
    run.once(|case| async move {
        let store = case.open().await?;
        for round in 0..3 {
            for (call, answer) in every_call(&case, &store).await? {
                if let Err(error) = answer {
                    let supported = error.kind() != ErrorKind::Unsupported;
                    ensure!(
                        !supported,
                        "{call} in round {round} answered {:?}: {error}",
                        error.kind()
                    );
                }
            }
            let health = store.health().await;
            ensure_eq!(
                health.state,
                HealthState::Up,
                "the health of a driver that works"
            );
        }
        // All at once: a lock that is held over an await shows here.
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (case, store) = (case.clone(), store.clone());
                tokio::spawn(async move { every_call(&case, &store).await.map(drop) })
            })
            .collect();
        for task in tasks {
            let answer = task.await;
            answer.map_err(|error| Failure::new(format!("a call failed: {error}")))??;
        }
        store.close().await?;
        every_call(&case, &store).await?;
        store.health().await;
        store.close().await?;
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn closed_store_refuses(run: Run) -> Outcome {
    run.once(|case| async move {
        let [store, other] = [case.open().await?, case.open().await?];
        put(&store, &case.key("stays"), b"v").await?;
        let mut subscription = store.subscribe(&case.key("channel")).await.ok();
        store.close().await?;
        for (call, answer) in every_call(&case, &store).await? {
            // What the driver does not have it may refuse as such.
            if answer
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::Unsupported)
            {
                continue;
            }
            ensure_kind(answer, ErrorKind::Closed, &format!("{call} after close"))?;
        }
        ensure_eq!(
            store.health().await.state,
            HealthState::Closed,
            "the health of a closed handle"
        );
        if let Some(subscription) = &mut subscription {
            let end = case.next_or_end(subscription).await?;
            ensure!(
                end.is_none(),
                "a subscription of a closed handle answered {end:?}"
            );
        }
        store.close().await?;
        if case.harness().handles_close_together() {
            let answer = other.get(&case.key("stays")).await;
            return ensure_kind(
                answer,
                ErrorKind::Closed,
                "get of a handle that closed with it",
            );
        }
        ensure_eq!(
            other.get(&case.key("stays")).await?.as_deref(),
            Some(&b"v"[..]),
            "what another handle reads, after one was closed"
        );
        for (call, answer) in every_call(&case, &other).await? {
            let works = answer
                .as_ref()
                .err()
                .is_none_or(|error| error.kind() == ErrorKind::Unsupported);
            ensure!(
                works,
                "{call} of another handle, after one was closed: {answer:?}"
            );
        }
        Ok(())
    })
    .await
}
