//! After a 101: bytes in both directions, until both ends have closed or both are quiet for too
//! long (RFC 9110 §7.8).

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::sleep,
};

/// Bytes of one read.
const BUFFER: usize = 16 * 1024;

/// Joins the two ends. `ahead` was read from the client before the tunnel stood.
///
/// # Errors
/// The first end to fail; quiet for `idle` counts as the tunnel's end.
pub(super) async fn join<R, W, O>(
    mut from_client: R,
    mut to_client: W,
    ahead: Bytes,
    origin: O,
    idle: Duration,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite,
{
    let (mut from_origin, mut to_origin) = split(origin);
    let moved = AtomicU64::new(0);
    let both = async {
        to_origin.write_all(&ahead).await?;
        tokio::try_join!(
            copy(&mut from_client, &mut to_origin, &moved),
            copy(&mut from_origin, &mut to_client, &moved),
        )
    };
    tokio::select! {
        done = both => done.map(|_| ()),
        () = quiet(&moved, idle) => Ok(()),
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        moved.fetch_add(1, Ordering::Relaxed);
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
        to.flush().await?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns when nothing has moved for `idle`.
async fn quiet(moved: &AtomicU64, idle: Duration) {
    let mut last = moved.load(Ordering::Relaxed);
    loop {
        sleep(idle).await;
        let now = moved.load(Ordering::Relaxed);
        if now == last {
            return;
        }
        last = now;
    }
}
