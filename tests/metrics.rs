//! Every metric against what scikit-learn and scipy compute: `metrics.json` under `tests/golden`,
//! or under the folder named by `FTRUN_GOLDEN`.

use ftrun::schema::Pick;
use ftrun::train::metrics::{
    Accuracy, Answers, Average, AveragePrecision, Brier, Classes, CohenKappa, EntityAverage,
    EntityF1, EntityMode, EntityPrecision, EntityRecall, EntityReport, EntityScheme, ExactMatch,
    ExpectedCalibrationError, F1, HammingLoss, Jaccard, KappaWeights, Metric, Metrics, MultiClass,
    MultiLabel, NullThreshold, Outcome, Precision, Questions, RankAverage, Recall, RocAuc, Scored,
    SquadF1, Strict, Tags, TopK, Values, evaluate, normalised_answer,
};
use serde_json::Value as Json;

/// As `golden/README.md` has it.
const TOLERANCE: f64 = 1e-9;

#[test]
fn classification_metrics_equal_scikit_learn() {
    let golden = golden();
    let cases = golden["classification"].as_array().expect("a list of cases");
    assert!(!cases.is_empty());
    for case in cases {
        let name = text(&case["name"]);
        let labels: Vec<String> = list(&case["labels"]).iter().map(Json::to_string).collect();
        let place = |label: &Json| {
            let label = label.to_string();
            labels.iter().position(|other| *other == label).expect("a known label")
        };
        let truth: Vec<usize> = list(&case["y_true"]).iter().map(place).collect();
        let logits: Vec<f64> = list(&case["logits"]).iter().flat_map(numbers).collect();
        let classes = Classes::new(labels.clone(), truth, logits).expect("sound predictions");
        let predicted: Vec<usize> = list(&case["y_pred"]).iter().map(place).collect();
        assert_eq!(classes.predicted(), predicted, "{name}: predictions");
        let scored = Scored::Classes(classes);
        for (key, expected) in case.as_object().expect("a case") {
            let at = format!("{name}: {key}");
            if let Some(average) = key.strip_prefix("prf_") {
                check_ratios(&at, average, &scored, expected);
            } else if let Some(metric) = class_metric(key) {
                check(&at, metric.as_ref(), &scored, expected);
            }
        }
    }
}

#[test]
fn multilabel_metrics_equal_scikit_learn() {
    let golden = golden();
    let case = &golden["multilabel"];
    let logits: Vec<f64> = list(&case["logits"]).iter().flat_map(numbers).collect();
    let truth: Vec<bool> =
        list(&case["y_true"]).iter().flat_map(numbers).map(|flag| flag != 0.0).collect();
    let width = list(&case["y_true"]).first().map_or(0, |row| list(row).len());
    let names = (0..width).map(|label| label.to_string()).collect();
    let threshold = case["threshold"].as_f64().expect("a threshold");
    let scored =
        Scored::MultiLabel(MultiLabel::new(names, truth, logits, threshold).expect("sound"));
    for (key, expected) in case.as_object().expect("a case") {
        if let Some(average) = key.strip_prefix("prf_") {
            check_ratios(key, average, &scored, expected);
        } else if let Some(metric) = label_metric(key) {
            check(key, metric.as_ref(), &scored, expected);
        }
    }
}

#[test]
fn regression_metrics_equal_scipy() {
    let golden = golden();
    let case = &golden["regression"];
    let scored = Scored::Values(
        Values::new(numbers(&case["y_true"]), numbers(&case["y_pred"])).expect("sound values"),
    );
    for (key, expected) in case.as_object().expect("a case") {
        if let Some(metric) = by_name(key.strip_suffix("_b").unwrap_or(key)) {
            check(key, metric.as_ref(), &scored, expected);
        }
    }
}

/// Two raters stand for truth and prediction.
#[test]
fn cohen_kappa_of_two_raters_equals_scikit_learn() {
    let golden = golden();
    let agreement = &golden["agreement"];
    let raters: Vec<Vec<f64>> = list(&agreement["raters_by_items"]).iter().map(numbers).collect();
    let count = raters.iter().flatten().fold(0.0f64, |most, class| most.max(*class)) as usize + 1;
    let truth = raters[0].iter().map(|class| *class as usize).collect();
    let logits: Vec<f64> = raters[1]
        .iter()
        .flat_map(|class| (0..count).map(|other| f64::from(u8::from(other == *class as usize))))
        .collect();
    let names = (0..count).map(|label| label.to_string()).collect();
    let scored = Scored::Classes(Classes::new(names, truth, logits).expect("sound"));
    for (key, weights) in [
        ("cohen_kappa_0_1", KappaWeights::None),
        ("cohen_kappa_quadratic_0_1", KappaWeights::Quadratic),
    ] {
        check(key, &CohenKappa { weights }, &scored, &agreement[key]);
    }
}

