//! Makes the ELF image of a shim: a shared object with stubs that jump to fixed addresses of this process.
//!
//! The image is made for one namespace of one process, so it needs no constructor: the addresses of the main namespace
//! stand in it. Only those of the namespace's own libc cannot be known before. The dynamic linker fills them in, like the
//! addresses of any object, before it runs the first line of code of the namespace; see [`Anchored`].
//!
//! ```text
//! read             ELF header, program headers, hash, symbols, names, relocations, addresses for the stubs
//! read + execute   the stubs
//! read after load  .dynamic, the context (addresses in the namespace's libc)
//! ```

use super::x86_64::{self as arch, Stub};
use object::elf;
use object::endian::Endianness;
use object::write::elf::{
    FileHeader, ProgramHeader, Rel, SectionHeader, SectionIndex, Sym, Writer,
};
use std::ffi::CStr;

/// What an image is made of.
pub(super) struct Image<'a> {
    /// DT_SONAME: how tools call it.
    pub(super) name: &'a str,
    /// DT_NEEDED: the one library that is loaded after it, and whose symbols all objects of the namespace see.
    pub(super) needed: &'a [u8],
    pub(super) exports: Vec<Export>,
    pub(super) context: Anchored<'a>,
}

/// A function that the objects of the namespace find in the shim first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Export {
    pub(super) name: &'static CStr,
    pub(super) stub: Stub,
    /// Where its stub goes.
    pub(super) target: usize,
}

/// The words of the context: addresses in a library of the namespace, each given by its distance from one symbol.
///
/// One symbol, since some of the others are exported by the shim, too, and a reference to them would find the shim's. The
/// distances are those in the main namespace, which has the same library loaded from the same file.
pub(super) struct Anchored<'a> {
    pub(super) symbol: &'a str,
    pub(super) distances: &'a [i64],
    /// Which of the words is the address of `dlopen`.
    pub(super) dlopen: usize,
}

/// Where the words that a stub reads lie in the image.
pub(super) struct Places {
    /// The address of the stub's target.
    pub(super) target: u64,
    /// The context itself.
    pub(super) context: u64,
    /// The address of the namespace's `dlopen`, in the context.
    pub(super) dlopen: u64,
}

const WORD: u64 = 8;
/// About two symbols for each bucket of the hash.
const BUCKETS: u32 = 64;
/// The filter that tells most absent names apart: 2048 bits for about a hundred names.
const BLOOM_WORDS: u32 = 32;
const BLOOM_SHIFT: u32 = 11;
const SEGMENTS: u32 = 6;
const DYNAMIC_ENTRIES: usize = 11;
/// Symbol 0 is null, 1 the anchor, and the exports follow.
const FIRST_EXPORT: u32 = 2;

