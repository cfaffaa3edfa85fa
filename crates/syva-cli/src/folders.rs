//! The folders that a command is given: the runs in them, their names, and their order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::output;

/// The runs that `folders` name. A folder that is not a run but holds runs, such as `runs`, stands for all of them, in
/// the order of [`natural`].
pub fn runs_in(folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_run = |folder: &Path| folder.join("config.toml").is_file();
    let mut runs = Vec::new();
    for folder in folders {
        let inside = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut inside: Vec<PathBuf> = inside.filter(|path| is_run(path)).collect();
        if is_run(folder) || folder.join("metrics.jsonl").is_file() || inside.is_empty() {
            runs.push(folder.clone());
        } else {
            inside.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
            runs.extend(inside);
        }
    }
    runs
}

/// The names of the runs: those of their folders, or their paths if the folders' names are not distinct.
pub fn names(runs: &[PathBuf]) -> Vec<String> {
    let names: Vec<String> = runs.iter().map(|run| output::name_of(run)).collect();
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if distinct {
        return names;
    }
    let mut names: Vec<String> = runs.iter().map(|run| output::short(&run.display().to_string())).collect();
    // Those that are the same once they are shortened get numbers.
    for place in 1..names.len() {
        if names[..place].contains(&names[place]) {
            names[place] += &format!(" ({})", place + 1);
        }
    }
    names
}

/// The order in which people count: `s2` comes before `s10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (x, y) = (digits(left), digits(right));
        if x > 0 && y > 0 {
            let (number, other) = (left[..x].trim_start_matches('0'), right[..y].trim_start_matches('0'));
            let order = number.len().cmp(&other.len()).then_with(|| number.cmp(other));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (&left[x..], &right[y..]);
            continue;
        }
        match (left.chars().next(), right.chars().next()) {
            (Some(c), Some(d)) if c == d => (left, right) = (&left[c.len_utf8()..], &right[d.len_utf8()..]),
            (c, d) => return c.cmp(&d).then_with(|| a.cmp(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_sorted_as_people_count() {
        let mut names = ["s10", "s2", "s1", "b", "s02", "s1b", "a10-9", "a9-10", "", "s", "10", "9", "ä2", "ä10"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "9", "10", "a9-10", "a10-9", "b", "s", "s1", "s1b", "s02", "s2", "s10", "ä2", "ä10"]);
        let long = "9".repeat(1000);
        assert_eq!(natural(&format!("{long}1"), &format!("{long}2")), Ordering::Less);
    }

    #[test]
    fn runs_that_are_shortened_to_the_same_are_told_apart() {
        let long = "x".repeat(100);
        let runs = ["A", "B"].map(|run| PathBuf::from(format!("{long}-{run}-{long}")));
        let names = names(&runs);
        assert_ne!(names[0], names[1]);
    }
}
