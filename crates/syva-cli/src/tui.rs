//! The dashboard in the terminal: curves, progress, settings and log of a training, for `train --tui` and `top`.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Key, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Axis, Block, Chart, Clear, Dataset, Gauge, GraphType, LegendPosition, Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};
use syva::run::{RunConfig, is_locked, read_config, read_metrics};
use syva::text::number;
use syva::{Epoch, Error, Overfitting, Result, Stop};

use crate::Code;
use crate::hyperparameters::{self, Setting};
use crate::{output, signals};

/// Blue and orange from the common 256 colours. Everyone can tell them apart, on dark and on light backgrounds.
const TRAIN: Color = Color::Indexed(32);
const VAL: Color = Color::Indexed(166);

/// The state of a dashboard.
pub struct Dashboard {
    title: String,
    settings: Vec<Setting>,
    epochs: Vec<Epoch>,
    total: u64,
    stop: Stop,
    /// The share of the current epoch that is done.
    share: f64,
    /// The speed, if it is known.
    steps_per_second: Option<f64>,
    log: Vec<String>,
    /// What q does.
    leaving: &'static str,
    /// Whether the help on keys is shown.
    keys: bool,
    /// Whether no process is training the run now.
    stopped: bool,
}

impl Dashboard {
    /// For a run that goes on after `epochs`. `leaving` says what q does.
    pub fn new(name: &str, config: &RunConfig, epochs: Vec<Epoch>, leaving: &'static str) -> Self {
        const SHOWN: [&str; 8] =
            ["data", "network", "activation", "parameters", "batch_size", "learning_rate", "seed", "device"];
        let settings =
            hyperparameters::of(config).into_iter().filter(|setting| SHOWN.contains(&setting.name)).collect();
        Self {
            title: output::shown(name),
            settings,
            epochs,
            total: config.training.epochs,
            stop: config.training.stop,
            share: 0.0,
            steps_per_second: None,
            log: Vec::new(),
            leaving,
            keys: false,
            stopped: false,
        }
    }

