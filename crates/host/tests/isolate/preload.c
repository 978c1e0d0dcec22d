// Stands before libc in the main namespace, as another allocator would.
#include <stddef.h>

size_t malloc_usable_size(void *block) { return block ? 4242 : 0; }
