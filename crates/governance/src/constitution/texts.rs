//! Our own constitutions: the files of the `constitutions` folder, built in.

/// A file of a constitution: its name and its text.
pub type File = (&'static str, &'static str);

macro_rules! file {
    ($folder:literal, $name:literal) => {
        ($name, include_str!(concat!("../../../../constitutions/", $folder, "/", $name)))
    };
}

/// What proposals may contain.
pub const ACTIONS: File = file!("default", "actions.js");
/// Whether a proposal is acceptable at all.
pub const VALIDATE: File = file!("default", "validate.js");
/// The majority of the members decides.
pub const RESOLVE: File = file!("default", "resolve.js");
/// Carries proposals out.
pub const APPLY: File = file!("default", "apply.js");
/// Every valid proposal is accepted at once: for a sandbox on one machine.
pub const SANDBOX_RESOLVE: File = file!("sandbox", "resolve.js");
/// Join policy of the virtual platform; follows [`ACTIONS`].
pub const VIRTUAL_ACTIONS: File = file!("virtual", "actions.js");

/// The default constitution.
pub const DEFAULT: [File; 4] = [ACTIONS, VALIDATE, RESOLVE, APPLY];
/// The default constitution for nodes on the virtual platform.
pub const DEFAULT_VIRTUAL: [File; 5] = [ACTIONS, VIRTUAL_ACTIONS, VALIDATE, RESOLVE, APPLY];
/// The constitution of a sandbox.
pub const SANDBOX: [File; 5] = [ACTIONS, VIRTUAL_ACTIONS, VALIDATE, SANDBOX_RESOLVE, APPLY];

/// One module of several files: their texts in order, empty ones left out, one newline between.
#[must_use]
pub fn join<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join("\n")
}

/// One module of some of the files above.
#[must_use]
pub fn join_files(files: &[File]) -> String {
    join(files.iter().map(|(_, text)| *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_constitutions_are_constitutions() {
        for files in [&DEFAULT[..], &DEFAULT_VIRTUAL, &SANDBOX] {
            assert_eq!(ccf_js::check_constitution(&join_files(files)), Ok(()));
        }
    }

    #[test]
    fn files_are_joined_by_single_newlines() {
        assert_eq!(join(["a", "", "b\n", "c"]), "a\nb\n\nc");
    }
}
