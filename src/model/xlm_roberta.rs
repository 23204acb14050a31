//! XLM-RoBERTa: RoBERTa on a hundred languages. Source: Conneau et al., "Unsupervised Cross-lingual
//! Representation Learning at Scale" (2019); checkpoints hold it under `roberta` too.

use super::roberta::{Classes, Family};

pub const XLM_ROBERTA: Family = Family {
    model_type: "xlm-roberta",
    vocabulary: 30_522,
    classes: &Classes {
        sequence: "XLMRobertaForSequenceClassification",
        token: "XLMRobertaForTokenClassification",
        span: "XLMRobertaForQuestionAnswering",
        choice: "XLMRobertaForMultipleChoice",
        masked: "XLMRobertaForMaskedLM",
    },
};
