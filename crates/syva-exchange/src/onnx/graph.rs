//! Builds a graph of ONNX, operation by operation.

use std::collections::{HashMap, HashSet};

use super::messages::{
    AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    ValueInfoProto,
};

/// The type of a tensor's elements, by its number in `onnx.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Float = 1,
    Int64 = 7,
    Text = 8,
    Double = 11,
}

/// The domain of LabelEncoder.
pub(super) const ML: &str = "ai.onnx.ml";

/// A graph that grows. A value is known by its name.
#[derive(Default)]
pub(super) struct Graph {
    proto: GraphProto,
    names: HashSet<String>,
    count: usize,
    /// Small tensors that are there already, by what they hold.
    constants: HashMap<(Kind, Vec<usize>, Vec<u8>), String>,
}

/// The most bytes of a tensor that is looked for among those that are there.
const SMALL: usize = 2048;

/// A dimension whose size is known, or the number of samples.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Samples,
    Of(usize),
}

impl Graph {
    pub fn finish(mut self, name: &str) -> GraphProto {
        self.proto.name = Some(name.into());
        self.proto
    }

    /// A name that no value has yet.
    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_string();
        while self.names.contains(&free) {
            self.count += 1;
            free = format!("{name}_{}", self.count);
        }
        self.names.insert(free.clone());
        free
    }

    /// Adds an input with this name, which no value has yet.
    pub fn input(&mut self, name: &str, kind: Kind, sizes: &[Size]) -> String {
        self.names.insert(name.into());
        self.proto.input.push(value_info(name, kind, sizes));
        name.into()
    }

    /// Makes an output with this name of a value.
    pub fn output(&mut self, name: &str, value: &str, kind: Kind, sizes: &[Size]) {
        self.names.insert(name.into());
        self.proto.node.push(node("", "Identity", &[value], name, Vec::new()));
        self.proto.output.push(value_info(name, kind, sizes));
    }

    /// Keeps a name for an output.
    pub fn reserve(&mut self, name: &str) {
        self.names.insert(name.into());
    }

    /// Adds an operation, and returns its result.
    pub fn op(&mut self, name: &str, inputs: &[&str]) -> String {
        self.op_with(name, inputs, Vec::new())
    }

    /// Adds an operation with attributes.
    pub fn op_with(&mut self, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let domain = if name == "LabelEncoder" { ML } else { "" };
        let output = self.free(&name.to_lowercase());
        self.proto.node.push(node(domain, name, inputs, &output, attributes));
        output
    }

    /// Adds the values of a tensor, row after row.
    fn tensor(&mut self, name: &str, kind: Kind, dims: &[usize], raw_data: Vec<u8>) -> String {
        // Weights keep their own names.
        let is_constant = !name.contains('.') && raw_data.len() <= SMALL;
        let key = (kind, dims.to_vec(), raw_data);
        if let Some(known) = self.constants.get(&key).filter(|_| is_constant) {
            return known.clone();
        }
        let name = self.free(name);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: Some(kind as i32),
            string_data: Vec::new(),
            name: Some(name.clone()),
            raw_data: Some(key.2.clone()),
        });
        if is_constant {
            self.constants.insert(key, name.clone());
        }
        name
    }

    /// The body of a loop, as an attribute of its operation. Its names differ from all others.
    pub fn body(&mut self, write: impl FnOnce(&mut Self)) -> AttributeProto {
        let mut body = Self { names: std::mem::take(&mut self.names), count: self.count, ..Self::default() };
        write(&mut body);
        (self.names, self.count) = (body.names, body.count);
        let name = self.free("body");
        body.proto.name = Some(name);
        AttributeProto { g: Some(body.proto), ..attribute("body", 5) }
    }

    /// Adds what a loop gives to its body in each round.
    pub fn argument(&mut self, name: &str, kind: Kind) -> String {
        let name = self.free(name);
        self.proto.input.push(value_of(&name, kind, None));
        name
    }

    /// Makes a value what the body of a loop returns from each round.
    pub fn result(&mut self, value: &str, kind: Kind) {
        self.proto.output.push(value_of(value, kind, None));
    }

    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.tensor(name, Kind::Float, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn doubles(&mut self, name: &str, dims: &[usize], values: &[f64]) -> String {
        self.tensor(name, Kind::Double, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        self.tensor(name, Kind::Int64, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn texts(&mut self, name: &str, values: &[String]) -> String {
        let name = self.free(name);
        self.proto.initializer.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: Some(Kind::Text as i32),
            string_data: values.iter().map(|text| text.as_bytes().to_vec()).collect(),
            name: Some(name.clone()),
            raw_data: None,
        });
        name
    }

    /// A number by itself.
    pub fn double(&mut self, value: f64) -> String {
        self.doubles("constant", &[], &[value])
    }

    /// A number by itself.
    pub fn float(&mut self, value: f32) -> String {
        self.floats("constant", &[], &[value])
    }

    /// Converts the elements of a value.
    pub fn cast(&mut self, value: &str, kind: Kind) -> String {
        self.op_with("Cast", &[value], vec![int("to", kind as i64)])
    }
}

fn node(domain: &str, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        name: Some(format!("{op}:{output}")),
        op_type: Some(op.into()),
        attribute,
        domain: (!domain.is_empty()).then(|| domain.into()),
    }
}

fn value_info(name: &str, kind: Kind, sizes: &[Size]) -> ValueInfoProto {
    let dimension = |size: &Size| match *size {
        Size::Samples => Dimension { dim_value: None, dim_param: Some("N".into()) },
        Size::Of(size) => Dimension { dim_value: Some(size as i64), dim_param: None },
    };
    value_of(name, kind, Some(TensorShapeProto { dim: sizes.iter().map(dimension).collect() }))
}

fn value_of(name: &str, kind: Kind, shape: Option<TensorShapeProto>) -> ValueInfoProto {
    let tensor_type = Some(TensorType { elem_type: Some(kind as i32), shape });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type }) }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(r#type), ..AttributeProto::default() }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, 1) }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, 2) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, 3) }
}

pub(super) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..attribute(name, 6) }
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, 7) }
}

pub(super) fn texts(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto { strings: values.iter().map(|text| text.as_bytes().to_vec()).collect(), ..attribute(name, 8) }
}
