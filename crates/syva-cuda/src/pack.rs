//! Reads `kernels/ptx.pack`, in which the PTX of all kernels lies compressed. `cargo xtask kernels` writes it
//! (`xtask/src/pack.rs`) and leaves the readable texts in `target/kernels`.
//!
//! ```text
//! pack    = zlib(module*)             zlib's check value covers all modules
//! module  = name "\n" PTX "\0"        PTX in which each mention of a register has another number:
//!
//! %f3         the register that was mentioned three mentions of an %f ago
//! %f0         a register that is mentioned for the first time: the one after the last such register
//! %f+5, %f-5  a register that is mentioned for the first time: 5 after or before the last such register
//! %f<         a declaration, as in PTX. Mentions of %f are counted anew from here.
//! ```
//!
//! The compiler repeats many pieces of code with other registers. With these numbers, the repetitions are equal, and the
//! pack has two fifths of the size that it would have without them.

use std::collections::HashMap;
use std::io::Read;

use flate2::bufread::ZlibDecoder;

/// The modules of a pack. Their registers are restored only when a module is asked for.
pub(crate) struct Pack(String);

impl Pack {
    /// Decompresses a pack. The error says what is wrong with it.
    pub(crate) fn open(packed: &[u8]) -> Result<Self, String> {
        let (mut modules, mut decoder) = (String::new(), ZlibDecoder::new(packed));
        decoder.read_to_string(&mut modules).map_err(|error| error.to_string())?;
        let rest = decoder.into_inner().len();
        if rest > 0 { Err(format!("{rest} bytes follow its end")) } else { Ok(Self(modules)) }
    }

    /// Each module as it is in the pack.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator('\0')
    }

    /// The PTX of a module.
    pub(crate) fn ptx(&self, name: &str) -> Result<String, String> {
        let text = |module| str::strip_prefix(module, name)?.strip_prefix('\n');
        let module = self.modules().find_map(text).ok_or_else(|| format!("it has no {name}"))?;
        restored(module).map_err(|problem| format!("{name}: {problem}"))
    }
}

/// What was mentioned so far of one class of registers, such as %f.
#[derive(Default)]
struct Mentioned {
    numbers: Vec<u32>,
    /// The last register that was mentioned for the first time.
    newest: u32,
}

/// The PTX with its own numbers of registers.
fn restored(module: &str) -> Result<String, String> {
    let mut classes = HashMap::<&str, Mentioned>::new();
    let mut pieces = module.split('%');
    let mut ptx = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (class, rest) = after(piece, char::is_alphabetic);
        let mentioned = classes.entry(class).or_default();
        ptx += "%";
        ptx += class;
        let sign = rest.chars().next().filter(|&first| first == '+' || first == '-');
        let (digits, behind) = after(&rest[usize::from(sign.is_some())..], |c| c.is_ascii_digit());
        if digits.is_empty() {
            if rest.starts_with('<') {
                *mentioned = Mentioned::default();
            }
            ptx += rest;
            continue;
        }
        let impossible = || format!("there is no register %{class}{}", &rest[..rest.len() - behind.len()]);
        let number = digits.parse::<u32>().map_err(|_| impossible())?;
        let (newest, numbers) = (mentioned.newest, &mut mentioned.numbers);
        let register = match (sign, number) {
            (Some('-'), _) => newest.checked_sub(number),
            (Some(_), _) => newest.checked_add(number),
            (None, 0) => newest.checked_add(1),
            (None, ago) => numbers.len().checked_sub(ago as usize).map(|at| numbers[at]),
        };
        let register = register.ok_or_else(impossible)?;
        if sign.is_some() || number == 0 {
            mentioned.newest = register;
        }
        numbers.push(register);
        ptx += &register.to_string();
        ptx += behind;
    }
    Ok(ptx)
}

/// Splits a text after its first characters of some kind.
pub(crate) fn after(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !kind(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_restored() {
        let packed = ".reg .f32 %f<9>; add %f0, %f0, %f2; add %f+5, %f3, 0f00; \
                      mov %f-4, %tid.x; ld [%rd0+8]; .reg .f32 %f<2>; neg %f0, %f1;";
        let ptx = ".reg .f32 %f<9>; add %f1, %f2, %f1; add %f7, %f2, 0f00; \
                   mov %f3, %tid.x; ld [%rd1+8]; .reg .f32 %f<2>; neg %f1, %f1;";
        assert_eq!(restored(packed).as_deref(), Ok(ptx));
    }

    #[test]
    fn impossible_registers_are_errors() {
        for (packed, register) in [
            ("mov %f1", "%f1"),
            ("mov %f0, %f2;", "%f2"),
            ("mov %r-1", "%r-1"),
            ("mov %r+4294967295, %r0;", "%r0"),
            ("mov %r4294967296", "%r4294967296"),
        ] {
            assert_eq!(restored(packed), Err(format!("there is no register {register}")));
        }
    }
}
