//! The tables, and losses by hand.

use super::*;
use crate::schema::Pick;

#[test]
fn every_task_has_its_head_and_is_named_once() {
    let mut names: Vec<&str> = tasks().iter().map(|task| task.name()).collect();
    let heads: Vec<&str> = Heads::table().iter().map(|entry| entry.name).collect();
    assert_eq!(names, heads);
    for name in &heads {
        let request = Pick::<Heads>::default_of(name).unwrap().build().unwrap();
        assert_eq!(request.task().name(), *name);
        assert!(!request.is_new());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), tasks().len());
    for task in tasks() {
        if let Some(problem) = task.problem_type() {
            assert!(task_of_problem(problem).is_some_and(|other| other.name() == task.name()));
        }
    }
}

fn check_rows(name: &str, logits: &[f32], outputs: usize, targets: &Targets, wanted: &[f64]) {
    let starts: Vec<usize> = (0..=logits.len() / outputs).collect();
    let logits = Logits { values: logits, outputs, starts: &starts };
    let losses = task(name).unwrap().row_losses(&logits, targets);
    assert_eq!(losses.len(), wanted.len());
    for (loss, wanted) in losses.iter().zip(wanted) {
        assert!((loss.sum - wanted).abs() < 1e-12, "{name}: {loss:?}, by hand {wanted}");
    }
}

/// By hand: equal logits have the loss ln(classes); σ(0) has ln 2 for each label.
#[test]
fn losses_of_rows() {
    let class = Targets::Class(vec![1, -100]);
    check_rows("sequence_classification", &[0.5, 0.5, 9.0, 1.0], 2, &class, &[2f64.ln(), 0.0]);
    let value = Targets::Value(vec![1.0, -1.0]);
    check_rows("sequence_regression", &[3.0, -1.0], 1, &value, &[4.0, 0.0]);
    let several = Targets::Multi { classes: 3, values: vec![1.0, 0.0, 1.0] };
    let wanted = [3.0 * 2f64.ln()];
    check_rows("multi_label_classification", &[0.0, 0.0, 0.0], 3, &several, &wanted);
    // Nothing is known of the second row: it is no row without labels.
    let unknown = Targets::Multi { classes: 2, values: vec![1.0, 0.0, f32::NAN, f32::NAN] };
    let wanted = [2.0 * 2f64.ln(), 0.0];
    check_rows("multi_label_classification", &[0.0; 4], 2, &unknown, &wanted);
    assert_eq!(unknown.unsupervised(), 1);
    let task = task("multi_label_classification").unwrap();
    assert_eq!(task.denominator(&unknown, &LossOptions::default()), 2.0);
    let names = vec!["a".to_string(), "b".to_string()];
    let labels = Labels::Classes { names, declared: true };
    let made = task.targets(&Targets::Class(vec![0, -100]), &labels).unwrap();
    let Targets::Multi { values, .. } = made else { panic!("other targets") };
    assert!(values[..2] == [1.0, 0.0] && values[2..].iter().all(|value| value.is_nan()));
}

#[test]
fn every_form_of_rows_has_a_usual_task_that_reads_it() {
    for form in
        [Form::Texts, Form::Pairs, Form::Words, Form::Questions, Form::Choices, Form::Separate]
    {
        let usual = usual_task(form).unwrap();
        assert!(usual.forms().contains(&form), "{form:?}");
    }
    assert!(tasks().iter().all(|task| !task.forms().is_empty()));
}

#[test]
fn probabilities_of_large_logits_are_finite() {
    let task = task("sequence_classification").unwrap();
    let logits = Logits { values: &[1000.0, -1000.0, 3.0, 3.0], outputs: 2, starts: &[0, 1, 2] };
    let predicted = task.predict(&logits);
    assert_eq!(predicted.probabilities, [1.0, 0.0, 0.5, 0.5]);
    assert_eq!(predicted.classes, [0, 0]); // the first of equals
}

