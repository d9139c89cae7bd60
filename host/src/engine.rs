//! The WebAssembly engine: what it runs, and the pool that calls get their memory from.

use std::fmt;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::LoadError;

/// How many calls may run at once, unless somebody says otherwise.
pub(crate) const DEFAULT_CONCURRENT_CALLS: u32 = 256;

/// How many bytes of a finished call's memory are kept and zeroed for the next one, instead of being given back to the system.
/// A call rarely touches more; each page that is given back costs a fault in the next call.
const RESIDENT: usize = 1 << 20;
/// The same for its stack.
const RESIDENT_STACK: usize = 32 << 10;
/// The address space that is reserved for a call's memory in the pool: with all that 32 bits can name, no access needs a check.
const RESERVED: u64 = 4 << 30;
/// What one call may use of the pool, at most; without a pool, what is reserved for it.
const POOLED_MEMORY: usize = 256 << 20;
const CORE_INSTANCES: u32 = 8;
const TABLES: u32 = 8;

/// Makes an engine with a pool of instances for so many calls at once; where the system does not grant the pool's address space, without.
pub(crate) fn with_room_for(calls: u32) -> Result<Engine, LoadError> {
    Engine::new(config(RESERVED).allocation_strategy(pool(calls)))
        .or_else(|error| {
            tracing::debug!("no pool of instances: {error:#}");
            Engine::new(&config(POOLED_MEMORY as u64))
        })
        .map_err(|error| refused(&error))
}

/// Says that the system refused what an engine needs.
pub(crate) fn refused(reason: &impl fmt::Display) -> LoadError {
    LoadError::Engine {
        reason: reason.to_string(),
    }
}

fn config(reserved: u64) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // The contract has no `async func`: without their bookkeeping an instance is cheaper.
        .concurrency_support(false)
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .memory_reservation(reserved)
        // A plugin has no names, so its traps say no more with addresses. Without these and what unwinds a stack, what is compiled is a sixth smaller.
        .generate_address_map(false);
    // Windows does not run code without it.
    #[cfg(not(windows))]
    config.native_unwind_info(false);
    config
}

fn pool(calls: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(POOLED_MEMORY)
        .total_component_instances(calls)
        .total_stacks(calls)
        .total_memories(calls)
        .max_memories_per_component(1)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_tables(calls.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .linear_memory_keep_resident(RESIDENT)
        .async_stack_keep_resident(RESIDENT_STACK)
        .decommit_batch_size(16)
        .table_keep_resident(RESIDENT)
        // Where the kernel tells which pages a call has written to (Linux 6.7), only those are zeroed.
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_had_where_address_space_is() {
        let pool = pool(DEFAULT_CONCURRENT_CALLS);
        Engine::new(config(RESERVED).allocation_strategy(pool)).expect("a pool");
    }

    #[test]
    fn where_no_pool_is_had_there_is_an_engine() {
        assert!(Engine::new(config(RESERVED).allocation_strategy(pool(u32::MAX))).is_err());
        with_room_for(u32::MAX).expect("an engine");
    }
}
