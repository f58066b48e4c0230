//! The terminal as a screen: taken over at the start, given back whatever happens.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    queue,
    style::Print,
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};
use tokio::sync::mpsc;

use super::{super::paint::Paint, frame::Screen};

/// Time between two looks whether the view is over; keys themselves wake the reader at once.
const KEY_PATIENCE: Duration = Duration::from_millis(100);

/// What somebody at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// To leave.
    Quit,
    /// To see it again: the window changed.
    Redraw,
}

/// The screen, as long as it is ours.
#[derive(Debug)]
pub(super) struct Terminal {
    inputs: mpsc::Receiver<Input>,
    over: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    paint: Paint,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It is none, or is closed.
    pub(super) fn open(paint: Paint) -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let over = Arc::new(AtomicBool::new(false));
        let (sender, inputs) = mpsc::channel(16);
        let seen = Arc::clone(&over);
        // From here on, dropping gives the terminal back.
        let terminal = Self {
            inputs,
            over,
            reader: Some(thread::spawn(move || read_keys(&seen, &sender))),
            paint,
        };
        let mut stdout = io::stdout();
        queue!(stdout, EnterAlternateScreen, Hide)?;
        stdout.flush()?;
        Ok(terminal)
    }

    /// Its size at the moment.
    ///
    /// # Errors
    /// It is closed.
    pub(super) fn screen(&self) -> io::Result<Screen> {
        let (width, height) = terminal::size()?;
        Ok(Screen {
            width: usize::from(width),
            height: usize::from(height),
            paint: self.paint,
        })
    }

    /// Shows lines, which fit the screen.
    ///
    /// # Errors
    /// It is closed.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        queue!(stdout, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines) {
            queue!(
                stdout,
                MoveTo(0, row),
                Print(line),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        queue!(
            stdout,
            Clear(ClearType::FromCursorDown),
            EndSynchronizedUpdate
        )?;
        stdout.flush()
    }

    /// What somebody wants next. Cancel-safe. A terminal that is gone wants to quit.
    pub(super) async fn input(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::Quit)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // It has nothing to say but that it ended.
            let _ = reader.join();
        }
        let mut stdout = io::stdout();
        // A terminal that is closed cannot be given back, and nobody would see it.
        let _ = queue!(stdout, Show, LeaveAlternateScreen);
        let _ = stdout.flush();
        let _ = terminal::disable_raw_mode();
    }
}

fn read_keys(over: &AtomicBool, sender: &mpsc::Sender<Input>) {
    while !over.load(Ordering::Relaxed) {
        let event = match event::poll(KEY_PATIENCE) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(_) => return,
        };
        let Ok(event) = event else { return };
        if let Some(input) = meaning(&event)
            && sender.try_send(input).is_err()
            && sender.is_closed()
        {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Input::Quit),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                Some(Input::Quit)
            }
            _ => None,
        },
        _ => None,
    }
}
