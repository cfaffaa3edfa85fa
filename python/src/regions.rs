//! The linear regions of a model.

use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use syva::Head;
use syva::regions::{Counts, Decision, Network, Region, Slice, Subdivision};

use crate::errors::raised;
use crate::model::Model;

/// A model's regions in a box of inputs, or of coordinates on the line or plane through two or three points.
#[pyfunction]
#[pyo3(signature = (model, bounds, points))]
pub fn regions<'py>(
    py: Python<'py>,
    model: &Model,
    bounds: Vec<[f64; 2]>,
    points: Vec<PyReadonlyArray1<'py, f32>>,
) -> PyResult<Bound<'py, PyDict>> {
    let points: Vec<Vec<f32>> = points.iter().map(|point| point.as_array().to_vec()).collect();
    let slice = match &points[..] {
        [] => Slice::Inputs,
        [a, b] => Slice::Line([a, b]),
        [a, b, c] => Slice::Plane([a, b, c]),
        _ => return Err(raised(syva::Error::setting("points", "there are too many", "give two or three"))),
    };
    let model = model.model();
    let network = py.detach(|| Network::new(model, slice)).map_err(raised)?;
    let mut found = py.detach(|| Subdivision::new(&network, &bounds)).map_err(raised)?;
    let decides = matches!(model.spec.head, Head::Binary | Head::Logits | Head::LogSoftmax);
    let decision = if decides && network.outputs() <= Network::MAX_CLASSES {
        Some(py.detach(|| found.clone().into_decision()).map_err(raised)?)
    } else {
        None
    };
    let linear = py.detach(|| found.linear_regions());
    let (counts, certificate, limits) = (found.counts(), found.certificate(), network.bounds());
    let all = PyDict::new(py);
    let tuple = |counts: &Counts| (counts.regions, counts.edges, counts.vertices);
    all.set_item("activation_regions", counts.regions)?;
    all.set_item("linear_regions", linear.count)?;
    all.set_item("edges", counts.edges)?;
    all.set_item("vertices", counts.vertices)?;
    all.set_item("by_layer", found.by_layer().iter().map(tuple).collect::<Vec<_>>())?;
    all.set_item("at_least", limits.lower.to_string())?;
    all.set_item("at_most", limits.upper.to_string())?;
    all.set_item("margin", certificate.margin)?;
    all.set_item("exact_vertices", certificate.exact)?;
    all.set_item("places", places(py, &found)?)?;
    all.set_item("corners", corners(py, found.regions()))?;
    all.set_item("linear", PyArray1::from_vec(py, linear.of))?;
    let units = found.regions().first().map_or(0, |region| region.pattern.len());
    let patterns = found.regions().iter().flat_map(|region| region.pattern.iter().copied());
    let patterns = PyArray1::from_iter(py, patterns).reshape([found.regions().len(), units])?;
    all.set_item("patterns", patterns)?;
    all.set_item("maps", maps(py, &found)?)?;
    if network.dimensions() == 1 {
        let ends = (0..counts.regions).map(|region| found.regions()[region].corners[0]);
        let ends: Vec<u32> = ends.chain(found.regions().last().map(|region| region.corners[1])).collect();
        let exact = ends.into_iter().map(|end| {
            let (numerators, denominator) = found.exact_vertex(end);
            (numerators[0].clone(), denominator)
        });
        all.set_item("ends", exact.collect::<Vec<_>>())?;
    }
    if let Some(decision) = decision {
        all.set_item("decision", decided(py, &decision)?)?;
    }
    Ok(all)
}

/// `[vertices, 2]`.
fn places<'py>(py: Python<'py>, found: &Subdivision) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let vertices = found.vertices();
    PyArray1::from_iter(py, vertices.iter().flatten().copied()).reshape([vertices.len(), 2])
}

/// The vertices of each region.
fn corners<'py>(py: Python<'py>, regions: &[Region]) -> Vec<Bound<'py, PyArray1<u32>>> {
    regions.iter().map(|region| PyArray1::from_slice(py, &region.corners)).collect()
}

/// `[regions, outputs, coordinates + 1]`: of each region's map, the gradient of each output and its constant.
fn maps<'py>(py: Python<'py>, found: &Subdivision) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let values = py.detach(|| {
        let mut values = Vec::new();
        for region in found.regions() {
            let map = found.map(region);
            for (gradient, constant) in map.gradient.iter().zip(&map.constant) {
                values.extend(gradient);
                values.push(*constant);
            }
        }
        values
    });
    let network = found.network();
    PyArray1::from_vec(py, values).reshape([found.regions().len(), network.outputs(), network.dimensions() + 1])
}

/// The regions cut by the decision boundary, with the number of the class of each, and the boundary's edges.
fn decided<'py>(py: Python<'py>, decision: &Decision) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    let found = decision.subdivision();
    all.set_item("places", places(py, found)?)?;
    all.set_item("corners", corners(py, found.regions()))?;
    all.set_item("classes", PyArray1::from_slice(py, decision.classes()))?;
    let ends: Vec<u32> = decision.boundary().iter().flat_map(|edge| edge.ends).collect();
    let edges = ends.len() / 2;
    all.set_item("boundary", PyArray1::from_vec(py, ends).reshape([edges, 2])?)?;
    Ok(all)
}

/// The numbers of regions that ReLU networks of these widths can have: some weights reach the first, none more than the
/// second.
#[pyfunction]
pub fn region_bounds(inputs: usize, hidden: Vec<usize>) -> (String, String) {
    let bounds = syva::regions::Bounds::relu(inputs, &hidden);
    (bounds.lower.to_string(), bounds.upper.to_string())
}