    /// Adds an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) {
        self.epochs.push(epoch.clone());
        self.share = 0.0;
    }

    /// Sets the share of the current epoch that is done.
    pub fn progress(&mut self, share: f64) {
        // The last step of an epoch is reported before the epoch.
        self.share = share;
    }

    /// Sets the speed.
    pub fn pace(&mut self, steps_per_second: f64) {
        self.steps_per_second = Some(steps_per_second);
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        // In order of importance: the head (what is trained, how far it is, how to leave), the curves, everything else.
        let foot = if area.height < 20 { 0 } else { 10 };
        let parts = [Constraint::Length(area.height.min(3)), Constraint::Min(0), Constraint::Length(foot)];
        let [head, middle, foot] = Layout::vertical(parts).areas(area);
        self.draw_progress(frame, head);
        if middle.height >= 5 {
            let has_acc = self.epochs.iter().any(|epoch| epoch.val_acc.is_some());
            let shares = if has_acc { vec![Constraint::Percentage(50); 2] } else { vec![Constraint::Percentage(100)] };
            let charts = Layout::horizontal(shares).split(middle);
            self.draw_curves(frame, charts[0], "loss", |epoch| (Some(epoch.train_loss), Some(epoch.val_loss)));
            if has_acc {
                self.draw_curves(frame, charts[1], "accuracy", |epoch| (epoch.train_acc, epoch.val_acc));
            }
        }
        if foot.height > 0 {
            let log = self.draw_settings(frame, foot);
            self.draw_log(frame, log);
        }
        if self.keys {
            self.draw_keys(frame, area);
        }
    }

    /// Draws the settings beside the log, or above it if there is no room for both. Returns the area that is left for
    /// the log.
    fn draw_settings(&self, frame: &mut Frame<'_>, area: Rect) -> Rect {
        let block = Block::bordered().title("settings");
        if area.width >= LOG_WIDTH + SETTINGS_WIDTH {
            let columns = [Constraint::Length((area.width - LOG_WIDTH).min(40)), Constraint::Min(0)];
            let [left, right] = Layout::horizontal(columns).areas(area);
            let row = |setting: &Setting| {
                Line::from(vec![format!("{:<14}", setting.label()).dim(), Span::raw(setting.text())])
            };
            let rows: Vec<Line<'_>> = self.settings.iter().map(row).collect();
            frame.render_widget(Paragraph::new(rows).wrap(Wrap { trim: false }).block(block), left);
            return right;
        }
        let one = |setting: &Setting| match setting.name {
            "data" | "network" | "activation" | "device" => setting.text(),
            "parameters" => format!("{} parameters", setting.text()),
            _ => format!("{} {}", setting.label(), setting.text()),
        };
        let text = self.settings.iter().map(one).collect::<Vec<_>>().join(", ");
        let lines = text.chars().count().div_ceil(usize::from(area.width.saturating_sub(8)).max(1)).min(4);
        let [above, below] = Layout::vertical([Constraint::Length(lines as u16 + 2), Constraint::Min(0)]).areas(area);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(block), above);
        below
    }

    /// Draws the help on keys over everything else.
    fn draw_keys(&self, frame: &mut Frame<'_>, area: Rect) {
        let leaving = self.leaving;
        let mut lines = vec![format!(" q, Esc, Ctrl-C  {leaving}"), " ?, h            these keys".into()];
        if leaving != LEAVES {
            lines.push(" `syva resume` continues a stopped run".into());
        }
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u16 + 3;
        let (width, height) = (width.min(area.width), (lines.len() as u16 + 2).min(area.height));
        let place = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
        frame.render_widget(Clear, place);
        let text = Text::from(lines.into_iter().map(Line::from).collect::<Vec<_>>());
        frame.render_widget(Paragraph::new(text).block(Block::bordered().title("keys")), place);
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let done = self.epochs.last().map_or(0, |epoch| epoch.epoch);
        let ratio = ((done as f64 + self.share) / self.total.max(1) as f64).clamp(0.0, 1.0);
        let label = self.label(done);
        if area.height < 3 {
            // There is no room for a frame.
            let room = area.width.saturating_sub(3 + self.leaving.len() as u16);
            let text = format!("{}  q {}", fitting(&label, room), self.leaving);
            frame.render_widget(Paragraph::new(text), area);
            return;
        }
        let room = usize::from(area.width.saturating_sub(2));
        let hints = [format!(" q {}, ? keys ", self.leaving), format!(" q {} ", self.leaving), " q ".into()];
        let width = |text: &str| Line::from(text).width();
        let hint = hints[..2].iter().find(|hint| width(hint) + width(&self.title) + 3 <= room);
        // If there is no room for everything, show only how to leave.
        let hint = hint.or(hints.iter().skip(1).find(|hint| width(hint) + 6 <= room)).unwrap_or(&hints[2]);
        let left = room.saturating_sub(width(hint) + 3);
        let title = if width(&self.title) <= left { self.title.clone() } else { end_of(&self.title, left) };
        let title = Line::from(vec![" ".into(), title.bold(), " ".into()]);
        let block = Block::bordered().title(title).title_top(Line::from(hint.as_str()).right_aligned());
        let label = fitting(&label, area.width.saturating_sub(2)).to_string();
        let gauge = Gauge::default().block(block).gauge_style(Style::new().fg(TRAIN)).ratio(ratio).label(label);
        frame.render_widget(gauge, area);
    }

    /// The progress in words, from the longest text to the shortest.
    fn label(&self, done: u64) -> [String; 4] {
        let epoch = format!("epoch {done} of {}", self.total);
        let (mut each, mut left) = (String::new(), String::new());
        // The last epochs are the best estimate of the next one.
        let recent = &self.epochs[self.epochs.len().saturating_sub(5)..];
        let seconds: f64 = recent.iter().map(|epoch| epoch.train_seconds + epoch.eval_seconds).sum();
        if !recent.is_empty() && done < self.total && !self.stopped {
            let mean = seconds / recent.len() as f64;
            each = format!(", {mean:.3} s each");
            left = format!(", {} left", output::clock(mean * ((self.total - done) as f64 - self.share)));
        }
        let pace = self.steps_per_second.map_or(String::new(), |steps| format!(", {steps:.0} steps/s"));
        [format!("{epoch}{each}{left}{pace}"), format!("{epoch}{left}"), epoch, format!("{done}/{}", self.total)]
    }

    fn draw_curves(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        name: &str,
        values: impl Fn(&Epoch) -> (Option<f64>, Option<f64>),
    ) {
        let points = |pick: &dyn Fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
            self.epochs.iter().filter_map(|epoch| Some((epoch.epoch as f64, pick(epoch)?))).collect()
        };
        let (train, val) = (points(&|epoch| values(epoch).0), points(&|epoch| values(epoch).1));
        let all = || train.iter().chain(&val).map(|point| point.1);
        let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
        let last = self.epochs.last().map_or(1.0, |epoch| epoch.epoch as f64).max(2.0);
        let line = |name, color, data| {
            let style = Style::new().fg(color);
            Dataset::default().name(name).marker(Marker::Braille).graph_type(GraphType::Line).style(style).data(data)
        };
        let end = |points: &[(f64, f64)]| points.last().map_or(String::new(), |point| number(point.1));
        let title = |train: &str, val: &str| {
            Line::from(vec![
                format!(" {name}: ").into(),
                format!("train{train}").fg(TRAIN),
                ", ".into(),
                format!("val{val} ").fg(VAL),
            ])
        };
        // Numbers are left out rather than cut off: a number without its end is a wrong number.
        let whole = title(&format!(" {}", end(&train)), &format!(" {}", end(&val)));
        let title = if whole.width() + 2 <= usize::from(area.width) { whole } else { title("", "") };
        let chart = Chart::new(vec![line("train", TRAIN, &train[..]), line("val", VAL, &val[..])])
            .block(Block::bordered().title(title))
            .legend_position(Some(LegendPosition::Right))
            .hidden_legend_constraints((Constraint::Percentage(50), Constraint::Percentage(60)))
            .x_axis(Axis::default().bounds([1.0, last]).labels(["1".to_string(), format!("{last}")]))
            .y_axis(Axis::default().bounds([low, high]).labels([low, high].map(axis)));
        frame.render_widget(chart, area);
    }

    fn draw_log(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut lines: Vec<Line<'_>> = Vec::new();
        if let Some(found) = Overfitting::of(&self.epochs).filter(|found| found.epochs_since > 0) {
            let text = format!("val loss was lowest at epoch {} ({})", found.best_epoch, number(found.best_val_loss));
            lines.push(Line::from(text).fg(VAL));
        }
        lines.extend(self.log.iter().rev().take(2).rev().map(|line| Line::from(line.as_str()).bold()));
        let room = usize::from(area.height).saturating_sub(3 + lines.len());
        let recent = &self.epochs[self.epochs.len().saturating_sub(room)..];
        // Numbers are left out rather than cut off: a number without its end is a wrong number.
        let whole = area.width >= LOG_WIDTH;
        let heading =
            if whole { "epoch   train loss     acc     val loss     acc" } else { "epoch   val loss       acc" };
        let percent = |acc: Option<f64>| acc.map_or("-".into(), |acc| format!("{:.2} %", 100.0 * acc));
        let row = |epoch: &Epoch| {
            let (train, val) = (percent(epoch.train_acc), percent(epoch.val_acc));
            let [train_loss, val_loss] = [epoch.train_loss, epoch.val_loss].map(number);
            if whole {
                format!("{:>5} {train_loss:>12} {train:>9} {val_loss:>10} {val:>9}", epoch.epoch)
            } else {
                format!("{:>5} {val_loss:>10} {val:>9}", epoch.epoch)
            }
        };
        let epochs = recent.iter().map(|epoch| Line::from(row(epoch)));
        let text = Text::from([Line::from(heading).dim()].into_iter().chain(epochs).chain(lines).collect::<Vec<_>>());
        frame.render_widget(Paragraph::new(text).block(Block::bordered().title("log")), area);
    }
}

