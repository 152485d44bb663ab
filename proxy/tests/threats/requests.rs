//! Malformed and ambiguous requests, each in one write, split at every line end, and byte by byte.

use tokio::task::yield_now;

use crate::{
    case::{Case, Request, Then},
    rig::{Rig, clean, equal},
    support::wire::Message,
};

/// What may refuse a request, besides closing without a word.
const REFUSALS: [u16; 9] = [400, 405, 411, 413, 414, 417, 431, 501, 505];

/// How the bytes are sent: parsers have differed at the boundaries of reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    AtOnce,
    LineByLine,
    ByteByByte,
}

/// Up to here single bytes; what follows in such a case is filling.
const SINGLE_BYTES: usize = 1024;

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::AtOnce, Self::LineByLine, Self::ByteByByte];

    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::AtOnce => vec![bytes],
            Self::LineByLine => bytes.split_inclusive(|&b| b == b'\n').collect(),
            Self::ByteByByte => {
                let (single, rest) = bytes.split_at(bytes.len().min(SINGLE_BYTES));
                single.chunks(1).chain([rest].into_iter().filter(|rest| !rest.is_empty())).collect()
            }
        }
    }
}

/// Sends it in that way, and judges by what was answered, what the origin saw and what was stored; a
/// connection that was there before and a new one must be served afterwards.
pub(crate) async fn try_request(case: &Case, request: &Request, way: Way, rig: &Rig) -> Result<(), String> {
    if let Some(path) = &request.primed {
        rig.sidecar.get(path).await;
    }
    let mut neighbour = rig.sidecar.connect().await;
    clean(&mut neighbour, "/before").await?;
    rig.origin.forget();
    let stored = rig.sidecar.stored();

    let (answers, refusal) = exchange(request, way, rig).await?;
    judge(request, &answers, refusal)?;

    clean(&mut rig.sidecar.connect().await, "/after").await?;
    clean(&mut neighbour, "/beside").await?;
    rig.origin.is_quiet().await;
    let mut reached: Vec<_> = rig.origin.requests().iter().map(|r| r.asked().to_owned()).collect();
    reached.retain(|asked| !["GET /after", "GET /beside", "GET /last"].contains(&asked.as_str()));
    equal("the origin saw", &reached, case.origin.as_ref().unwrap_or(&request.answers))?;
    if rig.sidecar.stored() > stored {
        return Err("something was stored".into());
    }
    let begun = rig.origin.heard(b" /p ") || rig.origin.heard(b" /cached ");
    if request.then == Then::Refused && request.answers.is_empty() && begun {
        return Err("the origin saw its beginning".into());
    }
    Ok(())
}

/// Sends the bytes; the answers up to the end of the connection, a refusal apart.
async fn exchange(request: &Request, way: Way, rig: &Rig) -> Result<(Vec<Message>, Option<u16>), String> {
    let mut wire = rig.sidecar.connect().await;
    for piece in way.pieces(&request.bytes) {
        if !wire.try_send(piece).await {
            break; // Refused before its end.
        }
        // Both ends are on this one thread: two turns of its runtime let the sidecar read each piece alone.
        yield_now().await;
        yield_now().await;
    }
    if request.then == Then::Kept {
        let last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        wire.try_send(last).await;
    }
    let methods = request.answers.iter().map(|asked| asked.split(' ').next().unwrap_or_default());
    let mut methods = methods.chain(["GET"]);
    let (mut answers, mut refusal) = (Vec::new(), None);
    while let Some(mut head) = wire.next_head().await {
        if head.status() < 200 {
            continue;
        }
        if refusal.is_some() {
            return Err("an answer follows the refusal".into());
        }
        let ends = head.response_ends(methods.next().ok_or("too many answers")?);
        wire.body(&mut head, ends).await;
        match head.status() {
            200 => answers.push(head),
            status => refusal = Some(status),
        }
    }
    equal("bytes after the last answer", &wire.rest().await, &Vec::new())?;
    Ok((answers, refusal))
}

fn judge(request: &Request, answers: &[Message], refusal: Option<u16>) -> Result<(), String> {
    let mut expected = request.answers.clone();
    if request.then == Then::Kept {
        expected.push("GET /last".into());
    }
    let body = |asked: &String| if asked.starts_with("HEAD ") { String::new() } else { asked.clone() };
    let expected: Vec<_> = expected.iter().map(body).collect();
    equal("answers", &answers.iter().map(Message::text).collect(), &expected)?;
    match (request.then, refusal) {
        (_, None) => Ok(()),
        (Then::Refused | Then::Aborted, Some(status)) if REFUSALS.contains(&status) => Ok(()),
        (_, Some(status)) => Err(format!("answered with {status}")),
    }
}
