//! Programs as text: a number that remembers how it was computed.
//!
//! A generic function over [`Number`] is called once with [`Symbol`]s. Each operation is noted in the order in which it is
//! done, and a GPU's language is written from the notes: one statement per operation. Nothing is simplified or reordered, so
//! a GPU does the same operations as the definition. Equal operations on equal numbers are noted once.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::arithmetic::Number;

/// An f32 that is not known yet: a constant, a parameter, or the result of an operation.
///
/// ```
/// use syva_core::arithmetic::Number;
/// use syva_core::ops::{Dialect, Symbol};
/// let [text, again] = [Dialect::Wgsl, Dialect::Wgsl]
///     .map(|dialect| dialect.function("scaled", ["x", "y"], |[x, y]| x.fma(y, Symbol::ONE)));
/// assert_eq!(text, "fn scaled(x: num, y: num) -> num {\n    return fused(x, y, from_bits(0x3f800000u));\n}\n");
/// assert_eq!(text, again);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// The bits of a constant.
    Constant(u32),
    /// The number of a parameter.
    Parameter(usize),
    /// The number of a note.
    Result(usize),
}

/// A comparison that is not decided yet.
#[derive(Clone, Copy, Debug)]
pub struct Truth(Symbol);

/// An operation that was noted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The name of its function in WGSL.
    pub name: &'static str,
    /// What it is done to.
    pub operands: Vec<Symbol>,
}

/// What a function does, for those who write it in other words than a [`Dialect`]'s.
#[derive(Clone, Debug)]
pub struct Recording<const M: usize> {
    /// The operations that the results need, in the order in which they are done, with the numbers by which
    /// [`Symbol::Result`] names them.
    pub operations: Vec<(usize, Operation)>,
    /// The results.
    pub results: [Symbol; M],
}

impl<const M: usize> Recording<M> {
    /// Calls a function once, and notes what it does to its parameters.
    ///
    /// ```
    /// use syva_core::arithmetic::Number;
    /// use syva_core::ops::{Recording, Symbol};
    /// let recording = Recording::of(|[x, y]| [x.fma(y, x * y)]);
    /// let names: Vec<_> = recording.operations.iter().map(|(_, operation)| operation.name).collect();
    /// assert_eq!(names, ["mul", "fused"]);
    /// assert_eq!(recording.results, [Symbol::Result(1)]);
    /// ```
    pub fn of<const N: usize>(body: impl FnOnce([Symbol; N]) -> [Symbol; M]) -> Self {
        NOTES.take();
        let results = body(std::array::from_fn(Symbol::Parameter));
        Self { operations: needed(NOTES.take(), &results), results }
    }
}

thread_local! {
    /// The notes of the function that is being recorded.
    static NOTES: RefCell<Vec<Operation>> = RefCell::default();
}

impl Symbol {
    const fn constant(value: f32) -> Self {
        Self::Constant(value.to_bits())
    }

    /// Notes an operation, unless it is there already. Not inlined: functions call it hundreds of times.
    #[inline(never)]
    fn of(name: &'static str, operands: &[Self]) -> Self {
        let operation = Operation { name, operands: operands.to_vec() };
        NOTES.with_borrow_mut(|notes| {
            let known = notes.iter().position(|known| *known == operation);
            Self::Result(known.unwrap_or_else(|| {
                notes.push(operation);
                notes.len() - 1
            }))
        })
    }
}

