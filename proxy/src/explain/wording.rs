//! Times, sizes and dates, as people read them. Pure.

use std::time::Duration;

/// Two units at most: `4m 58s`, `12s`, `80ms`.
pub(super) fn time(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let seconds = time.as_secs();
    if seconds == 0 {
        return match time.subsec_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

/// `812 B`, `9.1 KiB`, `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(length, _)| bytes >= *length) {
        Some((length, unit)) => format!("{}.{} {unit}", bytes / length, bytes % length * 10 / length),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0s"),
            (80, "80ms"),
            (1500, "1s"),
            (298_000, "4m 58s"),
            (300_000, "5m"),
            (86_400_000 + 3_600_000 + 61_000, "1d 1h"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn sizes_have_one_decimal() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (9342, "9.1 KiB"), (1 << 20, "1.0 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
