//! Typed handles: declared tables as one transaction sees them. See [`RawHandle`] for dependencies.

use crate::{Codec, CodecError, Encoded, Json, KvError, Part, Raw, RawHandle, UNIT, table::Types};
use ccf_types::SeqNo;
use std::{
    fmt,
    marker::PhantomData,
    ops::{ControlFlow, Deref},
};

/// Reads a map of typed keys and values.
pub struct MapReader<'tx, K, V, KC = Raw, VC = Json> {
    raw: RawHandle<'tx>,
    types: Types<K, V, KC, VC>,
}

/// Reads and writes a map of typed keys and values.
pub struct MapHandle<'tx, K, V, KC = Raw, VC = Json>(MapReader<'tx, K, V, KC, VC>);

/// Reads a table with at most one value.
pub struct ValueReader<'tx, V, VC = Json>(MapReader<'tx, (), V, Raw, VC>);

/// Reads and writes a table with at most one value.
pub struct ValueHandle<'tx, V, VC = Json>(ValueReader<'tx, V, VC>);

/// Reads a set.
pub struct SetReader<'tx, K, KC = Raw>(MapReader<'tx, K, (), KC, Raw>);

/// Reads and writes a set.
pub struct SetHandle<'tx, K, KC = Raw>(SetReader<'tx, K, KC>);

impl<'tx, K, V, KC: Codec<K>, VC: Codec<V>> MapReader<'tx, K, V, KC, VC> {
    /// The value of a key.
    ///
    /// # Errors
    /// [`KvError`] if the key does not encode or the value does not decode.
    pub fn get(&self, key: &K) -> Result<Option<V>, KvError> {
        let key = self.key(key)?;
        self.raw.get_with(key.as_ref(), |value| value.map(|value| self.decode_value(value)).transpose())
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// [`KvError`] if the key does not encode.
    pub fn has(&self, key: &K) -> Result<bool, KvError> {
        Ok(self.raw.has(self.key(key)?.as_ref()))
    }

    /// The transaction that last wrote the key, this one's writes not counted; none if the key is absent.
    ///
    /// # Errors
    /// [`KvError`] if the key does not encode.
    pub fn version_of_previous_write(&self, key: &K) -> Result<Option<SeqNo>, KvError> {
        Ok(self.raw.version_of_previous_write(self.key(key)?.as_ref()))
    }

    /// The key's value as of the last committed transaction: [`RawHandle::get_globally_committed`].
    ///
    /// # Errors
    /// [`KvError`] if the key does not encode or the value does not decode.
    pub fn get_globally_committed(&self, key: &K) -> Result<Option<V>, KvError> {
        let value = self.raw.get_globally_committed(self.key(key)?.as_ref());
        value.map(|value| self.decode_value(&value)).transpose()
    }

    /// Calls `visit` with every key and value, ascending by encoded key, until it breaks. Writes that `visit` makes are
    /// not visited.
    ///
    /// # Errors
    /// [`KvError`] if a record does not decode; `visit` is not called after that.
    pub fn for_each<B>(&self, visit: impl FnMut(K, V) -> ControlFlow<B>) -> Result<Option<B>, KvError> {
        let mut visit = self.decoding(visit);
        self.raw.for_each(|key, value| visit(key, value)).transpose()
    }

    /// As [`for_each`](Self::for_each), for keys with `from <= key < to`, compared as encoded.
    ///
    /// # Errors
    /// [`KvError`] if a bound does not encode or a record does not decode.
    pub fn range<B>(
        &self,
        from: Option<&K>,
        to: Option<&K>,
        visit: impl FnMut(K, V) -> ControlFlow<B>,
    ) -> Result<Option<B>, KvError> {
        let from = from.map(|from| self.key(from)).transpose()?;
        let to = to.map(|to| self.key(to)).transpose()?;
        let mut visit = self.decoding(visit);
        let (from, to) = (from.as_ref().map(AsRef::as_ref), to.as_ref().map(AsRef::as_ref));
        self.raw.range(from, to, |key, value| visit(key, value)).transpose()
    }

    /// Every key and value, ascending by encoded key.
    ///
    /// # Errors
    /// [`KvError`] if a record does not decode.
    pub fn entries(&self) -> Result<Vec<(K, V)>, KvError> {
        let mut entries = Vec::new();
        self.for_each::<()>(|key, value| {
            entries.push((key, value));
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// Number of keys.
    #[must_use]
    pub fn size(&self) -> usize {
        self.raw.size()
    }

    /// The untyped handle on the same map.
    #[must_use]
    pub fn raw(&self) -> RawHandle<'tx> {
        self.raw
    }

    fn key<'a>(&self, key: &'a K) -> Result<Encoded<'a>, KvError> {
        KC::encode(key).map_err(|reason| self.encode_error(Part::Key, reason))
    }

    fn decode_value(&self, value: &[u8]) -> Result<V, KvError> {
        VC::decode(value).map_err(|reason| self.decode_error(Part::Value, reason))
    }

    fn decoding<B>(
        &self,
        mut visit: impl FnMut(K, V) -> ControlFlow<B>,
    ) -> impl FnMut(&[u8], &[u8]) -> ControlFlow<Result<B, KvError>> {
        move |key, value| {
            let key = KC::decode(key).map_err(|reason| self.decode_error(Part::Key, reason));
            match (key, self.decode_value(value)) {
                (Ok(key), Ok(value)) => visit(key, value).map_break(Ok),
                (Err(error), _) | (_, Err(error)) => ControlFlow::Break(Err(error)),
            }
        }
    }

    fn decode_error(&self, part: Part, reason: CodecError) -> KvError {
        KvError::Decode { map: self.raw.name().clone(), part, reason }
    }

    fn encode_error(&self, part: Part, reason: CodecError) -> KvError {
        KvError::Encode { map: self.raw.name().clone(), part, reason }
    }
}

impl<K, V, KC: Codec<K>, VC: Codec<V>> MapHandle<'_, K, V, KC, VC> {
    /// Gives the key a value.
    ///
    /// # Errors
    /// [`KvError`] if one of them does not encode.
    pub fn put(&self, key: &K, value: &V) -> Result<(), KvError> {
        let key = self.key(key)?;
        let value = VC::encode(value).map_err(|reason| self.encode_error(Part::Value, reason))?;
        self.raw.put(key, value);
        Ok(())
    }