#[test]
fn targets_of_another_kind_name_the_head_that_fits() {
    let error = tasks()[0].targets(&Targets::Value(vec![1.0]), &Labels::Values).unwrap_err();
    assert_eq!(error.help.unwrap(), "`head = sequence_regression` fits this data");
    let error = tasks()[1].targets(&Targets::Value(vec![f32::NAN]), &Labels::Values).unwrap_err();
    assert!(error.message.contains("row 0"));
}

/// PyTorch 2.15's `cross_entropy` on these logits in f64: loss and gradient of the first row.
#[test]
fn smoothing_and_weights_are_those_of_pytorch() {
    use crate::model::{Compute, Pass, Path};
    use candle_core::{Device, Tensor, Var};
    let logits = [[0.5f32, -1.0, 2.0], [1.5, 0.25, -0.75], [0.0, 1.0, -2.0]];
    let targets = Targets::Class(vec![2, 0, -100]);
    let classify = task("sequence_classification").unwrap();
    for (weighted, label_smoothing, loss, gradient) in [
        (
            false,
            0.0,
            0.28599195303219055,
            [0.08764519607001835, 0.019556286635343725, -0.10720148270536206],
        ),
        (
            false,
            0.1,
            0.4193252863655239,
            [0.07097852940335168, 0.0028896199686770582, -0.07386814937202874],
        ),
        (
            true,
            0.0,
            0.30088550515720175,
            [0.05843013071334556, 0.013037524423562482, -0.07146765513690803],
        ),
        (
            true,
            0.1,
            0.5625068140020446,
            [0.043998592586236084, -0.029668583431073633, -0.014330009155162459],
        ),
    ] {
        let class_weights = weighted.then(|| vec![1.0, 2.0, 0.5]);
        let options = LossOptions { class_weights, label_smoothing, pairs: None };
        let denominator = classify.denominator(&targets, &options);
        for path in [Path::Fused, Path::Reference] {
            let logits = Var::new(&logits, &Device::Cpu).unwrap();
            let pass = Pass::training(Compute { path, ..Compute::default() }, None);
            let input = match path {
                Path::Fused => logits.as_detached_tensor(),
                Path::Reference => logits.as_tensor().clone(),
            };
            pass.tape().watch(&input);
            let found = classify.loss(&input, &[], &targets, &options, denominator, &pass).unwrap();
            let value = f64::from(found.to_scalar::<f32>().unwrap());
            assert!((value - loss).abs() < 1e-6, "{path:?} {options:?}: {value}, PyTorch {loss}");
            let gradient_of_all = match path {
                Path::Fused => {
                    let mut found = pass.tape().backward_from_loss(&found).unwrap();
                    let values = found.take(&input).unwrap().get::<f32>().unwrap().to_vec();
                    Tensor::from_vec(values, (3, 3), &Device::Cpu).unwrap()
                }
                Path::Reference => found.backward().unwrap().get(&logits).unwrap().clone(),
            };
            let rows = gradient_of_all.to_vec2::<f32>().unwrap();
            for (found, wanted) in rows[0].iter().zip(gradient) {
                assert!((f64::from(*found) - wanted).abs() < 1e-6, "{path:?} {options:?}");
            }
            assert_eq!(rows[2], [0.0; 3]);
        }
    }
}

/// A head that was replaced leaves its `problem_type` behind in configs that others wrote.
#[test]
fn a_class_says_more_than_what_is_left_of_another_head() {
    let of = |class: &str, problem: &str| {
        let text = format!(r#"{{"architectures": ["{class}"], "problem_type": "{problem}"}}"#);
        let config = Config::parse(text.as_bytes()).unwrap();
        task_of_config(&config).unwrap().map(|task| task.name())
    };
    let single = "single_label_classification";
    assert_eq!(of("BertForTokenClassification", single), Some("token_classification"));
    assert_eq!(of("BertForSequenceClassification", "regression"), Some("sequence_regression"));
    assert_eq!(of("BertModel", single), Some("sequence_classification"));
}
