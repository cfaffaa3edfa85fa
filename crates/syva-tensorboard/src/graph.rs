use crate::proto::attr_value::{ListValue, Value as Attribute};
use crate::proto::{AttrValue, DataType, GraphDef, NodeDef, VersionDef};
use crate::summary::shape;

/// A node of a graph. Slashes in its name make groups: `fc1/weight` is shown inside `fc1`.
///
/// ```
/// use syva_tensorboard::{Node, Writer};
/// # let folder = tempfile::tempdir()?;
/// let mut writer = Writer::create(folder.path())?;
/// writer.graph(&[
///     Node::new("x", "Input").shape(&[128, 784]),
///     Node::new("fc1/weight", "Parameter").shape(&[256, 784]),
///     Node::new("fc1/linear", "Linear").input("x").input("fc1/weight").shape(&[128, 256]),
/// ])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Node(NodeDef);

impl Node {
    /// A node that performs the operation `op`.
    #[must_use]
    pub fn new(name: &str, op: &str) -> Self {
        Self(NodeDef { name: name.into(), op: op.into(), ..NodeDef::default() })
    }

    /// Adds an arrow from the node of this name.
    #[must_use]
    pub fn input(mut self, name: &str) -> Self {
        self.0.input.push(name.into());
        self
    }

    /// Sets the shape of the node's output, which is shown on its arrows. The output is 32-bit floats.
    #[must_use]
    pub fn shape(mut self, dims: &[usize]) -> Self {
        let list = ListValue { shape: vec![shape(dims)], ..ListValue::default() };
        self.attribute("_output_shapes", Attribute::List(list));
        self.attribute("dtype", Attribute::Type(DataType::DtFloat.into()));
        self
    }

    /// Adds an attribute to the node: a name and a text.
    #[must_use]
    pub fn note(mut self, name: &str, text: &str) -> Self {
        self.attribute(name, Attribute::S(text.into()));
        self
    }

    fn attribute(&mut self, name: &str, value: Attribute) {
        self.0.attr.insert(name.into(), AttrValue { value: Some(value) });
    }
}

pub(crate) fn graph(nodes: &[Node]) -> GraphDef {
    // The version of TensorFlow's graphs that TensorBoard's reader was made for. Any other version causes a warning.
    let versions = VersionDef { producer: 22, min_consumer: 0 };
    GraphDef { node: nodes.iter().map(|node| node.0.clone()).collect(), versions: Some(versions) }
}