/// Tags of sentences, as the golden file has them.
fn tagged(case: &Json) -> Scored {
    let sentences = |key: &str| -> Vec<Vec<String>> {
        let tags = |sentence| list(sentence).iter().map(|tag| text(tag).to_string()).collect();
        list(&case[key]).iter().map(tags).collect()
    };
    Scored::Tags(Tags::new(sentences("y_true"), sentences("y_pred")).expect("sound tags"))
}

/// The metric behind a key of the lenient values, or of the strict ones.
fn tag_metric(key: &str, strict: bool) -> Option<Box<dyn Metric>> {
    let mode = || match strict {
        false => EntityMode::Default,
        true => EntityMode::Strict(Strict { scheme: Some(EntityScheme::Iob2) }),
    };
    let average = EntityAverage::Micro;
    Some(match key {
        "precision" => Box::new(EntityPrecision { average, mode: mode() }),
        "recall" => Box::new(EntityRecall { average, mode: mode() }),
        "f1" => Box::new(EntityF1 { average, mode: mode() }),
        "macro_f1" => Box::new(EntityF1 { average: EntityAverage::Macro, mode: mode() }),
        "accuracy" => Box::new(Accuracy {}),
        "report" => Box::new(EntityReport { mode: mode() }),
        _ => return None,
    })
}

#[test]
fn sequence_labelling_metrics_equal_seqeval() {
    let golden = golden();
    let case = &golden["sequence_labelling"];
    let scored = tagged(case);
    for (group, strict) in [("default", false), ("strict_iob2", true)] {
        for (key, expected) in case[group].as_object().expect("values") {
            let at = format!("{group}: {key}");
            let metric = tag_metric(key, strict).unwrap_or_else(|| panic!("{at} is not computed"));
            match key.as_str() {
                "report" => check_report(&evaluate(metric.as_ref(), &scored), expected),
                _ => check(&at, metric.as_ref(), &scored, expected),
            }
        }
    }
    // The truth is IOB2 itself, so that the scheme is found.
    let found = EntityMode::Strict(Strict { scheme: None });
    let metric = EntityF1 { average: EntityAverage::Micro, mode: found };
    check("strict by itself", &metric, &scored, &case["strict_iob2"]["f1"]);
}

fn check_report(report: &Outcome, expected: &Json) {
    let Outcome::Table(table) = report else { panic!("a table") };
    let expected = expected.as_object().expect("a report");
    assert_eq!(table.rows.len(), expected.len());
    for (name, cells) in &table.rows {
        let row = &expected[&name.replace("average", "avg")];
        for (cell, key) in cells.iter().zip(["precision", "recall", "f1-score", "support"]) {
            close(&format!("{name}: {key}"), *cell, row[key].as_f64().expect("a number"));
        }
    }
}

#[test]
fn answers_are_compared_as_squad_does() {
    let golden = golden();
    for case in list(&golden["squad"]) {
        let [gold, predicted] = ["gold", "pred"].map(|key| text(&case[key]).to_string());
        assert_eq!(normalised_answer(&gold), text(&case["normalized_gold"]), "{gold:?}");
        let golds = if gold.is_empty() { vec![] } else { vec![gold.clone()] };
        let answers = Answers::new(std::slice::from_ref(&predicted), &[golds], vec![0.0], 0.0);
        let scored = Scored::Answers(answers.expect("sound answers"));
        let (of, threshold) = (|| Questions::All, || NullThreshold::Predicted);
        let at = format!("{gold:?} and {predicted:?}");
        let exact = Json::from(case["exact"].as_f64().expect("a number"));
        check(&at, &ExactMatch { of: of(), threshold: threshold() }, &scored, &exact);
        check(&at, &SquadF1 { of: of(), threshold: threshold() }, &scored, &case["f1"]);
    }
}

/// All keys of the golden cases are read: a new one must not pass unseen.
#[test]
fn no_golden_value_is_passed_over() {
    let golden = golden();
    let inputs = ["name", "labels", "y_true", "y_pred", "logits", "threshold"];
    let known = |key: &str, found: bool| {
        assert!(found || inputs.contains(&key) || key.starts_with("prf_"), "{key} is not computed");
    };
    for case in list(&golden["classification"]) {
        for key in case.as_object().expect("a case").keys() {
            known(key, class_metric(key).is_some());
        }
    }
    for key in golden["multilabel"].as_object().expect("a case").keys() {
        known(key, label_metric(key).is_some());
    }
    for key in golden["regression"].as_object().expect("a case").keys() {
        known(key, by_name(key.strip_suffix("_b").unwrap_or(key)).is_some());
    }
}

