//! Names as people write them. `ReLU`, `xavier_uniform` and `XavierUniform` are accepted, and for an unknown name the
//! nearest known one is offered.

use crate::Error;

/// The value that `name` stands for. Case, `-`, `_` and spaces do not matter.
///
/// ```
/// use syva_core::{Head, Init, names::find};
/// assert_eq!(find(Head::NAMES, "LogSoftmax"), Some(Head::LogSoftmax));
/// assert_eq!("XavierUniform".parse::<Init>()?, Init::XAVIER_UNIFORM);
/// assert_eq!(find(Head::NAMES, "softmax"), None);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[must_use]
pub fn find<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    let name = plain(name);
    names.iter().find(|(known, _)| plain(known) == name).map(|&(_, value)| value)
}

/// The error for a name that is not one of `names`. It offers the nearest one, and lists all of them.
///
/// ```
/// let error = syva_core::names::unknown("data", "minst", &["auto", "mnist", "digits"]);
/// assert_eq!(error.to_string(), "data: unknown name 'minst' (did you mean 'mnist'?); use auto, mnist or digits");
/// ```
#[must_use]
pub fn unknown(what: &str, name: &str, names: &[&str]) -> Error {
    let offer = offer(name, names);
    let remedy = match names {
        [only] => format!("'{only}' is the only one there is"),
        _ => format!("use {}", either(names)),
    };
    Error::setting(what, format!("unknown name '{name}'{offer}"), remedy)
}

/// The names as a choice: `a, b or c`.
#[must_use]
pub fn either<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// The name that is nearest to `name`. `None` if more than a third of its letters would have to change.
#[must_use]
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let name = plain(name);
    let near = names.iter().map(|known| (distance(&name, &plain(known)), *known)).min_by_key(|&(distance, _)| distance);
    near.filter(|&(distance, known)| 3 * distance <= known.chars().count()).map(|(_, known)| known)
}

/// A name with parameters, as people write it: `adam:beta1=0.8,eps=1e-6`. A parameter that is left out has its default.
#[derive(Clone, Copy, Debug)]
pub struct Form<T> {
    /// The name.
    pub name: &'static str,
    /// The names of the parameters, and their defaults as they are written.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Makes the value from one text per parameter.
    pub make: fn(&[&str]) -> Result<T, Unread>,
}

/// A parameter that cannot be read from its text.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its place among the parameters.
    place: usize,
    problem: String,
    /// What to write in its place.
    instead: String,
}

/// Makes the forms of an enum whose variants have named parameters: name, variant, parameters with their defaults. The
/// parameters are of any type that is a [`Parameter`]. Also makes `form`, which returns a value's form and the texts of its
/// parameters.
macro_rules! forms {
    ($type:ident, $($name:literal => $variant:ident $({ $($field:ident = $default:literal),+ })?),+ $(,)?) => {
        impl $type {
            pub(crate) const FORMS: &'static [crate::names::Form<Self>] = &[$(crate::names::Form {
                name: $name,
                parameters: &[$($((stringify!($field), concat!($default))),+)?],
                make: |_texts| Ok(crate::names::forms!(@make _texts $variant $({ $($field),+ })?)),
            }),+];

            /// The name, and the parameters in the order of their definition.
            fn form(&self) -> (&'static crate::names::Form<Self>, Vec<String>) {
                let (name, values) = match self {
                    $(Self::$variant $({ $($field),+ })? => {
                        ($name, vec![$($(crate::names::Parameter::write($field)),+)?])
                    }),+
                };
                let form = Self::FORMS.iter().find(|form| form.name == name).unwrap_or(&Self::FORMS[0]);
                (form, values)
            }
        }
    };
    (@make $texts:ident $variant:ident) => { Self::$variant };
    (@make $texts:ident $variant:ident { $($field:ident),+ }) => {{
        let mut texts = $texts.iter().copied().enumerate();
        Self::$variant { $($field: crate::names::read(&mut texts)?),+ }
    }};
}
pub(crate) use forms;

