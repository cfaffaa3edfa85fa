//! What the terminal shows of a training: a status line if there is a terminal, and one line per epoch, or per tenth
//! epoch if there are many; or JSON; or nothing; or the dashboard.

use std::time::{Duration, Instant};

use console::{Term, measure_text_width};
use syva::run::{Keep, RunConfig, RunFolder, read_metrics};
use syva::text::number;
use syva::trainer::Progress;
use syva::{Diagnosis, Epoch, Model, Overfitting, Result};

use crate::args::ReportArgs;
use crate::tui::{Dashboard, Screen};
use crate::{hyperparameters, output};

/// The most epochs that get one line each.
const MOST_LINES: u64 = 20;

/// Without a terminal, the time after which a line says that a slow device is at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The minimum time between two status lines, and the time over which their pace is measured.
const STATUS_EVERY: Duration = Duration::from_millis(100);
const PACE_OVER: Duration = Duration::from_millis(500);

/// Reports on a training in the form that the flags ask for.
pub struct Report {
    args: ReportArgs,
    epochs: u64,
    first_epoch: u64,
    begin: Instant,
    last: Option<Epoch>,
    dashboard: Option<(Screen, Dashboard)>,
    /// When the last status line was drawn. `None` if there is no terminal for one.
    status: Option<Instant>,
    /// When steps were first reported, and how many had been taken by then.
    from: Option<(Instant, u64)>,
    /// The same for the current pace, and that pace.
    since: (Instant, u64),
    steps_per_second: Option<f64>,
    /// When something was last printed.
    printed: Instant,
}

impl Report {
    /// For a run of `epochs` epochs that goes on after `first_epoch` of them.
    pub fn new(args: ReportArgs, epochs: u64, first_epoch: u64) -> Self {
        let now = Instant::now();
        Self {
            args,
            epochs,
            first_epoch,
            begin: now,
            last: None,
            dashboard: None,
            status: None,
            from: None,
            since: (now, 0),
            steps_per_second: None,
            printed: now,
        }
    }

    /// Takes over the whole terminal, if a dashboard is asked for.
    pub fn open_dashboard(&mut self, folder: &RunFolder, config: &RunConfig) -> Result<()> {
        if self.args.tui {
            let name = folder.path().display().to_string();
            let epochs = read_metrics(folder.path())?;
            let dashboard = Dashboard::new(&name, config, epochs, "stops and saves");
            self.dashboard = Some((Screen::open()?, dashboard));
        }
        Ok(())
    }

    /// Announces the training. From then on there is a status line, if there is a terminal.
    pub fn begin(&mut self, what: &str, begin: Instant) {
        if !self.args.quiet && !self.args.json {
            output::note(format_args!("{what}; ready in {:.2} s", begin.elapsed().as_secs_f64()));
            self.status = output::has_status().then(Instant::now);
        }
    }

    /// Shows the progress. Returns true if the user asks to stop.
    pub fn steps(&mut self, progress: &Progress, steps_per_epoch: usize) -> bool {
        let steps = progress.epoch * steps_per_epoch as u64 + progress.step_in_epoch as u64;
        self.measure(steps);
        if let Some((screen, dashboard)) = &mut self.dashboard {
            if let Some(pace) = self.steps_per_second {
                dashboard.pace(pace);
            }
            dashboard.progress(progress.step_in_epoch as f64 / steps_per_epoch as f64);
            return screen.show(dashboard);
        }
        match self.status {
            None => {
                if let Some(line) = self.sign_of_life(progress, steps_per_epoch) {
                    output::note(line);
                }
            }
            Some(drawn) if drawn.elapsed() >= STATUS_EVERY => {
                self.status = Some(Instant::now());
                let columns = Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
                output::status(&self.status_of(progress, steps, steps_per_epoch).line(columns));
            }
            Some(_) => {}
        }
        false
    }

    /// Measures the pace.
    fn measure(&mut self, steps: u64) {
        let (now, first) = (Instant::now(), self.from.is_none());
        self.from.get_or_insert((now, steps));
        let (since, before) = self.since;
        let time = now - since;
        if !first && time > PACE_OVER {
            self.steps_per_second = Some(steps.saturating_sub(before) as f64 / time.as_secs_f64());
        }
        if first || time > PACE_OVER {
            self.since = (now, steps);
        }
    }

