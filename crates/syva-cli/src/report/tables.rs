//! The tables of a report: one row per run, or one row per group of seeds.

use syva::text::number;

use super::groups::{Group, Spread};
use super::{Run, escape, isolated};
use crate::hyperparameters::Setting;
use crate::output::{count, shown};

/// The content of a cell, and the number by which it is sorted.
struct Cell {
    html: String,
    sort: Option<f64>,
}

impl Cell {
    fn text(text: &str) -> Self {
        Self { html: escape(&shown(text)), sort: text.parse().ok() }
    }

    fn number(value: f64, html: String) -> Self {
        Self { html, sort: Some(value) }
    }
}

fn loss(value: f64) -> Cell {
    Cell::number(value, number(value))
}

fn setting(setting: &Setting) -> Cell {
    Cell { sort: setting.value.as_f64(), ..Cell::text(&setting.text()) }
}

fn percent(share: Option<f64>) -> Cell {
    share.map_or_else(|| Cell::text("–"), |share| Cell::number(share, format!("{:.2} %", 100.0 * share)))
}

/// The names of the settings in which runs differ, in the order of the list. Settings that follow from others are left
/// out.
pub fn differing(runs: &[Run]) -> Vec<&'static str> {
    let differs = |name: &str| runs.iter().any(|run| run.setting(name) != runs[0].setting(name));
    let follows = |name: &str| match name {
        "network" => differs("hidden") && !differs("data"),
        "data_sha256" => differs("data"),
        _ => false,
    };
    let names = runs[0].settings.iter().map(|setting| setting.name);
    names.filter(|name| differs(name) && !follows(name)).collect()
}

/// The settings that all runs share, in one line.
fn shared(runs: &[Run]) -> String {
    let same = |name: &str| runs.iter().all(|run| run.setting(name) == runs[0].setting(name));
    let mut parts = Vec::new();
    for setting in runs[0].settings.iter().filter(|setting| same(setting.name)) {
        // The network's widths include those of its hidden layers, and digests are shown with each run.
        let said = setting.name == "hidden" && same("network") || setting.name == "data_sha256";
        if !said {
            parts.push(format!("{} <b>{}</b>", escape(&setting.label()), escape(&shown(&setting.text()))));
        }
    }
    format!("<p class='note shared'>The same in all runs: {}</p>\n", parts.join(" · "))
}

/// A table that is sorted by a click on a column header.
struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    fn html(&self) -> String {
        let mut html = String::from("<div class=wide><table class=sorts>\n<thead><tr>");
        for head in &self.heads {
            html += &format!("<th>{head}</th>");
        }
        html += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            html += "<tr>";
            for cell in row {
                let sort = cell.sort.map_or(String::new(), |value| format!(" data-v={value:e}"));
                html += &format!("<td{sort}>{}</td>", cell.html);
            }
            html += "</tr>\n";
        }
        html + "</tbody></table></div>\n"
    }
}

/// A column of the runs' table: its head, and its cell for a run.
type Column = (String, Box<dyn Fn(&Run) -> Cell>);

/// Columns with the results of runs, and with their cost.
fn results(runs: &[Run]) -> Vec<Column> {
    let classes = runs.iter().any(|run| run.last().val_acc.is_some());
    let alone = runs.len() == 1;
    let mut columns: Vec<Column> = Vec::new();
    let mut add = |head: &str, cell: fn(&Run) -> Cell| columns.push((head.to_string(), Box::new(cell)));
    if classes {
        add("val accuracy", |run| {
            let Cell { html, sort } = percent(run.weights.val_acc);
            Cell { html: format!("<b>{html}</b>"), sort }
        });
    }
    add("val loss", |run| run.weights.val_loss.map_or_else(|| Cell::text("–"), loss));
    add("model of<br>epoch", |run| {
        if let Some(epoch) = run.weights.epoch {
            return Cell::text(&epoch.to_string());
        }
        let html = format!("checkpoint after<br>{}, not finished", count(run.weights.steps, "step"));
        Cell { html, sort: Some(0.0) }
    });
    add("epochs", |run| {
        let (done, wanted) = (run.last().epoch, run.config.training.epochs);
        Cell::number(done as f64, format!("{done} of {wanted}"))
    });
    if alone {
        add("lowest val loss", |run| {
            let (lowest, epoch) = (run.overfitting.best_val_loss, run.overfitting.best_epoch);
            Cell::number(lowest, format!("{} (epoch {epoch})", number(lowest)))
        });
    } else {
        add("lowest<br>val loss", |run| loss(run.overfitting.best_val_loss));
        add("at epoch", |run| Cell::text(&run.overfitting.best_epoch.to_string()));
    }
    add("at the end:<br>train loss", |run| loss(run.last().train_loss));
    add("<br>val loss", |run| loss(run.last().val_loss));
    if classes {
        add("<br>train accuracy", |run| percent(run.last().train_acc));
        add("<br>val accuracy", |run| percent(run.last().val_acc));
    }
    add("training<br>time", |run| {
        let seconds: f64 = run.epochs.iter().map(|epoch| epoch.train_seconds).sum();
        Cell::number(seconds, format!("{seconds:.1} s"))
    });
    add("time per<br>epoch", |run| {
        let seconds = run.epochs.iter().map(|epoch| epoch.train_seconds).sum::<f64>() / run.epochs.len() as f64;
        Cell::number(seconds, format!("{seconds:.3} s"))
    });
    add("SHA-256 of the weights", |run| Cell { html: format!("<code>{}</code>", run.digest), sort: None });
    columns
}

