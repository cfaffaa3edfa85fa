//! The instruction sets that kernels are compiled for. One of them is chosen at run time, once.

use std::fmt;
use std::str::FromStr;

use syva_core::{Error, Result};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, 4 lanes. On aarch64 the compiler turns it into NEON, and that is its name there. On `x86_64` it
    /// becomes SSE2, and is slow, because a fused multiply-add takes a dozen operations.
    Scalar,
    /// 8 lanes (`x86_64` since 2013).
    Avx2,
    /// 16 lanes.
    Avx512,
}

/// What the compiler makes of plain Rust.
const PLAIN: &str = if cfg!(target_arch = "aarch64") { "neon" } else { "scalar" };

impl Isa {
    /// All instruction sets, narrowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The widest instruction set of this processor, or the one named by the environment variable `SYVA_ISA`.
    pub fn detect() -> Result<Self> {
        match std::env::var("SYVA_ISA") {
            Ok(name) => name.parse::<Self>()?.available(),
            Err(_) => Ok(Self::ALL.into_iter().rfind(|isa| isa.available().is_ok()).unwrap_or(Self::Scalar)),
        }
    }

    /// The instruction set itself, if this processor has it.
    pub fn available(self) -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        let has = match self {
            Self::Scalar => true,
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("popcnt")
            }
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
        };
        #[cfg(not(target_arch = "x86_64"))]
        let has = self == Self::Scalar;
        if has {
            return Ok(self);
        }
        let what = format!("the instruction set {self}");
        Err(Error::Unsupported { what, remedy: "unset SYVA_ISA or name one this processor has".into() })
    }
}

impl FromStr for Isa {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "scalar" => Ok(Self::Scalar),
            "neon" if PLAIN == "neon" => Ok(Self::Scalar),
            "avx2" => Ok(Self::Avx2),
            "avx512" => Ok(Self::Avx512),
            _ => {
                let remedy = format!("use {PLAIN}, avx2 or avx512");
                Err(Error::setting("SYVA_ISA", format!("unknown name '{name}'"), remedy))
            }
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scalar => PLAIN,
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// The processor's own name, or its architecture if it does not report one.
#[must_use]
pub fn processor_name() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
            let words = (0x8000_0002..=0x8000_0004).flat_map(|leaf| {
                let part = __cpuid(leaf);
                [part.eax, part.ebx, part.ecx, part.edx]
            });
            let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).take_while(|&byte| byte != 0).collect();
            return String::from_utf8_lossy(&bytes).trim().to_string();
        }
    }
    format!("{} processor", std::env::consts::ARCH)
}
