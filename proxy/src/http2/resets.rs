//! The streams that the library resets of its own accord, counted. Pure.
//!
//! What is malformed, or one too many, it refuses before we see it: nobody gives an account of it. So the frames that
//! go out are looked at.

use h2::Reason;

/// Bytes of a frame before its payload (RFC 9113 §4.1), and behind it the code of a reset (§6.4).
const HEADER: usize = 9;
const RESET: usize = HEADER + 4;
const RST_STREAM: u8 = 3;

/// With these we reset a stream ourselves: its answer is cut, or it has been answered before its end.
const OURS: [Reason; 3] = [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::CANCEL];

/// The frames of one connection that go out.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// Bytes still to come that are not looked at.
    skip: usize,
    /// As much of a frame as has gone out and is looked at.
    known: [u8; RESET],
    length: usize,
}

impl Resets {
    /// Bytes go out. How many streams they reset because of what came on them.
    pub(super) fn in_these(&mut self, mut bytes: &[u8]) -> u64 {
        let mut resets = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.known.get_mut(self.length) {
                *place = *byte;
            }
            self.length += 1;
            bytes = rest;
            resets += u64::from(self.is_reset());
        }
        resets
    }

    /// Whether one is complete now. Goes on to the next frame when enough of this one is known.
    fn is_reset(&mut self) -> bool {
        let [high, middle, low, kind, _, _, _, _, _, code @ ..] = self.known;
        let is_reset = kind == RST_STREAM;
        if self.length < HEADER || is_reset && self.length < RESET {
            return false;
        }
        let payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.skip = (HEADER + payload).saturating_sub(self.length);
        self.length = 0;
        is_reset && !OURS.contains(&Reason::from(u32::from_be_bytes(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn only_resets_because_of_what_came_count_however_they_are_cut() {
        let reset = |reason: Reason| frame(RST_STREAM, &u32::from(reason).to_be_bytes());
        let all = [
            frame(4, b""),
            frame(0, &reset(Reason::PROTOCOL_ERROR)),
            reset(Reason::PROTOCOL_ERROR),
            reset(Reason::CANCEL),
            reset(Reason::NO_ERROR),
            reset(Reason::INTERNAL_ERROR),
            frame(6, &[0; 8]),
            reset(Reason::REFUSED_STREAM),
            frame(1, b"x"),
        ]
        .concat();
        for size in 1..=all.len() {
            let mut resets = Resets::default();
            let count: u64 = all.chunks(size).map(|piece| resets.in_these(piece)).sum();
            assert_eq!(count, 2, "{size}");
        }
    }
}