/// The metric behind a key of a classification case.
fn class_metric(key: &str) -> Option<Box<dyn Metric>> {
    let roc = |multi_class, average| {
        Some(Box::new(RocAuc { multi_class: Some(multi_class), average }) as Box<dyn Metric>)
    };
    if let Some(k) = key.strip_prefix("top_").and_then(|rest| rest.strip_suffix("_accuracy")) {
        return Some(Box::new(TopK { k: k.parse().ok()? }));
    }
    if let Some(bins) = key.strip_prefix("expected_calibration_error_") {
        return Some(Box::new(ExpectedCalibrationError { bins: bins.parse().ok()? }));
    }
    match key {
        "matthews_corrcoef" => by_name("matthews_correlation"),
        "roc_auc_ovr_macro" => roc(MultiClass::OneVersusRest, RankAverage::Macro),
        "roc_auc_ovr_weighted" => roc(MultiClass::OneVersusRest, RankAverage::Weighted),
        "roc_auc_ovo_macro" => roc(MultiClass::OneVersusOne, RankAverage::Macro),
        "roc_auc_ovo_weighted" => roc(MultiClass::OneVersusOne, RankAverage::Weighted),
        "average_precision" => {
            Some(Box::new(AveragePrecision { positive: None, average: RankAverage::Macro }))
        }
        "brier" => Some(Box::new(Brier {})),
        other => by_name(other),
    }
}

fn label_metric(key: &str) -> Option<Box<dyn Metric>> {
    match key {
        "jaccard_samples" => Some(Box::new(Jaccard { average: Average::Samples, positive: None })),
        "hamming_loss" => Some(Box::new(HammingLoss {})),
        other => by_name(other),
    }
}

fn by_name(name: &str) -> Option<Box<dyn Metric>> {
    Pick::<Metrics>::default_of(name)?.build()
}

/// `expected`: precision, recall and F1 of one average.
fn check_ratios(at: &str, average: &str, scored: &Scored, expected: &Json) {
    let average = || match average {
        "micro" => Average::Micro,
        "macro" => Average::Macro,
        "weighted" => Average::Weighted,
        "binary" => Average::Binary,
        "samples" => Average::Samples,
        "none" => Average::None,
        other => panic!("{at}: the average {other} is not known"),
    };
    let metrics: [(&str, Box<dyn Metric>); 3] = [
        ("precision", Box::new(Precision { average: average(), positive: None })),
        ("recall", Box::new(Recall { average: average(), positive: None })),
        ("f1", Box::new(F1 { average: average(), positive: None })),
    ];
    for (key, metric) in metrics {
        let at = format!("{at}: {key}");
        let outcome = evaluate(metric.as_ref(), scored);
        let Outcome::Table(table) = &outcome else {
            compare(&at, &outcome, &expected[key]);
            continue;
        };
        let of_labels = numbers(&expected[key]);
        let support = expected["support"].as_array().map(|_| numbers(&expected["support"]));
        assert_eq!(table.rows.len(), of_labels.len(), "{at}");
        for (label, (_, cells)) in table.rows.iter().enumerate() {
            close(&at, cells[0], of_labels[label]);
            if let Some(support) = &support {
                close(&at, cells[1], support[label]);
            }
        }
    }
}

fn check(at: &str, metric: &dyn Metric, scored: &Scored, expected: &Json) {
    assert!(metric.fits().contains(&scored.kind()), "{at}: does not fit");
    compare(at, &evaluate(metric, scored), expected);
}

fn compare(at: &str, outcome: &Outcome, expected: &Json) {
    match (outcome, expected) {
        (Outcome::Value(found), Json::Number(_)) => {
            close(at, *found, expected.as_f64().expect("a number"));
        }
        (Outcome::Undefined(reason), Json::Null) => assert!(!reason.is_empty(), "{at}"),
        (Outcome::Table(table), Json::Array(rows)) => {
            assert_eq!(table.rows.len(), rows.len(), "{at}");
            for ((_, found), expected) in table.rows.iter().zip(rows) {
                assert_eq!(*found, numbers(expected), "{at}");
            }
        }
        (found, expected) => panic!("{at}: {found:?} instead of {expected}"),
    }
}

fn close(at: &str, found: f64, expected: f64) {
    let allowed = TOLERANCE * expected.abs().max(1.0);
    assert!((found - expected).abs() <= allowed, "{at}: {found} instead of {expected}");
}

fn golden() -> Json {
    let folder = std::env::var("FTRUN_GOLDEN")
        .unwrap_or_else(|_| format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR")));
    let path = std::path::Path::new(&folder).join("metrics.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn numbers(json: &Json) -> Vec<f64> {
    list(json).iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}