    fn status_of(&self, progress: &Progress, steps: u64, steps_per_epoch: usize) -> Status {
        let loss = progress.loss_sum / progress.step_in_epoch.max(1) as f64;
        let so_far = || format!("train {}", number(loss));
        let all = self.epochs as f64 * steps_per_epoch as f64;
        let mut time = output::clock(self.begin.elapsed().as_secs_f64());
        if let Some((first, before)) = self.from.filter(|&(_, before)| steps > before) {
            let each = first.elapsed().as_secs_f64() / (steps - before) as f64;
            time += &format!(" < {}", output::clock(each * (all - steps as f64)));
        }
        Status {
            epoch: progress.epoch + 1,
            epochs: self.epochs,
            share: steps as f64 / all,
            scores: self.last.as_ref().map_or_else(so_far, scores_line),
            score: self.last.as_ref().map_or_else(so_far, last_score),
            pace: self.steps_per_second.map(|pace| format!("{pace:.0} steps/s")),
            time,
        }
    }

    /// A line from time to time, if nobody would see a status line, so that a slow device does not seem to hang.
    fn sign_of_life(&mut self, progress: &Progress, steps_per_epoch: usize) -> Option<String> {
        if self.args.quiet || self.args.json || self.printed.elapsed() < SIGN_OF_LIFE {
            return None;
        }
        self.printed = Instant::now();
        let loss = progress.loss_sum / progress.step_in_epoch.max(1) as f64;
        Some(format!(
            "epoch {} of {}: step {} of {steps_per_epoch}, train loss {} so far",
            progress.epoch + 1,
            self.epochs,
            progress.step_in_epoch,
            number(loss)
        ))
    }