/// The width of a line of the log, with its frame.
const LOG_WIDTH: u16 = 52;
/// The width of a line of the settings, with its frame.
const SETTINGS_WIDTH: u16 = 34;
/// What q does if another process trains.
const LEAVES: &str = "leaves";

/// A number for an axis.
fn axis(value: f64) -> String {
    if value.abs() < 1000.0 { format!("{value:.3}") } else { number(value) }
}

/// The first text that fits.
fn fitting(texts: &[String; 4], width: u16) -> &str {
    texts.iter().find(|text| Line::from(text.as_str()).width() <= usize::from(width)).map_or("", |text| text)
}

/// As much of the end of a name as fits, because the end of a path tells most.
fn end_of(name: &str, width: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    let fits = |end: &str| Line::from(end).width() < width;
    (1..letters.len())
        .map(|begin| letters[begin..].iter().collect::<String>())
        .find(|end| fits(end))
        .map_or(String::new(), |end| format!("…{end}"))
}

/// The whole terminal. It is given back on drop and on a panic.
pub struct Screen {
    terminal: DefaultTerminal,
    drawn: Instant,
    /// The terminal, for checking whether it is still there.
    #[cfg(unix)]
    tty: Option<std::os::fd::OwnedFd>,
    /// Whether the terminal is gone.
    lost: bool,
}

