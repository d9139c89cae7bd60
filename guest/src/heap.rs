//! The plugin's heap: an arena that the memory begins with, and pages that the host grants beyond it.

use core::{alloc::Layout, arch::wasm32, mem::MaybeUninit};

use talc::{
    base::{CHUNK_UNIT, Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Enough for most calls. Memory that a call has to ask for costs the host two changes of its protection.
const ARENA_SIZE: usize = 192 << 10;
/// The size of a page of the memory, by the WebAssembly specification.
const PAGE: usize = 64 << 10;

static mut ARENA: [MaybeUninit<u8>; ARENA_SIZE] = [MaybeUninit::uninit(); ARENA_SIZE];

/// Half the size of the standard library's allocator.
#[global_allocator]
static HEAP: TalcSyncCell<ArenaThenPages, WasmBinning> = TalcSyncCell::new_wasm(ArenaThenPages {
    is_arena_left: true,
});

/// Gives the allocator the arena first, and then pages that it asks the host for. What it gives never merges with what it gave
/// before: less code, and most calls need the arena alone.
#[derive(Debug)]
struct ArenaThenPages {
    is_arena_left: bool,
}

// SAFETY: asks no allocator for memory, and succeeds only where memory was added.
unsafe impl Source for ArenaThenPages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) = if talc.source.is_arena_left {
            talc.source.is_arena_left = false;
            ((&raw mut ARENA).cast(), ARENA_SIZE)
        } else {
            grow(layout).ok_or(())?
        };
        // SAFETY: the arena is claimed once, by the only instance of this private type; pages that were just added are nobody's.
        unsafe { talc.claim(base, size) }.map(drop).ok_or(())
    }
}

/// Adds as many pages as hold the allocation and the allocator's marks around it.
fn grow(layout: Layout) -> Option<(*mut u8, usize)> {
    let wanted = layout.size().checked_add(layout.align() + 4 * CHUNK_UNIT)?;
    let pages = wanted.div_ceil(PAGE);
    match wasm32::memory_grow::<0>(pages) {
        usize::MAX => None,
        end => Some(((end * PAGE) as *mut u8, pages * PAGE)),
    }
}