    /// Removes the key, whether or not it exists.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn remove(&self, key: &K) -> Result<(), KvError> {
        self.raw.remove(self.key(key)?);
        Ok(())
    }

    /// Removes every key.
    pub fn clear(&self) {
        self.raw.clear();
    }
}

impl<'tx, V, VC: Codec<V>> ValueReader<'tx, V, VC> {
    /// The value.
    ///
    /// # Errors
    /// [`KvError`] if it does not decode.
    pub fn get(&self) -> Result<Option<V>, KvError> {
        self.0.get(&())
    }

    /// Whether there is a value.
    #[must_use]
    pub fn has(&self) -> bool {
        self.0.raw.has(&UNIT)
    }

    /// The transaction that last wrote the value, this one's writes not counted.
    #[must_use]
    pub fn version_of_previous_write(&self) -> Option<SeqNo> {
        self.0.raw.version_of_previous_write(&UNIT)
    }

    /// The value as of the last committed transaction: [`RawHandle::get_globally_committed`].
    ///
    /// # Errors
    /// [`KvError`] if it does not decode.
    pub fn get_globally_committed(&self) -> Result<Option<V>, KvError> {
        self.0.get_globally_committed(&())
    }

    /// The untyped handle on the same map.
    #[must_use]
    pub fn raw(&self) -> RawHandle<'tx> {
        self.0.raw
    }
}

