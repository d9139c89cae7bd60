//! The interfaces that a plugin exports.
//!
//! A fresh instance checks the type of every function that is looked up in it. So each call looks up the one interface that it needs.

use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    bindings::exports::procore::auth::{advice, api, auth},
    capabilities::CallState,
};

/// Where the interfaces stand in a component.
pub(crate) struct Exports {
    auth: auth::GuestIndices,
    api: api::GuestIndices,
    advice: advice::GuestIndices,
}

impl Exports {
    /// Finds the interfaces. Fails where one is missing, or lacks a function.
    pub(crate) fn of(component: &InstancePre<CallState>) -> wasmtime::Result<Self> {
        Ok(Self {
            auth: auth::GuestIndices::new(component)?,
            api: api::GuestIndices::new(component)?,
            advice: advice::GuestIndices::new(component)?,
        })
    }
}

/// An interface of an instance.
pub(crate) trait Interface: Sized + Send + Sync {
    /// Looks it up. Fails where a function has another type than in the contract.
    fn of(
        instance: &Instance,
        exports: &Exports,
        store: &mut Store<CallState>,
    ) -> wasmtime::Result<Self>;
}

macro_rules! interface {
    ($name:ident) => {
        impl Interface for $name::Guest {
            fn of(
                instance: &Instance,
                exports: &Exports,
                store: &mut Store<CallState>,
            ) -> wasmtime::Result<Self> {
                exports.$name.load(store, instance)
            }
        }
    };
}

interface!(auth);
interface!(api);
interface!(advice);
