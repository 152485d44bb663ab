//! What several clients send one after the other, and what each of them gets.

use std::collections::HashMap;

use crate::{
    case::{Case, Gets, Step},
    rig::{Rig, clean, equal},
    support::wire::{Message, Wire},
};

/// Plays it to its end, and judges by what came back, what the origin saw and what is stored.
pub(crate) async fn try_story(case: &Case, steps: &[Step], rig: &Rig) -> Result<(), String> {
    let mut wires: HashMap<String, Wire> = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        match rig.names(step.clone()) {
            Step::After(while_) => rig.sidecar.clock.advance(while_),
            Step::Says { who, bytes, gets } => {
                let wire = match wires.remove(&who) {
                    Some(open) => open,
                    None => rig.sidecar.connect().await,
                };
                let open = exchange(wire, &bytes, &gets).await;
                let open = open.map_err(|why| format!("step {}, {who}: {why}", number + 1))?;
                wires.extend(open.map(|wire| (who, wire)));
            }
        }
        rig.settled().await;
    }
    if let Some(stored) = case.stored {
        equal("stored", &rig.sidecar.stored(), &stored)?;
    }
    judge_origin(case, rig)?;
    clean(&mut rig.sidecar.connect().await, "/after").await
}

/// Sends the bytes, and reads what comes back; the connection, if it is still open.
async fn exchange(mut wire: Wire, bytes: &[u8], gets: &[Gets]) -> Result<Option<Wire>, String> {
    let text = String::from_utf8_lossy(bytes);
    let method = text.split(' ').next().unwrap_or_default();
    wire.try_send(bytes).await;
    let mut answer: Option<Message> = None;
    for expected in gets {
        match expected {
            Gets::Status(statuses) => {
                let came = final_answer(&mut wire, method).await?;
                if !statuses.contains(&came.status()) {
                    return Err(format!("{}, not {statuses:?}: {}", came.start, came.text()));
                }
                answer = Some(came);
            }
            Gets::Text(text, is_so) => {
                let whole = whole(answer.as_ref().ok_or("of which answer?")?);
                if whole.contains(text) != *is_so {
                    return Err(format!("has {text:?}: {}, in {whole}", !is_so));
                }
            }
            Gets::Lines(count, name) => {
                let lines = answer.as_ref().ok_or("of which answer?")?.all(name).len();
                equal(&format!("lines of {name}"), &lines, count)?;
            }
            Gets::Cut => {
                is_cut(&mut wire).await?;
                return Ok(None);
            }
            Gets::Leaves => return Ok(None),
            Gets::Closed => {
                equal("bytes before the end", &wire.rest().await, &Vec::new())?;
                return Ok(None);
            }
        }
    }
    Ok(Some(wire))
}

async fn final_answer(wire: &mut Wire, method: &str) -> Result<Message, String> {
    loop {
        let mut head = wire.next_head().await.ok_or("closed without an answer")?;
        if head.status() >= 200 {
            let ends = head.response_ends(method);
            wire.body(&mut head, ends).await;
            return Ok(head);
        }
    }
}

/// Reads to the end of the connection, which has to come before that of the answer.
async fn is_cut(wire: &mut Wire) -> Result<(), String> {
    let head = wire.next_head().await.ok_or("closed without an answer")?;
    let rest = wire.rest().await;
    let length = head.field("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_whole = length.map_or_else(|| rest.ends_with(b"0\r\n\r\n"), |length| rest.len() >= length);
    if is_whole { Err("an answer that looks whole".into()) } else { Ok(()) }
}

/// All of it in lower case.
fn whole(answer: &Message) -> String {
    let fields = answer.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let text = format!("{}\r\n{}\r\n{}", answer.start, fields.collect::<String>(), answer.text());
    text.to_lowercase()
}

fn judge_origin(case: &Case, rig: &Rig) -> Result<(), String> {
    if let Some(origin) = &case.origin {
        let reached = rig.origin.requests().iter().map(|r| r.asked().to_owned()).collect();
        equal("the origin saw", &reached, origin)?;
    }
    if let Some(connections) = case.connections {
        equal("connections to the origin", &rig.origin.connections(), &connections)?;
    }
    for (bytes, is_so) in &case.heard {
        if rig.origin.heard(bytes.as_bytes()) != *is_so {
            return Err(format!("the origin has heard {bytes:?}: {}", !is_so));
        }
    }
    equal("connections to a bystander", &rig.bystander.connections(), &0)
}
