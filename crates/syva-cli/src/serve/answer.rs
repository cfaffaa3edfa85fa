//! Predictions as JSON.

use serde_json::{Map, Value, json};
use syva::schema::Target;
use syva::{Decoder, Head, Matrix, Spec, first_largest, probabilities};

/// What a network's outputs mean, for each row. `None` if one is not finite.
pub fn predictions(spec: &Spec, outputs: &Matrix) -> Option<Vec<Value>> {
    let of = |row: usize| {
        let outputs = outputs.row(row);
        outputs.iter().all(|output| output.is_finite()).then(|| prediction(spec, outputs))
    };
    (0..outputs.rows()).map(of).collect()
}

fn prediction(spec: &Spec, outputs: &[f32]) -> Value {
    let target = spec.schema.as_deref().map(|schema| &schema.target);
    match spec.head {
        Head::Binary | Head::Logits | Head::LogSoftmax => {
            let probabilities = probabilities(spec.head, outputs);
            let class = first_largest(&probabilities);
            match target {
                Some(Target::Classes { classes, .. }) => {
                    json!({ "prediction": classes[class], "probabilities": by_name(classes, &probabilities) })
                }
                _ => json!({ "prediction": class, "probabilities": probabilities }),
            }
        }
        Head::MultiLabel => {
            let probabilities = probabilities(spec.head, outputs);
            let labels: Vec<u8> = probabilities.iter().map(|&p| u8::from(p > 0.5)).collect();
            match target {
                Some(Target::Labels { columns }) => {
                    json!({ "prediction": by_name(columns, &labels), "probabilities": by_name(columns, &probabilities) })
                }
                _ => json!({ "prediction": labels, "probabilities": probabilities }),
            }
        }
        Head::Regression | Head::Poisson | Head::Gaussian => {
            let decoder = Decoder::of(spec);
            let names: Vec<String> = match target {
                Some(Target::Values { columns }) => columns.iter().map(|target| target.column.clone()).collect(),
                _ => Vec::new(),
            };
            let said = |values: Vec<f64>| match (&values[..], &names[..]) {
                ([value], _) => json!(value),
                (values, []) => json!(values),
                (values, names) => by_name(names, values),
            };
            let mut answer = json!({ "prediction": said(decoder.values(outputs)) });
            if let Some(deviations) = decoder.deviations(outputs) {
                answer["deviation"] = said(deviations);
            }
            answer
        }
    }
}

fn by_name<T: Copy + Into<Value>>(names: &[String], values: &[T]) -> Value {
    Value::Object(names.iter().cloned().zip(values.iter().map(|&value| value.into())).collect::<Map<_, _>>())
}
