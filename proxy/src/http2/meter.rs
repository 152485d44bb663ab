//! What a client sends besides requests, counted. Pure.
//!
//! The library that reads the frames limits what they may cost in memory. What they may cost in time it does
//! not: requests that are taken back as soon as they are made, heads that never end, frames that say nothing. So
//! the headers of frames are read here too, on their way.

use std::time::Duration;

use tokio::time::Instant;

use crate::connection::LEAST;

/// Bytes of a frame before its payload (RFC 9113 §4.1).
const HEADER: usize = 9;
/// The bytes of the preface, which is no frame.
const PREFACE: usize = 24;

/// Of the requests that it makes in such a time a client may take back [`RESETS`], or half of them, before the
/// time is over.
const WINDOW: Duration = Duration::from_secs(10);
const RESETS: u64 = 100;
/// Frames that are neither of a request nor the end of one: so many at once, and one more in each such time.
const FRAMES: u32 = 1000;
const FRAME: Duration = Duration::from_millis(10);
/// Beside them one for each so many bytes that the client was sent and may have to acknowledge, and a few for each
/// request; but what it has not made use of is forgotten beyond so many.
const BYTES_A_FRAME: u64 = 64;
const FRAMES_A_REQUEST: u64 = 4;
const MOST_EARNED: u64 = 64 * 1024;

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes still to come that belong to no header of a frame.
    skip: usize,
    /// As much of a frame's header as has come.
    header: [u8; HEADER],
    known: usize,
    /// Since when the head of a request has been coming, and which part of it.
    head: Option<(Instant, Part)>,
    /// The highest number of a stream so far.
    highest: u32,
    window: Window,
    idle: Idle,
    /// When the client had last taken some kilobytes more, and how many bytes it has taken since.
    taken_at: Instant,
    taken: usize,
}

/// Of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    More,
    Last,
}

/// What came since a moment. What was asked for before is not told apart from what nobody has asked for: to take
/// back at once all that an app does not answer is no flood.
#[derive(Debug)]
struct Window {
    since: Instant,
    /// The streams above this one are of this window.
    above: u32,
    requests: u64,
    resets: u64,
}

/// Frames that say nothing of a request, against what a client may send of them.
#[derive(Debug)]
struct Idle {
    /// Bytes that stand for frames which the client may still send.
    earned: u64,
    /// The time that was needed for all others, as of a moment.
    owed: Duration,
    since: Instant,
}

impl Idle {
    fn earn(&mut self, bytes: u64) {
        self.earned = self.earned.saturating_add(bytes).min(MOST_EARNED * BYTES_A_FRAME);
    }

    fn frame(&mut self, now: Instant) {
        match self.earned.checked_sub(BYTES_A_FRAME) {
            Some(rest) => self.earned = rest,
            None => (self.owed, self.since) = (self.owed(now) + FRAME, now),
        }
    }

    fn owed(&self, now: Instant) -> Duration {
        self.owed.saturating_sub(now.duration_since(self.since))
    }
}

/// What a client does that is not to be borne (RFC 9113 §10.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// It takes back most of its requests.
    Resets,
    /// It sends frames that have nothing to do with any request.
    Frames,
}

