//! Networks whose regions are known: those of the notebooks and interactive figures of S. Prince, *Understanding Deep
//! Learning* (udlbook.github.io). Weights are multiplied with factors that make them integers, so that what the book writes
//! as a decimal is exact. Regions do not change by that.

use syva_core::{Activation, Matrix, Mlp, Model, Parameters, State};
use syva_regions::{Network, Slice, Subdivision};

/// A network from its layers' rows of weights, each followed by the unit's bias.
fn model(inputs: usize, layers: &[(Activation, &[&[f32]])]) -> Model {
    let widths: Vec<usize> = layers.iter().map(|(_, rows)| rows.len()).collect();
    let (outputs, hidden) = widths.split_last().unwrap();
    let mut spec = Mlp::new(inputs).hidden(hidden, Relu).values(*outputs);
    let mut all = Vec::new();
    for (layer, (activation, rows)) in spec.layers.iter_mut().zip(layers) {
        layer.activation = *activation;
        let weights = rows.iter().flat_map(|row| row[..row.len() - 1].to_vec()).collect();
        let weight = Matrix::new(rows.len(), rows[0].len() - 1, weights).unwrap();
        all.push(Parameters::new(weight, rows.iter().map(|row| row[row.len() - 1]).collect()));
    }
    Model::new(spec, State { step: 0, embedding: Vec::new(), layers: all, slots: Vec::new() })
}

/// The number of activation regions and of linear regions.
fn regions(model: &Model, bounds: &[[f64; 2]]) -> (usize, usize) {
    let network = Network::new(model, Slice::Inputs).unwrap();
    let regions = Subdivision::new(&network, bounds).unwrap();
    (regions.counts().regions, regions.linear_regions().count)
}

use Activation::{Identity, Relu};

#[test]
fn notebook_3_2_has_seven_polytopes() {
    let model = model(
        2,
        &[
            (Relu, &[&[9.0, 0.0, -40.0], &[-9.0, -5.0, 50.0], &[5.0, 9.0, -70.0]]),
            (Identity, &[&[-4.0, 4.0, 3.0, 0.0]]),
        ],
    );
    assert_eq!(regions(&model, &[[0.0, 10.0], [0.0, 10.0]]), (7, 7));
    assert_eq!(regions(&model, &[[-1e6, 1e6], [-1e6, 1e6]]), (7, 7));
}

#[test]
fn notebook_4_1_has_three_times_as_many_regions_with_each_network() {
    // The first network's output is 1 - 2 relu(-x) - 3 relu(x) + 9.3 relu(x - 0.67).
    let net = |copies: usize, phi_1: f32, sign: f32| {
        let mut layers: Vec<(Activation, Vec<Vec<f32>>)> = Vec::new();
        // What the value that arrives is multiplied with.
        let mut scale = 1.0;
        for _ in 0..copies {
            layers.push((Relu, vec![vec![-1.0, 0.0], vec![1.0, 0.0], vec![100.0, -67.0 * scale]]));
            layers.push((Identity, vec![vec![phi_1 * 1_000.0, -3_000.0, 93.0, 1_000.0 * scale]]));
            scale *= 1_000.0;
        }
        layers.push((Relu, vec![vec![-5.0, -3.0 * scale], vec![5.0, scale], vec![2.0, -scale]]));
        layers.push((Identity, vec![vec![-2.0 * sign, -3.0, 10.0, 5.0 * scale]]));
        let rows: Vec<Vec<&[f32]>> = layers.iter().map(|(_, rows)| rows.iter().map(|row| &row[..]).collect()).collect();
        let layers: Vec<(Activation, &[&[f32]])> =
            layers.iter().zip(&rows).map(|((activation, _), rows)| (*activation, &rows[..])).collect();
        model(1, &layers)
    };
    let linear = |model: &Model, range: f64| regions(model, &[[-range, range]]).1;
    // Alone: two of the first network's joints coincide at 0.
    let alone = model(
        1,
        &[(Relu, &[&[-1.0, 0.0], &[1.0, 0.0], &[100.0, -67.0]]), (Identity, &[&[-2_000.0, -3_000.0, 93.0, 1_000.0]])],
    );
    assert_eq!(linear(&alone, 1.0), 3);
    assert_eq!(linear(&net(0, -2.0, 1.0), 1.0), 4);
    assert_eq!(linear(&net(1, -2.0, 1.0), 1.0), 12);
    assert_eq!(linear(&net(1, -2.0, -1.0), 1.0), 12);
    assert_eq!(linear(&net(1, -1.0, 1.0), 1.0), 10);
    assert_eq!(linear(&net(1, -1.0, 1.0), 1e6), 12);
    assert_eq!(linear(&net(2, -2.0, 1.0), 1.0), 36);
    assert_eq!(linear(&net(3, -2.0, 1.0), 1.0), 108);
}

#[test]
fn figure_4_1_touches_a_joint() {
    // The first network's output, times 3. At 0.6, it is just where the second has its first joint.
    let model = model(
        1,
        &[
            (Relu, &[&[6.0, 6.0], &[16.0, 0.0], &[25.0, -15.0]]),
            (Identity, &[&[1.0, -1.0, 1.0, -3.0]]),
            (Relu, &[&[1.0, 3.0], &[5.0, 3.0], &[10.0, -9.0]]),
            (Identity, &[&[-1_225.0, 553.0, -204.0, 1_260.0]]),
        ],
    );
    assert_eq!(regions(&model, &[[-1.0, 1.0]]).1, 9);
    assert_eq!(regions(&model, &[[-1e6, 1e6]]).1, 10);
}

