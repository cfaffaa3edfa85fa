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
}

@group(0) @binding(1) var<uniform> layer: Layer;
