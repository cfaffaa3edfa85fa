//! Writes `crates/syva-cuda/kernels/ptx.pack`. Its format stands where it is read, in `crates/syva-cuda/src/pack.rs`.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Result, bail};
use flate2::Compression;
use flate2::write::ZlibEncoder;

#[path = "../../crates/syva-cuda/src/pack.rs"]
mod reader;

pub(crate) use reader::Pack;

/// The pack of some modules, each a name and its PTX.
pub fn packed(modules: &[(&str, String)]) -> Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    for (name, ptx) in modules {
        let module = shortened(ptx);
        write!(zlib, "{name}\n{module}\0")?;
    }
    let packed = zlib.finish()?;
    let pack = Pack::open(&packed).map_err(anyhow::Error::msg)?;
    for (name, ptx) in modules {
        if pack.ptx(name).as_ref() != Ok(ptx) {
            bail!("{name} contains what the format of the pack cannot hold; extend crates/syva-cuda/src/pack.rs");
        }
    }
    Ok(packed)
}

/// What was mentioned so far of one class of registers, such as %f.
#[derive(Default)]
struct Mentioned {
    /// How many mentions there were, and which of them was the last of each register.
    count: usize,
    last: HashMap<u32, usize>,
    /// The last register that was mentioned for the first time.
    newest: u32,
}

/// PTX with the pack's numbers for its registers.
fn shortened(ptx: &str) -> String {
    let mut classes = HashMap::<&str, Mentioned>::new();
    let mut pieces = ptx.split('%');
    let mut module = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (class, rest) = reader::after(piece, char::is_alphabetic);
        let mentioned = classes.entry(class).or_default();
        module += &format!("%{class}");
        let (digits, behind) = reader::after(rest, |c| c.is_ascii_digit());
        let Ok(register) = digits.parse::<u32>() else {
            if rest.starts_with('<') {
                *mentioned = Mentioned::default();
            }
            module += rest;
            continue;
        };
        if let Some(last) = mentioned.last.insert(register, mentioned.count) {
            module += &(mentioned.count - last).to_string();
        } else {
            match i64::from(register) - i64::from(mentioned.newest) {
                1 => module += "0",
                more => module += &format!("{more:+}"),
            }
            mentioned.newest = register;
        }
        mentioned.count += 1;
        module += behind;
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let one = ".reg .f32 %f<9>;\n.reg .b64 %rd<3>;\nadd %f2, %f1, %f2;\nld %f8, [%rd2+8];\nmov %f0, %ctaid.x;\n";
        let modules = [("one.ptx", one.to_string()), ("two.ptx", one.repeat(2)), ("none.ptx", String::new())];
        let pack = Pack::open(&packed(&modules).expect("can be packed")).expect("can be opened");
        for (name, ptx) in &modules {
            assert_eq!(pack.ptx(name).as_ref(), Ok(ptx));
        }
        assert_eq!(pack.ptx("one"), Err("it has no one".into()));
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        for ptx in ["mov %r01", "mov %r-1", "mov %r99999999999", "\0"] {
            let refusal = packed(&[("odd.ptx", ptx.to_string())]).expect_err(ptx);
            assert!(refusal.to_string().starts_with("odd.ptx contains"), "{refusal}");
        }
    }
}
