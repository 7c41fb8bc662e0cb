//! What a script may do with a table: the permissions of execution contexts (ledger specification, section
//! 2.2; applications specification, section 6.2).

use ccf_types::{Category, Domain, MapName};

/// In which role a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Endpoint of mode `readwrite`.
    ApplicationReadWrite,
    /// Endpoint of mode `readonly` or `historical`.
    ApplicationReadOnly,
    /// A constitution's `apply`.
    GovernanceReadWrite,
    /// A constitution's `validate` and `resolve`, and ballots.
    GovernanceReadOnly,
    /// The past state of a historical endpoint.
    Historical,
}

/// What may be done with one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Whether `has`, `get`, `size`, `forEach` and `getVersionOfPreviousWrite` work.
    pub read: bool,
    /// Whether `set`, `delete` and `clear` work.
    pub write: bool,
}

impl Permission {
    const NONE: Permission = Permission { read: false, write: false };
    const READ: Permission = Permission { read: true, write: false };
    const WRITE: Permission = Permission { read: false, write: true };
    const BOTH: Permission = Permission { read: true, write: true };

    const fn as_str(self) -> &'static str {
        match (self.read, self.write) {
            (true, false) => "read-only",
            (false, true) => "write-only",
            (false, false) => "inaccessible",
            (true, true) => "read-write",
        }
    }
}

impl Access {
    /// What a script in this role may do with the table.
    #[must_use]
    pub fn permission(self, map: &MapName) -> Permission {
        use Access::{
            ApplicationReadOnly, ApplicationReadWrite, GovernanceReadOnly, GovernanceReadWrite, Historical,
        };
        match (map.domain(), map.category(), self) {
            (_, Category::Application, ApplicationReadWrite)
            | (Domain::Public, Category::Governance, GovernanceReadWrite) => Permission::BOTH,
            (Domain::Public, Category::Application, GovernanceReadWrite) => Permission::WRITE,
            (_, Category::Application, ApplicationReadOnly | Historical)
            | (Domain::Public, Category::Governance | Category::Internal, _) => Permission::READ,
            (Domain::Private, Category::Governance | Category::Internal, _)
            | (Domain::Private, Category::Application, GovernanceReadWrite | GovernanceReadOnly)
            | (Domain::Public, Category::Application, GovernanceReadOnly) => Permission::NONE,
        }
    }

    /// Why a method is refused: the end of the `TypeError`'s text.
    #[must_use]
    pub fn explanation(self, permission: Permission) -> String {
        let context = match self {
            Access::ApplicationReadWrite => "application",
            Access::ApplicationReadOnly => "read-only application",
            Access::GovernanceReadOnly => "read-only governance",
            Access::GovernanceReadWrite => "read-write governance",
            Access::Historical => {
                return "All tables are read-only during historical transaction.".to_owned();
            }
        };
        format!(
            "This table is {} in current ({context}) execution context. See \
             https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more detail.",
            permission.as_str()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_specification() {
        use Access::*;
        let contexts =
            [ApplicationReadWrite, ApplicationReadOnly, GovernanceReadWrite, GovernanceReadOnly, Historical];
        for (name, expected) in [
            ("records", ["rw", "r", "", "", "r"]),
            ("public:records", ["rw", "r", "w", "", "r"]),
            ("public:ccf.gov.members.info", ["r", "r", "rw", "r", "r"]),
            ("public:ccf.internal.tree", ["r", "r", "r", "r", "r"]),
            ("ccf.gov.secret", ["", "", "", "", ""]),
            ("ccf.internal.secret", ["", "", "", "", ""]),
        ] {
            let map = MapName::parse(name).unwrap();
            for (context, expected) in contexts.iter().zip(expected) {
                let p = context.permission(&map);
                let got = format!("{}{}", if p.read { "r" } else { "" }, if p.write { "w" } else { "" });
                assert_eq!(got, expected, "{name} in {context:?}");
            }
        }
    }
}