/// Lets a type with forms be read and written as text, also in files: `FromStr`, `Display` and serde's conversions. The type
/// has `form` and `validate`.
macro_rules! text {
    ($type:ident, $what:literal) => {
        impl $type {
            /// The names that flags and files use.
            pub fn names() -> impl Iterator<Item = &'static str> {
                Self::FORMS.iter().map(|form| form.name)
            }
        }
        impl std::str::FromStr for $type {
            type Err = crate::Error;
            fn from_str(text: &str) -> crate::Result<Self> {
                let value = crate::names::parse($what, Self::FORMS, text)?;
                value.validate()?;
                Ok(value)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let (form, values) = self.form();
                f.pad(&crate::names::write(form, &values))
            }
        }
        impl TryFrom<String> for $type {
            type Error = crate::Error;
            fn try_from(text: String) -> crate::Result<Self> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
pub(crate) use text;

/// The value of a parameter as text.
pub(crate) trait Parameter: Sized {
    /// Reads it. An error is what is wrong, and what to write instead.
    fn read(text: &str) -> Result<Self, (String, String)>;
    fn write(&self) -> String;
}

/// Reads the next parameter.
pub(crate) fn read<'a, P: Parameter>(texts: &mut impl Iterator<Item = (usize, &'a str)>) -> Result<P, Unread> {
    let (place, text) = texts.next().unwrap_or_default();
    P::read(text).map_err(|(problem, instead)| Unread { place, problem, instead })
}

