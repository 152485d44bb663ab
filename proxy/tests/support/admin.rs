//! Programs that speak to an admin listener which may be gone at any moment.

use std::{io, path::Path};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::browser::request;

/// Posts this to the listener on that socket: the status of its answer. Nothing: it hung up instead.
pub async fn post(socket: &Path, path: &str, body: &Value) -> io::Result<Option<u16>> {
    let mut stream = UnixStream::connect(socket).await?;
    let body = body.to_string();
    let fields = [("host", "localhost"), ("connection", "close"), ("content-type", "application/json")];
    stream.write_all(request(&format!("POST {path}"), &fields, &body).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).and_then(|status| status.parse().ok()))
}