macro_rules! operators {
    ($($operator:ident $name:ident),*) => { $(
        impl $operator for Symbol {
            type Output = Self;
            fn $name(self, other: Self) -> Self {
                Self::of(stringify!($name), &[self, other])
            }
        }
    )* };
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl Neg for Symbol {
    type Output = Self;
    fn neg(self) -> Self {
        match self {
            Self::Constant(bits) => Self::Constant(bits ^ 1 << 31),
            _ => Self::of("neg", &[self]),
        }
    }
}

/// The same numbers as symbols.
const fn each<const N: usize>(values: &[f32]) -> [Symbol; N] {
    let mut each = [Symbol::Constant(0); N];
    let mut i = 0;
    while i < N {
        each[i] = Symbol::constant(values[i]);
        i += 1;
    }
    each
}

impl Number for Symbol {
    type Truth = Truth;
    const ZERO: Self = Self::constant(f32::ZERO);
    const ONE: Self = Self::constant(f32::ONE);
    const TWO: Self = Self::constant(f32::TWO);
    const INFINITY: Self = Self::constant(f32::INFINITY);
    const NAN: Self = Self::Constant(0x7fc0_0000);
    const LOG2_E: Self = Self::constant(f32::LOG2_E);
    const LN_2_HIGH: Self = Self::constant(f32::LN_2_HIGH);
    const LN_2_LOW: Self = Self::constant(f32::LN_2_LOW);
    const ROUNDER: Self = Self::constant(f32::ROUNDER);
    const EXP_RANGE: (Self, Self) = (Self::constant(f32::EXP_RANGE.0), Self::constant(f32::EXP_RANGE.1));
    const TANH_LIMIT: Self = Self::constant(f32::TANH_LIMIT);
    const EXP_SERIES: &'static [Self] = &each::<{ f32::EXP_SERIES.len() }>(f32::EXP_SERIES);
    const LOG_SERIES: &'static [Self] = &each::<{ f32::LOG_SERIES.len() }>(f32::LOG_SERIES);
    const ERF_LIMIT: Self = Self::constant(f32::ERF_LIMIT);
    const ERF_SERIES: &'static [Self] = &each::<{ f32::ERF_SERIES.len() }>(f32::ERF_SERIES);
    const ERF_REST: &'static [Self] = &each::<{ f32::ERF_REST.len() }>(f32::ERF_REST);
    const TURNS: Self = Self::constant(f32::TURNS);
    const HALF_TURN: Self = Self::constant(f32::HALF_TURN);
    const SIN_SERIES: &'static [Self] = &each::<{ f32::SIN_SERIES.len() }>(f32::SIN_SERIES);
    const COS_SERIES: &'static [Self] = &each::<{ f32::COS_SERIES.len() }>(f32::COS_SERIES);
    const SUBNORMAL: (Self, Self, Self) =
        (Self::constant(f32::SUBNORMAL.0), Self::constant(f32::SUBNORMAL.1), Self::constant(f32::SUBNORMAL.2));

    fn from_f64(value: f64) -> Self {
        Self::constant(value as f32)
    }
    fn fma(self, factor: Self, addend: Self) -> Self {
        Self::of("fused", &[self, factor, addend])
    }
    fn square_root(self) -> Self {
        Self::of("square_root", &[self])
    }
    fn above(self, other: Self) -> Truth {
        Truth(Self::of("above", &[self, other]))
    }
    fn equals(self, other: Self) -> Truth {
        Truth(Self::of("equals", &[self, other]))
    }
    fn select(Truth(which): Truth, yes: Self, no: Self) -> Self {
        Self::of("select", &[no, yes, which])
    }
    fn magnitude(self) -> Self {
        Self::of("magnitude", &[self])
    }
    fn with_sign_of(self, sign: Self) -> Self {
        Self::of("with_sign_of", &[self, sign])
    }
    fn powers_of_two(rounded: Self) -> (Self, Self) {
        (Self::of("power_low", &[rounded]), Self::of("power_high", &[rounded]))
    }
    // A compiler that takes liberties would turn (x + ROUNDER) − ROUNDER into x.
    fn whole(rounded: Self) -> Self {
        Self::of("whole", &[rounded])
    }
    fn split(self) -> (Self, Self) {
        (Self::of("mantissa_of", &[self]), Self::of("exponent_of", &[self]))
    }
}

/// A language that functions are written in. Each has a prelude, which defines what the language lacks: `magnitude`,
/// `with_sign_of`, `whole`, `power_low` and `power_high` ([`Number::powers_of_two`]), `mantissa_of` and `exponent_of`
/// ([`Number::split`]); for WGSL also the arithmetic itself, with `square_root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// CUDA C++, where a number is a `float`.
    Cuda,
    /// WGSL, where a number is a `num`.
    Wgsl,
}

impl Dialect {
    /// The text of a function. `body` is called once, and what it does to its parameters is written down.
    pub fn function<const N: usize>(
        self,
        name: &str,
        parameters: [&str; N],
        body: impl FnOnce([Symbol; N]) -> Symbol,
    ) -> String {
        let number = if self == Self::Cuda { "float" } else { "num" };
        self.write(name, parameters, number, |parameters| [body(parameters)])
    }

    /// The text of a function that returns a structure of numbers.
    pub fn function_of_several<const N: usize, const M: usize>(
        self,
        name: &str,
        parameters: [&str; N],
        structure: &str,
        body: impl FnOnce([Symbol; N]) -> [Symbol; M],
    ) -> String {
        self.write(name, parameters, structure, body)
    }