impl Parameter for f64 {
    fn read(text: &str) -> Result<Self, (String, String)> {
        let number = text.parse::<Self>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| (format!("'{text}' is not a finite number"), "NUMBER".into()))
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_parameter {
    ($($type:ident),+) => {$(
        impl Parameter for $type {
            fn read(text: &str) -> Result<Self, (String, String)> {
                text.parse().map_err(|_| (format!("'{text}' is not a whole number"), "NUMBER, such as 10".into()))
            }
            fn write(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
whole_parameter!(u32, u64, usize);

impl Parameter for bool {
    fn read(text: &str) -> Result<Self, (String, String)> {
        match text {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            _ => match text.parse::<f64>() {
                Ok(number) if number == 0.0 || number == 1.0 => Ok(number == 1.0),
                _ => Err((format!("'{text}' is neither true nor false"), "true or false".into())),
            },
        }
    }
    fn write(&self) -> String {
        u8::from(*self).to_string()
    }
}

/// A list: `30/60/80`.
impl Parameter for Vec<f64> {
    fn read(text: &str) -> Result<Self, (String, String)> {
        let numbers: Result<Self, _> = text.split('/').map(|number| f64::read(number.trim())).collect();
        numbers.map_err(|(problem, _)| (problem, "NUMBER/NUMBER/…".into()))
    }
    fn write(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
    }
}

/// Lets a type with names, made by `names!`, be a parameter.
macro_rules! named_parameter {
    ($type:ident) => {
        impl crate::names::Parameter for $type {
            fn read(text: &str) -> std::result::Result<Self, (String, String)> {
                crate::names::find(Self::NAMES, text).ok_or_else(|| {
                    let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                    let offer = crate::names::offer(text, &names);
                    (format!("unknown name '{text}'{offer}"), crate::names::either(&names))
                })
            }
            fn write(&self) -> String {
                self.to_string()
            }
        }
    };
}
pub(crate) use named_parameter;

/// Reads a name with parameters. A value without a name is the first parameter's.
pub fn parse<T>(what: &str, forms: &[Form<T>], text: &str) -> Result<T, Error> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let Some(form) = forms.iter().find(|form| plain(form.name) == plain(name)) else {
        return Err(unknown(what, name, &forms.iter().map(|form| form.name).collect::<Vec<_>>()));
    };
    let Form { name, parameters, make } = form;
    let refuse = |problem: String, remedy: String| Err(Error::setting(what, problem, remedy));
    let mut values: Vec<&str> = parameters.iter().map(|&(_, default)| default).collect();
    let mut given = vec![false; values.len()];
    for part in rest.into_iter().flat_map(|rest| rest.split(',')) {
        let (key, value) = part.split_once('=').map_or((None, part), |(key, value)| (Some(key.trim()), value));
        let names: Vec<&str> = parameters.iter().map(|&(name, _)| name).collect();
        if names.is_empty() {
            return refuse(format!("{name} has no parameters"), format!("write {name}"));
        }
        let place = match key {
            None => Some(0),
            Some(key) => names.iter().position(|name| plain(name) == plain(key)),
        };
        let Some(place) = place else {
            let key = key.unwrap_or_default();
            let offer = offer(key, &names);
            return refuse(format!("{name} has no parameter '{key}'{offer}"), format!("use {}", either(&names)));
        };
        if std::mem::replace(&mut given[place], true) {
            return refuse(format!("{} is given twice", names[place]), "give it once".into());
        }
        values[place] = value.trim();
    }
    make(&values).or_else(|Unread { place, problem, instead }| {
        refuse(problem, format!("write {name}:{}={instead}", parameters[place].0))
    })
}

/// Writes a name with the parameters that do not have their defaults.
#[must_use]
pub fn write<T>(form: &Form<T>, values: &[String]) -> String {
    // A default such as 1e-8 is not written as a number is.
    let same = |default: &str, value: &str| match (default.parse::<f64>(), value.parse::<f64>()) {
        (Ok(default), Ok(value)) => default == value,
        _ => default == value,
    };
    let given = form.parameters.iter().zip(values).filter(|((_, default), value)| !same(default, value));
    let given: Vec<_> = given.map(|((name, _), value)| format!("{name}={value}")).collect();
    if given.is_empty() { form.name.into() } else { format!("{}:{}", form.name, given.join(",")) }
}

/// What other libraries call it, as [`plain`] has it, and what it is called here.
const ELSEWHERE: [(&str, &str); 3] = [("absoluteerror", "mae"), ("logistic", "sigmoid"), ("squarederror", "mse")];

/// The offer of the nearest name, or of what another library's is called here, in parentheses, or nothing.
pub(crate) fn offer(name: &str, names: &[&str]) -> String {
    let elsewhere = || ELSEWHERE.iter().find(|(theirs, ours)| *theirs == plain(name) && names.contains(ours));
    let near = nearest(name, names).or_else(|| elsewhere().map(|(_, ours)| *ours));
    near.map_or(String::new(), |near| format!(" (did you mean '{near}'?)"))
}

/// A name in lower case, without the characters that join words.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).take(100).collect()
}

/// The optimal string alignment distance: the number of letters to insert, delete, replace, or swap with their
/// neighbour to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use crate::{Activation, Head, Init, Loss, Optimizer, Precision, Schedule};

    #[test]
    fn names_are_taken_as_people_write_them() {
        for name in ["relu", "ReLU", "RELU", "re-lu"] {
            assert_eq!(name.parse::<Activation>().unwrap(), Activation::Relu, "{name}");
        }
        for name in ["log-softmax", "LogSoftmax", "log_softmax", "LOG SOFTMAX"] {
            assert_eq!(name.parse::<Head>().unwrap(), Head::LogSoftmax, "{name}");
        }
        assert_eq!("Xavier_Uniform".parse::<Init>().unwrap(), Init::XAVIER_UNIFORM);
        assert_eq!("Constant:0.5".parse::<Init>().unwrap(), Init::Constant { value: 0.5 });
        assert_eq!("BF16".parse::<Precision>().unwrap(), Precision::Bf16);
    }

    /// `docs/TRAINING.md` has every name, with its parameters and their defaults.
    #[test]
    fn the_documentation_has_every_name_and_default() {
        let text = include_str!("../../../docs/TRAINING.md");
        let check = |heading: &str, forms: Vec<(&str, &[(&str, &str)])>| {
            let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("{heading} is missing"));
            let section = section.split("\n## ").next().unwrap_or_default();
            for (name, parameters) in forms {
                let row = section.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
                let row = row.unwrap_or_else(|| panic!("{heading}: `{name}` is missing"));
                for (parameter, default) in parameters {
                    // A default such as 1.0 is written 1.
                    let default = default.strip_suffix(".0").unwrap_or(default);
                    assert!(row.contains(&format!("`{parameter}={default}`")), "{name}: `{parameter}={default}`");
                }
            }
        };
        check("## Activations", Activation::FORMS.iter().map(|form| (form.name, form.parameters)).collect());
        check("## Optimisers", Optimizer::FORMS.iter().map(|form| (form.name, form.parameters)).collect());
        check("## Schedules", Schedule::FORMS.iter().map(|form| (form.name, form.parameters)).collect());
        check("## Losses", Loss::FORMS.iter().map(|form| (form.name, form.parameters)).collect());
        check("## Initial weights", Init::FORMS.iter().map(|form| (form.name, form.parameters)).collect());
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let says = |name: &str| name.parse::<Activation>().unwrap_err().to_string();
        assert!(says("sigmod").contains("unknown name 'sigmod' (did you mean 'sigmoid'?)"), "{}", says("sigmod"));
        assert!(says("thanh").contains("'tanh'?"));
        assert!(says("rleu").contains("'relu'?"));
        assert!(says("logistic").contains("'sigmoid'?"));
        for far in ["swish", "gelu-ish", "", "\u{1f9e0}", &"x".repeat(100_000)] {
            assert!(!says(far).contains("did you mean"), "{far:.20}");
        }
        assert!("xavier".parse::<Init>().unwrap_err().to_string().contains("xavier-uniform, xavier-normal"));
        assert!("constant:nan".parse::<Init>().unwrap_err().to_string().contains("'nan' is not a finite number"));
    }

    #[test]
    fn a_kind_of_which_there_is_one_says_so() {
        let error = super::unknown("precision", "f64", &["f32"]).to_string();
        assert!(error.contains("'f32'") && error.contains("the only one"), "{error}");
    }
}
