//! A model's `config.json`: every field is kept in its order, known to us or not.
//! What a family reads from it is in that family's file.

use serde_json::{Map, Value};

use super::error::{ModelError, Result};

/// The fields of a `config.json`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    fields: Map<String, Value>,
}

/// Sizes above this are taken for damage, not for a model.
const LARGEST_SIZE: u64 = 1 << 31;

impl Config {
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields }),
            Ok(_) => Err(ModelError::new("the config is not a JSON object")),
            Err(error) => Err(ModelError::new(format!("the config is not JSON: {error}"))),
        }
    }

    /// As transformers writes it: two spaces, a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.fields).unwrap_or_default();
        text.push('\n');
        text
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The value of a field; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_string(), value.into());
    }

    /// Replaces a field that exists or that the family knows. Names the nearest field otherwise.
    pub fn replace(&mut self, name: &str, value: Value, known: &[&str]) -> Result<()> {
        if !self.fields.contains_key(name) && !known.contains(&name) {
            let names = self.fields.keys().map(String::as_str).chain(known.iter().copied());
            let nearest = crate::base::suggest::nearest(name, names);
            let error = ModelError::new(format!("the config has no field `{name}`"));
            return Err(match nearest {
                Some(nearest) => error.help(format!("the nearest field is `{nearest}`")),
                None => error,
            });
        }
        self.set(name, value);
        Ok(())
    }

    pub fn remove(&mut self, name: &str) {
        // `remove` would move the last field into the hole.
        self.fields.shift_remove(name);
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// A whole number from 1 to 2³¹.
    pub fn size(&self, name: &str) -> Result<usize> {
        self.size_or(name, None)
    }

    pub fn size_or(&self, name: &str, default: Option<usize>) -> Result<usize> {
        let Some(value) = self.get(name) else {
            return default.ok_or_else(|| {
                ModelError::new(format!("the config has no field `{name}`, which says a size"))
            });
        };
        match value.as_u64() {
            Some(size) if (1..=LARGEST_SIZE).contains(&size) => Ok(size as usize),
            _ => Err(wrong(name, "a whole number from 1 to 2147483648", value)),
        }
    }

    /// A finite number within `low ..= high`.
    pub fn number_or(&self, name: &str, default: f64, low: f64, high: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number >= low && number <= high => Ok(number),
            _ => Err(wrong(name, &format!("a number from {low} to {high}"), value)),
        }
    }

    /// A share in `0 .. 1`, the probability with which a unit is dropped.
    pub fn dropout_or(&self, name: &str, default: f64) -> Result<f64> {
        let share = self.number_or(name, default, 0.0, 1.0)?;
        if share >= 1.0 {
            return Err(ModelError::new(format!(
                "the config's `{name}` drops everything: {share}"
            )));
        }
        Ok(share)
    }

    pub fn model_type(&self) -> Result<&str> {
        self.text("model_type")?.ok_or_else(|| {
            ModelError::new("the config has no field `model_type`, so the architecture is unknown")
                .help("a BERT has `\"model_type\": \"bert\"`")
        })
    }

    /// The names of the labels in the order of their numbers, as `id2label` gives them. `LABEL_0`,
    /// `LABEL_1` … count as no names. Empty where the config says nothing of labels.
    pub fn label_names(&self) -> Result<LabelNames> {
        let Some(value) = self.get("id2label") else {
            return Ok(match self.get("num_labels").and_then(Value::as_u64) {
                Some(count) if (1..=LARGEST_SIZE).contains(&count) => {
                    LabelNames::Count(count as usize)
                }
                _ => LabelNames::Unknown,
            });
        };
        let Value::Object(entries) = value else {
            return Err(wrong("id2label", "an object", value));
        };
        let mut names: Vec<Option<String>> = vec![None; entries.len()];
        for (number, name) in entries {
            let place = number.parse::<usize>().ok().and_then(|number| names.get_mut(number));
            match (place, name) {
                (Some(place @ None), Value::String(name)) => *place = Some(name.clone()),
                _ => {
                    return Err(ModelError::new(format!(
                        "the config's `id2label` does not number its {} labels from 0: `{number}`",
                        entries.len()
                    )));
                }
            }
        }
        let names: Vec<String> = names.into_iter().flatten().collect();
        let anonymous = |(number, name): (usize, &String)| *name == format!("LABEL_{number}");
        Ok(match names.len() {
            0 => LabelNames::Unknown,
            count if names.iter().enumerate().all(anonymous) => LabelNames::Count(count),
            _ => LabelNames::Named(names),
        })
    }

    /// Writes `id2label` and `label2id`.
    pub fn set_label_names(&mut self, names: &[String]) {
        let id2label: Map<String, Value> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (number.to_string(), Value::from(name.as_str())))
            .collect();
        let label2id: Map<String, Value> =
            names.iter().enumerate().map(|(number, name)| (name.clone(), number.into())).collect();
        self.set("id2label", id2label);
        self.set("label2id", label2id);
    }
}

/// What a config says of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelNames {
    Unknown,
    /// That many, without names of their own.
    Count(usize),
    Named(Vec<String>),
}

fn wrong(name: &str, wanted: &str, found: &Value) -> ModelError {
    let mut found = found.to_string();
    if found.chars().count() > 60 {
        found = found.chars().take(60).chain(['…']).collect();
    }
    ModelError::new(format!("the config's `{name}` is {found}; it must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_field_keeps_its_place() {
        let text = "{\n  \"zeta\": 1,\n  \"alpha\": {\n    \"b\": null\n  }\n}\n";
        assert_eq!(config(text).to_json(), text);
    }

    #[test]
    fn sizes_that_cannot_be_are_named() {
        for text in ["0", "-3", "1.5", "\"12\"", "99999999999999", "1e+30"] {
            let config = config(&format!("{{\"hidden_size\": {text}}}"));
            let message = config.size("hidden_size").unwrap_err().message;
            assert!(message.contains("hidden_size") && message.contains(text), "{message}");
        }
    }

    #[test]
    fn label_names() {
        let named = config(r#"{"id2label": {"1": "pos", "0": "neg"}}"#);
        assert_eq!(
            named.label_names().unwrap(),
            LabelNames::Named(vec!["neg".to_string(), "pos".to_string()])
        );
        let anonymous = config(r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}"#);
        assert_eq!(anonymous.label_names().unwrap(), LabelNames::Count(3));
        for wrong in [r#"{"0": "a", "2": "b"}"#, r#"{"0": "a", "00": "b"}"#, r#"{"x": "a"}"#] {
            assert!(config(&format!("{{\"id2label\": {wrong}}}")).label_names().is_err());
        }
    }
}
