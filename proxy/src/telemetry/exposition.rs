//! In which text format the metrics are sent: in that of OpenMetrics to whoever asks for it, else in the older one of
//! Prometheus, which every program that reads metrics knows.

use http::{HeaderMap, header::ACCEPT};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// That of Prometheus.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Exposition {
    /// The one that a client prefers by its `Accept` (RFC 9110 §12.5.1). OpenMetrics is for those alone that name it;
    /// who takes neither gets what is read everywhere.
    #[must_use]
    pub fn preferred(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let (mut text, mut open) = (0.0, 0.0);
        for (range, weight) in lines.flat_map(|line| line.split(',')).map(weighed) {
            let heavier = match range.to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open,
                "text/plain" => &mut text,
                _ => continue,
            };
            *heavier = weight.max(*heavier);
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A page of OpenMetrics in this format. In that of Prometheus, a counter is described under the whole name that
    /// its samples have, and nothing marks the end.
    #[must_use]
    pub fn format(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => text(&page),
        }
    }
}

/// A media range and its weight; one whose weight is malformed has none.
fn weighed(member: &str) -> (&str, f32) {
    let mut parts = member.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let stated = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (range, stated.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

fn text(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + page.len() / 64);
    // The help of a family comes before its type.
    let mut help = "";
    for line in page.lines() {
        if line.starts_with("# HELP ") {
            help = line;
            continue;
        }
        match line.strip_prefix("# TYPE ").map(|family| family.strip_suffix(" counter").ok_or(family)) {
            Some(Ok(name)) => {
                let said =
                    help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name)).unwrap_or_default();
                text.extend(["# HELP ", name, "_total", said, "\n# TYPE ", name, "_total counter\n"]);
            }
            Some(Err(_)) => text.extend([help, "\n", line, "\n"]),
            None if line.starts_with("# ") => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_12_5_1_openmetrics_is_for_who_prefers_it() {
        use Exposition::{OpenMetrics, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (&[][..], Text),
            (&["*/*"], Text),
            (&["text/html, application/xml;q=0.9, */*;q=0.8"], Text),
            (&[prometheus], OpenMetrics),
            (&["Application/OpenMetrics-Text"], OpenMetrics),
            (&["application/openmetrics-text; q=0.3, text/plain; q=0.5"], Text),
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;q=x"], Text),
            (&["text/plain;q=0.5", "application/openmetrics-text;q=0.6"], OpenMetrics),
        ] {
            let lines = accept.iter().map(|line| (ACCEPT, line.parse().unwrap()));
            assert_eq!(Exposition::preferred(&lines.collect()), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_counter_is_described_under_the_name_of_its_samples() {
        let page = "# HELP a_lines Lines.\n# TYPE a_lines counter\na_lines_total{x=\"# TYPE b counter\"} 1\n\
                    # HELP a_bytes Bytes counter\n# TYPE a_bytes gauge\na_bytes 2\n# EOF\n";
        let text = "# HELP a_lines_total Lines.\n# TYPE a_lines_total counter\na_lines_total{x=\"# TYPE b counter\"} 1\n\
                    # HELP a_bytes Bytes counter\n# TYPE a_bytes gauge\na_bytes 2\n";
        assert_eq!(Exposition::Text.format(page.to_owned()), text);
        assert_eq!(Exposition::OpenMetrics.format(page.to_owned()), page);
    }
}