/// One row per run: how it differs from the others, its results, its cost.
pub fn runs(runs: &[Run], differing: &[&'static str], best: Option<usize>) -> String {
    let results = results(runs);
    if let [run] = runs {
        // A single run would be one long row.
        let mut html = String::from("<div class=wide><table>\n");
        for (head, cell) in &results {
            let head = head.replace("<br>", " ");
            let head = if head.starts_with(' ') { format!("at the end:{head}") } else { head };
            html += &format!("<tr><td>{head}</td><td>{}</td></tr>\n", cell(run).html);
        }
        return html + "</table></div>\n";
    }
    let column = |name: &'static str| -> Column {
        let head = runs[0].setting(name).map_or_else(|| name.to_string(), |setting| escape(&setting.label()));
        let cell = move |run: &Run| run.setting(name).map_or_else(|| Cell::text(""), setting);
        (head, Box::new(cell))
    };
    // The number of epochs asked for is shown beside the number reached.
    let settings = differing.iter().filter(|&&name| name != "epochs").map(|&name| column(name));
    let columns: Vec<Column> = settings.chain(results).collect();
    let heads = ["run".to_string()].into_iter().chain(columns.iter().map(|(head, _)| head.clone())).collect();
    let row = |(place, run): (usize, &Run)| {
        let mark = if best == Some(place) { "<br><span class=best>best of these</span>" } else { "" };
        let nothing =
            if run.diagnosis.learned_nothing() { "<br><span class=nothing>learned nothing</span>" } else { "" };
        let name = Cell::number(place as f64, isolated(&run.name) + mark + nothing);
        [name].into_iter().chain(columns.iter().map(|(_, cell)| cell(run))).collect()
    };
    let rows = runs.iter().enumerate().map(row).collect();
    Table { heads, rows }.html() + &shared(runs)
}

/// One row per group of seeds: how it differs from the others, and its common results.
pub fn groups(groups: &[Group<'_>], differing: &[&'static str]) -> String {
    let classes = groups.iter().any(|group| group.runs[0].last().val_acc.is_some());
    let names: Vec<&'static str> = differing.iter().copied().filter(|&name| name != "seed").collect();
    // Names that are made of the settings would only repeat their columns.
    let named = !groups.iter().all(|group| group.is_settings);
    let mut heads = if named { vec![String::new()] } else { Vec::new() };
    heads.extend(names.iter().filter_map(|name| Some(escape(&groups[0].runs[0].setting(name)?.label()))));
    heads.push("seeds".into());
    if classes {
        heads.extend(["val accuracy", "lowest … highest"].map(String::from));
    }
    heads.extend(["val loss", "at the end:<br>train loss"].map(String::from));
    if classes {
        heads.push("<br>train accuracy".into());
    }
    heads.push("time per<br>epoch".into());
    let row = |(place, group): (usize, &Group<'_>)| {
        let run = group.runs[0];
        let mut row = if named { vec![Cell::number(place as f64, isolated(&group.name))] } else { Vec::new() };
        row.extend(names.iter().filter_map(|name| Some(setting(run.setting(name)?))));
        row.push(Cell::text(&group.seeds().len().to_string()));
        let shares = |spread: Option<Spread>| {
            spread.map_or_else(
                || Cell::text("–"),
                |spread| {
                    let deviation =
                        spread.deviation.map_or(String::new(), |deviation| format!(" ± {:.2}", 100.0 * deviation));
                    Cell::number(spread.mean, format!("{:.2}{deviation} %", 100.0 * spread.mean))
                },
            )
        };
        let losses = |spread: Option<Spread>| {
            spread.map_or_else(
                || Cell::text("–"),
                |spread| {
                    let deviation =
                        spread.deviation.map_or(String::new(), |deviation| format!(" ± {}", number(deviation)));
                    Cell::number(spread.mean, number(spread.mean) + &deviation)
                },
            )
        };
        if classes {
            row.push(shares(group.spread(|run| run.weights.val_acc)));
            let all = group.seeds().into_iter().filter_map(|run| run.weights.val_acc);
            let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), acc| (l.min(acc), h.max(acc)));
            row.push(if group.seeds().len() < 2 {
                Cell::text("")
            } else if low <= high {
                Cell::number(high, format!("{:.2} … {:.2} %", 100.0 * low, 100.0 * high))
            } else {
                Cell::text("–")
            });
        }
        row.push(losses(group.spread(|run| run.weights.val_loss)));
        row.push(losses(group.spread(|run| Some(run.last().train_loss))));
        if classes {
            row.push(shares(group.spread(|run| run.last().train_acc)));
        }
        let seconds =
            |run: &Run| run.epochs.iter().map(|epoch| epoch.train_seconds).sum::<f64>() / run.epochs.len() as f64;
        let each = group.spread(|run| Some(seconds(run))).map_or(0.0, |spread| spread.mean);
        row.push(Cell::number(each, format!("{each:.3} s")));
        row
    };
    Table { heads, rows: groups.iter().enumerate().map(row).collect() }.html()
}