impl Image<'_> {
    /// The bytes of the image.
    ///
    /// # Errors
    ///
    /// If a name contains NUL.
    pub(super) fn bytes(mut self) -> Result<Vec<u8>, String> {
        // The hash wants its symbols ordered by bucket.
        self.exports
            .sort_by_key(|export| elf::gnu_hash(export.name.to_bytes()) % BUCKETS);
        let mut bytes = Vec::new();
        self.write(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn write(&self, bytes: &mut Vec<u8>) -> object::write::Result<()> {
        let count = self.exports.len() as u32;
        let words = self.context.distances.len();
        let mut out = Writer::new(Endianness::Little, true, bytes);

        // First every part gets its place. Addresses are offsets in the file.
        let names: Vec<_> = (self.exports.iter())
            .map(|export| out.add_dynamic_string(export.name.to_bytes()))
            .collect();
        let anchor = out.add_dynamic_string(self.context.symbol.as_bytes());
        let needed = out.add_dynamic_string(self.needed);
        let soname = out.add_dynamic_string(self.name.as_bytes());
        for _ in 1..FIRST_EXPORT + count {
            out.reserve_dynamic_symbol_index();
        }
        out.reserve_file_header();
        out.reserve_program_headers(SEGMENTS);
        let hash_at = out.reserve_gnu_hash(BLOOM_WORDS, BUCKETS, count);
        let symbols_at = out.reserve_dynsym();
        let names_at = out.reserve_dynstr()?;
        let relocations_at = out.reserve_relocations(words, true);
        let targets_at = out.reserve(u64::from(count) * WORD, WORD);
        let read_end = out.reserved_len();

        let stubs_len = u64::from(count) * arch::STUB_BYTES;
        let stubs_at = out.reserve(stubs_len, arch::PAGE_BYTES);

        // A whole page, since the dynamic linker takes the right to write away from whole pages only.
        let relro_at = out.reserve(0, arch::PAGE_BYTES);
        let dynamic_at = out.reserve_dynamic(DYNAMIC_ENTRIES);
        let context_at = out.reserve(words as u64 * WORD, WORD);
        out.reserve_until((relro_at + arch::PAGE_BYTES).max(out.reserved_len()));
        let relro_end = out.reserved_len();

        // Sections are for readers like gdb and readelf; the dynamic linker does not look at them.
        out.reserve_null_section_index();
        out.reserve_gnu_hash_section_index();
        out.reserve_dynsym_section_index();
        out.reserve_dynstr_section_index();
        let relocations = Section::reserve(&mut out, b".rela.dyn");
        let targets = Section::reserve(&mut out, b".rodata");
        let stubs = Section::reserve(&mut out, b".text");
        out.reserve_dynamic_section_index();
        let context = Section::reserve(&mut out, b".data.rel.ro");
        out.reserve_shstrtab_section_index();
        out.reserve_shstrtab()?;
        out.reserve_section_headers();

        // Then everything is written, in that order.
        out.write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: arch::MACHINE,
            e_entry: 0,
            e_flags: elf::FileFlags(0),
        })?;
        out.write_align_program_headers();
        out.write_program_header(&segment(elf::PT_LOAD, elf::PF_R, 0, read_end));
        out.write_program_header(&segment(
            elf::PT_LOAD,
            elf::PF_R | elf::PF_X,
            stubs_at,
            stubs_at + stubs_len,
        ));
        let writable = elf::PF_R | elf::PF_W;
        out.write_program_header(&segment(elf::PT_LOAD, writable, relro_at, relro_end));
        out.write_program_header(&segment(elf::PT_DYNAMIC, writable, dynamic_at, context_at));
        out.write_program_header(&segment(elf::PT_GNU_RELRO, elf::PF_R, relro_at, relro_end));
        out.write_program_header(&segment(elf::PT_GNU_STACK, writable, 0, 0));

        out.write_gnu_hash(
            FIRST_EXPORT,
            BLOOM_SHIFT,
            BLOOM_WORDS,
            BUCKETS,
            count,
            |index| elf::gnu_hash(self.exports[index as usize].name.to_bytes()),
        );
        out.write_null_dynamic_symbol();
        out.write_dynamic_symbol(&Sym {
            section: None,
            st_name: out.dynamic_string_offset(Some(anchor)),
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
            st_other: elf::SymbolOther::default(),
            st_shndx: elf::SHN_UNDEF,
            st_value: 0,
            st_size: 0,
        });
        let stub_at = |index: usize| stubs_at + index as u64 * arch::STUB_BYTES;
        for (index, name) in names.iter().enumerate() {
            out.write_dynamic_symbol(&Sym {
                section: Some(stubs.index.0),
                st_name: out.dynamic_string_offset(Some(*name)),
                st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
                st_other: elf::SymbolOther::default(),
                st_shndx: elf::SymbolSection::default(),
                st_value: stub_at(index),
                st_size: arch::STUB_BYTES,
            });
        }
        let names_len = out.dynstr_len();
        out.write_dynstr();
        out.write_align_relocation();
        for (word, &distance) in self.context.distances.iter().enumerate() {
            out.write_relocation(
                true,
                &Rel {
                    r_offset: context_at + word as u64 * WORD,
                    r_sym: 1,
                    r_type: arch::ADDRESS_RELOCATION,
                    r_addend: distance,
                },
            );
        }
        let relocations_len = words as u64 * 24;
        out.pad_until(targets_at);
        for export in &self.exports {
            out.write(&(export.target as u64).to_le_bytes());
        }

        out.pad_until(stubs_at);
        for (index, export) in self.exports.iter().enumerate() {
            let places = Places {
                target: targets_at + index as u64 * WORD,
                context: context_at,
                dlopen: context_at + self.context.dlopen as u64 * WORD,
            };
            out.write(&arch::code(export.stub, stub_at(index), &places));
        }

        out.pad_until(relro_at);
        out.write_align_dynamic();
        out.write_dynamic_string(elf::DT_NEEDED, needed)?;
        out.write_dynamic_string(elf::DT_SONAME, soname)?;
        out.write_dynamic(elf::DT_GNU_HASH, hash_at)?;
        out.write_dynamic(elf::DT_SYMTAB, symbols_at)?;
        out.write_dynamic(elf::DT_SYMENT, 24)?;
        out.write_dynamic(elf::DT_STRTAB, names_at)?;
        out.write_dynamic(elf::DT_STRSZ, names_len.into())?;
        out.write_dynamic(elf::DT_RELA, relocations_at)?;
        out.write_dynamic(elf::DT_RELASZ, relocations_len)?;
        out.write_dynamic(elf::DT_RELAENT, 24)?;
        out.write_dynamic(elf::DT_NULL, 0)?;
        out.pad_until(relro_end);

        out.write_shstrtab();
        out.write_null_section_header();
        out.write_gnu_hash_section_header(hash_at);
        out.write_dynsym_section_header(symbols_at, 1);
        out.write_dynstr_section_header(names_at);
        let symbols = out.dynsym_index();
        relocations.write(
            &mut out,
            SectionHeader {
                sh_type: elf::SHT_RELA,
                sh_flags: elf::SHF_ALLOC,
                sh_addr: relocations_at,
                sh_size: relocations_len,
                sh_link: symbols.0,
                sh_entsize: 24,
                ..EMPTY
            },
        );
        targets.write(
            &mut out,
            SectionHeader {
                sh_flags: elf::SHF_ALLOC,
                sh_addr: targets_at,
                sh_size: u64::from(count) * WORD,
                ..EMPTY
            },
        );
        stubs.write(
            &mut out,
            SectionHeader {
                sh_flags: elf::SHF_ALLOC | elf::SHF_EXECINSTR,
                sh_addr: stubs_at,
                sh_size: stubs_len,
                ..EMPTY
            },
        );
        out.write_dynamic_section_header(dynamic_at);
        context.write(
            &mut out,
            SectionHeader {
                sh_flags: elf::SHF_ALLOC | elf::SHF_WRITE,
                sh_addr: context_at,
                sh_size: words as u64 * WORD,
                ..EMPTY
            },
        );
        out.write_shstrtab_section_header();
        Ok(())
    }
}

