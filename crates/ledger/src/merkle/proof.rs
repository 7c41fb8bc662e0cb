//! Paths from a leaf to a root (section 9.5).

use ccf_types::Digest;
use serde::{Deserialize, Serialize};

use crate::evidence::hash_pair;

/// One step upwards: the sibling and the side it stands on. JSON `{"left": hex}` or `{"right": hex}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "RawStep")]
pub enum ProofStep {
    /// The sibling is left: the parent is `H(sibling, current)`.
    Left(Digest),
    /// The sibling is right: the parent is `H(current, sibling)`.
    Right(Digest),
}

/// A step as it may be written: whatever stands there, the error says what must.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    left: Option<Digest>,
    right: Option<Digest>,
}

impl TryFrom<RawStep> for ProofStep {
    type Error = &'static str;

    fn try_from(step: RawStep) -> Result<Self, Self::Error> {
        match (step.left, step.right) {
            (Some(sibling), None) => Ok(ProofStep::Left(sibling)),
            (None, Some(sibling)) => Ok(ProofStep::Right(sibling)),
            _ => Err("a step of the proof must have exactly one of left and right"),
        }
    }
}

/// The steps from a leaf to the root, lowest first. Promoted levels contribute none. JSON: an array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof {
    /// The steps, from the leaf upwards.
    pub steps: Vec<ProofStep>,
}

impl Proof {
    /// The root which this path gives to a leaf.
    #[must_use]
    pub fn root(&self, leaf: &Digest) -> Digest {
        self.steps.iter().fold(*leaf, |current, step| match step {
            ProofStep::Left(sibling) => hash_pair(sibling, &current),
            ProofStep::Right(sibling) => hash_pair(&current, sibling),
        })
    }

    /// Whether the path leads from this leaf to this root.
    #[must_use]
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> bool {
        self.root(leaf) == *root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_that_of_receipts() {
        let proof =
            Proof { steps: vec![ProofStep::Left(Digest([1; 32])), ProofStep::Right(Digest([2; 32]))] };
        let text = serde_json::to_string(&proof).expect("serialises");
        assert_eq!(text, format!(r#"[{{"left":"{}"}},{{"right":"{}"}}]"#, "01".repeat(32), "02".repeat(32)));
        assert_eq!(serde_json::from_str::<Proof>(&text).expect("parses"), proof);
        for bad in [r#"[{}]"#, r#"[{"up":"00"}]"#, r#"[{"left":"00"}]"#, r#"{"left":[]}"#] {
            assert!(serde_json::from_str::<Proof>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_has_one_side() {
        let sibling = "01".repeat(32);
        for bad in ["[{}]".to_owned(), format!(r#"[{{"left":"{sibling}","right":"{sibling}"}}]"#)] {
            let told = serde_json::from_str::<Proof>(&bad).expect_err("refused").to_string();
            assert!(told.contains("exactly one of left and right"), "{told}");
        }
    }
}
