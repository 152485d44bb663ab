//! The terminal: a screen of our own while the page is shown, and the one key that ends it.

use std::{
    io::{self, IsTerminal, Read, Write},
    sync::Arc,
    thread,
};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::Notify;

use super::page::{Line, Size};

/// Where a terminal does not say.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// How much fits on the terminal; all, where there is none.
pub(super) fn size() -> Size {
    if !io::stdout().is_terminal() {
        return Size::ENDLESS;
    }
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => USUAL,
    }
}

/// The second screen of the terminal, without a cursor, on which keys are not shown. Dropped, all is as it was.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Begins it. Ctrl-C still is a signal.
    pub(super) fn open() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        let screen = Self { before };
        write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(screen)
    }

    /// Shows a page in the place of the one before, in one write, so that it does not flicker.
    pub(super) fn show(&mut self, page: &[Line]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (number, line) in page.iter().enumerate() {
            let (bold, plain) = if line.heading { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            // A line end behind the last one would scroll.
            let end = if number == 0 { "" } else { "\r\n" };
            text.extend([end, bold, &line.text, plain, "\x1b[K"]);
        }
        text.push_str("\x1b[J");
        write(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = write("\x1b[?25h\x1b[?1049l");
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The one key that counts.
pub(super) struct Keys(Arc<Notify>);

impl Keys {
    /// Listens until `q` is pressed, on a thread that ends with the process.
    pub(super) fn listen() -> Self {
        let quit = Arc::new(Notify::new());
        let told = Arc::clone(&quit);
        thread::spawn(move || {
            let mut keys = io::stdin().lock().bytes();
            if keys.any(|key| key.is_ok_and(|key| matches!(key, b'q' | b'Q'))) {
                told.notify_one();
            }
        });
        Self(quit)
    }

    /// Waits for `q`.
    pub(super) async fn quit(&self) {
        self.0.notified().await;
    }
}