impl Flood {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Resets => "most requests are taken back",
            Self::Frames => "frames of no request",
        }
    }
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            known: 0,
            head: None,
            highest: 0,
            window: Window { since: now, above: 0, requests: 0, resets: 0 },
            idle: Idle { earned: 0, owed: Duration::ZERO, since: now },
            taken_at: now,
            taken: 0,
        }
    }

    /// Bytes have come.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            let payload = self.skip.min(bytes.len());
            self.skip -= payload;
            bytes = bytes.get(payload..).unwrap_or_default();
            if self.skip == 0 && self.head.is_some_and(|(_, part)| part == Part::Last) {
                self.head = None;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.header.get_mut(self.known) {
                *place = *byte;
            }
            self.known += 1;
            bytes = rest;
            if self.known == HEADER {
                self.known = 0;
                self.frame(now);
            }
        }
    }

    /// The client's side has taken so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize, now: Instant) {
        self.idle.earn(bytes as u64);
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= LEAST {
            (self.taken_at, self.taken) = (now, 0);
        }
    }

    /// When it had last taken as much as it has to in its time.
    pub(super) fn taken_at(&self) -> Instant {
        self.taken_at
    }

    /// The header of a frame is complete.
    fn frame(&mut self, now: Instant) {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let stream = u32::from_be_bytes(stream) & STREAM;
        if now.duration_since(self.window.since) > WINDOW {
            self.window = Window { since: now, above: self.highest, requests: 0, resets: 0 };
        }
        match kind {
            DATA => {}
            HEADERS | CONTINUATION => {
                // Trailers are of a request that is known.
                if stream > self.highest {
                    self.highest = stream;
                    self.window.requests += 1;
                    self.idle.earn(FRAMES_A_REQUEST * BYTES_A_FRAME);
                }
                let part = if flags & END_HEADERS == 0 { Part::More } else { Part::Last };
                let since = self.head.map_or(now, |(since, _)| since);
                self.head = Some((since, part)).filter(|_| part == Part::More || self.skip > 0);
            }
            RST_STREAM if stream > self.window.above => self.window.resets += 1,
            _ => self.idle.frame(now),
        }
    }

    /// Since when the head of a request has been coming, if one is.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head.map(|(since, _)| since)
    }

    /// What the client floods this connection with, if it does.
    pub(super) fn flood(&self, now: Instant) -> Option<Flood> {
        let Window { requests, resets, .. } = self.window;
        if resets > RESETS && resets > requests / 2 {
            return Some(Flood::Resets);
        }
        (self.idle.owed(now) > FRAME * FRAMES).then_some(Flood::Frames)
    }
}

// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
/// The bits of a stream's number (RFC 9113 §4.1).
const STREAM: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// The same of so many requests, from the number of one on.
    fn of_streams(frames: &[u8], from: u32, count: u32) -> Vec<u8> {
        let mut all = Vec::new();
        for stream in (0..count).map(|round| 2 * (from + round) + 1) {
            let mut rest = frames;
            while let Some(header) = rest.first_chunk::<HEADER>() {
                let length = HEADER + usize::from(header[2]);
                all.extend([&header[..5], &stream.to_be_bytes(), &rest[HEADER..length]].concat());
                rest = &rest[length..];
            }
        }
        all
    }

    fn meter(now: Instant) -> Meter {
        let mut meter = Meter::new(now);
        meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now);
        meter
    }

    #[test]
    fn a_head_is_timed_from_its_first_frame_to_its_last_byte_however_it_is_cut() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let head = [frame(HEADERS, 0, b"ab"), frame(CONTINUATION, 0, b""), frame(CONTINUATION, 4, b"cd")];
        let bytes = head.concat();
        for size in 1..bytes.len() {
            let mut meter = meter(start);
            assert_eq!(meter.head_since(), None);
            meter.read(&frame(PING, 0, &[0; 8]), start);
            let (most, last) = bytes.split_at(bytes.len() - 1);
            meter.read(&most[..HEADER], start);
            most[HEADER..].chunks(size).for_each(|piece| meter.read(piece, later));
            assert_eq!(meter.head_since(), Some(start), "{size}");
            meter.read(last, later);
            assert_eq!(meter.head_since(), None, "{size}");
        }
        let mut meter = meter(start);
        meter.read(&frame(HEADERS, 4, b""), start);
        assert_eq!(meter.head_since(), None, "one that is empty ends at once");
    }

    #[test]
    fn section_10_5_requests_that_are_mostly_taken_back_are_a_flood() {
        let start = Instant::now();
        let pair = [frame(HEADERS, 4, b"ab"), frame(RST_STREAM, 0, &[0; 4])].concat();
        let mut busy = meter(start);
        busy.read(&of_streams(&pair, 0, 100), start);
        assert_eq!(busy.flood(start), None, "a page full of pictures that is left");
        busy.read(&of_streams(&pair, 100, 1), start);
        assert_eq!(busy.flood(start), Some(Flood::Resets));
        let mut patient = meter(start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            patient.read(&of_streams(&pair, 9 * u32::try_from(second).unwrap(), 9), now);
            assert_eq!(patient.flood(now), None, "nine a second");
        }
        let mut mostly = meter(start);
        mostly.read(&of_streams(&pair, 0, 200), start);
        assert_eq!(mostly.flood(start), Some(Flood::Resets));
        mostly.read(&of_streams(&frame(HEADERS, 4, b"ab"), 200, 200), start);
        assert_eq!(mostly.flood(start), None, "as many are wanted");
    }

    #[test]
    fn section_8_1_trailers_are_no_request() {
        let start = Instant::now();
        let [head, reset] = [frame(HEADERS, 4, b"ab"), frame(RST_STREAM, 0, &[0; 4])];
        let mut meter = meter(start);
        meter.read(&of_streams(&[&head[..], &head, &head, &reset].concat(), 0, 101), start);
        assert_eq!(meter.flood(start), Some(Flood::Resets));
    }

    #[test]
    fn section_10_5_to_take_back_at_once_what_was_asked_for_long_ago_is_no_flood() {
        let start = Instant::now();
        let later = start + Duration::from_secs(30);
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        let mut meter = meter(start);
        meter.read(&of_streams(&frame(HEADERS, 4, b"ab"), 0, 128), start);
        meter.read(&of_streams(&reset, 0, 128), later);
        assert_eq!(meter.flood(later), None);
        meter.read(&of_streams(&reset, 0, 128).repeat(31), later);
        assert_eq!(meter.flood(later), Some(Flood::Frames), "but only once");
    }

    #[test]
    fn it_knows_when_a_client_took_some_kilobytes() {
        let start = Instant::now();
        let [one, two] = [1, 2].map(|seconds| start + Duration::from_secs(seconds));
        let mut meter = meter(start);
        meter.wrote(LEAST - 1, one);
        assert_eq!(meter.taken_at(), start);
        meter.wrote(1, two);
        meter.wrote(1, two + Duration::from_secs(1));
        assert_eq!(meter.taken_at(), two);
    }

    #[test]
    fn section_10_5_frames_of_no_request_are_borne_as_far_as_something_moves() {
        let start = Instant::now();
        let ping = frame(PING, 0, &[0; 8]);
        let mut flooded = meter(start);
        flooded.read(&ping.repeat(1000), start);
        assert_eq!(flooded.flood(start), None);
        flooded.read(&ping, start);
        assert_eq!(flooded.flood(start), Some(Flood::Frames));
        assert_eq!(flooded.flood(start + Duration::from_secs(1)), None);
        flooded.read(&ping.repeat(200), start);
        assert_eq!(flooded.flood(start + Duration::from_secs(1)), Some(Flood::Frames));
        let mut download = meter(start);
        for _ in 0..10_000 {
            download.wrote(16 * 1024, start);
            download.read(&frame(WINDOW_UPDATE, 0, &[0; 4]).repeat(2), start);
        }
        assert_eq!(download.flood(start), None);
    }

    #[test]
    fn section_10_5_what_was_not_made_use_of_is_not_kept_for_ever() {
        let start = Instant::now();
        let hour = start + Duration::from_secs(3600);
        let ping = frame(PING, 0, &[0; 8]);
        let mut old = meter(start);
        old.read(&ping.repeat(1000), hour);
        assert_eq!(old.flood(hour), None);
        old.read(&ping, hour);
        assert_eq!(old.flood(hour), Some(Flood::Frames), "however old the connection is");
        let mut download = meter(start);
        download.wrote(1 << 30, start);
        download.read(&ping.repeat(66_536), start);
        assert_eq!(download.flood(start), None);
        download.read(&ping, start);
        assert_eq!(download.flood(start), Some(Flood::Frames), "whatever was sent to it");
    }

    #[test]
    fn section_10_5_frames_for_each_request_are_no_flood() {
        let start = Instant::now();
        let update = frame(WINDOW_UPDATE, 0, &[0; 4]);
        let asked = [frame(HEADERS, 4, b"ab"), update.clone(), update].concat();
        let mut busy = meter(start);
        busy.read(&of_streams(&asked, 0, 10_000), start);
        assert_eq!(busy.flood(start), None);
    }
}
