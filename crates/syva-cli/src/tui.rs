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
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, LegendPosition, Paragraph};
use ratatui::{DefaultTerminal, Frame};
use syva::run::{RunConfig, is_locked, read_config, read_metrics};
use syva::{Epoch, Error, Overfitting, Result};

use crate::{output, train};

/// Blue and orange of the common 256 colours, told apart by everyone on dark and on light ground.
const TRAIN: Color = Color::Indexed(32);
const VAL: Color = Color::Indexed(166);

/// What there is to be seen of a training.
pub struct Dashboard {
    title: String,
    settings: Vec<(String, String)>,
    epochs: Vec<Epoch>,
    total: u64,
    /// Share of the epoch at hand.
    share: f64,
    /// Where it is known.
    steps_per_second: Option<f64>,
    log: Vec<String>,
    hint: &'static str,
    /// Whether nobody trains it at this moment.
    stopped: bool,
}

impl Dashboard {
    /// Of a run that goes on after `epochs`.
    pub fn new(name: &str, config: &RunConfig, epochs: Vec<Epoch>, hint: &'static str) -> Self {
        let (training, network) = (config.training, &config.network);
        let settings = [
            ("data", config.data.source.clone()),
            ("network", network.widths()),
            ("activation", network.layers[0].activation.to_string()),
            ("parameters", network.parameters().to_string()),
            ("batch size", training.batch_size.to_string()),
            ("learning rate", format!("{:?}", training.learning_rate)),
            ("seed", training.seed.to_string()),
            ("device", config.device.clone()),
        ];
        let settings = settings.map(|(name, value)| (name.to_string(), value)).into();
        let log = Vec::new();
        Self {
            title: name.into(),
            settings,
            epochs,
            total: training.epochs,
            share: 0.0,
            steps_per_second: None,
            log,
            hint,
            stopped: false,
        }
    }

