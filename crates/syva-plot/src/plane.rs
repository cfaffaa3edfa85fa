use std::fmt::Write;

use kuva::render::color::Color;
use kuva::render::render::{PathData, Primitive, TextAnchor};

use crate::axes::{Axes, Entry, Sample, Ticks, legend, width as width_of};
use crate::chart::{Frame, PLOT, poly_line};
use crate::{COLORS, Picture, Theme, mix, text};

/// A polygon of a [`plane`].
#[derive(Clone, Debug)]
pub struct Polygon {
    /// Its corners, in order.
    pub corners: Vec<(f64, f64)>,
    /// The group whose colour it has. Those beyond the palette's [`COLORS`] have its colours again.
    pub group: usize,
    /// Its shade of the group's colour, from 0 (pale) to 1.
    pub shade: f64,
}

/// What is drawn of a plane that is cut into polygons.
#[derive(Clone, Debug)]
pub struct Plane<'a> {
    /// The title, and a line below it.
    pub title: [&'a str; 2],
    /// The labels of the axes.
    pub axes: [&'a str; 2],
    /// The range of each axis.
    pub bounds: [[f64; 2]; 2],
    /// The polygons.
    pub polygons: &'a [Polygon],
    /// Lines that stand out, such as a decision boundary.
    pub boundary: &'a [[(f64, f64); 2]],
    /// Points, with the groups whose colours they have, and a text next to each, which may be empty.
    pub points: &'a [((f64, f64), usize, String)],
    /// The groups' names, if a legend is to tell them.
    pub groups: &'a [String],
}

/// The most points that are drawn.
const MAX_POINTS: usize = 2_000;

/// A plane that is cut into polygons. Edges are drawn, so that neighbours of the same shade are told apart.
#[must_use]
pub fn plane(plane: &Plane, theme: Theme) -> Picture {
    let [x, y] = plane.bounds.map(|[low, high]| (low, high));
    let x_ticks = Ticks::along(x.0, x.1, PLOT.0, 0.0);
    let y_ticks = Ticks::new(y.0, y.1, 8.0, 0.0);
    let palette = theme.palette();
    let color = |group: usize| palette[group % COLORS];
    let mut entries: Vec<Entry> = plane
        .groups
        .iter()
        .take(20)
        .enumerate()
        .map(|(group, name)| Entry { name: name.clone(), color: color(group).into(), sample: Sample::Dot })
        .collect();
    if !plane.boundary.is_empty() {
        entries.push(Entry { name: "decision boundary".into(), color: theme.ink().into(), sample: Sample::Line(&[]) });
    }
    let frame = Frame::sized(PLOT.0, &y_ticks, &entries, plane.title[0], plane.title[1], theme);
    let axes = Axes { x, y, area: frame.area };
    let mut scene = frame.scene;
    axes.draw(&mut scene, [&x_ticks, &y_ticks], plane.axes, theme);
    let edge = mix(theme.paper(), theme.ink(), 0.55);
    // Where there are very many, their edges would hide them.
    let width = (14.0 / (plane.polygons.len().max(1) as f64).sqrt()).clamp(0.12, 0.8);
    for polygon in plane.polygons {
        let mut d = String::new();
        for (i, &corner) in polygon.corners.iter().enumerate() {
            let (x, y) = axes.at(corner);
            // Writing to a string cannot fail.
            let _ = write!(d, "{}{x:.2} {y:.2}", if i == 0 { 'M' } else { 'L' });
        }
        d.push('Z');
        let fill = mix(theme.paper(), color(polygon.group), 0.12 + 0.5 * polygon.shade.clamp(0.0, 1.0));
        scene.add(Primitive::Path(Box::new(PathData {
            d,
            fill: Some(fill),
            stroke: edge.clone(),
            stroke_width: width,
            opacity: None,
            stroke_dasharray: None,
        })));
    }
    for &[from, to] in plane.boundary {
        scene.add(poly_line(vec![axes.at(from), axes.at(to)], theme.ink(), 2.2, &[]));
    }
    let r = if plane.points.len() > 300 { 1.8 } else { 3.2 };
    for (point, group, label) in plane.points.iter().take(MAX_POINTS) {
        let inside = |value: f64, (low, high): (f64, f64)| (low..=high).contains(&value);
        if !inside(point.0, x) || !inside(point.1, y) {
            continue;
        }
        let (cx, cy) = axes.at(*point);
        scene.add(Primitive::Circle {
            cx,
            cy,
            r,
            fill: Color::from(color(*group)),
            fill_opacity: None,
            stroke: Some(Color::from(theme.paper())),
            stroke_width: Some(0.7),
        });
        if !label.is_empty() {
            // Readable above the edges.
            scene.add(Primitive::Rect {
                x: cx + 5.0,
                y: cy - 18.0,
                width: width_of(label, 12) + 5.0,
                height: 16.0,
                fill: Color::from(theme.paper()),
                stroke: None,
                stroke_width: None,
                opacity: Some(0.75),
            });
            scene.add(text((cx + 7.0, cy - 6.0), label.as_str(), 12, TextAnchor::Start, theme.ink()));
        }
    }
    legend(&mut scene, frame.legend, &entries, theme);
    Picture(scene)
}
