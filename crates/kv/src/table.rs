//! Tables declared once, as constants: name, key type, value type, encoding.
//!
//! ```
//! use ccf_kv::{Json, Raw, TypedMap, TypedSet, TypedValue};
//!
//! /// A framework table: raw key, JSON value.
//! const LABELS: TypedMap<String, u64> = TypedMap::new("public:ccf.gov.labels");
//! /// An application's table: both JSON.
//! const RECORDS: TypedMap<u64, String, Json, Json> = TypedMap::new("records");
//! const COUNTER: TypedValue<u64> = TypedValue::new("counter");
//! const SEEN: TypedSet<String> = TypedSet::new("seen");
//! # assert_eq!(LABELS.name().as_str(), "public:ccf.gov.labels");
//! ```

use crate::{Codec, Json, KvError, Part, Raw};
use ccf_types::MapName;
use std::{fmt, marker::PhantomData};

/// A map from `K` to `V`. By default as most framework tables are: raw key, JSON value.
pub struct TypedMap<K, V, KC = Raw, VC = Json> {
    name: MapName,
    types: Types<K, V, KC, VC>,
}

/// A table with at most one value.
pub struct TypedValue<V, VC = Json> {
    map: TypedMap<(), V, Raw, VC>,
}

/// A table that holds keys only.
pub struct TypedSet<K, KC = Raw> {
    map: TypedMap<K, (), KC, Raw>,
}

/// Marks the types without owning them, so that a table is `Send` and `Sync` whatever they are.
pub(crate) type Types<K, V, KC, VC> = PhantomData<fn() -> (K, V, KC, VC)>;

impl<K, V, KC, VC> TypedMap<K, V, KC, VC> {
    /// The table of this name.
    ///
    /// # Panics
    /// At compile time, as the initialiser of a constant, if the name has a reserved prefix.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name: MapName::from_static(name), types: PhantomData }
    }

    /// A table whose name is known only at run time.
    #[must_use]
    pub fn named(name: MapName) -> Self {
        Self { name, types: PhantomData }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &MapName {
        &self.name
    }

    /// Decodes a key of this table.
    ///
    /// # Errors
    /// [`KvError::Decode`].
    pub fn decode_key(&self, bytes: &[u8]) -> Result<K, KvError>
    where
        KC: Codec<K>,
    {
        KC::decode(bytes).map_err(|reason| KvError::Decode {
            map: self.name.clone(),
            part: Part::Key,
            reason,
        })
    }

    /// Decodes a value of this table.
    ///
    /// # Errors
    /// [`KvError::Decode`].
    pub fn decode_value(&self, bytes: &[u8]) -> Result<V, KvError>
    where
        VC: Codec<V>,
    {
        VC::decode(bytes).map_err(|reason| KvError::Decode {
            map: self.name.clone(),
            part: Part::Value,
            reason,
        })
    }
}

impl<V, VC> TypedValue<V, VC> {
    /// The table of this name.
    ///
    /// # Panics
    /// At compile time, as the initialiser of a constant, if the name has a reserved prefix.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { map: TypedMap::new(name) }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &MapName {
        self.map.name()
    }

    /// The same table as a map with the unit key.
    #[must_use]
    pub fn as_map(&self) -> &TypedMap<(), V, Raw, VC> {
        &self.map
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// [`KvError::Decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<V, KvError>
    where
        VC: Codec<V>,
    {
        self.map.decode_value(bytes)
    }
}

impl<K, KC> TypedSet<K, KC> {
    /// The table of this name.
    ///
    /// # Panics
    /// At compile time, as the initialiser of a constant, if the name has a reserved prefix.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { map: TypedMap::new(name) }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &MapName {
        self.map.name()
    }

    /// The same table as a map to the unit value.
    #[must_use]
    pub fn as_map(&self) -> &TypedMap<K, (), KC, Raw> {
        &self.map
    }
}

impl<K, V, KC, VC> Clone for TypedMap<K, V, KC, VC> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), types: PhantomData }
    }
}

impl<K, V, KC, VC> fmt::Debug for TypedMap<K, V, KC, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl<V, VC> fmt::Debug for TypedValue<V, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

impl<K, KC> fmt::Debug for TypedSet<K, KC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}