#[test]
fn figure_4_5_has_twelve_regions() {
    let model = model(
        1,
        &[
            (Relu, &[&[1.0, 0.0], &[1.0, -1.0], &[5.0, -8.0]]),
            (Relu, &[&[93.0, -253.0, 80.0, -45.0], &[102.0, -277.0, 110.0, -27.0], &[-438.0, 1_618.0, -575.0, 288.0]]),
            (Identity, &[&[-100.0, 64.0, 7.0, -2_160.0]]),
        ],
    );
    assert_eq!(regions(&model, &[[0.0, 2.0]]).1, 12);
}

#[test]
fn breakpoints_are_exact_fractions() {
    let model = model(1, &[(Relu, &[&[3.0, -1.0], &[-7.0, 2.0]]), (Identity, &[&[1.0, 1.0, 0.0]])]);
    let network = Network::new(&model, Slice::Inputs).unwrap();
    let mut regions = Subdivision::new(&network, &[[0.0, 1.0]]).unwrap();
    let ends: Vec<u32> = regions.regions().iter().map(|region| region.corners[1]).collect();
    let places: Vec<String> = ends
        .iter()
        .map(|&end| {
            let (numerators, denominator) = regions.exact_vertex(end);
            format!("{}/{denominator}", numerators[0])
        })
        .collect();
    assert_eq!(places, ["2/7", "1/3", "1/1"]);
    let slopes: Vec<f64> = regions.regions().iter().map(|region| regions.map(region).gradient[0][0]).collect();
    assert_eq!(slopes, [-7.0, 0.0, 3.0]);
}

#[test]
fn lines_through_one_point_and_dead_units_are_no_trouble() {
    // Without biases, all lines pass through 0; two coincide; a unit is 0 everywhere; and one is never active.
    let model = model(
        2,
        &[
            (
                Relu,
                &[
                    &[1.0, 0.0, 0.0],
                    &[1.0, 1.0, 0.0],
                    &[0.1, -0.3, 0.0],
                    &[-2.0, -2.0, 0.0],
                    &[0.0, 0.0, 0.0],
                    &[1.0, 1.0, -9.0],
                ],
            ),
            (Identity, &[&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]),
        ],
    );
    let network = Network::new(&model, Slice::Inputs).unwrap();
    let found = Subdivision::new(&network, &[[-1.0, 1.0], [-1.0, 1.0]]).unwrap();
    let counts = found.counts();
    assert_eq!((counts.regions, counts.vertices, counts.edges), (6, 4 + 1 + 4, 14));
    assert!(found.certificate().exact > 0);
}

#[test]
fn a_unit_that_no_output_uses_makes_no_linear_regions() {
    let model = model(
        2,
        &[(Relu, &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[1.0, 1.0, 0.5]]), (Identity, &[&[1.0, 0.0, 2.0, 0.0]])],
    );
    assert_eq!(regions(&model, &[[-1.0, 1.0], [-1.0, 1.0]]), (7, 4));
}

#[test]
fn a_decision_is_between_the_largest_outputs() {
    // |x| against y, and against a third class that is nowhere the largest.
    let model = model(
        2,
        &[
            (Relu, &[&[1.0, 0.0, 0.0], &[-1.0, 0.0, 0.0], &[0.0, 1.0, 10.0]]),
            (Identity, &[&[1.0, 1.0, 0.0, 0.0], &[0.0, 0.0, 0.0, -100.0], &[0.0, 0.0, 1.0, -10.0]]),
        ],
    );
    let network = Network::new(&model, Slice::Inputs).unwrap();
    let decision = Subdivision::new(&network, &[[-1.0, 1.0], [-1.0, 1.0]]).unwrap().into_decision().unwrap();
    let mut classes = decision.classes().to_vec();
    classes.sort_unstable();
    assert_eq!(classes, [0, 0, 2, 2]);
    let boundary = decision.boundary();
    let places = decision.subdivision().vertices();
    assert_eq!(boundary.len(), 2);
    for edge in boundary {
        for end in edge.ends {
            let [x, y] = places[end as usize];
            assert_eq!(x.abs(), y);
        }
    }
}

#[test]
fn what_has_no_regions_is_refused() {
    let curved = model(2, &[(Activation::Tanh, &[&[1.0, 0.0, 0.0]]), (Identity, &[&[1.0, 0.0]])]);
    let error = Network::new(&curved, Slice::Inputs).unwrap_err().to_string();
    assert_eq!(
        error,
        "tanh is curved, so the network has no linear regions; use relu, leaky-relu, prelu, hard-sigmoid or identity"
    );
    let wide = model(3, &[(Identity, &[&[1.0, 0.0, 0.0, 0.0]])]);
    assert!(Network::new(&wide, Slice::Inputs).unwrap_err().to_string().contains("3 inputs"));
    let short = [0.0; 2];
    assert!(Network::new(&wide, Slice::Line([&short, &short])).unwrap_err().to_string().contains("2 values"));
    let flat = model(2, &[(Identity, &[&[1.0, 0.0, 0.0]])]);
    let network = Network::new(&flat, Slice::Inputs).unwrap();
    for bounds in [[[0.0, 0.0], [0.0, 1.0]], [[0.0, f64::NAN], [0.0, 1.0]], [[0.0, 1.0], [0.0, f64::INFINITY]]] {
        assert!(Subdivision::new(&network, &bounds).is_err());
    }
    assert!(Subdivision::new(&network, &[[0.0, 1.0]]).is_err());
}
