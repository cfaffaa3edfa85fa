//! The files that arguments of a command name.

use std::path::{Path, PathBuf};

use syva_core::{Error, Result};

/// The files that arguments name. Patterns such as `data/part-*.csv` are expanded in sorted order, `-` is standard input,
/// and a file that is named must exist. A file whose name looks like a pattern is that file.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// for name in ["b.csv", "a.csv", "c.txt"] {
///     std::fs::write(folder.path().join(name), "x\n1\n")?;
/// }
/// let pattern = folder.path().join("*.csv").display().to_string();
/// let files = syva_data::files(&[pattern, "-".into()])?;
/// assert_eq!(files, [folder.path().join("a.csv"), folder.path().join("b.csv"), "-".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] that names the argument that matches nothing, is a folder, or is named twice.
pub fn files(arguments: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        for file in expand(argument)? {
            // Rows that are read twice would weigh twice, and may end up in training and validation both.
            if files.contains(&file) {
                return Err(Error::setting(argument, "this file is named twice", "name each file once"));
            }
            files.push(file);
        }
    }
    Ok(files)
}

fn expand(argument: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(argument);
    if argument == "-" {
        return Ok(vec![path.into()]);
    }
    if path.is_dir() {
        let remedy = format!("name its files, for example '{}'", path.join("*.csv").display());
        return Err(Error::setting(argument, "this is a folder", remedy));
    }
    if path.exists() {
        return Ok(vec![path.into()]);
    }
    if !argument.contains(['*', '?', '[']) {
        return Err(Error::io("read", path)(std::io::ErrorKind::NotFound.into()));
    }
    let found = glob::glob(argument)
        .map_err(|error| Error::setting(argument, format!("this is not a pattern ({error})"), "use * and ?"))?;
    let mut files = Vec::new();
    for file in found {
        let file = file.map_err(|error| Error::io("read", error.path().to_path_buf())(error.into()))?;
        if !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::setting(argument, "no file matches this pattern", "check the pattern and the folder"));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name).display().to_string();
        let says = |arguments: &[String]| files(arguments).unwrap_err().to_string();
        assert!(says(&[named("a.csv")]).contains("a.csv: there is no such file"));
        assert!(says(&[named("*.csv")]).contains("*.csv: no file matches"));
        assert!(says(&[named("")]).contains("this is a folder"));
        assert!(says(&[named("a***.csv")]).contains("not a pattern"));
        std::fs::write(folder.path().join("a[1].csv"), "x").unwrap();
        assert_eq!(files(&[named("a[1].csv")]).unwrap(), [folder.path().join("a[1].csv")]);
        assert!(says(&[named("*.csv"), named("a[1].csv")]).contains("named twice"));
    }
}
