//! Scalars with a meaning of their own: durations, sizes, counts, switches.

use std::time::Duration;

use super::{keys::Text, problem::Wrong};
use crate::policy::rule::Percent;

/// Longer ones are a slip of the keyboard, and would overflow sums of times.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);
/// As above, for sizes.
const MAX_SIZE: u64 = 1 << 50;

/// What [`count`] takes.
pub(super) const MAX_COUNT: usize = 1_000_000_000;

pub(super) const DURATION: Text =
    Text { is: "a duration, 300s or 1h30m (ms, s, m, h, d)", like: "([0-9]+(ms|s|m|h|d))+", bare: false };

/// A duration that is not zero.
pub(super) const SOME_TIME: Text = Text {
    is: "a duration over zero, 300s or 1h30m (ms, s, m, h, d)",
    like: "([0-9]+(ms|s|m|h|d))*[0-9]*[1-9][0-9]*(ms|s|m|h|d)([0-9]+(ms|s|m|h|d))*",
    bare: false,
};

pub(super) const SIZE: Text =
    Text { is: "a size, 64MiB (B, KB, KiB, MB, MiB, GB, GiB)", like: "[0-9]+([KMG]i?)?B", bare: false };

/// A size that is not zero.
pub(super) const SOME_SIZE: Text = Text {
    is: "a size over zero, 1MiB (B, KB, KiB, MB, MiB, GB, GiB)",
    like: "[0-9]*[1-9][0-9]*([KMG]i?)?B",
    bare: false,
};

/// `300s`, `5m`, `1h30m`: `ms s m h d`, a whole number before each. Zero is left to the caller.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, tail) = number_and_unit(rest);
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(milliseconds(unit)?))
            .map(Duration::from_millis)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| not_a_duration(text))?;
        rest = tail;
    }
    match text {
        "" => Err(not_a_duration(text)),
        _ if total > MAX_DURATION => Err(too_long()),
        _ => Ok(total),
    }
}

fn too_long() -> Wrong {
    Wrong::new("longer than ten years", "write 3650d at most")
}

fn milliseconds(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(3600 * 1000),
        "d" => Some(86_400 * 1000),
        _ => None,
    }
}

fn not_a_duration(text: &str) -> Wrong {
    let (number, unit, rest) = number_and_unit(text);
    if text == "0" {
        return Wrong::new("a duration needs a unit", "write 0s (ms, s, m, h, d)");
    }
    if !number.is_empty() && unit.is_empty() && rest.is_empty() {
        return Wrong::new(
            "a duration needs a unit",
            format!("write {number}s for seconds (ms, s, m, h, d)"),
        );
    }
    let ours = match unit.trim().to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "min" | "mins" | "minute" | "minutes" | "m" => "m",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        "day" | "days" | "d" => "d",
        "msec" | "millis" | "milliseconds" | "ms" => "ms",
        _ => {
            return Wrong::new(
                format!("`{text}` is not a duration"),
                "write 300s, 5m or 1h30m (ms, s, m, h, d)",
            );
        }
    };
    if number.is_empty() || !rest.is_empty() {
        return Wrong::new(format!("`{text}` is not a duration"), "write 300s, 5m or 1h30m (ms, s, m, h, d)");
    }
    if unit == ours {
        return too_long();
    }
    Wrong::new(format!("`{text}` is not a duration"), format!("write {number}{ours} (units: ms, s, m, h, d)"))
}

/// `10%`: a whole number from none to `most`.
pub(super) fn percent(text: &str, most: u8) -> Result<Percent, Wrong> {
    let Some(number) = text.strip_suffix('%') else {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let advice = if is_number { format!("write {text}%") } else { "write 10%".to_owned() };
        return Err(Wrong::new("a share needs a percent sign", advice));
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    match number.parse().ok().filter(|_| digits) {
        Some(number) if number <= most => {
            Percent::new(number).ok_or_else(|| Wrong::new(format!("`{text}` is more than all"), ""))
        }
        _ if digits && !number.is_empty() => {
            Err(Wrong::new(format!("`{text}` is too much"), format!("write {most}% at most")))
        }
        _ => Err(Wrong::new(format!("`{text}` is not a share"), "write a whole number, 10%")),
    }
}

/// `64MiB`: `B`, `KB MB GB` (powers of 1000), `KiB MiB GiB` (powers of 1024).
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let (number, unit, rest) = number_and_unit(text);
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes(unit)?));
    match bytes.filter(|_| rest.is_empty()) {
        Some(bytes) if bytes > MAX_SIZE => Err(Wrong::new("larger than any machine", "")),
        Some(bytes) => Ok(bytes),
        None => Err(not_a_size(text)),
    }
}

fn bytes(unit: &str) -> Option<u64> {
    match unit {
        "B" => Some(1),
        "KB" => Some(1000),
        "KiB" => Some(1 << 10),
        "MB" => Some(1_000_000),
        "MiB" => Some(1 << 20),
        "GB" => Some(1_000_000_000),
        "GiB" => Some(1 << 30),
        _ => None,
    }
}