    /// Reports an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) {
        self.last = Some(epoch.clone());
        if let Some((_, dashboard)) = &mut self.dashboard {
            dashboard.epoch(epoch);
            return;
        }
        if self.args.json {
            if let Ok(json) = serde_json::to_string(epoch) {
                output::json(json);
            }
            return;
        }
        let few = self.epochs.saturating_sub(self.first_epoch) <= MOST_LINES;
        let end = epoch.epoch == self.epochs || epoch.epoch == self.first_epoch + 1;
        if (few || end || epoch.epoch.is_multiple_of(10)) && !self.args.quiet {
            let line = format!("{epoch}  {:.2} s", epoch.train_seconds + epoch.eval_seconds);
            output::line(line);
            self.printed = Instant::now();
        }
    }

    /// Gives the terminal back, and removes the status line.
    pub fn clear(&mut self) {
        self.dashboard = None;
        output::clear_status();
    }

    /// Whether [`Report::end`] prints anything.
    pub fn is_heard(&self) -> bool {
        !self.args.quiet
    }

    /// Summarises a run that stops before its end.
    pub fn so_far(&self, folder: &RunFolder, progress: &Progress, steps_per_epoch: usize) {
        if self.args.quiet || self.args.json {
            return;
        }
        // Without metrics there is nothing to summarise. The caller says in any case that the run is saved.
        let metrics = read_metrics(folder.path()).unwrap_or_default();
        if let (Some(last), Some(overfitting)) = (metrics.last(), Overfitting::of(&metrics)) {
            output::print(&format!(
                "{}, after {} of {} epochs\n{overfitting}\n",
                scores(last),
                last.epoch,
                self.epochs
            ));
        }
        let step = progress.step_in_epoch;
        if step > 0 {
            let evaluated = if step < steps_per_epoch { "" } else { ", not yet evaluated" };
            let (epoch, epochs) = (progress.epoch + 1, self.epochs);
            output::line(format_args!("epoch {epoch} of {epochs}: step {step} of {steps_per_epoch}{evaluated}"));
        }
    }

    /// Summarises the run in a few lines, or in one line of JSON.
    pub fn end(&self, folder: &RunFolder, config: &RunConfig, model: &Model, found: &Diagnosis, progress: &Progress) {
        if self.args.quiet {
            return;
        }
        let metrics = &progress.history;
        let (Some(last), Some(overfitting)) = (metrics.last(), Overfitting::of(metrics)) else { return };
        let best = progress.best.filter(|_| config.keep != Keep::Last);
        let epoch = best.map_or(last.epoch, |(epoch, _)| epoch);
        let of_model = metrics.iter().find(|metrics| metrics.epoch == epoch).unwrap_or(last);
        let stopped = progress.epoch < config.training.epochs;
        let digest = model.digest();
        let seconds = self.begin.elapsed().as_secs_f64();
        if self.args.json {
            // The settings come first, so that programs can tell runs apart without the names of folders.
            let mut report = hyperparameters::json(config);
            let result = serde_json::json!({
                "run": folder.path().to_string_lossy(), "model": folder.model_path().to_string_lossy(),
                "sha256_of_weights": digest, "seconds": seconds, "epochs": last.epoch, "train_loss": last.train_loss,
                "train_acc": last.train_acc, "train_balanced_acc": last.train_balanced_acc, "val_loss": last.val_loss,
                "val_acc": last.val_acc, "val_balanced_acc": last.val_balanced_acc, "best_epoch": overfitting.best_epoch,
                "best_val_loss": overfitting.best_val_loss, "stopped": stopped, "kept": config.keep, "model_epoch": of_model.epoch,
                "model_val_loss": of_model.val_loss, "model_val_acc": of_model.val_acc,
                "loss_gap": overfitting.loss_gap, "acc_gap": overfitting.acc_gap,
            });
            report.extend(result.as_object().cloned().unwrap_or_default());
            report.extend(output::warnings(found));
            output::json(serde_json::Value::Object(report));
            return;
        }
        let mut text = if of_model.epoch == last.epoch {
            format!("{}, after {}\n", scores(last), output::count(last.epoch, "epoch"))
        } else {
            format!(
                "the model (epoch {}): {}\nthe last epoch ({}): {}\n",
                of_model.epoch,
                scores(of_model),
                last.epoch,
                scores(last)
            )
        };
        if stopped {
            text +=
                &format!("stopped after epoch {} of {}: {}\n", last.epoch, self.epochs, config.training.stop.reason());
        }
        // For a run that learned nothing, there is nothing to say about overfitting.
        if !found.learned_nothing() {
            text += &format!("{overfitting}\n");
        }
        let trained = last.epoch - self.first_epoch;
        if trained > 0 {
            let each = seconds / trained as f64;
            text += &format!("{seconds:.1} s for {}, {each:.3} s each\n", output::count(trained, "epoch"));
        }
        let why = match config.keep {
            Keep::Last => String::new(),
            Keep::Best { metric, .. } => {
                format!(", whose {} is {}", metric.label(), if metric.falls() { "lowest" } else { "highest" })
            }
        };
        let path = folder.model_path();
        text += &format!("model  {} (the weights of epoch {}{why})\n", path.display(), of_model.epoch);
        text += &format!("sha256 of the weights  {digest}\n");
        output::print(&text);
        output::warn(found);
    }
}

/// The scores of an epoch, in words.
fn scores(epoch: &Epoch) -> String {
    let (Some(acc), Some(balanced), Some(train)) = (epoch.val_acc, epoch.val_balanced_acc, epoch.train_acc) else {
        return format!("val loss {}, train loss {}", number(epoch.val_loss), number(epoch.train_loss));
    };
    let [acc, balanced, train] = [acc, balanced, train].map(|share| 100.0 * share);
    format!("val accuracy {acc:.2} % (class-balanced {balanced:.2} %), train {train:.2} %")
}

/// Losses and accuracies of an epoch for the status line.
fn scores_line(epoch: &Epoch) -> String {
    let train = epoch.train_acc.map_or(String::new(), |acc| format!(" {:.2} %", 100.0 * acc));
    format!("train {}{train}, {}", number(epoch.train_loss), last_score(epoch))
}

/// The most important score of an epoch.
fn last_score(epoch: &Epoch) -> String {
    let val = epoch.val_acc.map_or(String::new(), |acc| format!(" {:.2} %", 100.0 * acc));
    format!("val {}{val}", number(epoch.val_loss))
}

