//! The little that a verifier must remember of governance: who may sign.

use ccf_crypto::{cert::Certificate, key::PublicKey};
use ccf_types::SeqNo;
use serde::Deserialize;
use std::{borrow::Cow, collections::HashMap};

use super::{Reason, ServiceIdentity};
use crate::limits::NODES_MAX;

/// Node rows, endorsed certificates and the service, as of the last entry seen.
#[derive(Debug, Default)]
pub(super) struct Tables {
    nodes: HashMap<String, Node>,
    service: Option<PublicKey>,
    services: Vec<ServiceIdentity>,
}

#[derive(Debug, Default)]
struct Node {
    /// From `nodes.info`; absent if there is no such row.
    info: Option<NodeInfo>,
    /// PEM from `nodes.endorsed_certificates`.
    endorsed: Option<String>,
    /// Key of the certificate that counts, parsed at first use.
    key: Option<PublicKey>,
}

#[derive(Debug)]
struct NodeInfo {
    pending: bool,
    /// 1.x kept the certificate here.
    cert: Option<String>,
}

/// The tables of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Nodes,
    EndorsedCertificates,
    Service,
}

impl Table {
    pub(super) fn of(name: &str) -> Option<Table> {
        [Table::Nodes, Table::EndorsedCertificates, Table::Service]
            .into_iter()
            .find(|table| table.name() == name)
    }

    fn name(self) -> &'static str {
        const NAMES: [&str; 3] = [
            "public:ccf.gov.nodes.info",
            "public:ccf.gov.nodes.endorsed_certificates",
            "public:ccf.gov.service.info",
        ];
        NAMES[self as usize]
    }

    fn bad_value(self, reason: &impl ToString) -> Reason {
        Reason::Value { table: self.name(), reason: reason.to_string() }
    }

    fn bad_certificate(self, reason: &impl ToString) -> Reason {
        Reason::Certificate { table: self.name(), reason: reason.to_string() }
    }
}

impl Tables {
    /// Applies a write to one of the tables.
    pub(super) fn write(
        &mut self,
        table: Table,
        seqno: SeqNo,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Reason> {
        match table {
            Table::Nodes => {
                #[derive(Deserialize)]
                struct Row<'a> {
                    #[serde(borrow)]
                    status: Cow<'a, str>,
                    cert: Option<String>,
                }
                let row: Row<'_> = serde_json::from_slice(value).map_err(|e| table.bad_value(&e))?;
                let node = self.node(table, key)?;
                node.info = Some(NodeInfo { pending: row.status == "Pending", cert: row.cert });
                node.key = None;
            }
            Table::EndorsedCertificates => {
                let pem = std::str::from_utf8(value).map_err(|e| table.bad_value(&e))?.to_owned();
                let node = self.node(table, key)?;
                node.endorsed = Some(pem);
                node.key = None;
            }
            Table::Service => {
                #[derive(Deserialize)]
                struct Row {
                    cert: String,
                }
                let Row { cert } = serde_json::from_slice(value).map_err(|e| table.bad_value(&e))?;
                if self.services.last().is_none_or(|service| service.certificate_pem != cert) {
                    self.service = Some(public_key(table, &certificate(table, &cert)?)?);
                    self.nodes.values_mut().for_each(|node| node.key = None);
                    self.services.push(ServiceIdentity { from: seqno, certificate_pem: cert });
                }
            }
        }
        Ok(())
    }

    /// Applies a remove.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        if table == Table::Service {
            self.service = None;
            return;
        }
        let Ok(id) = std::str::from_utf8(key) else { return };
        let Some(node) = self.nodes.get_mut(id) else { return };
        match table {
            Table::EndorsedCertificates => node.endorsed = None,
            _ => node.info = None,
        }
        node.key = None;
        if node.info.is_none() && node.endorsed.is_none() {
            self.nodes.remove(id);
        }
    }

    /// The key with which a node's signature must verify (section 10.5): that of its endorsed certificate, else of
    /// the certificate in its row, as 1.x had it. A retired node may sign, one that is not trusted yet may not. That
    /// the service of the time did endorse the certificate is checked beyond the specification: in ledgers without
    /// service signatures nothing else ties the entries to the service.
    pub(super) fn signer(&mut self, id: &str) -> Result<PublicKey, Reason> {
        let unknown = || Reason::UnknownSigner(id.to_owned());
        let node = self.nodes.get_mut(id).ok_or_else(unknown)?;
        let info = node.info.as_ref().ok_or_else(unknown)?;
        if info.pending {
            return Err(Reason::PendingSigner(id.to_owned()));
        }
        if let Some(key) = &node.key {
            return Ok(key.clone());
        }
        let key = match (&node.endorsed, &info.cert) {
            (Some(pem), _) => {
                let table = Table::EndorsedCertificates;
                let certificate = certificate(table, pem)?;
                let service = self.service.as_ref().ok_or(Reason::NoService)?;
                certificate.verify_signed_by(service).map_err(|_| Reason::NotEndorsed(id.to_owned()))?;
                public_key(table, &certificate)?
            }
            (None, Some(pem)) => public_key(Table::Nodes, &certificate(Table::Nodes, pem)?)?,
            (None, None) => return Err(unknown()),
        };
        if key.node_id().as_str() != id {
            return Err(Reason::OtherCertificate(id.to_owned()));
        }
        Ok(node.key.insert(key).clone())
    }

    /// The key of the service.
    pub(super) fn service(&self) -> Result<PublicKey, Reason> {
        self.service.clone().ok_or(Reason::NoService)
    }

    pub(super) fn into_services(self) -> Vec<ServiceIdentity> {
        self.services
    }

    fn node(&mut self, table: Table, key: &[u8]) -> Result<&mut Node, Reason> {
        let id = std::str::from_utf8(key).map_err(|e| table.bad_value(&e))?;
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(id) {
            return Err(Reason::TooManyNodes(NODES_MAX));
        }
        Ok(self.nodes.entry(id.to_owned()).or_default())
    }
}

fn certificate(table: Table, pem: &str) -> Result<Certificate, Reason> {
    Certificate::from_pem(pem).map_err(|e| table.bad_certificate(&e))
}

fn public_key(table: Table, certificate: &Certificate) -> Result<PublicKey, Reason> {
    certificate.public_key().cloned().map_err(|e| table.bad_certificate(&e))
}

/// Whether a certificate has this key.
pub(super) fn has_key(pem: &str, key: &PublicKey) -> bool {
    Certificate::from_pem(pem).is_ok_and(|certificate| certificate.spki_der() == key.spki_der())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    #[test]
    fn names_are_those_of_the_tables() {
        assert_eq!(Table::of(tables::NODES_INFO.as_str()), Some(Table::Nodes));
        let endorsed = tables::NODE_ENDORSED_CERTIFICATES;
        assert_eq!(Table::of(endorsed.as_str()), Some(Table::EndorsedCertificates));
        assert_eq!(Table::of(tables::SERVICE_INFO.as_str()), Some(Table::Service));
        assert_eq!(Table::of("public:ccf.gov.nodes.infos"), None);
    }
}
