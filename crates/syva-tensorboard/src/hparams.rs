//! Hyperparameters and metrics, by which TensorBoard compares runs.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{ListValue, value::Kind};

use crate::Value;
use crate::proto::hparams::h_param_info::Domain as DomainProto;
use crate::proto::hparams::h_params_plugin_data::Data;
use crate::proto::hparams::{
    self, DatasetType, HParamInfo, HParamsPluginData, Interval, MetricInfo, MetricName, SessionEndInfo,
    SessionStartInfo, Status,
};
use crate::proto::{DataClass, DataType};
use crate::summary::tensor;

/// A hyperparameter's value.
#[derive(Clone, Debug, PartialEq)]
pub enum HParamValue {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
}

impl From<f64> for HParamValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for HParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<bool> for HParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<HParamValue> for prost_types::Value {
    fn from(value: HParamValue) -> Self {
        let kind = match value {
            HParamValue::Number(value) => Kind::NumberValue(value),
            HParamValue::Text(value) => Kind::StringValue(value),
            HParamValue::Bool(value) => Kind::BoolValue(value),
        };
        Self { kind: Some(kind) }
    }
}

/// The values that a hyperparameter may take. TensorBoard makes its filters from them.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Any of these values.
    Discrete(Vec<HParamValue>),
    /// The numbers between two bounds, which are included.
    Interval(f64, f64),
}

/// A hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub struct HParam {
    /// Its name.
    pub name: String,
    /// Its possible values, if they are known.
    pub domain: Option<Domain>,
    /// What it means.
    pub description: String,
}

/// A scalar that runs are compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The scalar's tag.
    pub tag: String,
    /// The heading of its column. If it is empty, the heading is the tag.
    pub display_name: String,
    /// Whether it is measured on training data (true) or on validation data (false). `None` for neither.
    pub training: Option<bool>,
}

/// The hyperparameters and metrics by which runs are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experiment {
    /// The hyperparameters.
    pub hparams: Vec<HParam>,
    /// The metrics.
    pub metrics: Vec<Metric>,
}

impl Experiment {
    pub(crate) fn value(&self, now: f64) -> Value {
        let hparam_infos = self.hparams.iter().map(|hparam| {
            let first = match &hparam.domain {
                Some(Domain::Discrete(values)) => values.first().cloned(),
                Some(Domain::Interval(low, _)) => Some(HParamValue::Number(*low)),
                None => None,
            };
            let kind = first.map_or(hparams::DataType::Unset, |value| match value {
                HParamValue::Number(_) => hparams::DataType::Float64,
                HParamValue::Text(_) => hparams::DataType::String,
                HParamValue::Bool(_) => hparams::DataType::Bool,
            });
            let domain = hparam.domain.clone().map(|domain| match domain {
                Domain::Discrete(values) => {
                    DomainProto::DomainDiscrete(ListValue { values: values.into_iter().map(Into::into).collect() })
                }
                Domain::Interval(min_value, max_value) => {
                    DomainProto::DomainInterval(Interval { min_value, max_value })
                }
            });
            let (name, description) = (hparam.name.clone(), hparam.description.clone());
            HParamInfo { name, description, r#type: kind.into(), domain, ..HParamInfo::default() }
        });
        let metric_infos = self.metrics.iter().map(|metric| MetricInfo {
            name: Some(MetricName { group: String::new(), tag: metric.tag.clone() }),
            display_name: metric.display_name.clone(),
            dataset_type: match metric.training {
                Some(true) => DatasetType::DatasetTraining.into(),
                Some(false) => DatasetType::DatasetValidation.into(),
                None => DatasetType::DatasetUnknown.into(),
            },
            ..MetricInfo::default()
        });
        let experiment = hparams::Experiment {
            hparam_infos: hparam_infos.collect(),
            metric_infos: metric_infos.collect(),
            time_created_secs: now,
            ..hparams::Experiment::default()
        };
        value("experiment", Data::Experiment(experiment))
    }
}

pub(crate) fn session_start(hparams: &[(&str, HParamValue)], group: &str, now: f64) -> Value {
    let hparams: BTreeMap<_, _> =
        hparams.iter().map(|(name, value)| ((*name).to_string(), value.clone().into())).collect();
    let start = SessionStartInfo { hparams, group_name: group.into(), start_time_secs: now, ..Default::default() };
    value("session_start_info", Data::SessionStartInfo(start))
}

pub(crate) fn session_end(status: Status, now: f64) -> Value {
    value("session_end_info", Data::SessionEndInfo(SessionEndInfo { status: status.into(), end_time_secs: now }))
}

/// The content is in the metadata. The tensor is empty, but a value must have one.
fn value(name: &str, data: Data) -> Value {
    let content = HParamsPluginData { version: 0, data: Some(data) }.encode_to_vec();
    let nothing = tensor(DataType::DtFloat, &[0], Vec::new());
    Value::tensor(&format!("_hparams_/{name}"), "hparams", content, DataClass::Tensor, nothing)
}