/// The parts of a status line.
struct Status {
    epoch: u64,
    epochs: u64,
    /// Share of the whole training.
    share: f64,
    scores: String,
    /// The most important of the scores.
    score: String,
    /// The pace, if it is known.
    pace: Option<String>,
    time: String,
}

impl Status {
    /// As many whole parts as fit into this many columns. Three columns stay free, because the cursor is behind the
    /// line, and terminals show Ctrl-C there.
    fn line(&self, columns: usize) -> String {
        /// The least and the greatest width of the bar.
        const BAR: (usize, usize) = (6, 24);
        let room = columns.saturating_sub(3);
        let head = format!("epoch {}/{}", self.epoch, self.epochs);
        let Self { scores, score, pace, time, .. } = self;
        let pace = pace.as_ref().map_or(String::new(), |pace| format!("{pace} | "));
        let with_bar = [
            format!("{scores} | {pace}{time}"),
            format!("{scores} | {time}"),
            format!("{score} | {time}"),
            score.clone(),
        ];
        for tail in with_bar {
            let rest = room.saturating_sub(measure_text_width(&head) + measure_text_width(&tail) + 2);
            if rest >= BAR.0 {
                return format!("{head} {} {tail}", bar(self.share, rest.min(BAR.1)));
            }
        }
        let short = [format!("{head} {score}"), head, format!("{}/{}", self.epoch, self.epochs)];
        short.into_iter().find(|line| measure_text_width(line) <= room).unwrap_or_default()
    }
}

/// A bar of this many characters.
fn bar(share: f64, width: usize) -> String {
    let full = ((share.clamp(0.0, 1.0) * width as f64) as usize).min(width);
    let tip = usize::from(full < width);
    format!("{}{}{}", "━".repeat(full), "╸".repeat(tip), "─".repeat(width - full - tip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            epoch: 100,
            epochs: 100,
            share: 0.5,
            scores: "train 0.4114 88.78 %, val 0.3955 89.10 %".into(),
            score: "val 0.3955 89.10 %".into(),
            pace: Some("2593 steps/s".into()),
            time: "1:02 < 1:07".into(),
        }
    }

    #[test]
    fn the_status_line_fits_any_terminal_and_cuts_no_number() {
        for columns in 0..200 {
            let line = status().line(columns);
            assert!(measure_text_width(&line) + 3 <= columns.max(3), "{columns}: {line}");
            for number in line.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|text| !text.is_empty()) {
                assert!("100 0.4114 88.78 0.3955 89.10 2593 1 02 07".split(' ').any(|whole| whole == number), "{line}");
            }
        }
    }

    #[test]
    fn without_a_terminal_a_slow_epoch_shows_that_it_goes_on() {
        let progress = Progress { epoch: 1, step_in_epoch: 4, loss_sum: 2.0, ..Progress::default() };
        let shown = ReportArgs { quiet: false, json: false, tui: false };
        for (args, said) in [
            (shown, Some("epoch 2 of 9: step 4 of 469, train loss 0.5000 so far".to_string())),
            (ReportArgs { quiet: true, ..shown }, None),
            (ReportArgs { json: true, ..shown }, None),
        ] {
            let mut report = Report::new(args, 9, 0);
            assert_eq!(report.sign_of_life(&progress, 469), None, "it has just begun");
            report.printed = Instant::now().checked_sub(SIGN_OF_LIFE).unwrap();
            assert_eq!(report.sign_of_life(&progress, 469), said);
            assert_eq!(report.sign_of_life(&progress, 469), None, "not twice");
        }
    }

    #[test]
    fn the_usual_terminal_has_room_for_scores_time_and_a_bar() {
        assert_eq!(status().line(80), "epoch 100/100 ━━━━╸─── train 0.4114 88.78 %, val 0.3955 89.10 % | 1:02 < 1:07");
        assert!(status().line(120).contains("2593 steps/s"));
        assert!(status().line(40).starts_with("epoch 100/100 ") && status().line(40).ends_with("89.10 %"));
        assert_eq!(status().line(16), "epoch 100/100");
        assert_eq!(status().line(10), "100/100");
        assert_eq!(status().line(3), "");
    }
}