fn not_a_size(text: &str) -> Wrong {
    let (number, unit, rest) = number_and_unit(text);
    if number.is_empty() || !rest.is_empty() {
        return Wrong::new(format!("`{text}` is not a size"), "write 64MiB (B, KB, KiB, MB, MiB, GB, GiB)");
    }
    let advice = match unit.trim().to_ascii_lowercase().as_str() {
        "" => {
            return Wrong::new(
                "a size needs a unit",
                format!("write {number}B for bytes (B, KB, KiB, MB, MiB, GB, GiB)"),
            );
        }
        "b" | "byte" | "bytes" => format!("write {number}B"),
        "k" | "kb" => format!("write {number}KiB (1024 bytes each) or {number}KB (1000)"),
        "kib" => format!("write {number}KiB"),
        "m" | "mb" => format!("write {number}MiB (1024 KiB each) or {number}MB (1000 KB)"),
        "mib" => format!("write {number}MiB"),
        "g" | "gb" => format!("write {number}GiB (1024 MiB each) or {number}GB (1000 MB)"),
        "gib" => format!("write {number}GiB"),
        _ => "write 64MiB (B, KB, KiB, MB, MiB, GB, GiB)".to_owned(),
    };
    Wrong::new(format!("`{text}` is not a size"), advice)
}

/// Digits, the unit after them, and what follows it.
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let (number, rest) = split_where(text, |c| !c.is_ascii_digit());
    let (unit, rest) = split_where(rest, |c| c.is_ascii_digit());
    (number, unit, rest)
}

fn split_where(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

/// A whole number without a unit.
pub(super) fn count(text: &str) -> Result<usize, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&count: &usize| digits && count <= MAX_COUNT).ok_or_else(|| {
        let what = if digits { "is too large" } else { "is not a whole number" };
        Wrong::new(format!("`{text}` {what}"), "write a number without a unit, 100")
    })
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Wrong::new(format!("`{text}` is neither true nor false"), "write true or false")),
    }
}

/// A duration as the file would write it.
pub(super) fn show_duration(duration: Duration) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let mut rest = duration.as_millis();
    let mut out = String::new();
    for (length, unit) in units {
        if rest >= length {
            out.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A size as the file would write it.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1000, "KB"),
    ];
    match units.into_iter().find(|(length, _)| bytes >= *length && bytes.is_multiple_of(*length)) {
        Some((length, unit)) => format!("{}{unit}", bytes / length),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("300s", 300_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, advice) in [
            ("300", "write 300s for seconds (ms, s, m, h, d)"),
            ("0", "write 0s (ms, s, m, h, d)"),
            ("5 minutes", "write 5m (units: ms, s, m, h, d)"),
            ("5min", "write 5m (units: ms, s, m, h, d)"),
            ("5M", "write 5m (units: ms, s, m, h, d)"),
            ("1.5h", "write 300s, 5m or 1h30m (ms, s, m, h, d)"),
            ("-5s", "write 300s, 5m or 1h30m (ms, s, m, h, d)"),
            ("", "write 300s, 5m or 1h30m (ms, s, m, h, d)"),
            ("s", "write 300s, 5m or 1h30m (ms, s, m, h, d)"),
            ("4000d", "write 3650d at most"),
            ("99999999999999999999s", "write 3650d at most"),
        ] {
            assert_eq!(duration(text).unwrap_err().advice, advice, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1B", 1), ("64MiB", 64 << 20), ("64MB", 64_000_000), ("1KiB", 1024), ("1KB", 1000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, advice) in [
            ("64", "write 64B for bytes (B, KB, KiB, MB, MiB, GB, GiB)"),
            ("64m", "write 64MiB (1024 KiB each) or 64MB (1000 KB)"),
            ("64 kib", "write 64KiB"),
            ("lots", "write 64MiB (B, KB, KiB, MB, MiB, GB, GiB)"),
            ("1.5MiB", "write 64MiB (B, KB, KiB, MB, MiB, GB, GiB)"),
            ("9999999GiB", ""),
        ] {
            assert_eq!(size(text).unwrap_err().advice, advice, "{text}");
        }
    }

    #[test]
    fn counts_and_switches() {
        assert_eq!(count("100"), Ok(100));
        for text in ["", "-1", "+1", "1.5", "1e3", "10k", "0x10", "99999999999"] {
            assert!(count(text).is_err(), "{text}");
        }
        assert_eq!(switch("true"), Ok(true));
        assert!(switch("yes").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(millis in 0u64..3650 * 86_400_000, bytes in 0u64..MAX_SIZE) {
            let length = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(length)), Ok(length));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn never_panics(text in "\\PC{0,30}") {
            let _ = (duration(&text), size(&text), count(&text), switch(&text));
        }
    }
}