    /// Adds an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) {
        self.epochs.push(epoch.clone());
        self.share = 0.0;
    }

    /// Says how far the epoch at hand is.
    pub fn progress(&mut self, share: f64) {
        // The last step of an epoch is told of before the epoch.
        self.share = share;
    }

    /// Says how fast it goes.
    pub fn pace(&mut self, steps_per_second: f64) {
        self.steps_per_second = Some(steps_per_second);
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        // A small terminal has room for the curves alone.
        let foot = if frame.area().height < 20 { 0 } else { 10 };
        let [head, middle, foot] =
            Layout::vertical([Constraint::Length(3), Constraint::Min(8), Constraint::Length(foot)]).areas(frame.area());
        self.draw_progress(frame, head);
        let has_acc = self.epochs.iter().any(|epoch| epoch.val_acc.is_some());
        let shares = if has_acc { vec![Constraint::Percentage(50); 2] } else { vec![Constraint::Percentage(100)] };
        let charts = Layout::horizontal(shares).split(middle);
        self.draw_curves(frame, charts[0], "loss", |epoch| (Some(epoch.train_loss), Some(epoch.val_loss)));
        if has_acc {
            self.draw_curves(frame, charts[1], "accuracy", |epoch| (epoch.train_acc, epoch.val_acc));
        }
        // The log first: settings do not change.
        let settings = foot.width.saturating_sub(LOG_WIDTH).min(40);
        let [left, right] = Layout::horizontal([Constraint::Length(settings), Constraint::Min(20)]).areas(foot);
        let row =
            |(name, value): &(String, String)| Line::from(vec![format!("{name:<14}").dim(), Span::raw(value.clone())]);
        let settings: Vec<Line<'_>> = self.settings.iter().map(row).collect();
        frame.render_widget(Paragraph::new(settings).block(Block::bordered().title("settings")), left);
        self.draw_log(frame, right);
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let done = self.epochs.last().map_or(0, |epoch| epoch.epoch);
        let ratio = ((done as f64 + self.share) / self.total.max(1) as f64).clamp(0.0, 1.0);
        let mut label = format!("epoch {done} of {}", self.total);
        // The last epochs tell best what the next will take.
        let recent = &self.epochs[self.epochs.len().saturating_sub(5)..];
        let seconds: f64 = recent.iter().map(|epoch| epoch.train_seconds + epoch.eval_seconds).sum();
        if !recent.is_empty() && done < self.total && !self.stopped {
            let each = seconds / recent.len() as f64;
            label += &format!(", {each:.3} s each, {} left", clock(each * ((self.total - done) as f64 - self.share)));
        }
        if let Some(steps) = self.steps_per_second {
            label += &format!(", {steps:.0} steps/s");
        }
        let title = Line::from(vec![" ".into(), self.title.clone().bold(), " ".into()]);
        let block = Block::bordered().title(title).title_top(Line::from(self.hint).right_aligned());
        let gauge = Gauge::default().block(block).gauge_style(Style::new().fg(TRAIN)).ratio(ratio).label(label);
        frame.render_widget(gauge, area);
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
        let end = |points: &[(f64, f64)]| points.last().map_or(String::new(), |point| format!("{:.4}", point.1));
        let title = |train: &str, val: &str| {
            Line::from(vec![
                format!(" {name}: ").into(),
                format!("train{train}").fg(TRAIN),
                ", ".into(),
                format!("val{val} ").fg(VAL),
            ])
        };
        // A number that is cut short is another number.
        let whole = title(&format!(" {}", end(&train)), &format!(" {}", end(&val)));
        let title = if whole.width() + 2 <= usize::from(area.width) { whole } else { title("", "") };
        let chart = Chart::new(vec![line("train", TRAIN, &train[..]), line("val", VAL, &val[..])])
            .block(Block::bordered().title(title))
            .legend_position(Some(LegendPosition::Right))
            .hidden_legend_constraints((Constraint::Percentage(50), Constraint::Percentage(60)))
            .x_axis(Axis::default().bounds([1.0, last]).labels(["1".to_string(), format!("{last}")]))
            .y_axis(Axis::default().bounds([low, high]).labels([format!("{low:.3}"), format!("{high:.3}")]));
        frame.render_widget(chart, area);
    }

    fn draw_log(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut lines: Vec<Line<'_>> = Vec::new();
        if let Some(found) = Overfitting::of(&self.epochs).filter(|found| found.epochs_since > 0) {
            let text = format!("val loss was lowest at epoch {} ({:.4})", found.best_epoch, found.best_val_loss);
            lines.push(Line::from(text).fg(VAL));
        }
        lines.extend(self.log.iter().rev().take(2).rev().map(|line| Line::from(line.as_str()).bold()));
        let room = usize::from(area.height).saturating_sub(3 + lines.len());
        let recent = &self.epochs[self.epochs.len().saturating_sub(room)..];
        let heading = Line::from("epoch   train loss     acc     val loss     acc").dim();
        let percent = |acc: Option<f64>| acc.map_or("-".into(), |acc| format!("{:.2} %", 100.0 * acc));
        let row = |epoch: &Epoch| {
            let (train, val) = (percent(epoch.train_acc), percent(epoch.val_acc));
            format!("{:>5} {:>12.4} {train:>9} {:>10.4} {val:>9}", epoch.epoch, epoch.train_loss, epoch.val_loss)
        };
        let epochs = recent.iter().map(|epoch| Line::from(row(epoch)));
        let text = Text::from([heading].into_iter().chain(epochs).chain(lines).collect::<Vec<_>>());
        frame.render_widget(Paragraph::new(text).block(Block::bordered().title("log")), area);
    }
}

/// A line of the log, with its frame.
const LOG_WIDTH: u16 = 52;

/// `1:02:03`, `2:03` or `3 s`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// The whole terminal, given back when dropped or in a panic.
pub struct Screen {
    terminal: DefaultTerminal,
    drawn: Instant,
    /// The terminal, to ask whether it is still there.
    #[cfg(unix)]
    tty: Option<std::os::fd::OwnedFd>,
    /// Whether it went away.
    lost: bool,
}

/// Whether a dashboard has the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, where a dashboard has it: for who ends the process at once.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Of a terminal that went away nothing is left to give back.
        let _ = ratatui::try_restore();
    }
}

