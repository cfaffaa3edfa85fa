/// One layer, or a part of it: units `unit` … `unit + part`.
struct Layer {
    fan_in: u32,
    units: u32,
    unit: u32,
    part: u32,
    /// Whether the part is the layer's first.
    opens: u32,
    /// Whether the part is the layer's last.
    closes: u32,
    /// The layer's number, and how many there are.
    number: u32,
    layers: u32,
    /// Units of all layers before this one.
    units_before: u32,
}

@group(0) @binding(1) var<uniform> layer: Layer;