impl<V, VC: Codec<V>> ValueHandle<'_, V, VC> {
    /// Sets the value.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn put(&self, value: &V) -> Result<(), KvError> {
        let value = VC::encode(value).map_err(|reason| self.0.0.encode_error(Part::Value, reason))?;
        self.raw().put(UNIT.as_slice(), value);
        Ok(())
    }

    /// Removes the value, whether or not there is one.
    pub fn clear(&self) {
        self.raw().remove(UNIT.as_slice());
    }
}

impl<'tx, K, KC: Codec<K>> SetReader<'tx, K, KC> {
    /// Whether the key is in the set.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn contains(&self, key: &K) -> Result<bool, KvError> {
        self.0.has(key)
    }

    /// Whether the key is in the set as of the last committed transaction.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn contains_globally_committed(&self, key: &K) -> Result<bool, KvError> {
        Ok(self.0.get_globally_committed(key)?.is_some())
    }

    /// The transaction that inserted the key, this one's writes not counted.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn version_of_previous_write(&self, key: &K) -> Result<Option<SeqNo>, KvError> {
        self.0.version_of_previous_write(key)
    }

    /// Calls `visit` with every key, ascending as encoded, until it breaks.
    ///
    /// # Errors
    /// [`KvError`] if a key does not decode.
    pub fn for_each<B>(&self, mut visit: impl FnMut(K) -> ControlFlow<B>) -> Result<Option<B>, KvError> {
        self.0.for_each(|key, ()| visit(key))
    }

    /// Number of keys.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// The untyped handle on the same map.
    #[must_use]
    pub fn raw(&self) -> RawHandle<'tx> {
        self.0.raw
    }
}

impl<K, KC: Codec<K>> SetHandle<'_, K, KC> {
    /// Adds the key.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn insert(&self, key: &K) -> Result<(), KvError> {
        let key = self.0.0.key(key)?;
        self.raw().put(key, UNIT.as_slice());
        Ok(())
    }

    /// Removes the key, whether or not it is in the set.
    ///
    /// # Errors
    /// [`KvError`] if it does not encode.
    pub fn remove(&self, key: &K) -> Result<(), KvError> {
        self.raw().remove(self.0.0.key(key)?);
        Ok(())
    }

    /// Removes every key.
    pub fn clear(&self) {
        self.raw().clear();
    }
}

impl<'tx, K, V, KC, VC> MapReader<'tx, K, V, KC, VC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        MapReader { raw, types: PhantomData }
    }
}

impl<'tx, K, V, KC, VC> MapHandle<'tx, K, V, KC, VC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        MapHandle(MapReader::new(raw))
    }
}

impl<'tx, V, VC> ValueReader<'tx, V, VC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        ValueReader(MapReader::new(raw))
    }
}

impl<'tx, V, VC> ValueHandle<'tx, V, VC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        ValueHandle(ValueReader::new(raw))
    }
}

impl<'tx, K, KC> SetReader<'tx, K, KC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        SetReader(MapReader::new(raw))
    }
}

impl<'tx, K, KC> SetHandle<'tx, K, KC> {
    pub(crate) fn new(raw: RawHandle<'tx>) -> Self {
        SetHandle(SetReader::new(raw))
    }
}

impl<'tx, K, V, KC, VC> Deref for MapHandle<'tx, K, V, KC, VC> {
    type Target = MapReader<'tx, K, V, KC, VC>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'tx, V, VC> Deref for ValueHandle<'tx, V, VC> {
    type Target = ValueReader<'tx, V, VC>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'tx, K, KC> Deref for SetHandle<'tx, K, KC> {
    type Target = SetReader<'tx, K, KC>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K, V, KC, VC> fmt::Debug for MapReader<'_, K, V, KC, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<K, V, KC, VC> fmt::Debug for MapHandle<'_, K, V, KC, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<V, VC> fmt::Debug for ValueReader<'_, V, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<V, VC> fmt::Debug for ValueHandle<'_, V, VC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K, KC> fmt::Debug for SetReader<'_, K, KC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K, KC> fmt::Debug for SetHandle<'_, K, KC> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
