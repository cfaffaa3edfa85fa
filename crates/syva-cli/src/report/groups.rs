//! Groups of runs that differ only in their seeds, and their common results.

use syva::Epoch;

use super::Run;
use crate::hyperparameters::Setting;

/// Runs that differ only in their seeds.
pub struct Group<'a> {
    pub runs: Vec<&'a Run>,
    /// Its name: the settings in which groups differ, or the name of the run if there is only one.
    pub name: String,
    /// Whether the name is made of settings only.
    pub is_settings: bool,
}

/// A mean, and the standard deviation (n − 1) if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub deviation: Option<f64>,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }
}

impl Group<'_> {
    /// One run per seed. Repetitions with the same bits say nothing about how results scatter.
    pub fn seeds(&self) -> Vec<&Run> {
        let mut found: Vec<&Run> = Vec::new();
        for run in &self.runs {
            if !found.iter().any(|known| known.config.training.seed == run.config.training.seed) {
                found.push(run);
            }
        }
        found
    }

    /// The mean and deviation of a value over the seeds. `None` if one of them does not have the value.
    pub fn spread(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        let values: Option<Vec<f64>> = self.seeds().into_iter().map(value).collect();
        Spread::of(&values?)
    }

    /// The epochs that all seeds have, with one entry per seed.
    pub fn epochs(&self) -> Vec<Vec<&Epoch>> {
        let seeds = self.seeds();
        seeds[0]
            .epochs
            .iter()
            .enumerate()
            .filter_map(|(place, epoch)| {
                let at = |run: &&'_ Run| -> Option<usize> {
                    let there = |&place: &usize| run.epochs.get(place).is_some_and(|other| other.epoch == epoch.epoch);
                    // Usually it is at the same position as in the first run.
                    Some(place).filter(there).or_else(|| run.epochs.iter().position(|other| other.epoch == epoch.epoch))
                };
                let places: Option<Vec<usize>> = seeds.iter().map(at).collect();
                Some(seeds.iter().zip(places?).map(|(run, place)| &run.epochs[place]).collect())
            })
            .collect()
    }
}

/// Puts the runs into groups, in the order of the first run of each. Runs that have reached different epochs are not
/// grouped, because their figures are not comparable.
pub fn group<'a>(runs: &'a [Run], differing: &[&'static str]) -> Vec<Group<'a>> {
    let key = |run: &Run| {
        let mut config = run.config.clone();
        config.training.seed = 0;
        config.data.dir = None;
        (config, run.epochs.last().map(|epoch| epoch.epoch))
    };
    let mut groups: Vec<(_, Group<'a>)> = Vec::new();
    for run in runs {
        let key = key(run);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.runs.push(run),
            None => groups.push((key, Group { runs: vec![run], name: run.name.clone(), is_settings: false })),
        }
    }
    let mut groups: Vec<Group<'a>> = groups.into_iter().map(|(_, group)| group).collect();
    let alone = groups.len() == 1;
    // Beside groups of several runs, a run alone is called by its settings, too.
    let grouped = groups.iter().any(|group| group.runs.len() > 1);
    for group in groups.iter_mut().filter(|_| grouped) {
        let said = differing.iter().filter(|&&name| name != "seed" && name != "parameters");
        let said: Vec<String> = said.filter_map(|&name| Some(named(group.runs[0].setting(name)?))).collect();
        let seeds = group.seeds().len();
        let all = if group.runs.len() == 1 {
            group.name.clone()
        } else if seeds > 1 {
            format!("{seeds} seeds")
        } else {
            format!("{} times seed {}", group.runs.len(), group.runs[0].config.training.seed)
        };
        group.is_settings = !alone && !said.is_empty();
        group.name = if group.is_settings { said.join(", ") } else { all };
    }
    // Groups that differ only in their epochs, for example, must not have the same name.
    for place in 1..groups.len() {
        if groups[..place].iter().any(|other| other.name == groups[place].name) {
            let first = &groups[place].runs[0].name;
            let more = if groups[place].runs.len() > 1 { ", …" } else { "" };
            groups[place].name = format!("{} ({first}{more})", groups[place].name);
            groups[place].is_settings = false;
        }
    }
    groups
}

fn named(setting: &Setting) -> String {
    match setting.name {
        "learning_rate" => format!("lr {}", setting.text()),
        "batch_size" => format!("batch {}", setting.text()),
        // The name says whether the flag is on.
        "exact" => (if setting.value == true { "exact" } else { "not exact" }).to_string(),
        "activation" | "init" | "head" | "optimizer" | "loss" | "data" | "device" | "precision" => setting.text(),
        _ => format!("{} {}", setting.label(), setting.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_those_of_samples() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((spread.mean, spread.deviation), (5.0, Some((32.0f64 / 7.0).sqrt())));
        assert_eq!(Spread::of(&[3.0]), Some(Spread { mean: 3.0, deviation: None }));
        assert_eq!(Spread::of(&[]), None);
    }
}
