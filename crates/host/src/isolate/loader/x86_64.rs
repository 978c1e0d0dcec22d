//! What the shim's image has that depends on the processor: the machine code of its stubs, and three numbers of ELF.
//!
//! A stub is entered like the function that it stands for and leaves by a jump, so that the function sees its caller's
//! arguments, stack and return address. It has no frame, so unwinding needs no table for it.

use super::image::Places;
use object::elf;

pub(super) const MACHINE: elf::Machine = elf::EM_X86_64;
/// The relocation "address of the symbol, plus addend", as wide as an address.
pub(super) const ADDRESS_RELOCATION: elf::RelocationType = elf::R_X86_64_64;
/// Segments with different rights lie this far apart: the largest page that Linux uses here.
pub(super) const PAGE_BYTES: u64 = 0x1000;
/// The version of the oldest symbols of glibc for this processor.
pub(super) const FIRST_GLIBC: &std::ffi::CStr = c"GLIBC_2.2.5";

/// Every stub takes this much room.
pub(super) const STUB_BYTES: u64 = 32;

/// What a stub does before it goes on to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stub {
    /// Nothing.
    Plain,
    /// Adds the context's address as one more argument, after this many.
    WithContext(usize),
    /// For `dlopen`: without a name, goes to its target with the context's address as the only argument; otherwise takes
    /// `RTLD_GLOBAL` out of the flags and goes to the namespace's own `dlopen`, which must see the caller's return address.
    Dlopen,
}

/// The machine code of a stub that lies at the address `at`.
pub(super) fn code(stub: Stub, at: u64, places: &Places) -> Vec<u8> {
    let mut code = Code {
        at,
        bytes: Vec::with_capacity(STUB_BYTES as usize),
    };
    match stub {
        Stub::Plain => {}
        Stub::WithContext(arguments) => code.load_address(ARGUMENTS[arguments], places.context),
        Stub::Dlopen => {
            code.bytes.extend([0x48, 0x85, 0xff]); // test rdi, rdi
            code.bytes.extend([0x74, 12]); // jz over the next two
            code.bytes.extend([0x81, 0xe6]); // and esi, …
            code.bytes.extend((!libc::RTLD_GLOBAL).to_le_bytes());
            code.jump_through(places.dlopen);
            code.load_address(ARGUMENTS[0], places.context);
        }
    }
    code.jump_through(places.target);
    code.bytes.resize(STUB_BYTES as usize, 0xcc); // int3
    code.bytes
}

/// `lea reg, [rip + …]` for the registers of the arguments, in order: rdi, rsi, rdx, rcx, r8, r9.
const ARGUMENTS: [[u8; 3]; 6] = [
    [0x48, 0x8d, 0x3d],
    [0x48, 0x8d, 0x35],
    [0x48, 0x8d, 0x15],
    [0x48, 0x8d, 0x0d],
    [0x4c, 0x8d, 0x05],
    [0x4c, 0x8d, 0x0d],
];

struct Code {
    at: u64,
    bytes: Vec<u8>,
}

impl Code {
    /// Puts `address` into the register that the instruction names.
    fn load_address(&mut self, instruction: [u8; 3], address: u64) {
        self.bytes.extend(instruction);
        self.distance_to(address);
    }

    /// `jmp [rip + …]`: goes where the word at `slot` says.
    fn jump_through(&mut self, slot: u64) {
        self.bytes.extend([0xff, 0x25]);
        self.distance_to(slot);
    }

    /// The operand that ends an instruction: the distance from the next one.
    fn distance_to(&mut self, address: u64) {
        let next = self.at + self.bytes.len() as u64 + 4;
        // The image is a few pages long, so the distance fits.
        let distance = address.wrapping_sub(next) as i32;
        self.bytes.extend(distance.to_le_bytes());
    }
}
