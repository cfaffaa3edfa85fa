//! What a server says of its model, for people and for programs.

use std::path::Path;

use serde_json::{Map, Value, json};
use syva::schema::{Encoding, Feature, Schema, Target};
use syva::{Head, Model, Spec};

/// The network, what it reads, and what it predicts.
pub fn model(model: &Model, file: &Path) -> Value {
    let spec = &model.spec;
    let mut about = json!({
        "file": file.file_name().map(|name| name.to_string_lossy()),
        "syva": env!("CARGO_PKG_VERSION"),
        "network": spec.widths(),
        "parameters": spec.parameters(),
        "head": spec.head.to_string(),
        "sha256_of_weights": model.state.digest(),
    });
    if let Some(schema) = &spec.schema {
        about["columns"] = schema.features.iter().map(column).collect();
        about["target"] = json!(schema.target.columns());
        about["classes"] = json!(schema.classes());
    } else {
        about["features"] = json!(spec.input.features);
        about["shape"] = json!(spec.input.shape);
    }
    about
}

fn column(Feature { column, encoding }: &Feature) -> Value {
    match encoding {
        Encoding::Number(_) => json!({ "column": column, "kind": "number" }),
        Encoding::Binary { values, .. } => json!({ "column": column, "kind": "category", "values": values }),
        Encoding::Category { values, .. } => json!({ "column": column, "kind": "category", "values": values }),
        Encoding::Date { format, .. } => json!({ "column": column, "kind": "date", "format": format.to_string() }),
    }
}

/// The description of the interface by OpenAPI 3.1.
pub fn openapi(spec: &Spec) -> Value {
    let answer =
        |schema: Value| json!({ "description": "OK", "content": { "application/json": { "schema": schema } } });
    let object = || json!({ "type": "object" });
    let error = json!({
        "description": "What is wrong, with the row (from 1) and the column if it is one",
        "content": { "application/json": { "schema": { "type": "object", "properties": { "error": {
            "type": "object",
            "properties": {
                "message": { "type": "string" }, "row": { "type": "integer" }, "column": { "type": "string" },
            },
            "required": ["message"],
        } } } } },
    });
    let rows = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Row" } });
    let (body, row) = if let Some(schema) = &spec.schema {
        (json!({ "oneOf": [{ "$ref": "#/components/schemas/Row" }, rows] }), row(schema))
    } else {
        let features = spec.input.features;
        let row = json!({ "type": "array", "items": { "type": "number" }, "minItems": features, "maxItems": features });
        (json!({ "type": "object", "properties": { "inputs": rows }, "required": ["inputs"] }), row)
    };
    let predictions = json!({
        "type": "object",
        "properties": {
            "predictions": { "type": "array", "items": { "$ref": "#/components/schemas/Prediction" } },
            "notes": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["predictions"],
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Predictions by syva", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/predict": { "post": {
                "summary": "Predict one or several rows",
                "requestBody": { "required": true, "content": { "application/json": { "schema": body } } },
                "responses": { "200": answer(predictions), "400": error },
            } },
            "/model": { "get": { "summary": "What the model reads and predicts", "responses": { "200": answer(object()) } } },
            "/health": { "get": { "summary": "Whether the server answers", "responses": { "200": answer(object()) } } },
        },
        "components": { "schemas": { "Row": row, "Prediction": prediction(spec) } },
    })
}

/// A row of a table.
fn row(schema: &Schema) -> Value {
    let of = |Feature { column, encoding }: &Feature| {
        let (kind, format) = match encoding {
            Encoding::Number(_) => (json!(["number", "null"]), String::new()),
            Encoding::Binary { .. } | Encoding::Category { .. } => {
                (json!(["string", "number", "boolean", "null"]), String::new())
            }
            Encoding::Date { format, .. } => (json!(["string", "null"]), format!("A date like {format}")),
        };
        let mut property = json!({ "type": kind });
        if !format.is_empty() {
            property["description"] = format.into();
        }
        (column.clone(), property)
    };
    let names: Vec<&str> = schema.features.iter().map(|feature| feature.column.as_str()).collect();
    let properties: Map<String, Value> = schema.features.iter().map(of).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

fn prediction(spec: &Spec) -> Value {
    let number = || json!({ "type": "number" });
    let many = |names: Option<Vec<&str>>, one: Value| match names {
        Some(names) => {
            let properties: Map<String, Value> = names.into_iter().map(|name| (name.into(), one.clone())).collect();
            json!({ "type": "object", "properties": properties })
        }
        None => json!({ "type": "array", "items": one }),
    };
    let target = spec.schema.as_deref().map(|schema| &schema.target);
    let columns = || target.map(Target::columns);
    let properties = match spec.head {
        Head::Binary | Head::Logits | Head::LogSoftmax => match target {
            Some(Target::Classes { classes, .. }) => {
                let names = classes.iter().map(String::as_str).collect();
                json!({ "prediction": { "type": "string", "enum": classes }, "probabilities": many(Some(names), number()) })
            }
            _ => json!({ "prediction": { "type": "integer" }, "probabilities": many(None, number()) }),
        },
        Head::MultiLabel => json!({
            "prediction": many(columns(), json!({ "type": "integer", "enum": [0, 1] })),
            "probabilities": many(columns(), number()),
        }),
        Head::Regression | Head::Poisson | Head::Gaussian => {
            let value = || if spec.targets() == 1 { number() } else { many(columns(), number()) };
            let mut properties = json!({ "prediction": value() });
            if spec.head == Head::Gaussian {
                properties["deviation"] = value();
            }
            properties
        }
    };
    json!({ "type": "object", "properties": properties, "required": ["prediction"] })
}