/// A section that the writer does not know by itself.
struct Section {
    index: SectionIndex,
    name: object::write::StringId,
}

impl Section {
    fn reserve(out: &mut Writer<'_>, name: &'static [u8]) -> Self {
        Self {
            name: out.add_section_name(name),
            index: out.reserve_section_index(),
        }
    }

    fn write(self, out: &mut Writer<'_>, header: SectionHeader) {
        out.write_section_header(&SectionHeader {
            sh_name: out.section_name_offset(Some(self.name)),
            sh_offset: header.sh_addr,
            ..header
        });
    }
}

const EMPTY: SectionHeader = SectionHeader {
    sh_name: 0,
    sh_type: elf::SHT_PROGBITS,
    sh_flags: elf::SectionFlags(0),
    sh_addr: 0,
    sh_offset: 0,
    sh_size: 0,
    sh_link: 0,
    sh_info: 0,
    sh_addralign: WORD,
    sh_entsize: 0,
};

fn segment(
    p_type: elf::ProgramType,
    p_flags: elf::ProgramFlags,
    from: u64,
    to: u64,
) -> ProgramHeader {
    ProgramHeader {
        p_type,
        p_flags,
        p_offset: from,
        p_vaddr: from,
        p_paddr: from,
        p_filesz: to - from,
        p_memsz: to - from,
        p_align: if p_type == elf::PT_LOAD {
            arch::PAGE_BYTES
        } else {
            WORD
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::shim;
    use super::*;
    use object::read::elf::{
        Dyn, ElfFile64, FileHeader as _, ProgramHeader as _, Rela, SectionHeader as _,
    };
    use object::{Object, ObjectSection, ObjectSymbol};
    use std::collections::BTreeMap;

    fn image() -> Vec<u8> {
        shim::image(b"/somewhere/libpython.so", &[1, 2, 3, 0]).expect("an image")
    }

    fn word(bytes: &[u8], at: u64) -> u64 {
        let at = at as usize;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    #[test]
    fn an_image_exports_each_name_once_with_its_stub_and_target() {
        let bytes = image();
        let elf = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        let defined = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| !symbol.is_undefined();
        let found: BTreeMap<_, _> = (elf.dynamic_symbols().filter(defined))
            .map(|symbol| {
                (
                    symbol.name_bytes().expect("a name").to_vec(),
                    symbol.address(),
                )
            })
            .collect();
        let exports = shim::exports();
        assert_eq!(found.len(), exports.len());
        for export in exports {
            let stub = found[export.name.to_bytes()] as usize;
            // The last jump of the stub goes through the word that holds the target.
            let code = &bytes[stub..stub + arch::STUB_BYTES as usize];
            let end = code.iter().rposition(|&byte| byte != 0xcc).expect("code") + 1;
            assert_eq!(code[end - 6..end - 4], [0xff, 0x25], "{:?}", export.name);
            let distance = i32::from_le_bytes(code[end - 4..end].try_into().expect("4 bytes"));
            let slot = (stub + end).wrapping_add_signed(distance as isize);
            assert_eq!(word(&bytes, slot as u64), export.target as u64);
        }
    }

    #[test]
    fn an_image_needs_the_library_first_and_gives_its_own_name() {
        let bytes = image();
        let elf = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        let headers = elf.elf_program_headers();
        let dynamic = headers
            .iter()
            .find_map(|header| {
                header
                    .dynamic(Endianness::Little, &*bytes)
                    .expect("readable")
            })
            .expect("a dynamic section");
        let value = |tag| {
            let mut entries = dynamic
                .iter()
                .filter(|it| it.d_tag(Endianness::Little) == tag);
            let value = entries.next().expect("an entry").d_val(Endianness::Little);
            assert!(entries.next().is_none(), "one of each");
            value
        };
        let text = |offset: u64| {
            let from = (value(elf::DT_STRTAB) + offset) as usize;
            let len = bytes[from..]
                .iter()
                .position(|&byte| byte == 0)
                .expect("an end");
            std::str::from_utf8(&bytes[from..from + len]).expect("UTF-8")
        };
        assert_eq!(text(value(elf::DT_NEEDED)), "/somewhere/libpython.so");
        assert_eq!(text(value(elf::DT_SONAME)), shim::NAME);
    }

    #[test]
    fn no_segment_can_be_both_written_and_executed() {
        let bytes = image();
        let elf = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        let both = elf::PF_W | elf::PF_X;
        for header in elf.elf_program_headers() {
            let flags = header.p_flags(Endianness::Little);
            assert_ne!(flags & both, both, "{header:?}");
        }
        let stack = |header: &&elf::ProgramHeader64<_>| {
            header.p_type(Endianness::Little) == elf::PT_GNU_STACK
        };
        assert!(
            elf.elf_program_headers()
                .iter()
                .any(|header| stack(&header))
        );
    }

    #[test]
    fn the_context_is_filled_in_by_one_relocation_per_word() {
        let bytes = image();
        let elf = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        let context = elf.section_by_name(".data.rel.ro").expect("the context");
        let (rela, _) = elf
            .elf_section_table()
            .iter()
            .find_map(|section| section.rela(Endianness::Little, &*bytes).expect("readable"))
            .expect("relocations");
        let found: Vec<_> = rela
            .iter()
            .map(|it| {
                assert_eq!(
                    it.r_type(Endianness::Little, false),
                    arch::ADDRESS_RELOCATION
                );
                assert_eq!(it.r_sym(Endianness::Little, false), 1);
                (
                    it.r_offset(Endianness::Little),
                    it.r_addend(Endianness::Little),
                )
            })
            .collect();
        let at = context.address();
        assert_eq!(found, [(at, 1), (at + 8, 2), (at + 16, 3), (at + 24, 0)]);
        assert_eq!(context.size(), 32);
        assert_eq!(
            elf.elf_header().e_machine(Endianness::Little),
            arch::MACHINE
        );
    }
}
