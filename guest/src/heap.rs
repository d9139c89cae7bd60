//! The plugin's heap: a room that the memory begins with, and what the host grants beyond it.

use core::{alloc::Layout, arch::wasm32, mem::MaybeUninit};

use talc::{
    base::{CHUNK_UNIT, Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Enough for most calls. Memory that a call has to ask for costs the host two changes of its protection.
const ROOM: usize = 192 << 10;
/// The size of a page of the memory, by the WebAssembly specification.
const PAGE: usize = 64 << 10;

/// The allocator. Half the size of the standard library's.
pub type Heap = TalcSyncCell<RoomThenGrown, WasmBinning>;

static mut FIRST: [MaybeUninit<u8>; ROOM] = [MaybeUninit::uninit(); ROOM];

/// Makes the only heap that a program may have.
pub const fn heap() -> Heap {
    TalcSyncCell::new_wasm(RoomThenGrown { room: true })
}

/// Gives the allocator the room first, and then pages that it asks the host for.
#[derive(Debug)]
pub struct RoomThenGrown {
    /// Whether the room is still to be given.
    room: bool,
}

// SAFETY: asks no allocator for memory.
unsafe impl Source for RoomThenGrown {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) = if talc.source.room {
            talc.source.room = false;
            ((&raw mut FIRST).cast(), ROOM)
        } else {
            grow(layout).ok_or(())?
        };
        // SAFETY: nothing else uses the room, which is given once, or pages that were just added.
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