    /// The text of a function whose result, of the type `returned`, is made of one number or of several.
    fn write<const N: usize, const M: usize>(
        self,
        name: &str,
        parameters: [&str; N],
        returned: &str,
        body: impl FnOnce([Symbol; N]) -> [Symbol; M],
    ) -> String {
        let Recording { operations, results } = Recording::of(body);
        self.text(name, &parameters, returned, &operations, &results)
    }

    /// Not generic, so it is compiled once.
    fn text(
        self,
        name: &str,
        parameters: &[&str],
        returned: &str,
        operations: &[(usize, Operation)],
        results: &[Symbol],
    ) -> String {
        let each = |form: fn(&str) -> String| {
            parameters.iter().map(|parameter| form(parameter)).collect::<Vec<_>>().join(", ")
        };
        let mut text = match self {
            Self::Cuda => {
                let parameters = each(|parameter| format!("float {parameter}"));
                format!("__device__ inline {returned} {name}({parameters}) {{\n")
            }
            Self::Wgsl => {
                let parameters = each(|parameter| format!("{parameter}: num"));
                format!("fn {name}({parameters}) -> {returned} {{\n")
            }
        };
        let mut told = false;
        for (number, operation) in operations {
            let value = self.operation(operation, parameters);
            told = results[..] == [Symbol::Result(*number)];
            let begin = match self {
                _ if told => "return".to_string(),
                Self::Wgsl => format!("let v{number} ="),
                Self::Cuda if matches!(operation.name, "above" | "equals") => format!("const bool v{number} ="),
                Self::Cuda => format!("const float v{number} ="),
            };
            let _ = writeln!(text, "    {begin} {value};");
        }
        if !told {
            let values: Vec<_> = results.iter().map(|&result| self.symbol(result, parameters)).collect();
            let values = values.join(", ");
            let value = match self {
                _ if results.len() == 1 => values,
                Self::Cuda => format!("{{{values}}}"),
                Self::Wgsl => format!("{returned}({values})"),
            };
            let _ = writeln!(text, "    return {value};");
        }
        text + "}\n"
    }

    fn symbol(self, symbol: Symbol, parameters: &[&str]) -> String {
        match (symbol, self) {
            (Symbol::Parameter(number), _) => parameters[number].to_string(),
            (Symbol::Result(number), _) => format!("v{number}"),
            (Symbol::Constant(bits), Self::Wgsl) => format!("from_bits({bits:#010x}u)"),
            (Symbol::Constant(bits), Self::Cuda) => {
                // Rust writes the fewest decimals that are read back as the same bits.
                let decimals = format!("{:?}f", f32::from_bits(bits));
                let plain = decimals.contains('.') && !decimals.contains('e');
                if plain { decimals } else { format!("__int_as_float({bits:#010x})") }
            }
        }
    }

    fn operation(self, operation: &Operation, parameters: &[&str]) -> String {
        let operands: Vec<_> = operation.operands.iter().map(|&symbol| self.symbol(symbol, parameters)).collect();
        let call = |name: &str| format!("{name}({})", operands.join(", "));
        if self == Self::Wgsl {
            return call(operation.name);
        }
        let infix = |sign: &str| operands.join(sign);
        match operation.name {
            "add" => infix(" + "),
            "sub" => infix(" - "),
            "mul" => infix(" * "),
            "div" => infix(" / "),
            "above" => infix(" > "),
            "equals" => infix(" == "),
            "neg" => format!("-{}", operands[0]),
            "select" => format!("{} ? {} : {}", operands[2], operands[1], operands[0]),
            "fused" => call("fmaf"),
            "square_root" => call("sqrtf"),
            name => call(name),
        }
    }
}

/// The notes that the results depend on, with their numbers.
fn needed(notes: Vec<Operation>, results: &[Symbol]) -> Vec<(usize, Operation)> {
    let mut needed = vec![false; notes.len()];
    let mut wanted = results.to_vec();
    while let Some(symbol) = wanted.pop() {
        if let Symbol::Result(number) = symbol
            && !std::mem::replace(&mut needed[number], true)
        {
            wanted.extend(&notes[number].operands);
        }
    }
    notes.into_iter().enumerate().filter(|&(number, _)| needed[number]).collect()
}