/// Whether a dashboard has the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back if a dashboard has it. For code that ends the process at once.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // If the terminal is gone, there is nothing to give back.
        let _ = ratatui::try_restore();
    }
}

/// Whether a terminal of this size has more characters than any screen.
fn is_absurd(width: u16, height: u16) -> bool {
    u32::from(width) * u32::from(height) > 1 << 24
}

impl Screen {
    /// Checks that there is a terminal to take over. `name` is the setting or command for the error message.
    pub fn check(name: &str) -> Result<()> {
        let remedy = match name {
            "tui" => "leave it out, or run it in a terminal",
            _ => "run it in a terminal",
        };
        if !stdout().is_terminal() {
            return Err(Error::setting(name, "standard output is not a terminal", remedy));
        }
        if cfg!(unix) && std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            return Err(Error::setting(name, "this terminal can only print lines (according to TERM)", remedy));
        }
        Ok(())
    }

    /// Takes over the terminal. Lines for standard error are held back until it is given back.
    pub fn open() -> Result<Self> {
        if let Some((width, height)) = console::Term::stdout().size_checked().map(|(rows, columns)| (columns, rows))
            && is_absurd(width, height)
        {
            let problem = format!("the terminal claims to have {width} x {height} characters");
            return Err(Error::setting("the terminal", problem, "set its size, with `stty rows 24 cols 80`, say"));
        }
        // This installs a panic hook that gives the terminal back first.
        let terminal = ratatui::try_init().map_err(Error::io("use", "the terminal"))?;
        TAKEN.store(true, Ordering::SeqCst);
        output::hold_notes();
        Ok(Self {
            terminal,
            drawn: Instant::now().checked_sub(FRAME).unwrap_or_else(Instant::now),
            #[cfg(unix)]
            tty: controlling_terminal(),
            lost: false,
        })
    }

    /// Draws the dashboard, unless that was done a moment ago. Returns whether the user wants to leave.
    pub fn show(&mut self, dashboard: &mut Dashboard) -> bool {
        if self.drawn.elapsed() >= FRAME && !self.lost {
            self.drawn = Instant::now();
            dashboard.log = output::held_notes();
            // A terminal that is gone, or resized to a size that no memory has room for, must not stop a training.
            if self.terminal.size().is_ok_and(|size| is_absurd(size.width, size.height)) {
                return self.asked_to_leave(dashboard, Duration::ZERO);
            }
            let _ = self.terminal.draw(|frame| dashboard.draw(frame));
        }
        self.asked_to_leave(dashboard, Duration::ZERO)
    }

    /// Waits for a key, at most this long. Crossterm reads forever if the terminal is gone, so the terminal is checked
    /// first.
    fn wait(&mut self, wait: Duration) -> bool {
        #[cfg(unix)]
        if let Some(tty) = &self.tty {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            use std::os::fd::AsFd;
            let mut asked = [PollFd::new(tty.as_fd(), PollFlags::POLLIN)];
            // If a signal interrupts the wait (a change of size, for example), there may be an event nevertheless.
            let _ = poll(&mut asked, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            self.lost |= asked[0].revents().is_some_and(|found| found.intersects(gone));
            return !self.lost && event::poll(Duration::ZERO).unwrap_or(false);
        }
        event::poll(wait).unwrap_or(false)
    }

    /// Handles the keys. Returns whether the user wants to leave.
    fn asked_to_leave(&mut self, dashboard: &mut Dashboard, wait: Duration) -> bool {
        let mut wait = wait;
        while !self.lost && self.wait(wait) {
            wait = Duration::ZERO;
            match event::read() {
                Ok(Key::Key(key)) if key.kind == KeyEventKind::Press => {
                    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Esc if dashboard.keys => dashboard.keys = false,
                        KeyCode::Char('q') | KeyCode::Esc => return true,
                        _ if control_c => return true,
                        KeyCode::Char('?' | 'h') => dashboard.keys = !dashboard.keys,
                        _ => dashboard.keys = false,
                    }
                    self.drawn -= FRAME;
                }
                Ok(Key::Resize(..)) => self.drawn -= FRAME,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// The terminal that keys come from: the process's own, or the one that it was given as standard input.
#[cfg(unix)]
fn controlling_terminal() -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;
    let own = std::fs::File::open("/dev/tty").map(Into::into);
    own.or_else(|_| std::io::stdin().as_fd().try_clone_to_owned()).ok()
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        output::release_notes();
    }
}

/// The minimum time between two frames.
const FRAME: Duration = Duration::from_millis(100);

/// `syva top`: follows a run that another process trains.
pub fn top(run: &Path) -> Result<Code> {
    Screen::check("top")?;
    signals::listen();
    if !run.exists() {
        output::note(format_args!("syva: waiting for {} to begin (Ctrl-C stops waiting)", run.display()));
    }
    let Some(config) = begun(run)? else { return Ok(signals::exit_code()) };
    let name = run.display().to_string();
    let mut dashboard = Dashboard::new(&name, &config, read_metrics(run)?, LEAVES);
    let mut screen = Screen::open()?;
    loop {
        // A run that is resumed with more epochs has the new number in its configuration.
        if let Ok(config) = read_config(run) {
            (dashboard.total, dashboard.stop) = (config.training.epochs, config.training.stop);
        }
        // Checked first, so that everything that was written before the lock was released is read below.
        dashboard.stopped = !is_locked(run);
        dashboard.epochs = read_metrics(run)?;
        let finished = dashboard.epochs.last().is_some_and(|epoch| epoch.epoch >= dashboard.total)
            || dashboard.stop.ends(&dashboard.epochs);
        dashboard.title = match dashboard.stopped {
            true if finished => format!("{name}: done"),
            true => format!("{name}: stopped; continue with `syva resume {name}`"),
            false => name.clone(),
        };
        let leave = screen.show(&mut dashboard) || screen.asked_to_leave(&mut dashboard, Duration::from_millis(300));
        if signals::received() {
            return Ok(signals::exit_code());
        }
        if leave || screen.lost {
            return Ok(0);
        }
    }
}

/// The configuration of a run, as soon as there is one. `None` if the user stops waiting.
fn begun(run: &Path) -> Result<Option<RunConfig>> {
    const LOOK: Duration = Duration::from_millis(200);
    while !run.exists() {
        if signals::received() {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
    // A new folder gets its configuration within a moment.
    for _ in 0..10 {
        if run.join("config.toml").is_file() || !is_locked(run) {
            break;
        }
        std::thread::sleep(LOOK);
    }
    read_config(run).map(Some)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use syva::Training;
    use syva::prelude::*;
    use syva::run::DataConfig;

    use super::*;

    fn dashboard(epochs: u64) -> Dashboard {
        let epoch = |epoch: u64| Epoch {
            epoch,
            train_loss: 2.0 / epoch as f64,
            train_acc: Some(1.0 - 1.0 / epoch as f64),
            val_loss: 2.1 / epoch.min(30) as f64 + 0.001 * epoch as f64,
            val_acc: Some(0.9 - 0.8 / epoch as f64),
            train_balanced_acc: None,
            val_balanced_acc: None,
            learning_rate: 0.01,
            train_seconds: 0.2,
            eval_seconds: 0.05,
        };
        let config = RunConfig {
            contract: 2,
            syva: "0".into(),
            device: "cpu".into(),
            exact: false,
            precision: syva::Precision::F32,
            keep: syva::run::Keep::Last,
            init_from: None,
            training: Training::default(),
            data: DataConfig {
                source: "mnist".into(),
                dir: None,
                validation: "test".parse().unwrap(),
                table: None,
                images: None,
                digest: String::new(),
            },
            network: Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10),
        };
        Dashboard::new("runs/mnist-001", &config, (1..=epochs).map(epoch).collect(), "stops and saves")
    }

    #[test]
    fn only_absurd_terminals_are_refused() {
        assert!(!is_absurd(2000, 2000) && !is_absurd(80, 65_535));
        assert!(is_absurd(65_535, 65_535));
    }

    fn drawn(dashboard: &Dashboard, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| dashboard.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_it() {
        let mut dashboard = dashboard(40);
        dashboard.progress(0.5);
        dashboard.pace(2500.0);
        let text = drawn(&dashboard, 120, 36);
        for part in [
            "runs/mnist-001",
            "epoch 40 of 100, 0.250 s each, 15 s left, 2500 steps/s",
            "784-256-128-10",
            "q stops and saves",
            "train 0.0500",
            "val loss was lowest at epoch 30",
            "   40       0.0500   97.50 %     0.1100   88.00 %",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn a_run_that_nobody_trains_has_no_time_left() {
        let mut dashboard = dashboard(40);
        dashboard.stopped = true;
        let text = drawn(&dashboard, 120, 36);
        assert!(text.contains("epoch 40 of 100") && !text.contains(" left"), "{text}");
    }

    #[test]
    fn small_terminals_cut_no_number_short() {
        let dashboard = dashboard(40);
        let text = drawn(&dashboard, 80, 24);
        for part in ["loss: train 0.0500, val 0.1100", "0.1100   88.00 %", "epoch   train loss"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        let text = drawn(&dashboard, 40, 12);
        assert!(text.contains("loss: train, val") && !text.contains("train 0"), "{text}");
    }

    /// What is trained, how far it is and how to leave are shown as long as they fit at all, and so are the values of
    /// the settings.
    #[test]
    fn the_smallest_terminals_show_how_far_it_is_and_how_to_leave() {
        let dashboard = dashboard(40);
        for (width, height) in [(30, 8), (30, 3), (40, 2), (34, 1), (20, 5), (60, 20), (100, 30)] {
            let text = drawn(&dashboard, width, height);
            for part in ["40", "100", " q "] {
                assert!(text.contains(part), "{width} x {height}: {part} is missing:\n{text}");
            }
        }
        let text = drawn(&dashboard, 30, 8);
        assert!(
            text.contains("epoch 40 of 100") && text.contains("001 ") && text.contains("q stops and saves"),
            "{text}"
        );
        for (width, height) in [(60, 20), (80, 24), (90, 24), (120, 30)] {
            let text = drawn(&dashboard, width, height);
            for value in ["mnist", "784-256-128-10", "sigmoid", "235,146", "128", "0.01", "cpu"] {
                assert!(text.contains(value), "{width} x {height}: {value} is missing:\n{text}");
            }
        }
        let text = drawn(&dashboard, 44, 24);
        assert!(text.contains("   40     0.1100   88.00 %"), "{text}");
    }

    #[test]
    fn the_keys_can_be_asked_for() {
        let mut dashboard = dashboard(3);
        assert!(!drawn(&dashboard, 80, 24).contains("Ctrl-C"));
        dashboard.keys = true;
        let text = drawn(&dashboard, 80, 24);
        assert!(text.contains("q, Esc, Ctrl-C  stops and saves") && text.contains("syva resume"), "{text}");
        drawn(&dashboard, 5, 2);
    }

    #[test]
    fn names_steer_no_terminal() {
        let mut dashboard = dashboard(3);
        dashboard.title = output::shown("z\u{1b}]0;pwned\u{7}");
        assert!(drawn(&dashboard, 80, 24).contains("z\u{fffd}]0;pwned\u{fffd}"));
    }

    #[test]
    fn any_size_and_any_number_of_epochs_can_be_drawn() {
        for epochs in [0, 1, 2, 1000] {
            for (width, height) in [(1, 1), (10, 3), (40, 12), (200, 60)] {
                drawn(&dashboard(epochs), width, height);
            }
        }
    }

    #[test]
    fn time_left_is_said_in_the_largest_unit_that_fits() {
        assert_eq!([3.2, 62.0, 3723.0].map(output::clock), ["3 s", "1:02", "1:02:03"]);
    }
}
