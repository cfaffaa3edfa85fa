//! Pictures for light and dark pages: one SVG whose colours the page sets.

use syva_plot::{Picture, Theme};

use super::escape;

/// The colours of a page's pictures. Each is a pair, for light and for dark paper, and has a name in the page's CSS.
#[derive(Default)]
pub struct Palette(Vec<[String; 2]>);

impl Palette {
    /// The picture that `draw` makes, as inline SVG for both themes.
    pub fn svg(&mut self, what: &str, draw: impl Fn(Theme) -> Picture) -> String {
        let [light, dark] = [Theme::Light, Theme::Dark].map(|theme| draw(theme).to_svg());
        let merged = self.merge(&light, &dark).unwrap_or(light);
        // The page has its own fonts. Whatever kuva writes twice is removed.
        let (head, body) = merged.split_once('>').unwrap_or((&merged, ""));
        let head = head.split(" font-family=").next().unwrap_or(head);
        let body = body.split_once("-->").map_or(body, |(_, body)| body);
        let body = body.replace(" text-anchor=\"start\"", "").replace(" />", "/>");
        format!("{head} role=img aria-label=\"{}\">{body}\n", escape(what))
    }

    /// Merges two pictures that differ only in their colours.
    fn merge(&mut self, light: &str, dark: &str) -> Option<String> {
        // Quotation marks in text are escaped, so this is where a colour begins.
        const COLOR: &str = "\"#";
        let (mut lights, mut darks) = (light.split(COLOR), dark.split(COLOR));
        let (first, other) = (lights.next()?, darks.next()?);
        let mut merged = (first == other).then(|| first.to_string())?;
        for light in lights {
            let dark = darks.next()?;
            let ((light, rest), (dark, other)) = (light.split_at_checked(6)?, dark.split_at_checked(6)?);
            if rest != other {
                return None;
            }
            merged += &format!("\"var(--k{}){rest}", self.place([light, dark].map(|color| format!("#{color}"))));
        }
        darks.next().is_none().then_some(merged)
    }

    fn place(&mut self, pair: [String; 2]) -> usize {
        self.0.iter().position(|known| *known == pair).unwrap_or_else(|| {
            self.0.push(pair);
            self.0.len() - 1
        })
    }

    /// The CSS that sets the colours.
    pub fn css(&self) -> String {
        let all = |theme: usize| {
            let colors = self.0.iter().enumerate();
            colors.fold(String::new(), |css, (place, pair)| css + &format!("--k{place}:{};", pair[theme]))
        };
        format!(":root{{{}}}\n@media (prefers-color-scheme: dark){{:root{{{}}}}}\n", all(0), all(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_colours_of_both_themes_and_the_text_of_one() {
        let counts = vec![vec![3, 1], vec![0, 4]];
        let mut palette = Palette::default();
        let svg = palette.svg("a \"<b>\"", |theme| syva_plot::confusion("#123456 \"#123456\"", &counts, None, theme));
        let css = palette.css();
        assert!(svg.contains("aria-label=\"a &quot;&lt;b&gt;&quot;\""), "{svg}");
        assert!(svg.contains("#123456 &quot;#123456&quot;") && !svg.contains("\"#"), "{svg}");
        let (light, dark) = css.split_once("@media").unwrap();
        assert!(light.contains("#ffffff") && dark.contains("#16181d"), "{css}");
        for place in 0..palette.0.len() {
            assert!(svg.contains(&format!("\"var(--k{place})\"")), "{place}: {svg}");
        }
    }
}