impl Screen {
    /// Whether there is a terminal to take over for what is called `name`.
    pub fn check(name: &str) -> Result<()> {
        let remedy = match name {
            "tui" => "leave it out, or run it in a terminal",
            _ => "run it in a terminal",
        };
        if !stdout().is_terminal() {
            return Err(Error::setting(name, "standard output is no terminal", remedy));
        }
        if cfg!(unix) && std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            return Err(Error::setting(name, "this terminal can only print lines (TERM says so)", remedy));
        }
        Ok(())
    }

    /// Takes the terminal over; what is written to standard error waits until it is given back.
    pub fn open() -> Result<Self> {
        // Installs a panic hook that gives the terminal back first.
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

    /// Draws the dashboard unless that was done just now; says whether the user wants to leave.
    pub fn show(&mut self, dashboard: &mut Dashboard) -> bool {
        if self.drawn.elapsed() >= FRAME && !self.lost {
            self.drawn = Instant::now();
            dashboard.log = output::held_notes();
            // A terminal that went away must not stop a training.
            let _ = self.terminal.draw(|frame| dashboard.draw(frame));
        }
        self.asked_to_leave(Duration::ZERO)
    }

    /// Waits for a key at most so long. Of a terminal that went away crossterm reads for ever, so it is asked for first.
    fn wait(&mut self, wait: Duration) -> bool {
        #[cfg(unix)]
        if let Some(tty) = &self.tty {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            use std::os::fd::AsFd;
            let mut asked = [PollFd::new(tty.as_fd(), PollFlags::POLLIN)];
            // Where a signal cuts it short (a new size, say), there may be an event all the same.
            let _ = poll(&mut asked, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            self.lost |= asked[0].revents().is_some_and(|found| found.intersects(gone));
            return !self.lost && event::poll(Duration::ZERO).unwrap_or(false);
        }
        event::poll(wait).unwrap_or(false)
    }

    fn asked_to_leave(&mut self, wait: Duration) -> bool {
        let mut wait = wait;
        while !self.lost && self.wait(wait) {
            wait = Duration::ZERO;
            match event::read() {
                Ok(Key::Key(key)) if key.kind == KeyEventKind::Press => {
                    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return true;
                    }
                }
                Ok(Key::Resize(..)) => self.drawn -= FRAME,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// The terminal that keys come from: the process's own, or what it was given as standard input.
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

/// The least time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// `syva top`: follows a run that another process trains.
pub fn top(run: &Path) -> Result<()> {
    Screen::check("top")?;
    train::catch_interrupts();
    if !run.exists() {
        output::note(format_args!("syva: waiting for {} to begin (Ctrl-C ends it)", run.display()));
    }
    let Some(config) = begun(run)? else { return Ok(()) };
    let name = run.display().to_string();
    let mut dashboard = Dashboard::new(&name, &config, read_metrics(run)?, " q leaves ");
    let mut screen = Screen::open()?;
    loop {
        // A run that is resumed with more epochs says so in its configuration.
        if let Ok(config) = read_config(run) {
            dashboard.total = config.training.epochs;
        }
        // Asked for first: what it wrote before it let go of its lock is then read.
        dashboard.stopped = !is_locked(run);
        dashboard.epochs = read_metrics(run)?;
        let finished = dashboard.epochs.last().is_some_and(|epoch| epoch.epoch >= dashboard.total);
        dashboard.title = match dashboard.stopped {
            true if finished => format!("{name}: done"),
            true => format!("{name}: stopped; go on with `syva resume {name}`"),
            false => name.clone(),
        };
        let leave = screen.show(&mut dashboard) || screen.asked_to_leave(Duration::from_millis(300));
        if leave || screen.lost || train::interrupted() {
            return Ok(());
        }
    }
}

/// The configuration of a run, once there is one; none where the user does not want to wait any longer.
fn begun(run: &Path) -> Result<Option<RunConfig>> {
    const LOOK: Duration = Duration::from_millis(200);
    while !run.exists() {
        if train::interrupted() {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
    // A folder that was made just now gets its configuration in a moment.
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
            syva: "0".into(),
            device: "cpu".into(),
            exact: false,
            precision: syva::Precision::F32,
            keep: syva::run::Keep::Last,
            training: Training::default(),
            data: DataConfig { source: "mnist".into(), dir: None, digest: String::new() },
            network: Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10),
        };
        Dashboard::new("runs/mnist-001", &config, (1..=epochs).map(epoch).collect(), " q stops and saves ")
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
        assert_eq!([3.2, 62.0, 3723.0].map(clock), ["3 s", "1:02", "1:02:03"]);
    }
}
