//! What came from outside (a path, the text of an error) must neither end its line nor steer the terminal that
//! shows it.

use std::{
    fmt::{self, Write},
    io,
};

use tracing::Metadata;
use tracing_subscriber::fmt::{MakeWriter, format::Writer};

/// Whether a terminal may do something for it other than show it: controls, and what turns the direction of text.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for people, in which such characters are written as escapes.
pub(super) struct Escaping<'w, 'l> {
    pub(super) writer: &'w mut Writer<'l>,
    pub(super) several_lines: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let harmless = |c: char| !steers(c) || (self.several_lines && c == '\n');
        if text.chars().all(harmless) {
            return self.writer.write_str(text);
        }
        text.chars().try_for_each(|c| match harmless(c) {
            true => self.writer.write_char(c),
            false => write!(self.writer, "{}", c.escape_default()),
        })
    }
}

/// Where objects of JSON are written, a line each: what steers is in their strings alone, and JSON itself escapes
/// what of it is ASCII.
pub(super) struct Objects<W>(pub(super) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Objects<W> {
    type Writer = Lines<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Lines(self.0.make_writer())
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Self::Writer {
        Lines(self.0.make_writer_for(metadata))
    }
}

pub(super) struct Lines<W>(W);

impl<W: io::Write> io::Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nearly every line; this is looked at for each request that is logged.
        if line.is_ascii() && !line.contains(&0x7f) {
            return self.0.write(line);
        }
        let is_left = |c: char| steers(c) && c != '\n';
        match std::str::from_utf8(line) {
            Ok(text) if text.contains(is_left) => {
                let escaped = |c: char| match is_left(c) {
                    true => format!("\\u{:04x}", u32::from(c)),
                    false => c.to_string(),
                };
                self.0.write_all(text.chars().map(escaped).collect::<String>().as_bytes())?;
                Ok(line.len())
            }
            _ => self.0.write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
