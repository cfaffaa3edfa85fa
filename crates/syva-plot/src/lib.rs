//! Syvä's pictures, as SVG and PNG. Nothing is needed from the system: fonts and rasteriser come with [`kuva`].
//!
//! Each function takes plain numbers and returns a [`Picture`]:
//!
//! ```
//! use syva_plot::{Chart, Line, Theme};
//! let line = Line::new("train_loss", [(1.0, 2.3), (2.0, 1.1), (3.0, 0.7)]);
//! let picture = Chart { title: "a run", x: "epoch", y: "loss", lines: &[line], mark: Some((2.0, "best")) }.draw(Theme::Light);
//! assert!(picture.to_svg().starts_with("<svg"));
//! assert_eq!(picture.to_png()?[1..4], *b"PNG");
//! # Ok::<(), String>(())
//! ```
//!
//! Colours are those of Okabe and Ito, which people can tell apart whatever their colour vision is. What a colour shows
//! is also shown by a dash or a number.
#![forbid(unsafe_code)]

mod axes;
mod chart;
mod confusion;
mod dashes;
mod images;
mod network;
mod plane;
mod values;

use kuva::prelude::{PngBackend, SvgBackend};
use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

pub use chart::{Chart, Dash, Line, reliability};
pub use confusion::confusion;
pub use images::{Tile, Tone, tiles};
pub use network::{Layer, network};
pub use plane::{Plane, Polygon, plane};
pub use values::{Guide, Mark, Row, rows, scatter};

/// The colours of paper and ink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on near-black.
    Dark,
}

/// The number of colours in the palette. Lines beyond it need dashes to be told apart.
pub const COLORS: usize = 6;

/// A picture that can be written as SVG or PNG.
#[derive(Debug)]
pub struct Picture(Scene);

/// Pixels of a PNG for each unit of a picture.
const SCALE: f64 = 2.0;
/// The most pixels of a PNG. They take 4 bytes each in memory.
const MOST_PIXELS: f64 = 1e8;

impl Picture {
    /// This picture above another one.
    #[must_use]
    pub fn above(self, other: Self) -> Self {
        let mut scene = Scene::new(self.0.width.max(other.0.width), self.0.height + other.0.height)
            .with_background(self.0.background_color.as_deref());
        scene.text_color.clone_from(&self.0.text_color);
        scene.font_family.clone_from(&self.0.font_family);
        let mut top = 0.0;
        for part in [self.0, other.0] {
            let transform = Some(format!("translate(0,{top})"));
            scene.add(Primitive::GroupStart { transform, title: None, extra_attrs: None });
            scene.defs.extend(part.defs);
            scene.elements.extend(part.elements);
            scene.add(Primitive::GroupEnd);
            top += part.height;
        }
        Self(scene)
    }

    /// As SVG. Text stays text, in the reader's own sans-serif font.
    #[must_use]
    pub fn to_svg(&self) -> String {
        SvgBackend::new().render_scene(&self.0)
    }

    /// As PNG, two pixels to a unit of the SVG.
    ///
    /// # Errors
    /// The rasteriser's message, if the picture is too large for it.
    pub fn to_png(&self) -> Result<Vec<u8>, String> {
        let (width, height) = (self.0.width * SCALE, self.0.height * SCALE);
        if width * height > MOST_PIXELS {
            return Err(format!("a picture of {width:.0} x {height:.0} pixels is too large"));
        }
        let mut scene = Scene::new(self.0.width, self.0.height).with_background(self.0.background_color.as_deref());
        scene.text_color.clone_from(&self.0.text_color);
        self.0.elements.iter().flat_map(dashes::cut).for_each(|element| scene.add(element));
        PngBackend::new().with_scale(SCALE as f32).render_scene(&scene)
    }
}

impl Theme {
    fn paper(self) -> &'static str {
        match self {
            Self::Light => "#ffffff",
            Self::Dark => "#16181d",
        }
    }

    fn ink(self) -> &'static str {
        match self {
            Self::Light => "#222222",
            Self::Dark => "#e6e6e6",
        }
    }

    /// The colour of less important parts.
    fn pale(self) -> &'static str {
        match self {
            Self::Light => "#8a8f98",
            Self::Dark => "#8d949e",
        }
    }

    /// The colour of grid lines.
    fn grid(self) -> &'static str {
        match self {
            Self::Light => "#e3e5e8",
            Self::Dark => "#31353c",
        }
    }

    /// Okabe and Ito's colours that have enough contrast with this paper.
    fn palette(self) -> [&'static str; COLORS] {
        match self {
            Self::Light => ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"],
            Self::Dark => ["#56b4e9", "#e69f00", "#2fc79b", "#e39ac4", "#f0e442", "#ff7f3f"],
        }
    }

    /// An empty picture.
    fn scene(self, width: f64, height: f64) -> Scene {
        let mut scene = Scene::new(width, height).with_background(Some(self.paper()));
        scene.text_color = Some(self.ink().into());
        scene.font_family = Some("DejaVu Sans, Helvetica, Arial, sans-serif".into());
        scene
    }
}

/// Text whose baseline is at a point.
fn text(at: (f64, f64), content: impl Into<String>, size: u32, anchor: TextAnchor, color: &str) -> Primitive {
    let color = Some(Color::from(color));
    // In kuva, a dollar begins a formula unless it is escaped.
    let content = content.into().replace('$', "\\$");
    Primitive::Text { x: at.0, y: at.1, content, size, anchor, rotate: None, bold: false, color }
}

/// A colour as `#rrggbb`.
fn hex(color: &Color) -> String {
    match color {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        // All colours in this crate are RGB.
        _ => "#000000".into(),
    }
}

/// A colour between two, at `share` of the way.
fn mix(from: &str, to: &str, share: f64) -> Color {
    let channels = |color: &str| match Color::from(color) {
        Color::Rgb(r, g, b) => [r, g, b],
        _ => [0; 3],
    };
    let (from, to) = (channels(from), channels(to));
    let channel = |i: usize| (f64::from(from[i]) + share * (f64::from(to[i]) - f64::from(from[i]))).round() as u8;
    Color::Rgb(channel(0), channel(1), channel(2))
}
