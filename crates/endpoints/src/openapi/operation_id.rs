//! Names of operations: verb and path in camel case.

use crate::http::Method;

/// The `operationId` of a method and full path template, as `PostAppLogPrivateRawTextId`.
///
/// After dropping the braces, each lower-case ASCII letter at the start or after one character that is no
/// letter or digit becomes upper-case and swallows that character.
#[must_use]
pub fn operation_id(method: Method, full_path: &str) -> String {
    let verb = method.lower_case();
    let path: String = full_path.chars().filter(|c| *c != '{' && *c != '}').collect();
    let mut id = String::with_capacity(verb.len() + path.len());
    let mut previous_separates = true;
    for character in verb.chars().chain(path.chars()) {
        if previous_separates && character.is_ascii_lowercase() {
            if !id.is_empty() {
                id.pop();
            }
            id.push(character.to_ascii_uppercase());
        } else {
            id.push(character);
        }
        previous_separates = !character.is_ascii_alphanumeric();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        for (method, path, id) in [
            (Method::Post, "/app/log/private/raw_text/{id}", "PostAppLogPrivateRawTextId"),
            (Method::Get, "/app/v1/2fa", "GetAppV1/2fa"),
            (Method::Get, "/app/Foo/bar", "GetApp/FooBar"),
            (Method::Get, "/node/network/nodes/{node_id}", "GetNodeNetworkNodesNodeId"),
            (Method::Post, "/node/snapshot:create", "PostNodeSnapshotCreate"),
            (Method::Delete, "/app/log//x", "DeleteAppLog/X"),
        ] {
            assert_eq!(operation_id(method, path), id);
        }
    }
}
