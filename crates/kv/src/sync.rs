//! The lock and the atomics of the store, behind one name: with the feature `shuttle` they are those of a model checker,
//! which decides at each of them which thread runs next.

#[cfg(not(feature = "shuttle"))]
pub(crate) use {parking_lot::Mutex, std::sync::atomic::AtomicU64};

#[cfg(feature = "shuttle")]
pub(crate) use model::{AtomicU64, Mutex};

#[cfg(feature = "shuttle")]
mod model {
    pub(crate) use shuttle::sync::atomic::AtomicU64;

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the model's run")
        }
    }
}
