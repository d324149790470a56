//! Workers: reserve what is there, delete it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{bail, ensure};

use super::Progress;
use super::connection::Connection;

/// Works until all is done, `group` jobs at once, and no more than are left; answers the microseconds in which each
/// arrived.
pub(super) async fn work(
    mut connection: Connection,
    group: usize,
    left: Arc<AtomicU64>,
    progress: Arc<Progress>,
) -> anyhow::Result<Vec<u32>> {
    let mut starts = Vec::new();
    while !progress.is_done() {
        let most = take(&left, group as u64);
        if most == 0 {
            break;
        }
        let ids = reserve(&mut connection, most, &progress, &mut starts).await?;
        left.fetch_add(most - ids.len() as u64, Relaxed);
        delete(&mut connection, &ids).await?;
        progress.deleted.fetch_add(ids.len() as u64, Relaxed);
    }
    Ok(starts)
}

fn take(left: &AtomicU64, most: u64) -> u64 {
    let before = left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(most)));
    before.unwrap_or_default().min(most)
}

/// Waits a second at most for one job, and takes those that are there then.
async fn reserve(
    connection: &mut Connection,
    most: u64,
    progress: &Progress,
    starts: &mut Vec<u32>,
) -> anyhow::Result<Vec<String>> {
    let at_once = "reserve-with-timeout 0\r\n".repeat(usize::try_from(most - 1)?);
    connection.say(format!("reserve-with-timeout 1\r\n{at_once}").as_bytes()).await?;
    let mut ids = Vec::new();
    for _ in 0..most {
        let answer = connection.line().await?;
        if answer == "TIMED_OUT" {
            continue;
        }
        let Some((id, _)) = answer.strip_prefix("RESERVED ").and_then(|rest| rest.split_once(' ')) else {
            bail!("reserve was answered {answer:?}");
        };
        ids.push(id.to_owned());
        let began = connection.body().await?;
        let now = progress.origin.elapsed().as_micros() as u64;
        starts.push(u32::try_from(now.saturating_sub(began)).unwrap_or(u32::MAX));
    }
    Ok(ids)
}

async fn delete(connection: &mut Connection, ids: &[String]) -> anyhow::Result<()> {
    let deletes: String = ids.iter().map(|id| format!("delete {id}\r\n")).collect();
    connection.say(deletes.as_bytes()).await?;
    for _ in ids {
        let answer = connection.line().await?;
        ensure!(answer == "DELETED", "delete was answered {answer:?}");
    }
    Ok(())
}
